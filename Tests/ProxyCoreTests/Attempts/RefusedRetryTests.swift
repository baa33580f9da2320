import Base
import Model
import Support
import Testing

@testable import ProxyCore
@testable import Wire

/// Streams that an upstream has refused, where a retry policy holds too.
@Suite struct RefusedRetryTests {
    /// A policy has no retry left: the request is sent once more all the same, as no upstream has
    /// looked at it (RFC 9113, 8.7), and nothing of that denial is told with the answer.
    @Test func whatAPolicyDeniesIsNotTold() {
        var configuration = Scene.configuration(maxConnections: 8, maxPending: 8, accessLog: true)
        configuration.clusters[0].retry = RetryPolicy(on: [.refusedStream], most: 0)
        let scene = HTTP2Scene(.http2, configuration)
        scene.onHead = { peer, stream in
            if peer === scene.servers[0].peer { peer.reset(stream.number, .refusedStream) }
        }
        scene.onEnd = { peer, stream in
            guard peer !== scene.servers[0].peer else { return }
            peer.answer(stream, answerFields(200))
        }
        let client = scene.client()
        let stream = client.peer.request(requestFields("GET", "/"))
        scene.pass(.milliseconds(20))
        #expect(stream?.status == 200)
        #expect(scene.proxy.counters[ResponseFlag.URX] == 0)
        #expect(scene.proxy.counters[.refusedRetries] == 1)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }
}
