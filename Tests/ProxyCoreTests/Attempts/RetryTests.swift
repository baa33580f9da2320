import Base
import Model
import Support
import Testing

@testable import ProxyCore

/// Retries by policy, between a client and servers that are played by hand.
@Suite struct RetryTests {
    static func scene(
        _ policy: RetryPolicy, endpoints: [String] = ["127.0.0.1:1"],
        breaker: BreakerPolicy = .init(), timeouts: ProxyTimeouts = .init(),
        trusts: Bool = false, change: (inout ProxyConfiguration) -> Void = { _ in }
    ) -> Scene {
        var configuration = Scene.configuration(
            endpoints: endpoints, accessLog: true, timeouts: timeouts,
            headers: HeaderPolicy(attemptCount: true))
        configuration.clusters[0].retry = policy
        configuration.clusters[0].breaker = breaker
        configuration.listeners[0].trustsHeaders = trusts
        change(&configuration)
        return Scene(configuration)
    }

    private func answer(_ status: Int, _ fields: String = "") -> String {
        "HTTP/1.1 \(status) x\r\n\(fields)content-length: 2\r\n\r\nno"
    }

    /// What the server got that has last been asked; nil: none has been asked anew.
    private func attempt(_ scene: Scene) -> String? {
        for server in scene.servers.reversed() {
            let text = scene.received(server)
            if !text.isEmpty { return text }
        }
        return nil
    }

    private func number(_ text: String?) -> Int? {
        guard let range = text?.range(of: "x-envoy-attempt-count: ") else { return nil }
        return text?[range.upperBound...].prefix { $0.isNumber }.description.integer
    }

    /// Has every attempt answered so, until there is none for longer than any backoff.
    private func run(_ scene: Scene, _ answers: [String]) -> Int {
        var attempts = 0
        for _ in 0..<20 {
            guard attempt(scene) != nil else { return attempts }
            attempts += 1
            let text = answers[min(attempts, answers.count) - 1]
            if let server = scene.servers.last(where: { !$0.proxyClosed }) {
                scene.send(text, by: server)
            }
            scene.pass(.milliseconds(260))
        }
        return attempts
    }

    private func line(_ scene: Scene) -> String { scene.simulation.logLines.last ?? "" }

    private func isQuiet(_ scene: Scene) {
        for server in scene.servers where !server.proxyClosed { scene.close(server) }
        scene.pass(.seconds(10))
        #expect(scene.proxy.openClients == scene.proxy.openConnections)
        #expect(scene.proxy.buffersInUse == 0)
        for resource in Resource.allCases where resource != .connections {
            #expect(scene.proxy.breakers[0].count(resource, 0) == 0)
        }
    }

    // MARK: The grid

    /// Fail the first k × retries: k ≤ n comes to 200 by k + 1 attempts; else it is the last
    /// answer, marked.
    @Test(arguments: [0, 1, 2, 3, 4], [0, 1, 2, 3])
    func failTheFirst(_ k: Int, _ n: Int) {
        let scene = Self.scene(RetryPolicy(on: [.serverError], most: n))
        let client = scene.get().client
        let answers = Array(repeating: answer(503), count: k) + [okAnswer]
        let attempts = run(scene, answers)
        let received = scene.received(client)
        if k <= n {
            #expect(attempts == k + 1 && received.hasPrefix("HTTP/1.1 200 OK"))
            #expect(line(scene).contains("\"flags\":\"\""))
        } else {
            #expect(attempts == n + 1 && received.hasPrefix("HTTP/1.1 503 x"))
            #expect(received.contains("x-response-flags: URX\r\n"))
            #expect(received.hasSuffix("no"))
            #expect(line(scene).contains("\"flags\":\"URX\""))
            #expect(line(scene).contains("\"decided_by\":\"retry.most\""))
            #expect(scene.proxy.counters[.URX] == 1)
        }
        #expect(number(received) == attempts)
        #expect(line(scene).contains("\"attempts\":\(attempts),"))
        #expect(scene.proxy.counters[.retries] == UInt64(attempts - 1))
        isQuiet(scene)
    }

