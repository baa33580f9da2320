import Base
import Glibc
import Posix
import Support
import Testing

/// WebSockets of an independent client and server through one hop and through two.
@Suite struct ProxyWebSocketTests {
    private static let server = """
        import asyncio, websockets, sys
        async def serve(socket):
            if socket.request.path == "/closes":
                await socket.recv()
                await socket.close(4321, "that will do")
                return
            if socket.request.path == "/pings":
                await (await socket.ping(b"are you there"))
                await socket.send("answered")
            async for message in socket:
                await socket.send(message)
        async def main():
            server = await websockets.serve(
                serve, "127.0.0.1", 0, max_size=2**25, ping_interval=None)
            print(server.sockets[0].getsockname()[1], flush=True)
            await asyncio.Future()
        asyncio.run(main())
        """

    private static let client = """
        import asyncio, os, sys, websockets
        base = "ws://" + sys.argv[1]
        def connect(path):
            return websockets.connect(base + path, max_size=2**25, ping_interval=None)
        async def messages():
            async with connect("/") as socket:
                for size in (0, 1, 125, 126, 65535, 65536, 1 << 20, 17 << 20):
                    message = os.urandom(size)
                    await socket.send(message)
                    assert await socket.recv() == message, size
                await socket.send(["frag", "men", "ted"])
                assert await socket.recv() == "fragmented"
            assert socket.close_code == 1000, socket.close_code
        async def pings():
            async with connect("/pings") as socket:
                assert await socket.recv() == "answered"
                for payload in (b"", b"x", bytes(125)):
                    await (await socket.ping(payload))
        async def closes():
            async with connect("/closes") as socket:
                await socket.send("enough?")
                try:
                    await socket.recv()
                    assert False
                except websockets.ConnectionClosedError as closed:
                    assert closed.rcvd.code == 4321, closed
                    assert closed.rcvd.reason == "that will do", closed
            async with connect("/") as socket:
                await socket.close(4000, "going")
            assert socket.close_code == 4000, socket.close_code
        async def many():
            sockets = await asyncio.gather(*(connect("/") for _ in range(200)))
            for socket in sockets:
                await socket.send(str(id(socket)))
            for socket in sockets:
                assert await socket.recv() == str(id(socket))
            await asyncio.gather(*(socket.close() for socket in sockets))
        async def main():
            for work in (messages, pings, closes, many):
                await work()
                print(work.__name__, flush=True)
        asyncio.run(main())
        """

