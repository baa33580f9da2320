import Base
import ControlCore
import Model
import Posix
import Secure
import Support
import Testing

@testable import Runtime

/// What an Envoy asks the proxies' listener, without sockets and with a clock that is told.
@Suite struct ControlEnvoysTests {
    private let api: ControlAPI

    private static let facts = #"{"identity_file":"/x/identity.json","outbound":"127.0.0.1:15001"}"#

    init() throws {
        api = try ControlAPI()
        try declare("echo")
        _ = try api.joined()
    }

    private func declare(_ name: String, _ more: String = "") throws {
        let answer = try api.ask(
            "PUT", "/v1/services/default/\(name)",
            "{\"kind\":\"service\",\"name\":\"\(name)\"\(more)}")
        try #require([200, 201].contains(answer.status), "\(answer.text)")
    }

    private func ask(
        _ kind: String, _ version: String = "", names: String? = nil, id: String = "echo-1",
        facts: String = facts
    ) throws -> ControlAPI.Answer {
        let list = names.map { ",\"resource_names\":[\"\($0)\"]" } ?? ""
        return try api.askProxies(
            "POST", "/v3/discovery:\(kind)",
            """
            {"version_info":"\(version)"\(list),"node":{"id":"\(id)","extensions":[{"a":[1]}],
            "metadata":{"meshbench":\(facts)}}}
            """)
    }

    private func version(_ answer: ControlAPI.Answer) throws -> String {
        try #require(answer.status == 200, "\(answer.text)")
        return String(answer.text.split(separator: "\"")[3])
    }

    private func turn(after seconds: Int64 = 0) throws {
        api.clock.pass(seconds)
        _ = try api.proxyListener().turnEnds(api.clock.now)
    }

    @Test func whatIsAskedIsAnsweredOnceAndThenHeld() throws {
        let first = try version(try ask("clusters"))
        let held = try #require(try ask("clusters", first).watch)
        try turn(after: 59)
        #expect(held.isOpen)
        try declare("cart")
        #expect(!held.isOpen)
        #expect(held.word?.status == 200)
        let text = String(decoding: held.word?.body ?? [], as: UTF8.self)
        #expect(text.contains("\"name\":\"default/cart\""))
        #expect(!text.contains(first))
    }

