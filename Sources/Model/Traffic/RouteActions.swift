// What is made of requests that a route means, and of their answers, beside where they go.

public import Base

/// What becomes of the requests of a route, which a proxy's file and declarations say in the same
/// words.
public protocol RouteEffects: Sendable {
    /// Requests are sent elsewhere; they reach nobody. Not with `answer`.
    var redirect: Redirect? { get set }
    /// Requests are answered from here; they reach nobody.
    var answer: DirectAnswer? { get set }
    var rewrite: PathRewrite? { get set }
    /// In place of the host that was asked, with port where it has one.
    var hostRewrite: String? { get set }
    /// Of requests as they go on.
    var requestHeaders: HeaderChanges { get set }
    /// Of answers that upstreams give, and of `answer` and `redirect`.
    var answerHeaders: HeaderChanges { get set }
    /// From the end of the request to the end of the answer, in place of the cluster's; `zero`:
    /// none.
    var timeout: Duration? { get set }
    /// In place of the cluster's.
    var retry: RetryPolicy? { get set }
    /// Whose limits of a breaker its requests are held against.
    var priority: Priority { get set }
    /// A request takes a token of each that means it. Each proxy has buckets of its own.
    var rateLimits: [RateLimitPolicy] { get set }
    /// What all proxies limit together; nil: nothing.
    var globalRateLimit: GlobalRateLimit? { get set }
}

extension RouteEffects {
    /// Requests reach nobody.
    public var isAnsweredHere: Bool { redirect != nil || answer != nil }

    /// Keys that say something of requests that nobody gets, as the route answers itself.
    public var idleKeys: [String] {
        guard isAnsweredHere else { return [] }
        let said = [
            ("host_rewrite", hostRewrite != nil), ("request_headers", !requestHeaders.isEmpty),
            ("timeout", timeout != nil), ("retry", retry != nil),
            ("priority", priority != .standard),
        ]
        return said.filter(\.1).map(\.0)
    }

    /// Does the same with requests as another route.
    mutating func take(_ other: some RouteEffects) {
        redirect = other.redirect
        answer = other.answer
        rewrite = other.rewrite
        hostRewrite = other.hostRewrite
        requestHeaders = other.requestHeaders
        answerHeaders = other.answerHeaders
        timeout = other.timeout
        retry = other.retry
        priority = other.priority
        rateLimits = other.rateLimits
        globalRateLimit = other.globalRateLimit
    }

    /// Why paths cannot be rewritten as it says; nil: they can.
    /// - Parameter paths: what it asks of requests.
    public func whyNoRewrite(of paths: [ProxyConfiguration.PathMatch]) -> String? {
        guard let rewrite else { return nil }
        if isAnsweredHere {
            return "the route answers itself: nobody would get the rewritten path"
        }
        let isByRegex = paths.contains { if case .regex = $0 { true } else { false } }
        guard case .prefix = rewrite, isByRegex else { return rewrite.problem }
        return "a route with an expression has no prefix to replace: `path` replaces all of it, "
            + "`regex` a part"
    }
}

/// For people: what is wrong with what `RouteEffects.idleKeys` names.
public let whyIdle = "the route answers itself: nobody is asked"

/// What a request's path becomes. The query stays.
///
/// Source: Envoy, `config.route.v3.RouteAction`, `prefix_rewrite` and `regex_rewrite`.
public enum PathRewrite: Codable, Hashable, Sendable {
    /// In place of the path or prefix that the route asks for; of a route with an expression: of
    /// the whole.
    case prefix(String)
    /// The whole path.
    case path(String)
    /// Every part that fits the expression becomes the substitution, in which `\1` to `\9` stand
    /// for its groups (`RegexSubstitution`).
    case regex(String, substitution: String)

    /// Bytes of a substitution.
    public static let substitutionMost = 1024

    /// Why it cannot be made; nil: it can.
    public var problem: String? {
        switch self {
        case .prefix(let path), .path(let path):
            return isRoutePath(path) ? nil : "a path without a query, such as /users, is needed"
        case .regex(let pattern, let substitution):
            guard let regex = try? LinearRegex(pattern) else { return regexProblem(pattern) }
            guard substitution.utf8.count <= Self.substitutionMost, isTargetText(substitution),
                !substitution.contains("?")
            else {
                return "what may stand in a path is needed, at most \(Self.substitutionMost) bytes"
            }
            do throws(RegexError) {
                _ = try RegexSubstitution(substitution, groups: regex.groupCount)
                return nil
            } catch {
                return "substitution: \(error.message)"
            }
        }
    }
}

