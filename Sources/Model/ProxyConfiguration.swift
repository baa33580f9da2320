// The configuration of the reference proxy, validated. docs/PROXY.md documents the file's form.

public import Base

/// What a proxy serves: listeners, and the routes and clusters behind them.
public struct ProxyConfiguration: Codable, Equatable, Sendable {
    public var listeners: [Listener]
    public var routes: [Route]
    public var clusters: [Cluster]
    /// Where /stats, /ready and /config are served; nil: nowhere.
    public var admin: SocketAddressText?
    /// JSON lines, one a request: a path, or `-` for standard output; nil: none.
    public var accessLog: String?
    public var workers: Int
    public var limits: ProxyLimits
    public var timeouts: ProxyTimeouts
    public var headers: HeaderPolicy
    /// Protocols that a connection may change to, in lower case; others are not asked for.
    public var upgrades: [String]
    /// The proxy's own zone; nil: nobody knows.
    public var zone: String?
    /// Held against each request in their order, beside those of leases (docs/FAULTS.md).
    public var faults: [FaultRule] = []
    /// The file with a line for each thing that a fault does; nil: none.
    public var ledger: String?

    /// `host:port`, the host a numeric IPv4 or bracketed IPv6 address. Port 0: any free one.
    public typealias SocketAddressText = String

    public struct Listener: Codable, Equatable, Sendable {
        /// What clients speak.
        public enum Speech: String, Codable, CaseIterable, Sendable {
            /// HTTP/2 or HTTP/1.1: as agreed by ALPN, and in cleartext as the first bytes show
            /// (HTTP/2 with prior knowledge, RFC 9113, 3.3).
            case auto
            case http1
            case http2
            /// Bytes, forwarded both ways without a look at them.
            case tcp
        }

        public var name: String
        public var address: SocketAddressText
        public var speech: Speech
        /// Where all goes that comes by it; nil: requests go where routes say. A `tcp` listener has
        /// one.
        public var cluster: String?
        /// nil: cleartext.
        public var tls: ServerTLS?
        /// With `tls`: cleartext is taken too, told apart by a connection's first byte.
        public var isPermissive: Bool
        /// nil: whoever can connect may ask for anything.
        public var authorization: Authorization?
        /// A request takes a token of each that means it, before it is known who may ask.
        public var rateLimits: [RateLimitPolicy] = []
        /// What all proxies limit together, for those who may ask; nil: nothing.
        public var globalRateLimit: GlobalRateLimit?
        /// Whose requests its limits and its cluster's admission do not mean, nil: nobody's.
        /// Whoever asks how a service is must not be told how busy it is instead.
        public var unlimited: SPIFFEID?
        /// Whether clients may say by `x-envoy-…` fields how their requests are retried and how
        /// long they may take. From others such fields are taken away.
        public var trustsHeaders = false

        public init(
            name: String, address: SocketAddressText, speech: Speech = .auto,
            cluster: String? = nil, tls: ServerTLS? = nil, isPermissive: Bool = false,
            authorization: Authorization? = nil
        ) {
            self.name = name
            self.address = address
            self.speech = speech
            self.cluster = cluster
            self.tls = tls
            self.isPermissive = isPermissive
            self.authorization = authorization
        }
    }

    /// Who may ask for what, in the order of `MeshAuthorization`: what a rule of `deny` means is
    /// denied; else it is let in where `allow` is nil, or one of its rules means it.
    ///
    /// A rule that asks for what bytes do not have, such as a path, means nothing of a `tcp`
    /// listener. `ports` are the listener's own.
    public struct Authorization: Codable, Equatable, Sendable {
        public typealias Rule = MeshAuthorization.Rule

        public var deny: [Rule]
        /// nil: all that is not denied; empty: nothing.
        public var allow: [Rule]?
        /// Whom the rules do not mean, who may ask for all: a mesh's control plane, which declares
        /// them, and asks how a service is. Nil: they mean everybody.
        public var exempt: SPIFFEID?

        public init(deny: [Rule] = [], allow: [Rule]? = nil, exempt: SPIFFEID? = nil) {
            self.deny = deny
            self.allow = allow
            self.exempt = exempt
        }
    }

    /// The first route whose every condition holds is taken.
    public struct Route: RouteConditions, RouteEffects, Codable, Equatable, Sendable {
        /// Hosts without port, lower case; `*.example.org` matches any depth below; empty: any
        /// host.
        public var hosts: [String]
        public var path: PathMatch
        /// Methods, upper case; empty: any.
        public var methods: [String]
        public var headers: [HeaderMatch]
        public var query: [ParameterMatch] = []
        public var cookies: [ParameterMatch] = []
        /// Who answers, by weight. One at least has a weight of more than 0, unless the proxy
        /// answers itself.
        public var shares: [Share]
        /// Clusters that requests are sent to besides, `TrafficLimits.mirrors` at most.
        public var mirrors: [RequestMirror<String>] = []
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
        /// The declared route of which this is one host with one match: what such have in common
        /// they are limited by together. Nil: it is a whole one.
        public var declared: String?

