import Base
import Glibc
import Posix
import Support
import Testing

/// How the process is started, configured, reloaded and ended.
@Suite struct ProxyCommandTests {
    private static func configuration(_ backend: SocketAddress, _ more: String = "") -> String {
        """
        listeners: [{name: main, address: "127.0.0.1:0"}]
        routes: [{cluster: backend}]
        clusters: [{name: backend, endpoints: ["\(backend)"]}]
        admin: 127.0.0.1:0
        \(more)
        """
    }

    @Test func oneHopServes() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(to: server.address)
        #expect(proxy.listeners.keys.sorted() == ["main"])
        #expect(proxy.admin == nil)
        #expect(try proxy.get("/").text == "backend")
    }

    @Test(arguments: [
        ["proxy"], ["proxy", "--listen", "127.0.0.1:0"],
        ["proxy", "--listen", "here", "--upstream", "127.0.0.1:1"],
        ["proxy", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1", "--workers", "0"],
        ["proxy", "--config", "x", "--listen", "127.0.0.1:0"], ["proxy", "--confg", "x"],
    ])
    func wrongWordsAreUsageErrors(words: [String]) throws {
        #expect(try Program.run(Program.meshbench(), words).end == .exited(64))
    }

    @Test func aWrongFileIsNotServed() throws {
        let file = try ConfigurationFile()
        try file.write("listeners: []\nrouts: []\n")
        let run = try Program.run(Program.meshbench(), ["proxy", "--config", file.path])
        #expect(run.end == .exited(65))
        let absent = try Program.run(Program.meshbench(), ["proxy", "--config", "/nonexistent"])
        #expect(absent.end == .exited(1))
    }

    @Test func aTakenPortIsAFailure() throws {
        let server = try TestServer.named("backend")
        let taken = try Program.run(
            Program.meshbench(),
            ["proxy", "--listen", "\(server.address)", "--upstream", "127.0.0.1:1"])
        #expect(taken.end == .exited(1))
    }

    @Test func aLogThatCannotBeWrittenIsAFailure() throws {
        let file = try ConfigurationFile()
        try file.write(
            Self.configuration(.loopback(port: 9), "access_log: /nonexistent/folder/log"))
        let run = try Program.run(Program.meshbench(), ["proxy", "--config", file.path])
        #expect(run.end == .exited(1))
        #expect(run.lines.isEmpty)
    }

    @Test(arguments: ["head: 61KiB", "target: 1MiB", "connections: 1", "headers: 0"])
    func limitsHaveLimits(limit: String) throws {
        let file = try ConfigurationFile()
        try file.write(Self.configuration(.loopback(port: 9), "limits: {\(limit)}"))
        let run = try Program.run(Program.meshbench(), ["proxy", "--config", file.path])
        #expect(run.end == .exited(65))
    }

    /// Whoever trickles at the admin listener is cut off: signals are read by the same thread.
    @Test func aDawdlerAtTheAdminListenerHoldsNobodyUp() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(configuration: Self.configuration(server.address))
        let dawdler = try RawConnection(to: try #require(proxy.admin))
        try dawdler.send("GET /st")
        proxy.process.send(SIGTERM)
        // A byte now and then must not begin the time anew.
        var bytes = 0
        while proxy.process.poll() == nil, bytes < 100 {
            try? dawdler.send("a")
            bytes += 1
            _ = waitReadable([proxy.process.ending], for: .milliseconds(100))
        }
        #expect(proxy.process.poll() == .exited(0))
    }

    /// Nor other clients: it is a service (Runtime/Service) with a bound of eight connections.
    @Test func theAdminListenerServesSeveralAtOnce() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(configuration: Self.configuration(server.address))
        let admin = try #require(proxy.admin)
        let dawdlers = try (0..<7).map { _ in
            let dawdler = try RawConnection(to: admin)
            try dawdler.send("GET /st")
            return dawdler
        }
        let client = try RawConnection(to: admin)
        for _ in 0..<3 {
            try client.send("GET /ready HTTP/1.1\r\nhost: a\r\n\r\n")
            #expect(try client.readAnswer().text == "ready\n")
        }
        let curl = try Program.run(
            "curl", ["-sS", "-m", "20", "--http2-prior-knowledge", "http://\(admin)/ready"])
        #expect(curl.lines == ["ready"])
        for dawdler in dawdlers { #expect(try dawdler.readAnswer().status == 408) }
    }

    @Test func theLogIsReopenedAtHangUp() throws {
        let server = try TestServer.named("backend")
        let folder = try Scratch()
        let log = folder.path("log")
        let proxy = try RunningProxy(
            configuration: Self.configuration(server.address, "access_log: \(log)"))
        func waitForLine(_ path: String, _ text: String) throws {
            let deadline = Clock.now() + RawConnection.patience
            while !tail(of: path, lines: 1).contains(where: { $0.contains(text) }) {
                try #require(Clock.now() < deadline)
                Clock.sleep(until: Clock.now() + .milliseconds(2))
            }
        }
        _ = try proxy.get("/before")
        try waitForLine(log, "\"/before\"")
        let renamed = unsafe rename(log, folder.path("log.1"))
        #expect(renamed == 0)
        proxy.process.send(SIGHUP)
        let deadline = Clock.now() + RawConnection.patience
        while unsafe access(log, F_OK) != 0 { try #require(Clock.now() < deadline) }
        _ = try proxy.get("/after")
        try waitForLine(log, "\"/after\"")
        #expect(tail(of: folder.path("log.1"), lines: 9).count == 1)
    }

    @Test(arguments: [
        "workers: 2", "limits: {headers: 50}", "access_log: \"-\"",
    ])
    func whatCannotChangeIsSaid(change: String) throws {
        let server = try TestServer.named("backend")
        let file = try ConfigurationFile()
        let proxy = try RunningProxy(
            configuration: Self.configuration(server.address), file: file)
        try file.write(Self.configuration(server.address, change))
        proxy.process.send(SIGHUP)
        try proxy.waitForError("only with a restart")
        #expect(try proxy.get("/").text == "backend")
    }

    @Test(arguments: [false, true])
    func filesAreReadInBothForms(json: Bool) throws {
        let server = try TestServer.named("backend")
        let text =
            json
            ? """
            {"listeners": [{"name": "main", "address": "127.0.0.1:0"}],
             "routes": [{"prefix": "/", "cluster": "backend"}],
             "clusters": [{"name": "backend", "endpoints": ["\(server.address)"]}],
             "admin": "127.0.0.1:0", "workers": 2}
            """ : Self.configuration(server.address, "workers: 2")
        let proxy = try RunningProxy(configuration: text)
        #expect(try proxy.get("/").text == "backend")
        let ready = try proxy.admin("/ready")
        #expect(ready.status == 200)
        #expect(ready.text == "ready\n")
        #expect(try proxy.admin("/config").text.contains("\"workers\" : 2"))
        #expect(try proxy.admin("/nowhere").status == 404)
        let admin = try RawConnection(to: try #require(proxy.admin))
        try admin.send("POST /stats HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        #expect(try admin.readAnswer().status == 405)
    }

    @Test func severalWorkersShareTheListener() throws {
        let server = try TestServer.named("backend")
        let proxy = try RunningProxy(
            configuration: Self.configuration(server.address, "workers: 2"))
        // The kernel spreads connections by a hash of their ports: among 64, both workers get some.
        let clients = try (0..<64).map { _ in try proxy.connect() }
        for client in clients {
            try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            #expect(try client.readAnswer().text == "backend")
        }
        #expect(try proxy.stats()["meshbench_proxy_requests_total"] == 64)
        #expect(try proxy.stats()["meshbench_proxy_downstream_connections"] == 64)
        let threads = try #require(proxy.memory("Threads", in: "status"))
        #expect(threads == 3)
        proxy.process.send(SIGTERM)
        #expect(proxy.waitForEnd() == .exited(0))
    }

    @Test func hangUpReadsTheFileAgain() throws {
        let (first, second) = (try TestServer.named("first"), try TestServer.named("second"))
        let file = try ConfigurationFile()
        let listen = "listeners: [{name: main, address: \"127.0.0.1:0\"}]\nadmin: 127.0.0.1:0\n"
        func text(_ server: TestServer, _ more: String = "") -> String {
            listen + "routes: [{cluster: b}]\n"
                + "clusters: [{name: b, endpoints: [\"\(server.address)\"]}]\n" + more
        }
        let proxy = try RunningProxy(configuration: text(first), file: file)
        let client = try proxy.connect()
        func ask() throws -> String {
            try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            return try client.readAnswer().text
        }
        #expect(try ask() == "first")

        try file.write(text(second))
        proxy.process.send(SIGHUP)
        // The client's connection outlives the reload; when it takes hold is the worker's affair.
        let deadline = Clock.now() + RawConnection.patience
        while try ask() == "first" { try #require(Clock.now() < deadline) }
        #expect(try ask() == "second")

        try file.write("routes: [{clster: b}]\n")
        proxy.process.send(SIGHUP)
        try proxy.waitForError("did you mean 'cluster'?")
        #expect(try ask() == "second")

        try file.write(text(first, "workers: 3\n"))
        proxy.process.send(SIGHUP)
        try proxy.waitForError("workers change only with a restart")
        #expect(try ask() == "second")
        #expect(proxy.process.poll() == nil)
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func drainLetsRequestsInFlightEnd(signal: Int32) throws {
        let release = try Recorder<Bool>()
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
            _ = try release.wait(for: 1)
            try call.connection.send("cd")
        }
        let proxy = try RunningProxy(configuration: Self.configuration(server.address))
        let idle = try proxy.connect()
        let busy = try proxy.connect()
        try busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        var answer = try busy.readHead()
        try proxy.wait(for: "downstream_connections") { $0 == 2 }

        proxy.process.send(signal)
        // Who has connected and said nothing is let go; then nobody else gets in.
        #expect(idle.endsWithoutMore())
        try proxy.waitUntilClosed()
        #expect(try proxy.admin("/ready").status == 503)
        #expect(proxy.process.poll() == nil)

        release.note(true)
        try busy.readBody(of: &answer, untilClose: false)
        #expect(answer.text == "abcd")
        #expect(busy.endsWithoutMore())
        #expect(proxy.waitForEnd() == .exited(0))
    }

    @Test func drainEndsWhatWillNotEnd() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            _ = try call.connection.readToEnd()
        }
        let proxy = try RunningProxy(
            configuration: Self.configuration(server.address, "timeouts: {drain: 100ms}"))
        let busy = try proxy.connect()
        try busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        _ = try server.requests.wait(for: 1)
        proxy.process.send(SIGTERM)
        #expect(proxy.waitForEnd() == .exited(0))
        #expect(busy.endsWithoutMore())
    }
}
