import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// The proxy's side of HTTP/2 against clients made byte by byte: Tests/Fixtures/http2.
@Suite struct HTTP2ConformanceTests {
    static func script(_ name: String) -> String {
        let tests = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        return "/\(tests)/Fixtures/http2/\(name)"
    }

    /// Never answers `/slow`, and anything else at once.
    static func server() throws -> TestServer {
        try TestServer { call throws(WireFailure) in
            while true {
                let request = try call.readRequest()
                if request.target == "/slow" {
                    _ = try call.connection.readToEnd()
                    return
                }
                let body = request.method == "HEAD" ? "" : "hello\n"
                try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n\(body)")
            }
        }
    }

    /// WebSockets over HTTP/2 (RFC 8441), to a service of HTTP/1.1.
    @Test(arguments: [
        "granted", "own-key", "refused", "plain", "other-protocol", "with-length", "server-dies",
        "client-resets",
    ])
    func webSocket(_ name: String) throws {
        // The service is the script's.
        let service = try ReservedAddress()
        let proxy = try Self.proxy(to: service.address)
        let run = try Program.run(
            "sh",
            [
                "-c", "exec \"$@\" 2>&1", "sh", Program.python, "-B",
                Self.script("http2_websocket.py"), name, "\(proxy.address)",
                "\(service.address.port)",
            ])
        #expect(run.lines.last == "ok", "\(run.lines.joined(separator: "\n"))")
    }

    static func proxy(to upstream: SocketAddress, _ more: String = "") throws -> RunningProxy {
        try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{cluster: b}]
                clusters: [{name: b, endpoints: ["\(upstream)"]\(more)}]
                admin: 127.0.0.1:0
                """)
    }

    /// The cases of h2spec, and more.
    @Test func theProxyConforms() throws {
        let server = try Self.server()
        let proxy = try Self.proxy(to: server.address)
        let run = try Program.run(
            Program.python, ["-B", Self.script("http2_conformance.py"), "\(proxy.address)"])
        let failed = run.lines.filter { $0.hasPrefix("not ok") }
        #expect(failed.isEmpty, "\(failed.joined(separator: "\n"))")
        #expect(run.end == .exited(0))
        #expect(run.lines.last == "201 cases, 0 failed")
    }

    /// Each is stopped, told apart, and hinders nobody else.
    @Test(arguments: [
        ("rapid-reset", "resets"), ("pings", "acknowledgements"),
        ("settings", "acknowledgements"), ("large-settings", "settings"),
        ("acknowledgements", "empty_frames"), ("made-you-reset", "resets"),
        ("empty-frames", "empty_frames"), ("priorities", "empty_frames"),
        ("continuations", "continuations"), ("bomb", "heads"),
    ])
    func abuseIsStopped(_ kind: String, _ counter: String) throws {
        let server = try Self.server()
        let proxy = try Self.proxy(to: server.address)
        let run = try Program.run(
            Program.python, ["-B", Self.script("http2_abuse.py"), "\(proxy.address)", kind])
        #expect(run.end == .exited(0))
        // 11: ENHANCE_YOUR_CALM, where the client still reads.
        #expect(run.lines == ["11"] || run.lines == ["closed"])
        let names = [
            "resets", "acknowledgements", "settings", "empty_frames", "continuations", "heads",
        ]
        let stats = try proxy.stats()
        for name in names {
            let value = stats["meshbench_proxy_http2_flood_\(name)_total"]
            #expect(value == (name == counter ? 1 : 0), "\(name)")
        }
        let curl = try Program.run(
            "curl", ["-sS", "--http2-prior-knowledge", "http://\(proxy.address)/"])
        #expect(curl.lines == ["hello"])
    }

    /// Whatever a connection has been let ask is answered after SIGTERM.
    @Test func aDrainLosesNoRequest() throws {
        let server = try Self.server()
        let proxy = try Self.proxy(to: server.address)
        let client = try Posix.Process(
            ProcessCommand(
                name: "http2_drain", program: Program.python,
                arguments: ["-B", Self.script("http2_drain.py"), "\(proxy.address)"],
                output: .pipe))
        #expect(try Program.nextLine(of: client).map { text($0) } == "ready")
        proxy.process.send(SIGTERM)
        let said = try Program.nextLine(of: client).map { text($0) }
        #expect(said?.hasSuffix(" answered") == true)
        #expect(client.wait(until: Clock.now() + RawConnection.patience) == .exited(0))
        #expect(proxy.waitForEnd() == .exited(0))
    }
}
