import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Streams and connections of HTTP/2 that do not end as they should.
@Suite struct HTTP2FailureTests {
    private static func scene(
        _ upstream: ProxyConfiguration.Cluster.Speech = .http2,
        _ timeouts: ProxyTimeouts = .init(), maxConnections: Int = 8, maxPending: Int = 8,
        connections: Int = 64
    ) -> HTTP2Scene {
        HTTP2Scene(
            upstream,
            Scene.configuration(
                maxConnections: maxConnections, maxPending: maxPending, connections: connections,
                accessLog: true, timeouts: timeouts))
    }

    private func end(_ scene: HTTP2Scene, _ clients: HTTP2End...) {
        for client in clients { client.closesWhenDone = true }
        #expect(scene.remains() == nil)
    }

    // MARK: Resets

    @Test(arguments: [0, 1, 2, 3])
    func aClientsResetIsPassedOnAtOnce(_ stage: Int) {
        let scene = Self.scene()
        scene.onHead = { peer, stream in
            if stage >= 2 { peer.answer(stream, answerFields(), body: [1, 2], ends: false) }
        }
        let client = scene.client()
        let other = client.peer.request(requestFields("GET", "/other"))
        let stream = client.peer.request(requestFields("POST"), body: [1], ends: stage == 1)
        scene.pass()
        if stage == 3, let stream { client.peer.more(stream, [2], ends: true) }
        scene.pass()
        if let stream { client.peer.reset(stream.number, .cancel) }
        scene.pass()
        let seen = scene.servers[0].peer.streams[3]
        #expect(seen?.closed == .cancel)
        #expect(scene.servers[0].peer.streams[1]?.closed == nil)
        #expect(other?.closed == nil)
        #expect(scene.simulation.logLines.contains { $0.contains("downstream_remote_disconnect") })
        #expect(scene.simulation.logLines.contains { $0.contains("\"flags\":\"DR\"") })
        #expect(scene.proxy.counters[.streamsCancelled] == 1)
        #expect(scene.proxy.counters[.streamResetsReceived] == 1)
        end(scene, client)
    }

    @Test func aClientsResetClosesTheConnectionOfHTTP11() {
        let scene = Self.scene(.http1)
        let client = scene.client()
        let stream = client.peer.request(requestFields("POST"), body: [1], ends: false)
        scene.pass()
        if let stream { client.peer.reset(stream.number, .cancel) }
        scene.pass()
        #expect(scene.rawServers[0].proxyClosed && scene.rawServers[0].proxyReset)
        end(scene, client)
    }

    @Test func aClientOfHTTP11ThatGoesResetsItsStream() {
        let scene = Self.scene()
        let client = scene.rawClient()
        scene.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n", by: client)
        client.peerClose(reset: true)
        scene.pass()
        #expect(scene.servers[0].peer.streams[1]?.closed == .cancel)
        end(scene)
    }

    @Test(arguments: [HTTP2Code.internalError, .refusedStream, .cancel, .noError])
    func anUpstreamsResetBeforeItsAnswerIs503(_ code: HTTP2Code) {
        let scene = Self.scene()
        scene.onHead = { peer, stream in peer.reset(stream.number, code) }
        let client = scene.client()
        let stream = client.peer.request(requestFields("POST"), body: [1], ends: false)
        scene.pass()
        #expect(stream?.status == 503)
        #expect(stream?["x-response-flags"] == "UR")
        // The rest of the request is not wanted.
        #expect(stream?.hasEnded == true && stream?.closed == .noError)
        let raw = scene.rawClient()
        scene.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n", by: raw)
        #expect(scene.received(raw).hasPrefix("HTTP/1.1 503 "))
        end(scene, client)
    }

    @Test func anUpstreamsResetWithinItsAnswerIsOneForTheClient() {
        let scene = Self.scene()
        scene.onHead = { peer, stream in peer.answer(stream, answerFields(), body: [1], ends: false)
        }
        let client = scene.client()
        let stream = client.peer.request(requestFields())
        let raw = scene.rawClient()
        scene.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n", by: raw)
        scene.pass()
        let server = scene.servers[0].peer
        for number in server.order { server.reset(number, .enhanceYourCalm) }
        scene.pass()
        #expect(stream?.hasEnded == false)
        #expect(stream?.closed == .enhanceYourCalm)
        #expect(scene.received(raw).hasSuffix("1\r\n\u{1}\r\n"))
        #expect(raw.proxyEnded || raw.proxyClosed)
        end(scene, client)
    }

