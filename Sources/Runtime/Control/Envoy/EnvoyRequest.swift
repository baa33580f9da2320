import Base
import ControlCore
import FoundationEssentials
import Model

/// What Envoy asks (envoy.service.discovery.v3.DiscoveryRequest as JSON), as far as it matters. The
/// rest is passed over: some 77 KB, most of them the names of Envoy's extensions.
struct EnvoyRequest {
    /// What Envoy calls itself: the proxy's name.
    var id: String
    var question: EnvoyQuestion
    /// What it has in force; empty: nothing.
    var version: String
    var facts: EnvoyFacts

    /// - Parameter service: that of the certificate.
    init(
        _ type: EnvoyType, _ bytes: [UInt8], service: MeshName
    ) throws(ControlFailure) {
        let body: EnvoyRequestBody
        do {
            body = try JSONDecoder().decode(EnvoyRequestBody.self, from: Data(bytes))
        } catch {
            throw .init(400, "the body is no question of Envoy's with node.metadata.meshbench")
        }
        id = body.node.id
        version = body.version ?? ""
        let names = body.names ?? []
        switch type {
        case .clusters, .listeners:
            guard names.isEmpty else { throw .init(400, "\(type.rawValue) go together, unnamed") }
            question = EnvoyQuestion(type)
        case .routes, .endpoints, .secrets:
            guard names.count == 1 else { throw .init(400, "one name of resource_names is needed") }
            question = EnvoyQuestion(type, names[0])
        }
        let said = body.node.metadata.meshbench
        facts = EnvoyFacts(
            service: service, app: try Self.address("app", said.app),
            inbound: try Self.address("inbound", said.inbound),
            outbound: try Self.address("outbound", said.outbound), workers: said.workers ?? 1,
            identityFile: said.identityFile)
        guard (1...EnvoyFacts.workersMost).contains(facts.workers) else {
            throw .init(400, "node.metadata.meshbench.workers: 1 to \(EnvoyFacts.workersMost)")
        }
        guard (facts.app == nil) == (facts.inbound == nil) else {
            throw .init(400, "node.metadata.meshbench: app and inbound go together")
        }
    }

    private static func address(
        _ name: String, _ text: String?
    ) throws(ControlFailure) -> NumericAddress? {
        guard let text else { return nil }
        guard let address = NumericAddress(text), address.port > 0 else {
            throw .init(
                400,
                "node.metadata.meshbench.\(name): an address such as 127.0.0.1:8080 is needed")
        }
        return address
    }
}

private struct EnvoyRequestBody: Decodable {
    struct Node: Decodable {
        var id: String
        var metadata: Metadata
    }

    struct Metadata: Decodable {
        var meshbench: Facts
    }

    struct Facts: Decodable {
        var app: String?
        var inbound: String?
        var outbound: String?
        var workers: Int?
        var identityFile: String

        enum CodingKeys: String, CodingKey {
            case app, inbound, outbound, workers
            case identityFile = "identity_file"
        }
    }

    var node: Node
    var version: String?
    var names: [String]?

    enum CodingKeys: String, CodingKey {
        case node
        case version = "version_info"
        case names = "resource_names"
    }
}
