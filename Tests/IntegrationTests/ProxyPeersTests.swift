import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// The proxy between programs that others have written.
@Suite struct ProxyPeersTests {
    /// An nginx that serves the files of a folder. It keeps 100 requests to a connection.
    private final class WebServer {
        let folder: Scratch
        let process: Posix.Process
        let address: SocketAddress

        init() throws {
            folder = try Scratch()
            // Its worker may be another user than this one.
            unsafe chmod(folder.root, 0o755)
            let address = try freeAddress()
            self.address = address
            try """
            daemon off;
            pid \(folder.path("pid"));
            error_log \(folder.path("error.log")) warn;
            worker_processes 1;
            worker_shutdown_timeout 5s;
            events { worker_connections 512; }
            http {
                access_log off;
                keepalive_requests 100;
                client_body_temp_path \(folder.path("body"));
                proxy_temp_path \(folder.path("proxy"));
                fastcgi_temp_path \(folder.path("fastcgi"));
                uwsgi_temp_path \(folder.path("uwsgi"));
                scgi_temp_path \(folder.path("scgi"));
                server { listen \(address); root \(folder.root); }
            }
            """.write(toFile: folder.path("nginx.conf"), atomically: true, encoding: .utf8)
            process = try Posix.Process(
                ProcessCommand(
                    name: "nginx", program: Program.path(of: "nginx"),
                    arguments: ["-p", folder.root, "-c", folder.path("nginx.conf")],
                    errorLog: folder.path("stderr")))
            let deadline = Clock.now() + RawConnection.patience
            while (try? RawConnection(to: address)) == nil {
                try #require(Clock.now() < deadline, "\(tail(of: folder.path("stderr"), lines: 5))")
                Clock.sleep(until: Clock.now() + .milliseconds(5))
            }
        }

        deinit { _ = process.terminate(grace: .seconds(2)) }
    }

