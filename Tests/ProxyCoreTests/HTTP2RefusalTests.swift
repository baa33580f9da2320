import Base
import Model
import Support
import Testing

@testable import ProxyCore
@testable import Wire

/// Requests that an upstream of HTTP/2 has refused before it looked at them (RFC 9113, 6.8, 8.7).
@Suite struct HTTP2RefusalTests {
    /// In which words an upstream refuses a stream.
    enum Refusal: CaseIterable {
        case reset, goaway

        func say(_ peer: HTTP2Peer, _ number: Int32) {
            switch self {
            case .reset: peer.reset(number, .refusedStream)
            case .goaway: peer.goAway(last: number - 2 < 0 ? 0 : number - 2)
            }
        }
    }

    private static func scene(
        _ timeouts: ProxyTimeouts = .init(), maxConnections: Int = 8, maxPending: Int = 8
    ) -> HTTP2Scene {
        HTTP2Scene(
            .http2,
            Scene.configuration(
                maxConnections: maxConnections, maxPending: maxPending, accessLog: true,
                timeouts: timeouts))
    }

    private func end(_ scene: HTTP2Scene, _ clients: HTTP2End...) {
        for client in clients { client.closesWhenDone = true }
        #expect(scene.remains() == nil)
    }

    private func retries(_ scene: HTTP2Scene) -> UInt64 { scene.proxy.counters[.refusedRetries] }

    /// What every server does with all but the first request of the scene, which is refused.
    private func refuseFirst(_ scene: HTTP2Scene, _ refusal: Refusal) {
        var hasRefused = false
        scene.onHead = { peer, stream in
            guard !hasRefused else { return }
            hasRefused = true
            refusal.say(peer, stream.number)
        }
        scene.onEnd = { peer, stream in
            guard peer !== scene.servers[0].peer else { return }
            peer.answer(stream, answerFields(200, [("x-tag", "1")]), body: stream.body)
        }
    }

    // MARK: Before an answer

