// Clusters and their endpoints as one worker sees them: whose turn it is, which connections are
// free, who waits. Endpoints keep their number as long as a connection or a request in hand refers
// to them, also across a reload that removes them.

import Base
import Model

/// A list of connections linked through `Connection.next` and `previous`.
struct ConnectionList: BitwiseCopyable {
    var first: Int32 = -1
    var last: Int32 = -1
    var count: Int32 = 0
}

struct Endpoint: BitwiseCopyable {
    var cluster: Int32 = -1
    /// Connections in the pool, most recently used first: those without an exchange, and sessions
    /// with room for one more stream.
    var pooled = ConnectionList()
    /// Connections in any stage.
    var connections: Int32 = 0
    /// Attempts of this worker that are being made at it.
    var attempts: Int32 = 0
    /// Links among the endpoints of its cluster with connections in the pool.
    var nextPooled: Int32 = -1
    var previousPooled: Int32 = -1
    /// The configuration no longer has it: its connections close when they become free.
    var removed = false
    /// As active checks have found it.
    var isHealthy = true
    /// When it came, or came to be well; `zero`: it was there at the start.
    var joined = Instant.zero
    /// For `peakEWMA`.
    var latency = PeakLatency()
    /// What the workers know of it together; nil: its cluster has nothing to share.
    var marks: HostMarks?
    /// Whether its attempts are among those that `marks` counts.
    var sharesAttempts = false
    /// An attempt of this worker is the one by which it is tried again.
    var isProbed = false
    /// The number of the last of those.
    var probe: UInt32 = 0
    /// nil: the configuration no longer has it.
    var counts: CountHandle<HostCount>?

    /// Attempts that are being made at it, by all workers where they count them together.
    var active: Int {
        if let marks, sharesAttempts { return marks.active }
        return Int(attempts)
    }

    /// Whether requests have not shown that it is to be left out.
    var isAvailable: Bool { marks?.isAvailable ?? true }
}

struct Cluster: BitwiseCopyable {
    /// Places of its endpoints: an address may stand in it twice.
    var endpointCount: Int32 = 0
    var connections: Int32 = 0
    var connectTimeout = Duration.zero
    var idleTimeout = Duration.zero
    var streamIdleTimeout = Duration.zero
    /// `zero`: no limit.
    var maxStream = Duration.zero
    var maxConnection = Duration.zero
    /// Requests that a connection takes; 0: no limit.
    var requestsPerConnection: UInt32 = 0
    /// Requests share connections, as streams.
    var isHTTP2 = false
    /// Connections have TLS.
    var isSecured = false
    /// Downstream connections whose request waits for an upstream connection: those of the standard
    /// priority, and of the high one.
    var pending = ConnectionList()
    var pendingHigh = ConnectionList()
    /// Waiting requests are being served: one that ends at once frees a connection and leads back
    /// here, and the call in hand goes on with it.
    var isServing = false
    /// Endpoints with connections in the pool, through `Endpoint.nextPooled`.
    var firstPooled: Int32 = -1
    var lastPooled: Int32 = -1
    /// By priority, the connection of HTTP/2 that was last told to end for the sake of requests
    /// that wait; -1: none. It may be gone, and its slot another's.
    var makingWay: InlineArray<2, Int32> = .init(repeating: -1)
    /// Which endpoint is next depends on what a request says.
    var readsRequests = false
    /// When something has to be done about an endpoint.
    var rules = HostRules()
    /// What to look at of its board; nil: it has none.
    var line: BoardLine?
    /// For `peakEWMA`; nil: another algorithm.
    var latencies: HostTerms?
    /// How long the next request would have taken at the busiest endpoint of late.
    var longest = PeakLatency()
    /// nil: not yet known.
    var counts: CountHandle<ClusterCount>?

    /// Requests of that priority that wait.
    func queue(_ priority: UInt8) -> ConnectionList { priority > 0 ? pendingHigh : pending }
}