    @Test func curlGetsALargeFileWhole() throws {
        let web = try WebServer()
        var random = SeededRandom(seed: 7)
        var bytes = [UInt8]()
        for _ in 0..<(1 << 20) {
            let word = random.next()
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> shift))
            }
        }
        let source = web.folder.path("large")
        try Data(bytes).write(to: URL(filePath: source))
        let proxy = try RunningProxy(to: web.address)
        let target = web.folder.path("copy")
        let run = try Program.run(
            "curl", ["-sS", "--fail", "-o", target, "http://\(proxy.address)/large"])
        #expect(run.end == .exited(0))
        #expect(try Data(contentsOf: URL(filePath: target)) == Data(bytes))
        // A part of it, and one that is not there.
        let part = try Program.run(
            "curl",
            [
                "-sS", "-r", "100-199", "-o", target, "-w", "%{http_code}\n",
                "http://\(proxy.address)/large",
            ])
        #expect(part.lines == ["206"])
        #expect(try Data(contentsOf: URL(filePath: target)) == Data(bytes[100..<200]))
    }

    @Test func curlWaitsForTheContinue() throws {
        let server = try TestServer { call throws(WireFailure) in
            while true {
                var request = try call.connection.readHead()
                if request["expect"] != nil {
                    try call.connection.send("HTTP/1.1 100 Continue\r\n\r\n")
                }
                try call.connection.readBody(of: &request, untilClose: false)
                call.requests.note(request)
                try call.connection.send(
                    "HTTP/1.1 200 OK\r\ncontent-length: \(request.body.count)\r\n\r\n")
                try call.connection.send(request.body)
            }
        }
        let proxy = try RunningProxy(to: server.address)
        for more in [[], ["-H", "transfer-encoding: chunked"]] as [[String]] {
            // Were the 100 lost, curl would give up after the ten seconds that it is told to wait.
            let run = try Program.run(
                "curl",
                [
                    "-sS", "--max-time", "9", "--expect100-timeout", "10",
                    "-H", "Expect: 100-continue", "--data-binary", "hello",
                ] + more + ["http://\(proxy.address)/"])
            #expect(run.end == .exited(0))
            #expect(run.lines == ["hello"])
        }
        #expect(server.requests.all.map { $0["expect"] } == ["100-continue", "100-continue"])
    }

    /// A service may go away between two requests of a connection at any time: on its own count,
    /// and with all its connections when it reloads. None of it reaches the clients.
    @Test func nothingFailsWhileTheServiceReloads() throws {
        let web = try WebServer()
        try "0123456789".write(
            toFile: web.folder.path("small"), atomically: true, encoding: .utf8)
        let proxy = try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{cluster: web}]
                clusters: [{name: web, endpoints: ["\(web.address)"]}]
                admin: 127.0.0.1:0
                workers: 2
                """)
        let load = try Posix.Process(
            ProcessCommand(
                name: "h2load", program: "h2load",
                arguments: ["--h1", "-n", "6000", "-c", "8", "http://\(proxy.address)/small"],
                output: .pipe))
        for share in 1...4 {
            try proxy.wait(for: "requests_completed_total") { $0 >= Double(share * 1000) }
            web.process.send(SIGHUP)
        }
        var summary = ""
        while load.outputDescriptor >= 0 {
            _ = waitReadable([load.outputDescriptor], for: RawConnection.patience)
            while let line = try load.nextLine() {
                let text = String(decoding: line, as: UTF8.self)
                if text.hasPrefix("requests:") { summary = text }
            }
        }
        #expect(
            summary.hasSuffix(
                "6000 done, 6000 succeeded, 0 failed, 0 errored, 0 timeout"), "\(summary)")
        #expect(try proxy.stats()["meshbench_proxy_responses_2xx_total"] == 6000)
    }

    private static let webSocketServer = """
        import asyncio, websockets, sys
        async def echo(socket):
            async for message in socket:
                await socket.send(message)
        async def main():
            server = await websockets.serve(echo, "127.0.0.1", 0, max_size=2**24)
            print(server.sockets[0].getsockname()[1], flush=True)
            await asyncio.Future()
        asyncio.run(main())
        """

    private static let webSocketClient = """
        import asyncio, os, sys, websockets
        async def main():
            uri = "ws://" + sys.argv[1] + "/chat"
            async with websockets.connect(uri, max_size=2**24) as socket:
                for size in (0, 1, 125, 126, 65535, 65536, 1 << 20, 5 << 20):
                    message = os.urandom(size)
                    await socket.send(message)
                    assert await socket.recv() == message, size
                await socket.send("text \\u00e4")
                assert await socket.recv() == "text \\u00e4"
                await (await socket.ping())
            assert socket.close_code == 1000, socket.close_code
            print("whole")
        asyncio.run(main())
        """

    @Test func webSocketBytesPass() throws {
        let server = try Posix.Process(
            ProcessCommand(
                name: "websocket server", program: Program.python,
                arguments: ["-c", Self.webSocketServer], output: .pipe))
        let port = try #require(
            try Program.nextLine(of: server), "\(server.poll().map(\.description) ?? "silent")")
        let upstream = try #require(
            SocketAddress("127.0.0.1:\(String(decoding: port, as: UTF8.self))"))
        let proxy = try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{cluster: b}]
                clusters: [{name: b, endpoints: ["\(upstream)"]}]
                admin: 127.0.0.1:0
                access_log: "-"
                """)
        let client = try Program.run(
            Program.python, ["-c", Self.webSocketClient, "\(proxy.address)"])
        #expect(client.end == .exited(0))
        #expect(client.lines == ["whole"])
        let line = try proxy.nextLogLine()
        #expect(line.status == 101)
        #expect(line.details == "via_upstream")
        #expect(line.path == "/chat")
        #expect(line.requestBytes > 6 << 20 && line.responseBytes > 6 << 20)
        #expect(try proxy.stats()["meshbench_proxy_upgrades_total"] == 1)
        try proxy.wait(for: "upstream_connections") { $0 == 0 }
    }

    /// Each direction of a tunnel ends by itself.
    @Test func tunnelsMayBeHalfClosed() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.connection.readHead()
            try call.connection.send(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
                    + "early")
            let bytes = try call.connection.readToEnd()
            try call.connection.send(bytes)
        }
        let proxy = try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{cluster: b}]
                clusters: [{name: b, endpoints: ["\(server.address)"]}]
                upgrades: [echo]
                """)
        let client = try proxy.connect()
        try client.send(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n")
        let head = try client.readHead()
        #expect(head.status == 101)
        #expect(head["upgrade"] == "echo")
        #expect(head["connection"]?.lowercased() == "upgrade")
        #expect(try client.read(5) == Array("early".utf8))
        try client.send("and late")
        client.endSending()
        #expect(try client.readToEnd() == Array("and late".utf8))
    }

    @Test func aRefusedUpgradeIsAnOrdinaryAnswer() throws {
        let server = try TestServer.named("no")
        let proxy = try RunningProxy(to: server.address)
        let client = try proxy.connect()
        for _ in 0..<2 {
            try client.send(
                "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
            #expect(try client.readAnswer().text == "no")
        }
    }
}

/// An address that was free a moment ago, for programs that cannot choose one themselves.
func freeAddress() throws(SystemError) -> SocketAddress {
    let listener = try Socket.listen(on: .loopback(port: 0), sharing: false)
    return try Socket.localAddress(of: listener.number)
}
