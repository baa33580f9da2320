// What Envoy asks a control plane for (the xDS protocol, "REST-JSON polling subscriptions"), and
// what it is told.

public import Model

/// A kind of what Envoy is told.
public enum EnvoyType: String, CaseIterable, Sendable {
    case clusters, listeners, routes, endpoints, secrets

    static let prefix = "type.googleapis.com/"

    /// The message's name.
    var message: String {
        switch self {
        case .clusters: "envoy.config.cluster.v3.Cluster"
        case .listeners: "envoy.config.listener.v3.Listener"
        case .routes: "envoy.config.route.v3.RouteConfiguration"
        case .endpoints: "envoy.config.endpoint.v3.ClusterLoadAssignment"
        case .secrets: "envoy.extensions.transport_sockets.tls.v3.Secret"
        }
    }
}

/// What one subscription of Envoy's is for: all of a kind, or one by its name.
public struct EnvoyQuestion: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var type: EnvoyType
    /// Nil of clusters and listeners, of which all are asked for.
    public var name: String?

    public init(_ type: EnvoyType, _ name: String? = nil) {
        self.type = type
        self.name = name
    }

    public var description: String { name.map { "\(type.rawValue) \($0)" } ?? type.rawValue }

    public static func < (a: EnvoyQuestion, b: EnvoyQuestion) -> Bool {
        a.description < b.description
    }
}

/// Why Envoy is not told something: it would mean something else to it. What it has, it keeps.
public struct EnvoyRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    public var reason: String

    public init(_ reason: String) { self.reason = reason }

    public var description: String { reason }
}

/// What an Envoy beside a process of a service has been started with, and says with every question.
public struct EnvoyFacts: Equatable, Sendable {
    public var service: MeshName
    /// Where the service's process answers; nil: Envoy takes no requests for it.
    public var app: NumericAddress?
    /// Where requests to the service come in; with `app`.
    public var inbound: NumericAddress?
    /// Where the service's process sends its requests to others; nil: nowhere.
    public var outbound: NumericAddress?
    /// Envoy's `--concurrency`: what declarations give to each worker, Envoy gives to all.
    public var workers: Int
    /// The file with Envoy's own certificate and key, as a secret.
    public var identityFile: String

    /// How many workers may be said.
    public static let workersMost = 1024

    public init(
        service: MeshName, app: NumericAddress? = nil, inbound: NumericAddress? = nil,
        outbound: NumericAddress? = nil, workers: Int = 1, identityFile: String
    ) {
        self.service = service
        self.app = app
        self.inbound = inbound
        self.outbound = outbound
        self.workers = workers
        self.identityFile = identityFile
    }
}

/// What is answered to a question.
public struct EnvoyContent: Equatable, Sendable {
    struct Item: Equatable, Sendable {
        var name: String
        var json: String
    }

    public let type: EnvoyType
    /// Equal for equal contents, whichever control plane answers, and different for others.
    public let version: String
    let items: [Item]
    /// Of routes, the clusters that they lead to.
    let uses: Set<String>

    init(_ type: EnvoyType, _ items: [Item], uses: Set<String> = []) {
        self.type = type
        self.items = items
        self.uses = uses
        // FNV-1a of 64 bits (RFC 9923): whoever may declare gains nothing by making two alike.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for item in items {
            for byte in item.json.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        }
        let text = String(hash, radix: 16)
        version = String(repeating: "0", count: 16 - text.count) + text
    }

    init(_ type: EnvoyType, _ name: String, _ value: EnvoyValue, uses: Set<String> = []) {
        self.init(type, [Item(name: name, json: value.json)], uses: uses)
    }

    /// The answer's body (envoy.service.discovery.v3.DiscoveryResponse as JSON).
    public var body: [UInt8] {
        let list = items.map(\.json).joined(separator: ",")
        return Array(
            ("{\"version_info\":\"\(version)\",\"type_url\":\"\(EnvoyType.prefix)\(type.message)\","
                + "\"resources\":[\(list)]}").utf8)
    }
}
