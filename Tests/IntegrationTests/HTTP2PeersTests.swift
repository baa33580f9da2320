import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// HTTP/2 of the proxy between programs that others have written.
@Suite struct HTTP2PeersTests {
    private static let size = 100 << 20

    /// Takes and sends bodies of 100 MiB.
    private static func server() throws -> TestServer {
        let block = [UInt8](repeating: 0x61, count: 1 << 20)
        return try TestServer { call throws(WireFailure) in
            while true {
                let request = try call.connection.readHead()
                if request.method == "PUT" {
                    let count = try call.connection.discard(size)
                    try call.connection.send("HTTP/1.1 201 Created\r\nx-count: \(count)\r\n")
                    try call.connection.send("content-length: 0\r\n\r\n")
                } else if request.target == "/large" {
                    try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: \(size)\r\n\r\n")
                    for _ in 0..<size / block.count { try call.connection.send(block) }
                } else {
                    try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                }
            }
        }
    }

    /// One proxy, or a second behind it that it speaks HTTP/2 to.
    private static func chain(
        of count: Int, to upstream: SocketAddress
    ) throws -> [RunningProxy] {
        let last = try HTTP2ConformanceTests.proxy(to: upstream)
        guard count > 1 else { return [last] }
        let first = try HTTP2ConformanceTests.proxy(to: last.address, ", protocol: http2")
        return [first, last]
    }

    @Test(arguments: [1, 2]) func curlMovesLargeBodies(_ hops: Int) throws {
        let server = try Self.server()
        let proxies = try Self.chain(of: hops, to: server.address)
        let scratch = try Scratch()
        let file = scratch.path("large")
        try Data(count: Self.size).write(to: URL(filePath: file))
        let common = ["-sS", "--http2-prior-knowledge", "--max-time", "55"]
        let up = try Program.run(
            "curl",
            common + ["-T", file, "-D", "-", "-o", "/dev/null", "http://\(proxies[0].address)/"])
        #expect(up.end == .exited(0))
        #expect(up.lines.contains { $0.hasPrefix("HTTP/2 201") })
        #expect(up.lines.contains { $0.hasPrefix("x-count: \(Self.size)") })
        let down = try Program.run(
            "curl",
            common + [
                "-o", "/dev/null", "-w", "%{http_code} %{http_version} %{size_download}\n",
                "http://\(proxies[0].address)/large",
            ])
        #expect(down.lines == ["200 2 \(Self.size)"])
        for proxy in proxies {
            let peak = try #require(proxy.memory("VmHWM", in: "status"))
            #expect(peak < 64 << 10, "\(peak) KiB")
        }
    }

    @Test(arguments: [1, 2]) func h2loadIsServed(_ hops: Int) throws {
        let server = try Self.server()
        let proxies = try Self.chain(of: hops, to: server.address)
        let load = try Program.run(
            "h2load", ["-n", "20000", "-c", "8", "-m", "32", "http://\(proxies[0].address)/"])
        #expect(load.end == .exited(0))
        let summary = load.lines.first { $0.hasPrefix("requests:") } ?? ""
        #expect(
            summary.hasSuffix(
                "20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout"), "\(summary)")
        let stats = try proxies[0].stats()
        #expect(stats["meshbench_proxy_http2_downstream_streams_total"] == 20_000)
        #expect(stats["meshbench_proxy_http2_resets_sent_total"] == 0)
        if hops == 2 {
            #expect(stats["meshbench_proxy_http2_upstream_streams_total"] == 20_000)
        }
    }

    /// It sends PRIORITY frames of streams that never are, and a trailer.
    @Test func nghttpIsServed() throws {
        let server = try TestServer { call throws(WireFailure) in
            while true {
                _ = try call.readRequest()
                try call.connection.send(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
                        + "x-end: 2\r\n\r\n")
            }
        }
        let proxies = try Self.chain(of: 2, to: server.address)
        let scratch = try Scratch()
        try "body".write(toFile: scratch.path("body"), atomically: true, encoding: .utf8)
        let run = try Program.run(
            "nghttp",
            [
                "-v", "--trailer", "x-sum: 1", "-d", scratch.path("body"), "--no-content-length",
                "http://\(proxies[0].address)/",
            ])
        #expect(run.end == .exited(0))
        #expect(run.lines.contains { $0.contains("send PRIORITY frame") })
        #expect(run.lines.contains { $0.hasSuffix("x-end: 2") })
        #expect(server.requests.all.map { text($0.body) } == ["body"])
    }

    @Test func nghttpdIsAnUpstream() throws {
        let scratch = try Scratch()
        try "0123456789".write(toFile: scratch.path("file"), atomically: true, encoding: .utf8)
        let address = try freeAddress()
        let port = "\(address)".split(separator: ":").last.map(String.init) ?? ""
        let server = try Posix.Process(
            ProcessCommand(
                name: "nghttpd", program: Program.path(of: "nghttpd"),
                arguments: ["--no-tls", "-a", "127.0.0.1", "-d", scratch.root, port]))
        defer { _ = server.terminate(grace: .zero) }
        let deadline = Clock.now() + RawConnection.patience
        while (try? RawConnection(to: address)) == nil {
            try #require(Clock.now() < deadline)
            Clock.sleep(until: Clock.now() + .milliseconds(5))
        }
        let proxy = try HTTP2ConformanceTests.proxy(to: address, ", protocol: http2")
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let run = try Program.run(
                "curl", ["-sS", version, "http://\(proxy.address)/file", "-w", "\n%{http_code}\n"])
            #expect(run.lines == ["0123456789", "200"])
            let none = try Program.run(
                "curl",
                [
                    "-sS", version, "-o", "/dev/null", "http://\(proxy.address)/none", "-w",
                    "%{http_code}\n",
                ])
            #expect(none.lines == ["404"])
        }
        let load = try Program.run(
            "h2load", ["-n", "5000", "-c", "4", "-m", "16", "http://\(proxy.address)/file"])
        let summary = load.lines.first { $0.hasPrefix("requests:") } ?? ""
        #expect(
            summary.hasSuffix("5000 done, 5000 succeeded, 0 failed, 0 errored, 0 timeout"),
            "\(summary)")
    }
}
