import Base
import FoundationEssentials
import Glibc
import LoadCore
import Model
import Posix
import Stats
import Support
import Testing

/// The load generator over HTTP/2 and gRPC, against the workload and servers of others.
@Suite(.serialized) struct LoadStreamTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    private func load(_ words: String...) throws -> LoadResult.PhaseTally {
        try Program.load(words)
    }

    private func counters(of app: RunningApp) throws -> String { try app.get("/app/stats").text }

    @Test func streamsOfTheWorkload() throws {
        let app = try RunningApp(
            "--listen", "127.0.0.1:0", "--size", "20KiB", "--status", "503=10%")
        let tally = try load(
            "http://\(app.address)/", "--protocol", "http2", "--connections", "4", "--streams",
            "16",
            "--rate", "2000/s", "--arrivals", "poisson", "--threads", "2")
        #expect(tally.outcomes.values.reduce(0, +) == tally.planned)
        #expect(tally.completed == tally.planned)
        #expect(tally.statuses["503"] == tally.count(.error))
        #expect(tally.count(.error) > 0 && tally.count(.ok) > 1000)
        #expect(tally.connectionsOpened == 4)
        #expect(tally.bytesReceived > tally.planned * 20 * 1024)
        #expect(tally.response.count == tally.planned && tally.service.count == tally.planned)
        #expect(try counters(of: app).contains("\"requests\":\(tally.planned),"))
    }

    @Test func callsOfTheWorkload() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "20B")
        let tally = try load(
            "http://\(app.address)/", "--protocol", "grpc", "--connections", "2", "--streams", "50",
            "--rate", "2000/s", "--body-size", "70KiB")
        #expect(tally.outcomes == ["ok": 2000])
        #expect(tally.grpc == ["OK": 2000])
        // The payload comes back.
        #expect(tally.bytesReceived > 2000 * 70 * 1024)
        #expect(
            try counters(of: app).contains(
                "\"grpc\":{\"cancelled\":0,\"status\":{\"OK\":2000}}"))
    }

    /// Straight to the workload, and through a proxy that speaks either protocol to it.
    @Test(arguments: ["", "http1", "http2"])
    func webSockets(proxied: String) throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--delay", "p50=1ms")
        let proxy =
            proxied.isEmpty
            ? nil : try HTTP2ConformanceTests.proxy(to: app.address, ", protocol: \(proxied)")
        let tally = try load(
            "ws://\(proxy?.address ?? app.address)/", "--protocol", "websocket-http2",
            "--connections", "3", "--streams", "5", "--rate", "60/s", "--body-size", "100KiB",
            "--threads", "2")
        #expect(tally.outcomes == ["ok": 60])
        #expect(tally.connectionsOpened == 3 && tally.statuses.isEmpty)
        #expect(tally.bytesReceived > 60 * 100 * 1024)
        #expect(tally.response.count == 60 && tally.service.count == 60)
        #expect(tally.service.min >= 900_000)
        #expect(try counters(of: app).contains("\"requests\":60,"))
        let upgrades = try proxy?.stats()["meshbench_proxy_upgrades_total"]
        #expect(upgrades == (proxied.isEmpty ? nil : 15))
    }

    /// A server whose SETTINGS do not allow CONNECT to name a protocol is asked for none.
    @Test func webSocketsThatAreNotAllowed() throws {
        let settings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]
        let server = try TestServer { call throws(WireFailure) in
            try call.connection.send(settings)
            _ = try call.connection.readToEnd()
        }
        let run = try Program.run(
            "sh",
            [
                "-c", "exec \"$@\" 2>&1", "sh", try Program.meshbench(), "load",
                "ws://\(server.address)/", "--protocol", "websocket-http2", "--duration", "1s",
            ])
        #expect(run.end == .exited(1))
        #expect(
            run.lines.contains { $0.contains("SETTINGS do not allow extended CONNECT") },
            "\(run.lines)")
    }

    /// All places are taken by calls that take too long: each is given up in time, and the server
    /// hears of it one way or the other.
    @Test func callsThatTakeTooLong() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--delay", "p50=30s")
        let tally = try load(
            "http://\(app.address)/", "--protocol", "grpc", "--connections", "1", "--streams", "30",
            "--rate", "100/s", "--timeout", "200ms")
        let exceeded = tally.grpc["DEADLINE_EXCEEDED"] ?? 0
        #expect(tally.count(.timeout) + exceeded == 100 && tally.count(.error) == exceeded)
        #expect(tally.response.min >= 199_000_000)
        #expect(tally.connectionsOpened == 1)
        try app.wait(for: "\"concurrency\":{\"now\":0,")
    }

    /// Connections that end after each hundred requests, and a workload that drains.
    @Test func connectionsAreReplaced() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "20B")
        let tally = try load(
            "http://\(app.address)/", "--protocol", "http2", "--connections", "2", "--streams", "4",
            "--rate", "1000/s", "--requests-per-connection", "100")
        #expect(tally.outcomes == ["ok": 1000])
        #expect(tally.connectionsOpened >= 10)
        // Each answer asks for the connection's end; the streams beside it are served.
        let closing = try load(
            "http://\(app.address)/?close=1", "--protocol", "http2", "--connections", "2",
            "--streams", "4", "--rate", "200/s")
        #expect(closing.count(.ok) + closing.count(.refused) == closing.planned)
        #expect(closing.count(.ok) > 150 && closing.connectionsOpened > 50)
    }

    @Test func streamsOfNghttpd() throws {
        let folder = try Scratch()
        try Data(repeating: 0x61, count: 30_000).write(to: URL(filePath: folder.path("file")))
        let address = try freeAddress()
        let server = try Posix.Process(
            ProcessCommand(
                name: "nghttpd", program: Program.path(of: "nghttpd"),
                arguments: [
                    "--no-tls", "-a", "127.0.0.1", "-d", folder.root, "-m", "20",
                    "\(address.port)",
                ], errorLog: folder.path("stderr")))
        defer { _ = server.terminate(grace: .zero) }
        let deadline = Clock.now() + RawConnection.patience
        while (try? RawConnection(to: address)) == nil {
            try #require(Clock.now() < deadline, "\(tail(of: folder.path("stderr"), lines: 5))")
            Clock.sleep(until: Clock.now() + .milliseconds(5))
        }
        // More places than the server lets be used: what it would not take waits here.
        let tally = try load(
            "http://\(address)/file", "--protocol", "http2", "--connections", "2", "--streams",
            "100", "--rate", "2000/s")
        #expect(tally.outcomes == ["ok": 2000])
        #expect(tally.bytesReceived > 2000 * 30_000)
        let absent = try load(
            "http://\(address)/absent", "--protocol", "http2", "--closed", "--streams", "20",
            "--connections", "1")
        #expect(absent.statuses["404"] == absent.planned && absent.planned > 100)
        let posted = try load(
            "http://\(address)/file", "--protocol", "http2", "--method", "POST", "--body-size",
            "200KiB", "--rate", "100/s", "--connections", "2", "--streams", "10")
        #expect(posted.outcomes == ["ok": 100])
    }

    @Test func callsOfGrpcio() throws {
        let folder = try Scratch()
        let script = Self.root.appending(path: "Tests/Fixtures/grpc/server.py").path
        // Its standard input ends with the shell's sleep.
        let server = try Posix.Process(
            ProcessCommand(
                name: "grpcio", program: "sh",
                arguments: [
                    "-c", "sleep 120 | exec \"$0\" \"$1\" 300", Program.python, script,
                ], output: .pipe, errorLog: folder.path("stderr")))
        defer { _ = server.terminate(grace: .zero) }
        let port = try #require(
            try Program.nextLine(of: server), "\(tail(of: folder.path("stderr"), lines: 5))")
        let url = "http://127.0.0.1:\(String(decoding: port, as: UTF8.self))"
        // Connections that last 300 ms: each GOAWAY retires one, and no call is lost to it but such
        // as the server has not looked at.
        let tally = try load(
            url, "--protocol", "grpc", "--connections", "2", "--streams", "100", "--rate", "300/s",
            "--body-size", "100B")
        #expect(tally.count(.ok) + tally.count(.refused) == 300, "\(tally.outcomes)")
        #expect(tally.count(.ok) >= 290 && tally.grpc["OK"] == tally.count(.ok))
        #expect(tally.connectionsOpened > 2)
        let failing = try load(
            url, "--protocol", "grpc", "--connections", "2", "--streams", "5", "--rate", "100/s",
            "--header", "x-status: 9")
        #expect(failing.grpc["FAILED_PRECONDITION"] == failing.count(.error))
        #expect(failing.count(.error) >= 95)
        let unknown = try load(
            url + "/other.Service/Method", "--protocol", "grpc", "--connections", "1", "--rate",
            "50/s")
        #expect(unknown.grpc["UNIMPLEMENTED"] == unknown.count(.error))
        #expect(unknown.count(.error) >= 48)
    }
}

extension Program {
    /// What `meshbench load WORDS` measured in its one phase of a second.
    static func load(_ words: [String]) throws -> LoadResult.PhaseTally {
        let run = try Program.run(
            Program.meshbench(), ["load"] + words + ["--json", "-", "--duration", "1s"])
        // 4: a machine that is busy with other tests may well be late.
        #expect(run.end == .exited(0) || run.end == .exited(4))
        let result = try JSONDecoder().decode(
            LoadResult.self, from: Data(run.lines.joined(separator: "\n").utf8))
        return try #require(result.phases.first)
    }
}
