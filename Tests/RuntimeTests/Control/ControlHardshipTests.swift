// What others do wrong, over and over, and a clock that is set: a clear answer each time, and the
// mesh goes on.

import Base
import ControlCore
import Model
import Testing

@testable import Runtime

@Suite struct ControlHardshipTests {
    private let api: ControlAPI
    private let watch: ServiceWatch

    init() throws {
        api = try ControlAPI()
        api.hasPushes = true
        let echo = "{\"kind\":\"service\",\"name\":\"echo\"}"
        try #require(try api.ask("PUT", "/v1/services/default/echo", echo).status == 201)
        try api.joined()
        watch = try #require(
            try api.askProxies(
                "POST", "/v1/proxy/watch",
                "{\"proxy\":\"echo-1\",\"service\":\"default/echo\",\"address\":\"127.0.0.1:9\"}"
            ).watch)
    }

    private func heartbeat() throws -> ControlAPI.Answer {
        try api.askProxies("POST", "/v1/proxy/heartbeat", "{\"proxy\":\"echo-1\"}")
    }

    @Test func aFloodOfBadTokensChangesNothing() throws {
        let token = try api.makeToken()
        let csr = try makeRequest()
        let revision = api.store.state.revision
        let wrong = [
            "x", token + "a", String(token.dropLast(4)) + "AAAA", "..",
            String(repeating: "a", count: 100_000),
        ]
        for number in 0..<500 {
            let word = wrong[number % wrong.count]
            let answer = try api.join(word, proxy: "p-\(number)", csr: csr)
            #expect(answer.status == 401 && answer.text.hasPrefix("{\"error\":\"the token"))
            api.token = word
            #expect(try api.ask("GET", "/v1/status").status == 401)
            api.token = "secret"
        }
        #expect(api.center.statistics.joinRefusals == 500)
        #expect(api.store.state.revision == revision)
        #expect(try heartbeat().status == 204)
        #expect(try api.join(token, csr: csr).status == 200)
        #expect(watch.isOpen)
    }

    /// The life of tokens and certificates is of the wall clock, that of registrations is not.
    @Test func aWallClockThatIsSetIsNoEndOfTheMesh() throws {
        let token = try api.makeToken()
        let day: Int64 = 86_400_000_000_000
        let endpoint = MeshName("echo-1")
        api.clock.nanoseconds += 2 * day
        _ = api.handler.turnEnds(api.clock.now)
        #expect(api.center.mesh.endpoints[endpoint] != nil)
        let late = try api.join(token, proxy: "late")
        #expect(late.status == 401 && late.text.contains("expired"), "\(late.text)")
        let ended = try heartbeat()
        #expect(ended.status == 403 && ended.text.contains("has expired"))
        // Whoever comes by a new token is in again.
        let again = try api.join(try api.makeToken(), proxy: "echo-2")
        #expect(again.status == 200, "\(again.text)")
        api.clock.nanoseconds -= 4 * day
        _ = api.handler.turnEnds(api.clock.now)
        #expect(api.center.mesh.endpoints[endpoint] != nil && watch.isOpen)
        #expect(try heartbeat().status == 204)
        #expect(try api.join(token, proxy: "early").status == 200)
        // What was not said in time ends all the same.
        api.clock.now = api.clock.now + .seconds(11)
        _ = api.handler.turnEnds(api.clock.now)
        #expect(api.center.mesh.endpoints[endpoint] == nil)
    }

    /// Of another version, or by somebody else's hand.
    @Test func aStoreWithGarbageIsShownAndMended() throws {
        let path = "/v1/services/default/echo"
        let other = "/v1/services/default/other"
        try api.putBehind(path, "{kind: service, name: echo, nonsense: 1}")
        try api.putBehind(other, "\u{1}")
        // The mesh is as before, and all that is answered is JSON.
        #expect(api.center.mesh.services.count == 1 && watch.isOpen)
        #expect(try heartbeat().status == 204)
        struct Listing: Decodable {
            struct Damage: Decodable, Equatable {
                var key: String
                var reason: String
            }
            struct Declaration: Decodable { var name: String }
            var declarations: [Declaration]
            var damaged: [Damage]?
        }
        let listing = try api.ask("GET", "/v1/declarations?kind=service").read(Listing.self)
        #expect(listing.declarations.map(\.name) == ["echo"])
        #expect(
            listing.damaged?.map(\.key) == ["services/default/echo", "services/default/other"])
        #expect(listing.damaged?.first?.reason.contains("nonsense") == true)
        let rest = try api.ask("GET", "/v1/declarations?kind=route").read(Listing.self)
        #expect(rest.damaged == nil)
        let status = try api.ask("GET", "/v1/status").text
        #expect(status.contains("services/default/echo cannot be read"), "\(status)")
        #expect(status.contains("and 1 more"), "\(status)")
        #expect(try api.ask("GET", "/metrics").text.contains("declarations_damaged 2\n"))
        // The tag of what stands there is a condition.
        let found = try api.ask("GET", path)
        let tag = try #require(found["etag"])
        #expect(found.status == 500 && found.text.contains("nonsense"), "\(found.text)")
        let echo = "{\"kind\":\"service\",\"name\":\"echo\"}"
        #expect(try api.ask("PUT", path, echo, ["if-match": "\"1\""]).status == 412)
        #expect(try api.ask("PUT", path, echo, ["if-match": tag]).status == 200)
        #expect(try api.ask("DELETE", other).status == 200)
        #expect(try api.ask("GET", path).status == 200)
        #expect(try api.ask("GET", other).status == 404)
        #expect(try api.ask("GET", "/metrics").text.contains("declarations_damaged 0\n"))
    }

    /// Nobody is told of a mesh without it, and where it was known it goes on to hold.
    @Test func anAuthorizationThatCannotBeReadIsNotLeftOut() throws {
        let path = "/v1/authorizations/default/z"
        let body = #"{"proxy":"echo-1","service":"default/echo"}"#
        let envoy =
            #"{"version_info":"","node":{"id":"echo-1","metadata":{"meshbench":{"#
            + #""identity_file":"/x","outbound":"127.0.0.1:1"}}}}"#
        try api.putBehind(path, "{kind: authorization, name: z, to: [echo], newer: 1}")
        for (target, body) in [("/v1/proxy/watch", body), ("/v3/discovery:listeners", envoy)] {
            let answer = try api.askProxies("POST", target, body)
            #expect(answer.status == 503 && answer.text.contains("newer"), "\(answer.text)")
        }
        let rule = #"{"kind":"authorization","name":"z","to":["echo"],"action":"allow"}"#
        #expect(try api.ask("PUT", path, rule).status == 200)
        #expect(try api.askProxies("POST", "/v1/proxy/watch", body).watch != nil)
        // It is known from now on.
        try api.putBehind(path, "{")
        #expect(api.center.mesh.authorizations.count == 1)
        #expect(try api.askProxies("POST", "/v1/proxy/watch", body).watch != nil)
    }

    @Test func whatIsDeclaredAndCannotBeReadIsNobodysToRegister() throws {
        try api.putBehind("/v1/endpoints/default/echo-1", "{")
        let answer = try api.askProxies(
            "POST", "/v1/proxy/watch",
            #"{"proxy":"echo-1","service":"default/echo","address":"127.0.0.1:9"}"#)
        #expect(answer.status == 422 && answer.text.contains("no process can register it"))
    }

    @Test func nobodyGetsTheControlPlanesIdentity() throws {
        let token = try api.makeToken()
        try api.putBehind(
            "/v1/services/default/echo",
            "{kind: service, name: echo, identity: 'spiffe://meshbench.test/control'}")
        let answer = try api.join(token, proxy: "p")
        #expect(answer.status == 403, "\(answer.text)")
        #expect(answer.text.contains("the control plane's identity"), "\(answer.text)")
    }
}
