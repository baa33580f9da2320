/// What may be open or in flight to a cluster at once. What is beyond is answered 503 with `UO`.
///
/// Source: Envoy, `config.cluster.v3.CircuitBreakers`.
public struct BreakerPolicy: Codable, Equatable, Sendable {
    /// Bounds of one priority.
    public struct Limits: Codable, Equatable, Sendable {
        /// Connections, 1 or more.
        public var connections: Int
        /// Requests that wait for a connection to be free or to be opened, 0 or more. With 0 none
        /// can be sent that needs a connection to be opened.
        public var pending: Int
        /// Requests on a connection, also on one that is being opened, 0 or more. None waits for a
        /// place among them.
        public var requests: Int
        /// Retries in flight, 0 or more; where a retry policy has a budget, that holds instead.
        public var retries: Int

        /// Envoy's defaults.
        public init(
            connections: Int = 1024, pending: Int = 1024, requests: Int = 1024, retries: Int = 3
        ) {
            self.connections = connections
            self.pending = pending
            self.requests = requests
            self.retries = retries
        }
    }

    /// Of requests whose route says no priority.
    public var standard: Limits
    /// Of those of routes with `Priority.high`.
    public var high: Limits
    /// Whether the limits hold for all workers of the proxy together, to the request; else for each
    /// worker by itself, and an endpoint without any connection may have one beyond them.
    public var isStrict: Bool

    public init(
        standard: Limits = .init(), high: Limits = .init(), isStrict: Bool = false
    ) {
        self.standard = standard
        self.high = high
        self.isStrict = isStrict
    }
}

/// Whose breaker counts a request.
public enum Priority: String, Codable, CaseIterable, Sendable {
    case standard
    case high
}
