import Base
import FoundationEssentials
import Glibc
import Model
import Posix
import Support
import Testing

/// Leases on faults of running processes, taken and let go by curl.
@Suite struct FaultLeaseTests {
    private func curl(
        _ method: String, _ url: String, _ body: String = ""
    ) throws -> (status: String, body: String) {
        let words = ["-sS", "-m", "20", "-X", method, "-w", "\n%{http_code}", url]
        let data = body.isEmpty ? [] : ["--data-binary", body]
        var lines = try Program.run("curl", words + data).lines
        let status = lines.popLast() ?? ""
        return (status, lines.joined(separator: "\n"))
    }

    private func report(_ address: SocketAddress) throws -> FaultReport {
        let text = try curl("GET", "http://\(address)/faults").body
        return try JSONDecoder().decode(FaultReport.self, from: Data(text.utf8))
    }

    private static func proxy(to address: SocketAddress, ledger: String) throws -> RunningProxy {
        try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{cluster: c}]
                clusters: [{name: c, endpoints: ["\(address)"]}]
                admin: 127.0.0.1:0
                workers: 2
                ledger: \(ledger)
                """)
    }

    private let abort = "{\"rule\": {\"point\": \"client-egress-before-retry\", "

    @Test func aProxyAbortsAsLongAsTheLeaseIsThere() throws {
        let folder = try Scratch()
        let ledger = folder.path("ledger.jsonl")
        let app = try RunningApp("--listen", "127.0.0.1:0")
        let proxy = try Self.proxy(to: app.address, ledger: ledger)
        let admin = try #require(proxy.admin)
        let url = "http://\(admin)/faults/down"
        #expect(try proxy.get("/").status == 200)
        let order = abort + "\"abort\": {\"http\": 418}}, \"ttl_ms\": 60000}"
        #expect(try curl("PUT", url, order).status == "204")
        // The workers hear of it with their next turn.
        try wait { try proxy.get("/", "x-request-id: r-1\r\n").status == 418 }
        let entry = try #require(try report(admin).faults.first)
        #expect(entry.name == "down" && entry.isLease && entry.aborted >= 1)
        #expect((entry.untilNs ?? 0) > entry.sinceNs)
        let text = try String(contentsOf: URL(filePath: ledger), encoding: .utf8)
        #expect(text.contains("\"request\":\"r-1\",\"attempt\":1,\"abort_http\":418}\n"))
        #expect(try curl("DELETE", url).status == "204")
        // It is over at once, for all workers.
        for _ in 0..<8 { #expect(try proxy.get("/").status == 200) }
        #expect(try curl("DELETE", url).status == "404")
        #expect(try report(admin).faults.isEmpty)
    }

    @Test func whenItsHolderIsKilledAFaultIsGone() throws {
        let folder = try Scratch()
        let app = try RunningApp("--listen", "127.0.0.1:0")
        let proxy = try Self.proxy(to: app.address, ledger: folder.path("ledger.jsonl"))
        let admin = try #require(proxy.admin)
        let order = abort + "\"abort\": {\"http\": 503}}, \"ttl_ms\": 3000}"
        let loop =
            "while :; do curl -sS -X PUT --data-binary '\(order)' http://\(admin)/faults/down; "
            + "sleep 0.1; done"
        let holder = try Process(
            ProcessCommand(name: "holder", program: "sh", arguments: ["-c", loop]))
        try wait { try report(admin).faults.first?.untilNs != nil }
        let first = try report(admin).faults.first?.untilNs ?? 0
        try wait { (try report(admin).faults.first?.untilNs ?? 0) > first }
        #expect(try proxy.get("/").status == 503)
        holder.send(SIGKILL)
        try wait { try proxy.get("/").status == 200 }
        #expect(try report(admin).faults.isEmpty)
    }

    @Test(arguments: [
        ("", "400"), ("[]", "400"), ("{\"rule\": {}}", "400"),
        ("{\"rule\": {\"point\": \"app\", \"hangs\": true}, \"ttl_ms\": 5}", "400"),
        ("{\"rule\": {\"point\": \"per-attempt\"}, \"ttl_ms\": 5}", "400"),
        ("{\"rule\": {\"point\": \"per-attempt\", \"abort\": {\"http\": 500}}}", "400"),
        (
            "{\"rule\": {\"point\": \"per-attempt\", \"abort\": {\"http\": 500}}, "
                + "\"ttl_ms\": 600000}", "400"
        ),
        (String(repeating: "[", count: 30_000), "400"),
        (String(repeating: " ", count: 40_000), "413"),
    ])
    func whatIsNoOrderIsRefused(body: String, status: String) throws {
        let app = try RunningApp("--listen", "127.0.0.1:0")
        let folder = try Scratch()
        let other = try Self.proxy(to: app.address, ledger: folder.path("l"))
        let admin = try #require(other.admin)
        let data = folder.path("body")
        try Data(body.utf8).write(to: URL(filePath: data))
        #expect(try curl("PUT", "http://\(admin)/faults/a", "@" + data).status == status)
        #expect(try report(admin).faults.isEmpty)
        #expect(try other.get("/").status == 200)
    }

    // MARK: The workload

    @Test func theWorkloadHangsAndLetsGo() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0", "--control", "127.0.0.1:0")
        let control = try #require(app.control)
        let order = "{\"rule\": {\"point\": \"app\", \"hangs\": true}, \"ttl_ms\": 60000}"
        #expect(try curl("PUT", "http://\(control)/faults/h", order).status == "204")
        let client = try RawConnection(to: app.address)
        // Until the worker has heard of it requests are answered.
        try wait {
            try client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            var state = pollfd(fd: client.socket, events: Int16(POLLIN), revents: 0)
            let isAnswered = unsafe poll(&state, 1, 300) == 1
            if isAnswered { _ = try client.readAnswer() }
            return !isAnswered
        }
        #expect(try report(control).faults.first?.hung == 1)
        #expect(try curl("DELETE", "http://\(control)/faults/h").status == "204")
        #expect(try client.readAnswer().status == 200)
    }

    @Test func aCapacityIsKeptTo() throws {
        let folder = try Scratch()
        let log = folder.path("requests.jsonl")
        let app = try RunningApp(
            "--listen", "127.0.0.1:0", "--workers", "2", "--delay", "1500ms", "--capacity", "2+1",
            "--request-log", log)
        let clients = try (0..<4).map { _ in try RawConnection(to: app.address) }
        for (index, client) in clients.enumerated() {
            try client.send(
                "GET / HTTP/1.1\r\nhost: a\r\nx-request-id: r-\(index)\r\n"
                    + "x-envoy-attempt-count: 2\r\n\r\n")
            // One after the other: which is turned away is then known.
            if index < 3 { try app.wait(for: "\"requests\":\(index + 1)") }
        }
        #expect(try clients[3].readAnswer().status == 503)
        for client in clients[..<3] { #expect(try client.readAnswer().status == 200) }
        let stats = try app.get("/app/stats").text
        #expect(
            stats.contains(
                "\"capacity\":{\"now\":0,\"max\":2,\"waiting\":0,\"max_waiting\":1,\"refused\":1}"),
            "\(stats)")
        try wait {
            let text = try String(contentsOf: URL(filePath: log), encoding: .utf8)
            return text.split(separator: "\n").count == 4
                && text.contains("\"request\":\"r-2\",\"attempt\":2")
        }
    }

    @Test func theFirstAttemptsFail() throws {
        let app = try RunningApp("--listen", "127.0.0.1:0")
        func status(_ target: String, _ fields: String) throws -> Int {
            let client = try RawConnection(to: app.address)
            try client.send("GET \(target) HTTP/1.1\r\nhost: a\r\n\(fields)\r\n")
            return try client.readAnswer().status
        }
        let counted = (1...4).map { "x-envoy-attempt-count: \($0)\r\n" }
        #expect(
            try counted.map { try status("/?succeed_after=2", $0) } == [503, 503, 200, 200])
        let id = "x-request-id: one\r\nx-app-succeed-after: 1\r\nx-app-status: 500\r\n"
        #expect(try (0..<3).map { _ in try status("/", id) } == [500, 200, 200])
        #expect(try status("/?succeed_after=x", "") == 400)
    }

    private func wait(_ condition: () throws -> Bool) throws {
        let deadline = Clock.now() + RawConnection.patience
        while !(try condition()) {
            guard Clock.now() < deadline else { throw WireFailure.timedOut }
            Clock.sleep(until: Clock.now() + .milliseconds(5))
        }
    }
}
