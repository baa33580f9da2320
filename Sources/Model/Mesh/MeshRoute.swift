public import Base

/// Which requests go to which services.
///
/// Routes of the whole mesh are held against a request in the order of `MeshRoute.Condition`: the
/// most particular one holds.
public struct MeshRoute: MeshDeclared, RouteEffects {
    public static let kind = MeshKind.route

    /// What a request must be like, beside its host. All parts must hold.
    public struct Match: RouteConditions, Codable, Hashable, Sendable {
        public var path: ProxyConfiguration.PathMatch
        /// Upper case; empty: any.
        public var methods: [String]
        /// In the order of their names, each name once.
        public var headers: [ProxyConfiguration.HeaderMatch] {
            didSet { headers.sort { $0.name < $1.name } }
        }
        /// In the same order.
        public var query: [ProxyConfiguration.ParameterMatch] {
            didSet { query.sort { $0.name < $1.name } }
        }
        /// In the same order.
        public var cookies: [ProxyConfiguration.ParameterMatch] {
            didSet { cookies.sort { $0.name < $1.name } }
        }

        public init(
            path: ProxyConfiguration.PathMatch = .prefix("/"), methods: [String] = [],
            headers: [ProxyConfiguration.HeaderMatch] = [],
            query: [ProxyConfiguration.ParameterMatch] = [],
            cookies: [ProxyConfiguration.ParameterMatch] = []
        ) {
            self.path = path
            self.methods = methods
            self.headers = headers.sorted { $0.name < $1.name }
            self.query = query.sorted { $0.name < $1.name }
            self.cookies = cookies.sorted { $0.name < $1.name }
        }
    }

    /// A service and its share of the requests.
    public struct Destination: Codable, Equatable, Sendable {
        public var service: MeshName
        /// Against the weights of the other destinations; 0: none.
        public var weight: Int
        /// Of its requests, before the route's.
        public var requestHeaders = HeaderChanges()
        /// Of its answers, before the route's.
        public var answerHeaders = HeaderChanges()

        public init(_ service: MeshName, weight: Int = 1) {
            self.service = service
            self.weight = weight
        }
    }

    public var namespace: String
    public var name: String
    /// As of a proxy's route: lower case, without port, `*.example.org` for any below; empty: any.
    public var hosts: [String]
    /// Alternatives: one of them must hold.
    public var matches: [Match]
    /// Who is asked; where the proxy of the client answers itself nobody is, and these say whose
    /// clients are meant.
    public var destinations: [Destination]
    /// Who is sent requests besides; they are not among the `destinations`.
    public var mirrors: [RequestMirror<MeshName>] = []
    public var redirect: Redirect?
    public var answer: DirectAnswer?
    public var rewrite: PathRewrite?
    public var hostRewrite: String?
    public var requestHeaders = HeaderChanges()
    public var answerHeaders = HeaderChanges()
    public var timeout: Duration?
    public var retry: RetryPolicy?
    public var priority = Priority.standard
    public var rateLimits: [RateLimitPolicy] = []
    public var globalRateLimit: GlobalRateLimit?

    public init(
        _ name: String, in namespace: String = MeshName.standardNamespace, hosts: [String] = [],
        matches: [Match] = [.init()], destinations: [Destination], timeout: Duration? = nil
    ) {
        self.namespace = namespace
        self.name = name
        self.hosts = hosts
        self.matches = matches
        self.destinations = destinations
        self.timeout = timeout
    }

    public func check(_ problems: inout MeshProblems) {
        problems.list("hosts", hosts, 0...MeshLimits.hosts) { problems, host in
            guard !isHostPattern(host) else { return }
            problems.report("a host in lower case, without port, is needed")
        }
        problems.list("matches", matches, 1...MeshLimits.matches) { $1.check(&$0) }
        problems.list("to", destinations, 1...MeshLimits.destinations) { problems, destination in
            problems.reference("service", destination.service, breadth: 0)
            problems.range("weight", destination.weight, 0...MeshLimits.weight)
            problems.changes("request_headers", destination.requestHeaders)
            problems.changes("response_headers", destination.answerHeaders)
        }
        checkMirrors(&problems)
        checkActions(&problems)
        if let timeout { problems.range("timeout", timeout, MeshLimits.timeout) }
        problems.part("retry", retry)
        problems.rateLimits(rateLimits)
        problems.part("global_rate_limit", globalRateLimit)
        if !destinations.isEmpty, destinations.allSatisfy({ $0.weight == 0 }) {
            problems.report("to", "every weight is 0: nobody would answer")
        }
        var seen: Set<MeshName> = []
        for (index, destination) in destinations.enumerated()
        where !seen.insert(destination.service).inserted {
            problems.at("to", "\(index)") {
                $0.report("service", "'\(destination.service.text)' stands here already")
            }
        }
    }
}

extension MeshRoute {
    /// Whom its requests may reach.
    public var services: [MeshName] { destinations.map(\.service) + mirrors.map(\.target) }

