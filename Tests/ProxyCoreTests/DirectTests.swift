import Base
import Support
import Testing

@testable import ProxyCore

/// Bodies that pass without being read.
@Suite struct DirectTests {
    private static let size = 300_000
    private static let body = SimulatedExchange.pattern(1, size)

    /// The bytes that a peer has received, taken in small pieces.
    private func drain(_ scene: Scene, _ peer: SimulatedSocket) -> [UInt8] {
        var got: [UInt8] = []
        while true {
            let piece = peer.peerRead(5000)
            guard !piece.isEmpty else { return got }
            got += piece
            scene.pass(.zero)
        }
    }

    @Test(arguments: [true, false])
    func aLargeAnswerArrivesWhole(hasPipes: Bool) {
        let scene = Scene()
        scene.simulation.socketCapacity = 10_000
        scene.simulation.hasPipes = hasPipes
        let (client, server) = scene.get()
        let head = "HTTP/1.1 200 OK\r\ncontent-length: \(Self.size)\r\n\r\n"
        scene.send(Array(head.utf8) + Self.body, by: server)
        #expect(drain(scene, client) == Array(head.utf8) + Self.body)
        let direct = scene.proxy.counters[.directBytes]
        #expect(hasPipes ? direct > 200_000 : direct == 0)
        #expect(scene.proxy.counters[.responseBytes] == UInt64(Self.size))
        // Both connections go on.
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        scene.send(okAnswer, by: server)
        #expect(scene.received(client) == okAnswer)
        #expect(scene.servers.count == 1)
    }

    @Test func aLargeRequestArrivesWholeAndTheNextBehindIt() {
        let scene = Scene()
        scene.simulation.socketCapacity = 10_000
        let client = scene.client()
        let head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \(Self.size)\r\n\r\n"
        let next = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
        scene.send(Array(head.utf8) + Self.body + Array(next.utf8), by: client)
        let server = scene.servers[0]
        #expect(drain(scene, server) == Array(head.utf8) + Self.body)
        #expect(scene.proxy.counters[.directBytes] > 100_000)
        scene.send(okAnswer, by: server)
        #expect(scene.received(client) == okAnswer)
        #expect(scene.received(server) == next)
    }

    @Test func whatCameBeforeAnEarlyEndArrives() {
        let scene = Scene(Scene.configuration(accessLog: true))
        scene.simulation.socketCapacity = 10_000
        let (client, server) = scene.get()
        let head = "HTTP/1.1 200 OK\r\ncontent-length: \(2 * Self.size)\r\n\r\n"
        server.peerWrite((Array(head.utf8) + Self.body)[...])
        scene.end(server)
        #expect(drain(scene, client) == Array(head.utf8) + Self.body)
        #expect(client.proxyClosed || client.proxyEnded)
        #expect(scene.simulation.logLines.contains { $0.contains("\"flags\":\"UC\"") })
        #expect(scene.proxy.buffersInUse == 0)
    }

    /// The server takes no more of the request and answers: the rest is thrown away.
    @Test func anUpstreamThatStopsTakingIsStillHeard() {
        let scene = Scene()
        scene.simulation.socketCapacity = 10_000
        let client = scene.client()
        let head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \(Self.size)\r\n\r\n"
        scene.send(Array(head.utf8) + Self.body.prefix(200_000), by: client)
        let server = scene.servers[0]
        server.peerWrite(Array("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n".utf8)[...])
        scene.close(server, reset: true)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 413 "))
        scene.send(Self.body.suffix(100_000), by: client)
        #expect(client.proxyEnded && !client.proxyReset)
    }

    /// The server answers while bytes of the request are on their way to it, and reads none of
    /// them: the client is still read from, so that it ends in order.
    @Test func anEarlyAnswerLeavesNothingUnread() {
        let scene = Scene()
        scene.simulation.socketCapacity = 10_000
        let client = scene.client()
        let head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \(Self.size)\r\n\r\n"
        scene.send(Array(head.utf8), by: client)
        scene.send(Self.body.prefix(200_000), by: client)
        let server = scene.servers[0]
        // So that bytes are held: the head and what was read with it have gone.
        var taken = 0
        while taken < 90_000 {
            taken += server.peerRead(5000).count
            scene.pass(.zero)
        }
        scene.send("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n", by: server)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 413 "))
        scene.send(Self.body.suffix(100_000), by: client)
        #expect(client.inbound.isEmpty)
        scene.end(client)
        #expect(client.proxyClosed && !client.proxyReset)
        #expect(scene.proxy.buffersInUse == 0)
    }
}