    /// More at once than the servers take, of which nobody knows before their SETTINGS: what was
    /// refused once waits for those, and for room.
    @Test func manyRefusedRequestsFindTheirPlace() {
        let scene = Self.scene(maxConnections: 3, maxPending: 64)
        scene.serverStreams = 4
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(200)) }
        let client = scene.client()
        scene.pausesServers = true
        let streams = (0..<24).map { client.peer.request(requestFields("GET", "/\($0)")) }
        scene.pass()
        scene.pausesServers = false
        for server in scene.servers { server.isPaused = false }
        scene.pass(.milliseconds(20))
        #expect(streams.map { $0?.status } == Array(repeating: 200, count: 24))
        #expect(retries(scene) > 0)
        end(scene, client)
    }

    @Test(arguments: Refusal.allCases, ["GET", "POST"])
    func aRefusedStreamIsSentOnceMoreElsewhere(_ refusal: Refusal, _ method: String) {
        let scene = Self.scene()
        refuseFirst(scene, refusal)
        let client = scene.client()
        let body: [UInt8] = method == "POST" ? [1, 2, 3] : []
        let stream = client.peer.request(requestFields(method, "/x", [("x-a", "b")]), body: body)
        scene.pass()
        #expect(stream?.status == 200 && stream?.isWhole == true && stream?.body == body)
        #expect(scene.servers.count == 2)
        let second = scene.servers[1].peer.streams[1]
        #expect(second?[":method"] == method && second?[":path"] == "/x")
        #expect(second?["x-a"] == "b")
        #expect(retries(scene) == 1)
        #expect(scene.simulation.logLines.contains { $0.contains("\"attempts\":2") })
        #expect(scene.proxy.counters[.requestsTotal] == 1)
        end(scene, client)
    }

    @Test(arguments: Refusal.allCases) func soAreRequestsOfHTTP11(_ refusal: Refusal) {
        let scene = Self.scene()
        refuseFirst(scene, refusal)
        let client = scene.rawClient()
        scene.send(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
                + "3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\n\r\n"
                + "GET /next HTTP/1.1\r\nhost: a\r\n\r\n", by: client)
        let received = scene.received(client)
        #expect(received.components("HTTP/1.1 200 ") == 2, "\(received)")
        #expect(received.contains("abcde"))
        let second = scene.servers[1].peer
        #expect(second.streams[1].map { text($0.body) } == "abcde")
        #expect(ownFields(second.streams[1]?.trailers) == ["x-sum: 1"])
        #expect(second.streams[3]?[":path"] == "/next")
        #expect(retries(scene) == 1)
        end(scene)
    }

    /// The body is on its way when the head is refused; the rest of it comes behind.
    @Test(arguments: Refusal.allCases) func whatHadGoneOnOfTheBodyGoesAgain(_ refusal: Refusal) {
        let scene = Self.scene()
        scene.serverWindow = 10
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(), body: stream.body) }
        let client = scene.client()
        // The window that is in force from now on lets a part of the body wait here.
        _ = client.peer.request(requestFields())
        scene.pass()
        scene.servers[0].peer.holdsBack = true
        let body = SimulatedExchange.pattern(1, 50)
        let stream = client.peer.request(requestFields("POST"), body: body, ends: false)
        scene.pass()
        let server = scene.servers[0].peer
        #expect(server.streams[3]?.body.count == 10)
        refusal.say(server, 3)
        scene.pass()
        #expect(scene.servers.count == 2)
        if let stream { client.peer.more(stream, [7], ends: true, trailers: [("x-sum", "1")]) }
        scene.pass()
        let second = scene.servers[1].peer.streams[1]
        #expect(second?.body == body + [7] && ownFields(second?.trailers) == ["x-sum: 1"])
        #expect(stream?.status == 200 && stream?.body == body + [7])
        #expect(retries(scene) == 1)
        end(scene, client)
    }

    /// Of a body that one buffer does not hold nothing is kept.
    @Test(arguments: [65_000, 66_000, 200_000]) func aBodyIsKeptAsFarAsABufferGoes(_ size: Int) {
        let scene = Self.scene()
        let client = scene.client()
        let body = SimulatedExchange.pattern(1, size)
        let stream = client.peer.request(requestFields("POST"), body: body)
        scene.pass()
        let server = scene.servers[0].peer
        #expect(server.streams[1]?.body.count == size)
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(), body: stream.body) }
        server.reset(1, .refusedStream)
        scene.pass()
        let isKept = size < Proxy.bufferSize
        #expect(stream?.status == (isKept ? 200 : 503))
        if isKept {
            #expect(stream?.body == body)
        } else {
            #expect(stream?["x-response-flags"] == "UR")
            #expect(scene.simulation.logLines.contains { $0.contains("remote_refused_stream") })
        }
        #expect(retries(scene) == (isKept ? 1 : 0))
        end(scene, client)
    }

    @Test(arguments: [true, false]) func behindAnAnswersHeadNothingIsSentAgain(_ isFinal: Bool) {
        let scene = Self.scene()
        let client = scene.client()
        let stream = client.peer.request(requestFields())
        scene.pass()
        let server = scene.servers[0].peer
        if let seen = server.streams[1] {
            if isFinal {
                server.answer(seen, answerFields(), body: [1], ends: false)
            } else {
                server.interim(seen, answerFields(103))
            }
        }
        scene.pass()
        server.reset(1, .refusedStream)
        scene.pass()
        if isFinal {
            #expect(stream?.status == 200 && stream?.closed == .refusedStream)
        } else {
            #expect(stream?.status == 503)
        }
        #expect(retries(scene) == 0 && scene.servers.count == 1)
        end(scene, client)
    }

    @Test(arguments: [HTTP2Code.internalError, .cancel, .noError, .enhanceYourCalm])
    func otherResetsAreNoRefusals(_ code: HTTP2Code) {
        let scene = Self.scene()
        scene.onHead = { peer, stream in peer.reset(stream.number, code) }
        let client = scene.client()
        let stream = client.peer.request(requestFields())
        scene.pass()
        #expect(stream?.status == 503 && retries(scene) == 0)
        end(scene, client)
    }

    @Test func whatAGoawayHasLookedAtIsNotSentAgain() {
        let scene = Self.scene()
        let client = scene.client()
        let streams = (0..<3).map { _ in client.peer.request(requestFields("POST"), body: [1]) }
        scene.pass()
        let first = scene.servers[0].peer
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(202)) }
        first.goAway(last: 3)
        scene.pass()
        #expect(streams[0]?.status == nil && streams[1]?.status == nil)
        #expect(streams[2]?.status == 202 && scene.servers.count == 2)
        #expect(scene.servers[1].peer.order == [1])
        for number in [1, 3] as [Int32] {
            if let stream = first.streams[number] { first.answer(stream, answerFields(201)) }
        }
        scene.pass()
        #expect(streams[0]?.status == 201 && streams[1]?.status == 201)
        #expect(retries(scene) == 1 && scene.servers[0].isDone)
        end(scene, client)
    }

    @Test(arguments: Refusal.allCases) func aSecondRefusalIsTheLast(_ refusal: Refusal) {
        let scene = Self.scene()
        scene.onHead = { peer, stream in refusal.say(peer, stream.number) }
        let client = scene.client()
        let stream = client.peer.request(requestFields("POST"), body: [1])
        let raw = scene.rawClient()
        scene.pass()
        #expect(stream?.status == 503 && stream?["x-response-flags"] == "UR")
        scene.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n", by: raw)
        #expect(scene.received(raw).contains("x-response-flags: UR"))
        #expect(retries(scene) == 2 && scene.proxy.counters[.upstreamStreams] == 4)
        let lines = scene.simulation.logLines
        #expect(lines.allSatisfy { $0.contains("remote_refused_stream") })
        #expect(lines.allSatisfy { $0.contains("\"attempts\":2") })
        end(scene, client)
    }

    // MARK: While it waits

    /// One connection, which is going away and has a stream that lasts: the refused one waits.
    private func waiting(
        _ scene: HTTP2Scene
    ) -> (client: HTTP2End, lasting: HTTP2Peer.Stream?, refused: HTTP2Peer.Stream?) {
        let client = scene.client()
        let lasting = client.peer.request(requestFields("POST"), body: [1], ends: false)
        let refused = client.peer.request(requestFields("POST", "/again"), body: [2, 3])
        scene.pass()
        scene.servers[0].peer.goAway(last: 1)
        scene.pass()
        #expect(refused?.closed == nil && refused?.status == nil)
        #expect(scene.servers.count == 1 && scene.proxy.upstreams.clusters[0].pending.count == 1)
        return (client, lasting, refused)
    }

    @Test func aRefusedRequestMayWaitForAConnection() {
        let scene = Self.scene(maxConnections: 1)
        let (client, lasting, refused) = waiting(scene)
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(), body: stream.body) }
        if let lasting { client.peer.more(lasting, [4], ends: true) }
        scene.pass()
        #expect(lasting?.body == [1, 4])
        #expect(scene.servers.count == 2)
        #expect(refused?.status == 200 && refused?.body == [2, 3])
        #expect(retries(scene) == 1)
        end(scene, client)
    }

    /// Meanwhile the proxy is told to end: what it has let in is served, on one more connection.
    @Test func aDrainMeanwhile() {
        let scene = Self.scene(maxConnections: 1)
        let (client, lasting, refused) = waiting(scene)
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(), body: stream.body) }
        scene.proxy.drain(now: scene.simulation.now)
        if let lasting { client.peer.more(lasting, [4], ends: true) }
        scene.pass()
        #expect(lasting?.body == [1, 4])
        #expect(scene.servers.count == 2)
        #expect(refused?.status == 200 && refused?.body == [2, 3])
        end(scene, client)
    }

    @Test func itsTimeGoesOn() {
        let scene = Self.scene(ProxyTimeouts(request: .seconds(3)), maxConnections: 1)
        let client = scene.client()
        let lasting = client.peer.request(requestFields("POST"), body: [1], ends: false)
        let refused = client.peer.request(requestFields())
        scene.pass(.seconds(2))
        scene.servers[0].peer.goAway(last: 1)
        scene.pass(.milliseconds(500))
        #expect(refused?.status == nil)
        scene.pass(.milliseconds(500))
        #expect(refused?.status == 504 && refused?["x-response-flags"] == "UT")
        #expect(lasting?.status == nil)
        // It was sent once.
        #expect(scene.simulation.logLines.contains { $0.contains("\"attempts\":1") })
        #expect(retries(scene) == 0)
        end(scene, client)
    }

    @Test func aClientThatGoesMeanwhileTakesItAlong() {
        let scene = Self.scene(maxConnections: 1)
        let (client, lasting, refused) = waiting(scene)
        if let refused { client.peer.reset(refused.number, .cancel) }
        scene.pass()
        #expect(scene.proxy.upstreams.clusters[0].pending.count == 0)
        if let lasting { client.peer.more(lasting, [], ends: true) }
        if let stream = scene.servers[0].peer.streams[1] {
            scene.servers[0].peer.answer(stream, answerFields())
        }
        scene.pass()
        #expect(lasting?.status == 200)
        #expect(scene.servers.count == 1 && retries(scene) == 0)
        end(scene, client)
    }

    @Test func whereNobodyMayWaitItIsAnswered() {
        let scene = Self.scene(maxConnections: 1, maxPending: 1)
        let client = scene.client()
        let lasting = client.peer.request(requestFields("POST"), body: [1], ends: false)
        scene.pass()
        // The first has waited for its connection to be opened.
        var configuration = scene.proxy.configuration
        configuration.clusters[0].breaker.standard.pending = 0
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        let raw = scene.rawClient()
        scene.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n", by: raw)
        scene.servers[0].peer.goAway(last: 1)
        scene.pass()
        #expect(scene.received(raw).contains("x-response-flags: UO"))
        // Its connection goes on.
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields()) }
        if let lasting { client.peer.more(lasting, [], ends: true) }
        scene.pass()
        configuration.clusters[0].breaker.standard.pending = 1
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        scene.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n", by: raw)
        #expect(scene.received(raw).hasPrefix("HTTP/1.1 200 "))
        end(scene, client)
    }

    /// Meanwhile the configuration changes: to the same, or so that the cluster is spoken to
    /// otherwise or gone.
    @Test(arguments: [0, 1, 2]) func aReloadMeanwhile(_ change: Int) {
        let scene = Self.scene(maxConnections: 1)
        let client = scene.client()
        let lasting = client.peer.request(requestFields("POST"), body: [1], ends: false)
        scene.pass()
        let raw = scene.rawClient()
        scene.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab", by: raw)
        scene.servers[0].peer.goAway(last: 1)
        scene.pass()
        var configuration = HTTP2Scene.speaking(
            .http2, Scene.configuration(maxConnections: 1, accessLog: true))
        if change == 1 { configuration.clusters[0].speech = .http1 }
        if change == 2 { configuration.clusters[0].name = "d" }
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        scene.pass()
        scene.send("cd", by: raw)
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(), body: stream.body) }
        if let lasting { client.peer.more(lasting, [], ends: true) }
        scene.pass()
        let received = scene.received(raw)
        if change == 0 {
            #expect(received.hasPrefix("HTTP/1.1 200 ") && received.hasSuffix("abcd\r\n0\r\n\r\n"))
        } else {
            let detail = change == 1 ? "protocol_changed" : "cluster_not_found"
            #expect(received.hasPrefix("HTTP/1.1 503 ") && received.contains(detail))
        }
        #expect(retries(scene) == (change == 0 ? 1 : 0))
        end(scene, client)
    }

    // MARK: Other kinds

    @Test func callsOfGRPCAreSentAgain() {
        let scene = Self.scene()
        let grpc: Fields = [("content-type", "application/grpc"), ("te", "trailers")]
        var refusals = 1
        scene.onHead = { peer, stream in
            guard refusals > 0 else { return }
            refusals -= 1
            peer.reset(stream.number, .refusedStream)
        }
        scene.onEnd = { peer, stream in
            guard stream.body.count == 6 else { return }
            peer.answer(
                stream, answerFields(200, grpc), body: stream.body,
                trailers: [("grpc-status", "0")])
        }
        let client = scene.client()
        let call = client.peer.request(
            requestFields("POST", "/s/m", grpc + [("grpc-timeout", "9S")]),
            body: [0, 0, 0, 0, 1, 7])
        scene.pass()
        #expect(call?.body == [0, 0, 0, 0, 1, 7])
        #expect(ownFields(call?.trailers) == ["grpc-status: 0"])
        #expect(retries(scene) == 1)
        refusals = 2
        let lost = client.peer.request(requestFields("POST", "/s/m", grpc), body: [1])
        scene.pass()
        #expect(lost?.status == 200 && lost?["grpc-status"] == "14")
        end(scene, client)
    }

    @Test(arguments: [true, false]) func soAreWebSockets(_ isRaw: Bool) {
        let scene = Self.scene()
        var hasRefused = false
        scene.onHead = { peer, stream in
            guard hasRefused else {
                hasRefused = true
                return peer.reset(stream.number, .refusedStream)
            }
            peer.answer(stream, answerFields(), body: Array("hello".utf8), ends: false)
        }
        let client = scene.client()
        if isRaw {
            let raw = scene.rawClient()
            scene.send(
                "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                    + "sec-websocket-version: 13\r\n"
                    + "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", by: raw)
            let received = scene.received(raw)
            #expect(received.hasPrefix("HTTP/1.1 101 ") && received.hasSuffix("hello"))
            raw.peerClose(reset: true)
        } else {
            let fields: Fields = [
                (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                (":authority", "a"), (":path", "/chat"), ("sec-websocket-version", "13"),
            ]
            let stream = client.peer.request(fields, ends: false)
            scene.pass()
            #expect(stream?.status == 200 && stream.map { text($0.body) } == "hello")
        }
        let carried = scene.servers.flatMap { server in
            server.peer.order.compactMap { server.peer.streams[$0] }
        }
        #expect(carried.count == 2)
        #expect(carried.allSatisfy { $0[":protocol"] == "websocket" && $0[":path"] == "/chat" })
        #expect(retries(scene) == 1)
        client.socket.peerClose(reset: true)
        #expect(scene.remains() == nil)
    }

    // MARK: Fewer streams

    /// Requests wait in the proxy's queue, where their time is theirs, and not in the session.
    @Test func aLowerLimitOfThePeersHolds() {
        let scene = Self.scene(maxConnections: 1)
        scene.serverStreams = 3
        let client = scene.client()
        let first = (0..<2).map { _ in client.peer.request(requestFields()) }
        scene.pass()
        let server = scene.servers[0].peer
        server.submitLimit(streams: 1)
        scene.pass()
        let later = (0..<2).map { _ in client.peer.request(requestFields()) }
        scene.pass()
        #expect(server.order == [1, 3] && scene.proxy.upstreams.clusters[0].pending.count == 2)
        func answer(_ number: Int32) {
            if let stream = server.streams[number] { server.answer(stream, answerFields()) }
            scene.pass()
        }
        answer(1)
        #expect(server.order == [1, 3], "one is as many as there may be")
        answer(3)
        #expect(server.order == [1, 3, 5])
        server.submitLimit(streams: 2)
        scene.pass()
        #expect(server.order == [1, 3, 5, 7])
        answer(5)
        answer(7)
        #expect((first + later).allSatisfy { $0?.status == 200 })
        #expect(retries(scene) == 0)
        end(scene, client)
    }
}

extension String {
    /// How often `part` stands in it.
    fileprivate func components(_ part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let found = rest.firstRange(of: part) {
            count += 1
            rest = rest[found.upperBound...]
        }
        return count
    }
}
