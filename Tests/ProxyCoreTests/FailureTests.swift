import Base
import Model
import Support
import Testing

@testable import ProxyCore

/// What happens when a side fails: status, flag, counters, and what of it anybody sees.
@Suite struct FailureTests {
    private func expectReply(
        _ scene: Scene, _ client: SimulatedSocket, _ status: Int, _ flag: ResponseFlag,
        _ detail: String, closes: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 \(status) "), sourceLocation: sourceLocation)
        #expect(
            answer.contains("x-response-flags: \(flag.rawValue)\r\n"),
            sourceLocation: sourceLocation)
        #expect(answer.hasSuffix("\r\n\r\n\(detail)\n"), sourceLocation: sourceLocation)
        #expect(
            answer.contains("connection: close\r\n") == closes, sourceLocation: sourceLocation)
        #expect(scene.proxy.counters[flag] == 1, sourceLocation: sourceLocation)
    }

    // MARK: Requests that go nowhere

    @Test(arguments: [
        ("GET / HTTP/1.1\r\n\r\n", 400, "missing_host"),
        ("GET / HTTP/1.1\r\nHost: a\r\nx y\r\n\r\n", 400, "space_before_colon"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501,
            "unknown_transfer_coding"
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, "unknown_expectation"),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "unsupported_version"),
        (
            "GET /" + String(repeating: "a", count: 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414,
            "target_too_long"
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "a: b\r\n", count: 101) + "\r\n",
            431,
            "too_many_fields"
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nb: " + String(repeating: "c", count: 33_000), 431,
            "head_too_large"
        ),
    ])
    func malformedRequestsAreAnsweredAndReachNobody(
        _ bytes: String, _ status: Int, _ detail: String
    ) {
        let scene = Scene()
        let client = scene.client()
        scene.send(bytes + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        expectReply(scene, client, status, .DPE, detail, closes: true)
        #expect(client.peerFindsEnd)
        #expect(scene.servers.isEmpty)
        #expect(scene.proxy.counters[.protocolErrors] == 1)
        scene.close(client)
        #expect(scene.proxy.openConnections == 0)
        #expect(scene.proxy.buffersInUse == 0)
    }

    @Test func badChunksEndTheExchange() {
        let scene = Scene()
        let client = scene.client()
        scene.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", by: client)
        let server = scene.servers[0]
        scene.send("5\r\nhello\r\n0x\r\n", by: client)
        expectReply(scene, client, 400, .DPE, "bad_chunk_size", closes: true)
        #expect(server.proxyReset, "the server must not take it for whole")
    }

    @Test func noRouteNoClusterNoEndpoint() {
        var configuration = Scene.configuration(endpoints: [])
        configuration.routes = [
            .init(path: .prefix("/gone"), cluster: "gone"),
            .init(path: .prefix("/empty"), cluster: "c"),
        ]
        let scene = Scene(configuration)
        let client = scene.client()
        for (path, status, flag, detail) in [
            ("/x", 404, ResponseFlag.NR, "route_not_found"),
            ("/gone", 503, .NC, "cluster_not_found"), ("/empty/x", 503, .UH, "no_endpoint"),
        ] {
            scene.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
            expectReply(scene, client, status, flag, detail)
        }
        scene.send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        #expect(scene.received(client).hasSuffix("x-response-flags: NR\r\n\r\n"))
    }

    @Test func connectIsRefusedAndNothingBehindItIsARequest() {
        let scene = Scene()
        let client = scene.client()
        scene.send(
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            by: client)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 501 "))
        #expect(client.peerFindsEnd)
        #expect(scene.servers.isEmpty)
    }

    // MARK: Upstreams that fail

    @Test func refusedConnection() {
        let scene = Scene()
        scene.opening = .refused
        let client = scene.get().client
        expectReply(scene, client, 503, .UF, "connection_failed")
        #expect(scene.proxy.counters[.upstreamConnectFailures] == 1)
    }

    @Test func connectionThatNeverOpens() {
        let scene = Scene()
        scene.opening = .never
        let client = scene.get().client
        scene.pass(.milliseconds(4999))
        #expect(scene.received(client) == "")
        scene.pass(.milliseconds(1))
        expectReply(scene, client, 503, .UF, "connect_timeout")
        #expect(scene.proxy.counters[.upstreamConnectTimeouts] == 1)
    }

    @Test(arguments: [false, true])
    func closedBeforeTheAnswer(_ reset: Bool) {
        let scene = Scene()
        let (client, server) = scene.get()
        scene.close(server, reset: reset)
        expectReply(scene, client, 503, .UC, "upstream_closed")
    }

    @Test func closedWithinTheAnswer() {
        let scene = Scene()
        let (client, server) = scene.get()
        scene.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", by: server)
        scene.close(server)
        #expect(scene.received(client) == "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
        #expect(client.peerFindsEnd)
        #expect(scene.proxy.counters[.UC] == 1)
    }

    @Test func malformedAnswer() {
        let scene = Scene()
        let (client, server) = scene.get()
        scene.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx", by: server)
        expectReply(scene, client, 502, .UPE, "several_content_lengths")
        #expect(server.proxyClosed)
    }

    @Test func floodOfInterimAnswers() {
        let scene = Scene()
        let (client, server) = scene.get()
        for _ in 0..<17 { scene.send("HTTP/1.1 103 Early Hints\r\n\r\n", by: server) }
        let all = scene.received(client)
        #expect(all.split(separator: "HTTP/1.1 103").count == 16)
        #expect(all.contains("HTTP/1.1 502 "))
    }

    @Test func bytesBehindAnAnswerAreNoAnswer() {
        let scene = Scene()
        let (client, server) = scene.get()
        scene.send(okAnswer + "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", by: server)
        #expect(scene.received(client) == okAnswer)
        #expect(server.proxyClosed)
        scene.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        #expect(scene.servers.count == 2)
        scene.send(okAnswer, by: scene.servers[1])
        #expect(scene.received(client) == okAnswer)
        scene.send("HTTP/1.1 200 OK\r\n\r\n", by: scene.servers[1])
        #expect(scene.servers[1].proxyClosed, "pooled connections have nothing to say")
    }

    @Test func theClientIsReset() {
        let scene = Scene(Scene.configuration(accessLog: true))
        let (client, server) = scene.get()
        scene.close(client, reset: true)
        #expect(server.proxyReset)
        #expect(scene.proxy.counters[.DC] == 1)
        #expect(scene.proxy.openConnections == 0)
    }

    @Test func aRequestThatEndsEarlyLeavesTheAnswersBeforeIt() {
        let scene = Scene()
        let client = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        let server = scene.servers[0]
        scene.send(okAnswer, by: server)
        scene.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", by: client)
        scene.end(client)
        #expect(server.proxyReset, "the server must not take it for whole")
        let answers = scene.received(client)
        #expect(answers.hasPrefix(okAnswer + "HTTP/1.1 400 Bad Request\r\n"))
        #expect(answers.hasSuffix("request_incomplete\n"))
        #expect(client.proxyClosed && !client.proxyReset)
        #expect(scene.proxy.counters[.DC] == 1)
    }

    @Test func theClientGoesAway() {
        let scene = Scene(Scene.configuration(accessLog: true))
        let (client, server) = scene.get()
        scene.close(client)
        #expect(!server.proxyClosed, "it may have ended only its sending side")
        scene.send("HTTP/1.1 200 OK\r\ncontent-length: 500000\r\n\r\n", by: server)
        scene.send([UInt8](repeating: 0, count: 60_000), by: server)
        #expect(server.proxyClosed)
        #expect(scene.proxy.counters[.DC] == 1)
        #expect(scene.proxy.openConnections == 0)
    }

    // MARK: Stale connections

    /// A pooled connection whose server closes when the next request comes.
    private func stale(_ request: String, _ scene: Scene) -> SimulatedSocket {
        let (client, server) = scene.get()
        scene.send(okAnswer, by: server)
        #expect(scene.received(client) == okAnswer)
        scene.send(request, by: client)
        #expect(scene.received(server).hasSuffix("\r\n\r\n") || request.hasSuffix("body"))
        scene.close(server, reset: true)
        return client
    }

    @Test(arguments: [
        "GET /again HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT /again HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
    ])
    func aStaleConnectionIsReplacedOnce(_ request: String) {
        let scene = Scene()
        let client = stale(request, scene)
        #expect(scene.servers.count == 2)
        #expect(scene.received(scene.servers[1]) == request)
        #expect(scene.proxy.counters[.staleRetries] == 1)
        scene.send(okAnswer, by: scene.servers[1])
        #expect(scene.received(client) == okAnswer)
        // Once only: a fresh connection that fails is not stale.
        scene.send(request, by: client)
        scene.close(scene.servers[1])
        #expect(scene.servers.count == 3)
        scene.close(scene.servers[2])
        #expect(scene.servers.count == 3)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 503 "))
    }

    /// A service that reloads closes all that wait: another of these would be as stale.
    @Test(arguments: [8, 2])
    func whatWasSentOnAStaleConnectionGetsAFreshOne(limit: Int) {
        let scene = Scene(Scene.configuration(maxConnections: limit))
        let (first, second) = (scene.get(), scene.get())
        scene.send(okAnswer, by: first.server)
        scene.send(okAnswer, by: second.server)
        _ = scene.received(second.client)
        scene.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n", by: second.client)
        scene.close(second.server, reset: true)
        #expect(scene.servers.count == 3)
        #expect(scene.received(scene.servers[2]).hasPrefix("GET /again "))
        scene.send(okAnswer, by: scene.servers[2])
        #expect(scene.received(second.client) == okAnswer)
    }

    @Test func whatIsNotIdempotentIsNotSentTwice() {
        let scene = Scene()
        let client = stale("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", scene)
        #expect(scene.servers.count == 1)
        expectReply(scene, client, 503, .UC, "upstream_closed")
    }

    @Test func anAnswerThatHasBegunIsNotAskedForAgain() {
        let scene = Scene()
        let (client, server) = scene.get()
        scene.send(okAnswer, by: server)
        _ = scene.received(client)
        scene.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        scene.send("HTTP/1.1 200", by: server)
        scene.close(server)
        #expect(scene.servers.count == 1)
        expectReply(scene, client, 503, .UC, "upstream_closed")
    }

    /// The server answers a request that it does not read, at length, and goes away: all of the
    /// answer comes, however slowly it is read.
    @Test func anAnswerSurvivesThatItsRequestCannotBeSent() {
        let scene = Scene()
        scene.simulation.socketCapacity = 1 << 14
        let client = scene.client()
        scene.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", by: client)
        let server = scene.servers[0]
        let size = 500_000
        scene.send(
            "HTTP/1.1 413 Content Too Large\r\ncontent-length: \(size)\r\n\r\n", by: server)
        server.inbound.append([UInt8](repeating: 7, count: size))
        server.readable = true
        server.peerClose(reset: true)
        scene.pass(.zero)
        scene.send([UInt8](repeating: 1, count: 5000), by: client)
        var got = 0
        for _ in 0..<200 {
            got += client.peerRead(.max).count { $0 == 7 }
            scene.pass(.zero)
        }
        #expect(got == size)
        #expect(scene.proxy.buffersInUse == 0)
    }

    /// Each that is answered from here lets the next one go: a thousand of them, one behind the
    /// other and not one inside the other.
    @Test func waitingRequestsThatFailDoNotPileUp() {
        let scene = Scene(
            Scene.configuration(maxConnections: 1, maxPending: 2000, connections: 4000))
        scene.simulation.checksInvariants = false
        let first = scene.get()
        let waiting = (0..<1500).map { _ in
            let client = scene.client()
            scene.send(
                "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnone", by: client)
            return client
        }
        scene.send(okAnswer, by: first.server)
        for client in waiting {
            #expect(scene.received(client).hasPrefix("HTTP/1.1 400 "))
        }
        scene.simulation.settle()
        scene.proxy.checkInvariants()
    }

    // MARK: Timeouts

    private static let timeouts = ProxyTimeouts(
        request: .seconds(3), idle: .seconds(60), head: .seconds(2), streamIdle: .seconds(20))

    @Test func requestTimeout() {
        let scene = Scene(Scene.configuration(timeouts: Self.timeouts))
        let (client, server) = scene.get()
        scene.pass(.milliseconds(2999))
        #expect(scene.received(client) == "")
        scene.pass(.milliseconds(1))
        expectReply(scene, client, 504, .UT, "response_timeout")
        #expect(server.proxyClosed)
    }

    @Test func requestTimeoutCountsFromTheEndOfTheRequest() {
        let scene = Scene(Scene.configuration(timeouts: Self.timeouts))
        let client = scene.client()
        scene.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na", by: client)
        scene.pass(.seconds(10))
        scene.send("b", by: client)
        scene.pass(.milliseconds(2999))
        #expect(scene.received(client) == "")
        scene.pass(.milliseconds(1))
        expectReply(scene, client, 504, .UT, "response_timeout")
    }

    @Test func aBodyThatStopsComing() {
        let scene = Scene(Scene.configuration(timeouts: Self.timeouts))
        let client = scene.client()
        scene.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na", by: client)
        scene.pass(.seconds(15))
        scene.send("b", by: client)
        scene.pass(.milliseconds(19_999))
        #expect(scene.received(client) == "")
        scene.pass(.milliseconds(1))
        expectReply(scene, client, 408, .SI, "stream_idle_timeout", closes: true)
    }

    @Test func aHeadThatTricklesOneByteASecond() {
        let scene = Scene(Scene.configuration(timeouts: Self.timeouts))
        let client = scene.client()
        for byte in "GET".utf8 {
            scene.send([byte], by: client)
            scene.pass(.milliseconds(900))
        }
        expectReply(scene, client, 408, .SI, "request_head_timeout", closes: true)
    }

    @Test func idleConnectionsAreClosed() {
        let scene = Scene(Scene.configuration(timeouts: Self.timeouts))
        let (client, server) = scene.get()
        scene.send(okAnswer, by: server)
        scene.pass(.seconds(61))
        #expect(client.proxyClosed && server.proxyClosed)
        #expect(scene.proxy.counters[.idleTimeouts] == 2)
        #expect(scene.proxy.nextDeadline == nil)
    }

    @Test func anAnswerThatIsReadSlowlyIsNotIdle() {
        var timeouts = Self.timeouts
        timeouts.idle = .seconds(2)
        let scene = Scene(Scene.configuration(timeouts: timeouts))
        scene.simulation.socketCapacity = 1000
        let (client, server) = scene.get()
        let body = String(repeating: "x", count: 9000)
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n" + body
        var left = Array(answer.utf8)[...]
        while !left.isEmpty {
            let piece = left.prefix(server.peerRoom)
            left = left.dropFirst(piece.count)
            scene.send(piece, by: server)
        }
        var got = ""
        for _ in 0..<10 {
            got += scene.received(client)
            scene.pass(.seconds(1))
        }
        #expect(got == answer)
    }

    // MARK: Waiting for a connection

    @Test func requestsWaitTheirTurnAndOverflow() {
        let scene = Scene(Scene.configuration(maxConnections: 1, maxPending: 2))
        let first = scene.get("/1").client
        let server = scene.servers[0]
        let second = scene.get("/2").client
        let third = scene.get("/3").client
        let fourth = scene.get("/4").client
        expectReply(scene, fourth, 503, .UO, "overflow")
        #expect(scene.proxy.counters[.pendingOverflow] == 1)
        for (client, path) in [(first, "/1"), (second, "/2"), (third, "/3")] {
            #expect(scene.received(server) == "GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
            scene.send(okAnswer, by: server)
            #expect(scene.received(client) == okAnswer)
        }
        #expect(scene.servers.count == 1)
    }

    @Test func aRequestThatWaitsTooLong() {
        let scene = Scene(Scene.configuration(maxConnections: 1, timeouts: Self.timeouts))
        _ = scene.get("/1")
        scene.pass(.seconds(1))
        let client = scene.get("/2").client
        scene.send(okAnswer.prefix(10).utf8, by: scene.servers[0])
        scene.pass(.seconds(2))
        // The first gave up its connection by its own timeout; the second has it now.
        #expect(scene.servers.count == 2)
        scene.pass(.seconds(1))
        expectReplyTimeout(scene, client)
    }

    private func expectReplyTimeout(_ scene: Scene, _ client: SimulatedSocket) {
        #expect(scene.received(client).hasPrefix("HTTP/1.1 504 "))
        #expect(scene.proxy.counters[.UT] == 2)
    }

    @Test func theBodyOfARequestThatWaitedIsReadOn() {
        let scene = Scene(Scene.configuration(maxConnections: 1))
        let first = scene.get("/1").client
        let client = scene.client()
        scene.send("PUT /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab", by: client)
        scene.send("cd", by: client)
        let server = scene.servers[0]
        _ = scene.received(server)
        scene.send(okAnswer, by: server)
        #expect(scene.received(first) == okAnswer)
        #expect(scene.received(server).hasSuffix("\r\n\r\nabcd"))
    }

    @Test func aWaitingClientThatGoesAwayLeavesTheQueue() {
        let scene = Scene(Scene.configuration(maxConnections: 1))
        let first = scene.get("/1").client
        let gone = scene.get("/2").client
        scene.close(gone, reset: true)
        let third = scene.get("/3").client
        let server = scene.servers[0]
        _ = scene.received(server)
        scene.send(okAnswer, by: server)
        #expect(scene.received(first) == okAnswer)
        var next = scene.received(server)
        if next.hasPrefix("GET /2") {
            scene.send(okAnswer, by: server)
            next = scene.received(scene.servers.last ?? server)
        }
        #expect(next.hasPrefix("GET /3"))
        scene.send(okAnswer, by: scene.servers.last ?? server)
        #expect(scene.received(third) == okAnswer)
    }
}
