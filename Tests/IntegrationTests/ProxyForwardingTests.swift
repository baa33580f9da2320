import Base
import Glibc
import Posix
import Support
import Testing

/// A `tcp` listener between real sockets.
@Suite struct ProxyForwardingTests {
    private static func proxy(
        to upstream: SocketAddress, cluster: String = "", _ more: String = ""
    ) throws -> RunningProxy {
        try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0", protocol: tcp, cluster: c}]
                clusters: [{name: c, endpoints: ["\(upstream)"]\(cluster)}]
                admin: 127.0.0.1:0
                access_log: "-"
                \(more)
                """)
    }

    /// Sends back what it is sent, when all of it has come.
    private static func echo() throws(SystemError) -> TestServer {
        try TestServer { call throws(WireFailure) in
            try call.connection.send(try call.connection.readToEnd())
        }
    }

    /// Sends so many MiB from a thread of its own.
    private static func send(_ blocks: Int, on connection: RawConnection, ends: Bool = false) {
        let socket = dup(connection.socket)
        let thread = try? Thread(name: "sender") {
            let sender = RawConnection(owning: socket)
            let block = [UInt8](repeating: 0x5A, count: 1 << 20)
            for _ in 0..<blocks { try? sender.send(block) }
            if ends { sender.endSending() }
        }
        thread?.detach()
    }

    @Test func eachWayEndsByItself() throws {
        let server = try Self.echo()
        let proxy = try Self.proxy(to: server.address)
        let client = try proxy.connect()
        try client.send("no protocol\n")
        client.endSending()
        #expect(try client.readToEnd() == Array("no protocol\n".utf8))
        let line = try proxy.nextLogLine()
        #expect(line.protocol == "TCP" && line.flags.isEmpty)
        #expect(line.details == "via_upstream")
        #expect(line.requestBytes == 12 && line.responseBytes == 12)
        #expect(line.client == "127.0.0.1" && line.cluster == "c")
        #expect(line.upstream == "\(server.address)")
        let stats = try proxy.stats()
        #expect(stats["meshbench_proxy_tcp_connections_total"] == 1)
        #expect(stats["meshbench_proxy_request_bytes_total"] == 12)
        #expect(stats["meshbench_proxy_response_bytes_total"] == 12)
        #expect(stats["meshbench_proxy_requests_total"] == 0)
        try proxy.wait(for: "downstream_connections") { $0 == 0 }
        try proxy.wait(for: "upstream_connections") { $0 == 0 }
    }

    /// 1 GiB each way at once, by a reader that is slower at first, and the proxy grows by no more
    /// than its buffers.
    @Test func largeStreamsTakeConstantMemory() throws {
        let size = 1 << 30
        let block = [UInt8](repeating: 0x5A, count: 1 << 20)
        let server = try TestServer { call throws(WireFailure) in
            // What comes is read only when half of the answer is out.
            for i in 0..<1024 {
                try call.connection.send(block)
                if i == 512 { _ = try call.connection.discard(size / 2) }
            }
            let rest = try call.connection.discard(size / 2)
            call.connection.endSending()
            guard rest == size / 2, call.connection.endsWithoutMore() else {
                throw .unexpected("\(rest) bytes")
            }
        }
        let proxy = try Self.proxy(to: server.address)
        let before = try #require(proxy.memory("VmHWM", in: "status"))
        let client = try proxy.connect()
        Self.send(1024, on: client, ends: true)
        // A slow start: nothing is read until much waits.
        _ = client.isReadable(within: .seconds(5))
        #expect(try client.discard() == size)
        let line = try proxy.nextLogLine()
        #expect(line.flags.isEmpty)
        #expect(line.requestBytes == size && line.responseBytes == size)
        let after = try #require(proxy.memory("VmHWM", in: "status"))
        #expect(after - before < 4096, "grew from \(before) to \(after) KiB")
    }

    /// Nobody reads: what waits in the proxy is bounded, and the other direction goes on.
    @Test func aReaderThatReadsNothingHoldsNobodyElse() throws {
        let heard = try Recorder<[UInt8]>()
        let server = try TestServer { call throws(WireFailure) in
            Self.send(64, on: call.connection)
            heard.note(try call.connection.read(4))
            _ = try call.connection.readToEnd()
        }
        let proxy = try Self.proxy(to: server.address)
        let client = try proxy.connect()
        try proxy.wait(for: "upstream_connections") { $0 == 1 }
        try client.send("ping")
        #expect(try heard.wait(for: 1) == [Array("ping".utf8)])
        #expect(try client.discard(64 << 20) == 64 << 20)
    }

    @Test func refusedConnectionsAreReset() throws {
        let server = try Self.echo()
        let address = server.address
        server.stopListening()
        let proxy = try Self.proxy(to: address)
        let client = try proxy.connect()
        #expect(client.endsWithoutMore())
        let line = try proxy.nextLogLine()
        #expect(line.flags == "UF" && line.reason == "connection_failure")
        #expect(line.attempts == 1)
        let stats = try proxy.stats()
        #expect(stats["meshbench_proxy_upstream_connect_failures_total"] == 1)
    }

    @Test func idleTunnelsEnd() throws {
        let server = try Self.echo()
        let proxy = try Self.proxy(to: server.address, "timeouts: {stream_idle: 200ms}")
        let client = try proxy.connect()
        try client.send("x")
        let began = Clock.now()
        #expect(client.endsWithoutMore())
        #expect(Clock.now() - began >= .milliseconds(150))
        let line = try proxy.nextLogLine()
        #expect(line.flags == "SI" && line.reason == "idle_timeout" && line.requestBytes == 1)
        #expect(try proxy.stats()["meshbench_proxy_idle_timeouts_total"] == 1)
    }

    @Test func connectionsBeyondTheLimitsWaitAndAreRefused() throws {
        let server = try Self.echo()
        let proxy = try Self.proxy(
            to: server.address, cluster: ", breaker: {connections: 1, pending: 1}")
        let first = try proxy.connect()
        try proxy.wait(for: "upstream_connections") { $0 == 1 }
        let second = try proxy.connect()
        try proxy.wait(for: "tcp_connections_total") { $0 == 2 }
        try second.send("later")
        second.endSending()
        let third = try proxy.connect()
        #expect(third.endsWithoutMore())
        #expect(try proxy.nextLogLine().flags == "UO")
        #expect(try proxy.stats()["meshbench_proxy_pending_overflow_total"] == 1)
        first.endSending()
        #expect(try first.readToEnd().isEmpty)
        #expect(try second.readToEnd() == Array("later".utf8))
    }

    /// A proxy with a tunnel that answers each byte with the same.
    private static func echoing(
        drain: String
    ) throws -> (server: TestServer, proxy: RunningProxy, client: RawConnection) {
        let server = try TestServer { call throws(WireFailure) in
            while true { try call.connection.send(try call.connection.read(1)) }
        }
        let proxy = try proxy(to: server.address, "timeouts: {drain: \(drain)}")
        let client = try proxy.connect()
        try client.send("a")
        #expect(try client.read(1) == Array("a".utf8))
        return (server, proxy, client)
    }

    @Test func anOpenTunnelLivesOnInADrain() throws {
        let (server, proxy, client) = try Self.echoing(drain: "600s")
        proxy.process.send(SIGTERM)
        try proxy.waitUntilClosed()
        try client.send("b")
        #expect(try client.read(1) == Array("b".utf8))
        // It is what the drain waits for.
        client.endSending()
        #expect(try client.readToEnd().isEmpty)
        // Whoever was let in at the last moment has a line too.
        var line = try proxy.nextLogLine()
        while line.requestBytes != 2 { line = try proxy.nextLogLine() }
        #expect(line.details == "via_upstream" && line.responseBytes == 2)
        #expect(proxy.waitForEnd() == .exited(0))
        _ = server
    }

    @Test func theEndOfADrainEndsAnOpenTunnel() throws {
        let (server, proxy, client) = try Self.echoing(drain: "100ms")
        proxy.process.send(SIGTERM)
        #expect(client.endsWithoutMore())
        #expect(try proxy.nextLogLine().reason == "drain_timeout")
        #expect(proxy.waitForEnd() == .exited(0))
        _ = server
    }

    @Test func resetsPassBothWays() throws {
        let heard = try Recorder<WireFailure>()
        let server = try TestServer { call throws(WireFailure) in
            if call.number == 0 {
                _ = try call.connection.read(1)
                return call.connection.close(reset: true)
            }
            do throws(WireFailure) { _ = try call.connection.read(1) } catch {
                heard.note(error)
            }
        }
        let proxy = try Self.proxy(to: server.address)
        let first = try proxy.connect()
        try first.send("x")
        #expect(throws: WireFailure.reset) { try first.read(1) }
        #expect(try proxy.nextLogLine().flags == "UC")
        let second = try proxy.connect()
        _ = try server.connections.wait(for: 2)
        second.close(reset: true)
        #expect(try proxy.nextLogLine().flags == "DC")
        #expect(try heard.wait(for: 1) == [.reset])
    }
}
