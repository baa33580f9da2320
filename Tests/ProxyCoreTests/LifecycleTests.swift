import Base
import FoundationEssentials
import Model
import Support
import Testing

@testable import ProxyCore

/// Reload, drain, the access log, and what is held while much flows through.
@Suite struct LifecycleTests {
    @Test func reloadKeepsWhatStaysAndReachesWhatIsNew() {
        let scene = Scene(Scene.configuration(endpoints: ["127.0.0.1:1", "127.0.0.1:2"]))
        // A new endpoint before those that stay must not take their place.
        let ports = ["127.0.0.1:3", "127.0.0.1:1", "127.0.0.1:2"]
        scene.proxy.adopt(Scene.configuration(endpoints: ports), now: scene.simulation.now)
        for _ in 0..<3 { _ = scene.get() }
        #expect(scene.addresses.sorted() == ports.sorted())
    }

    @Test func reloadLetsExchangesEndAndClosesWhatIsGone() {
        let scene = Scene(Scene.configuration(endpoints: ["127.0.0.1:1"], accessLog: true))
        let (idle, pooled) = scene.get()
        scene.send(okAnswer, by: pooled)
        _ = scene.received(idle)
        let (client, busy) = scene.get()
        // The pool's connection is used again: another for the pool.
        let (other, spare) = scene.get()
        scene.send(okAnswer, by: spare)
        _ = scene.received(other)
        scene.proxy.adopt(
            Scene.configuration(endpoints: ["127.0.0.1:2"], accessLog: true),
            now: scene.simulation.now)
        scene.pass(.zero)
        #expect(spare.proxyClosed)
        #expect(!busy.proxyClosed)
        scene.send(okAnswer, by: busy)
        #expect(scene.received(client) == okAnswer)
        #expect(busy.proxyClosed)
        _ = scene.get()
        #expect(scene.addresses.last == "127.0.0.1:2")
    }

    @Test func reloadRoutesWaitingRequestsAnew() {
        let scene = Scene(Scene.configuration(maxConnections: 1, accessLog: true))
        let first = scene.get("/1").client
        let second = scene.get("/2").client
        scene.proxy.adopt(
            Scene.configuration(endpoints: ["127.0.0.1:2"], maxConnections: 1, accessLog: true),
            now: scene.simulation.now)
        scene.pass(.zero)
        #expect(scene.addresses == ["127.0.0.1:1", "127.0.0.1:2"])
        for (client, server) in zip([first, second], scene.servers) {
            scene.send(okAnswer, by: server)
            #expect(scene.received(client) == okAnswer)
        }
        #expect(scene.proxy.counters[.requestsTotal] == 2)
        #expect(scene.proxy.buffersInUse == 0)
    }

    @Test func oneAddressTwiceInAClusterIsCountedOnce() {
        let twice = Scene.configuration(endpoints: ["127.0.0.1:1", "127.0.0.1:1"])
        let scene = Scene(twice)
        #expect(scene.proxy.upstreams.endpoints.count == 1)
        for _ in 0..<3 {
            scene.proxy.adopt(twice, now: scene.simulation.now)
            let (client, server) = scene.get()
            scene.send(okAnswer, by: server)
            #expect(scene.received(client) == okAnswer)
        }
    }

