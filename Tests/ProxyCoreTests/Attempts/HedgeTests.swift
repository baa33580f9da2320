import Base
import Model
import Support
import Testing

@testable import ProxyCore
@testable import Wire

/// Attempts beside others, headers of trusted clients, and attempts over HTTP/2.
@Suite struct HedgeTests {
    private func scene(_ most: Int = 2, _ on: [RetryPolicy.Condition] = [.serverError]) -> Scene {
        RetryTests.scene(
            RetryPolicy(on: on, most: most, perTry: .milliseconds(100), hedges: true),
            timeouts: .init(request: .seconds(2)))
    }

    private func isQuiet(_ scene: Scene) {
        for server in scene.servers where !server.proxyClosed { scene.close(server) }
        scene.pass(.seconds(10))
        #expect(scene.proxy.buffersInUse == 0)
        for resource in Resource.allCases where resource != .connections {
            #expect(scene.proxy.breakers[0].count(resource, 0) == 0)
        }
    }

    private func answer(_ status: Int) -> String {
        "HTTP/1.1 \(status) x\r\ncontent-length: 2\r\n\r\nno"
    }

    /// Whichever of two answers first is the answer; the other's connection is reset.
    @Test(arguments: [0, 1]) func theFirstGoodAnswerIsTaken(_ winner: Int) {
        let scene = scene()
        let client = scene.get().client
        scene.pass(.milliseconds(126))
        #expect(scene.servers.count == 2 && !scene.servers[0].proxyClosed)
        let second = scene.received(scene.servers[1])
        #expect(second.contains("x-envoy-attempt-count: 2"))
        #expect(second.contains("x-envoy-is-timeout-retry: true"))
        scene.send(okAnswer, by: scene.servers[winner])
        let received = scene.received(client)
        #expect(received.hasPrefix("HTTP/1.1 200 OK") && received.hasSuffix("ok"))
        #expect(scene.servers[1 - winner].proxyReset)
        #expect(!scene.servers[winner].proxyClosed)
        #expect(scene.proxy.counters[.hedges] == 1 && scene.proxy.counters[.hedgesLost] == 1)
        #expect(scene.proxy.breakers[0].count(.retries, 0) == 0)
        // The connection that won serves the next.
        scene.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        #expect(scene.received(scene.servers[winner]).contains("GET /next"))
        isQuiet(scene)
    }

    /// A bad answer of one waits for the other's; the last bad one is the answer.
    @Test(arguments: [0, 1]) func aBadAnswerWaitsForTheOther(_ first: Int) {
        let scene = scene(1)
        let client = scene.get().client
        scene.pass(.milliseconds(126))
        scene.send(answer(503), by: scene.servers[first])
        // Envoy: also where the attempt that began last has no retry left.
        #expect(scene.received(client).isEmpty)
        scene.send(okAnswer, by: scene.servers[1 - first])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
        #expect(scene.simulation.logLines.last?.contains("\"decided_by\":\"\"") == true)
        isQuiet(scene)
    }

    @Test(arguments: [0, 1]) func theLastBadAnswerIsTheAnswer(_ first: Int) {
        let scene = scene(1)
        let client = scene.get().client
        scene.pass(.milliseconds(126))
        scene.send(answer(503), by: scene.servers[first])
        scene.send(answer(502), by: scene.servers[1 - first])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 502"))
        isQuiet(scene)
    }

    /// A hedge that was denied is no retry: the attempt's failure has its own.
    @Test(arguments: [true, false]) func aDeniedHedgeForfeitsNothing(_ resets: Bool) {
        let scene = RetryTests.scene(
            RetryPolicy(on: [.serverError], most: 1, perTry: .milliseconds(100), hedges: true),
            breaker: .init(standard: .init(retries: 0)), timeouts: .init(request: .seconds(2)))
        let client = scene.get().client
        scene.pass(.milliseconds(200))
        #expect(scene.servers.count == 1 && scene.received(client).isEmpty)
        scene.proxy.breakers = [Breaker(.init(standard: .init(retries: 1)))]
        scene.proxy.breakers[0].count(.connections, 0, by: 1)
        scene.proxy.breakers[0].count(.requests, 0, by: 1)
        _ = scene.received(scene.servers[0])
        if resets {
            scene.close(scene.servers[0], reset: true)
        } else {
            scene.send(answer(503), by: scene.servers[0])
        }
        scene.pass(.milliseconds(26))
        scene.send(okAnswer, by: scene.servers[scene.servers.count - 1])
        let received = scene.received(client)
        #expect(received.hasPrefix("HTTP/1.1 200"), "\(received)")
        #expect(scene.simulation.logLines.last?.contains("\"decided_by\":\"\"") == true)
        isQuiet(scene)
    }

