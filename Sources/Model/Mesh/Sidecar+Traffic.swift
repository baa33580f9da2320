// What becomes of traffic policies in the proxies of a mesh.

extension ProxyConfiguration.Cluster {
    /// How requests to it are carried.
    mutating func take(_ policy: MeshPolicy) {
        requestTimeout = policy.timeouts.request
        idleTimeout = policy.timeouts.idle
        if let connect = policy.timeouts.connect { connectTimeout = connect }
        breaker = policy.breaker ?? breaker
        balance = policy.balance ?? balance
        retry = policy.retry
        outlier = policy.outlier
        accrual = policy.accrual
        admission = policy.admission
    }
}

extension ProxyConfiguration.Endpoint {
    init(_ declared: MeshEndpoint, isWell: Bool) {
        self.init(declared.address, weight: declared.weight)
        zone = declared.zone
        level = declared.level
        labels = declared.labels
        isHealthy = isWell
    }
}

extension ProxyConfiguration.Route {
    init(_ condition: MeshRoute.Condition, shares: [ProxyConfiguration.Share]) {
        self.init(
            hosts: condition.host.map { [$0] } ?? [], path: condition.match.path,
            methods: condition.match.methods, headers: condition.match.headers, shares: shares)
    }

    /// What is to become of the requests that it means.
    mutating func take(_ declared: MeshRoute) {
        timeout = declared.timeout
        retry = declared.retry
        priority = declared.priority
        rateLimits = declared.rateLimits
    }
}
