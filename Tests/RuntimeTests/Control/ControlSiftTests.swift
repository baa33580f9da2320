import Base
import ControlCore
import Model
import Testing

@testable import Runtime

@Suite struct ControlSiftTests {
    /// Whoever is no member any more is told nothing further, though he asks for nothing.
    @Test func watchesEndWithMembership() throws {
        let mesh = try PushedMesh()
        try mesh.apply(.service(MeshService("a")))
        let watches = try (0..<200).map { try mesh.watch("a-\($0)") }
        var looks: [String: Int] = [:]
        for _ in 0..<4 {
            mesh.pushes.sift { peer in
                looks[peer.lineage, default: 0] += 1
                return peer.lineage != "a-7"
            }
        }
        #expect(looks.count == 200 && looks.values.allSatisfy { $0 == 1 })
        #expect(watches.map(\.isOpen) == (0..<200).map { $0 != 7 })
        #expect(mesh.pushes.count == 199)
    }

    /// The service's turn waits for no commit of that: what somebody has registered ends by itself
    /// where nobody hears of him.
    @Test func whoIsNoMemberAnyMoreIsNoEndpointForLong() throws {
        let mesh = try PushedMesh()
        try mesh.apply(.service(MeshService("a")))
        let watch = try mesh.watch("p", ",\"address\":\"127.0.0.1:9\"")
        let revision = mesh.center.store.state.revision
        mesh.pushes.sift { _ in false }
        #expect(!watch.isOpen && mesh.center.store.state.revision == revision)
        let heartbeat = try mesh.status("heartbeat", "{\"proxy\":\"p\"}", .of("default/a", "p"))
        #expect(heartbeat.0 == 404)
        mesh.pass(ControlPushes.life)
        #expect(mesh.center.mesh.endpoints.isEmpty)
    }
}