    /// Nor is one for which there was no connection.
    @Test func aHedgeThatCannotBeSentForfeitsNothing() {
        let scene = RetryTests.scene(
            RetryPolicy(on: [.serverError], most: 1, perTry: .milliseconds(100), hedges: true),
            breaker: .init(standard: .init(connections: 1)), timeouts: .init(request: .seconds(2)))
        let client = scene.get().client
        scene.pass(.milliseconds(200))
        #expect(scene.servers.count == 1 && scene.received(client).isEmpty)
        _ = scene.received(scene.servers[0])
        scene.send(answer(503), by: scene.servers[0])
        scene.pass(.milliseconds(76))
        scene.send(okAnswer, by: scene.servers[scene.servers.count - 1])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
        isQuiet(scene)
    }

    /// While the backoff of a hedge runs, the first attempt answers.
    @Test func anAnswerBeforeTheHedgeIsSent() {
        for seed in 0..<10 {
            let scene = scene()
            for _ in 0..<seed { _ = scene.proxy.random.next() }
            let client = scene.get().client
            scene.pass(.milliseconds(100))
            if scene.servers.count == 1 {
                #expect(scene.proxy.breakers[0].count(.retries, 0) == 1)
                scene.send(okAnswer, by: scene.servers[0])
                #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
                scene.pass(.milliseconds(300))
                #expect(scene.servers.count == 1)
            }
            isQuiet(scene)
        }
    }

    /// A new configuration leaves no way to send a hedge: the request's own time still ends it.
    @Test func aHedgeWithoutItsCluster() {
        var met = 0
        for seed in 0..<10 {
            let scene = scene()
            for _ in 0..<seed { _ = scene.proxy.random.next() }
            let client = scene.get().client
            scene.pass(.milliseconds(100))
            guard scene.servers.count == 1 else { continue }
            met += 1
            var changed = scene.proxy.configuration
            changed.clusters[0].name = "d"
            changed.routes = [.init(cluster: "d")]
            scene.proxy.adopt(changed, now: scene.simulation.now)
            scene.pass(.seconds(3))
            #expect(scene.servers.count == 1)
            #expect(scene.received(client).hasPrefix("HTTP/1.1 504 "))
            isQuiet(scene)
        }
        #expect(met > 0)
    }

    /// Whichever opens a tunnel first is settled on, as with any other answer.
    @Test(arguments: [0, 1]) func aTunnelIsSettledOn(_ winner: Int) {
        let scene = RetryTests.scene(
            RetryPolicy(
                on: [.serverError], most: 2, perTry: .milliseconds(100), includesUnsafe: true,
                hedges: true)
        ) { $0.upgrades = ["connect"] }
        let client = scene.client()
        scene.send("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", by: client)
        scene.pass(.milliseconds(126))
        #expect(scene.servers.count == 2)
        scene.send("HTTP/1.1 200 OK\r\n\r\n", by: scene.servers[winner])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 "))
        #expect(scene.servers[1 - winner].proxyReset && !scene.servers[winner].proxyClosed)
        #expect(scene.proxy.breakers[0].count(.retries, 0) == 0)
        _ = scene.received(scene.servers[winner])
        scene.send("to", by: client)
        #expect(scene.received(scene.servers[winner]) == "to")
        scene.send("fro", by: scene.servers[winner])
        #expect(scene.received(client) == "fro")
        scene.close(client)
        isQuiet(scene)
    }

    /// Who waits has the loser's place as soon as the winner is known, not when its answer ends.
    @Test func theLosersPlaceIsFreeAtOnce() {
        let scene = RetryTests.scene(
            RetryPolicy(on: [.serverError], most: 2, perTry: .milliseconds(100), hedges: true),
            breaker: .init(standard: .init(connections: 2, pending: 8), isStrict: true))
        let first = scene.get().client
        scene.pass(.milliseconds(126))
        #expect(scene.servers.count == 2)
        let second = scene.get().client
        #expect(scene.proxy.waiting(0, 0) == 1)
        scene.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nlong", by: scene.servers[0])
        #expect(scene.received(first).hasSuffix("long"))
        #expect(scene.servers.count == 3 && scene.proxy.waiting(0, 0) == 0)
        scene.send(okAnswer, by: scene.servers[2])
        #expect(scene.received(second).hasPrefix("HTTP/1.1 200 "))
        scene.send(" more", by: scene.servers[0])
        #expect(scene.received(first) == " more")
        isQuiet(scene)
    }

