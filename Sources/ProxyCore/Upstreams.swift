// Clusters and their endpoints as one worker sees them: whose turn it is, which connections are
// free, who waits. Endpoints keep their number as long as a connection refers to them, also across
// a reload that removes them.

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
    /// Attempts that are being made at it.
    var attempts: Int32 = 0
    /// The configuration no longer has it: its connections close when they become free.
    var removed = false
}

/// One endpoint's place among those that a cluster takes in turn.
struct Turn: BitwiseCopyable {
    var endpoint: Int32
    var weight: Int32
    /// What it is owed, in weights. Bound: the sum of the cluster's weights, either way.
    var due: Int64 = 0
}

struct Cluster: BitwiseCopyable {
    /// Places in `Upstreams.turns`.
    var firstTurn: Int32 = 0
    var turnCount: Int32 = 0
    var nextTurn: Int32 = 0
    /// The sum of its turns' weights; 0: all are equal.
    var weights: Int64 = 0
    var connections: Int32 = 0
    var maxConnections: Int32 = 0
    var maxPending: Int32 = 0
    var connectTimeout = Duration.zero
    var idleTimeout = Duration.zero
    /// Requests share connections, as streams.
    var isHTTP2 = false
    /// Connections have TLS.
    var isSecured = false
    /// Downstream connections whose request waits for an upstream connection.
    var pending = ConnectionList()
    /// Waiting requests are being served: one that ends at once frees a connection and leads back
    /// here, and the call in hand goes on with it.
    var isServing = false
}

/// The endpoint table of one worker.
struct Upstreams {
    private(set) var clusters: [Cluster] = []
    /// Cluster by cluster, in their order.
    private var turns: [Turn] = []
    private(set) var endpoints: [Endpoint] = []
    private(set) var addresses: [String] = []
    private(set) var clusterNames: [String] = []
    /// What is spoken with each cluster, and how its connections are secured.
    private var manners: [String] = []

    init(_ configuration: ProxyConfiguration) { adopt(configuration) }

    /// Takes over a new configuration; endpoints that stay keep their connections.
    mutating func adopt(_ configuration: ProxyConfiguration) {
        let old = endpoints.indices.map(key(of:))
        let (oldTurns, oldClusters) = (turns, clusters)
        let oldPlaces = Dictionary(
            clusterNames.enumerated().map { ($1, $0) }, uniquingKeysWith: min)
        var numbers: [String: Int32] = [:]
        for (i, key) in old.enumerated() {
            endpoints[i].removed = true
            endpoints[i].cluster = -1
            if let key { numbers[key] = Int32(i) }
        }
        clusters = []
        clusterNames = configuration.clusters.map(\.name)
        manners = configuration.clusters.map(Self.manner)
        turns = []
        // All that stay are claimed before the first new one looks for a number nobody has.
        for (c, plan) in configuration.clusters.enumerated() {
            for endpoint in plan.endpoints {
                if let number = numbers[Self.key(plan.name, manners[c], endpoint.address)] {
                    endpoints[Int(number)].removed = false
                }
            }
        }
        // Removed endpoints without connections are nobody's: their numbers can be used again. So
        // there are never more than one configuration has, and than connections refer to.
        var unused = endpoints.indices.filter {
            endpoints[$0].removed && endpoints[$0].connections == 0
        }
        for (c, plan) in configuration.clusters.enumerated() {
            var cluster = Cluster()
            cluster.firstTurn = Int32(turns.count)
            cluster.turnCount = Int32(plan.endpoints.count)
            cluster.maxConnections = Int32(plan.maxConnections)
            cluster.maxPending = Int32(plan.maxPending)
            cluster.connectTimeout = plan.connectTimeout
            cluster.idleTimeout = plan.idleTimeout ?? configuration.timeouts.idle
            cluster.isHTTP2 = plan.speech == .http2
            cluster.isSecured = plan.tls != nil
            for endpoint in plan.endpoints {
                let address = endpoint.address
                // An address that stands twice in a cluster has two turns and is one endpoint.
                let key = Self.key(plan.name, manners[c], address)
                let number = numbers[key] ?? makeEndpoint(address, &unused)
                numbers[key] = number
                endpoints[Int(number)].cluster = Int32(c)
                endpoints[Int(number)].removed = false
                turns.append(Turn(endpoint: number, weight: Int32(endpoint.weight)))
            }
            let weights = plan.endpoints.map(\.weight)
            if weights.contains(where: { $0 != weights[0] }) {
                cluster.weights = weights.reduce(0) { $0 + Int64($1) }
            }
            if let old = oldPlaces[plan.name].map({ oldClusters[$0] }) {
                keepTurns(of: &cluster, old, oldTurns)
            }
            clusters.append(cluster)
        }
        // Counted by endpoint, not by turn.
        for endpoint in endpoints where endpoint.cluster >= 0 {
            clusters[Int(endpoint.cluster)].connections += endpoint.connections
        }
    }

