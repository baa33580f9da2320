import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Heads that answer what was not asked: they fail the attempt that they came to, and no other.
@Suite struct UnaskedAnswerTests {
    private let switching = "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"

    private func errors(_ proxy: Proxy, _ address: String) -> Int? {
        proxy.counts.lines[.host("c", address)].map { Int($0[HostCount.errors]) }
    }

    private func policy(_ on: [RetryPolicy.Condition], most: Int) -> RetryPolicy {
        RetryPolicy(
            on: on, most: most, perTry: .milliseconds(100), includesUnsafe: true, hedges: true)
    }

    /// Of two attempts one is answered so, the first or the second: the other is awaited.
    @Test(arguments: [0, 1]) func theOtherAttemptIsAwaited(_ bad: Int) {
        let scene = RetryTests.scene(
            policy([.gatewayError], most: 1), endpoints: ["127.0.0.1:1", "127.0.0.1:2"])
        let client = scene.get().client
        scene.pass(.milliseconds(126))
        #expect(scene.servers.count == 2)
        scene.send(switching, by: scene.servers[bad])
        #expect(scene.received(client).isEmpty && scene.servers[bad].proxyReset)
        #expect(!scene.servers[1 - bad].proxyClosed)
        scene.send(okAnswer, by: scene.servers[1 - bad])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
        #expect(errors(scene.proxy, scene.addresses[bad]) == 1)
        #expect(errors(scene.proxy, scene.addresses[1 - bad]) == 0)
        #expect(scene.proxy.counters[.protocolErrors] == 1)
    }

    /// It is a failure like a head that cannot be read: it is tried again, and at last answered.
    @Test func itIsTriedAgain() {
        let scene = RetryTests.scene(policy([.reset], most: 1))
        let client = scene.get().client
        scene.send(switching, by: scene.servers[0])
        #expect(scene.received(client).isEmpty)
        scene.pass(.milliseconds(26))
        #expect(scene.servers.count == 2)
        scene.send(switching, by: scene.servers[1])
        let received = scene.received(client)
        #expect(received.hasPrefix("HTTP/1.1 502 ") && received.contains("UPE,URX"))
        #expect(received.contains("unasked_upgrade"))
    }

    /// A yes to an extended CONNECT as if it had been an ordinary request.
    @Test func aRefusedUpgradeIsTriedAgain() {
        var configuration = Scene.configuration()
        configuration.clusters[0].retry = policy([.reset], most: 1)
        let scene = HTTP2Scene(.http1, configuration)
        let client = scene.client()
        let fields: Fields = [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
            (":authority", "a"), (":path", "/chat"), ("sec-websocket-version", "13"),
        ]
        let stream = client.peer.request(fields, ends: false)
        scene.pass()
        scene.send(okAnswer, by: scene.rawServers[0])
        #expect(stream?.status == nil)
        scene.pass(.milliseconds(26))
        #expect(scene.rawServers.count == 2)
        scene.send(okAnswer, by: scene.rawServers[1])
        #expect(stream?.status == 502 && stream?["x-response-flags"] == "UPE,URX")
        client.socket.peerClose(reset: true)
        #expect(scene.remains() == nil)
    }
}