    @Test(arguments: [true, false])
    func anAnswerBeforeTheRequestsEndIsWhole(_ isRaw: Bool) {
        let scene = Self.scene(isRaw ? .http1 : .http2)
        scene.onHead = { peer, stream in
            peer.answer(stream, answerFields(413), body: [7])
        }
        let client = scene.client()
        let stream = client.peer.request(requestFields("POST"), body: [1], ends: false)
        scene.pass()
        if isRaw {
            scene.send("HTTP/1.1 413 X\r\ncontent-length: 1\r\n\r\n\u{7}", by: scene.rawServers[0])
        }
        #expect(stream?.status == 413 && stream?.body == [7])
        #expect(stream?.hasEnded == true && stream?.closed == .noError)
        if isRaw {
            #expect(scene.rawServers[0].proxyClosed)
        } else {
            #expect(scene.servers[0].peer.streams[1]?.closed == .noError)
        }
        end(scene, client)
    }

    // MARK: Connections

    @Test func anUpstreamThatGoesAwayIsLeftAndItsStreamsEnd() {
        let scene = Self.scene()
        let client = scene.client()
        let first = client.peer.request(requestFields())
        scene.pass()
        let server = scene.servers[0].peer
        server.submitGoaway(.noError)
        scene.pass()
        #expect(scene.proxy.counters[.goawaysReceived] == 1)
        // The next goes elsewhere; what is in flight is answered.
        let second = client.peer.request(requestFields())
        scene.pass()
        #expect(scene.servers.count == 2)
        if let stream = server.streams[1] { server.answer(stream, answerFields(), body: [1]) }
        scene.pass()
        #expect(first?.isWhole == true && first?.status == 200)
        #expect(scene.servers[0].isDone, "the connection is closed when its streams have ended")
        let other = scene.servers[1].peer
        if let stream = other.streams[1] { other.answer(stream, answerFields(201)) }
        scene.pass()
        #expect(second?.status == 201)
        end(scene, client)
    }

    @Test(arguments: [true, false])
    func aLostConnectionEndsItsStreams(_ isReset: Bool) {
        let scene = Self.scene()
        scene.onHead = { peer, stream in
            if stream[":path"] == "/begun" {
                peer.answer(stream, answerFields(), body: [1], ends: false)
            }
        }
        let client = scene.client()
        let first = client.peer.request(requestFields())
        let begun = client.peer.request(requestFields("GET", "/begun"))
        scene.pass()
        scene.servers[0].socket.peerClose(reset: isReset)
        scene.servers[0].isDone = true
        scene.pass()
        #expect(first?.status == 503 && first?["x-response-flags"] == "UC")
        #expect(begun?.closed == .internalError && begun?.hasEnded == false)
        end(scene, client)
    }

    /// The answer is here, the client slow, the upstream gone: the client still gets it all.
    @Test(arguments: [0, 1, 2])
    func anAnswerThatHasComeOutlivesItsConnection(_ how: Int) {
        let scene = Self.scene()
        let body = SimulatedExchange.pattern(1, 60_000)
        scene.onEnd = { peer, stream in
            peer.answer(stream, answerFields(), body: body, trailers: [("x-end", "1")])
        }
        let client = scene.client(window: 1000)
        client.peer.holdsBack = true
        let stream = client.peer.request(requestFields())
        scene.pass()
        #expect(stream?.body.count == 1000)
        let server = scene.servers[0]
        switch how {
        case 0: server.socket.peerClose(reset: false)
        case 1: server.socket.peerClose(reset: true)
        default: server.peer.submitGoaway(.noError)
        }
        scene.pass()
        client.peer.holdsBack = false
        if let stream { client.peer.release(stream) }
        scene.pass()
        #expect(stream?.body == body)
        #expect(stream?.isWhole == true)
        #expect(ownFields(stream?.trailers) == ["x-end: 1"])
        #expect(server.socket.proxyClosed)
        end(scene, client)
    }

    @Test func aConnectionThatCannotBeOpenedFailsAllThatWaitForIt() {
        let scene = Self.scene()
        scene.opening = .never
        let client = scene.client()
        let streams = (0..<3).map { _ in client.peer.request(requestFields()) }
        let raw = scene.rawClient()
        scene.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n", by: raw)
        #expect(scene.servers.count == 1)
        scene.pass(.seconds(6))
        for stream in streams {
            #expect(stream?.status == 503 && stream?["x-response-flags"] == "UF")
        }
        #expect(scene.received(raw).contains("x-response-flags: UF"))
        scene.opening = .refused
        let other = client.peer.request(requestFields())
        scene.pass()
        #expect(other?.status == 503 && other?["x-response-flags"] == "UF")
        end(scene, client)
    }

