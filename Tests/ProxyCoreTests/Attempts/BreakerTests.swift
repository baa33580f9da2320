import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Breakers, budgets and admission in the proxy.
@Suite struct BreakerTests {
    private func scene(
        _ limits: BreakerPolicy.Limits, high: BreakerPolicy.Limits = .init(), strict: Bool = false,
        retry: RetryPolicy? = nil, endpoints: [String] = ["127.0.0.1:1"],
        change: (inout ProxyConfiguration) -> Void = { _ in }
    ) -> Scene {
        var configuration = Scene.configuration(
            endpoints: endpoints, connections: 256, accessLog: true)
        configuration.clusters[0].breaker = BreakerPolicy(
            standard: limits, high: high, isStrict: strict)
        configuration.clusters[0].retry = retry
        var important = ProxyConfiguration.Route(path: .prefix("/high"), cluster: "c")
        important.priority = .high
        configuration.routes.insert(important, at: 0)
        change(&configuration)
        return Scene(configuration)
    }

    private func line(_ scene: Scene) -> String { scene.simulation.logLines.last ?? "" }

    private func count(_ scene: Scene, _ resource: Resource, _ priority: UInt8 = 0) -> Int {
        scene.proxy.breakers[0].count(resource, priority)
    }

    private func expectOverload(_ scene: Scene, _ client: SimulatedSocket, _ decision: String) {
        let received = scene.received(client)
        #expect(received.hasPrefix("HTTP/1.1 503 "))
        #expect(received.contains("x-response-flags: UO\r\nx-envoy-overloaded: true\r\n"))
        #expect(line(scene).contains("\"decided_by\":\"\(decision)\""))
    }

    // MARK: Limits

