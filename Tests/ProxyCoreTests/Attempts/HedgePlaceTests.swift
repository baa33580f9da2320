import Base
import Model
import Testing

@testable import ProxyCore

/// What attempts beside others hold, and when it is free again.
@Suite struct HedgePlaceTests {
    private func scene(
        _ limits: BreakerPolicy.Limits, strict: Bool = false,
        budget: RetryPolicy.Budget? = nil, upgrades: [String] = []
    ) -> Scene {
        var policy = RetryPolicy(
            on: [.serverError], most: 2, perTry: .milliseconds(100), includesUnsafe: true,
            hedges: true)
        policy.budget = budget
        return RetryTests.scene(
            policy, breaker: .init(standard: limits, isStrict: strict),
            timeouts: .init(request: .seconds(2))
        ) { $0.upgrades = upgrades }
    }

    /// Whatever settles which attempt is the one: who waits has the place of the other at once.
    @Test(arguments: [
        ("GET", "HTTP/1.1 103 Early Hints\r\n\r\n"), ("CONNECT", "HTTP/1.1 200 OK\r\n\r\n"),
        ("UPGRADE", "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"),
    ])
    func theLosersPlaceIsFreeAtOnce(_ method: String, _ head: String) {
        let scene = scene(
            .init(connections: 2, pending: 8), strict: true, upgrades: ["connect", "websocket"])
        let first = scene.client()
        switch method {
        case "CONNECT": scene.send("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", by: first)
        case "UPGRADE":
            scene.send(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                by: first)
        default: scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: first)
        }
        scene.pass(.milliseconds(126))
        #expect(scene.servers.count == 2)
        let second = scene.get().client
        #expect(scene.proxy.waiting(0, 0) == 1)
        scene.send(head, by: scene.servers[0])
        #expect(scene.received(first).hasPrefix(head.prefix(13)))
        #expect(scene.servers.count == 3 && scene.proxy.waiting(0, 0) == 0)
        scene.send(okAnswer, by: scene.servers[2])
        #expect(scene.received(second).hasPrefix("HTTP/1.1 200 "))
        scene.send(method == "GET" ? okAnswer : "ok", by: scene.servers[0])
        #expect(scene.received(first).hasSuffix("ok"))
    }

    /// A hedge for which there is no room counts nowhere, and leaves its retry to who failed.
    @Test(arguments: [
        BreakerPolicy.Limits(connections: 1), BreakerPolicy.Limits(requests: 1),
    ])
    func aHedgeThatIsNotSentIsNotCounted(_ limits: BreakerPolicy.Limits) {
        // One retry in all.
        let scene = scene(
            limits, budget: .rate(percent: 0, window: .seconds(10), leastPerSecond: 0.1))
        let client = scene.get().client
        scene.pass(.milliseconds(200))
        #expect(scene.servers.count == 1 && scene.received(client).isEmpty)
        #expect(scene.proxy.counters[.retries] == 0 && scene.proxy.counters[.hedges] == 0)
        #expect(scene.proxy.counters[.requestOverflow] == 0)
        _ = scene.received(scene.servers[0])
        scene.send("HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nno", by: scene.servers[0])
        scene.pass(.milliseconds(76))
        #expect(scene.proxy.counters[.retries] == 1)
        scene.send(okAnswer, by: scene.servers[scene.servers.count - 1])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
    }

    @Test func aHedgeThatIsSentIsCounted() {
        let scene = scene(
            .init(), budget: .rate(percent: 0, window: .seconds(10), leastPerSecond: 0.1))
        let client = scene.get().client
        scene.pass(.milliseconds(500))
        #expect(scene.servers.count == 2)
        #expect(scene.proxy.counters[.retries] == 1 && scene.proxy.counters[.hedges] == 1)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
    }

    /// A retry in flight has its place until its answer, whatever becomes of the hedge beside it.
    @Test(
        arguments: [
            (.init(connections: 1, retries: 1), nil, 0),
            (.init(retries: 1), .rate(percent: 0, window: .seconds(10), leastPerSecond: 0.1), 0),
            (.init(retries: 1), nil, 1),
            (.init(retries: 0), .concurrency(percent: 0, least: 1), 1),
        ] as [(BreakerPolicy.Limits, RetryPolicy.Budget?, Int)], [false, true])
    func aRetryInFlightKeepsItsPlace(
        _ terms: (limits: BreakerPolicy.Limits, budget: RetryPolicy.Budget?, hedges: Int),
        _ strict: Bool
    ) {
        let scene = scene(terms.limits, strict: strict, budget: terms.budget)
        func held() -> [Int?] {
            [
                scene.proxy.breakers[0].count(.retries, 0),
                strict ? scene.proxy.sharedBreakers[0]?.count(.retries, 0) : nil,
            ]
        }
        let client = scene.get().client
        scene.send("HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nno", by: scene.servers[0])
        scene.pass(.milliseconds(26))
        #expect(scene.proxy.counters[.retries] == 1 && held() == [1, strict ? 1 : nil])
        scene.pass(.milliseconds(200))
        #expect(scene.proxy.counters[.hedges] == UInt64(terms.hedges))
        #expect(held() == [1, strict ? 1 : nil])
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
        #expect(held() == [0, strict ? 0 : nil])
    }
}