    @Test func anUpstreamThatSpeaksSomethingElseIsLeft() {
        let scene = Self.scene()
        let client = scene.client()
        let stream = client.peer.request(requestFields())
        scene.pass()
        scene.servers[0].isPaused = true
        scene.servers[0].socket.peerWrite(Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)[...])
        scene.pass()
        #expect(stream?.status == 503)
        #expect(scene.proxy.counters[.protocolErrors] >= 1)
        end(scene, client)
    }

    // MARK: Time

    @Test func timeoutsEndStreamsAndTellUpstreams() {
        let scene = Self.scene(.http2, ProxyTimeouts(request: .seconds(2), streamIdle: .seconds(9)))
        let client = scene.client()
        let stream = client.peer.request(requestFields())
        let unfinished = client.peer.request(requestFields("POST"), body: [1], ends: false)
        scene.pass(.seconds(3))
        #expect(stream?.status == 504 && stream?["x-response-flags"] == "UT")
        #expect(scene.servers[0].peer.streams[1]?.closed == .cancel)
        #expect(unfinished?.closed == nil)
        scene.pass(.seconds(9))
        #expect(unfinished?.status == 408 && unfinished?["x-response-flags"] == "SI")
        #expect(scene.servers[0].peer.streams[3]?.closed == .cancel)
        end(scene, client)
    }

    @Test func aConnectionWithoutStreamsIsClosedInOrder() {
        let scene = Self.scene(.http2, ProxyTimeouts(idle: .seconds(5)))
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields()) }
        let client = scene.client()
        _ = client.peer.request(requestFields())
        scene.pass(.seconds(4))
        #expect(!client.hasEnded)
        scene.pass(.seconds(2))
        #expect(client.hasEnded && client.peer.goaways == [.noError])
        #expect(scene.servers[0].hasEnded)
        #expect(scene.remains() == nil)
    }

    @Test func aPingThatIsNotAnsweredEndsTheConnection() {
        let scene = Self.scene(
            .http2,
            ProxyTimeouts(
                request: .zero, pingInterval: .seconds(3), pingTimeout: .seconds(1)))
        let client = scene.client()
        let stream = client.peer.request(requestFields())
        scene.pass(.seconds(20))
        #expect(stream?.closed == nil, "PINGs are answered")
        scene.servers[0].isPaused = true
        scene.pass(.seconds(5))
        #expect(stream?.status == 503)
        #expect(scene.proxy.counters[.pingTimeouts] == 1)
        client.isPaused = true
        scene.pass(.seconds(5))
        #expect(scene.proxy.counters[.pingTimeouts] == 2)
        #expect(client.socket.proxyClosed)
        #expect(scene.remains() == nil)
    }

    /// A head that comes drop by drop.
    @Test func aHeadHasItsTime() {
        let scene = Self.scene(.http2, ProxyTimeouts(head: .seconds(2)))
        let client = scene.client()
        client.isPaused = true
        // HEADERS without END_HEADERS, and nothing behind.
        client.socket.peerWrite([0, 0, 1, 1, 1, 0, 0, 0, 1, 0x82])
        scene.pass(.seconds(3))
        #expect(client.socket.proxyClosed)
        #expect(scene.remains() == nil)
    }

    /// A header block that comes in pieces is nobody else's meanwhile.
    @Test func headsOfTwoConnectionsDoNotMix() {
        let scene = Self.scene(.http1)
        func head(_ name: String) -> [UInt8] {
            let block: [UInt8] = [0x82, 0x86, 0x84, 0x41, 1, 0x61, 0, 1] + name.utf8 + [1, 0x31]
            return [0, 0, UInt8(block.count), 1, 5, 0, 0, 0, 1] + block
        }
        let (first, second) = (scene.client(), scene.client())
        for client in [first, second] { client.isPaused = true }
        first.socket.peerWrite(head("p").prefix(15))
        scene.pass()
        second.socket.peerWrite(head("q")[...])
        scene.pass()
        first.socket.peerWrite(head("p")[15...])
        scene.pass()
        #expect(
            scene.rawServers.map { scene.received($0) } == [
                "GET / HTTP/1.1\r\nhost: a\r\nq: 1\r\n\r\n",
                "GET / HTTP/1.1\r\nhost: a\r\np: 1\r\n\r\n",
            ])
        for client in [first, second] {
            client.isPaused = false
            client.socket.peerClose(reset: true)
        }
        #expect(scene.remains() == nil)
    }

    // MARK: gRPC

    private static let grpc: Fields = [("content-type", "application/grpc"), ("te", "trailers")]

    @Test func failuresAreToldAsGRPCTellsThem() {
        let scene = Self.scene(.http2, ProxyTimeouts(request: .seconds(60)))
        scene.onHead = { peer, stream in
            if stream[":path"] == "/begun" {
                peer.answer(stream, answerFields(200, Self.grpc), body: [1], ends: false)
            }
        }
        let client = scene.client()
        let timed = client.peer.request(
            requestFields("POST", "/", Self.grpc + [("grpc-timeout", "2S")]), body: [1])
        let begun = client.peer.request(requestFields("POST", "/begun", Self.grpc), body: [1])
        let begunTimed = client.peer.request(
            requestFields("POST", "/begun", Self.grpc + [("grpc-timeout", "1500m")]), body: [1])
        scene.pass(.seconds(3))
        // Trailers-only.
        #expect(timed?.status == 200 && timed?.hasEnded == true && timed?.heads.count == 1)
        #expect(timed?["grpc-status"] == "4" && timed?["content-type"] == "application/grpc")
        #expect(scene.servers[0].peer.streams[1]?.closed == .cancel)
        #expect(begunTimed?.trailers?.first { $0.name == "grpc-status" }?.value == "4")
        #expect(begunTimed?.body == [1])
        scene.servers[0].socket.peerClose(reset: true)
        scene.servers[0].isDone = true
        scene.pass()
        #expect(begun?.hasEnded == true && begun?.body == [1])
        #expect(begun?.trailers?.first { $0.name == "grpc-status" }?.value == "14")
        scene.opening = .refused
        let refused = client.peer.request(requestFields("POST", "/", Self.grpc), body: [1])
        scene.pass()
        #expect(refused?.status == 200 && refused?["grpc-status"] == "14")
        end(scene, client)
    }

    /// The shortest of the times that end it, as with Envoy. One that came without is given none.
    @Test func aCallIsToldWhatEndsItFirst() {
        let scene = Self.scene(.http2, ProxyTimeouts(request: .milliseconds(100)))
        let client = scene.client()
        for fields in [Self.grpc + [("grpc-timeout", "5S")], Self.grpc] {
            _ = client.peer.request(requestFields("POST", "/", fields), body: [1])
        }
        scene.pass()
        let server = scene.servers[0].peer
        #expect(server.streams[1]?["grpc-timeout"] == "100000u")
        #expect(server.streams[3] != nil && server.streams[3]?["grpc-timeout"] == nil)
        end(scene, client)
    }

    @Test func theTimeLeftIsPassedOn() {
        let scene = Self.scene(.http2, maxConnections: 1)
        scene.serverStreams = 1
        scene.onEnd = { peer, stream in
            if stream.number == 3 { peer.answer(stream, answerFields(200, Self.grpc)) }
        }
        let client = scene.client()
        let first = client.peer.request(requestFields())
        scene.pass()
        let second = client.peer.request(
            requestFields("POST", "/", Self.grpc + [("grpc-timeout", "10S")]), body: [1])
        scene.pass(.seconds(2))
        let server = scene.servers[0].peer
        #expect(server.streams[3] == nil, "it waits for room")
        if let stream = server.streams[1] { server.answer(stream, answerFields()) }
        scene.pass()
        #expect(first?.isWhole == true && second?.isWhole == true)
        let left = server.streams[3]?["grpc-timeout"] ?? ""
        #expect(left.last == "m" || left.last == "u" || left.last == "n", "\(left)")
        end(scene, client)
    }

    /// What one call's stream was reset with is not what the next is told, which is served, and
    /// refused, as that stream is let go: its endpoint has just been ejected.
    @Test func aResetIsToldToItsOwnCallAlone() {
        var configuration = Scene.configuration(maxConnections: 1)
        configuration.clusters[0].outlier = OutlierPolicy(
            consecutive5xx: .init(1, enforcing: 100), mostPercent: 100)
        configuration.clusters[0].balance.panicThreshold = 0
        let scene = HTTP2Scene(.http2, configuration)
        scene.serverStreams = 1
        let client = scene.client()
        let calls = (0..<2).map { _ in
            let call = client.peer.request(requestFields("POST", "/", Self.grpc), body: [1])
            scene.pass()
            return call
        }
        #expect(scene.proxy.waiting(0, 0) == 1)
        scene.servers[0].peer.reset(1, .enhanceYourCalm)
        scene.pass()
        #expect(calls.map { $0?["grpc-status"] } == ["8", "14"])
        #expect(calls.map { $0?["x-response-flags"] } == ["UR", "UH"])
        client.socket.peerClose(reset: true)
        client.isDone = true
    }
}
