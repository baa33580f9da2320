// What becomes of traffic policies in the proxies of a mesh.

import Base

extension ProxyConfiguration.Cluster {
    /// How requests to it are carried.
    mutating func take(_ policy: MeshPolicy) {
        requestTimeout = policy.timeouts.request
        idleTimeout = policy.timeouts.idle
        streamIdleTimeout = policy.timeouts.streamIdle
        maxStreamDuration = policy.timeouts.maxStream ?? .zero
        maxConnectionDuration = policy.timeouts.maxConnection ?? .zero
        if let connect = policy.timeouts.connect { connectTimeout = connect }
        breaker = policy.breaker ?? breaker
        balance = policy.balance ?? balance
        take(attempts: policy)
    }
}

extension ProxyConfiguration.Listener {
    /// What its requests are held against. Admission is the service's process's.
    mutating func take(_ policy: MeshPolicy.Inbound?) {
        rateLimits = policy?.rateLimits ?? []
        globalRateLimit = policy?.globalRateLimit
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
        self.init(hosts: condition.host.map { [$0] } ?? [], shares: shares)
        take(conditions: condition.match)
    }
}

extension RequestMirror<String> {
    /// By the service's name, as clusters have it.
    public init(_ declared: RequestMirror<MeshName>) { self = declared.to(declared.target.text) }
}

extension ProxyConfiguration.Share {
    init(_ destination: MeshRoute.Destination) {
        self.init(destination.service.text, weight: destination.weight)
        requestHeaders = destination.requestHeaders
        answerHeaders = destination.answerHeaders
    }
}
