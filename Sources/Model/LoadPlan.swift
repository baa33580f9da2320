public import Base

/// What one load generator offers.
public struct LoadPlan: Codable, Equatable, Sendable {
    /// What the connections speak.
    public enum Speech: String, Codable, CaseIterable, Sendable {
        case http1
        case http2
        case grpc
        /// Messages that are echoed, each a request and its answer.
        case websocket
        /// Requests and answers of known lengths: docs/APP.md says how.
        case tcp
    }

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

    public var name: String
    /// The service that is called.
    public var to: String
    public var speech: Speech
    /// Requests per second in all; ignored for closed arrivals.
    public var rate: RateShape
    public var arrivals: Arrivals
    public var connections: Int
    /// Requests that one connection carries at once, 1 or more; 1 for `http1`.
    public var streams: Int
    /// From the intended instant to the complete answer.
    public var timeout: Duration
    public var request: RequestPlan
    /// Requests after which a connection is replaced; 0: never.
    public var requestsPerConnection: Int
    /// Threads of the generator.
    public var threads: Int

    public init(
        name: String, to: String, speech: Speech = .http1, rate: RateShape, arrivals: Arrivals,
        connections: Int, streams: Int = 1, timeout: Duration, request: RequestPlan,
        requestsPerConnection: Int, threads: Int
    ) {
        self.name = name
        self.to = to
        self.speech = speech
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