    private static func hop(_ upstream: SocketAddress, _ more: String = "") throws -> RunningProxy {
        try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{cluster: b}]
                clusters: [{name: b, endpoints: ["\(upstream)"]}]
                admin: 127.0.0.1:0
                \(more)
                """)
    }

    private static func start() throws -> (Posix.Process, SocketAddress) {
        let process = try Posix.Process(
            ProcessCommand(
                name: "websocket server", program: Program.python, arguments: ["-c", server],
                output: .pipe))
        let port = try Program.nextLine(of: process).map { String(decoding: $0, as: UTF8.self) }
        let address = SocketAddress("127.0.0.1:\(port ?? "")")
        return (process, try #require(address, "\(process.poll().map(\.description) ?? "silent")"))
    }

    @Test(arguments: [1, 2])
    func everyFrameArrivesAsItWasSent(hops: Int) throws {
        let (server, address) = try Self.start()
        defer { _ = server.terminate(grace: .zero) }
        let last = try Self.hop(address)
        let first = hops == 2 ? try Self.hop(last.address) : last
        let client = try Program.run(Program.python, ["-c", Self.client, "\(first.address)"])
        #expect(client.end == .exited(0))
        #expect(client.lines == ["messages", "pings", "closes", "many"])
        // One connection each but for `closes`, which has two.
        #expect(try first.stats()["meshbench_proxy_upgrades_total"] == 204)
        try first.wait(for: "upstream_connections") { $0 == 0 }
        try first.wait(for: "downstream_connections") { $0 == 0 }
    }

    @Test func anIdleWebSocketEnds() throws {
        let (server, address) = try Self.start()
        defer { _ = server.terminate(grace: .zero) }
        let proxy = try Self.hop(address, "timeouts: {stream_idle: 200ms}")
        let client = try proxy.connect()
        try client.send(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
                + "sec-websocket-version: 13\r\n"
                + "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        let head = try client.readHead()
        #expect(head.status == 101)
        #expect(head["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(client.endsWithoutMore())
        #expect(try proxy.stats()["meshbench_proxy_idle_timeouts_total"] == 1)
    }
}

/// The workload and the load generator over WebSocket and TCP, through the proxy and past it.
@Suite struct SpeechCommandTests {
    private static func app(_ arguments: [String]) throws -> (Posix.Process, SocketAddress) {
        let process = try Posix.Process(
            ProcessCommand(
                name: "app", program: try Program.meshbench(),
                arguments: ["app", "--listen", "127.0.0.1:0"] + arguments, output: .pipe))
        let line = try #require(try Program.nextLine(of: process))
        let text = String(decoding: line, as: UTF8.self)
        let address = text.split(separator: "\"").first { $0.hasPrefix("127.0.0.1:") }
        let bound = SocketAddress(String(address ?? ""))
        return (process, try #require(bound, "\(text)"))
    }

    private static let client = """
        import asyncio, os, sys, websockets
        async def main():
            uri = "ws://" + sys.argv[1] + "/"
            async with websockets.connect(uri, ping_interval=None) as socket:
                for size in (0, 1, 125, 126, 65535, 65536, 1 << 20):
                    message = os.urandom(size)
                    await socket.send(message)
                    assert await socket.recv() == message, size
                await socket.send(["gr\\u00fc", "\\u00dfe"])
                assert await socket.recv() == "gr\\u00fc\\u00dfe"
                await (await socket.ping(bytes(125)))
            assert socket.close_code == 1000, socket.close_code
            async with websockets.connect(uri) as socket:
                try:
                    await socket.send(bytes((1 << 20) + 1))
                    await socket.recv()
                    assert False
                except websockets.ConnectionClosedError as closed:
                    assert closed.rcvd.code == 1009, closed
            print("whole")
        asyncio.run(main())
        """

    @Test func theWorkloadEchoesToAnIndependentClient() throws {
        let (app, address) = try Self.app([])
        defer { _ = app.terminate(grace: .zero) }
        let client = try Program.run(Program.python, ["-c", Self.client, "\(address)"])
        #expect(client.end == .exited(0))
        #expect(client.lines == ["whole"])
    }

    private static let server = """
        import asyncio, websockets
        async def serve(socket):
            async for message in socket:
                if len(message) != 100: return
                await (await socket.ping(b"!"))
                await socket.send(message)
        async def main():
            server = await websockets.serve(serve, "127.0.0.1", 0, ping_interval=None)
            print(server.sockets[0].getsockname()[1], flush=True)
            await asyncio.Future()
        asyncio.run(main())
        """

    /// The server answers a message only when its ping has been answered.
    @Test func theGeneratorSpeaksToAnIndependentServer() throws {
        let process = try Posix.Process(
            ProcessCommand(
                name: "websocket server", program: Program.python,
                arguments: ["-c", Self.server], output: .pipe))
        defer { _ = process.terminate(grace: .zero) }
        let port = String(decoding: try #require(try Program.nextLine(of: process)), as: UTF8.self)
        let load = try Program.run(
            try Program.meshbench(),
            [
                "load", "ws://127.0.0.1:\(port)/", "--rate", "200/s", "--connections", "4",
                "--duration", "1s", "--body-size", "100B", "--requests-per-connection", "10",
            ])
        // 4 where the machine was too busy for the schedule.
        #expect(load.end == .exited(0) || load.end == .exited(4))
        #expect(load.lines.contains("outcomes   ok 200 (100 %)"), "\(load.lines)")
    }

    @Test(arguments: [("ws", []), ("tcp", ["--protocol", "tcp"])] as [(String, [String])])
    func loadThroughTheProxy(scheme: String, arguments: [String]) throws {
        let (app, address) = try Self.app(["--size", "5KiB", "--delay", "1ms"] + arguments)
        defer { _ = app.terminate(grace: .zero) }
        let isTCP = scheme == "tcp"
        let keys = isTCP ? ", protocol: tcp, cluster: c" : ""
        let proxy = try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"\(keys)}]
                \(isTCP ? "" : "routes: [{cluster: c}]")
                clusters: [{name: c, endpoints: ["\(address)"]}]
                admin: 127.0.0.1:0
                """)
        for perConnection in ["0", "1"] {
            let load = try Program.run(
                try Program.meshbench(),
                [
                    "load", "\(scheme)://\(proxy.address)", "--rate", "300/s", "--connections", "4",
                    "--streams", "3", "--duration", "1s", "--body-size", "300B",
                    "--requests-per-connection", perConnection,
                ])
            #expect(load.end == .exited(0) || load.end == .exited(4))
            #expect(load.lines.contains("outcomes   ok 300 (100 %)"), "\(load.lines)")
        }
        try proxy.wait(for: "upstream_connections") { $0 == 0 }
        let opened = try proxy.stats()["meshbench_proxy_upstream_connections_total"] ?? 0
        // Four, then one for each of 300 requests, and what was opened and not used at the end.
        #expect((304...312).contains(opened), "\(opened) connections")
    }
}
