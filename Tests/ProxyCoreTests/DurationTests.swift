import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// How long exchanges, attempts and connections last at most, by the clock of the simulation.
@Suite struct DurationTests {
    private func scene(
        retry: RetryPolicy? = nil, change: (inout ProxyConfiguration) -> Void
    ) -> Scene {
        var configuration = Scene.configuration(accessLog: true)
        configuration.clusters[0].retry = retry
        change(&configuration)
        return Scene(configuration)
    }

    private func line(_ scene: Scene) -> String { scene.simulation.logLines.last ?? "" }

    private func rests(_ scene: Scene, _ clients: [SimulatedSocket]) {
        for client in clients where !client.peerClosed { scene.close(client, reset: true) }
        for server in scene.servers where !server.proxyClosed && !server.peerClosed {
            scene.close(server, reset: true)
        }
        scene.pass(.seconds(10))
        #expect(scene.proxy.openConnections == 0 && scene.proxy.buffersInUse == 0)
        #expect(scene.proxy.nextDeadline == nil)
    }

    // MARK: Idle

    /// Whoever waits for the request's rest is told 408, whoever has it all 504 (Envoy).
    @Test(arguments: [true, false]) func aStreamOnWhichNothingMoves(_ isWhole: Bool) {
        let scene = scene {
            $0.timeouts.request = .zero
            $0.clusters[0].streamIdleTimeout = .seconds(3)
        }
        let client = scene.client()
        scene.send(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\(isWhole ? "abcd" : "ab")",
            by: client)
        scene.pass(.milliseconds(2900))
        #expect(scene.received(client).isEmpty)
        scene.pass(.milliseconds(200))
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 \(isWhole ? 504 : 408) "))
        #expect(answer.contains("x-response-flags: SI\r\n"))
        #expect(line(scene).contains("\"decided_by\":\"timeout.stream_idle\""))
        rests(scene, [client])
    }

    /// What moves in time may take as long as it likes.
    @Test func aByteBeginsTheIdleTimeAnew() {
        let scene = scene {
            $0.timeouts.request = .zero
            $0.timeouts.streamIdle = .seconds(3)
        }
        let (client, server) = scene.get()
        scene.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", by: server)
        for _ in 0..<10 {
            scene.pass(.seconds(2))
            scene.send("x", by: server)
        }
        #expect(scene.received(client).hasSuffix("xxxxxxxxxx"))
        scene.pass(.milliseconds(3100))
        #expect(client.proxyClosed || client.proxyEnded)
        #expect(scene.proxy.counters[.SI] == 1)
        rests(scene, [client])
    }

    // MARK: Streams

    @Test(arguments: [true, false]) func anExchangeThatLastsTooLong(_ isWhole: Bool) {
        let scene = scene {
            $0.timeouts.request = .zero
            $0.timeouts.maxStream = .seconds(5)
        }
        let client = scene.client()
        scene.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na", by: client)
        for _ in 0..<4 {
            scene.pass(.milliseconds(1200))
            scene.send(isWhole ? "bc" : "b", by: client)
        }
        #expect(scene.received(client).isEmpty)
        scene.pass(.milliseconds(300))
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 \(isWhole ? 504 : 408) "))
        #expect(answer.contains("x-response-flags: DT\r\n"))
        #expect(answer.hasSuffix("max_duration_timeout\n"))
        #expect(line(scene).contains("\"decided_by\":\"timeout.duration\""))
        #expect(scene.proxy.counters[.streamDurations] == 1)
        rests(scene, [client])
    }