        public init(
            hosts: [String] = [], path: PathMatch = .prefix("/"), methods: [String] = [],
            headers: [HeaderMatch] = [], shares: [Share], timeout: Duration? = nil
        ) {
            self.hosts = hosts
            self.path = path
            self.methods = methods
            self.headers = headers
            self.shares = shares
            self.timeout = timeout
        }

        /// A route of which one cluster answers everything.
        public init(
            hosts: [String] = [], path: PathMatch = .prefix("/"), methods: [String] = [],
            headers: [HeaderMatch] = [], cluster: String, timeout: Duration? = nil
        ) {
            self.init(
                hosts: hosts, path: path, methods: methods, headers: headers,
                shares: [Share(cluster)], timeout: timeout)
        }
    }

    /// A cluster, and how many of a route's requests it gets.
    public struct Share: Codable, Hashable, Sendable {
        public var cluster: String
        /// Against the weights of the route's other clusters, 1,000,000 at most; 0: none.
        public var weight: Int
        public var requestHeaders = HeaderChanges()
        public var answerHeaders = HeaderChanges()

        public init(_ cluster: String, weight: Int = 1) {
            self.cluster = cluster
            self.weight = weight
        }
    }

    public struct Cluster: AttemptPolicies, Codable, Equatable, Sendable {
        /// What the endpoints speak.
        public enum Speech: String, Codable, CaseIterable, Sendable {
            case http1
            /// With prior knowledge, or by ALPN over TLS.
            case http2
        }

        public var name: String
        public var speech: Speech
        /// nil: cleartext.
        public var tls: ClientTLS?
        /// Taken in turn, as often as their weights say.
        public var endpoints: [Endpoint]
        public var connectTimeout: Duration
        /// In place of `timeouts.request`; `zero`: none.
        public var requestTimeout: Duration?
        /// In place of `timeouts.idle`, for its connections.
        public var idleTimeout: Duration?
        /// In place of `timeouts.streamIdle`, for its requests.
        public var streamIdleTimeout: Duration?
        /// Of one attempt, from its connection to the end of its answer; `zero`: no limit.
        public var maxStreamDuration = Duration.zero
        /// Of its connections, from their opening; then they take no more requests. `zero`: no
        /// limit.
        public var maxConnectionDuration = Duration.zero
        /// Requests that each of its connections takes; 0: no limit.
        public var requestsPerConnection = 0
        /// What may be open or in flight to it at once.
        public var breaker: BreakerPolicy
        public var balance = BalancePolicy()
        public var outlier: OutlierPolicy?
        public var accrual: AccrualPolicy?
        public var retry: RetryPolicy?
        public var admission: AdmissionPolicy?

        public init(
            name: String, endpoints: [Endpoint], speech: Speech = .http1,
            tls: ClientTLS? = nil, connectTimeout: Duration = .seconds(5),
            requestTimeout: Duration? = nil, idleTimeout: Duration? = nil,
            breaker: BreakerPolicy = .init()
        ) {
            self.name = name
            self.speech = speech
            self.tls = tls
            self.endpoints = endpoints
            self.connectTimeout = connectTimeout
            self.requestTimeout = requestTimeout
            self.idleTimeout = idleTimeout
            self.breaker = breaker
        }
    }

    /// An address of a cluster. A literal of it has a weight of 1.
    public struct Endpoint: Codable, Hashable, Sendable, ExpressibleByStringLiteral {
        public var address: SocketAddressText
        /// Its share of requests against the cluster's other endpoints, 1 to 1,000,000.
        public var weight: Int
        /// Where it runs; nil: nobody knows.
        public var zone: String?
        /// Endpoints of a level serve when those of the levels before do not suffice; 0 to 127.
        public var level = 0
        /// What subsets are chosen by.
        public var labels: [String: String] = [:]
        /// Whether active checks have found it well.
        public var isHealthy = true

        public init(_ address: SocketAddressText, weight: Int = 1) {
            self.address = address
            self.weight = weight
        }

        public init(stringLiteral address: String) { self.init(address) }
    }