/// The endpoint table of one worker.
struct Upstreams {
    var clusters: [Cluster] = []
    var endpoints: [Endpoint] = []
    private(set) var addresses: [String] = []
    private(set) var clusterNames: [String] = []
    /// Which endpoint of each cluster is next, and what of requests that depends on.
    var balancers: [Balancer] = []
    private(set) var wishPlans: [WishPlan] = []
    /// What the workers share, by cluster, and by endpoint that stands on it.
    private(set) var boards: [HostBoard?] = []
    private(set) var standsOn: [HostBoard?] = []
    /// What is spoken with each cluster, and how its connections are secured.
    private var manners: [String] = []
    private let commons: ProxyCommons
    /// The earliest instant at which `expire` has something to do; nil: never.
    var nextDeadline: Instant?

    init(_ configuration: ProxyConfiguration, _ commons: ProxyCommons = ProxyCommons()) {
        self.commons = commons
        // Endpoints that are there from the start have not just come.
        adopt(configuration, now: .zero)
    }

    /// Takes over a new configuration; endpoints that stay keep their connections.
    /// - Parameter known: endpoints that requests in hand know by number.
    mutating func adopt(
        _ configuration: ProxyConfiguration, known: Set<Int> = [], now: Instant
    ) {
        let old = endpoints.indices.map(key(of:))
        let oldBalancers = Dictionary(
            zip(clusterNames, zip(balancers, boards)), uniquingKeysWith: { first, _ in first })
        let wasHealthy = endpoints.map(\.isHealthy)
        var numbers: [String: Int32] = [:]
        let places = Dictionary(
            zip(configuration.clusters.map(\.name), 0...), uniquingKeysWith: { first, _ in first })
        for (i, key) in old.enumerated() {
            endpoints[i].removed = true
            // What is in flight there goes on counting for its cluster, as with Envoy.
            let cluster = Int(endpoints[i].cluster)
            let place = cluster >= 0 ? places[clusterNames[cluster]] : nil
            endpoints[i].cluster = Int32(place ?? -1)
            if let key { numbers[key] = Int32(i) }
        }
        clusterNames = configuration.clusters.map(\.name)
        wishPlans = configuration.clusters.map { WishPlan($0.balance) }
        manners = configuration.clusters.map(Self.manner)
        // All that stay are claimed before the first new one looks for a number nobody has.
        for (c, plan) in configuration.clusters.enumerated() {
            for endpoint in plan.endpoints {
                if let number = numbers[Self.key(plan.name, manners[c], endpoint.address)] {
                    endpoints[Int(number)].removed = false
                }
            }
        }
        // Removed endpoints without connections are nobody's: their numbers can be used again. So
        // there are never more than one configuration has, and than connections and requests in
        // hand refer to.
        var unused = endpoints.indices.filter {
            endpoints[$0].removed && endpoints[$0].connections == 0 && !known.contains($0)
        }
        var made: [Cluster] = []
        balancers = []
        boards = []
        for (c, plan) in configuration.clusters.enumerated() {
            var cluster = Self.cluster(plan, configuration)
            let board = board(plan)
            cluster.line = board?.line
            boards.append(board)
            var places: [Int32] = []
            for endpoint in plan.endpoints {
                // An address that stands twice in a cluster has two places and is one endpoint.
                let key = Self.key(plan.name, manners[c], endpoint.address)
                let number = numbers[key] ?? makeEndpoint(endpoint.address, &unused, now: now)
                numbers[key] = number
                places.append(number)
                let i = Int(number)
                endpoints[i].cluster = Int32(c)
                endpoints[i].removed = false
                endpoints[i].isHealthy = endpoint.isHealthy
                if endpoint.isHealthy, i < wasHealthy.count, !wasHealthy[i] {
                    endpoints[i].joined = now
                }
            }
            let hosts = Self.hosts(plan, places, zone: configuration.zone)
            let panics = plan.accrual == nil || plan.outlier != nil
            // Versions of another board say nothing: its second change is not the old one's second.
            if let (old, oldBoard) = oldBalancers[plan.name], oldBoard === board,
                old.isFor(plan.balance, hosts, panics: panics)
            {
                balancers.append(old)
            } else {
                balancers.append(Balancer(plan.balance, hosts, panics: panics))
            }
            made.append(cluster)
        }
        clusters = made
        countAnew()
        takeStands(now: now)
    }

