import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Streams that wait, stall, are too many, or meet a change of the proxy's.
@Suite struct HTTP2LimitTests {
    private func end(_ scene: HTTP2Scene, _ clients: HTTP2End...) {
        for client in clients { client.closesWhenDone = true }
        #expect(scene.remains() == nil)
    }

    @Test func requestsWaitForRoomAndTheQueueHasABound() {
        let scene = HTTP2Scene(.http2, Scene.configuration(maxConnections: 1, maxPending: 2))
        scene.serverStreams = 2
        let client = scene.client()
        // The first tells how many streams the upstream takes.
        _ = client.peer.request(requestFields())
        scene.pass()
        let streams = (0..<4).map { client.peer.request(requestFields("GET", "/\($0)")) }
        scene.pass()
        #expect(scene.servers.count == 1)
        let server = scene.servers[0].peer
        #expect(server.order == [1, 3])
        #expect(streams[3]?.status == 503 && streams[3]?["x-response-flags"] == "UO")
        #expect(scene.proxy.counters[.pendingOverflow] == 1)
        // One that is taken back leaves the queue.
        if let stream = streams[1] { client.peer.reset(stream.number, .cancel) }
        scene.pass()
        if let stream = server.streams[1] { server.answer(stream, answerFields()) }
        scene.pass()
        #expect(server.order == [1, 3, 5])
        #expect(server.streams[5]?[":path"] == "/2")
        end(scene, client)
    }