    @Test func drainEndsWhatIsInHandAndTakesNothingNew() {
        let scene = Scene()
        let (client, server) = scene.get()
        let idle = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: idle)
        scene.send(okAnswer, by: scene.servers[1])
        _ = scene.received(idle)
        scene.proxy.drain(now: scene.simulation.now)
        scene.pass(.zero)
        #expect(idle.proxyClosed && !idle.proxyReset)
        #expect(scene.servers[1].proxyClosed)
        #expect(scene.simulation.connect() == nil)
        scene.send(okAnswer, by: server)
        #expect(
            scene.received(client)
                == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        scene.close(client)
        #expect(scene.proxy.openConnections == 0)
    }

    @Test func drainServesARequestThatHasCome() {
        let scene = Scene()
        let (client, server) = scene.get()
        scene.send(okAnswer, by: server)
        _ = scene.received(client)
        client.inbound.append("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        scene.proxy.drain(now: scene.simulation.now)
        scene.pass(.zero)
        scene.send(okAnswer, by: scene.servers[scene.servers.count - 1])
        #expect(
            scene.received(client)
                == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
    }

    @Test func drainWaitsForAnAnswerThatIsReadSlowly() {
        let scene = Scene()
        scene.simulation.socketCapacity = 4000
        let (client, server) = scene.get()
        let answer =
            "HTTP/1.1 200 OK\r\ncontent-length: 7000\r\n\r\n"
            + String(repeating: "x", count: 7000)
        var left = Array(answer.utf8)[...]
        while !left.isEmpty {
            let piece = left.prefix(server.peerRoom)
            left = left.dropFirst(piece.count)
            scene.send(piece, by: server)
        }
        scene.proxy.drain(now: scene.simulation.now)
        var got = ""
        for _ in 0..<5 {
            scene.pass(.seconds(5))
            got += scene.received(client)
        }
        #expect(got == answer)
        scene.pass(.seconds(3))
        #expect(client.proxyClosed && !client.proxyReset)
    }

    @Test func eachLineOfTheLogIsAnObject() throws {
        struct Line: Decodable {
            var method: String?
            var path: String?
            var authority: String?
            var status: Int
            var flags: String
            var details: String
            var durationUs: Int
            var requestBytes: Int
            var responseBytes: Int
            var attempts: Int
            var client: String
            var cluster: String?
            var upstream: String?
        }
        var configuration = Scene.configuration(accessLog: true)
        configuration.clusters[0].name = "c\"\\\u{e9}\n"
        configuration.routes = [.init(path: .prefix("/a"), cluster: configuration.clusters[0].name)]
        let scene = Scene(configuration)
        let client = scene.client()
        scene.send(
            "PUT /a/\"\\?q HTTP/1.1\r\nHost: a:80\r\nContent-Length: 3\r\n\r\nabc", by: client)
        scene.pass(.milliseconds(7))
        scene.send(okAnswer, by: scene.servers[0])
        scene.send("GET /none HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        scene.send("GET /a HTTP/1.1\r\nHost: a\r\nb : c\r\n\r\n", by: client)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let lines = try scene.simulation.logLines.map {
            try decoder.decode(Line.self, from: Data($0.utf8))
        }
        #expect(lines.count == 3)
        #expect(lines.map(\.status) == [200, 404, 400])
        #expect(lines.map(\.flags) == ["", "NR", "DPE"])
        #expect(
            lines.map(\.details) == [
                "via_upstream", "route_not_found", "codec_error{space_before_colon}",
            ])
        #expect(lines.map(\.method) == ["PUT", "GET", nil])
        #expect(lines[0].path == "/a/\"\\?q")
        #expect(lines[0].authority == "a:80")
        #expect(lines[0].durationUs == 7000)
        #expect(lines[0].requestBytes == 3)
        #expect(lines[0].responseBytes == 2)
        #expect(lines.map(\.attempts) == [1, 0, 0])
        #expect(lines[0].client == "192.0.2.1")
        #expect(lines[0].cluster == configuration.clusters[0].name)
        #expect(lines[0].upstream == "127.0.0.1:1")
        #expect(lines[2].upstream == nil)
    }

    // MARK: Much data

    @Test func aSourceIsNotReadWhileItsSinkIsFull() {
        let scene = Scene()
        scene.simulation.socketCapacity = 1 << 16
        let (client, server) = scene.get()
        scene.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n", by: server)
        var pushed = 0
        for _ in 0..<100 {
            let room = server.peerRoom
            scene.send([UInt8](repeating: 7, count: room), by: server)
            pushed += room
        }
        #expect(server.peerRoom == 0)
        #expect(scene.proxy.buffersInUse <= OutputQueue.capacity + 1)
        #expect(pushed < 7 * Proxy.bufferSize)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 OK\r\n"))
        scene.pass(.zero)
        #expect(server.peerRoom > 0, "read on as soon as the client has read")
    }

    /// A GiB in either direction at once, through a worker that never holds more than a few
    /// buffers.
    @Test func aGibibyteGoesThroughInConstantMemory() throws {
        let proxy = Proxy(Scene.configuration(connections: 8), random: SeededRandom(seed: 1))
        let now = Instant(nanoseconds: 1)
        let client = try #require(Array("c".utf8).withBytes { proxy.accept(client: $0, now: now) })
        let total = 1 << 30
        var peak = 0
        func settle() -> Int {
            var sent = 0
            while let effect = proxy.nextEffect() {
                guard case .flush(let slot) = effect else { continue }
                while proxy.isOpen(slot), !proxy.isConnecting(slot), proxy.outputCount(slot) > 0 {
                    let count = proxy.output(slot, 0).count
                    sent += count
                    proxy.sent(slot, count, now: now)
                }
            }
            peak = max(peak, proxy.buffersInUse)
            return sent
        }
        func receive(_ slot: Int, _ bytes: [UInt8]) {
            guard let space = unsafe proxy.space(slot) else {
                Issue.record("no room")
                return
            }
            unsafe space.copyBytes(from: bytes)
            proxy.received(slot, bytes.count, now: now)
        }
        let head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \(total)\r\n\r\n"
        receive(client, Array(head.utf8))
        guard case .connect(let server, _)? = proxy.nextEffect() else {
            Issue.record("no connection was asked for")
            return
        }
        proxy.connected(server, now: now)
        var sent = settle()
        receive(server, Array("HTTP/1.1 200 OK\r\nContent-Length: \(total)\r\n\r\n".utf8))
        sent += settle()
        var rest = [client: total, server: total]
        while rest.values.contains(where: { $0 > 0 }) {
            for slot in [client, server] {
                let left = rest[slot] ?? 0
                guard left > 0, let space = unsafe proxy.space(slot) else { continue }
                let count = min(space.count, left)
                proxy.received(slot, count, now: now)
                rest[slot] = left - count
                sent += settle()
            }
        }
        #expect(sent > 2 * total)
        #expect(peak <= 4)
        #expect(proxy.buffersInUse == 0)
        #expect(proxy.counters[.requestsCompleted] == 1)
    }

    @Test func connectionsWithoutABufferGoOnWhenOneIsFree() {
        // Thirty bodies that nobody takes want four buffers each; 80 are left for them.
        let scene = Scene(Scene.configuration(maxConnections: 64, connections: 80))
        scene.simulation.hasPipes = false
        // They are nobody's, which the check of invariants would take for a leak.
        scene.simulation.checksInvariants = false
        let taken = (0..<40).compactMap { _ in scene.proxy.pool.take() }
        let size = 1 << 19
        let clients = (0..<30).map { _ in scene.client() }
        for client in clients {
            scene.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n", by: client)
        }
        for client in clients { scene.send([UInt8](repeating: 7, count: size), by: client) }
        #expect(scene.proxy.counters[.buffersExhausted] > 0)
        #expect(scene.proxy.starved.count <= 30)
        #expect(scene.proxy.buffersInUse == 80 + taken.count)
        var got = 0
        for _ in 0..<60 {
            for server in scene.servers {
                got += server.peerRead(.max).count { $0 == 7 }
                scene.pass(.zero)
            }
        }
        #expect(got == 30 * size)
        for server in scene.servers { scene.send(okAnswer, by: server) }
        for client in clients { #expect(scene.received(client) == okAnswer) }
        #expect(scene.proxy.buffersInUse == taken.count)
        for buffer in taken { scene.proxy.pool.give(buffer) }
    }
}