    @Test func nothingNewIsSaidInTime() throws {
        let first = try version(try ask("clusters"))
        let held = try #require(try ask("clusters", first).watch)
        try turn(after: 60)
        #expect(held.word?.status == 304)
        // Whoever asks a third time has forgotten the first.
        let all = try (0..<3).map { _ in try #require(try ask("clusters", first).watch) }
        #expect(all.map(\.isOpen) == [false, true, true])
    }

    /// Servers take both ways before clients change, and until they have.
    @Test func aModeIsToldInTheStepsOfOtherProxies() throws {
        let facts =
            #"{"identity_file":"/x","app":"127.0.0.1:1","inbound":"127.0.0.1:2","#
            + #""outbound":"127.0.0.1:3"}"#
        func ask(_ kind: String, _ version: String = "") throws -> ControlAPI.Answer {
            try self.ask(kind, version, facts: facts)
        }
        func said(_ held: ServiceWatch) -> String {
            String(decoding: held.word?.body ?? [], as: UTF8.self)
        }
        let clusters = try #require(try ask("clusters", try version(try ask("clusters"))).watch)
        let strict = try ask("listeners")
        let listeners = try #require(try ask("listeners", try version(strict)).watch)
        try declare("echo", ",\"mtls\":\"off\"")
        try turn()
        #expect(clusters.isOpen && !strict.text.contains("raw_buffer"))
        #expect(said(listeners).contains("raw_buffer"))
        #expect(said(listeners).contains("DownstreamTlsContext"))
        let both = try #require(try ask("listeners", try version(try ask("listeners"))).watch)
        try turn(after: 5)
        #expect(both.isOpen && said(clusters).contains("default/echo"))
        #expect(!said(clusters).contains("UpstreamTlsContext"))
        try turn(after: 5)
        #expect(said(both).contains("inbound") && !said(both).contains("DownstreamTlsContext"))
        // And back.
        let clear = try ask("clusters")
        let again = try #require(try ask("clusters", try version(clear)).watch)
        try declare("echo")
        try turn(after: 4)
        #expect(again.isOpen)
        #expect(try ask("listeners").text.contains("raw_buffer"))
        try turn(after: 1)
        #expect(said(again).contains("UpstreamTlsContext"))
        try turn(after: 5)
        #expect(try !ask("listeners").text.contains("raw_buffer"))
    }

    @Test func anEndpointReachesWhoAsksForItsCluster() throws {
        let question = "default/echo"
        let first = try version(try ask("endpoints", names: question))
        let held = try #require(try ask("endpoints", first, names: question).watch)
        let other = try #require(
            try ask("clusters", try version(try ask("clusters"))).watch)
        let answer = try api.ask(
            "PUT", "/v1/endpoints/default/echo-1",
            #"{"kind":"endpoint","name":"echo-1","service":"echo","address":"127.0.0.1:9001"}"#)
        #expect(answer.status == 201)
        let text = String(decoding: held.word?.body ?? [], as: UTF8.self)
        #expect(text.contains("9001"))
        #expect(other.isOpen)
    }

    @Test func everyRefusalOfAQuestionSaysWhy() throws {
        #expect(try ask("nothing").status == 404)
        #expect(try ask("clusters", id: "other").text.contains("the certificate of 'echo-1'"))
        #expect(try ask("endpoints").status == 400)
        #expect(try ask("clusters", names: "x").status == 400)
        #expect(try ask("clusters", facts: "{}").status == 400)
        let port = #"{"identity_file":"/x","outbound":"127.0.0.1:0"}"#
        #expect(try ask("clusters", facts: port).text.contains("meshbench.outbound"))
        let app = #"{"identity_file":"/x","app":"127.0.0.1:1"}"#
        #expect(try ask("clusters", facts: app).text.contains("go together"))
        let workers = #"{"identity_file":"/x","workers":0}"#
        #expect(try ask("clusters", facts: workers).text.contains("1 to 1024"))
        #expect(try api.askProxies("POST", "/v3/discovery:clusters", "[").status == 400)
        #expect(try api.askProxies("GET", "/v3/discovery:clusters").status == 405)
        api.certificate = nil
        #expect(try ask("clusters").status == 401)
    }

    @Test func whatEnvoyDoesNotTakeIsShown() throws {
        let first = try version(try ask("clusters"))
        _ = try ask("listeners")
        try declare("cart")
        for _ in 0..<2 { _ = try version(try ask("clusters", first)) }
        let held = try #require(try ask("clusters", first).watch)
        let status = try #require(api.envoys.status().values.first)
        #expect(status.name == "echo-1" && status.service == MeshName("echo"))
        #expect(status.refusals.map(\.question) == [EnvoyQuestion(.clusters)])
        #expect(status.acknowledged < status.sent && status.refusalCount == 1)
        // It is offered again after a while.
        try turn(after: 5)
        #expect(held.word?.status == 200)
    }

    @Test func whoHasAllIsSeenToHaveIt() throws {
        for (kind, name) in [
            ("clusters", nil), ("listeners", nil), ("endpoints", "default/echo"),
            ("secrets", "authorities"), ("routes", "outbound"),
        ] {
            #expect(api.envoys.status().values.first.map { $0.acknowledged == 0 } ?? true)
            let version = try version(try ask(kind, names: name))
            #expect(try ask(kind, version, names: name).watch != nil)
        }
        let status = try #require(api.envoys.status().values.first)
        #expect(status.sent == api.store.state.revision && status.acknowledged == status.sent)
    }

    @Test func whoIsGoneIsForgotten() throws {
        let first = try version(try ask("clusters"))
        let held = try #require(try ask("clusters", first).watch)
        try turn(after: 60)
        #expect(held.word?.status == 304)
        try turn(after: 59)
        #expect(api.envoys.count == 1)
        try turn(after: 1)
        #expect(api.envoys.count == 0)
    }

    @Test func whoIsRevokedIsDismissed() throws {
        let first = try version(try ask("clusters"))
        let held = try #require(try ask("clusters", first).watch)
        let serial = try #require(api.certificate).serial
        #expect(try api.ask("POST", "/v1/certificates/\(serial)/revoke").status == 200)
        #expect(held.word?.status == 403)
        #expect(api.envoys.count == 0)
        #expect(try ask("clusters").status == 403)
    }

    /// Somebody else, with another control plane, has taken the certificate back.
    @Test func whoIsRevokedElsewhereIsDismissed() throws {
        let first = try version(try ask("clusters"))
        let held = try #require(try ask("clusters", first).watch)
        let names = try #require(api.certificate)
        let serial = try #require(CertificateSerial(names.serial))
        var record = try #require(try api.identity.record(serial.lineage))
        try turn(after: 1)
        #expect(held.isOpen)
        record.revoked = api.clock.seconds
        try api.center.commit(
            StoreTransaction(changes: [.put(record.key, value: record.storeValue)]))
        try turn(after: 1)
        #expect(held.word?.status == 403 && api.envoys.count == 0)
    }

    // MARK: Many of them

    /// What `count` Envoys, of services that call one other each, have in force; all their
    /// questions wait.
    private func settled(_ count: Int) throws -> [[ServiceWatch]] {
        for index in 0..<count {
            try declare("t-\(index)")
            try declare("s-\(index)", ",\"calls\":[\"t-\(index)\"]")
        }
        return try (0..<count).map { index in
            let questions = [
                ("clusters", nil), ("listeners", nil), ("endpoints", "default/t-\(index)"),
                ("endpoints", "default/s-\(index)"), ("secrets", "authorities"),
                ("routes", "outbound"),
            ]
            return try questions.map { kind, name in
                let answer = try ask(of: index, kind, "", name)
                guard case .whole(200, _, let body) = answer else {
                    throw WireFailure.unexpected("\(kind): \(answer)")
                }
                let text = String(decoding: body, as: UTF8.self)
                let version = String(text.split(separator: "\"")[3])
                guard case .watch(let held) = try ask(of: index, kind, version, name) else {
                    throw WireFailure.unexpected(text)
                }
                return held
            }
        }
    }

    private func ask(
        of index: Int, _ kind: String, _ version: String, _ name: String?
    ) throws -> ServiceAnswer {
        let list = name.map { ",\"resource_names\":[\"\($0)\"]" } ?? ""
        let body = """
            {"version_info":"\(version)"\(list),"node":{"id":"n-\(index)",
            "metadata":{"meshbench":\(Self.facts)}}}
            """
        let request = ServiceRequest(
            method: "POST", target: try #require(ServiceTarget("/v3/discovery:\(kind)")),
            fields: [], body: Array(body.utf8),
            peer: ServicePeer(address: .loopback(port: 1), isSecure: true), speech: .http2,
            now: api.clock.now)
        return try api.envoys.respond(
            to: request, kind: kind, from: .of("default/s-\(index)", "n-\(index)"))
    }

    private func made() throws -> Double {
        let text = try PrometheusText(api.envoys.prometheus)
        return try #require(text["meshbench_control_envoy_answers_made_total"])
    }

    private func put(_ kind: String, _ name: String, _ more: String) throws {
        let kinds = kind == "policy" ? "policies" : "\(kind)s"
        let answer = try api.ask(
            "PUT", "/v1/\(kinds)/default/\(name)",
            "{\"kind\":\"\(kind)\",\"name\":\"\(name)\",\(more)}")
        try #require([200, 201].contains(answer.status), "\(answer.text)")
    }

    /// What a change costs goes with it and with those whom it concerns.
    @Test func aChangeIsMadeForThoseWhomItConcernsAlone() throws {
        let count = 20
        let held = try settled(count)
        for status in api.envoys.status().values {
            #expect(status.acknowledged == status.sent, "\(status)")
        }
        var before = try made()
        try put("endpoint", "e", #""service":"t-3","address":"127.0.0.1:9001""#)
        #expect(try made() == before + 1)
        let answered = held.map { questions in questions.filter { !$0.isOpen }.count }
        #expect(answered == (0..<count).map { $0 == 3 ? 1 : 0 })
        let revision = api.store.state.revision
        for status in api.envoys.status().values {
            let hasIt = status.name != "n-3"
            #expect(status.sent == revision && (status.acknowledged == revision) == hasIt)
        }
        before = try made()
        try put("policy", "p", #""to":["t-4"],"timeout":{"request":"3s"}"#)
        // Its clusters, its routes and, as another policy holds now, both answers of endpoints; all
        // but the routes are as they were, and nobody is told of these.
        #expect(try made() == before + 4)
        #expect(held[4].filter { !$0.isOpen }.count == 1)
        before = try made()
        try declare("nobody-calls-it")
        #expect(try made() == before)
        #expect(held.flatMap(\.self).filter { !$0.isOpen }.count == 2)
    }

    /// The ports of an answer that leads to the two endpoints of `t-0`.
    private func ports(_ body: [UInt8]) -> [Int] {
        let text = String(decoding: body, as: UTF8.self)
        return (1...2).filter { text.contains("\"port_value\":\($0)}") }
    }

    private func ports(knowing version: String = "") throws -> [Int] {
        let answer = try ask(of: 0, "endpoints", version, "default/t-0")
        guard case .whole(200, _, let body) = answer else { return [] }
        return ports(body)
    }

    private func putTwo() throws {
        for port in 1...2 {
            try put("endpoint", "e-\(port)", #""service":"t-0","address":"127.0.0.1:\#(port)""#)
        }
    }

    @Test func whatChecksFindIsInTheEndpoints() throws {
        var sick: Set<MeshName> = []
        api.center.verdict = { sick.contains($0) ? .unhealthy : .healthy }
        let held = try settled(2)
        try putTwo()
        #expect(try ports() == [1, 2])
        let before = try made()
        sick = [MeshName("e-1")]
        api.envoys.take(checksOf: [MeshName("e-1")], api.clock.now)
        #expect(try ports() == [2])
        #expect(try made() == before + 1)
        // Where nobody would be left, checks do not count.
        sick = [MeshName("e-1"), MeshName("e-2")]
        api.envoys.take(checksOf: [MeshName("e-2")], api.clock.now)
        #expect(try ports() == [1, 2])
        sick = []
        api.envoys.take(checksOf: [MeshName("e-1"), MeshName("e-2")], api.clock.now)
        #expect(try ports() == [1, 2])
        #expect(held[1].allSatisfy { $0.isOpen })
    }

    /// What a control plane says that has just begun, to an Envoy that knows from before that one
    /// of two endpoints is unhealthy.
    @Test func whoMayKnowMoreIsNotTold() throws {
        var found: [MeshName: HealthVerdict] = [:]
        api.center.verdict = { found[$0] ?? .undecided }
        func find(_ name: String, _ verdict: HealthVerdict) {
            found[MeshName(name)] = verdict
            api.envoys.take(checksOf: [MeshName(name)], api.clock.now)
        }
        try declare("t-0")
        try declare("s-0", ",\"calls\":[\"t-0\"]")
        try putTwo()
        func asks(_ version: String) throws -> ServiceWatch? {
            let answer = try ask(of: 0, "endpoints", version, "default/t-0")
            guard case .watch(let held) = answer else { return nil }
            return held
        }
        let held = try #require(try asks("of before"))
        find("e-1", .unhealthy)
        #expect(held.isOpen)
        find("e-2", .healthy)
        #expect(ports(held.word?.body ?? []) == [2])
    }

    @Test func whatIsDeclaredIsToldWhateverIsYetToBeFound() throws {
        api.center.verdict = { _ in .undecided }
        try declare("t-0")
        try declare("s-0", ",\"calls\":[\"t-0\"]")
        try putTwo()
        guard case .watch(let held) = try ask(of: 0, "endpoints", "of before", "default/t-0") else {
            Issue.record("what is not known is told")
            return
        }
        #expect(try api.ask("DELETE", "/v1/endpoints/default/e-1").status == 200)
        #expect(ports(held.word?.body ?? []) == [2])
    }

    /// What checks find has no revision: whoever has all that was declared goes on having it, up to
    /// whatever the store comes to hold.
    @Test func findingsLeaveTheRevisionAsItIs() throws {
        var sick: Set<MeshName> = []
        api.center.verdict = { sick.contains($0) ? .unhealthy : .healthy }
        func writeSomethingElse(_ name: String) throws {
            try api.center.commit(
                StoreTransaction(changes: [.put(StoreKey("other/\(name)"), value: [1])]))
        }
        try declare("t-0")
        try declare("s-0", ",\"calls\":[\"t-0\"]")
        try putTwo()
        // It comes when the store has gone on since the last change of the mesh.
        try writeSomethingElse("a")
        _ = try settled(1)
        sick = [MeshName("e-1")]
        api.envoys.take(checksOf: [MeshName("e-1")], api.clock.now)
        try writeSomethingElse("b")
        let status = try #require(api.envoys.status().values.first)
        #expect(status.sent == api.store.state.revision && status.acknowledged == status.sent)
    }
}