    @Test func aSecondConnectionIsOpenedWhereTheFirstIsFull() {
        let scene = HTTP2Scene(.http2)
        scene.serverStreams = 2
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(), body: [1]) }
        let client = scene.client()
        _ = client.peer.request(requestFields())
        scene.pass()
        scene.onEnd = nil
        for _ in 0..<3 { _ = client.peer.request(requestFields()) }
        scene.pass()
        #expect(scene.servers.count == 2)
        #expect(scene.servers.map(\.peer.order.count) == [3, 1])
        end(scene, client)
    }

    /// One stream's reader stalls; others of the same connections go on, and what waits is bounded.
    @Test func aSlowReaderStallsItsOwnStreamOnly() {
        let scene = HTTP2Scene(.http2)
        let large = SimulatedExchange.pattern(2, 3_000_000)
        scene.onEnd = { peer, stream in
            peer.answer(
                stream, answerFields(), body: stream[":path"] == "/large" ? large : [1, 2])
        }
        let client = scene.client()
        client.peer.holdsBack = true
        let stalled = client.peer.request(requestFields("GET", "/large"))
        scene.pass()
        #expect(stalled?.body.count == 65_535)
        for _ in 0..<50 {
            let stream = client.peer.request(requestFields())
            scene.pass()
            #expect(stream?.isWhole == true && stream?.body == [1, 2])
        }
        // Its output and its input, and the buffers of the two connections.
        #expect(scene.proxy.buffersInUse <= OutputQueue.capacity + 3)
        client.peer.holdsBack = false
        if let stalled { client.peer.release(stalled) }
        scene.pass()
        #expect(stalled?.body == large && stalled?.isWhole == true)
        end(scene, client)
    }

    /// Windows that are given back in small pieces, for a large body, are no flood of empty frames.
    @Test func smallWindowsAreNoAbuse() {
        let scene = HTTP2Scene(.http2)
        let large = SimulatedExchange.pattern(2, 300_000)
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(), body: large) }
        let client = scene.client(window: 50)
        let stream = client.peer.request(requestFields())
        scene.pass()
        #expect(stream?.body == large && stream?.isWhole == true)
        #expect(scene.proxy.counters[.floodedEmptyFrames] == 0)
        end(scene, client)
    }

    @Test func aSlowUpstreamStallsItsOwnStreamOnly() {
        let scene = HTTP2Scene(.http2)
        let client = scene.client()
        _ = client.peer.request(requestFields())
        scene.pass()
        let server = scene.servers[0].peer
        server.holdsBack = true
        let large = SimulatedExchange.pattern(2, 3_000_000)
        let stalled = client.peer.request(requestFields("POST", "/large"), body: large)
        scene.pass()
        #expect(server.streams[3]?.body.count == 65_535)
        #expect(scene.proxy.buffersInUse <= OutputQueue.capacity + 3)
        let other = client.peer.request(requestFields("POST"), body: [1, 2, 3])
        scene.pass()
        #expect(server.streams[5]?.body == [1, 2, 3] && server.streams[5]?.hasEnded == true)
        server.holdsBack = false
        if let stream = server.streams[3] { server.release(stream) }
        scene.pass()
        #expect(server.streams[3]?.body == large)
        for number in [3, 5] as [Int32] {
            if let stream = server.streams[number] { server.answer(stream, answerFields()) }
        }
        scene.pass()
        #expect(stalled?.isWhole == true && other?.isWhole == true)
        end(scene, client)
    }

    /// A client that reads nothing at all: what waits for it is bounded, whatever it asks for.
    @Test func aClientThatReadsNothingIsGivenUp() {
        let scene = HTTP2Scene(
            .http2, Scene.configuration(timeouts: .init(request: .zero, streamIdle: .seconds(9))))
        let large = SimulatedExchange.pattern(2, 3_000_000)
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(), body: large) }
        let client = scene.client(window: 10_000_000)
        for _ in 0..<10 { _ = client.peer.request(requestFields()) }
        _ = client.peer.pull()
        client.socket.peerWrite(client.peer.output.take(.max))
        client.isPaused = true
        scene.pass()
        #expect(scene.proxy.buffersInUse <= 10 * (OutputQueue.capacity + 1) + OutputQueue.capacity)
        scene.pass(.seconds(30))
        #expect(client.socket.proxyClosed)
        #expect(scene.remains() == nil)
    }

    /// With few buffers everything takes longer, or is refused, and nothing is lost or kept.
    @Test func theBufferPoolMayRunDry() {
        let scene = HTTP2Scene(.http2, Scene.configuration(connections: 64))
        let large = SimulatedExchange.pattern(2, 500_000)
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(), body: large) }
        let clients = (0..<4).map { _ in scene.client(window: 10_000) }
        var streams: [HTTP2Peer.Stream?] = []
        for client in clients {
            client.peer.holdsBack = true
            for _ in 0..<5 { streams.append(client.peer.request(requestFields())) }
        }
        scene.pass()
        for client in clients {
            client.peer.holdsBack = false
            for stream in client.peer.streams.values { client.peer.release(stream) }
        }
        scene.pass(.seconds(1))
        for stream in streams {
            let isWhole = stream?.isWhole == true && stream?.body == large
            let isRefused = stream?.status == 503 || (stream?.closed ?? .noError) != .noError
            #expect(isWhole || isRefused, "\(String(describing: stream?.closed))")
        }
        for client in clients { client.closesWhenDone = true }
        #expect(scene.remains() == nil)
    }

    @Test func moreStreamsThanSlotsAreRefused() {
        let scene = HTTP2Scene(.http2, Scene.configuration(connections: 8))
        let client = scene.client()
        let streams = (0..<10).map { _ in client.peer.request(requestFields()) }
        scene.pass()
        let refused = streams.filter { $0?.closed == .refusedStream || $0?.status == 503 }
        #expect(!refused.isEmpty && refused.count < 10)
        end(scene, client)
    }

    @Test func aDrainLosesNothing() {
        let scene = HTTP2Scene(.http2)
        let client = scene.client()
        let open = client.peer.request(requestFields("POST"), body: [1], ends: false)
        let idle = scene.client()
        scene.pass()
        scene.proxy.drain(now: scene.simulation.now)
        // On its way when the first GOAWAY comes.
        let late = client.peer.request(requestFields("GET", "/late"))
        _ = client.peer.pull()
        scene.pass()
        #expect(client.peer.goaways == [.noError, .noError] && idle.hasEnded)
        #expect(!client.hasEnded)
        let server = scene.servers[0].peer
        #expect(server.order.count == 2)
        if let open { client.peer.more(open, [2], ends: true) }
        scene.pass()
        for stream in server.streams.values { server.answer(stream, answerFields(), body: [3]) }
        scene.pass()
        #expect(open?.isWhole == true && late?.isWhole == true)
        #expect(client.hasEnded && scene.servers[0].hasEnded)
        #expect(scene.remains() == nil)
    }

    @Test func aReloadLetsStreamsEndWhereTheyBegan() {
        let scene = HTTP2Scene(.http2, Scene.configuration(maxConnections: 1))
        scene.serverStreams = 1
        let client = scene.client()
        let first = client.peer.request(requestFields())
        scene.pass()
        let waiting = client.peer.request(requestFields("GET", "/waiting"))
        scene.pass()
        let server = scene.servers[0].peer
        #expect(server.order == [1])
        scene.proxy.adopt(
            HTTP2Scene.speaking(.http2, Scene.configuration(endpoints: ["127.0.0.1:2"])),
            now: scene.simulation.now)
        scene.pass()
        #expect(scene.servers.count == 2, "the one that waited goes to the new endpoint")
        let other = scene.servers[1].peer
        if let stream = other.streams[1] { other.answer(stream, answerFields(201)) }
        scene.pass()
        #expect(waiting?.status == 201)
        if let stream = server.streams[1] { server.answer(stream, answerFields(), body: [1]) }
        scene.pass()
        #expect(first?.isWhole == true && first?.body == [1])
        #expect(scene.servers[0].hasEnded && !scene.servers[1].hasEnded)
        end(scene, client)
    }

    /// A reload with a different protocol to the same endpoint.
    @Test func anEndpointMayBeginToSpeakSomethingElse() {
        let scene = HTTP2Scene(.http2)
        let client = scene.client()
        let first = client.peer.request(requestFields())
        scene.pass()
        scene.proxy.adopt(
            HTTP2Scene.speaking(.http1, Scene.configuration()), now: scene.simulation.now)
        scene.pass()
        let second = client.peer.request(requestFields())
        scene.pass()
        let server = scene.servers[0].peer
        if let stream = server.streams[1] { server.answer(stream, answerFields(), body: [1]) }
        scene.pass()
        #expect(first?.isWhole == true)
        // A connection of its own; the server, which has not changed, is not understood there.
        #expect(scene.servers.count == 2)
        #expect(second?.status == 503 || second?.status == 502)
        end(scene, client)
    }
}
