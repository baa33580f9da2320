import Base
import ControlCore
import Model
import Secure
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
}