    /// Goes on where the cluster's turn was: with configurations that follow each other quickly the
    /// first endpoints would else get all.
    private mutating func keepTurns(of cluster: inout Cluster, _ old: Cluster, _ oldTurns: [Turn]) {
        if cluster.turnCount > 0 { cluster.nextTurn = old.nextTurn % cluster.turnCount }
        guard cluster.weights > 0, old.weights > 0 else { return }
        let before = oldTurns[Int(old.firstTurn)..<Int(old.firstTurn + old.turnCount)]
        let due = Dictionary(before.map { ($0.endpoint, $0.due) }, uniquingKeysWith: max)
        for i in Int(cluster.firstTurn)..<turns.count {
            let kept = due[turns[i].endpoint] ?? 0
            // What was a small part of the old weights may be more than all of the new.
            turns[i].due = max(-cluster.weights, min(cluster.weights, kept))
        }
    }

    /// What an endpoint is known by across a reload; nil: the configuration no longer has it.
    private func key(of endpoint: Int) -> String? {
        let cluster = Int(endpoints[endpoint].cluster)
        guard cluster >= 0 else { return nil }
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

    private mutating func makeEndpoint(_ address: String, _ unused: inout [Int]) -> Int32 {
        if let number = unused.popLast() {
            endpoints[number] = Endpoint()
            addresses[number] = address
            return Int32(number)
        }
        endpoints.append(Endpoint())
        addresses.append(address)
        return Int32(endpoints.count - 1)
    }

    /// Whether a request of the cluster's can go on: there is a free connection, or one may be
    /// opened.
    func canServe(_ cluster: Int) -> Bool {
        let limits = clusters[cluster]
        if limits.connections < limits.maxConnections { return true }
        return turns[Int(limits.firstTurn)..<Int(limits.firstTurn + limits.turnCount)]
            .contains { endpoints[Int($0.endpoint)].pooled.first >= 0 }
    }

    /// The endpoint that a request goes to; nil: there is none for it.
    mutating func select(
        _ cluster: Int, _ wish: HostWish, now: Instant, _ random: inout SeededRandom
    ) -> Int? {
        var left = wish.redraws
        while let endpoint = takeTurn(cluster) {
            guard left > 0, wish.avoided.contains(endpoint) else { return endpoint }
            left -= 1
        }
        return nil
    }

    /// An attempt at the endpoint has begun.
    mutating func began(_ endpoint: Int, now: Instant) { endpoints[endpoint].attempts += 1 }

    /// An attempt has a connection to the endpoint that is open.
    mutating func connected(_ endpoint: Int) {}

    /// The head of an answer has come.
    /// - Parameter status: of HTTP; what gRPC says in a head is made one.
    mutating func answered(
        _ endpoint: Int, status: Int, latency: Duration, now: Instant,
        _ random: inout SeededRandom
    ) {}

    /// An attempt at the endpoint is over.
    mutating func ended(
        _ endpoint: Int, _ result: AttemptResult, now: Instant, _ random: inout SeededRandom
    ) {
        endpoints[endpoint].attempts -= 1
    }

    /// The earliest instant at which `expire` has something to do; nil: never.
    var nextDeadline: Instant? { nil }

    /// Acts on what is due: endpoints are judged, and come back.
    mutating func expire(now: Instant, _ random: inout SeededRandom) {}

    /// The endpoint whose turn it is; nil: the cluster has none.
    mutating func takeTurn(_ cluster: Int) -> Int? {
        let count = clusters[cluster].turnCount
        guard count > 0 else { return nil }
        guard clusters[cluster].weights == 0 else { return takeWeightedTurn(cluster) }
        let turn = clusters[cluster].nextTurn
        clusters[cluster].nextTurn = turn + 1 < count ? turn + 1 : 0
        return Int(turns[Int(clusters[cluster].firstTurn + turn)].endpoint)
    }

    /// Smooth weighted round robin: each request brings every endpoint its weight nearer to its
    /// turn, and whose turn it is falls back by the sum. So turns of one endpoint are spread, where
    /// weights 5, 1, 1 give a a b a c a a.
    ///
    /// Source: nginx, `ngx_http_upstream_get_peer`.
    /// - Complexity: O(endpoints of the cluster).
    private mutating func takeWeightedTurn(_ cluster: Int) -> Int {
        let first = Int(clusters[cluster].firstTurn)
        var best = first
        for i in first..<first + Int(clusters[cluster].turnCount) {
            turns[i].due += Int64(turns[i].weight)
            if turns[i].due > turns[best].due { best = i }
        }
        turns[best].due -= clusters[cluster].weights
        return Int(turns[best].endpoint)
    }

    /// The next endpoint, in the order of turns, that has a connection in its pool; nil: none has.
    mutating func takePooled(_ cluster: Int) -> Int? {
        let limits = clusters[cluster]
        var turn = limits.nextTurn
        for _ in 0..<limits.turnCount {
            let endpoint = Int(turns[Int(limits.firstTurn + turn)].endpoint)
            turn = turn + 1 < limits.turnCount ? turn + 1 : 0
            guard endpoints[endpoint].pooled.first >= 0 else { continue }
            clusters[cluster].nextTurn = turn
            return endpoint
        }
        return nil
    }

    mutating func withEndpoint<R>(_ i: Int, _ body: (inout Endpoint) -> R) -> R {
        body(&endpoints[i])
    }

    mutating func withCluster<R>(_ i: Int, _ body: (inout Cluster) -> R) -> R { body(&clusters[i]) }

    /// Counts a connection opened to `endpoint`, or closed.
    mutating func count(_ change: Int32, at endpoint: Int) {
        endpoints[endpoint].connections += change
        let cluster = Int(endpoints[endpoint].cluster)
        if cluster >= 0 { clusters[cluster].connections += change }
    }
}
