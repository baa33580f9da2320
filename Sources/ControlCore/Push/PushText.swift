// What proxies are told, and what operators see of them, as JSON.

import Base
public import Model

extension ControlText {
    /// A push as a line of a watch, which `MeshCodec.push` reads.
    /// - Parameter declaration: the canonical JSON of a declaration.
    public static func line(
        _ push: MeshPush, declaration: (MeshDeclaration) -> [UInt8]
    ) -> [UInt8] {
        var bytes = Array("{\"version\":\(push.version),\"snapshot\":\(push.isSnapshot)".utf8)
        if let authorities = push.authorities {
            bytes += ",\"authorities\":\(quoted(authorities))".utf8
        }
        if !push.puts.isEmpty || push.isSnapshot {
            bytes += ",\"declarations\":[".utf8
            for (index, put) in push.puts.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                bytes += declaration(put)
            }
            bytes.append(UInt8(ascii: "]"))
        }
        if !push.deletes.isEmpty {
            bytes += ",\"deleted\":[".utf8
            for (index, key) in push.deletes.enumerated() {
                bytes += (index > 0 ? ",\"\(key.path)\"" : "\"\(key.path)\"").utf8
            }
            bytes.append(UInt8(ascii: "]"))
        }
        if let checks = push.checks { bytes += ",\"checks\":\(json(checks))".utf8 }
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    private static func json(_ findings: MeshFindings) -> String {
        func keys(_ names: [MeshName]) -> String { list(names.map { MeshKey(.endpoint, $0).path }) }
        var members: [String] = []
        if findings.isWhole { members.append("\"all\":true") }
        if !findings.undecided.isEmpty {
            members.append("\"undecided\":\(keys(findings.undecided))")
        }
        if !findings.unhealthy.isEmpty {
            members.append("\"unhealthy\":\(keys(findings.unhealthy))")
        }
        if !findings.healthy.isEmpty { members.append("\"healthy\":\(keys(findings.healthy))") }
        return "{\(members.joined(separator: ","))}"
    }

    /// The answer to a question for those who are connected.
    /// - Parameters:
    ///   - next: after whom there are more; nil: there are none.
    ///   - revision: up to which everyone has been told.
    public static func proxies(
        _ proxies: [ConnectedMember], next: String? = nil, revision: UInt64
    ) -> [UInt8] {
        let list = proxies.map(\.json).joined(separator: ",")
        let more = next.map { ",\"next\":\(quoted($0))" } ?? ""
        return Array("{\"revision\":\(revision),\"proxies\":[\(list)]\(more)}".utf8)
    }
}

/// Somebody who is told of the mesh, as operators see him.
public enum ConnectedMember: Sendable {
    case proxy(ConnectedProxy)
    /// An Envoy that no member stands beside.
    case envoy(ConnectedEnvoy)

    fileprivate var json: String {
        switch self {
        case .proxy(let proxy): proxy.json
        case .envoy(let envoy): envoy.json
        }
    }
}

/// A proxy that watches, as operators see it.
public struct ConnectedProxy: Sendable {
    public var name: String
    public var identity: SPIFFEID
    /// Where its connection comes from.
    public var peer: String
    /// What is registered of it; nil: it is none that others call.
    public var endpoint: MeshEndpoint?
    public var subscriber: MeshSubscriptions.Subscriber
    /// The Envoy that carries its requests: what it holds is what that has in force.
    public var envoy: ConnectedEnvoy?

    public init(
        _ name: String, identity: SPIFFEID, peer: String, endpoint: MeshEndpoint?,
        _ subscriber: MeshSubscriptions.Subscriber, envoy: ConnectedEnvoy? = nil
    ) {
        self.name = name
        self.identity = identity
        self.peer = peer
        self.endpoint = endpoint
        self.subscriber = subscriber
        self.envoy = envoy
    }

    fileprivate var json: String {
        let acknowledged = min(subscriber.acknowledged, envoy?.acknowledged ?? .max)
        let times = [subscriber.acknowledgedAt, envoy?.acknowledgedAt].compactMap { $0 }
        var text = "{\"proxy\":\(ControlText.quoted(name))"
        if envoy != nil { text += ",\"dataplane\":\"envoy\"" }
        text += ",\"service\":\(ControlText.quoted(subscriber.service.text))"
        text += ",\"identity\":\(ControlText.quoted(identity.rawValue))"
        text += ",\"peer\":\(ControlText.quoted(peer))"
        text += ",\"since_ns\":\(subscriber.since.nanoseconds),\"sent\":\(subscriber.sent)"
        text += ",\"acknowledged\":\(acknowledged)"
        if let at = times.max() { text += ",\"acknowledged_ns\":\(at.nanoseconds)" }
        if let refusal = subscriber.refusal {
            text += ",\"refused\":{\"version\":\(refusal.version)"
            text += ",\"error\":\(ControlText.quoted(refusal.reason))}"
        } else if let envoy, let reason = envoy.reason {
            text += ",\"refused\":{\"version\":\(envoy.sent)"
            text += ",\"error\":\(ControlText.quoted(reason))}"
        }
        text += ",\"refusals\":\(subscriber.refusals + (envoy?.refusalCount ?? 0))"
        if let endpoint {
            text += ",\"address\":\(ControlText.quoted(endpoint.address))"
            text += ",\"health\":\(ControlText.quoted(endpoint.health.rawValue))"
        }
        return text + "}"
    }
}