    private static func cluster(
        _ plan: ProxyConfiguration.Cluster, _ configuration: ProxyConfiguration
    ) -> Cluster {
        var cluster = Cluster()
        cluster.endpointCount = Int32(plan.endpoints.count)
        cluster.connectTimeout = plan.connectTimeout
        cluster.idleTimeout = plan.idleTimeout ?? configuration.timeouts.idle
        cluster.streamIdleTimeout = plan.streamIdleTimeout ?? configuration.timeouts.streamIdle
        cluster.maxStream = plan.maxStreamDuration
        cluster.maxConnection = plan.maxConnectionDuration
        cluster.requestsPerConnection = UInt32(clamping: plan.requestsPerConnection)
        cluster.isHTTP2 = plan.speech == .http2
        cluster.isSecured = plan.tls != nil
        cluster.rules = HostRules(plan)
        cluster.readsRequests = !WishPlan(plan.balance).isEmpty
        if plan.balance.algorithm == .peakEWMA {
            cluster.latencies = HostTerms(plan.balance, now: .zero)
        }
        return cluster
    }

    /// The endpoints of a cluster as its balancer knows them.
    private static func hosts(
        _ plan: ProxyConfiguration.Cluster, _ numbers: [Int32], zone: String?
    ) -> [BalancerHost] {
        // Two levels for each: the proxy's own zone comes before the others of the same level.
        let isLargeEnough = plan.endpoints.count >= plan.balance.zoneMinimum
        let prefers = plan.balance.prefersZone && zone != nil && isLargeEnough
        let levels = plan.endpoints.map { endpoint in
            let isNear = !prefers || endpoint.zone == zone
            return endpoint.level * 2 + (isNear ? 0 : 1)
        }
        let order = Set(levels).sorted()
        let ranks = Dictionary(uniqueKeysWithValues: order.enumerated().map { ($1, $0) })
        return plan.endpoints.enumerated().map { i, endpoint in
            BalancerHost(
                endpoint: numbers[i], weight: endpoint.weight, address: endpoint.address,
                level: ranks[levels[i]] ?? 0, isHealthy: endpoint.isHealthy,
                subsets: SubsetKeys.all(of: endpoint.labels, plan.balance.subsets))
        }
    }

    /// Counts and lists that follow from endpoints.
    private mutating func countAnew() {
        for i in endpoints.indices {
            endpoints[i].nextPooled = -1
            endpoints[i].previousPooled = -1
            // Counted by endpoint, not by place.
            guard endpoints[i].cluster >= 0 else { continue }
            clusters[Int(endpoints[i].cluster)].connections += endpoints[i].connections
            if endpoints[i].pooled.count > 0 { linkPooled(i) }
        }
    }

    /// What an endpoint is known by across a reload; nil: the configuration no longer has it.
    private func key(of endpoint: Int) -> String? {
        let cluster = Int(endpoints[endpoint].cluster)
        guard cluster >= 0, !endpoints[endpoint].removed else { return nil }
        return Self.key(clusterNames[cluster], manners[cluster], addresses[endpoint])
    }

    private static func key(_ cluster: String, _ manner: String, _ address: String) -> String {
        "\(cluster) \(address) \(manner)"
    }

    /// An endpoint that is spoken with otherwise than before is another: connections to the old are
    /// not used for the new.
    private static func manner(_ cluster: ProxyConfiguration.Cluster) -> String {
        "\(cluster.speech) \(cluster.tls.map { "\($0)" } ?? "")"
    }

    private mutating func makeEndpoint(
        _ address: String, _ unused: inout [Int], now: Instant
    ) -> Int32 {
        var endpoint = Endpoint()
        endpoint.joined = now
        if let number = unused.popLast() {
            leaveStand(number)
            endpoints[number] = endpoint
            addresses[number] = address
            return Int32(number)
        }
        endpoints.append(endpoint)
        addresses.append(address)
        standsOn.append(nil)
        return Int32(endpoints.count - 1)
    }

    // MARK: What workers share

    private func board(_ plan: ProxyConfiguration.Cluster) -> HostBoard? {
        guard HostRules(plan).isShared else { return nil }
        let policies = [plan.outlier.map { "\($0)" }, plan.accrual.map { "\($0)" }]
        // Under another policy nothing is known yet, as with Envoy.
        let name = "\(plan.name) \(policies)"
        return commons.boards.item(name) {
            HostBoard(cluster: plan.name, outlier: plan.outlier, accrual: plan.accrual)
        }
    }

