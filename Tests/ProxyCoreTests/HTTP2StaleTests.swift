import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Pooled connections of HTTP/2 that turn out to have been closed as a request goes on them.
@Suite struct HTTP2StaleTests {
    /// How far the request's head has come when the end of its connection is found.
    enum Progress: CaseIterable { case queued, made, sent }

    /// Nobody can have seen what has not left this process: it is sent once more, whatever it is.
    /// Of the rest nobody knows.
    @Test(arguments: Progress.allCases, ["GET", "POST"])
    func whatHasNotLeftIsSentOnceMore(_ progress: Progress, _ method: String) {
        let scene = HTTP2Scene(.http2, Scene.configuration(maxConnections: 1, accessLog: true))
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(), body: stream.body) }
        let client = scene.rawClient()
        let request =
            "\(method) / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"
        scene.send(request, by: client)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 "))
        let (server, now) = (scene.servers[0], scene.simulation.now)
        server.isDone = true
        // In one turn, of which the simulation knows nothing: the request, then the end.
        guard let space = unsafe scene.proxy.space(client.slot) else { return }
        unsafe space.copyBytes(from: Array(request.utf8))
        scene.proxy.received(client.slot, request.utf8.count, now: now)
        if progress != .queued { scene.proxy.flushSessions(now: now) }
        if progress == .sent { scene.pass() }
        server.socket.peerClose(reset: true)
        if progress != .sent { scene.proxy.failed(server.socket.slot, now: now) }
        scene.pass(.milliseconds(10))
        let received = scene.received(client)
        if progress == .sent {
            #expect(received.hasPrefix("HTTP/1.1 503 ") && received.contains("flags: UC\r\n"))
        } else {
            #expect(received.hasPrefix("HTTP/1.1 200 ") && received.contains("abc"))
            #expect(scene.simulation.logLines.last?.contains("\"attempts\":2,") == true)
        }
        #expect(scene.servers.count == (progress == .sent ? 1 : 2))
        #expect(scene.proxy.counters[.staleRetries] == (progress == .sent ? 0 : 1))
        #expect(scene.proxy.breakers[0].count(.requests, 0) == 0)
        #expect(scene.remains() == nil)
    }

    /// So a policy need not ask whether it may be repeated.
    @Test func aPolicySendsWhatNobodyHasSeen() {
        var configuration = Scene.configuration(accessLog: true)
        configuration.clusters[0].retry = RetryPolicy(on: [.reset])
        let scene = HTTP2Scene(.http2, configuration)
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields()) }
        let client = scene.rawClient()
        let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
        // Its first connection, which nothing has come from.
        scene.pausesServers = true
        scene.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n", by: client)
        scene.pass()
        let server = scene.servers[0]
        server.isDone = true
        let other = scene.rawClient()
        guard let space = unsafe scene.proxy.space(other.slot) else { return }
        unsafe space.copyBytes(from: Array(request.utf8))
        let now = scene.simulation.now
        scene.proxy.received(other.slot, request.utf8.count, now: now)
        server.socket.peerClose(reset: true)
        scene.pausesServers = false
        scene.proxy.failed(server.socket.slot, now: now)
        scene.pass(.milliseconds(60))
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 "))
        #expect(scene.received(other).hasPrefix("HTTP/1.1 200 "))
        #expect(scene.proxy.counters[.retries] == 2)
        #expect(scene.proxy.counters[.staleRetries] == 0)
        #expect(scene.remains() == nil)
    }
}
