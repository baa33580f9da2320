/// Something done to requests on purpose.
///
/// Whether a request is meant is a function of `seed`, `name`, the request's `x-request-id` and, at
/// `perAttempt`, the number of the attempt: the same in every run with the same requests.
public struct FaultRule: Codable, Equatable, Sendable {
    /// Where it acts.
    public enum Point: String, Codable, CaseIterable, Sendable {
        /// At the client's proxy, before a request meets retries: none of them sees it.
        case clientEgress = "client-egress-before-retry"
        /// At the client's proxy, for each attempt by itself: retries meet it as an answer.
        case perAttempt = "per-attempt"
        /// At the server's proxy.
        case serverIngress = "server-ingress"
    }

    /// What the answer is made.
    public enum Abort: Codable, Equatable, Sendable {
        /// 200 to 599.
        case http(Int)
        /// 1 to 16.
        case grpc(Int)
    }

    public struct Match: Codable, Equatable, Sendable {
        public var path: ProxyConfiguration.PathMatch
        /// Upper case; empty: any.
        public var methods: [String]
        public var headers: [ProxyConfiguration.HeaderMatch]

        public init(
            path: ProxyConfiguration.PathMatch = .prefix("/"), methods: [String] = [],
            headers: [ProxyConfiguration.HeaderMatch] = []
        ) {
            self.path = path
            self.methods = methods
            self.headers = headers
        }
    }

    /// What the ledger calls it.
    public var name: String
    public var seed: UInt64
    public var point: Point
    /// Of a client's proxy: the cluster that it is about; nil: any. At `serverIngress` nil.
    public var cluster: String?
    public var match: Match
    /// Share of the requests, 0 to 1.
    public var chance: Double
    /// At `perAttempt`: only attempts up to this one, counted from 1; nil: all.
    public var firstAttempts: Int?
    /// Before it goes on, or is aborted.
    public var delay: DelayDistribution?
    public var abort: Abort?
    /// Bytes per second of answers' bodies; nil: as they come.
    public var responseRate: Int?

    public init(
        name: String, seed: UInt64, point: Point, cluster: String? = nil,
        match: Match = .init(), chance: Double = 1, firstAttempts: Int? = nil,
        delay: DelayDistribution? = nil, abort: Abort? = nil, responseRate: Int? = nil
    ) {
        self.name = name
        self.seed = seed
        self.point = point
        self.cluster = cluster
        self.match = match
        self.chance = chance
        self.firstAttempts = firstAttempts
        self.delay = delay
        self.abort = abort
        self.responseRate = responseRate
    }
}
