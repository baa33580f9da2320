import Base
import Model
import Testing

@testable import ProxyCore

/// What interim answers settle, and what they leave open.
@Suite struct InterimTests {
    private static let hints = "HTTP/1.1 103 Early Hints\r\n\r\n"
    private static let failure = "HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nno"

    /// A client of HTTP/1.0, who is passed no interim answer.
    private static func old(_ scene: Scene) -> SimulatedSocket {
        let client = scene.client()
        scene.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n", by: client)
        return client
    }

    /// An answer has begun: the attempt's time says nothing any more, as in Envoy
    /// (`UpstreamRequest::onPerTryTimeout`), and the request's does.
    @Test(arguments: [false, true]) func oneThatIsPassedOnEndsTheAttemptsTime(_ isOld: Bool) {
        let scene = RetryTests.scene(
            RetryPolicy(on: [], perTry: .milliseconds(100)),
            timeouts: .init(request: .milliseconds(500)))
        let client = isOld ? Self.old(scene) : scene.get().client
        scene.send(Self.hints, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 103 ") == !isOld)
        scene.pass(.milliseconds(100))
        #expect(scene.received(client).hasPrefix("HTTP/1.1 504 ") == isOld)
        scene.pass(.milliseconds(400))
        #expect(scene.received(client).hasPrefix("HTTP/1.1 504 ") == !isOld)
        let decision = isOld ? "timeout.per_try" : "timeout.request"
        #expect(scene.simulation.logLines.last?.contains(decision) == true)
    }

    /// Whoever has seen nothing may still get the answer of another attempt.
    @Test func oneThatIsNotPassedOnLeavesRetries() {
        let scene = RetryTests.scene(RetryPolicy(on: [.serverError]))
        let client = Self.old(scene)
        scene.send(Self.hints, by: scene.servers[0])
        scene.send(Self.failure, by: scene.servers[0])
        scene.pass(.milliseconds(26))
        #expect(scene.received(client).isEmpty && scene.proxy.counters[.retries] == 1)
        let server = scene.servers[scene.servers.count - 1]
        #expect(scene.received(server).contains("x-envoy-attempt-count: 2"))
        scene.send(okAnswer, by: server)
        let received = scene.received(client)
        #expect(received.hasPrefix("HTTP/1.1 200 ") && !received.contains(" 103 "))
    }

    /// Nor does it end the attempts beside it.
    @Test(arguments: [0, 1]) func oneThatIsNotPassedOnEndsNoHedge(_ hinting: Int) {
        let scene = RetryTests.scene(
            RetryPolicy(on: [.serverError], perTry: .milliseconds(100), hedges: true),
            timeouts: .init(request: .seconds(2)))
        let client = Self.old(scene)
        scene.pass(.milliseconds(126))
        #expect(scene.servers.count == 2)
        scene.send(Self.hints, by: scene.servers[hinting])
        #expect(scene.servers.allSatisfy { !$0.proxyClosed })
        scene.send(okAnswer, by: scene.servers[1 - hinting])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 "))
        #expect(scene.servers[hinting].proxyReset)
        #expect(scene.proxy.breakers[0].count(.retries, 0) == 0)
    }
}
