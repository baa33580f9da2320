import Base
import FoundationEssentials
import Glibc
import LoadCore
import Posix
import Support
import Testing

/// Two proxies in a row with HTTP/2 over mutual TLS between them: what stands between every two
/// services of a mesh. Each protocol goes through both.
@Suite struct TwoHopsTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    private struct Hops {
        let certificates: CertificateFolder
        let second: RunningProxy
        let first: RunningProxy

        /// - Parameter speech: what the service speaks.
        init(to service: SocketAddress, speech: String) throws {
            certificates = try CertificateFolder()
            let identity = certificates.identity
            let authorities = "authorities: \(certificates.authority)"
            second = try RunningProxy(
                configuration: """
                    admin: 127.0.0.1:0
                    listeners:
                      - name: main
                        address: 127.0.0.1:0
                        tls: {\(identity("server")), \(authorities), client_certificate: required}
                    routes: [{cluster: service}]
                    clusters:
                      - {name: service, endpoints: ["\(service)"], protocol: \(speech)}
                    """)
            first = try RunningProxy(
                configuration: """
                    admin: 127.0.0.1:0
                    listeners: [{name: main, address: "127.0.0.1:0"}]
                    routes: [{cluster: second}]
                    clusters:
                      - name: second
                        endpoints: ["\(second.address)"]
                        protocol: http2
                        tls: {\(identity("client")), \(authorities), server_name: localhost}
                    """)
        }

        /// The most that each has held, KiB.
        var peaks: [Int] { [first, second].compactMap { $0.memory("VmHWM", in: "status") } }
    }

    private func python(_ script: String, _ arguments: [String]) throws {
        let path = Self.root.appending(path: "Tests/Fixtures/\(script)").path
        let run = try Program.run(
            "sh",
            ["-c", "exec \"$@\" 2>&1", "sh", Program.python, path] + arguments)
        #expect(run.end == .exited(0), "\(run.lines.joined(separator: "\n"))")
        #expect(run.lines.last == "ok", "\(run.lines.joined(separator: "\n"))")
    }

    /// The very checks that the workload passes by itself.
    @Test(arguments: [
        ["unary", "33"], ["large"], ["server_stream"], ["client_stream"], ["bidi_stream"],
        ["errors"], ["deadline"], ["cancellation"],
        ["reflection", root.appending(path: "docs/echo.proto").path],
    ])
    func gRPC(check: [String]) throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "33B")
        let hops = try Hops(to: app.address, speech: "http2")
        try python("grpc/client.py", ["\(hops.first.address)"] + check)
        // Whatever was said came over one connection, and none of it was refused.
        #expect(try hops.first.stats()["meshbench_proxy_upstream_tls_handshakes_total"] == 1)
        #expect(try hops.second.stats()["meshbench_proxy_protocol_errors_total"] == 0)
    }

    /// A client whose codec is not ours, and who looks at every frame.
    @Test(arguments: ["http1", "http2"]) func theH2PackageIsContent(speech: String) throws {
        let app = try RunningApp("--listen", "127.0.0.1:0")
        let hops = try Hops(to: app.address, speech: speech)
        try python("http2/h2_client.py", ["\(hops.first.address)"])
        #expect(try hops.second.stats()["meshbench_proxy_protocol_errors_total"] == 0)
    }

    /// 1 GiB to the client, and 256 MiB from it, through 64 KiB windows.
    @Test func largeBodiesTakeBoundedMemory() throws {
        let size = 1 << 30
        let upload = 256 << 20
        let server = try TestServer { call throws(WireFailure) in
            let block = [UInt8](repeating: 0x61, count: 1 << 20)
            while true {
                let request = try call.connection.readHead()
                if request.method == "PUT" {
                    let count = try call.connection.discard(upload)
                    try call.connection.send(
                        "HTTP/1.1 200 OK\r\nx-count: \(count)\r\ncontent-length: 0\r\n\r\n")
                } else {
                    try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n")
                    for _ in 0..<size / block.count { try call.connection.send(block) }
                }
            }
        }
        let hops = try Hops(to: server.address, speech: "http1")
        // A first exchange brings what every connection needs.
        #expect(try hops.first.exchange("BAD\r\n\r\n").status == 400)
        let client = try hops.first.connect()
        try client.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: \(upload)\r\n\r\n")
        let block = [UInt8](repeating: 0x61, count: 1 << 20)
        for _ in 0..<upload / block.count { try client.send(block) }
        #expect(try client.readAnswer()["x-count"] == "\(upload)")
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(try client.readHead().status == 200)
        #expect(try client.discard(size) == size)
        // Far below what went through: a runtime, OpenSSL, and some buffers of 64 KiB.
        for peak in hops.peaks { #expect(peak < 64 * 1024, "\(peak) KiB") }
        #expect(hops.peaks.count == 2)
    }

    /// The `websockets` package through both; between them the WebSocket is a stream.
    @Test func webSocket() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0")
        for speech in ["http1", "http2"] {
            let hops = try Hops(to: app.address, speech: speech)
            let run = try Program.run(
                "sh",
                [
                    "-c", "exec \"$@\" 2>&1", "sh", Program.python, "-c", Self.webSocketClient,
                    "ws://\(hops.first.address)/",
                ])
            #expect(run.end == .exited(0), "\(run.lines.joined(separator: "\n"))")
            #expect(run.lines.last == "ok 1001")
            #expect(try hops.second.stats()["meshbench_proxy_upgrades_total"] == 1)
        }
    }

    /// The generator's WebSockets are streams on every hop, or on all but the last.
    @Test(arguments: ["http1", "http2"])
    func webSocketStreams(speech: String) throws {
        let app = try RunningApp("--listen", "127.0.0.1:0")
        let hops = try Hops(to: app.address, speech: speech)
        let tally = try Program.load([
            "ws://\(hops.first.address)/", "--protocol", "websocket-http2", "--connections", "2",
            "--streams", "8", "--rate", "500/s", "--body-size", "20KiB",
        ])
        #expect(tally.outcomes == ["ok": 500])
        #expect(tally.connectionsOpened == 2)
        // Each came back, and as one of 16 that stayed open.
        #expect(tally.bytesReceived > 500 * 20 * 1024)
        #expect(try hops.second.stats()["meshbench_proxy_upgrades_total"] == 16)
        #expect(try hops.second.stats()["meshbench_proxy_protocol_errors_total"] == 0)
    }

    private static let webSocketClient = """
        import asyncio, sys, websockets

        async def main():
            async with websockets.connect(sys.argv[1], max_size=None, compression=None) as ws:
                for message in ["hi", "x" * 1_000_000, b"\\0\\1" * 70_000]:
                    await ws.send(message)
                    assert await ws.recv() == message
                await asyncio.wait_for(await ws.ping(), 20)
                await ws.close(1001)
                print("ok", ws.close_code)

        asyncio.run(main())
        """

    /// A service that is gone is told to each client in its own words.
    @Test func failuresAreToldInTheClientsWords() throws {
        let gone = try ReservedAddress()
        let hops = try Hops(to: gone.address, speech: "http2")
        let answer = try hops.first.get("/")
        #expect(answer.status == 503)
        #expect(answer["x-response-flags"] == "UF")
        let run = try Program.run(
            "curl",
            [
                "-sS", "-m", "20", "--http2-prior-knowledge", "-D", "-", "-H",
                "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "",
                "http://\(hops.first.address)/a/b",
            ])
        let lines = run.lines.map { $0.hasSuffix("\r") ? String($0.dropLast()) : $0 }
        #expect(lines.first == "HTTP/2 200 ")
        #expect(lines.contains("grpc-status: 14"))
    }
}