    @Test(arguments: [false, true]) func requestsBeyondTheLimitFailAtOnce(_ strict: Bool) {
        let scene = scene(.init(requests: 2), strict: strict)
        let first = scene.get().client
        _ = scene.get()
        let third = scene.get().client
        expectOverload(scene, third, "breaker.requests")
        #expect(count(scene, .requests) == 2 && scene.proxy.counters[.requestOverflow] == 1)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(first) == okAnswer && count(scene, .requests) == 1)
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: third)
        #expect(count(scene, .requests) == 2)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(third) == okAnswer)
    }

    /// HTTP/1.1 with no place to wait: none can be sent that needs a connection to be opened.
    @Test func whereNobodyMayWaitNoConnectionIsOpened() {
        let scene = scene(.init(pending: 0))
        let client = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        expectOverload(scene, client, "breaker.pending")
        #expect(scene.servers.isEmpty)
    }

    /// Who waits for a connection to be opened waits.
    @Test func openingAConnectionIsWaiting() {
        let scene = scene(.init(pending: 2))
        scene.opening = .never
        _ = scene.get()
        _ = scene.get()
        #expect(count(scene, .pending) == 2 && count(scene, .requests) == 2)
        let third = scene.get().client
        expectOverload(scene, third, "breaker.pending")
        #expect(scene.servers.count == 2)
        scene.pass(.seconds(5))
        #expect(count(scene, .pending) == 0 && count(scene, .requests) == 0)
        #expect(count(scene, .connections) == 0)
    }

    @Test(arguments: [false, true]) func eachEndpointMayHaveOneConnection(_ strict: Bool) {
        let scene = scene(
            .init(connections: 1, pending: 8), strict: strict,
            endpoints: ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"])
        for _ in 0..<5 { _ = scene.get() }
        #expect(scene.servers.count == (strict ? 1 : 3))
        #expect(count(scene, .connections) == (strict ? 1 : 3))
        #expect(count(scene, .pending) == (strict ? 4 : 2))
        // All of them are served, one after the other.
        var answered = 0
        for _ in 0..<5 {
            for server in scene.servers where !scene.received(server).isEmpty {
                answered += 1
                scene.send(okAnswer, by: server)
            }
        }
        #expect(answered == 5 && count(scene, .pending) == 0)
    }

    // MARK: Priorities

    @Test func aFullPriorityLeavesTheOtherAlone() {
        let limits = BreakerPolicy.Limits(connections: 1, pending: 1, requests: 3)
        let scene = scene(limits, high: limits)
        _ = scene.get("/1")
        _ = scene.get("/2")
        let third = scene.get("/3").client
        expectOverload(scene, third, "breaker.pending")
        let high = scene.client()
        scene.send("GET /high HTTP/1.1\r\nHost: a\r\n\r\n", by: high)
        #expect(scene.servers.count == 2)
        #expect(count(scene, .connections, 1) == 1 && count(scene, .requests, 1) == 1)
        scene.send(okAnswer, by: scene.servers[1])
        #expect(scene.received(high) == okAnswer)
        // Its connection is free; the one that waits would take it, had its priority room.
        #expect(count(scene, .pending) == 1 && scene.servers.count == 2)
        scene.send("GET /high/2 HTTP/1.1\r\nHost: a\r\n\r\n", by: high)
        #expect(scene.received(scene.servers[1]).contains("GET /high/2 "))
    }

    @Test func aFreeConnectionChangesHands() {
        let scene = scene(.init(connections: 2), high: .init(connections: 2))
        let client = scene.get("/1").client
        scene.send(okAnswer, by: scene.servers[0])
        #expect(count(scene, .connections) == 1)
        scene.send("GET /high HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        #expect(scene.servers.count == 1)
        #expect(count(scene, .connections) == 0 && count(scene, .connections, 1) == 1)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(count(scene, .connections, 1) == 1)
        scene.close(scene.servers[0], reset: true)
        #expect(count(scene, .connections, 1) == 0)
    }

    /// One's own free connection is found behind those of the other priority, wherever it leads.
    @Test(arguments: [1, 2]) func aFreeConnectionIsFoundBehindAnothers(_ endpoints: Int) {
        let scene = scene(
            .init(connections: 1), high: .init(connections: 1), strict: true,
            endpoints: (1...endpoints).map { "127.0.0.1:\($0)" })
        let client = scene.get("/1").client
        _ = scene.get("/high")
        scene.send(okAnswer, by: scene.servers[0])
        scene.send(okAnswer, by: scene.servers[1])
        for _ in 0..<4 {
            _ = scene.received(scene.servers[0])
            scene.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
            #expect(scene.servers.count == 2 && !scene.servers[0].proxyClosed)
            #expect(scene.received(scene.servers[0]).contains("GET /2 "))
            scene.send(okAnswer, by: scene.servers[0])
        }
        #expect(count(scene, .connections) == 1 && count(scene, .connections, 1) == 1)
    }

    // MARK: Retries

    private func fail(_ scene: Scene) {
        for server in scene.servers where !scene.received(server).isEmpty {
            scene.send("HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n", by: server)
        }
    }

    @Test(arguments: [false, true]) func retriesInFlightAreLimited(_ strict: Bool) {
        let scene = scene(
            .init(retries: 3), strict: strict, retry: RetryPolicy(on: [.serverError], most: 3))
        let clients = (0..<10).map { scene.get("/\($0)").client }
        fail(scene)
        #expect(count(scene, .retries) == 3)
        let answers = clients.map { scene.received($0) }
        let denied = answers.filter { !$0.isEmpty }
        #expect(denied.count == 7)
        // The upstream's own answer, which says so, and not that of an overload of requests.
        #expect(denied.allSatisfy { $0.hasPrefix("HTTP/1.1 503 x\r\n") })
        #expect(denied.allSatisfy { $0.contains("x-response-flags: UO\r\n") })
        #expect(denied.allSatisfy { !$0.contains("overloaded") })
        #expect(scene.proxy.counters[.retryOverflow] == 7)
        #expect(scene.proxy.counters[.pendingOverflow] == 0)
        #expect(line(scene).contains("\"decided_by\":\"breaker.retries\""))
        for _ in 0..<10 {
            scene.pass(.milliseconds(251))
            fail(scene)
        }
        #expect(count(scene, .retries) == 0)
    }

    @Test func aBudgetByConcurrencyTakesItsPlace() {
        var retry = RetryPolicy(on: [.serverError], most: 3)
        retry.budget = .concurrency(percent: 50, least: 1)
        let scene = scene(.init(retries: 0), retry: retry)
        for i in 0..<9 { _ = scene.get("/\(i)") }
        fail(scene)
        // Each that fails is no request in flight any more: 8 left: 4; …
        #expect(count(scene, .retries) == 3)
        #expect(line(scene).contains("\"decided_by\":\"retry.budget\""))
        #expect(scene.proxy.counters[.retryOverflow] == 6)
    }

    @Test func aBudgetByTime() {
        var retry = RetryPolicy(on: [.serverError], most: 1)
        retry.budget = .rate(percent: 20, window: .seconds(10), leastPerSecond: 0)
        let scene = scene(.init(retries: 0), retry: retry)
        for i in 0..<25 { _ = scene.get("/\(i)") }
        fail(scene)
        #expect(scene.proxy.counters[.retries] == 5)
        #expect(scene.proxy.counters[.retryOverflow] == 20)
    }

    // MARK: Workers

    /// Two workers of one proxy: strict limits hold for both together.
    @Test func strictLimitsHoldForAllWorkers() {
        var configuration = Scene.configuration()
        configuration.clusters[0].breaker = .init(
            standard: .init(requests: 3), isStrict: true)
        let commons = ProxyCommons()
        var workers = (0..<2).map {
            Proxy(configuration, random: SeededRandom(seed: UInt64($0)), commons: commons)
        }
        func request(_ worker: Proxy) -> Int {
            let slot = Array("192.0.2.1".utf8).withBytes { worker.accept(client: $0, now: .zero) }
            guard let slot, let space = unsafe worker.space(slot) else { return 0 }
            let text = Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8)
            unsafe space.copyBytes(from: text)
            worker.received(slot, text.count, now: .zero)
            return Int(worker.counters[.requestOverflow])
        }
        #expect(request(workers[0]) == 0 && request(workers[1]) == 0 && request(workers[0]) == 0)
        #expect(request(workers[1]) == 1 && request(workers[0]) == 1)
        // A worker that is gone holds nothing.
        workers.remove(at: 0)
        #expect(request(workers[0]) == 1 && request(workers[0]) == 1)
        #expect(request(workers[0]) == 2)
        // And what is adopted counts what is there.
        configuration.clusters[0].breaker.standard.requests = 4
        workers[0].adopt(configuration, now: .zero)
        #expect(request(workers[0]) == 2 && request(workers[0]) == 3)
        configuration.clusters[0].breaker.isStrict = false
        workers[0].adopt(configuration, now: .zero)
        #expect(workers[0].breakers[0].count(.requests, 0) == 4)
    }

    /// The floor of a budget by concurrency is one for all workers where the limits are strict.
    @Test(arguments: [true, false]) func aStrictBudgetIsOneForAllWorkers(_ strict: Bool) {
        var configuration = Scene.configuration()
        configuration.clusters[0].breaker = .init(isStrict: strict)
        var policy = RetryPolicy(on: [.serverError], most: 3)
        policy.budget = .concurrency(percent: 0, least: 1)
        configuration.clusters[0].retry = policy
        let commons = ProxyCommons()
        let denials = (0..<2).map { seed in
            let worker = Proxy(
                configuration, random: SeededRandom(seed: UInt64(seed)), commons: commons)
            return (worker, retry(of: worker))
        }
        #expect(denials[0].1 == nil)
        #expect(denials[1].1 == (strict ? .retryBudget : nil))
    }

    /// Has a request begin, and asks for a retry of it.
    private func retry(of worker: Proxy) -> Decision? {
        let slot = Array("192.0.2.1".utf8).withBytes { worker.accept(client: $0, now: .zero) }
        guard let slot, let space = unsafe worker.space(slot) else { return .admission }
        let text = Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8)
        unsafe space.copyBytes(from: text)
        worker.received(slot, text.count, now: .zero)
        return worker.takeRetry(slot, now: .zero)
    }

    // MARK: Admission

    @Test func admissionTurnsRequestsAway() {
        let scene = scene(.init()) { $0.clusters[0].admission = AdmissionPolicy() }
        var rejected = 0
        for _ in 0..<200 {
            let (client, server) = scene.get()
            if !scene.received(server).isEmpty {
                scene.send("HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n", by: server)
            }
            let received = scene.received(client)
            if received.contains("denied_by_admission_control") {
                rejected += 1
                #expect(received.hasPrefix("HTTP/1.1 503 ") && !received.contains("x-response"))
                #expect(line(scene).contains("\"decided_by\":\"admission\""))
            }
            scene.close(client)
        }
        #expect(rejected > 130 && rejected < 185)
        #expect(scene.proxy.counters[.admissionRejected] == UInt64(rejected))
    }

    enum Place { case head, trailers, nowhere }

    /// What a call of gRPC comes to stands in the head or behind the body, or the answer breaks off
    /// before that, whatever the status of HTTP: UNAVAILABLE is a failure, NOT_FOUND is none.
    @Test(arguments: [
        ("14", Place.head, true), ("14", .trailers, true), ("", .nowhere, true),
        ("10", .trailers, true), ("5", .head, false), ("0", .trailers, false),
    ])
    func admissionJudgesCalls(_ status: String, _ place: Place, _ rejects: Bool) {
        var configuration = Scene.configuration(connections: 256)
        configuration.clusters[0].admission = AdmissionPolicy()
        let scene = HTTP2Scene(.http2, configuration)
        let grpc: Fields = [("content-type", "application/grpc")]
        let told = ("grpc-status", status)
        var broken: [() -> Void] = []
        scene.onEnd = { peer, stream in
            switch place {
            case .head: peer.answer(stream, answerFields(200, grpc + [told]))
            case .trailers:
                peer.answer(stream, answerFields(200, grpc), body: [1], trailers: [told])
            case .nowhere:
                peer.answer(stream, answerFields(200, grpc), body: [1], ends: false)
                broken.append { peer.reset(stream.number, .internalError) }
            }
        }
        let client = scene.client()
        for _ in 0..<200 {
            _ = client.peer.request(requestFields("POST", "/s/m", grpc), body: [0])
            scene.pass(.milliseconds(1))
            for end in broken { end() }
            broken = []
            scene.pass(.milliseconds(1))
        }
        let rejected = scene.proxy.counters[.admissionRejected]
        #expect(rejects ? rejected > 130 && rejected < 185 : rejected == 0)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }
}