    private func checkMirrors(_ problems: inout MeshProblems) {
        if isAnsweredHere, !mirrors.isEmpty {
            problems.report("mirror", "the route answers itself: no request goes on to be mirrored")
        }
        var seen = Set(destinations.map(\.service))
        problems.list("mirror", mirrors, 0...TrafficLimits.mirrors) { problems, mirror in
            problems.reference("service", mirror.target, breadth: 0)
            problems.percent("percent", mirror.percent)
            guard !seen.insert(mirror.target).inserted else { return }
            problems.report(
                "service", "'\(mirror.target.text)' is sent the route's requests already")
        }
    }

    private func checkActions(_ problems: inout MeshProblems) {
        if let why = whyNoRewrite(of: matches.map(\.path)) { problems.report("rewrite", why) }
        if redirect != nil, answer != nil {
            problems.report("redirect", "has no meaning beside `answer`: it is one or the other")
        }
        for key in idleKeys { problems.report(key, whyIdle) }
        if let why = redirect?.problem { problems.report("redirect", why) }
        if let why = answer?.problem { problems.report("answer", why) }
        if let hostRewrite, !isAuthority(hostRewrite) {
            problems.report("host_rewrite", "a host, with a port or without, is needed")
        }
        problems.changes("request_headers", requestHeaders)
        problems.changes("response_headers", answerHeaders)
    }
}

extension MeshProblems {
    fileprivate mutating func changes(_ step: String, _ changes: HeaderChanges) {
        if let why = changes.problem { report(step, why) }
    }

    fileprivate mutating func parameters(
        _ step: String, _ parameters: [ProxyConfiguration.ParameterMatch]
    ) {
        at(step) { problems in
            guard parameters.count <= MeshLimits.headers else {
                return problems.report("at most \(MeshLimits.headers) keys are allowed here")
            }
            var seen: Set<String> = []
            for parameter in parameters {
                problems.at(parameter.name) { problems in
                    if !seen.insert(parameter.name).inserted {
                        problems.report("stands here already")
                    }
                    if let why = parameter.test.problem { problems.report(why) }
                }
            }
        }
    }
}

extension MeshRoute.Match {
    fileprivate func check(_ problems: inout MeshProblems) {
        switch path {
        case .exact(let path): problems.path("path", path)
        case .prefix(let prefix): problems.path("prefix", prefix)
        case .regex(let pattern):
            if let problem = regexProblem(pattern) { problems.report("regex", problem) }
        }
        problems.methods(methods)
        problems.headers(headers)
        problems.parameters("query", query)
        problems.parameters("cookies", cookies)
    }
}

extension MeshRoute {
    /// One host (nil: any) with one match: what a request is held against. The less is held first,
    /// as the Gateway API orders it (HTTPRouteRule, `matches`): exact hosts, then suffixes, the
    /// longer first; exact paths, then expressions, then prefixes, the longer first; some methods,
    /// the fewer first; then more headers, more parameters of the query, more cookies. What is left
    /// is alike in all this and differs in content: it goes by text, so that every proxy has the
    /// same order.
    public struct Condition: Hashable, Comparable, Sendable {
        public let host: String?
        public let match: Match
        private let rank: [Int]
        private let text: String

        public init(host: String?, match: Match) {
            self.host = host
            // The same conditions in other orders are the same.
            self.match = Match(
                path: match.path, methods: Set(match.methods).sorted(), headers: match.headers,
                query: match.query, cookies: match.cookies)
            let (kind, path) =
                switch match.path {
                case .exact(let path): (0, path)
                case .regex(let pattern): (1, pattern)
                case .prefix(let prefix): (2, prefix)
                }
            let hostRank = host.map { $0.hasPrefix("*.") ? 1 : 0 } ?? 2
            rank = [
                hostRank, -(host?.utf8.count ?? 0), kind, -path.utf8.count,
                match.methods.isEmpty ? .max : self.match.methods.count, -match.headers.count,
                -match.query.count, -match.cookies.count,
            ]
            // With the kind of the test, in which texts are quoted: nothing else reads alike, or
            // the order of the two would be another one in each process.
            let headers = match.headers.map { "\($0.name):\($0.test) \($0.isInverted)" }
            let parameters = (match.query + match.cookies).map { "\($0.name)=\($0.test)" }
            text =
                ([host ?? "", path] + self.match.methods + headers + parameters)
                .joined(separator: "\n")
        }

        public static func < (a: Condition, b: Condition) -> Bool {
            a.rank == b.rank ? a.text < b.text : a.rank.lexicographicallyPrecedes(b.rank)
        }
    }

    /// Every condition of the route, with the places of its host and match.
    var conditions: [(host: Int?, match: Int, condition: Condition)] {
        let hosts = hosts.isEmpty ? [nil] : self.hosts.indices.map(Optional.some)
        return hosts.flatMap { host in
            matches.indices.map { match in
                let text = host.map { self.hosts[$0] }
                return (host, match, Condition(host: text, match: matches[match]))
            }
        }
    }
}
