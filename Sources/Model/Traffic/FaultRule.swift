/// Something done to requests on purpose.
///
/// Whether a request is meant is a function of `seed`, `name`, the request's `x-request-id` and the
/// number of the attempt: the same in every run with the same requests. Which attempt it is, the
/// client's proxy counts where the fault acts on attempts; behind it `x-envoy-attempt-count` says
/// so, and a request without that is the first.
public struct FaultRule: Equatable, Sendable {
    /// Where it acts.
    public enum Point: String, Codable, CaseIterable, Sendable {
        /// At the client's proxy, before a request meets retries: none of them sees it.
        case clientEgress = "client-egress-before-retry"
        /// At the client's proxy, for each attempt by itself: retries meet it as an answer.
        case perAttempt = "per-attempt"
        /// At the server's proxy.
        case serverIngress = "server-ingress"
        /// In a process of the workload.
        case app

        /// Whether a proxy acts, rather than a process of the workload.
        public var isProxy: Bool { self != .app }
    }

    /// What the answer is made.
    public enum Abort: Equatable, Sendable {
        /// 200 to 599.
        case http(Int)
        /// 1 to 16; a request that is no call of gRPC is answered 200, as by Envoy.
        case grpc(Int)
    }

    /// Which requests it is about.
    public struct Match: Equatable, Sendable {
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

        /// Whether it is about all requests.
        public var isAny: Bool { self == Match() }
    }

    /// What the ledger calls it: letters, digits, `.`, `_` and `-`, 64 at most.
    public var name: String
    public var seed: UInt64
    public var point: Point
    /// Of a proxy: the listener by which requests come that it is about; nil: any. A sidecar's are
    /// `ProxyConfiguration.inboundName` and `outboundName`.
    public var listener: String?
    /// Of a client's proxy: the cluster that it is about; nil: any. At `serverIngress` nil.
    public var cluster: String?
    public var match: Match
    /// Share of the requests, 0 to 1.
    public var chance: Double
    /// Only attempts up to this one, counted from 1; nil: all.
    public var firstAttempts: Int?
    /// Whether requests say themselves what is to be done, in Envoy's words
    /// (`x-envoy-fault-abort-request`, `x-envoy-fault-delay-request` and what belongs to them), as
    /// often as they say, and no more often than `chance`. It then has no delay, abort or rate of
    /// its own. Not at `perAttempt`. Fields of requests mean nothing without such a rule.
    public var trustsHeaders: Bool
    /// Before the request goes on, or is aborted.
    public var delay: DelayDistribution?
    public var abort: Abort?
    /// Bytes per second of answers' bodies, 1024 or more; nil: as they come. Of proxies.
    public var responseRate: Int?
    /// It is taken in and never answered, as long as the fault is there. Of the workload.
    public var hangs: Bool
    /// In place of the behaviour's, for all requests: not by chance, and without a match. Of the
    /// workload.
    public var capacity: AppCapacity?

    public init(
        name: String, seed: UInt64, point: Point, listener: String? = nil, cluster: String? = nil,
        match: Match = .init(), chance: Double = 1, firstAttempts: Int? = nil,
        trustsHeaders: Bool = false, delay: DelayDistribution? = nil, abort: Abort? = nil,
        responseRate: Int? = nil, hangs: Bool = false, capacity: AppCapacity? = nil
    ) {
        self.name = name
        self.seed = seed
        self.point = point
        self.listener = listener
        self.cluster = cluster
        self.match = match
        self.chance = chance
        self.firstAttempts = firstAttempts
        self.trustsHeaders = trustsHeaders
        self.delay = delay
        self.abort = abort
        self.responseRate = responseRate
        self.hangs = hangs
        self.capacity = capacity
    }
}

// MARK: Checks

extension FaultRule {
    /// Conditions of one kind, at most.
    public static let mostConditions = 16
    fileprivate static let mostText = 1024

    /// Whether faults can have this name.
    public static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
                    UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }

    /// What is wrong with it, for people; nil: nothing.
    public var problem: String? {
        guard Self.isName(name) else {
            return "name: letters, digits, '.', '_' and '-' are needed, 64 at most"
        }
        guard chance >= 0, chance <= 1 else { return "chance: 0 to 1" }
        if let firstAttempts, !(1...100).contains(firstAttempts) {
            return "first_attempts: 1 to 100"
        }
        if let text = delay?.problem { return "delay: \(text)" }
        switch abort {
        case .http(let status) where !(200...599).contains(status):
            return "abort: http: 200 to 599"
        case .grpc(let status) where !(1...16).contains(status): return "abort: grpc: 1 to 16"
        default: break
        }
        if let responseRate, !(1024...1 << 40).contains(responseRate) {
            return "response_rate: 1024 bytes per second or more"
        }
        if let text = capacity?.problem { return "capacity: \(text)" }
        return matchProblem ?? placeProblem
    }

    private var matchProblem: String? {
        if let text = match.problem { return "match: \(text)" }
        let names = [listener ?? "", cluster ?? ""]
        return names.allSatisfy { $0.utf8.count <= Self.mostText }
            ? nil : "listener, cluster: \(Self.mostText) bytes at most"
    }

    /// What does not go together.
    private var placeProblem: String? {
        let acts = delay != nil || abort != nil || responseRate != nil || hangs
        guard acts || trustsHeaders || capacity != nil else { return "it does nothing" }
        guard point.isProxy else {
            if listener != nil || cluster != nil { return "listener, cluster: of proxies" }
            if responseRate != nil || trustsHeaders {
                return "response_rate, trusts_headers: of proxies"
            }
            if capacity != nil, acts || !match.isAny || chance < 1 || firstAttempts != nil {
                return "capacity: it is for all requests, and goes alone"
            }
            return nil
        }
        if hangs || capacity != nil { return "hangs, capacity: only at app" }
        if point == .serverIngress, cluster != nil {
            return "cluster: of a client's proxy"
        }
        if trustsHeaders, acts { return "trusts_headers: with no delay, abort or rate of its own" }
        if trustsHeaders, point == .perAttempt { return "trusts_headers: not per attempt" }
        return nil
    }
}

extension FaultRule.Match {
    /// What is wrong with it, for people; nil: nothing.
    public var problem: String? {
        let (most, bytes) = (FaultRule.mostConditions, FaultRule.mostText)
        guard methods.count <= most, headers.count <= most else {
            return "\(most) methods and headers at most"
        }
        let texts = methods + headers.flatMap { [$0.name, $0.value ?? ""] }
        guard texts.allSatisfy({ $0.utf8.count <= bytes }) else {
            return "texts of \(bytes) bytes at most"
        }
        return pathProblem ?? methodProblem ?? headerProblem
    }

    // Whoever holds a rule compiles these: an expression that is none, or an empty prefix, that got
    // so far would end the process, so a rule is held to what the readers of files ask.

    private var pathProblem: String? {
        switch path {
        case .exact(let text), .prefix(let text):
            isRoutePath(text) ? nil : "path: a path without a query, such as /users, is needed"
        case .regex(let pattern): regexProblem(pattern).map { "path: regex: \($0)" }
        }
    }

    private var methodProblem: String? {
        methods.allSatisfy(isMethod)
            ? nil : "methods: methods in upper case, such as GET, are needed"
    }

    private var headerProblem: String? {
        for header in headers {
            guard isFieldName(header.name), header.name == header.name.lowercased() else {
                return "headers: names of fields in lower case are needed"
            }
            if let problem = header.problem { return "headers: \(header.name): \(problem)" }
        }
        return nil
    }
}