    /// Methods: what is not idempotent is sent again only where the policy lets it be.
    @Test(arguments: ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "POST", "PATCH"], [false, true])
    func methods(_ method: String, _ unsafe: Bool) {
        let scene = Self.scene(RetryPolicy(on: [.serverError], includesUnsafe: unsafe))
        let client = scene.client()
        scene.send("\(method) / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        let bare = "HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n"
        let repeats = unsafe || (method != "POST" && method != "PATCH")
        #expect(run(scene, [bare, bare]) == (repeats ? 2 : 1))
        #expect(line(scene).contains(repeats ? "retry.most" : "retry.unsafe"))
        isQuiet(scene)
    }

    @Test(arguments: [false, true]) func whatNoUpstreamHasSeenIsAlwaysSentAgain(_ isPost: Bool) {
        let scene = Self.scene(RetryPolicy(on: [.connectFailure], most: 2))
        scene.opening = .refused
        let client = scene.client()
        let method = isPost ? "POST" : "GET"
        scene.send("\(method) / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", by: client)
        scene.opening = .open
        scene.pass(.milliseconds(30))
        let text = attempt(scene)
        #expect(text?.hasSuffix("\r\n\r\nabc") == true && number(text) == 2)
        scene.send(okAnswer, by: scene.servers[1])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
        isQuiet(scene)
    }

    @Test func allConnectionsFail() {
        let scene = Self.scene(RetryPolicy(on: [.connectFailure], most: 3))
        scene.opening = .refused
        let client = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        scene.pass(.seconds(2))
        #expect(scene.servers.count == 4)
        let received = scene.received(client)
        #expect(received.contains("x-response-flags: UF,URX\r\n"), "\(received)")
        #expect(line(scene).contains("\"flags\":\"UF,URX\""))
        isQuiet(scene)
    }

    @Test(arguments: [(409, true), (404, false), (200, false), (503, false)])
    func retriable4xx(_ status: Int, _ again: Bool) {
        let scene = Self.scene(RetryPolicy(on: [.retriable4xx]))
        _ = scene.get()
        #expect(run(scene, [answer(status)]) == (again ? 2 : 1))
        isQuiet(scene)
    }

    @Test func headersAndRateLimits() {
        let policy = RetryPolicy(
            on: [.headers, .serverError], most: 5,
            headers: [.init(name: "x-again", value: "yes"), .init(name: "x-any", value: nil)])
        let scene = Self.scene(policy)
        _ = scene.get()
        let answers = [
            answer(200, "X-Again: yes\r\n"), answer(201, "x-any: \r\n"),
            answer(200, "x-again: no\r\n"),
        ]
        #expect(run(scene, answers) == 3)
        // A limit of somebody's is no failure unless the policy wants it.
        let limited = answer(503, "X-Envoy-RateLimited: true\r\n")
        let plain = Self.scene(RetryPolicy(on: [.serverError]))
        _ = plain.get()
        #expect(run(plain, [limited]) == 1)
        let eager = Self.scene(RetryPolicy(on: [.rateLimited]))
        _ = eager.get()
        #expect(run(eager, [limited]) == 2)
    }

    // MARK: Time

    @Test(arguments: 0..<20) func backoffsAreWithinTheirBounds(_ seed: Int) {
        let scene = Self.scene(RetryPolicy(on: [.serverError], most: 5))
        for _ in 0..<seed { _ = scene.proxy.random.next() }
        _ = scene.get()
        var seen = attempt(scene)
        for bound in [25, 75, 175, 250, 250] as [Int64] {
            #expect(seen != nil)
            scene.send(answer(500), by: scene.servers[0])
            let began = scene.simulation.now
            seen = attempt(scene)
            while seen == nil, scene.simulation.now < began + .seconds(1) {
                scene.pass(.milliseconds(1))
                seen = attempt(scene)
            }
            #expect(scene.simulation.now - began <= .milliseconds(bound + 1))
        }
        #expect(number(seen) == 6)
    }

    @Test func retryAfterIsFollowed() {
        let policy = RetryPolicy(
            on: [.statuses], statuses: [429], waitHeaders: [.init(name: "retry-after")])
        let scene = Self.scene(policy)
        _ = scene.get()
        #expect(attempt(scene) != nil)
        scene.send(answer(429, "Retry-After: 2\r\n"), by: scene.servers[0])
        scene.pass(.milliseconds(1999))
        #expect(attempt(scene) == nil)
        scene.pass(.milliseconds(1002))
        #expect(number(attempt(scene)) == 2)
        // More than it may say: as if it had said nothing.
        let long = Self.scene(policy)
        _ = long.get()
        #expect(attempt(long) != nil)
        long.send(answer(429, "Retry-After: 301\r\n"), by: long.servers[0])
        long.pass(.milliseconds(26))
        #expect(number(attempt(long)) == 2)
    }

    /// Two attempts fit; the third is cut off, and not another begins.
    @Test func theRequestsTimeCoversAllAttempts() {
        let scene = Self.scene(
            RetryPolicy(on: [.serverError], most: 3), timeouts: .init(request: .milliseconds(500)))
        let client = scene.get().client
        #expect(attempt(scene) != nil)
        scene.pass(.milliseconds(400))
        scene.send(answer(503), by: scene.servers[0])
        scene.pass(.milliseconds(50))
        #expect(number(attempt(scene)) == 2)
        scene.pass(.milliseconds(49))
        #expect(scene.received(client).isEmpty)
        scene.pass(.milliseconds(1))
        #expect(scene.received(client).contains("x-response-flags: UT\r\n"))
        #expect(line(scene).contains("\"attempts\":2,"))
        #expect(line(scene).contains("\"decided_by\":\"timeout.request\""))
        isQuiet(scene)
    }

    @Test func andTheTimeBetweenThem() {
        let policy = RetryPolicy(
            on: [.statuses], statuses: [429], waitHeaders: [.init(name: "retry-after")])
        let scene = Self.scene(policy, timeouts: .init(request: .milliseconds(500)))
        let client = scene.get().client
        scene.send(answer(429, "Retry-After: 9\r\n"), by: scene.servers[0])
        scene.pass(.milliseconds(499))
        #expect(scene.received(client).isEmpty)
        scene.pass(.milliseconds(1))
        #expect(scene.received(client).contains("x-response-flags: UT\r\n"))
        isQuiet(scene)
    }

    @Test(arguments: [true, false]) func anAttemptsTimeIsOver(_ secondIsFast: Bool) {
        let scene = Self.scene(
            RetryPolicy(on: [.serverError], perTry: .milliseconds(100)))
        let client = scene.get().client
        #expect(attempt(scene)?.contains("is-timeout-retry") == false)
        scene.pass(.milliseconds(99))
        #expect(scene.servers[0].proxyClosed == false)
        scene.pass(.milliseconds(27))
        let second = attempt(scene)
        #expect(scene.servers[0].proxyReset && number(second) == 2)
        #expect(second?.contains("\r\nx-envoy-is-timeout-retry: true\r\n") == true)
        if secondIsFast {
            scene.send(okAnswer, by: scene.servers[1])
            #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
            #expect(line(scene).contains("\"decided_by\":\"\""), "\(line(scene))")
        } else {
            scene.pass(.milliseconds(101))
            let received = scene.received(client)
            #expect(received.hasPrefix("HTTP/1.1 504"))
            #expect(received.contains("x-response-flags: UT,URX\r\n"))
            #expect(line(scene).contains("per_try_timeout"))
            #expect(scene.proxy.counters[.perTryTimeouts] == 2)
        }
        isQuiet(scene)
    }

    /// It begins when the whole request is there, and its connection.
    @Test func whenAnAttemptsTimeBegins() {
        let scene = Self.scene(RetryPolicy(on: [.serverError], perTry: .milliseconds(100)))
        let client = scene.client()
        scene.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na", by: client)
        scene.pass(.milliseconds(500))
        #expect(scene.servers.count == 1 && !scene.servers[0].proxyClosed)
        scene.send("b", by: client)
        scene.pass(.milliseconds(99))
        #expect(!scene.servers[0].proxyClosed)
        scene.pass(.milliseconds(1))
        #expect(scene.servers[0].proxyClosed)
        scene.pass(.milliseconds(30))
        #expect(scene.received(scene.servers[1]).hasSuffix("\r\n\r\nab"))
    }

    @Test func aTimeOfAnAttemptThatSaysNothing() {
        let scene = Self.scene(
            RetryPolicy(on: [.serverError], perTry: .milliseconds(500)),
            timeouts: .init(request: .milliseconds(500)))
        let client = scene.get().client
        scene.pass(.milliseconds(500))
        #expect(scene.received(client).contains("x-response-flags: UT\r\n"))
        #expect(scene.servers.count == 1)
    }

    // MARK: Bodies

    @Test(arguments: [10, 20_000, 60_000, 64_000, 70_000, 150_000], [true, false])
    func aBodyIsSentAgainIfItIsKept(_ size: Int, _ inPieces: Bool) {
        let scene = Self.scene(RetryPolicy(on: [.serverError]))
        let body = text(SimulatedExchange.pattern(3, size).map { $0 % 26 + 97 })
        let client = scene.client()
        let head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n"
        var rest = inPieces ? body[...] : ""
        var got = ""
        scene.send(inPieces ? head : head + String(body.prefix(50_000)), by: client)
        if !inPieces { rest = body.dropFirst(50_000) }
        for _ in 0..<100 where !rest.isEmpty {
            got += scene.received(scene.servers[0])
            let piece = rest.prefix(min(7000, client.peerRoom))
            rest = rest.dropFirst(piece.count)
            scene.send(String(piece), by: client)
        }
        for _ in 0..<10 { got += scene.received(scene.servers[0]) }
        #expect(got.hasSuffix(body))
        scene.send(answer(503), by: scene.servers[0])
        scene.pass(.milliseconds(26))
        let isKept = size <= 64_000
        if isKept {
            var again = ""
            for _ in 0..<10 {
                for server in scene.servers { again += scene.received(server) }
                scene.pass(.zero)
            }
            #expect(again.hasSuffix(body) && number(again) == 2)
        } else {
            #expect(scene.received(client).hasPrefix("HTTP/1.1 503 x"))
        }
        for server in scene.servers where !server.proxyClosed { scene.send(okAnswer, by: server) }
        isQuiet(scene)
    }

    @Test func chunksAndTheirTrailersAreSentAgain() {
        let scene = Self.scene(RetryPolicy(on: [.serverError], includesUnsafe: true))
        let client = scene.client()
        scene.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", by: client)
        scene.send("3\r\nabc\r\n", by: client)
        let end = "3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\n\r\n"
        scene.send("2\r\nde\r\n0\r\nx-sum: 1\r\n\r\n", by: client)
        #expect(attempt(scene)?.hasSuffix(end) == true)
        scene.send(answer(500), by: scene.servers[0])
        scene.pass(.milliseconds(26))
        #expect(attempt(scene)?.hasSuffix(end) == true)
    }

    /// A bad answer before the request has ended: the rest goes to the next.
    @Test func anEarlyAnswerIsARetryToo() {
        let scene = Self.scene(RetryPolicy(on: [.serverError]))
        let client = scene.client()
        scene.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab", by: client)
        scene.send(answer(503), by: scene.servers[0])
        scene.send("c", by: client)
        scene.pass(.milliseconds(26))
        #expect(scene.servers.count == 2 && scene.servers[0].proxyClosed)
        scene.send("d", by: client)
        #expect(scene.received(scene.servers[1]).hasSuffix("\r\n\r\nabcd"))
        scene.send(okAnswer, by: scene.servers[1])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
        // Its connection serves another request.
        scene.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        #expect(attempt(scene)?.hasPrefix("GET /next") == true)
    }

    @Test func pipelinedRequestsAreRetriedInTheirOrder() {
        let scene = Self.scene(RetryPolicy(on: [.serverError]))
        let client = scene.client()
        scene.send(
            "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPUT /2 HTTP/1.1\r\nHost: a\r\n"
                + "Content-Length: 2\r\n\r\nxyGET /3 HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        var seen: [String] = []
        for _ in 0..<6 {
            guard let text = attempt(scene) else { break }
            seen.append(text.prefix(6).description)
            let isFirst = number(text) == 1
            if let server = scene.servers.last(where: { !$0.proxyClosed }) {
                scene.send(isFirst ? answer(503) : okAnswer, by: server)
            }
            scene.pass(.milliseconds(26))
        }
        #expect(seen == ["GET /1", "GET /1", "PUT /2", "PUT /2", "GET /3", "GET /3"])
    }

    /// A connection whose unwanted answer is here whole serves the retry.
    @Test func anAnswerThatIsNotWantedCostsNoConnection() {
        let scene = Self.scene(RetryPolicy(on: [.serverError], most: 3))
        _ = scene.get()
        #expect(run(scene, [answer(503), answer(503), okAnswer]) == 3)
        #expect(scene.servers.count == 1)
        let cut = Self.scene(RetryPolicy(on: [.serverError], most: 3))
        _ = cut.get()
        _ = cut.received(cut.servers[0])
        cut.send("HTTP/1.1 503 x\r\ncontent-length: 200\r\n\r\nno", by: cut.servers[0])
        #expect(cut.servers[0].proxyReset)
        cut.pass(.milliseconds(26))
        #expect(cut.servers.count == 2)
    }

    @Test func behindAnInterimAnswerNothingIsSentAgain() {
        let scene = Self.scene(RetryPolicy(on: [.serverError]))
        let client = scene.get().client
        scene.send("HTTP/1.1 103 Early Hints\r\n\r\n", by: scene.servers[0])
        scene.send(answer(503), by: scene.servers[0])
        scene.pass(.milliseconds(26))
        let received = scene.received(client)
        #expect(received.hasPrefix("HTTP/1.1 103") && received.contains("HTTP/1.1 503 x"))
        isQuiet(scene)
    }

    @Test func aClientThatGoesMeanwhile() {
        let scene = Self.scene(RetryPolicy(on: [.serverError]))
        let client = scene.get().client
        scene.send(answer(503), by: scene.servers[0])
        #expect(scene.proxy.breakers[0].count(.retries, 0) == 1)
        scene.close(client, reset: true)
        #expect(scene.proxy.breakers[0].count(.retries, 0) == 0)
        #expect(line(scene).contains("\"flags\":\"DC\""))
        scene.pass(.seconds(1))
        #expect(scene.servers.count == 1)
        isQuiet(scene)
    }

    @Test(arguments: [0, 1, 2]) func aReloadMeanwhile(_ change: Int) {
        let scene = Self.scene(RetryPolicy(on: [.serverError]))
        let client = scene.get().client
        scene.send(answer(503), by: scene.servers[0])
        var next = Scene.configuration(accessLog: true)
        if change == 1 { next.clusters[0].name = "d" }
        if change == 2 { next.clusters[0].speech = .http2 }
        scene.proxy.adopt(next, now: scene.simulation.now)
        scene.pass(.milliseconds(26))
        if change == 0 {
            scene.send(okAnswer, by: scene.servers[scene.servers.count - 1])
            #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
        } else {
            let detail = change == 1 ? "cluster_not_found" : "protocol_changed"
            #expect(scene.received(client).contains(detail))
        }
        isQuiet(scene)
    }

    // MARK: Hosts

    @Test func previousHostsAreAvoided() {
        for seed in 0..<10 {
            var policy = RetryPolicy(on: [.connectFailure], avoidsPreviousHosts: true)
            policy.reselections = 5
            let scene = Self.scene(policy, endpoints: ["127.0.0.1:1", "127.0.0.1:2"])
            var random = SeededRandom(seed: UInt64(seed))
            for _ in 0..<seed {
                _ = scene.proxy.upstreams.select(0, HostWish(), now: .zero, &random)
            }
            scene.opening = .refused
            let client = scene.client()
            scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
            scene.pass(.milliseconds(26))
            #expect(scene.addresses.count == 2 && scene.addresses[0] != scene.addresses[1])
        }
    }
}

extension String {
    fileprivate var integer: Int? { Int(self) }

    fileprivate func range(of part: String) -> Range<String.Index>? { firstRange(of: part) }
}
