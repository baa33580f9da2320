import Base
import FoundationEssentials
import Glibc
import Posix
import Support
import Testing

/// The rate limit service, asked by grpcio and by the proxy.
@Suite struct RateLimitTests {
    private static let rules = """
        domain: shop
        descriptors:
          - {key: user, rate_limit: {unit: year, requests_per_unit: 3}}
          - {key: shadow, shadow_mode: true, rate_limit: {unit: year, requests_per_unit: 1}}
          - key: path
            value: /a
            descriptors:
              - {key: verb, value: GET, rate_limit: {unit: year, requests_per_unit: 2}}
        """

    @Test func othersCanAsk() throws {
        let service = try RunningRateLimit(Self.rules)
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let script = root.appending(path: "Fixtures/grpc/ratelimit_client.py").path
        let run = try Program.run(
            "sh", ["-c", "exec \"$@\" 2>&1", "sh", Program.python, script, "\(service.address)"])
        #expect(run.end == .exited(0), "\(run.lines.joined(separator: "\n"))")
        #expect(run.lines.last == "ok")
        let stats = try service.get("/stats").text
        let lines = ["refused_total 4", "evictions_total 0", "shared_total 0", "shadowed_total 2"]
        for line in lines {
            #expect(stats.contains("meshbench_ratelimit_\(line)\n"), "\(line)\n\(stats)")
        }
        service.process.send(SIGTERM)
        #expect(service.process.wait(until: Clock.now() + .seconds(20)) == .exited(0))
    }

    @Test func whatIsNoCallIsAPage() throws {
        let service = try RunningRateLimit(Self.rules)
        #expect(try service.get("/ready").status == 200)
        #expect(try service.get("/other").status == 404)
    }

    private static func proxy(
        _ server: TestServer, _ service: SocketAddress, denies: Bool
    ) throws -> RunningProxy {
        try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                admin: 127.0.0.1:0
                routes:
                  - cluster: c
                    global_rate_limit:
                      cluster: limits
                      domain: shop
                      timeout: 5s
                      deny: \(denies)
                      tell: true
                      descriptors:
                        - entries: [{key: user, header: x-user}]
                        - entries: [{key: path, from: path}, {key: verb, from: method}]
                clusters:
                  - {name: c, endpoints: ["\(server.address)"]}
                  - {name: limits, protocol: http2, endpoints: ["\(service)"]}
                """)
    }

    @Test func aProxyAsks() throws {
        let service = try RunningRateLimit(Self.rules)
        let server = try TestServer.answering { _ in
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        }
        let proxy = try Self.proxy(server, service.address, denies: true)
        let users = try (0..<4).map { _ in try proxy.get("/b", "x-user: mia\r\n") }
        #expect(users.map(\.status) == [200, 200, 200, 429])
        #expect(users[0]["x-ratelimit-limit"] == "3, 3;w=31536000")
        #expect(users.map { $0["x-ratelimit-remaining"] ?? "" } == ["2", "1", "0", "0"])
        #expect(users[3]["x-envoy-ratelimited"] == "true")
        #expect(users[3]["x-response-flags"] == "RL")
        #expect(try (0..<3).map { _ in try proxy.get("/a").status } == [200, 200, 429])
        #expect(try proxy.get("/b").status == 200)
        // The service is ended as by a power cut, and begins with empty counters elsewhere.
        service.process.send(SIGKILL)
        _ = service.process.wait(until: Clock.now() + .seconds(20))
        let unasked = try proxy.get("/b", "x-user: tom\r\n")
        #expect(unasked.status == 500 && unasked["x-response-flags"] == "RLSE")
        #expect(unasked.text.contains("rate_limiter_error"))
        try proxy.wait(for: "global_rate_limit_over_limit_total") { $0 == 2 }
        try proxy.wait(for: "global_rate_limit_error_total") { $0 == 1 }
        let open = try Self.proxy(server, service.address, denies: false)
        #expect(try open.get("/b", "x-user: tom\r\n").status == 200)
        try open.wait(for: "global_rate_limit_failure_mode_allowed_total") { $0 == 1 }
    }

    @Test(arguments: [
        ("domain: shop", "descriptors"),
        ("domain: shop\ndescriptors: [{key: a, rate_limit: {unit: week}}]", "unit"),
        ("domain: shop\ndescriptors: [{key: a}, {key: a}]", "stands in this list already"),
        ("domain: shop\ndescriptors: [{key: a, unlimited: true}]", "unknown key 'unlimited'"),
    ])
    func rulesThatAreNone(_ text: String, _ word: String) throws {
        let scratch = try Scratch()
        let file = scratch.path("rules.yaml")
        try Data(text.utf8).write(to: URL(filePath: file))
        let run = try Program.run(
            "sh",
            [
                "-c", "exec \"$@\" 2>&1", "sh", try Program.meshbench(), "ratelimit", file,
                "--listen", "127.0.0.1:0",
            ])
        #expect(run.end == .exited(65))
        #expect(run.lines.contains { $0.contains(word) }, "\(run.lines)")
    }
}
