import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// The workload over HTTP/2, told by clients that others have written.
@Suite struct AppStreamTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    /// What curl prints of a transfer.
    private func curl(_ app: RunningApp, _ target: String, _ words: [String] = []) throws
        -> [String]
    {
        let run = try Program.run(
            "curl",
            ["-sS", "-m", "20", "--http2-prior-knowledge"] + words
                + ["http://\(app.address)\(target)"])
        #expect(run.end == .exited(0), "\(run.lines)")
        return run.lines.map { $0.hasSuffix("\r") ? String($0.dropLast()) : $0 }
    }

    @Test(arguments: [
        ("/", ["2 200 10"]), ("/?size=0", ["2 200 0"]), ("/?size=5MiB", ["2 200 5242880"]),
        ("/?size=1MiB&chunked=1", ["2 200 1048576"]), ("/?status=503", ["2 503 10"]),
        ("/?status=204", ["2 204 0"]), ("/healthz", ["2 200 3"]), ("/?size=x", ["2 400 55"]),
        ("/app/stall?for=1ms", ["2 200 8"]), ("/?delay=10ms", ["2 200 10"]),
        ("/?burn=1ms", ["2 200 10"]),
    ])
    func answersWhatItIsToldTo(target: String, expected: [String]) throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "10B")
        let lines = try curl(
            app, target,
            ["-o", "/dev/null", "-w", "%{http_version} %{http_code} %{size_download}\n"])
        #expect(lines == expected)
    }

    /// WebSockets (RFC 8441) against a client made byte by byte.
    @Test(arguments: [
        "echo", "windows", "close", "breaches", "half-close", "refused", "resets",
    ])
    func webSockets(_ name: String) throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "10B")
        let run = try Program.run(
            "sh",
            [
                "-c", "exec \"$@\" 2>&1", "sh", Program.python, "-B",
                HTTP2ConformanceTests.script("http2_websocket_app.py"), name, "\(app.address)",
            ])
        #expect(run.lines.last == "ok", "\(run.lines.joined(separator: "\n"))")
        try app.wait(for: "\"concurrency\":{\"now\":0,")
    }

    @Test func fieldsAndBodiesAreWhatTheyShouldBe() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "10B")
        let plain = try curl(app, "/", ["-i", "-H", "x-app-size: 19B"])
        #expect(plain.first == "HTTP/2 200 ")
        #expect(plain.contains("server: meshbench") && plain.contains("content-length: 19"))
        #expect(plain.last == "the quick brown fox")
        #expect(try !curl(app, "/?chunked=1", ["-i"]).contains { $0.hasPrefix("content-length") })
        let head = try curl(app, "/?size=7", ["-I"])
        #expect(head.contains("content-length: 7"))
        // Past the stretch of filler that stands in memory.
        let path = scratch.path("body")
        _ = try curl(app, "/?size=300KiB", ["-o", path])
        let line = Array("the quick brown fox jumps over the lazy dog, and over the mesh.\n".utf8)
        let body = try [UInt8](Data(contentsOf: URL(filePath: path)))
        #expect(body.count == 300 << 10)
        #expect(body.indices.allSatisfy { body[$0] == line[$0 % line.count] })
    }

    @Test func aRequestComesBack() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0")
        let echo = try curl(
            app, "/echo?a=b", ["-X", "PUT", "-H", "x-y: z", "-A", "c", "-d", "body"])
        #expect(
            echo == [
                #"{"method":"PUT","target":"/echo?a=b","version":"2","headers":[["host",""#
                    + #"\#(app.address)"],["user-agent","c"],["accept","*/*"],["x-y","z"],"#
                    + #"["content-length","4"],["content-type","#
                    + #""application/x-www-form-urlencoded"]],"body":"body"}"#
            ])
        let file = scratch.path("upload")
        try Data(repeating: 7, count: 900_000).write(to: URL(filePath: file))
        let code = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}\n"]
        #expect(
            try curl(app, "/echo", code + ["-T", file]).first?.hasPrefix("200 ") == true)
        // Without a length, and with one that is too long.
        #expect(
            try curl(app, "/", code + ["-T", file, "-H", "expect:"]) == ["200 1024"])
        try Data(repeating: 7, count: 1_100_000).write(to: URL(filePath: file))
        #expect(try curl(app, "/echo", code + ["-T", file]) == ["413 27"])
        #expect(try app.get("/app/stats").text.contains("\"now\":0"))
    }

    @Test func manyStreamsOnFewConnections() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "16KiB", "--workers", "2")
        let load = try Program.run(
            "h2load",
            ["-n", "20000", "-c", "8", "-m", "100", "http://\(app.address)/"])
        let text = load.lines.joined(separator: "\n")
        #expect(text.contains("20000 succeeded, 0 failed, 0 errored, 0 timeout"), "\(text)")
        #expect(try app.get("/app/stats").text.contains("\"status\":{\"200\":20000}"))
    }

    /// As many at once as a connection lets in, and all of them waiting at the same time.
    @Test func tenThousandStreamsAtOnce() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "10B", "--delay", "p50=2s")
        let load = try Program.run(
            "h2load",
            ["-n", "10000", "-c", "100", "-m", "100", "http://\(app.address)/"])
        let text = load.lines.joined(separator: "\n")
        #expect(text.contains("10000 succeeded, 0 failed, 0 errored, 0 timeout"), "\(text)")
        #expect(
            try app.get("/app/stats").text.contains("\"concurrency\":{\"now\":0,\"max\":10000}"))
    }

    @Test func aServiceIsCalled() throws {
        let leaf = try RunningApp("--listen", "127.0.0.1:0")
        let app = try RunningApp(
            "--listen", "127.0.0.1:0", "--size", "3B", "--call", "leaf=\(leaf.address)")
        #expect(try curl(app, "/") == ["the"])
        #expect(try leaf.get("/app/stats").text.contains("\"requests\":1,"))
        leaf.process.send(SIGTERM)
        #expect(leaf.process.wait(until: Clock.now() + RawConnection.patience) == .exited(0))
        let failed = try curl(app, "/", ["-w", "%{http_code}\n"])
        #expect(failed == ["call to leaf failed: the connection was refused", "502"])
    }

    /// SIGTERM while a request is at work: it is answered, and the connection ends in order.
    @Test func requestsInFlightAreFinishedWhenItStops() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "10B")
        let client = try Posix.Process(
            ProcessCommand(
                name: "curl", program: Program.path(of: "curl"),
                arguments: [
                    "-sS", "--http2-prior-knowledge", "-w", "%{http_code}\n", "-o", "/dev/null",
                    "http://\(app.address)/?delay=500ms",
                ], output: .pipe))
        try app.wait(for: "\"now\":1")
        app.process.send(SIGTERM)
        let line = try Program.nextLine(of: client).map { String(decoding: $0, as: UTF8.self) }
        #expect(line == "200")
        #expect(app.process.wait(until: Clock.now() + RawConnection.patience) == .exited(0))
    }

    /// A client that does not read holds up its own answer, and costs no memory but buffers.
    @Test func aSlowReaderIsWaitedFor() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0")
        let slow = try Posix.Process(
            ProcessCommand(
                name: "curl", program: Program.path(of: "curl"),
                arguments: [
                    "-sS", "--http2-prior-knowledge", "--limit-rate", "1000", "-o", "/dev/null",
                    "http://\(app.address)/?size=1TiB",
                ]))
        defer { _ = slow.terminate(grace: .zero) }
        try app.wait(for: "\"now\":1")
        let code = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}\n"]
        #expect(try curl(app, "/?size=64MiB", code) == ["200 67108864"])
        slow.send(SIGKILL)
        try app.wait(for: "\"now\":0")
    }

    @Test(arguments: [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI ", "P",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u{0}\u{0}\u{4}\u{8}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
    ])
    func whatIsNoHTTP2IsRefused(bytes: String) throws {
        let app = try RunningApp("--listen", "127.0.0.1:0")
        let client = try RawConnection(to: app.address)
        try client.send(bytes)
        client.endSending()
        _ = try? client.readToEnd()
        #expect(try app.get("/healthz").status == 200)
    }
}
