// What proxies are told, without sockets: requests with a certificate that somebody else has
// looked at, on a store in memory.

import Base
import ControlCore
import FoundationEssentials
import Model
import Posix
import Scenario
import Support
import Testing

@testable import Runtime

extension ServiceWatch {
    /// What waits for the client, which takes it.
    fileprivate func pushes() throws -> [MeshPush] {
        var bytes: [UInt8] = []
        while !backlog.isEmpty {
            let piece = backlog.withFirst { unsafe Array($0.raw) }
            backlog.drop(piece.count)
            bytes += piece
        }
        return try bytes.split(separator: UInt8(ascii: "\n")).map {
            try MeshCodec.json.push(Array($0))
        }
    }
}

private func service(_ name: String, calls: [MeshName]? = nil) -> MeshDeclaration {
    .service(MeshService(name, calls: calls))
}

private func endpoint(
    _ name: String, of service: String, port: Int, health: MeshEndpoint.Health = .healthy
) -> MeshDeclaration {
    .endpoint(
        MeshEndpoint(name, service: service, address: "127.0.0.1:\(port)", health: health))
}

@Suite struct ControlPushesTests {
    @Test func aWatchBeginsWithEverythingAndGoesOnWithChanges() throws {
        let mesh = try PushedMesh()
        try mesh.apply(
            service("a", calls: [.init("b")]), service("b"), service("c"),
            endpoint("b-1", of: "b", port: 1), endpoint("c-1", of: "c", port: 2))
        let watch = try mesh.watch("p")
        let first = try #require(try watch.pushes().first)
        #expect(first.isSnapshot && first.authorities == "PEM\n" && first.version == 1)
        #expect(
            first.puts == [
                endpoint("b-1", of: "b", port: 1), service("a", calls: [.init("b")]), service("b"),
            ])
        try mesh.apply(endpoint("c-2", of: "c", port: 3))
        #expect(try watch.pushes() == [])
        try mesh.apply(endpoint("b-2", of: "b", port: 4))
        #expect(
            try watch.pushes() == [
                .init(version: 3, isSnapshot: false, puts: [endpoint("b-2", of: "b", port: 4)])
            ])
        mesh.pushes.trust("OTHER\n")
        #expect(
            try watch.pushes() == [.init(version: 3, isSnapshot: false, authorities: "OTHER\n")])
    }

    @Test func whoComesBackIsToldWhatChanged() throws {
        let mesh = try PushedMesh()
        try mesh.apply(service("a"), endpoint("a-1", of: "a", port: 1))
        _ = try mesh.watch("p")
        try mesh.apply(endpoint("a-2", of: "a", port: 2))
        let watch = try mesh.watch("p", of: "default/a", ",\"held\":1")
        #expect(
            try watch.pushes() == [
                .init(
                    version: 2, isSnapshot: false, authorities: "PEM\n",
                    puts: [endpoint("a-2", of: "a", port: 2)], checks: .init(isWhole: true))
            ])
        // What the store has beside declarations is no change.
        try mesh.center.commit(
            StoreTransaction(changes: [.put(StoreKey("other/x"), value: [1])]))
        let restarted = try PushedMesh(mesh.folder)
        let again = try restarted.watch("p", of: "default/a", ",\"held\":2")
        #expect(
            try again.pushes() == [
                .init(
                    version: 3, isSnapshot: false, authorities: "PEM\n",
                    checks: .init(isWhole: true))
            ])
        let late = try restarted.watch("q", of: "default/a", ",\"held\":1")
        #expect(try late.pushes().first?.isSnapshot == true)
        let future = try restarted.watch("r", of: "default/a", ",\"held\":99")
        #expect(try future.pushes().first?.isSnapshot == true)
    }

    /// Whatever somebody has put into the store, what is pushed can be read: it is what the mesh
    /// has.
    @Test func whatCannotBeReadIsNotPushed() throws {
        let mesh = try PushedMesh()
        try mesh.apply(service("a"), service("b"), endpoint("b-1", of: "b", port: 1))
        try mesh.center.commit(
            StoreTransaction(changes: [
                .put(StoreKey("endpoints/default/b-1"), value: Array("{\"kind".utf8)),
                .put(StoreKey("services/default/c"), value: [0xFF, 0x7D]),
            ]))
        let watch = try mesh.watch("p")
        let first = try #require(try watch.pushes().first)
        #expect(
            first.puts == [endpoint("b-1", of: "b", port: 1), service("a"), service("b")])
        #expect(mesh.center.plane.damaged.count == 2)
        try mesh.apply(endpoint("b-2", of: "b", port: 2))
        #expect(try watch.pushes().map(\.puts) == [[endpoint("b-2", of: "b", port: 2)]])
    }

    @Test func whatChecksFindIsPushed() throws {
        let mesh = try PushedMesh()
        var found: [MeshName: HealthVerdict] = [:]
        mesh.center.verdict = { found[$0] ?? .healthy }
        try mesh.apply(
            service("a", calls: [.init("b")]), service("b"), service("c"),
            endpoint("b-1", of: "b", port: 1), endpoint("b-2", of: "b", port: 3),
            endpoint("c-1", of: "c", port: 2))
        func check(_ name: String, _ verdict: HealthVerdict) {
            found[MeshName(name)] = verdict
            mesh.pushes.take(checksOf: [MeshName(name)])
        }
        let (b1, b2) = (MeshName("b-1"), MeshName("b-2"))
        for name in ["b-1", "b-2", "c-1"] { check(name, .undecided) }
        let watch = try mesh.watch("p")
        let unknown = MeshFindings(isWhole: true, undecided: [b1, b2])
        #expect(try watch.pushes().map(\.checks) == [unknown])
        let version = mesh.center.store.state.revision
        check("c-1", .unhealthy)
        #expect(try watch.pushes() == [])
        check("b-1", .unhealthy)
        #expect(
            try watch.pushes() == [
                .init(version: version, isSnapshot: false, checks: .init(unhealthy: [b1]))
            ])
        // It has no version: whoever comes back is told all of it, whatever he has.
        let held = ",\"held\":\(version)"
        let again = try mesh.watch("p", of: "default/a", held)
        let all = MeshFindings(isWhole: true, undecided: [b2], unhealthy: [b1])
        #expect(try again.pushes().map(\.checks) == [all])
        // Of one that somebody else may have found unhealthy, he has to hear that it is well.
        check("b-2", .healthy)
        #expect(try again.pushes().map(\.checks) == [.init(healthy: [b2])])
        check("b-1", .healthy)
        #expect(try again.pushes().map(\.checks) == [.init(healthy: [b1])])
        // What nobody was told to be unknown is no news.
        check("b-2", .undecided)
        check("b-2", .healthy)
        #expect(try again.pushes() == [])
        let last = try mesh.watch("p", of: "default/a", held)
        #expect(
            try last.pushes()
                == [
                    .init(
                        version: version, isSnapshot: false, authorities: "PEM\n",
                        checks: .init(isWhole: true))
                ])
    }

    @Test func registeredEndpointsLiveAsLongAsTheyAreHeardOf() throws {
        let mesh = try PushedMesh()
        try mesh.apply(service("a"))
        let watch = try mesh.watch(
            "p", of: "default/a", ",\"address\":\"127.0.0.1:9\",\"zone\":\"z\",\"weight\":3")
        let name = MeshName("p")
        #expect(mesh.center.mesh.endpoints[name]?.weight == 3)
        #expect(mesh.center.mesh.endpoints[name]?.zone == "z")
        for _ in 0..<5 {
            mesh.pass(.seconds(9))
            #expect(
                try mesh.status("heartbeat", "{\"proxy\":\"p\"}", .of("default/a", "p")).0 == 204)
        }
        #expect(mesh.center.mesh.endpoints[name] != nil)
        // Files do not declare it, and do not take it away.
        try mesh.apply(service("a"), prune: true)
        #expect(mesh.center.mesh.endpoints[name] != nil)
        mesh.pass(.seconds(11))
        #expect(mesh.center.mesh.endpoints[name] == nil)
        #expect(try watch.pushes().last?.deletes == [MeshKey(.endpoint, name)])
        let (status, reason) = try mesh.status(
            "heartbeat", "{\"proxy\":\"p\"}", .of("default/a", "p"))
        #expect(status == 404 && reason.contains("watch again"))
        _ = try mesh.watch("p", of: "default/a", ",\"address\":\"127.0.0.1:9\"")
        #expect(mesh.center.mesh.endpoints[name] != nil)
        #expect(try mesh.status("leave", "{\"proxy\":\"p\"}", .of("default/a", "p")).0 == 204)
        #expect(mesh.center.mesh.endpoints[name] == nil && mesh.pushes.count == 0)
        #expect(try mesh.status("leave", "{\"proxy\":\"p\"}", .of("default/a", "p")).0 == 404)
    }

    /// What cannot be registered leaves nothing behind.
    @Test func refusedRegistrationsLeaveNoLease() throws {
        let mesh = try PushedMesh()
        try mesh.apply(service("a"))
        let endpoint = MeshEndpoint("p", service: "nobody", address: "127.0.0.1:9")
        #expect(throws: ControlRefusal.self) {
            try mesh.center.register(endpoint, life: ControlPushes.life, now: mesh.now)
        }
        #expect(mesh.center.store.state.nextExpiry == nil)
        let good = MeshEndpoint("p", service: "a", address: "127.0.0.1:9")
        try mesh.center.register(good, life: ControlPushes.life, now: mesh.now)
        #expect(mesh.center.store.state.nextExpiry != nil)
    }

    /// Coming back writes nothing, and a process that is started again takes its address over.
    @Test func registrationsAreTakenOver() throws {
        let mesh = try PushedMesh()
        try mesh.apply(service("a"))
        let more = ",\"address\":\"127.0.0.1:9\""
        _ = try mesh.watch("p", of: "default/a", more)
        let revision = mesh.center.store.state.revision
        _ = try mesh.watch("p", of: "default/a", more)
        #expect(mesh.center.store.state.revision == revision)
        let restarted = try PushedMesh(mesh.folder)
        _ = try restarted.watch("p", of: "default/a", more)
        #expect(restarted.center.store.state.revision == revision)
        _ = try restarted.watch("q", of: "default/a", more)
        #expect(restarted.center.mesh.endpoints.keys.map(\.name) == ["q"])
        try restarted.apply(endpoint("r", of: "a", port: 10))
        let (status, reason) = try restarted.status(
            "watch", "{\"proxy\":\"r\",\"service\":\"default/a\",\"address\":\"127.0.0.1:11\"}",
            .of("default/a", "r"))
        #expect(status == 422 && reason.contains("no process can register it"))
    }

    @Test func drainingLastsUntilItIsUndone() throws {
        let mesh = try PushedMesh()
        try mesh.apply(service("a"))
        let more = ",\"address\":\"127.0.0.1:9\""
        _ = try mesh.watch("p", of: "default/a", more)
        let revision = try mesh.pushes.drain("p")
        #expect(revision == mesh.center.store.state.revision)
        #expect(mesh.center.mesh.endpoints[.init("p")]?.health == .draining)
        _ = try mesh.watch("p", of: "default/a", more)
        #expect(mesh.center.mesh.endpoints[.init("p")]?.health == .draining)
        // It is under its lease as before.
        mesh.pass(.seconds(11))
        #expect(mesh.center.mesh.endpoints.isEmpty)
        _ = try mesh.watch("q")
        #expect(throws: ControlFailure.self) { try mesh.pushes.drain("q") }
        #expect(throws: ControlFailure.self) { try mesh.pushes.drain("nobody") }
    }

    @Test func nobodySpeaksForOthers() throws {
        let mesh = try PushedMesh()
        try mesh.apply(service("a"), service("b"))
        _ = try mesh.watch("p")
        let a = ControlPeer.of("default/a", "p")
        var anonymous = ControlPeer.of("default/b", "p", lineage: "x")
        (anonymous.service, anonymous.proxy) = (nil, nil)
        let own = "{\"proxy\":\"p\",\"service\":\"default/a\"}"
        let cases: [(String, String, ControlPeer, Int, String)] = [
            ("watch", own, .of("default/b", "p"), 403, "of the service 'default/b'"),
            ("watch", own, .of("default/a", "q"), 403, "of the proxy 'q'"),
            ("watch", own, anonymous, 403, "ns/default/sa/b, not of 'default/a'"),
            ("ack", "{\"proxy\":\"p\",\"version\":1}", anonymous, 403, "not of 'p'"),
            ("heartbeat", "{\"proxy\":\"p\"}", anonymous, 403, "not of 'p'"),
            ("leave", "{\"proxy\":\"p\"}", anonymous, 403, "not of 'p'"),
            ("heartbeat", "{\"proxy\":\"q\"}", a, 404, "'q' does not watch"),
            ("ack", "{\"proxy\":\"q\",\"version\":1}", a, 404, "'q' does not watch"),
            ("watch", "{\"proxy\":\"P\",\"service\":\"default/a\"}", a, 400, "proxy: a name"),
            ("watch", "{\"proxy\":\"p\",\"service\":\"a\"}", a, 400, "service: a name"),
            ("watch", "{\"proxy\":\"p\"}", a, 400, "'service' is missing"),
            ("watch", "nonsense", a, 400, "no JSON"),
            ("ack", "{\"proxy\":\"p\"}", a, 400, "'version' is missing"),
            (
                "watch", "{\"proxy\":\"p\",\"service\":\"default/a\",\"address\":\"here\"}", a, 422,
                "an address such as"
            ),
        ]
        for (name, body, peer, status, reason) in cases {
            let answer = try mesh.status(name, body, peer)
            #expect(
                answer.0 == status && answer.1.contains(reason), "\(name) \(body): \(answer)")
        }
        anonymous = .of("default/b", "p", lineage: "x")
        anonymous.proxy = nil
        let taken = try mesh.status(
            "watch", "{\"proxy\":\"p\",\"service\":\"default/b\"}", anonymous)
        #expect(taken.0 == 409 && taken.1.contains("a proxy of default/a"))
        try mesh.apply(service("b"), prune: true)
        #expect(try mesh.status("watch", own, a).1.contains("there is no service 'default/a'"))
    }

    @Test func operatorsSeeWhoIsToldWhat() throws {
        let mesh = try PushedMesh()
        try mesh.apply(service("a"))
        let watch = try mesh.watch("p", of: "default/a", ",\"address\":\"127.0.0.1:9\"")
        let peer = ControlPeer.of("default/a", "p")
        let version = try #require(try watch.pushes().last?.version)
        mesh.now = mesh.now + .milliseconds(20)
        #expect(try mesh.status("ack", "{\"proxy\":\"p\",\"version\":\(version)}", peer).0 == 204)
        var listed = try #require(
            try Listing.read(mesh.pushes.json(with: [:], ControlPage())).proxies.first)
        #expect(listed.proxy == "p" && listed.service == "default/a")
        #expect(listed.sent == version && listed.acknowledged == version && listed.refused == nil)
        #expect(listed.acknowledgedAt == mesh.now.nanoseconds)
        #expect(listed.address == "127.0.0.1:9" && listed.health == "healthy")
        mesh.center.verdict = { _ in .unhealthy }
        listed = try #require(
            try Listing.read(mesh.pushes.json(with: [:], ControlPage())).proxies.first)
        #expect(listed.health == "unhealthy")
        #expect(mesh.pushes.hasAcknowledgedTrust(lineage: "p"))
        mesh.pushes.trust("NEW\n")
        #expect(!mesh.pushes.hasAcknowledgedTrust(lineage: "p"))
        // The same version as before: the first answer was to the first push.
        #expect(try mesh.status("ack", "{\"proxy\":\"p\",\"version\":\(version)}", peer).0 == 204)
        #expect(mesh.pushes.hasAcknowledgedTrust(lineage: "p"))

        try mesh.apply(service("b"))
        let refused = try #require(try watch.pushes().last?.version)
        let body = "{\"proxy\":\"p\",\"version\":\(refused),\"error\":\"no \\\"room\\\"\"}"
        #expect(try mesh.status("ack", body, peer).0 == 204)
        listed = try #require(
            try Listing.read(mesh.pushes.json(with: [:], ControlPage())).proxies.first)
        #expect(listed.refused == .init(version: refused, error: "no \"room\""))
        #expect(listed.acknowledged == version && listed.refusals == 1)
        // What it holds is not known, so it is told everything.
        try mesh.apply(service("c"))
        #expect(try watch.pushes().last?.isSnapshot == true)
        let text = mesh.pushes.statistics.prometheus(connected: mesh.pushes.count)
        #expect(text.contains("meshbench_control_push_refusals_total 1\n"))
        #expect(text.contains("meshbench_control_proxies 1\n"))
        #expect(text.contains("meshbench_control_push_seconds_bucket{le=\"0.025\"} 2\n"))
        #expect(text.contains("meshbench_control_pushes_total{kind=\"snapshot\"} 2\n"))
    }

    /// What one proxy refuses, again and again, is nobody else's matter.
    @Test func aProxyThatRefusesEverythingIsAlone() throws {
        let mesh = try PushedMesh()
        try mesh.apply(service("a"))
        let bad = try mesh.watch("p")
        let good = try mesh.watch("q")
        _ = try (bad.pushes(), good.pushes())
        var version: UInt64 = 0
        for port in 1...50 {
            try mesh.apply(endpoint("a-\(port)", of: "a", port: port))
            version = try #require(try bad.pushes().last?.version)
            #expect(try good.pushes().map(\.isSnapshot) == [false])
            for (name, more) in [("p", ",\"error\":\"no\""), ("q", "")] {
                let body = "{\"proxy\":\"\(name)\",\"version\":\(version)\(more)}"
                #expect(try mesh.status("ack", body, .of("default/a", name)).0 == 204)
            }
        }
        let listed = try Listing.read(mesh.pushes.json(with: [:], ControlPage())).proxies
        #expect(listed.map(\.refusals) == [50, 0] && listed.map(\.acknowledged) == [0, version])
        #expect(listed.first?.refused == .init(version: version, error: "no"))
        #expect(bad.isOpen && good.isOpen)
    }

    @Test func revokedProxiesAreSentAway() throws {
        let mesh = try PushedMesh()
        try mesh.apply(service("a"))
        let watch = try mesh.watch("p", of: "default/a", ",\"address\":\"127.0.0.1:9\"")
        let other = try mesh.watch("q", of: "default/a", ",\"address\":\"127.0.0.1:10\"")
        mesh.pushes.dismiss(lineage: "nobody")
        mesh.pushes.dismiss(lineage: "p")
        #expect(!watch.isOpen && other.isOpen && mesh.pushes.count == 1)
        #expect(mesh.center.mesh.endpoints.keys.map(\.name) == ["q"])
    }
}

private struct Listing: Decodable {
    struct Refused: Decodable, Equatable {
        var version: UInt64
        var error: String
    }

    struct Proxy: Decodable {
        var proxy: String
        var service: String
        var sent: UInt64
        var acknowledged: UInt64
        var acknowledgedAt: Int64?
        var refused: Refused?
        var refusals: Int
        var address: String?
        var health: String?

        private enum CodingKeys: String, CodingKey {
            case proxy, service, sent, acknowledged, acknowledgedAt = "acknowledged_ns"
            case refused, refusals, address, health
        }
    }

    var revision: UInt64
    var proxies: [Proxy]

    static func read(_ bytes: [UInt8]) throws -> Listing {
        try JSONDecoder().decode(Listing.self, from: Data(bytes))
    }
}