    @Test func manyRivals() {
        let scene = scene(4)
        let client = scene.get().client
        scene.pass(.milliseconds(1500))
        #expect(scene.servers.count == 5)
        // Some fail, in the middle and at the end.
        scene.close(scene.servers[1], reset: true)
        scene.send(answer(500), by: scene.servers[3])
        #expect(scene.received(client).isEmpty)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
        #expect(scene.servers[2].proxyReset && scene.servers[4].proxyReset)
        isQuiet(scene)
    }

    @Test(arguments: [0, 1, 2]) func theEndOfTheRequestEndsAll(_ how: Int) {
        let scene = scene()
        let client = scene.get().client
        scene.pass(.milliseconds(400))
        #expect(scene.servers.count == 3)
        switch how {
        case 0: scene.close(client, reset: true)
        case 1: scene.pass(.seconds(2))
        default:
            for server in scene.servers { scene.close(server, reset: true) }
        }
        #expect(scene.servers.allSatisfy { $0.proxyClosed || $0.peerClosed })
        if how > 0 { #expect(scene.received(client).contains(how == 1 ? "UT" : "UC")) }
        isQuiet(scene)
    }

    @Test func whatMayNotBeRepeatedIsNotHedged() {
        let scene = scene()
        let client = scene.client()
        scene.send("POST / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        scene.pass(.seconds(1))
        #expect(scene.servers.count == 1 && !scene.servers[0].proxyClosed)
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
        isQuiet(scene)
    }

    // MARK: Headers

    private static let names = "x-envoy-retriable-header-names: "

    private func attempts(_ fields: String, trusts: Bool, policy: RetryPolicy?) -> Int {
        let scene = RetryTests.scene(
            RetryPolicy(on: []), timeouts: .init(request: .zero), trusts: trusts
        ) {
            $0.clusters[0].retry = policy
        }
        let client = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n", by: client)
        var count = 0
        for _ in 0..<120 {
            guard let server = scene.servers.last(where: { !$0.proxyClosed }) else { break }
            let text = scene.received(server)
            guard !text.isEmpty else { break }
            #expect(!text.contains("x-envoy-ret") && !text.contains("x-envoy-max"))
            count += 1
            scene.send("HTTP/1.1 503 x\r\nX-Again: 1\r\ncontent-length: 0\r\n\r\n", by: server)
            scene.pass(.milliseconds(260))
        }
        isQuiet(scene)
        return count
    }

    @Test(arguments: [
        ("x-envoy-retry-on: 5xx\r\n", 2), ("X-Envoy-Retry-On: reset, 5xx\r\n", 2),
        ("x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 3\r\n", 4),
        ("x-envoy-max-retries: 3\r\n", 1), ("x-envoy-retry-on: gateway-error\r\n", 2),
        ("x-envoy-retry-on: nonsense\r\n", 1),
        (
            "x-envoy-retry-on: retriable-status-codes\r\n"
                + "x-envoy-retriable-status-codes: 404, 503,x,,99999\r\n", 2
        ),
        ("x-envoy-retry-on: retriable-headers\r\n\(Self.names)X-No, x-AGAIN\r\n", 2),
        ("x-envoy-retry-on: retriable-headers\r\n\(Self.names)x-no,,x-agai,x-again-\r\n", 1),
        ("x-envoy-retry-on: reset\r\n\(Self.names)x-again\r\n", 1),
        // The sixteenth name is the last that is looked at.
        (
            "x-envoy-retry-on: retriable-headers\r\n\(Self.names)"
                + String(repeating: "x-no,", count: 15) + "x-again\r\n", 2
        ),
        (
            "x-envoy-retry-on: retriable-headers\r\n\(Self.names)"
                + String(repeating: "x-no,", count: 16) + "x-again\r\n", 1
        ),
        ("x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 99999999\r\n", 101),
        ("x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: -1\r\n", 2),
        ("x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 18446744073709551617\r\n", 2),
        ("x-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 0\r\n", 1),
    ])
    func trustedClientsSayHow(_ fields: String, _ expected: Int) {
        #expect(attempts(fields, trusts: true, policy: nil) == expected)
        #expect(attempts(fields, trusts: false, policy: nil) == 1)
        let policy = RetryPolicy(on: [.serverError], most: 2)
        #expect(attempts(fields, trusts: false, policy: policy) == 3)
    }

    /// What a client has left makes its time shorter, whoever it is.
    @Test(
        arguments: [false, true],
        [(300, 300), (5000, 1000), (0, 1000)] as [(left: Int, kept: Int64)])
    func deadlinesAreBelievedOfAnybody(trusts: Bool, _ told: (left: Int, kept: Int64)) {
        let scene = RetryTests.scene(
            RetryPolicy(on: []), timeouts: .init(request: .seconds(1)), trusts: trusts
        ) {
            $0.clusters[0].retry = nil
            $0.headers.expectedTimeout = true
        }
        let client = scene.client()
        let field = "x-envoy-expected-rq-timeout-ms: "
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(field)\(told.left)\r\n\r\n", by: client)
        #expect(scene.received(scene.servers[0]).contains("\(field)\(told.kept)\r\n"))
        scene.pass(.milliseconds(told.kept - 1))
        #expect(scene.received(client).isEmpty)
        scene.pass(.milliseconds(1))
        #expect(scene.received(client).hasPrefix("HTTP/1.1 504"))
    }

    /// Beside who is asked, the client's proxy says which attempt it is.
    @Test(arguments: [
        (true, "", 1), (true, "3", 3), (true, "x", 1), (true, "999", 255), (false, "3", 1),
    ])
    func theAttemptOfTheClientsProxyIsToldOn(isBeside: Bool, count: String, told: Int) {
        let scene = RetryTests.scene(RetryPolicy(on: [])) {
            $0.clusters[0].retry = nil
            if isBeside { $0.listeners[0].cluster = $0.clusters[0].name }
        }
        let client = scene.client()
        let line = count.isEmpty ? "" : "x-envoy-attempt-count: \(count)\r\n"
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(line)\r\n", by: client)
        #expect(
            scene.received(scene.servers[0]).contains("x-envoy-attempt-count: \(told)\r\n"))
    }

    @Test(
        arguments: [
            ("x-envoy-upstream-rq-timeout-ms: 300\r\n", 300, "timeout.request"),
            ("x-envoy-expected-rq-timeout-ms: 300\r\n", 300, "timeout.request"),
            ("x-envoy-expected-rq-timeout-ms: 99000\r\n", 1000, "timeout.request"),
            ("x-envoy-upstream-rq-per-try-timeout-ms: 200\r\n", 200, "timeout.per_try"),
            ("x-envoy-upstream-rq-timeout-ms: 999999999\r\n", 1000, "timeout.request"),
            ("x-envoy-upstream-rq-timeout-ms: 1e9\r\n", 1000, "timeout.request"),
        ] as [(String, Int64, String)])
    func andHowLong(_ fields: String, _ time: Int64, _ decision: String) {
        let scene = RetryTests.scene(
            RetryPolicy(on: []), timeouts: .init(request: .seconds(1)), trusts: true
        ) {
            $0.clusters[0].retry = nil
            $0.headers.expectedTimeout = true
        }
        let client = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n", by: client)
        #expect(
            scene.received(scene.servers[0]).contains("x-envoy-expected-rq-timeout-ms: \(time)\r\n")
        )
        scene.pass(.milliseconds(time - 1))
        #expect(scene.received(client).isEmpty)
        scene.pass(.milliseconds(1))
        #expect(scene.received(client).hasPrefix("HTTP/1.1 504 "))
        #expect(scene.simulation.logLines.last?.contains(decision) == true)
    }

