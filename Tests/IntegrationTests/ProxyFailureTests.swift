import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// What goes wrong upstream: the status, the flag in the access log and in the counters.
@Suite struct ProxyFailureTests {
    /// A proxy before `endpoint` that logs to standard output.
    private static func logging(_ endpoint: SocketAddress?, _ more: String = "") throws
        -> RunningProxy
    {
        let list = endpoint.map { "\"\($0)\"" } ?? ""
        return try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{prefix: /, cluster: b}]
                clusters: [{name: b, endpoints: [\(list)], connect_timeout: 200ms}]
                admin: 127.0.0.1:0
                access_log: "-"
                \(more)
                """)
    }

    /// The answer to a GET has this status and flag, and so have log and counters.
    private static func expect(
        _ status: Int, _ flag: String, _ details: String, from proxy: RunningProxy,
        _ sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let client = try proxy.connect()
        try client.send("GET /x HTTP/1.1\r\nhost: a\r\n\r\n")
        let answer = try client.readAnswer()
        #expect(answer.status == status, sourceLocation: sourceLocation)
        #expect(answer["x-response-flags"] == flag, sourceLocation: sourceLocation)
        // The client's connection is in order and goes on.
        #expect(answer["connection"] == nil, sourceLocation: sourceLocation)
        let line = try proxy.nextLogLine()
        #expect(line.status == status, sourceLocation: sourceLocation)
        #expect(line.flags == flag, sourceLocation: sourceLocation)
        #expect(line.details == details, sourceLocation: sourceLocation)
        #expect(line.path == "/x" && line.method == "GET", sourceLocation: sourceLocation)
        let stats = try proxy.stats()
        #expect(
            stats["meshbench_proxy_response_flags_total{flag=\"\(flag)\"}"] == 1,
            sourceLocation: sourceLocation)
        #expect(
            stats["meshbench_proxy_responses_\(status / 100)xx_total"] == 1,
            sourceLocation: sourceLocation)
    }

    @Test func aRefusedConnection() throws {
        let server = try ReservedAddress()
        try Self.expect(
            503, "UF", "upstream_reset_before_response_started{connection_failure}",
            from: Self.logging(server.address))
    }

    /// A listener whose queue is full lets a connection wait for ever.
    @Test func aConnectionThatIsNotAccepted() throws {
        let listener = try Socket.listen(on: .loopback(port: 0), sharing: false, backlog: 0)
        let address = try Socket.localAddress(of: listener.number)
        var waiting: [Int32] = []
        defer { waiting.forEach { Socket.close($0) } }
        for _ in 0..<4 { waiting.append(try Socket.connect(to: address)) }
        let proxy = try Self.logging(address)
        try Self.expect(
            503, "UF", "upstream_reset_before_response_started{connection_timeout}", from: proxy)
        #expect(try proxy.stats()["meshbench_proxy_upstream_connect_timeouts_total"] == 1)
    }

    @Test func aClusterWithoutEndpoints() throws {
        try Self.expect(503, "UH", "no_healthy_upstream{no_endpoint}", from: Self.logging(nil))
    }

    @Test func noRoute() throws {
        let server = try TestServer.named("b")
        let proxy = try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{prefix: /y, cluster: b}]
                clusters: [{name: b, endpoints: ["\(server.address)"]}]
                admin: 127.0.0.1:0
                access_log: "-"
                """)
        try Self.expect(404, "NR", "route_not_found", from: proxy)
    }

    @Test func anAnswerThatDoesNotCome() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            _ = try call.connection.readToEnd()
        }
        try Self.expect(
            504, "UT", "response_timeout",
            from: Self.logging(server.address, "timeouts: {request: 100ms}"))
    }

    @Test(arguments: ["", "HTTP/1.1 200 OK\r\ncontent-le"])
    func aConnectionThatEndsBeforeTheAnswer(sent: String) throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send(sent)
        }
        let proxy = try Self.logging(server.address)
        try Self.expect(
            503, "UC", "upstream_reset_before_response_started{connection_termination}",
            from: proxy)
        // A fresh connection was used: there was nothing stale to retry.
        #expect(server.connections.all.count == 1)
    }

    @Test func aConnectionThatIsReset() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            call.connection.close(reset: true)
        }
        try Self.expect(
            503, "UC", "upstream_reset_before_response_started{connection_termination}",
            from: Self.logging(server.address))
    }

    @Test(arguments: [
        (
            "HTTP/1.1 200 OK\r\nx: \(String(repeating: "y", count: 40_000))\r\n\r\n",
            "head_too_large"
        ),
        (String(repeating: "HTTP/1.1 102 Processing\r\n\r\n", count: 17), "too_many_1xx"),
        ("garbage\r\n\r\n", "bad_version"),
        ("HTTP/1.1 200 OK\r\nx : y\r\n\r\n", "space_before_colon"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "several_content_lengths"
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "length_and_transfer_encoding"
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            "unasked_upgrade"
        ),
    ])
    func anAnswerThatBreaksTheProtocol(answer: String, details: String) throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send(answer)
            _ = try call.connection.readToEnd()
        }
        try Self.expect(
            502, "UPE", "upstream_reset_before_response_started{protocol_error|\(details)}",
            from: Self.logging(server.address))
    }

    /// What has begun cannot be taken back: the client is shown that it is not whole.
    @Test(arguments: [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n",
    ])
    func anAnswerThatStopsHalfWay(sent: String) throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send(sent)
        }
        let proxy = try Self.logging(server.address)
        let client = try proxy.connect()
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(throws: WireFailure.self) { try client.readAnswer() }
        let line = try proxy.nextLogLine()
        #expect(line.status == 200)
        #expect(["UC", "UPE"].contains(line.flags))
        #expect(line.details.hasPrefix("upstream_reset_after_response_started{"))
    }

    /// A service may answer and close before it has read the request: its answer counts.
    @Test func anEarlyAnswerIsPassedOn() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.connection.readHead()
            try call.connection.send(
                "HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n"
                    + "connection: close\r\n\r\nbig"
            )
        }
        let proxy = try RunningProxy(to: server.address)
        let megabyte = [UInt8](repeating: 0, count: 1 << 20)
        for _ in 0..<20 {
            let client = try proxy.connect()
            try client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: \(8 << 20)\r\n\r\n")
            // The proxy stops reading at some point; then sending fails.
            for _ in 0..<8 { try? client.send(megabyte) }
            let answer = try client.readAnswer()
            #expect(answer.status == 413)
            #expect(answer.text == "big")
            #expect(answer["connection"] == "close")
        }
    }

    @Test func aStalledAnswer() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
            _ = try call.connection.readToEnd()
        }
        let proxy = try Self.logging(
            server.address, "timeouts: {request: 0s, stream_idle: 100ms}")
        let client = try proxy.connect()
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(throws: WireFailure.self) { try client.readAnswer() }
        #expect(try proxy.nextLogLine().flags == "SI")
    }

    @Test func aClientThatGoesAway() throws {
        let server = try TestServer { call throws(WireFailure) in
            _ = try call.readRequest()
            _ = try call.connection.readToEnd()
        }
        let proxy = try Self.logging(server.address)
        let client = try proxy.connect()
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        _ = try server.requests.wait(for: 1)
        client.close(reset: true)
        let line = try proxy.nextLogLine()
        #expect(line.flags == "DC")
        #expect(line.status == 0)
        try proxy.wait(for: "upstream_connections") { $0 == 0 }
    }

    @Test func tooManyAtOnceOverflow() throws {
        let release = try Recorder<Bool>()
        let server = try TestServer { call throws(WireFailure) in
            while true {
                _ = try call.readRequest()
                _ = try release.wait(for: 1)
                try call.connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            }
        }
        let proxy = try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{cluster: b}]
                clusters:
                  - name: b
                    endpoints: ["\(server.address)"]
                    breaker: {connections: 1, pending: 1}
                admin: 127.0.0.1:0
                """)
        let clients = try (0..<3).map { number in
            let client = try proxy.connect()
            try client.send("GET /\(number) HTTP/1.1\r\nhost: a\r\n\r\n")
            try proxy.wait(for: "requests_total") { $0 == Double(number + 1) }
            return client
        }
        let overflow = try clients[2].readAnswer()
        #expect(overflow.status == 503)
        #expect(overflow["x-response-flags"] == "UO")
        release.note(true)
        #expect(try clients[0].readAnswer().text == "ok")
        #expect(try clients[1].readAnswer().text == "ok")
        #expect(server.connections.all.count == 1)
        let stats = try proxy.stats()
        #expect(stats["meshbench_proxy_pending_overflow_total"] == 1)
        #expect(stats["meshbench_proxy_response_flags_total{flag=\"UO\"}"] == 1)
    }

    @Test func linesOfSeveralWorkersDoNotMix() throws {
        let server = try TestServer.named("b")
        let proxy = try Self.logging(server.address, "workers: 2")
        let target = "/" + String(repeating: "a", count: 700)
        let clients = try (0..<16).map { _ in try proxy.connect() }
        let rounds = 20
        for client in clients {
            try client.send(
                String(
                    repeating: "GET \(target) HTTP/1.1\r\nhost: a\r\n\r\n", count: rounds))
        }
        for _ in 0..<(clients.count * rounds) {
            let line = try proxy.nextLogLine()
            #expect(line.path == target)
            #expect(line.status == 200)
            #expect(line.client == "127.0.0.1")
            #expect(line.cluster == "b" && line.upstream == "\(server.address)")
        }
        for client in clients {
            for _ in 0..<rounds { #expect(try client.readAnswer().text == "b") }
        }
    }

    /// Standard output may be a file that others write to: nothing in it is written over.
    @Test func linesInAFileAreAppended() throws {
        let server = try TestServer.named("b")
        let folder = try Scratch()
        let log = folder.path("log")
        try "earlier\n".write(toFile: log, atomically: false, encoding: .utf8)
        let address: SocketAddress
        do {
            let listener = try Socket.listen(on: .loopback(port: 0), sharing: false)
            address = try Socket.localAddress(of: listener.number)
        }
        let file = try ConfigurationFile()
        try file.write(
            """
            listeners: [{name: main, address: "\(address)"}]
            routes: [{cluster: b}]
            clusters: [{name: b, endpoints: ["\(server.address)"]}]
            access_log: "-"
            workers: 2
            """)
        let process = try Process(
            ProcessCommand(
                name: "proxy", program: "sh",
                arguments: [
                    "-c", "exec \"$0\" proxy --config \"$1\" >> \"$2\"", try Program.meshbench(),
                    file.path, log,
                ]))
        defer { _ = process.terminate(grace: .zero) }
        let deadline = Clock.now() + RawConnection.patience
        while (try? RawConnection(to: address)) == nil {
            try #require(Clock.now() < deadline)
            _ = waitReadable([-1], for: .milliseconds(10))
        }
        let clients = try (0..<8).map { _ in try RawConnection(to: address) }
        for _ in 0..<20 {
            for client in clients { try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n") }
            for client in clients { #expect(try client.readAnswer().text == "b") }
        }
        process.send(SIGTERM)
        #expect(process.wait(until: deadline) == .exited(0))
        let lines = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
        #expect(lines.first == "earlier")
        #expect(lines.count { $0.contains("\"status\":200") && $0.hasSuffix("}") } == 160)
        #expect(lines.count == 162, "and the line that says that it is ready")
    }

    /// Nobody reads the log: what does not fit is lost and counted, and everybody is served.
    @Test func aLogThatNobodyReadsHoldsNobodyUp() throws {
        let server = try TestServer.named("b")
        let proxy = try Self.logging(server.address)
        let client = try proxy.connect()
        let target = "/" + String(repeating: "a", count: 1000)
        for _ in 0..<1000 {
            try client.send("GET \(target) HTTP/1.1\r\nhost: a\r\n\r\n")
            #expect(try client.readAnswer().text == "b")
        }
        try proxy.wait(for: "access_log_dropped_total") { $0 > 0 }
        #expect(try proxy.nextLogLine().path == target)
    }

    @Test func idleConnectionsAreClosed() throws {
        let server = try TestServer.named("b")
        let proxy = try Self.logging(server.address, "timeouts: {idle: 150ms}")
        let silent = try proxy.connect()
        let client = try proxy.connect()
        try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(try client.readAnswer().status == 200)
        #expect(silent.endsWithoutMore())
        #expect(client.endsWithoutMore())
        // Two of clients, one in the pool.
        try proxy.wait(for: "idle_timeouts_total") { $0 == 3 }
        try proxy.wait(for: "upstream_connections") { $0 == 0 }
    }

    @Test func aHeadThatDoesNotEndInTime() throws {
        let server = try TestServer.named("b")
        let proxy = try Self.logging(server.address, "timeouts: {head: 100ms}")
        let client = try proxy.connect()
        try client.send("GET / HTTP/1.1\r\nhost:")
        #expect(try client.readAnswer().status == 408)
        #expect(client.endsWithoutMore())
        #expect(try proxy.nextLogLine().details == "request_header_timeout")
    }
}
