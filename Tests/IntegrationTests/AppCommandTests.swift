import Base
import Glibc
import Posix
import Support
import Testing

/// `meshbench app` as people start it.
@Suite struct AppCommandTests {
    @Test func servesAndStops() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--size", "10B", "--status", "503=100%")
        let answer = try app.get("/")
        #expect(answer.status == 503)
        #expect(answer.body.count == 10)
        app.process.send(SIGTERM)
        #expect(app.process.wait(until: Clock.now() + RawConnection.patience) == .exited(0))
    }

    @Test func servesWhatAFileSays() throws {
        let file = try ConfigurationFile()
        try file.write(
            """
            {"listen": "127.0.0.1:0", "behaviour": {"size": 7, "delay": {"points": []},
             "burn": {"nanoseconds": 0}, "statuses": [], "chunked": true, "calls": []}}
            """)
        let answer = try RunningApp("--config", file.path).get("/")
        #expect(answer["transfer-encoding"] == "chunked")
        #expect(answer.body.count == 7)
    }

    @Test(arguments: [
        [], ["--listen", "here"], ["--listen", "127.0.0.1:0", "--size", "10"],
        ["--listen", "127.0.0.1:0", "--status", "503"],
        ["--listen", "127.0.0.1:0", "--delay", "p"],
        ["--listen", "127.0.0.1:0", "--workers", "0"], ["--config", "a", "--listen", "b"],
        ["--listen", "127.0.0.1:0", "--call", "a"], ["--lisen", "127.0.0.1:0"],
    ])
    func wrongWordsAreUsageErrors(words: [String]) throws {
        #expect(try Program.run(Program.meshbench(), ["app"] + words).end == .exited(64))
    }

    @Test(arguments: [
        ("{\"listen\": \"127.0.0.1:0\", \"wokers\": 2}", "unknown key 'wokers'; did you mean"),
        (
            """
            {"listen": "127.0.0.1:0", "behaviour": {"size": 1, "delay": {"points": [
             {"quantile": 0.5, "dely": {"nanoseconds": 1}}]}, "burn": {"nanoseconds": 0},
             "statuses": [], "chunked": false, "calls": []}}
            """,
            "unknown key 'behaviour.delay.points[0].dely'; did you mean 'delay'?"
        ),
        ("{\"listen\": 5}", ""), ("{", ""), ("[]", ""), ("{\"listen\": \"here\"}", "host:port"),
    ])
    func wrongFilesAreToldByPlace(text: String, message: String) throws {
        let file = try ConfigurationFile()
        try file.write(text)
        let run = try Program.run(
            "/bin/sh",
            ["-c", "exec \"$0\" app --config \"$1\" 2>&1", Program.meshbench(), file.path])
        #expect(run.end == .exited(65))
        #expect(run.lines.joined(separator: "\n").contains(message), "\(run.lines)")
        #expect(run.lines.joined().contains(file.path))
    }

    @Test func failuresOfTheSystem() throws {
        let absent = try Program.run(
            Program.meshbench(), ["app", "--config", "/nonexistent/app.json"])
        #expect(absent.end == .exited(1))
        let listener = try Socket.listen(on: .loopback(port: 0), sharing: false)
        let address = try Socket.localAddress(of: listener.number)
        let taken = try Program.run(Program.meshbench(), ["app", "--listen", "\(address)"])
        #expect(taken.end == .exited(1))
    }
}
