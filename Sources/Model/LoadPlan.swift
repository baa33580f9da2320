public import Base

/// What one load generator offers.
public struct LoadPlan: Codable, Equatable, Sendable {
    /// How requests arrive.
    public enum Arrivals: String, Codable, CaseIterable, Sendable {
        /// Evenly spaced.
        case constant
        /// Exponential gaps.
        case poisson
        /// One at a uniformly random instant of each evenly spaced slot.
        case uniform
        /// As soon as a connection is free: no schedule, no rate.
        case closed
    }

    /// What is spoken to the service, or to the proxy before it.
    public enum Speech: String, Codable, CaseIterable, Sendable {
        case http1
        /// With prior knowledge, or by ALPN over TLS.
        case http2
        /// Unary calls over HTTP/2.
        case grpc
        /// Messages and their echoes, on connections that stay open.
        case websocket
        /// The same on streams of HTTP/2 that stay open (RFC 8441).
        case websocketHTTP2 = "websocket-http2"
        /// Bytes and their echoes.
        case tcp

        /// Whether its connections are those of HTTP/2.
        public var isHTTP2: Bool {
            switch self {
            case .http2, .grpc, .websocketHTTP2: true
            case .http1, .websocket, .tcp: false
            }
        }
    }

    /// Who shows a certificate.
    public enum Security: String, Codable, CaseIterable, Sendable {
        /// Cleartext.
        case off
        /// TLS; the server alone.
        case server
        /// TLS; the client too.
        case mutual
    }

    public var name: String
    /// The service that is called.
    public var to: String
    public var speech: Speech
    public var security: Security
    /// Requests per second in all; ignored for closed arrivals.
    public var rate: RateShape
    public var arrivals: Arrivals
    public var connections: Int
    /// Requests that one connection carries at once; 1 for `http1`. Of `websocketHTTP2` the
    /// WebSockets on it, each with one message at once.
    public var streams: Int
    /// Where its sidecar runs; nil: nobody knows.
    public var zone: String?
    /// From the intended instant to the complete answer.
    public var timeout: Duration
    public var request: RequestPlan
    /// Requests after which a connection is replaced; 0: never.
    public var requestsPerConnection: Int
    /// Threads of the generator.
    public var threads: Int

    public init(
        name: String, to: String, rate: RateShape, arrivals: Arrivals, connections: Int,
        timeout: Duration, request: RequestPlan, requestsPerConnection: Int, threads: Int,
        speech: Speech = .http1, security: Security = .off, streams: Int = 1
    ) {
        self.name = name
        self.to = to
        self.speech = speech
        self.security = security
        self.streams = streams
        self.rate = rate
        self.arrivals = arrivals
        self.connections = connections
        self.timeout = timeout
        self.request = request
        self.requestsPerConnection = requestsPerConnection
        self.threads = threads
    }
}

/// A rate over time, requests per second.
public enum RateShape: Codable, Equatable, Sendable {
    case constant(Double)
    /// From `start` to `end`, straight over the whole phase.
    case ramp(start: Double, end: Double)
    /// Equal spans of the phase at each rate.
    case steps([Double])
}

/// One request, repeated.
public struct RequestPlan: Codable, Equatable, Sendable {
    public var method: String
    /// Path and query.
    public var path: String
    public var headers: [Header]
    /// Bytes of body sent with each request; 0: none.
    public var bodySize: Int

    public struct Header: Codable, Equatable, Sendable {
        public var name: String
        public var value: String

        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    public init(
        method: String = "GET", path: String = "/", headers: [Header] = [], bodySize: Int = 0
    ) {
        self.method = method
        self.path = path
        self.headers = headers
        self.bodySize = bodySize
    }
}