    /// Its time is over too while it waits in the queue, or for its retry.
    @Test func aRequestThatWaitsTooLong() {
        let scene = scene(
            retry: RetryPolicy(
                on: [.serverError], most: 9, backoff: .init(base: .seconds(60), most: .seconds(60)))
        ) {
            $0.timeouts.request = .zero
            $0.timeouts.maxStream = .seconds(5)
            $0.clusters[0].breaker.standard.connections = 1
        }
        let (first, server) = scene.get()
        let second = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: second)
        scene.pass(.milliseconds(5100))
        for client in [first, second] {
            #expect(scene.received(client).contains("x-response-flags: DT\r\n"))
        }
        #expect(server.proxyClosed)
        let third = scene.get()
        scene.send("HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n", by: third.server)
        scene.pass(.milliseconds(5100))
        #expect(scene.received(third.client).contains("max_duration_timeout"))
        rests(scene, [first, second, third.client])
    }

    /// An attempt's time begins with its connection; on `reset` it is tried again.
    @Test(arguments: [0, 1, 2]) func anAttemptThatLastsTooLong(_ retries: Int) {
        let scene = scene(
            retry: retries > 0 ? RetryPolicy(on: [.reset], most: retries) : nil
        ) {
            $0.timeouts.request = .zero
            $0.clusters[0].maxStreamDuration = .seconds(2)
        }
        let client = scene.get().client
        for attempt in 0...retries {
            #expect(scene.servers.count == attempt + 1)
            scene.pass(.milliseconds(2300))
        }
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 504 "))
        #expect(answer.contains("UMSDR"))
        #expect(answer.hasSuffix("upstream_max_stream_duration_reached\n"))
        #expect(scene.proxy.counters[.attemptDurations] == UInt64(retries + 1))
        #expect(scene.proxy.counters[.retries] == UInt64(retries))
        rests(scene, [client])
    }

    /// Behind an answer that has begun only the end of the connection can tell.
    @Test func anAnswerThatLastsTooLongIsCut() {
        let scene = scene {
            $0.timeouts.request = .zero
            $0.clusters[0].maxStreamDuration = .seconds(2)
        }
        let (client, server) = scene.get()
        scene.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc", by: server)
        scene.pass(.milliseconds(2100))
        #expect(scene.received(client).hasSuffix("abc"))
        #expect(client.proxyClosed || client.proxyEnded)
        #expect(scene.proxy.counters[.UMSDR] == 1)
        rests(scene, [client])
    }

    /// A tunnel that is closed for its time says so, whatever it began as; one that a side leaves
    /// ends in order.
    @Test(
        arguments: [
            ("DT", "max_duration_timeout", "timeout.duration"),
            ("UMSDR", "upstream_max_stream_duration_reached", "timeout.duration"),
            ("SI", "stream_idle_timeout{idle_timeout}", "timeout.stream_idle"),
            ("", "via_upstream", ""),
        ])
    func anUpgradedTunnelSaysWhyItEnds(_ flag: String, _ detail: String, _ decision: String) {
        let scene = scene {
            $0.timeouts.request = .zero
            if flag == "DT" { $0.timeouts.maxStream = .seconds(5) }
            if flag == "UMSDR" { $0.clusters[0].maxStreamDuration = .seconds(5) }
            if flag == "SI" { $0.timeouts.streamIdle = .seconds(5) }
        }
        let client = scene.client()
        let fields = "connection: upgrade\r\nupgrade: websocket\r\n\r\n"
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(fields)", by: client)
        scene.send("HTTP/1.1 101 Switching Protocols\r\n\(fields)", by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 101 "))
        scene.pass(.milliseconds(4900))
        #expect(scene.simulation.logLines.isEmpty)
        if flag.isEmpty { scene.close(client, reset: true) }
        scene.pass(.milliseconds(300))
        #expect(scene.simulation.logLines.count == 1)
        #expect(line(scene).contains("\"status\":101,\"flags\":\"\(flag)\""), "\(line(scene))")
        #expect(line(scene).contains("\"details\":\"\(detail)\""), "\(line(scene))")
        #expect(line(scene).contains("\"decided_by\":\"\(decision)\""), "\(line(scene))")
        rests(scene, [client])
    }

    // MARK: What trusted clients say

    /// The fields of times mean the same in every order: what is left of the caller's time bounds
    /// what it asks for, and an attempt's time that is no shorter says nothing.
    @Test func fieldsOfTimesMeanTheSameInEveryOrder() {
        let fields = [
            "x-envoy-upstream-rq-timeout-ms: 5000\r\n", "x-envoy-expected-rq-timeout-ms: 2000\r\n",
            "x-envoy-upstream-rq-per-try-timeout-ms: 3000\r\n",
        ]
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let scene = scene { $0.listeners[0].trustsHeaders = true }
            let client = scene.client()
            let lines = order.map { fields[$0] }.joined()
            scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n", by: client)
            scene.pass(.milliseconds(1900))
            #expect(scene.received(client).isEmpty, "\(order)")
            scene.pass(.milliseconds(200))
            #expect(scene.received(client).hasPrefix("HTTP/1.1 504 "), "\(order)")
            #expect(scene.proxy.counters[.perTryTimeouts] == 0)
            rests(scene, [client])
        }
    }

    /// 204 in place of 504, for the request's time and for the last attempt's.
    @Test(arguments: [true, false], [true, false])
    func aTimeoutMayBeAnswered204(_ isTrusted: Bool, _ perTry: Bool) {
        let scene = scene { $0.listeners[0].trustsHeaders = isTrusted }
        let client = scene.client()
        let fields =
            "x-envoy-upstream-rq-timeout-alt-response: 1\r\n"
            + (perTry ? "x-envoy-upstream-rq-per-try-timeout-ms: 1000\r\n" : "")
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n", by: client)
        #expect(!scene.received(scene.servers[0]).contains("alt-response"))
        scene.pass(.seconds(16))
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 \(isTrusted ? 204 : 504) "))
        #expect(answer.contains("x-response-flags: UT\r\n"))
        #expect(scene.proxy.counters[.perTryTimeouts] == (isTrusted && perTry ? 1 : 0))
        rests(scene, [client])
    }

    // MARK: Connections

    /// A client's connection that is old is told with its next answer; one that is idle closes.
    @Test func clientsConnectionsAreDrained() {
        let scene = scene { $0.timeouts.maxConnection = .seconds(5) }
        let (busy, server) = scene.get()
        let idle = scene.get()
        scene.send(okAnswer, by: idle.server)
        #expect(!scene.received(idle.client).contains("connection: close"))
        scene.pass(.milliseconds(5100))
        #expect(!busy.proxyEnded)
        scene.pass(.seconds(3))
        #expect(idle.client.proxyEnded || idle.client.proxyClosed)
        scene.send(okAnswer, by: server)
        let answer = scene.received(busy)
        #expect(answer.contains("connection: close\r\n") && answer.hasSuffix("ok"))
        #expect(busy.proxyEnded)
        #expect(scene.proxy.counters[.connectionDurations] == 2)
        rests(scene, [busy, idle.client])
    }

    /// An upstream's connection takes no request behind its time, and loses none.
    @Test func upstreamsConnectionsAreDrained() {
        let scene = scene { $0.clusters[0].maxConnectionDuration = .seconds(5) }
        let (client, server) = scene.get()
        scene.pass(.milliseconds(5100))
        scene.send(okAnswer, by: server)
        #expect(scene.received(client).hasSuffix("ok") && server.proxyClosed)
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        #expect(scene.servers.count == 2)
        scene.send(okAnswer, by: scene.servers[1])
        #expect(!scene.servers[1].proxyClosed)
        scene.pass(.milliseconds(5100))
        #expect(scene.servers[1].proxyClosed)
        #expect(scene.proxy.counters[.connectionDurations] == 2)
        rests(scene, [client])
    }

    @Test func connectionsServeSoManyRequests() {
        let scene = scene {
            $0.clusters[0].requestsPerConnection = 2
            $0.limits.requestsPerConnection = 3
        }
        let client = scene.client()
        for number in 1...3 {
            scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
            scene.send(okAnswer, by: scene.servers[scene.servers.count - 1])
            let answer = scene.received(client)
            #expect(answer.hasSuffix("ok"))
            #expect(answer.contains("connection: close") == (number == 3))
        }
        #expect(scene.servers.count == 2 && scene.servers[0].proxyClosed)
        #expect(client.proxyEnded)
        rests(scene, [client])
    }

    /// Over HTTP/2 both sides say GOAWAY, and what was begun ends in order.
    @Test(arguments: [true, false]) func sessionsAreDrained(_ byCount: Bool) {
        var configuration = Scene.configuration()
        if byCount {
            configuration.limits.requestsPerConnection = 2
            configuration.clusters[0].requestsPerConnection = 2
        } else {
            configuration.timeouts.maxConnection = .seconds(5)
            configuration.clusters[0].maxConnectionDuration = .seconds(5)
        }
        let scene = HTTP2Scene(.http2, configuration)
        var held: [(HTTP2Peer, HTTP2Peer.Stream)] = []
        scene.onEnd = { held.append(($0, $1)) }
        let client = scene.client()
        let streams = (0..<2).map { _ in client.peer.request(requestFields()) }
        scene.pass()
        #expect(scene.servers.count == 1 && held.count == 2)
        if !byCount { scene.pass(.milliseconds(5100)) }
        // Others go elsewhere.
        let other = scene.client()
        let third = other.peer.request(requestFields())
        scene.pass()
        #expect(scene.servers.count == 2 && held.count == 3)
        for (peer, stream) in held { peer.answer(stream, answerFields(), body: Array("ok".utf8)) }
        scene.pass(.seconds(3))
        for stream in streams + [third] {
            #expect(stream?.status == 200 && stream?.isWhole == true)
        }
        #expect(client.peer.goaways.contains(.noError) && client.hasEnded)
        #expect(scene.servers[0].peer.goaways == [.noError] && scene.servers[0].hasEnded)
        #expect(!scene.servers[1].hasEnded || !byCount)
        other.closesWhenDone = true
        #expect(scene.remains() == nil)
    }
}