/// Where a client is sent instead.
///
/// Source: Envoy, `config.route.v3.RedirectAction`.
public struct Redirect: Codable, Hashable, Sendable {
    /// 301, 302, 303, 307 or 308.
    public var status: Int
    /// `http` or `https`; nil: as it came.
    public var scheme: String?
    /// Without port; nil: as it was asked.
    public var host: String?
    /// nil: as it was asked, unless the scheme changes: then that of the scheme.
    public var port: Int?
    public var path: PathRewrite?
    /// Whether the query is left out.
    public var stripsQuery: Bool

    public init(
        status: Int = 301, scheme: String? = nil, host: String? = nil, port: Int? = nil,
        path: PathRewrite? = nil, stripsQuery: Bool = false
    ) {
        self.status = status
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.stripsQuery = stripsQuery
    }

    public static let statuses = [301, 302, 303, 307, 308]

    /// Why it cannot be made; nil: it can.
    public var problem: String? {
        if !Self.statuses.contains(status) {
            return "a status of 301, 302, 303, 307 or 308 is needed"
        }
        if let scheme, scheme != "http", scheme != "https" { return "http or https is needed" }
        if let host, !isHostPattern(host) || host.hasPrefix("*") {
            return "a host in lower case, without port, is needed"
        }
        if let port, !(1...65_535).contains(port) { return "a port from 1 to 65535 is needed" }
        if scheme == nil, host == nil, port == nil, path == nil, !stripsQuery {
            return "clients would be sent where they come from: another scheme, host, port or "
                + "path is needed"
        }
        return path?.problem
    }
}

/// An answer that the proxy gives by itself.
public struct DirectAnswer: Codable, Hashable, Sendable {
    /// 200 to 599.
    public var status: Int
    /// At most `bodyMost` bytes.
    public var body: String

    /// Envoy's default of `max_direct_response_body_size_bytes`.
    public static let bodyMost = 4096

    public init(status: Int, body: String = "") {
        self.status = status
        self.body = body
    }

    /// Why it cannot be given; nil: it can.
    public var problem: String? {
        (200...599).contains(status) && body.utf8.count <= Self.bodyMost
            ? nil
            : "a status from 200 to 599 and a body of at most \(Self.bodyMost) bytes are needed"
    }
}

/// Changes to the fields of a message: `remove`, then `set`, then `add`. Of a route's share, the
/// route and the proxy as a whole, the changes are made in this order, so that the last has its
/// way.
///
/// Source: Envoy, "HTTP header manipulation".
public struct HeaderChanges: Codable, Hashable, Sendable {
    public struct Field: Codable, Hashable, Sendable {
        /// Lower case.
        public var name: String
        public var value: String

        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// In place of all of that name.
    public var set: [Field]
    /// Beside what there is.
    public var add: [Field]
    /// Names in lower case.
    public var remove: [String]

    /// Fields set and added, and names removed, of one place: a share, a route, or the proxy.
    public static let most = 64
    /// Bytes that they add.
    public static let bytesMost = 8192

    public init(set: [Field] = [], add: [Field] = [], remove: [String] = []) {
        self.set = set
        self.add = add
        self.remove = remove
    }

    public var isEmpty: Bool { self.set.isEmpty && add.isEmpty && remove.isEmpty }

    /// Whether a field may be changed: not what says where a message goes, how it is delimited,
    /// or what concerns one connection.
    public static func mayChange(_ name: String) -> Bool {
        ![
            "host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade",
            "keep-alive", "proxy-connection",
        ].contains(name)
    }

    var count: Int { self.set.count + add.count + remove.count }

    var byteCount: Int {
        (self.set + add).reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
    }

    /// Why it cannot be made; nil: it can.
    public var problem: String? {
        guard count <= Self.most, byteCount <= Self.bytesMost else {
            return "more than \(Self.most) changes, or \(Self.bytesMost) bytes"
        }
        for name in (set + add).map(\.name) + remove {
            guard isFieldName(name), name == name.lowercased() else {
                return "'\(name)' is no name of a field in lower case"
            }
            guard Self.mayChange(name) else {
                return "'\(name)' is not for routes to change"
            }
        }
        return (set + add).lazy.compactMap { whyNoFieldValue($0.value) }.first
    }
}