    // MARK: HTTP/2

    private func streams(
        _ policy: RetryPolicy, change: (inout ProxyConfiguration) -> Void = { _ in }
    ) -> HTTP2Scene {
        var configuration = Scene.configuration(
            connections: 256, accessLog: true, headers: HeaderPolicy(attemptCount: true))
        configuration.clusters[0].retry = policy
        change(&configuration)
        return HTTP2Scene(.http2, configuration)
    }

    @Test func gRPCStatusesInHeads() {
        let scene = streams(
            RetryPolicy(on: [.unavailable, .resourceExhausted], most: 5, includesUnsafe: true))
        let grpc: Fields = [("content-type", "application/grpc")]
        var statuses = ["14", "8", "13", "0"]
        scene.onEnd = { peer, stream in
            peer.answer(stream, answerFields(200, grpc + [("grpc-status", statuses.removeFirst())]))
        }
        let client = scene.client()
        let call = client.peer.request(
            requestFields("POST", "/s/m", grpc), body: [0, 0, 0, 0, 0])
        scene.pass(.seconds(1))
        #expect(call?["grpc-status"] == "13" && call?["x-envoy-attempt-count"] == "3")
        // In trailers it is too late.
        scene.onEnd = { peer, stream in
            peer.answer(
                stream, answerFields(200, grpc), body: [1], trailers: [("grpc-status", "14")])
        }
        let late = client.peer.request(requestFields("POST", "/s/m", grpc), body: [0])
        scene.pass(.seconds(1))
        #expect(ownFields(late?.trailers) == ["grpc-status: 14"])
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    /// Bodies with trailers, answered badly by turns, with a window that is small.
    @Test func streamsAreRetriedWithAllTheyHave() {
        let scene = streams(RetryPolicy(on: [.serverError], most: 3))
        scene.serverWindow = 1000
        var failures = 3
        scene.onEnd = { peer, stream in
            failures -= 1
            peer.answer(
                stream, answerFields(failures >= 0 ? 503 : 200),
                body: failures >= 0 ? [1, 2] : stream.body,
                trailers: failures >= 0 ? [] : ownTrailers(stream.trailers))
        }
        let client = scene.client()
        let body = SimulatedExchange.pattern(5, 30_000)
        let stream = client.peer.request(requestFields("PUT"), body: body, ends: false)
        scene.pass()
        if let stream { client.peer.more(stream, [7], ends: true, trailers: [("x-sum", "1")]) }
        scene.pass(.seconds(2))
        #expect(stream?.status == 200 && stream?.body == body + [7])
        #expect(ownFields(stream?.trailers) == ["x-sum: 1"])
        #expect(stream?["x-envoy-attempt-count"] == "4")
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
        #expect(scene.proxy.breakers[0].count(.retries, 0) == 0)
    }

    private func ownTrailers(_ fields: Fields?) -> Fields {
        (fields ?? []).filter { $0.name != "date" }
    }

    @Test func refusalsCountWhereAPolicyMeansThem() {
        let scene = streams(RetryPolicy(on: [.refusedStream], most: 2))
        scene.onHead = { peer, stream in peer.reset(stream.number, .refusedStream) }
        let client = scene.client()
        let stream = client.peer.request(requestFields("POST"), body: [1])
        scene.pass(.seconds(1))
        #expect(stream?.status == 503 && stream?["x-response-flags"] == "UR,URX")
        #expect(scene.proxy.counters[.retries] == 2 && scene.proxy.counters[.refusedRetries] == 1)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    @Test func hedgesOverStreams() {
        let scene = streams(
            RetryPolicy(on: [.serverError], most: 1, perTry: .milliseconds(100), hedges: true))
        let client = scene.client()
        let stream = client.peer.request(requestFields("GET"))
        scene.pass(.milliseconds(130))
        let server = scene.servers[0].peer
        #expect(server.order == [1, 3])
        if let first = server.streams[1] { server.answer(first, answerFields(201), body: [4]) }
        scene.pass()
        #expect(stream?.status == 201 && stream?.body == [4])
        #expect(server.streams[3]?.closed == HTTP2Code.cancel)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    /// More at once than may wait while the first connection is opened; none when it is warm.
    @Test func pendingIsForTheFirstConnection() {
        let scene = streams(RetryPolicy(on: [])) {
            $0.clusters[0].retry = nil
            $0.clusters[0].breaker.standard.pending = 10
        }
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields()) }
        scene.opening = .pending
        let client = scene.client()
        let cold = (0..<40).map { _ in client.peer.request(requestFields("GET")) }
        scene.pass(.milliseconds(50))
        #expect(cold.filter { $0?.status == 503 }.count == 30)
        #expect(cold.filter { $0?.status == 200 }.count == 10)
        let warm = (0..<40).map { _ in client.peer.request(requestFields("GET")) }
        scene.pass()
        #expect(warm.allSatisfy { $0?.status == 200 })
        #expect(scene.proxy.breakers[0].count(.pending, 0) == 0)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }
}
