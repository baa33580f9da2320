import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Connections of HTTP/2 that cannot be opened end the requests that they were opened for, by the
/// policies of these, and nobody else's.
@Suite struct HTTP2ConnectFailureTests {
    private let addresses = ["127.0.0.1:1", "127.0.0.1:2"]

    private func scene(change: (inout ProxyConfiguration) -> Void) -> HTTP2Scene {
        var configuration = Scene.configuration(endpoints: addresses, accessLog: true)
        change(&configuration)
        return HTTP2Scene(.http2, configuration)
    }

    private func errors(_ scene: HTTP2Scene) -> [Int?] {
        addresses.map { address in
            scene.proxy.counts.lines[.host("c", address)].map { Int($0[HostCount.errors]) }
        }
    }

    private let chat: Fields = [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
        (":authority", "a"), (":path", "/chat"), ("sec-websocket-version", "13"),
    ]

    /// A WebSocket waits to see what the peer takes, and so has no stream.
    @Test(arguments: [false, true]) func aWebSocketIsTriedElsewhere(_ isRaw: Bool) {
        let scene = scene {
            $0.clusters[0].retry = RetryPolicy(
                on: [.connectFailure], avoidsPreviousHosts: true, reselections: 5)
        }
        scene.openings[addresses[0]] = .refused
        scene.onHead = { peer, stream in peer.answer(stream, answerFields(), ends: false) }
        let client = scene.client()
        // Of two, in turn, at least one is sent to the endpoint that refuses.
        for _ in 0..<2 {
            guard isRaw else {
                let stream = client.peer.request(chat, ends: false)
                scene.pass(.milliseconds(60))
                #expect(stream?.status == 200)
                continue
            }
            let raw = scene.rawClient()
            scene.send(
                "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                    + "sec-websocket-version: 13\r\n"
                    + "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", by: raw)
            scene.pass(.milliseconds(60))
            #expect(scene.received(raw).hasPrefix("HTTP/1.1 101 "))
            raw.peerClose(reset: true)
        }
        let retries = Int(scene.proxy.counters[.retries])
        #expect(retries > 0 && errors(scene) == [retries, 0])
        let carried = scene.servers.flatMap { server in
            server.peer.order.compactMap { server.peer.streams[$0]?[":protocol"] }
        }
        #expect(carried == ["websocket", "websocket"])
        client.socket.peerClose(reset: true)
        #expect(scene.remains() == nil)
    }

    /// Without a policy it is answered, as one attempt that has failed.
    @Test func aWebSocketEndsWithItsConnection() {
        let scene = scene { _ in }
        scene.opening = .refused
        let client = scene.client()
        let streams = (0..<2).map { _ in client.peer.request(chat, ends: false) }
        scene.pass(.milliseconds(10))
        #expect(streams.map { $0?.status } == [503, 503])
        #expect(streams.map { $0?["x-response-flags"] } == ["UF", "UF"])
        #expect(errors(scene).reduce(0) { $0 + ($1 ?? 0) } == 2)
        #expect(scene.simulation.logLines.allSatisfy { $0.contains("\"attempts\":1,") })
        #expect(scene.proxy.breakers[0].count(.pending, 0) == 0)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    /// Whoever waits for another connection goes on doing so.
    @Test func anotherRequestWaitsOn() {
        let scene = scene {
            $0.clusters[0].endpoints[0].labels = ["version": "1"]
            $0.clusters[0].endpoints[1].labels = ["version": "2"]
            $0.clusters[0].balance.subsets = [.init(label: "version", header: "x-version")]
            $0.clusters[0].breaker.standard.connections = 1
        }
        scene.serverStreams = 1
        scene.openings[addresses[1]] = .never
        let client = scene.client()
        func ask(_ version: Int) -> HTTP2Peer.Stream? {
            let answer = client.peer.request(
                requestFields("GET", "/", [("x-version", "\(version)")]))
            scene.pass()
            return answer
        }
        let (first, second) = (ask(1), ask(1))
        #expect(scene.proxy.waiting(0, 0) == 1)
        // The endpoint without any connection may have one, whose client has gone when it fails.
        let other = ask(2)
        #expect(scene.proxy.breakers[0].count(.connections, 0) == 2)
        if let other { client.peer.reset(other.number, .cancel) }
        scene.pass(.seconds(6))
        #expect(scene.proxy.breakers[0].count(.connections, 0) == 1)
        #expect(second?.status == nil && scene.proxy.waiting(0, 0) == 1)
        let server = scene.servers[0].peer
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields()) }
        if let stream = server.streams[1] { server.answer(stream, answerFields()) }
        scene.pass()
        #expect(first?.status == 200 && second?.status == 200)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }
}
