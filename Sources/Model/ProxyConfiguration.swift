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

    /// `host:port`, the host a numeric IPv4 or bracketed IPv6 address. Port 0: any free one.
    public typealias SocketAddressText = String

    public struct Listener: Codable, Equatable, Sendable {
        public var name: String
        public var address: SocketAddressText

        public init(name: String, address: SocketAddressText) {
            self.name = name
            self.address = address
        }
    }

    /// The first route whose every condition holds is taken.
    public struct Route: Codable, Equatable, Sendable {
        /// Hosts without port, lower case; `*.example.org` matches any depth below; empty: any
        /// host.
        public var hosts: [String]
        public var path: PathMatch
        /// Methods, upper case; empty: any.
        public var methods: [String]
        public var headers: [HeaderMatch]
        public var cluster: String
        /// In place of `timeouts.request`.
        public var timeout: Duration?

        public init(
            hosts: [String] = [], path: PathMatch = .prefix("/"), methods: [String] = [],
            headers: [HeaderMatch] = [], cluster: String, timeout: Duration? = nil
        ) {
            self.hosts = hosts
            self.path = path
            self.methods = methods
            self.headers = headers
            self.cluster = cluster
            self.timeout = timeout
        }
    }

    public enum PathMatch: Codable, Equatable, Sendable {
        case exact(String)
        /// Of whole segments: `/a` matches `/a` and `/a/b`, not `/ab`; `/` matches all.
        case prefix(String)
    }

    public struct HeaderMatch: Codable, Equatable, Sendable {
        /// Lower case.
        public var name: String
        /// The exact value; nil: the header is present.
        public var value: String?

        public init(name: String, value: String?) {
            self.name = name
            self.value = value
        }
    }

    public struct Cluster: Codable, Equatable, Sendable {
        public var name: String
        /// Taken in turn.
        public var endpoints: [SocketAddressText]
        public var connectTimeout: Duration
        /// Connections open to this cluster at once, in each worker.
        public var maxConnections: Int
        /// Requests that may wait for a connection, in each worker.
        public var maxPending: Int

        public init(
            name: String, endpoints: [SocketAddressText], connectTimeout: Duration = .seconds(5),
            maxConnections: Int = 1024, maxPending: Int = 1024
        ) {
            self.name = name
            self.endpoints = endpoints
            self.connectTimeout = connectTimeout
            self.maxConnections = maxConnections
            self.maxPending = maxPending
        }
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
    /// Connections of all kinds, clients' and upstreams'.
    public var connections: Int

    public init(
        headBytes: Int = 32 * 1024, headerCount: Int = 100, targetBytes: Int = 8 * 1024,
        connections: Int = 20_000
    ) {
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
    /// In-flight requests after SIGTERM.
    public var drain: Duration

    public init(
        request: Duration = .seconds(15), idle: Duration = .seconds(3600),
        head: Duration = .seconds(10), streamIdle: Duration = .seconds(300),
        drain: Duration = .seconds(30)
    ) {
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

    public init(via: String? = nil, forwardedFor: Bool = false, requestID: Bool = false) {
        self.via = via
        self.forwardedFor = forwardedFor
        self.requestID = requestID
    }
}