    private mutating func takeStands(now: Instant) {
        nextDeadline = nil
        for i in endpoints.indices {
            let cluster = Int(endpoints[i].cluster)
            let board = cluster >= 0 && !endpoints[i].removed ? boards[cluster] : nil
            if let board, board === standsOn[i] {
                board.check(addresses[i], isHealthy: endpoints[i].isHealthy, now: now)
            } else {
                leaveStand(i)
                guard let board else { continue }
                endpoints[i].marks = board.join(
                    addresses[i], isHealthy: endpoints[i].isHealthy, now: now)
                standsOn[i] = board
            }
            shareAttempts(i, clusters[cluster].rules.countsAttempts)
        }
        settleDeadline()
    }

    /// The worker's attempts at an endpoint are counted for all workers from now on, or no longer:
    /// a new configuration may change the algorithm while there are some.
    private mutating func shareAttempts(_ i: Int, _ shares: Bool) {
        guard endpoints[i].sharesAttempts != shares else { return }
        endpoints[i].sharesAttempts = shares
        let attempts = Int(endpoints[i].attempts)
        endpoints[i].marks?.countAttempt(shares ? attempts : -attempts)
    }

    private mutating func leaveStand(_ i: Int) {
        shareAttempts(i, false)
        // What its probe comes to is told nobody: whoever still has the endpoint sends another.
        if endpoints[i].isProbed, let marks = endpoints[i].marks {
            standsOn[i]?.gaveUp(marks, probe: endpoints[i].probe)
        }
        endpoints[i].isProbed = false
        endpoints[i].marks = nil
        standsOn[i]?.leave(addresses[i])
        standsOn[i] = nil
    }

    /// The worker ends: nobody shall wait for what it knows.
    mutating func leave() {
        for i in endpoints.indices { leaveStand(i) }
    }

    mutating func settleDeadline() {
        nextDeadline = nil
        for cluster in clusters {
            if let due = cluster.line?.deadline { nextDeadline = min(nextDeadline ?? due, due) }
        }
    }

    // MARK: Tables

    mutating func withEndpoint<R>(_ i: Int, _ body: (inout Endpoint) -> R) -> R {
        let before = endpoints[i].pooled.count
        let result = body(&endpoints[i])
        let after = endpoints[i].pooled.count
        if before == 0, after > 0 { linkPooled(i) }
        if before > 0, after == 0 { unlinkPooled(i) }
        return result
    }

    mutating func withCluster<R>(_ i: Int, _ body: (inout Cluster) -> R) -> R { body(&clusters[i]) }

    /// Counts a connection opened to `endpoint`, or closed.
    mutating func count(_ change: Int32, at endpoint: Int) {
        endpoints[endpoint].connections += change
        endpoints[endpoint].counts?.add(.connectionsActive, Int(change))
        let cluster = Int(endpoints[endpoint].cluster)
        if cluster >= 0 { clusters[cluster].connections += change }
    }

    mutating func linkPooled(_ i: Int) {
        let cluster = Int(endpoints[i].cluster)
        guard cluster >= 0, !endpoints[i].removed else { return }
        let last = clusters[cluster].lastPooled
        endpoints[i].previousPooled = last
        endpoints[i].nextPooled = -1
        if last >= 0 {
            endpoints[Int(last)].nextPooled = Int32(i)
        } else {
            clusters[cluster].firstPooled = Int32(i)
        }
        clusters[cluster].lastPooled = Int32(i)
    }

    mutating func unlinkPooled(_ i: Int) {
        let cluster = Int(endpoints[i].cluster)
        guard cluster >= 0, !endpoints[i].removed else { return }
        let (previous, next) = (endpoints[i].previousPooled, endpoints[i].nextPooled)
        if previous >= 0 {
            endpoints[Int(previous)].nextPooled = next
        } else {
            clusters[cluster].firstPooled = next
        }
        if next >= 0 {
            endpoints[Int(next)].previousPooled = previous
        } else {
            clusters[cluster].lastPooled = previous
        }
        endpoints[i].nextPooled = -1
        endpoints[i].previousPooled = -1
    }
}