    public init(
        listeners: [Listener], routes: [Route], clusters: [Cluster],
        admin: SocketAddressText? = nil, accessLog: String? = nil, workers: Int = 1,
        limits: ProxyLimits = .init(), timeouts: ProxyTimeouts = .init(),
        headers: HeaderPolicy = .init(), upgrades: [String] = ["websocket"]
    ) {
        self.listeners = listeners
        self.routes = routes
        self.clusters = clusters
        self.admin = admin
        self.accessLog = accessLog
        self.workers = workers
        self.limits = limits
        self.timeouts = timeouts
        self.headers = headers
        self.upgrades = upgrades
    }
}

/// Bounds of one proxy worker.
public struct ProxyLimits: Codable, Equatable, Sendable {
    /// What `headBytes` may be at most: a head stands in one buffer of 64 KiB, with room for what
    /// the proxy adds.
    public static let headBytesMost = 60 * 1024

    /// Bytes of a request or answer head, start line included; more is answered 431 (or 414 for the
    /// line).
    public var headBytes: Int
    /// Header fields in one head.
    public var headerCount: Int
    /// Bytes of one request target.
    public var targetBytes: Int
    /// Connections of all kinds, clients' and upstreams', and streams of HTTP/2.
    public var connections: Int
    /// Streams of HTTP/2 open at once on one connection, in either direction (RFC 9113, 5.1.2).
    public var streams: Int
    /// Requests that one client's connection may send; then it is drained. 0: no limit.
    public var requestsPerConnection = 0

    public init(
        headBytes: Int = 32 * 1024, headerCount: Int = 100, targetBytes: Int = 8 * 1024,
        connections: Int = 50_000, streams: Int = 128
    ) {
        self.streams = streams
        self.headBytes = headBytes
        self.headerCount = headerCount
        self.targetBytes = targetBytes
        self.connections = connections
    }
}

public struct ProxyTimeouts: Codable, Equatable, Sendable {
    /// From the end of the request to the end of the answer; `zero`: none. Envoy's route timeout.
    public var request: Duration
    /// A connection without a request.
    public var idle: Duration
    /// From the first byte of a head to its end.
    public var head: Duration
    /// A body or tunnel on which nothing moves in either direction.
    public var streamIdle: Duration
    /// From a request's head to the end of its answer, or tunnel; `zero`: no limit.
    public var maxStream = Duration.zero
    /// Of a client's connection, from its opening; then it is drained. `zero`: no limit.
    public var maxConnection = Duration.zero
    /// In-flight requests after SIGTERM.
    public var drain: Duration
    /// From the opening of a connection to the end of its TLS handshake.
    public var handshake: Duration
    /// An HTTP/2 connection on which nothing has arrived for so long is sent a PING; `zero`: never.
    public var pingInterval: Duration
    /// From that PING to its answer; then the connection is given up.
    public var pingTimeout: Duration

    public init(
        request: Duration = .seconds(15), idle: Duration = .seconds(3600),
        head: Duration = .seconds(10), streamIdle: Duration = .seconds(300),
        drain: Duration = .seconds(30), handshake: Duration = .seconds(10),
        pingInterval: Duration = .zero, pingTimeout: Duration = .seconds(10)
    ) {
        self.handshake = handshake
        self.pingInterval = pingInterval
        self.pingTimeout = pingTimeout
        self.request = request
        self.idle = idle
        self.head = head
        self.streamIdle = streamIdle
        self.drain = drain
    }
}

/// Fields that the proxy adds.
public struct HeaderPolicy: Codable, Equatable, Sendable {
    /// The pseudonym in `Via` (RFC 9110, 7.6.3); nil: no `Via`.
    public var via: String?
    /// Append the client's address to `x-forwarded-for`.
    public var forwardedFor: Bool
    /// Add `x-request-id` where a request has none.
    public var requestID: Bool
    /// Of all requests as they go on, and of all answers of upstreams.
    public var request = HeaderChanges()
    public var answer = HeaderChanges()
    /// Tell upstreams, and clients with the answer, how often a request has been sent
    /// (`x-envoy-attempt-count`).
    public var attemptCount: Bool
    /// Tell upstreams how long they have (`x-envoy-expected-rq-timeout-ms`).
    public var expectedTimeout: Bool
    /// Tell clients how long the upstream took (`x-envoy-upstream-service-time`).
    public var serviceTime: Bool

    public init(
        via: String? = nil, forwardedFor: Bool = false, requestID: Bool = false,
        attemptCount: Bool = false, expectedTimeout: Bool = false, serviceTime: Bool = false
    ) {
        self.via = via
        self.forwardedFor = forwardedFor
        self.requestID = requestID
        self.attemptCount = attemptCount
        self.expectedTimeout = expectedTimeout
        self.serviceTime = serviceTime
    }
}
