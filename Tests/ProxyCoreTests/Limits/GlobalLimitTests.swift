import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Limits of all proxies, as clients and the service meet them.
@Suite struct GlobalLimitTests {
    private typealias Entry = RateLimitRequest.Entry

    @Test func whoIsWithinTheLimitGoesOn() {
        let scene = GlobalLimitScene([.verdict(.ok)])
        #expect(scene.status() == 200)
        #expect(
            scene.questions == [
                RateLimitRequest(domain: "shop", descriptors: [.init([Entry("route", "all")])])
            ])
        #expect(scene.counters[.questionsOK] == 1)
        #expect(scene.counters[.requestsTotal] == 1)
        let lines = scene.proxy.counts.lines
        #expect(lines[.cluster("shop/limits")]?[ClusterCount.requests] == 1)
        // For its connection, once.
        #expect(lines[.cluster("shop/limits")]?[ClusterCount.requestsPending] == 1)
        #expect(lines[.route("prefix:/")]?[RouteCount.attempts] == 1)
        #expect(scene.remains() == nil)
    }

    /// As gRPC wants it, and to a host that HTTP knows.
    @Test func aQuestionIsACall() {
        let scene = GlobalLimitScene([.verdict(.ok)])
        _ = scene.status()
        let head = scene.heads[0].map { "\($0.name): \($0.value)" }
        #expect(
            head == [
                ":method: POST", ":scheme: http", ":path: \(RateLimitCall.path)",
                ":authority: limits.shop.mesh", "te: trailers", "content-type: application/grpc",
                "grpc-timeout: 20000000n",
            ])
    }

    @Test func whoIsOverTheLimitIsTurnedAway() {
        let scene = GlobalLimitScene([.verdict(.overLimit)])
        let answer = scene.answer()
        #expect(answer.hasPrefix("HTTP/1.1 429 "))
        for line in ["x-envoy-ratelimited: true", "x-response-flags: RL"] {
            #expect(answer.contains("\r\n\(line)\r\n"), "\(line)")
        }
        #expect(!answer.contains("x-ratelimit-"))
        #expect(scene.served == 0)
        #expect(scene.counters[.questionsOver] == 1 && scene.counters[ResponseFlag.RL] == 1)
        #expect(
            scene.scene.simulation.logLines.count {
                $0.contains(#""flags":"RL""#) && $0.contains(#""details":"request_rate_limited""#)
            } == 1)
        #expect(scene.remains() == nil)
    }

    /// Of several the one that leaves the least; a window's length beside it.
    @Test(arguments: [RateLimitCode.ok, .overLimit])
    func answersTellTheLimit(_ code: RateLimitCode) {
        let statuses = [
            RateLimitResponse.Status(.ok, limit: .init(10, per: .minute), remaining: 7, reset: 5),
            .init(code, limit: .init(3, per: .second), remaining: 0, reset: 1),
            .init(.ok),
        ]
        let scene = GlobalLimitScene(
            [.verdict(code, statuses)], route: GlobalLimitScene.limit(tells: true))
        let answer = scene.answer()
        #expect(answer.hasPrefix("HTTP/1.1 \(code == .ok ? 200 : 429) "))
        #expect(
            answer.contains(
                "\r\nx-ratelimit-limit: 3, 3;w=1\r\nx-ratelimit-remaining: 0\r\n"
                    + "x-ratelimit-reset: 1\r\n"))
        #expect(scene.remains() == nil)
    }

    // MARK: A service that does not do its part

    private static let broken: [(String, GlobalLimitScene.Reply)] = [
        ("no message", .bytes([])),
        ("half a message", .bytes([0, 0, 0, 0, 9, 8])),
        ("two messages", .bytes([0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 2, 8, 1])),
        ("a compressed message", .bytes([1, 0, 0, 0, 2, 8, 1])),
        ("neither yes nor no", .bytes([0, 0, 0, 0, 2, 8, 0])),
        ("an unknown code", .bytes([0, 0, 0, 0, 2, 8, 7])),
        ("no protocol buffer", .bytes([0, 0, 0, 0, 2, 7, 7])),
        ("an error behind it", .bytes([0, 0, 0, 0, 2, 8, 1], trailers: [("grpc-status", "14")])),
        ("no status behind it", .bytes([0, 0, 0, 0, 2, 8, 1], trailers: [("x", "y")])),
        ("an error at once", .head([(":status", "200"), ("grpc-status", "12")])),
        ("a page", .head(answerFields(404))),
        ("a reset", .reset),
        ("silence", .silence),
    ]

    @Test(arguments: broken.indices, [false, true])
    func whereNothingIsFoundOutThePolicyDecides(_ place: Int, _ denies: Bool) {
        let scene = GlobalLimitScene(
            [Self.broken[place].1], route: GlobalLimitScene.limit(denies: denies))
        let client = scene.ask()
        scene.scene.pass(.milliseconds(20))
        expect(scene, scene.scene.received(client), denies: denies)
    }

    private func expect(_ scene: GlobalLimitScene, _ answer: String, denies: Bool) {
        #expect(answer.hasPrefix("HTTP/1.1 \(denies ? 500 : 200) "), "\(answer)")
        #expect(answer.contains("\r\nx-response-flags: RLSE\r\n") == denies)
        #expect(scene.served == (denies ? 0 : 1))
        #expect(scene.counters[.questionsFailed] == 1)
        #expect(scene.counters[.questionsPassedOver] == (denies ? 0 : 1))
        #expect(scene.remains() == nil)
    }

    @Test(
        arguments: [SimulatedSocket.Opening.refused, .never], [false, true])
    func aServiceThatIsDown(_ opening: SimulatedSocket.Opening, _ denies: Bool) {
        let scene = GlobalLimitScene(
            [.verdict(.ok)], route: GlobalLimitScene.limit(denies: denies))
        scene.scene.openings[GlobalLimitScene.service] = opening
        let client = scene.ask()
        scene.scene.pass(.milliseconds(20))
        expect(scene, scene.scene.received(client), denies: denies)
    }

    @Test(arguments: [false, true])
    func aClusterThatIsNot(_ denies: Bool) {
        let scene = GlobalLimitScene(
            [.verdict(.ok)], route: GlobalLimitScene.limit(denies: denies)
        ) { $0.clusters[1].name = "other" }
        expect(scene, scene.answer(), denies: denies)
        #expect(scene.questions.isEmpty)
    }

    /// A request waits no longer than it was told to.
    @Test func aLateAnswerIsNotWaitedFor() {
        let scene = GlobalLimitScene([.silence])
        let client = scene.ask()
        scene.scene.pass(.milliseconds(10))
        #expect(scene.scene.received(client).isEmpty && scene.served == 0)
        scene.scene.pass(.milliseconds(10))
        #expect(scene.scene.received(client).hasPrefix("HTTP/1.1 200 "))
        // Whom nobody waits for is told so.
        #expect(scene.open[0].stream.closed == .cancel)
        scene.send(.verdict(.overLimit), scene.open[0].stream, scene.open[0].peer)
        scene.scene.pass()
        #expect(scene.counters[.questionsOver] == 0)
        #expect(scene.remains() == nil)
    }

    /// What has no room in the service's cluster is not asked.
    @Test func aFullServiceIsNotWaitedFor() {
        let scene = GlobalLimitScene(
            [.silence], breaker: .init(standard: .init(requests: 1)))
        let first = scene.ask()
        #expect(scene.scene.received(scene.ask()).hasPrefix("HTTP/1.1 200 "))
        #expect(scene.questions.count == 1 && scene.scene.received(first).isEmpty)
        #expect(scene.counters[.questionsPassedOver] == 1)
        scene.scene.pass(.milliseconds(20))
        #expect(scene.remains() == nil)
    }

    // MARK: A client that does not wait

    @Test func aClientThatLeavesTakesItsQuestionAlong() {
        let scene = GlobalLimitScene([.silence])
        let client = scene.ask()
        client.peerClose(reset: true)
        scene.scene.pass()
        #expect(scene.open[0].stream.closed == .cancel)
        #expect(scene.counters[.questionsFailed] == 0 && scene.served == 0)
        #expect(scene.remains() == nil)
    }

    @Test func aStreamThatIsResetTakesItsQuestionAlong() {
        let scene = GlobalLimitScene([.silence])
        let client = scene.scene.client()
        let stream = client.peer.request(requestFields())
        scene.scene.pass()
        #expect(scene.questions.count == 1)
        if let stream { client.peer.reset(stream.number, .cancel) }
        scene.scene.pass()
        #expect(scene.open[0].stream.closed == .cancel && scene.served == 0)
        client.socket.peerClose(reset: true)
        client.isDone = true
        #expect(scene.remains() == nil)
    }

    /// A call whose own time ends first is told that, not what the policy says of the service.
    @Test func theCallsOwnTimeIsOverFirst() {
        let scene = GlobalLimitScene([.silence], route: GlobalLimitScene.limit(denies: true))
        let client = scene.scene.client()
        let stream = client.peer.request(
            requestFields(
                "POST", "/", [("content-type", "application/grpc"), ("grpc-timeout", "5m")]))
        scene.scene.pass(.milliseconds(5))
        #expect(stream?["grpc-status"] == "4")
        #expect(scene.counters[.requestTimeouts] == 1)
        let line = scene.scene.simulation.logLines.last ?? ""
        #expect(line.contains("\"decided_by\":\"timeout.grpc\""), "\(line)")
        #expect(scene.open[0].stream.closed == .cancel)
        client.socket.peerClose(reset: true)
        client.isDone = true
        #expect(scene.remains() == nil)
    }

    /// The service is late by the time of a question, not by what is left of a request's.
    @Test(
        arguments: [("5m", .zero), (nil, .milliseconds(5)), (nil, .zero)] as [(String?, Duration)])
    func onlyAQuestionsTimeCountsAgainstItsEndpoint(_ deadline: String?, _ most: Duration) {
        let scene = GlobalLimitScene([.silence]) { $0.timeouts.maxStream = most }
        let client = scene.scene.client()
        var call: Fields = [("content-type", "application/grpc")]
        if let deadline { call.append(("grpc-timeout", deadline)) }
        let stream = client.peer.request(requestFields("POST", "/", call))
        scene.scene.pass(.milliseconds(20))
        #expect(stream?.isWhole == true && scene.open[0].stream.closed == .cancel)
        let isLate = deadline == nil && most == .zero
        let counts = scene.proxy.counts.lines[.host("shop/limits", GlobalLimitScene.service)]
        #expect(counts?[HostCount.requests] == 1)
        #expect(counts?[HostCount.timeouts] == (isLate ? 1 : 0))
        #expect(counts?[HostCount.errors] == (isLate ? 1 : 0))
        #expect(scene.counters[.questionsFailed] == (isLate ? 1 : 0))
        client.socket.peerClose(reset: true)
        client.isDone = true
        #expect(scene.remains() == nil)
    }

    /// A connection carries as many questions as it may requests, and says so when they are over.
    @Test func connectionsCarrySoManyQuestions() {
        let scene = GlobalLimitScene([.verdict(.ok)]) { $0.clusters[1].requestsPerConnection = 2 }
        for _ in 0..<3 { #expect(scene.status() == 200) }
        #expect(scene.questions.count == 3)
        #expect(scene.carriers[0] === scene.carriers[1] && scene.carriers[1] !== scene.carriers[2])
        #expect(scene.carriers[1].goaways == [.noError] && scene.carriers[2].goaways.isEmpty)
        #expect(scene.remains() == nil)
    }

    // MARK: What is asked

    @Test func partsOfARequestMakeADescriptor() {
        typealias Value = GlobalRateLimit.Value
        let parts: [(String, Value)] = [
            ("tier", .text("gold")), ("user", .header("x-user")), ("path", .part(.path)),
            ("verb", .part(.method)), ("host", .part(.host)), ("from", .part(.address)),
        ]
        let scene = GlobalLimitScene(
            [.verdict(.ok)],
            route: GlobalLimitScene.limit([.init(parts.map { .init($0.0, $0.1) })]))
        _ = scene.status("/a/b?c=d", "X-User: mia\r\nx-user: tom\r\n")
        let wanted = [
            Entry("tier", "gold"), Entry("user", "mia"), Entry("path", "/a/b?c=d"),
            Entry("verb", "GET"), Entry("host", "a"), Entry("from", "192.0.2.1"),
        ]
        #expect(scene.questions.map(\.descriptors) == [[.init(wanted)]])
    }

    @Test func whatLacksAPartIsLeftOut() {
        let scene = GlobalLimitScene(
            [.verdict(.ok)],
            route: GlobalLimitScene.limit([
                .init([.init("user", .header("x-user"))]),
                .init([.init("who", .part(.identity))]),
            ]))
        #expect(scene.status() == 200)
        #expect(scene.status("/", "x-user:\r\n") == 200)
        #expect(scene.questions.isEmpty && scene.counters[.questionsFailed] == 0)
        #expect(scene.status("/", "x-user: mia\r\n") == 200)
        #expect(scene.questions.map(\.descriptors) == [[.init([Entry("user", "mia")])]])
    }

    /// A client cannot get past a limit by a field that makes no message: what is too long is cut,
    /// and what is no UTF-8 is written so that it is.
    @Test func noFieldKeepsAQuestionFromBeingAsked() {
        let entry = GlobalRateLimit.Entry("user", .header("x-user"))
        let many = Array(repeating: GlobalRateLimit.Descriptor([entry]), count: 16)
        let scene = GlobalLimitScene(
            [.verdict(.overLimit), .verdict(.overLimit)], route: GlobalLimitScene.limit(many))
        let long = String(repeating: "u", count: 8000)
        #expect(scene.status("/", "x-user: \(long)\r\n") == 429)
        let raw = scene.scene.rawClient()
        let odd: [UInt8] = Array("GET / HTTP/1.1\r\nhost: a\r\nx-user: ".utf8) + [0xFF, 0x61]
        raw.peerWrite((odd + Array("\r\n\r\n".utf8))[...])
        #expect(scene.scene.received(raw).hasPrefix("HTTP/1.1 429"))
        raw.peerClose(reset: true)
        let values = scene.questions.map { $0.descriptors[0].entries[0].value }
        #expect(values.count == 2 && values[0].count > 1000 && long.hasPrefix(values[0]))
        #expect(values.last == "?a")
        #expect(scene.counters[.questionsPassedOver] == 0)
        #expect(scene.remains() == nil)
    }

    /// What a limit says itself is never cut, however little is left for the values of requests.
    @Test func aTextIsToldWhole() {
        let (key, text) = (String(repeating: "k", count: 205), String(repeating: "t", count: 256))
        let entry = GlobalRateLimit.Entry(key, .header("x-user"))
        let first = [GlobalRateLimit.Entry(key, .text(text))] + Array(repeating: entry, count: 6)
        let more = Array(repeating: Array(repeating: entry, count: 8), count: 15)
        let limit = GlobalLimitScene.limit(([first] + more).map { .init($0) })
        #expect(limit.findings == [])
        let scene = GlobalLimitScene([.verdict(.overLimit)], route: limit)
        #expect(scene.status("/", "x-user: \(String(repeating: "u", count: 8000))\r\n") == 429)
        #expect(scene.questions[0].descriptors.count == 16)
        #expect(scene.questions[0].descriptors[0].entries[0].value == text)
        let cut = scene.questions[0].descriptors[1].entries[0].value.count
        #expect((200..<8000).contains(cut))
        #expect(scene.remains() == nil)
    }

    // MARK: Its place

    /// Of the listener first, then of the route; each once.
    @Test func listenerAndRouteAreAskedFor() {
        func limit(_ name: String) -> GlobalRateLimit {
            GlobalLimitScene.limit([.init([.init("of", .text(name))])])
        }
        let scene = GlobalLimitScene(
            [.verdict(.ok), .verdict(.ok), .verdict(.overLimit)], route: limit("route"),
            listener: limit("listener"))
        #expect(scene.status() == 200)
        #expect(
            scene.questions.map { $0.descriptors[0].entries[0].value } == ["listener", "route"])
        // The route is not asked for where the listener's says no.
        #expect(scene.status() == 429)
        #expect(scene.questions.count == 3)
    }

    /// Behind the local ones, and before whatever answers.
    @Test func theOrderOfFilters() {
        let scene = GlobalLimitScene([.verdict(.ok), .verdict(.overLimit)]) {
            $0.routes[0].rateLimits = [RateLimitPolicy(burst: 2, fill: 1)]
            $0.routes[0].answer = DirectAnswer(status: 201)
            $0.listeners[0].authorization = .init(
                deny: [.init(headers: [.init(name: "x", value: "1")])])
        }
        #expect(scene.status("/", "x: 1\r\n") == 403)
        #expect(scene.questions.isEmpty)
        #expect(scene.status() == 201)
        #expect(scene.status() == 429)
        #expect(scene.status() == 429)
        #expect(scene.questions.count == 2)
    }

    /// What waits is not asked about again, whatever the new configuration says.
    @Test func aNewConfigurationMeanwhile() {
        let scene = GlobalLimitScene([.silence], route: GlobalLimitScene.limit(denies: true))
        let client = scene.ask()
        var configuration = scene.proxy.configuration
        configuration.routes[0].globalRateLimit = GlobalLimitScene.limit()
        configuration.clusters.insert(
            .init(name: "new", endpoints: ["127.0.0.1:3"], speech: .http2), at: 0)
        scene.proxy.adopt(configuration, now: scene.scene.simulation.now)
        scene.send(.verdict(.ok), scene.open[0].stream, scene.open[0].peer)
        scene.scene.pass()
        #expect(scene.scene.received(client).hasPrefix("HTTP/1.1 200 "))
        #expect(scene.questions.count == 1)
        // The next one is asked about at the cluster's new place.
        scene.replies = [.verdict(.overLimit)]
        #expect(scene.status() == 429)
        #expect(scene.remains() == nil)
    }

    /// A service that goes away, with its cluster, while it is asked.
    @Test func aServiceThatIsTakenAwayMeanwhile() {
        let scene = GlobalLimitScene([.silence])
        let client = scene.ask()
        var configuration = scene.proxy.configuration
        configuration.clusters.removeLast()
        scene.proxy.adopt(configuration, now: scene.scene.simulation.now)
        scene.scene.pass(.milliseconds(20))
        #expect(scene.scene.received(client).hasPrefix("HTTP/1.1 200 "))
        #expect(scene.remains() == nil)
    }

    @Test func aCallThatIsTurnedAwayIsToldSo() {
        let scene = GlobalLimitScene([.verdict(.overLimit)])
        let client = scene.scene.client()
        let stream = client.peer.request(
            requestFields("POST", "/", [("content-type", "application/grpc")]))
        scene.scene.pass()
        // Envoy, without `rate_limited_as_resource_exhausted`.
        #expect(stream?["grpc-status"] == "14" && stream?["x-envoy-ratelimited"] == "true")
    }
}
