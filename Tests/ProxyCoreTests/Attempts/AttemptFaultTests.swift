import Base
import Fault
import Model
import Support
import Testing

@testable import ProxyCore

/// Faults of attempts that are routed anew, or made beside others.
@Suite struct AttemptFaultTests {
    /// The waiting request's first attempt was aborted; when it is routed anew it still has one
    /// retry less, says so, and is no new request to the budget.
    @Test func whatIsRoutedAnewHasHadItsAttempts() throws {
        var rule = FaultTests.rule("b", .perAttempt, abort: .http(503))
        rule.firstAttempts = 1
        let (scene, _) = FaultTests.scene([rule]) {
            $0.headers.attemptCount = true
            $0.clusters[0].retry = RetryPolicy(
                on: [.serverError], most: 1,
                budget: .rate(percent: 20, window: .seconds(100), leastPerSecond: 10))
            $0.clusters[0].breaker = .init(
                standard: .init(connections: 1, pending: 8), isStrict: true)
        }
        let clients = [scene.client(), scene.client()]
        for client in clients {
            scene.send(FaultTests.request, by: client)
            scene.pass(.milliseconds(100))
        }
        #expect(scene.servers.count == 1 && scene.proxy.waiting(0, 0) == 1)
        let before = try #require(scene.proxy.plans.budgets[0])
        scene.proxy.adopt(scene.proxy.configuration, now: scene.simulation.now)
        scene.pass(.zero)
        #expect(scene.proxy.waiting(0, 0) == 1)
        let after = try #require(scene.proxy.plans.budgets[0])
        #expect(after.requests == before.requests && after.requests == 2)
        _ = scene.received(scene.servers[0])
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(scene.servers[0]).contains("x-envoy-attempt-count: 2\r\n"))
        scene.send("HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n", by: scene.servers[0])
        let answer = scene.received(clients[1])
        #expect(answer.hasPrefix("HTTP/1.1 503 ") && answer.contains("URX"), "\(answer)")
    }

    /// An attempt is held back when its request is routed anew, and then aborted: that is for the
    /// retry policy to see, whatever faults there are of requests.
    @Test func anAbortOfAnAttemptStaysOne() throws {
        var rule = FaultTests.rule("b", .perAttempt, delay: .seconds(1), abort: .http(503))
        rule.firstAttempts = 1
        var other = FaultTests.rule("a", abort: .http(500))
        other.match.path = .exact("/other")
        let (scene, _) = FaultTests.scene([other, rule]) {
            $0.clusters[0].retry = RetryPolicy(on: [.serverError], most: 1)
        }
        let client = scene.client()
        scene.send(FaultTests.request, by: client)
        scene.pass(.milliseconds(500))
        scene.proxy.adopt(scene.proxy.configuration, now: scene.simulation.now)
        scene.pass(.milliseconds(530))
        try #require(scene.servers.count == 1)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 "))
        #expect(scene.proxy.counters[.retries] == 1)
    }

    /// A request's time is over while its attempt is held back: its own head is used up, whatever
    /// heads have come since.
    @Test(arguments: [0, 500]) func whatIsHeldBackTooLongIsUsedUp(more: Int) {
        let (scene, _) = FaultTests.scene([
            FaultTests.rule("b", .perAttempt, delay: .seconds(2))
        ]) { $0.timeouts.request = .seconds(1) }
        let clients = [scene.client(), scene.client()]
        for _ in 0..<2 {
            scene.send(FaultTests.request, by: clients[0])
            let field = "x-more: \(String(repeating: "a", count: more))"
            scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(field)\r\n\r\n", by: clients[1])
            scene.pass(.milliseconds(1100))
            for client in clients { #expect(scene.received(client).hasPrefix("HTTP/1.1 504 ")) }
        }
    }

    // MARK: Hedges

    private static func hedged(
        _ rule: FaultRule, most: Int = 1
    ) -> (Scene, LeaseTable) {
        FaultTests.scene([rule]) {
            $0.clusters[0].retry = RetryPolicy(
                on: [.serverError], most: most, perTry: .milliseconds(100), hedges: true)
        }
    }

    /// The second attempt is aborted: the first is waited for, and a third is made where one is
    /// left.
    @Test(arguments: [1, 2]) func aHedgeThatIsAbortedIsAFailure(most: Int) throws {
        var rule = FaultTests.rule("b", .perAttempt, abort: .http(503))
        rule.firstAttempts = 2
        let (scene, leases) = Self.hedged(rule, most: most)
        // The first passes: the fault comes when it is on its way.
        scene.proxy.adopt(faults: [])
        let client = scene.client()
        scene.send(FaultTests.request, by: client)
        #expect(scene.servers.count == 1)
        scene.proxy.adopt(faults: leases.held)
        scene.pass(.milliseconds(400))
        #expect(try FaultTests.lines(scene.proxy).map(\.attempt) == [2])
        #expect(scene.servers.count == most, "the aborted one has reached nobody")
        #expect(scene.received(client).isEmpty)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 "))
        #expect(scene.proxy.breakers[0].count(.retries, 0) == 0)
    }

    /// An abort that the policy takes for no failure is the answer, and ends the first attempt.
    @Test func aHedgesGoodAbortIsTheAnswer() throws {
        let (scene, leases) = Self.hedged(FaultTests.rule("b", .perAttempt, abort: .http(404)))
        scene.proxy.adopt(faults: [])
        let client = scene.client()
        scene.send(FaultTests.request, by: client)
        scene.proxy.adopt(faults: leases.held)
        scene.pass(.milliseconds(200))
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 404 ") && answer.contains("FI"), "\(answer)")
        #expect(scene.servers.count == 1 && scene.servers[0].proxyReset)
        #expect(scene.proxy.breakers[0].count(.retries, 0) == 0)
    }

    /// It begins when it has been held back as long as it is to be, and meets the fault once.
    @Test func aHedgeIsHeldBack() throws {
        let (scene, leases) = Self.hedged(
            FaultTests.rule("b", .perAttempt, delay: .milliseconds(300)))
        scene.proxy.adopt(faults: [])
        let client = scene.client()
        scene.send(FaultTests.request, by: client)
        scene.proxy.adopt(faults: leases.held)
        // The first attempt's time, and at most 25 ms of backoff.
        scene.pass(.milliseconds(399))
        #expect(scene.servers.count == 1)
        scene.pass(.milliseconds(27))
        #expect(scene.servers.count == 2)
        #expect(try FaultTests.lines(scene.proxy).map(\.attempt) == [2])
        scene.send(okAnswer, by: scene.servers[1])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 "))
    }

    /// How fast an attempt's answer comes its own draw says, not that of one beside it.
    @Test(arguments: [true, false], [true, false])
    func aRateIsOfItsAttempt(_ firstIsSlow: Bool, _ firstAnswers: Bool) throws {
        var rule = FaultTests.rule("b", .perAttempt, rate: 16 * 1024)
        if firstIsSlow { rule.firstAttempts = 1 }
        let (scene, leases) = Self.hedged(rule)
        if !firstIsSlow { scene.proxy.adopt(faults: []) }
        let client = scene.client()
        scene.send(FaultTests.request, by: client)
        scene.proxy.adopt(faults: leases.held)
        scene.pass(.milliseconds(130))
        try #require(scene.servers.count == 2)
        let size = 32 * 1024
        let head = "HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n"
        scene.send(
            Array(head.utf8) + [UInt8](repeating: 0x61, count: size),
            by: scene.servers[firstAnswers ? 0 : 1])
        let isSlow = firstIsSlow == firstAnswers
        var count = client.peerRead(.max).count
        #expect(isSlow == (count < size), "\(count)")
        scene.pass(.seconds(1))
        count += client.peerRead(.max).count
        #expect(isSlow == (count < size), "\(count)")
        scene.pass(.seconds(2))
        #expect(count + client.peerRead(.max).count > size)
    }
}
