import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Requests that wait for a connection: what one event does for them, and that they keep their
/// order and their places for as long as they wait.
@Suite struct QueueOrderTests {
    private func configuration(
        _ limits: BreakerPolicy.Limits, high: BreakerPolicy.Limits = .init(), strict: Bool = false
    ) -> ProxyConfiguration {
        var configuration = Scene.configuration(
            endpoints: ["127.0.0.1:1", "127.0.0.1:2"], connections: 256)
        for i in 0..<2 {
            configuration.clusters[0].endpoints[i].labels = ["version": "\(i + 1)"]
        }
        configuration.clusters[0].balance.subsets = [.init(label: "version", header: "x-version")]
        configuration.clusters[0].breaker = .init(standard: limits, high: high, isStrict: strict)
        var important = ProxyConfiguration.Route(path: .prefix("/high"), cluster: "c")
        important.priority = .high
        configuration.routes.insert(important, at: 0)
        return configuration
    }

    private func ask(_ path: String, _ scene: Scene, _ version: Int = 1) -> SimulatedSocket {
        let client = scene.client()
        scene.send("GET \(path) HTTP/1.1\r\nHost: a\r\nx-version: \(version)\r\n\r\n", by: client)
        return client
    }

    /// The path that a server is asked for, which it then answers; nil: it is asked for nothing.
    private func answer(_ server: SimulatedSocket, _ scene: Scene) -> String? {
        let asked = scene.received(server)
        guard !asked.isEmpty else { return nil }
        scene.send(okAnswer, by: server)
        return String(asked.split(separator: " ")[1])
    }

    /// The path that the first of all servers with a request is asked for.
    private func next(_ scene: Scene) -> String? {
        for server in scene.servers {
            if let path = answer(server, scene) { return path }
        }
        return nil
    }

    /// Connections that are idle, but not for those that wait, are not looked at for each of them.
    @Test(arguments: [false, true]) func whoCannotBeServedIsNotLookedAt(_ strict: Bool) {
        let limits = BreakerPolicy.Limits(connections: 1, pending: 64)
        let scene = Scene(
            configuration(limits, high: .init(connections: 200), strict: strict))
        let important = (0..<30).map { ask("/high/\($0)", scene) }
        for server in scene.servers { _ = answer(server, scene) }
        #expect(important.allSatisfy { scene.received($0) == okAnswer })
        let clients = (0..<30).map { ask("/\($0)", scene) }
        #expect(scene.servers.count <= 31 && scene.proxy.waiting(0, 0) == 29)
        let before = scene.proxy.counters[.connectionOverflow]
        var served: [String] = []
        while let path = next(scene) { served.append(path) }
        #expect(served == (0..<30).map { "/\($0)" })
        #expect(clients.allSatisfy { scene.received($0) == okAnswer })
        #expect(scene.proxy.counters[.connectionOverflow] == before)
        #expect(scene.proxy.breakers[0].count(.pending, 0) == 0)
    }

    /// Who may not go where a connection has become free keeps its place before those that came
    /// later: of HTTP/1.1.
    @Test func whoIsPassedOverKeepsItsPlace() {
        let scene = Scene(configuration(.init(connections: 1, pending: 8)))
        // The second endpoint may have a connection beyond the limit.
        for (path, version) in [("/a", 1), ("/b", 2), ("/1", 1), ("/2", 1), ("/3", 2), ("/4", 1)] {
            _ = ask(path, scene, version)
        }
        #expect(scene.servers.count == 2 && scene.proxy.waiting(0, 0) == 4)
        #expect(answer(scene.servers[1], scene) == "/b")
        #expect(answer(scene.servers[1], scene) == "/3" && scene.proxy.waiting(0, 0) == 3)
        #expect((0..<4).map { _ in answer(scene.servers[0], scene) } == ["/a", "/1", "/2", "/4"])
        #expect(scene.servers.count == 2 && scene.proxy.breakers[0].count(.pending, 0) == 0)
    }

    /// And of HTTP/2.
    @Test func aStreamThatIsPassedOverKeepsItsPlace() {
        let scene = HTTP2Scene(.http2, configuration(.init(connections: 1, pending: 8)))
        scene.serverStreams = 1
        var seen: [(peer: HTTP2Peer, stream: HTTP2Peer.Stream)] = []
        scene.onEnd = { seen.append(($0, $1)) }
        let client = scene.client()
        let order = [("/a", 1), ("/b", 2), ("/1", 1), ("/2", 1), ("/3", 2), ("/4", 1)]
        let streams = order.map { path, version in
            let stream = client.peer.request(
                requestFields("GET", path, [("x-version", "\(version)")]))
            scene.pass()
            return stream
        }
        #expect(scene.servers.count == 2 && scene.proxy.waiting(0, 0) == 4)
        for path in ["/b", "/3", "/a", "/1", "/2", "/4"] {
            guard let next = seen.first(where: { $0.stream[":path"] == path }) else {
                Issue.record("\(path) is not there in its turn")
                return
            }
            next.peer.answer(next.stream, answerFields())
            scene.pass()
        }
        #expect(streams.allSatisfy { $0?.status == 200 })
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    /// Who has been let in is not turned away since other workers have all places by then.
    @Test(arguments: [ProxyConfiguration.Cluster.Speech.http1, .http2])
    func whoWaitsKeepsItsPlaceAmongThose(_ speech: ProxyConfiguration.Cluster.Speech) {
        var configuration = configuration(.init(connections: 1, pending: 8), strict: true)
        configuration.clusters[0].endpoints.removeLast()
        configuration.clusters[0].balance.subsets = []
        let scene = HTTP2Scene(speech, configuration)
        scene.serverStreams = 1
        let clients = (0..<2).map { _ in
            let client = scene.rawClient()
            scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
            return client
        }
        #expect(scene.proxy.waiting(0, 0) == 1)
        // As if others had taken its place the moment that it was let go.
        scene.proxy.sharedBreakers[0]?.add(.pending, 0, 8)
        if speech == .http1 {
            scene.send(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
                by: scene.rawServers[0])
            #expect(scene.rawServers.count == 2)
            if scene.rawServers.count == 2 { scene.send(okAnswer, by: scene.rawServers[1]) }
        } else {
            scene.onEnd = { peer, stream in peer.answer(stream, answerFields()) }
            let server = scene.servers[0].peer
            server.submitGoaway(.noError)
            scene.pass()
            if let stream = server.streams[1] { server.answer(stream, answerFields()) }
            scene.pass()
            #expect(scene.servers.count == 2)
        }
        #expect(clients.allSatisfy { scene.received($0).hasPrefix("HTTP/1.1 200 ") })
        #expect(scene.proxy.sharedBreakers[0]?.count(.pending, 0) == 8)
        scene.proxy.sharedBreakers[0]?.add(.pending, 0, -8)
        #expect(scene.remains() == nil)
    }
}
