public import Base

/// How requests to services are carried: what Istio has in a DestinationRule's traffic policy. Nil
/// is whatever the proxy does by itself.
public struct MeshPolicy: MeshDeclared {
    public static let kind = MeshKind.policy

    /// How long the proxies of its clients wait.
    public struct Timeouts: Codable, Equatable, Sendable {
        /// For a connection to open.
        public var connect: Duration?
        /// From the end of the request to the end of the answer; `zero`: no limit.
        public var request: Duration?
        /// For a request on an open connection, before that is closed.
        public var idle: Duration?

        public init(connect: Duration? = nil, request: Duration? = nil, idle: Duration? = nil) {
            self.connect = connect
            self.request = request
            self.idle = idle
        }
    }

    /// What each worker of a client's proxy may have open to a service.
    public struct Breaker: Codable, Equatable, Sendable {
        /// Connections at once.
        public var connections: Int?
        /// Requests that wait for one.
        public var pending: Int?

        public init(connections: Int? = nil, pending: Int? = nil) {
            self.connections = connections
            self.pending = pending
        }
    }

    public var namespace: String
    public var name: String
    /// Services by name, or all of a namespace, or all. Of several policies that mean a service
    /// the narrowest holds, alone.
    public var targets: [MeshName]
    public var timeouts: Timeouts
    public var breaker: Breaker

    public init(
        _ name: String, in namespace: String = MeshName.standardNamespace, targets: [MeshName],
        timeouts: Timeouts = .init(), breaker: Breaker = .init()
    ) {
        self.namespace = namespace
        self.name = name
        self.targets = targets
        self.timeouts = timeouts
        self.breaker = breaker
    }

    public func check(_ problems: inout MeshProblems) {
        problems.list("to", targets, 1...MeshLimits.targets) {
            $0.reference(nil, $1, breadth: 2)
        }
        problems.at("timeout") { problems in
            if let connect = timeouts.connect {
                problems.range("connect", connect, MeshLimits.connectTimeout)
            }
            if let request = timeouts.request {
                problems.range("request", request, MeshLimits.timeout)
            }
            if let idle = timeouts.idle {
                problems.range("idle", idle, MeshLimits.positiveTimeout)
            }
        }
        problems.at("breaker") { problems in
            if let connections = breaker.connections {
                problems.range("connections", connections, 1...MeshLimits.connections)
            }
            if let pending = breaker.pending {
                problems.range("pending", pending, 0...MeshLimits.connections)
            }
        }
        if timeouts == .init(), breaker == .init() {
            problems.report("a policy that says nothing: `timeout` or `breaker` is missing")
        }
    }
}
