import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// The workload's gRPC, called by grpcio.
@Suite struct AppRPCTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    /// Has `client.py` make one of its checks against a workload of its own.
    @Test(arguments: [
        ["unary", "33"], ["large"], ["server_stream"], ["client_stream"], ["bidi_stream"],
        ["errors"], ["deadline"], ["cancellation"], ["health"],
        ["reflection", root.appending(path: "docs/echo.proto").path],
    ])
    func holds(check: [String]) throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "33B")
        let script = Self.root.appending(path: "Tests/Fixtures/grpc/client.py").path
        let run = try Program.run(
            "sh",
            ["-c", "exec \"$@\" 2>&1", "sh", Program.python, script, "\(app.address)"] + check)
        #expect(run.end == .exited(0), "\(run.lines.joined(separator: "\n"))")
        #expect(run.lines.last == "ok")
    }

    /// The frames of a call by hand: what curl prints with its fields and trailers.
    /// - Parameter message: nil: there is no body at all.
    private func curl(_ app: RunningApp, _ message: [UInt8]?, _ words: String...) throws -> [String]
    {
        let scratch = try Scratch()
        let body = scratch.path("body")
        let frame = message.map { [0, 0, 0, 0, UInt8($0.count)] + $0 } ?? []
        try Data(frame).write(to: URL(filePath: body))
        let run = try Program.run(
            "curl",
            [
                "-sS", "-m", "20", "--http2-prior-knowledge", "-D", "-", "-o", scratch.path("out"),
                "-H", "content-type: application/grpc", "-H", "te: trailers", "-X", "POST",
            ] + (message == nil ? [] : ["--data-binary", "@\(body)"]) + words)
        #expect(run.end == .exited(0), "\(run.lines)")
        return run.lines.map { $0.hasSuffix("\r") ? String($0.dropLast()) : $0 }
    }

    @Test func aDeadlineThatTheClientDoesNotKeepIsKept() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--delay", "p50=30s")
        let unary = "http://\(app.address)/meshbench.Echo/Unary"
        let start = Clock.now()
        let lines = try curl(app, [], unary, "-H", "grpc-timeout: 100m")
        #expect(Clock.now() - start >= .milliseconds(100))
        // Trailers alone: all of it in one head.
        #expect(lines.first == "HTTP/2 200 ")
        #expect(lines.contains("grpc-status: 4"))
        #expect(lines.contains("content-type: application/grpc"))
        #expect(
            try app.get("/app/stats").text.contains(
                "\"grpc\":{\"cancelled\":0,\"status\":{\"DEADLINE_EXCEEDED\":1}}"))
        // Refused before its body could come: without one, as curl takes the end that gRPC's
        // servers then put to the stream (NO_ERROR) for an error.
        #expect(try curl(app, nil, unary, "-H", "grpc-timeout: soon").contains("grpc-status: 3"))
    }

    @Test func statusAndMessageAreTrailers() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "3B")
        let unary = "http://\(app.address)/meshbench.Echo/Unary"
        let whole = try curl(app, [], unary)
        let end = try #require(whole.firstIndex(of: ""))
        #expect(!whole[..<end].contains { $0.hasPrefix("grpc-") })
        #expect(whole[end...].contains("grpc-status: 0"))
        // Fields 5 and 6: a status, and a text of three bytes of which one is to be coded.
        let failed = try curl(app, [0x28, 7, 0x32, 3, 0x61, 0x0A, 0x62], unary)
        #expect(failed.contains("grpc-status: 7") && failed.contains("grpc-message: a%0Ab"))
    }
}
