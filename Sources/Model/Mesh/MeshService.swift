public import Base

/// A declaration of one kind.
public protocol MeshDeclared: Codable, Equatable, Sendable {
    static var kind: MeshKind { get }
    var namespace: String { get set }
    var name: String { get set }
    /// What is wrong with the value, whatever else is declared; at least what no reader of files
    /// has looked at.
    func check(_ problems: inout MeshProblems)
}

extension MeshDeclared {
    public var meshName: MeshName { .init(name, in: namespace) }
    public var key: MeshKey { .init(Self.kind, meshName) }
}

/// What clients call by one name, and what its proxies know of it.
public struct MeshService: MeshDeclared {
    public static let kind = MeshKind.service

    /// What the endpoints speak.
    public enum Speech: String, Codable, CaseIterable, Sendable {
        case http1
        /// With prior knowledge, or by ALPN over TLS; gRPC too.
        case http2
        /// Bytes, forwarded both ways without a look at them.
        case tcp
    }

    /// Whether the service's proxies take connections without mutual TLS, as Istio's
    /// PeerAuthentication has it.
    public enum MutualTLS: String, Codable, CaseIterable, Sendable {
        /// Only connections of mutual TLS.
        case strict
        /// Those, and cleartext.
        case permissive
        /// Only cleartext.
        case off
    }

    public var namespace: String
    public var name: String
    public var speech: Speech
    public var mtls: MutualTLS
    /// Whom its certificates name; nil: what follows from the name (`MeshState.identity`).
    public var identity: SPIFFEID?
    /// How its endpoints are asked whether they are well; nil: they are not asked.
    public var health: MeshHealthCheck?
    /// Whom it calls: services by name, or all of a namespace, or all. Its proxies are told of
    /// these, and of what routes make of calls to them; nil: all.
    public var calls: [MeshName]?

    public init(
        _ name: String, in namespace: String = MeshName.standardNamespace,
        speech: Speech = .http1, mtls: MutualTLS = .strict, identity: SPIFFEID? = nil,
        health: MeshHealthCheck? = nil, calls: [MeshName]? = nil
    ) {
        self.namespace = namespace
        self.name = name
        self.speech = speech
        self.mtls = mtls
        self.identity = identity
        self.health = health
        self.calls = calls
    }

    public func check(_ problems: inout MeshProblems) {
        problems.list("calls", calls ?? [], 0...MeshLimits.targets) {
            $0.reference(nil, $1, breadth: 2)
        }
        guard let health else { return }
        problems.at("health") { problems in
            health.check(&problems)
            if case .grpc = health.probe, speech != .http2 {
                problems.report(
                    "grpc",
                    "gRPC needs the protocol http2, and '\(name)' speaks \(speech.rawValue)")
            }
        }
    }
}

/// An active health check of a service's endpoints.
public struct MeshHealthCheck: Codable, Equatable, Sendable {
    public enum Probe: Codable, Equatable, Sendable {
        /// A connection can be opened.
        case tcp
        /// GET of this path is answered with a status from 200 to 399.
        case http(path: String)
        /// `grpc.health.v1.Health/Check` of this service says SERVING; empty: of the server.
        case grpc(service: String)
    }

    public var probe: Probe
    /// From the beginning of a check to that of the next.
    public var interval: Duration
    /// After so long a check has failed; at most `interval`.
    public var timeout: Duration
    /// Checks in a row that must pass before an unhealthy endpoint is healthy again.
    public var healthyThreshold: Int
    /// Checks in a row that must fail before a healthy endpoint is unhealthy.
    public var unhealthyThreshold: Int

    /// The defaults are those of Kubernetes' probes.
    public init(
        _ probe: Probe = .tcp, interval: Duration = .seconds(10), timeout: Duration = .seconds(1),
        healthyThreshold: Int = 1, unhealthyThreshold: Int = 3
    ) {
        self.probe = probe
        self.interval = interval
        self.timeout = timeout
        self.healthyThreshold = healthyThreshold
        self.unhealthyThreshold = unhealthyThreshold
    }

    fileprivate func check(_ problems: inout MeshProblems) {
        switch probe {
        case .tcp: break
        case .http(let path): problems.path("http", path)
        case .grpc(let service):
            if service.utf8.count > MeshLimits.hostBytes {
                problems.report("grpc", "longer than \(MeshLimits.hostBytes) bytes")
            }
        }
        problems.range("interval", interval, MeshLimits.healthInterval)
        problems.range("healthy", healthyThreshold, MeshLimits.healthThreshold)
        problems.range("unhealthy", unhealthyThreshold, MeshLimits.healthThreshold)
        problems.range("timeout", timeout, MeshLimits.positiveTimeout)
        if timeout > interval {
            problems.report("timeout", "the timeout of a check is longer than the interval")
        }
    }
}

/// One address at which a service answers.
public struct MeshEndpoint: MeshDeclared {
    public static let kind = MeshKind.endpoint

    public enum Health: String, Codable, CaseIterable, Sendable {
        case healthy
        /// Gets no requests.
        case unhealthy
        /// Gets no new requests; those in flight may end.
        case draining
    }

    public var namespace: String
    public var name: String
    /// The name of its service, which is of the same namespace.
    public var service: String
    public var address: ProxyConfiguration.SocketAddressText
    /// Where it runs, a label of DNS; nil: nobody knows.
    public var zone: String?
    /// Its share of requests, against the weights of the service's other endpoints; from 1.
    public var weight: Int
    /// As registered; active checks and ejections come on top.
    public var health: Health
    /// It serves when those of lower levels do not suffice; 0 to 127.
    public var level: Int
    /// What subsets are chosen by.
    public var labels: [String: String]

    public init(
        _ name: String, in namespace: String = MeshName.standardNamespace, service: String,
        address: ProxyConfiguration.SocketAddressText, zone: String? = nil, weight: Int = 1,
        health: Health = .healthy, level: Int = 0, labels: [String: String] = [:]
    ) {
        self.namespace = namespace
        self.name = name
        self.service = service
        self.address = address
        self.zone = zone
        self.weight = weight
        self.health = health
        self.level = level
        self.labels = labels
    }

    /// The service by its whole name.
    public var serviceName: MeshName { .init(service, in: namespace) }

    public func check(_ problems: inout MeshProblems) {
        problems.label("service", service)
        if let zone { problems.label("zone", zone) }
        problems.range("weight", weight, 1...MeshLimits.weight)
        problems.range("level", level, TrafficLimits.levels)
        problems.labels(labels)
        if NumericAddress(address).map({ $0.port == 0 }) ?? true {
            problems.report("address", "an address such as 127.0.0.1:8080 or [::1]:8080 is needed")
        }
    }
}
