public import Base

/// Which endpoint of a cluster a request goes to.
///
/// Source: Envoy, "Load balancing"; Linkerd, "Load balancing" (peak EWMA).
public struct BalancePolicy: Codable, Equatable, Sendable {
    public enum Algorithm: String, Codable, CaseIterable, Sendable {
        /// In turn; by weight, whoever is due first, and again after 1/weight.
        case roundRobin = "round-robin"
        case random
        /// Of `choices` drawn, the one with fewest requests in flight; where weights differ, in
        /// turn by weight/(in flight + 1).
        case leastRequest = "least-request"
        /// Of two drawn, the one whose latency, an exponentially weighted average that peaks stay
        /// in, times its requests in flight is less.
        case peakEWMA = "peak-ewma"
        case ringHash = "ring-hash"
        case maglev
    }

    /// What hashes of requests are made of. The first that a request has is taken; a request that
    /// has none goes by chance.
    public enum HashKey: Codable, Equatable, Sendable {
        /// The value of the first such field, its name in lower case.
        case header(String)
        /// The value of a cookie.
        case cookie(String)
        /// The client's address.
        case source
    }

    public var algorithm: Algorithm
    /// Of `ringHash` and `maglev`.
    public var hash: [HashKey]
    /// Points of a ring, 1 to 8,388,608 (1024 by default, with at least as many as endpoints).
    public var ringSize: Int
    /// Slots of a Maglev table, a prime up to 5,000,011 (65,537 by default).
    public var tableSize: Int
    /// Endpoints drawn by `leastRequest`, 2 or more.
    public var choices: Int
    /// `peakEWMA`: after so long a latency weighs 1/e, and what is taken of a new endpoint.
    public var decay: Duration
    public var standardLatency: Duration
    /// Percent of available endpoints below which all are taken, well or not; 0: never.
    public var panicThreshold: Double
    /// Whether requests are answered 503 instead where all would be taken (Envoy's
    /// `fail_traffic_on_panic`).
    public var failsOnPanic = false
    /// Of a new endpoint's first time, in which its share rises in proportion; `zero`: none.
    public var slowStart: Duration
    /// Whether endpoints of the proxy's own zone come first, as far as they suffice.
    public var prefersZone: Bool
    /// Fewer endpoints than this are all of one zone, as far as `prefersZone` is concerned; Envoy's
    /// `min_cluster_size`, which is 6 there.
    public var zoneMinimum = 0
    /// Requests go only to endpoints whose labels have the values that the fields of the request
    /// say: `x-version: 2` of the label `version`. Empty: to all.
    public var subsets: [SubsetKey]

    public struct SubsetKey: Codable, Equatable, Sendable {
        public var label: String
        /// Lower case.
        public var header: String

        public init(label: String, header: String) {
            self.label = label
            self.header = header
        }
    }

    public init(
        _ algorithm: Algorithm = .roundRobin, hash: [HashKey] = [], ringSize: Int = 1024,
        tableSize: Int = 65_537, choices: Int = 2, decay: Duration = .seconds(10),
        standardLatency: Duration = .milliseconds(30), panicThreshold: Double = 50,
        slowStart: Duration = .zero, prefersZone: Bool = false, subsets: [SubsetKey] = []
    ) {
        self.algorithm = algorithm
        self.hash = hash
        self.ringSize = ringSize
        self.tableSize = tableSize
        self.choices = choices
        self.decay = decay
        self.standardLatency = standardLatency
        self.panicThreshold = panicThreshold
        self.slowStart = slowStart
        self.prefersZone = prefersZone
        self.subsets = subsets
    }

    /// Whether a request's own words say which endpoint it goes to.
    public var hashes: Bool { algorithm == .ringHash || algorithm == .maglev }
}
