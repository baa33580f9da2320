// The configuration files of our own roles, in the forms that docs/PROXY.md and docs/APP.md
// describe.

import Base
import FoundationEssentials
import Model

/// `meshbench app --config FILE`.
struct AppFile: Encodable, Equatable {
    var name: String
    var listen: String
    /// `tcp`; nil: HTTP, and what it may change to.
    var speech: String?
    /// Nil: cleartext.
    var tls: ServerTLS?
    /// What its delays and statuses derive from: the same in both arms.
    var seed: UInt64
    var behaviour: AppBehaviour
    /// For each service it calls, the addresses to choose from.
    var calls: [String: [String]]
    /// Where it is told of faults, and the file in which it writes down what they do; nil: it has
    /// none.
    var control: String?
    var ledger: String?

    private enum CodingKeys: String, CodingKey {
        case name, listen, tls, seed, behaviour, calls, control, ledger
        case speech = "protocol"
    }
}

extension Topology.Proxy {
    /// The proxy's configuration, once the addresses behind it are known.
    /// - Parameters:
    ///   - longest: the longest that any load waits: the proxy must not give up before it.
    ///   - credentials: of the run; nil where nobody is to show any.
    func configuration(
        longest: Duration, _ credentials: Credentials?,
        resolve: (Topology.Endpoint) throws(RigError) -> String
    ) throws(RigError) -> ProxyConfiguration {
        var clusters: [ProxyConfiguration.Cluster] = []
        for cluster in self.clusters {
            var endpoints: [ProxyConfiguration.Endpoint] = []
            for endpoint in cluster.endpoints { endpoints.append(.init(try resolve(endpoint))) }
            var made = ProxyConfiguration.Cluster(
                name: cluster.name, endpoints: endpoints, speech: cluster.speech,
                tls: cluster.security.flatMap { credentials?.client($0) })
            made.breaker.standard.connections =
                cluster.connections ?? made.breaker.standard.connections
            clusters.append(made)
        }
        let listeners = self.listeners.map { listener in
            ProxyConfiguration.Listener(
                name: listener.name, address: "127.0.0.1:0",
                speech: listener.bytesTo == nil ? .auto : .tcp, cluster: listener.bytesTo,
                tls: listener.security.flatMap { credentials?.server($0) })
        }
        var timeouts = ProxyTimeouts()
        timeouts.request = max(timeouts.request, longest * 2)
        return ProxyConfiguration(
            listeners: listeners,
            routes: routes.map { .init(hosts: $0.host.map { [$0] } ?? [], cluster: $0.cluster) },
            clusters: clusters, admin: "127.0.0.1:0", workers: workers, timeouts: timeouts)
    }
}

/// The one line that a role of ours writes to standard output when it serves.
struct Announcement: Decodable, Equatable {
    var event: String
    /// Nil: it serves nothing itself.
    var listeners: [String: String]?
    var admin: String?
    /// Where an application is told of faults.
    var control: String?
    /// What an Envoy is to be started with.
    var bootstrap: String?
}

/// On one line, keys in snake case.
func jsonLine(_ value: some Encodable) throws(RigError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    do {
        return [UInt8](try encoder.encode(value))
    } catch {
        throw RigError(.file, "\(type(of: value)) cannot be written as JSON: \(error)")
    }
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
