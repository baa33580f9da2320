import Base
import ControlCore
import Model
import Posix
import Scenario
import Testing

@testable import Runtime

/// A control plane with nobody but proxies.
final class PushedMesh {
    let folder: MemoryFolder
    let center: ControlCenter
    let pushes: ControlPushes
    private let clock = FakeClock()

    var now: Instant {
        get { clock.now }
        set { clock.now = newValue }
    }

    init(_ folder: MemoryFolder = MemoryFolder(random: SeededRandom(seed: 1))) throws {
        self.folder = folder
        center = ControlCenter(
            try Store(in: folder, now: .zero), codec: .json, version: "1")
        pushes = ControlPushes(center, clock: { [clock] in clock.now })
        pushes.trust("PEM\n")
    }

    func apply(_ declarations: MeshDeclaration..., prune: Bool = false) throws {
        _ = try center.perform(.apply(MeshBody(declarations), prune: prune))
    }

    func ask(_ name: String, _ body: String, _ peer: ControlPeer) throws -> ServiceAnswer {
        let request = ServiceRequest(
            method: "POST", target: try #require(ServiceTarget("/v1/proxy/\(name)")), fields: [],
            body: Array(body.utf8), peer: ServicePeer(address: .loopback(port: 1), isSecure: true),
            speech: .http2, now: now)
        return pushes.respond(
            to: request,
            try #require(ControlOperation.at(["v1", "proxy", name], on: .proxies).first),
            from: peer)
    }

    /// The status, and what an error says.
    func status(_ name: String, _ body: String, _ peer: ControlPeer) throws -> (Int, String) {
        switch try ask(name, body, peer) {
        case .whole(let status, _, let body): (status, String(decoding: body, as: UTF8.self))
        case .watch: (200, "a watch")
        case .call: (200, "a call")
        }
    }

    func watch(
        _ proxy: String, of service: String = "default/a", _ more: String = "",
        _ peer: ControlPeer? = nil
    ) throws -> ServiceWatch {
        let body = "{\"proxy\":\"\(proxy)\",\"service\":\"\(service)\"\(more)}"
        guard case .watch(let watch) = try ask("watch", body, peer ?? .of(service, proxy)) else {
            throw SystemError("no watch", code: 0)
        }
        return watch
    }

    /// Lets time pass, with the service's turns.
    func pass(_ time: Duration) {
        now = now + time
        _ = center.turn(now)
    }
}

extension ControlPeer {
    /// A certificate of the service's proxy.
    static func of(_ service: String, _ proxy: String, lineage: String? = nil) -> ControlPeer {
        let parts = service.split(separator: "/").map(String.init)
        let name = MeshName(parts[1], in: parts[0])
        let identity = SPIFFEID(name, trustDomain: SPIFFEID.standardTrustDomain)
        return ControlPeer(
            identity: identity ?? .control, serial: "1", lineage: lineage ?? proxy, notAfter: 0,
            service: name, proxy: proxy, address: .loopback(port: 1))
    }
}

extension SPIFFEID {
    fileprivate static var control: SPIFFEID {
        guard let id = SPIFFEID(rawValue: "spiffe://meshbench.test/control") else {
            preconditionFailure("no id")
        }
        return id
    }
}
