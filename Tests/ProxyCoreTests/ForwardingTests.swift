import Base
import Model
import Support
import Testing

@testable import ProxyCore

/// Clients of a `tcp` listener.
@Suite struct ForwardingTests {
    private static func scene(
        endpoints: [String] = ["127.0.0.1:1"], maxConnections: Int = 8, maxPending: Int = 8,
        timeouts: ProxyTimeouts = .init()
    ) -> Scene {
        Scene(
            Scene.configuration(
                endpoints: endpoints, maxConnections: maxConnections, maxPending: maxPending,
                accessLog: true, timeouts: timeouts, speech: .tcp))
    }

    private func log(_ scene: Scene, _ parts: String...) -> Bool {
        guard scene.simulation.logLines.count == 1, let line = scene.simulation.logLines.first
        else { return false }
        return parts.allSatisfy(line.contains)
    }

    private func isQuiet(_ scene: Scene) -> Bool {
        scene.proxy.openConnections == 0 && scene.proxy.buffersInUse == 0
            && scene.proxy.nextDeadline == nil
    }

    @Test func bytesPassBothWaysAndEachWayEndsByItself() {
        let scene = Self.scene()
        let client = scene.client()
        // The upstream is opened for the client that says nothing yet.
        let server = scene.servers[0]
        scene.send("hello", by: server)
        #expect(scene.received(client) == "hello")
        scene.send("GET / HTTP/1.1\r\n\r\n", by: client)
        #expect(scene.received(server) == "GET / HTTP/1.1\r\n\r\n")
        scene.end(client)
        #expect(server.proxyEnded && !server.proxyClosed)
        scene.send("still", by: server)
        #expect(scene.received(client) == "still")
        scene.end(server)
        #expect(client.proxyClosed && !client.proxyReset)
        #expect(server.proxyClosed && !server.proxyReset)
        #expect(
            log(
                scene, #""protocol":"TCP""#, #""flags":"""#, #""request_bytes":18"#,
                #""response_bytes":10"#, #""attempts":1"#, #""upstream":"127.0.0.1:1""#,
                #""cluster":"c""#, #""client":"192.0.2.1""#))
        #expect(scene.proxy.counters[.tcpConnections] == 1)
        #expect(scene.proxy.counters[.requestBytes] == 18)
        #expect(scene.proxy.counters[.responseBytes] == 10)
        #expect(scene.proxy.counters[.requestsTotal] == 0)
        #expect(isQuiet(scene))
    }

    @Test func whatIsSaidBeforeTheUpstreamIsOpenWaitsForIt() {
        let scene = Self.scene()
        scene.opening = .never
        scene.simulation.socketCapacity = 1 << 20
        let client = scene.client()
        let sent = SimulatedExchange.pattern(1, 1_000_000)
        scene.send(sent, by: client)
        scene.end(client)
        // No more than the queue holds is taken from the client.
        let taken = sent.count - client.inbound.count
        #expect(taken > 0 && taken <= 4 * Proxy.bufferSize)
        #expect(!scene.servers[0].proxyEnded)
        let server = scene.servers[0]
        server.opening = .open
        server.writable = true
        var got: [UInt8] = []
        while true {
            scene.pass(.zero)
            let piece = server.peerRead(100_000)
            if piece.isEmpty { break }
            got += piece
        }
        #expect(got == sent)
        #expect(server.proxyEnded)
        scene.end(server)
        #expect(isQuiet(scene))
    }

    @Test func anEndBeforeTheUpstreamIsOpenIsPassedOn() {
        let scene = Self.scene()
        scene.opening = .never
        let client = scene.client()
        scene.end(client)
        let server = scene.servers[0]
        #expect(!server.proxyEnded)
        server.opening = .open
        server.writable = true
        scene.pass(.zero)
        #expect(server.proxyEnded && !client.proxyEnded)
        scene.send("answer", by: server)
        scene.end(server)
        #expect(scene.received(client) == "answer")
        #expect(isQuiet(scene))
    }

    @Test func aSlowReaderStopsTheOtherSideAndNoMore() {
        let scene = Self.scene()
        scene.simulation.socketCapacity = 10_000
        let client = scene.client()
        let server = scene.servers[0]
        let sent = SimulatedExchange.pattern(1, 2_000_000)
        scene.send(sent, by: server)
        let held = sent.count - server.inbound.count
        #expect(held <= 4 * Proxy.bufferSize + 10_000)
        // The other direction goes on meanwhile.
        scene.send("ping", by: client)
        #expect(scene.received(server) == "ping")
        var got: [UInt8] = []
        while got.count < sent.count {
            got += client.peerRead(7000)
            scene.pass(.zero)
        }
        #expect(got == sent)
    }

    @Test func aRefusedConnectionResetsTheClient() {
        let scene = Self.scene()
        scene.opening = .refused
        let client = scene.client()
        scene.send("lost", by: client)
        #expect(client.proxyReset)
        #expect(
            log(
                scene, #""flags":"UF""#,
                #""details":"upstream_reset_before_response_started{connection_failure}""#))
        #expect(scene.proxy.counters[.UF] == 1)
        #expect(scene.proxy.counters[.upstreamConnectFailures] == 1)
        #expect(isQuiet(scene))
    }

    @Test func noOtherEndpointIsTried() {
        let scene = Self.scene(endpoints: ["127.0.0.1:1", "127.0.0.1:2"])
        scene.opening = .refused
        _ = scene.client()
        scene.pass(.zero)
        #expect(scene.addresses.count == 1)
        scene.opening = .open
        _ = scene.client()
        _ = scene.client()
        // In turn, from one by chance on.
        #expect(Set(scene.addresses[..<2]) == ["127.0.0.1:1", "127.0.0.1:2"])
        #expect(scene.addresses[2] == scene.addresses[0])
    }

    @Test func aConnectionThatTakesTooLongToOpenResetsTheClient() {
        let scene = Self.scene()
        scene.opening = .never
        let client = scene.client()
        scene.send("lost", by: client)
        scene.pass(.milliseconds(4999))
        #expect(!client.proxyClosed)
        scene.pass(.milliseconds(2))
        #expect(client.proxyReset)
        #expect(
            log(
                scene, #""flags":"UF""#,
                #""details":"upstream_reset_before_response_started{connection_timeout}""#))
        #expect(isQuiet(scene))
    }

    @Test func aClusterWithoutEndpointsResetsTheClient() {
        let scene = Self.scene(endpoints: [])
        let client = scene.client()
        scene.pass(.zero)
        #expect(client.proxyReset)
        #expect(log(scene, #""flags":"UH""#, #""upstream":null"#, #""attempts":0"#))
        #expect(isQuiet(scene))
    }

    @Test func silenceInBothDirectionsEndsATunnel() {
        let scene = Self.scene(timeouts: ProxyTimeouts(streamIdle: .seconds(10)))
        let client = scene.client()
        let server = scene.servers[0]
        scene.pass(.seconds(9))
        scene.send("a", by: client)
        scene.pass(.seconds(9))
        // Either direction keeps it.
        _ = scene.received(server)
        scene.send("b", by: server)
        scene.pass(.seconds(9))
        #expect(!client.proxyClosed)
        scene.pass(.seconds(2))
        #expect(client.proxyReset && server.proxyReset)
        #expect(log(scene, #""flags":"SI""#, #""details":"stream_idle_timeout{idle_timeout}""#))
        #expect(scene.proxy.counters[.idleTimeouts] == 1)
        #expect(isQuiet(scene))
    }

    @Test func aResetOfEitherSideIsPassedOn() {
        for byClient in [true, false] {
            let scene = Self.scene()
            let client = scene.client()
            let server = scene.servers[0]
            // Once both sides are open.
            scene.pass(.zero)
            scene.close(byClient ? client : server, reset: true)
            #expect(byClient ? server.proxyReset : client.proxyReset)
            #expect(log(scene, byClient ? #""flags":"DC""# : #""flags":"UC""#))
            #expect(isQuiet(scene))
        }
    }

    @Test func beyondMaxConnectionsClientsWaitAndBeyondMaxPendingTheyAreRefused() {
        let scene = Self.scene(maxConnections: 1, maxPending: 1)
        let first = scene.client()
        let second = scene.client()
        scene.send("patient", by: second)
        #expect(scene.servers.count == 1)
        let third = scene.client()
        scene.pass(.zero)
        #expect(third.proxyReset && !second.proxyClosed)
        #expect(
            log(
                scene, #""flags":"UO""#,
                #""details":"upstream_reset_before_response_started{overflow}""#))
        #expect(scene.proxy.counters[.pendingOverflow] == 1)
        scene.close(first)
        scene.close(scene.servers[0])
        #expect(scene.servers.count == 2)
        #expect(scene.received(scene.servers[1]) == "patient")
        scene.close(second)
        scene.close(scene.servers[1])
        #expect(isQuiet(scene))
    }

    @Test func whoWaitsTooLongIsRefused() {
        let scene = Self.scene(maxConnections: 1)
        _ = scene.client()
        let second = scene.client()
        scene.pass(.milliseconds(4999))
        #expect(!second.proxyClosed)
        scene.pass(.milliseconds(2))
        #expect(second.proxyReset)
        #expect(
            log(
                scene, #""flags":"UO""#,
                #""details":"upstream_reset_before_response_started{overflow|pending_timeout}""#))
    }

    @Test func whoLeavesWhileWaitingIsForgotten() {
        let scene = Self.scene(maxConnections: 1)
        let first = scene.client()
        let second = scene.client()
        scene.close(second, reset: true)
        #expect(log(scene, #""flags":"DC""#))
        scene.close(first)
        scene.close(scene.servers[0])
        #expect(scene.servers.count == 1)
        #expect(isQuiet(scene))
    }

    @Test func aDrainLeavesTunnelsTheirTime() {
        let scene = Self.scene()
        let client = scene.client()
        scene.proxy.drain(now: scene.simulation.now)
        scene.simulation.settle()
        scene.pass(.seconds(20))
        scene.send("on", by: client)
        #expect(scene.received(scene.servers[0]) == "on")
        #expect(scene.simulation.connect() == nil)
        scene.proxy.closeTunnels(now: scene.simulation.now)
        scene.simulation.settle()
        #expect(client.proxyReset)
        #expect(
            log(
                scene, #""details":"downstream_local_disconnect{drain_timeout}""#,
                #""request_bytes":2"#))
        #expect(isQuiet(scene))
    }

    @Test func aReloadSendsThoseWhoWaitToTheNewEndpoint() {
        let scene = Self.scene(maxConnections: 1)
        _ = scene.client()
        let second = scene.client()
        scene.send("x", by: second)
        scene.proxy.adopt(
            Scene.configuration(
                endpoints: ["127.0.0.1:9"], maxConnections: 1, accessLog: true, speech: .tcp),
            now: scene.simulation.now)
        scene.pass(.zero)
        #expect(scene.addresses == ["127.0.0.1:1", "127.0.0.1:9"])
        #expect(scene.received(scene.servers[1]) == "x")
        #expect(scene.proxy.counters[.tcpConnections] == 2)
    }
}
