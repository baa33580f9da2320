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
}
