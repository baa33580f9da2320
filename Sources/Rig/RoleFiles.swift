// The configuration files of our own roles, in the forms that docs/PROXY.md and docs/APP.md describe.

import Base
import FoundationEssentials
import Model

/// `meshbench app --config FILE`.
struct AppFile: Encodable, Equatable {
    var name: String
    var listen: String
    var behaviour: AppBehaviour
    /// For each service it calls, the addresses to choose from.
    var calls: [String: [String]]
}

/// `meshbench proxy --config FILE`.
struct ProxyFile: Encodable, Equatable {
    struct Listener: Encodable, Equatable {
        var name: String
        var address: String
    }

    struct Route: Encodable, Equatable {
        var hosts: [String]?
        var prefix: String
        var cluster: String
    }

    struct Cluster: Encodable, Equatable {
        var name: String
        var endpoints: [String]
    }

    var listeners: [Listener]
    var routes: [Route]
    var clusters: [Cluster]
    var workers: Int
    var admin: String

    /// - Parameter resolve: the address of an endpoint.
    init(
        _ proxy: Topology.Proxy, resolve: (Topology.Endpoint) throws(RigError) -> String
    ) throws(RigError) {
        listeners = proxy.listeners.map { Listener(name: $0, address: "127.0.0.1:0") }
        routes = proxy.routes.map {
            Route(hosts: $0.host.map { [$0] }, prefix: "/", cluster: $0.cluster)
        }
        clusters = []
        for cluster in proxy.clusters {
            var endpoints: [String] = []
            for endpoint in cluster.endpoints { endpoints.append(try resolve(endpoint)) }
            clusters.append(Cluster(name: cluster.name, endpoints: endpoints))
        }
        workers = proxy.workers
        admin = "127.0.0.1:0"
    }
}

/// The one line that a role of ours writes to standard output when it serves.
struct Announcement: Decodable, Equatable {
    var event: String
    var listeners: [String: String]
    var admin: String?
}

func json(_ value: some Encodable) throws(RigError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    do {
        return [UInt8](try encoder.encode(value))
    } catch {
        throw RigError(.file, "\(type(of: value)) cannot be written as JSON: \(error)")
    }
}
