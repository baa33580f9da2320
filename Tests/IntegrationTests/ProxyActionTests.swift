import Posix
import Support
import Testing

/// What routes do with requests beside where they send them, as curl sees it over HTTP/1.1 and
/// HTTP/2.
@Suite struct ProxyActionTests {
    enum Speech: String, CaseIterable {
        case http1 = "--http1.1"
        case http2 = "--http2-prior-knowledge"

        var version: String { self == .http1 ? "HTTP/1.1" : "HTTP/2" }
    }

    /// Answers with what it was asked, in fields.
    private static func server() throws -> TestServer {
        try TestServer.answering { request in
            "HTTP/1.1 200 OK\r\nx-target: \(request.target)\r\nx-host: \(request["host"] ?? "")\r\n"
                + "x-seen: \(request["x-new"] ?? "none"), \(request["x-old"] ?? "none")\r\n"
                + "x-secret: 1\r\ncontent-length: 2\r\n\r\nok"
        }
    }

    private static func proxy(_ server: TestServer) throws -> RunningProxy {
        try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                admin: 127.0.0.1:0
                routes:
                  - {prefix: /v1, cluster: c, rewrite: {prefix: /v2}, host_rewrite: "inner:81"}
                  - regex: "/users/[0-9]+"
                    cluster: c
                    rewrite: {regex: "^/users/([0-9]+)", substitution: '/u/\\1'}
                  - {prefix: /old, redirect: {path: /new, status: 308, port: 8443, scheme: https}}
                  - prefix: /down
                    answer: {status: 503, body: "closed\\n"}
                    response_headers: {set: {content-type: text/x-note}}
                  - prefix: /limited
                    cluster: c
                    rate_limits: [{burst: 2, fill: 1, interval: 24h, tell: true}]
                  - cluster: c
                    request_headers: {set: {x-new: "1"}, remove: [x-old]}
                    response_headers: {add: {x-by: mesh}, remove: [x-secret]}
                clusters: [{name: c, endpoints: ["\(server.address)"]}]
                """)
    }

    /// The lines of an answer's head, and behind an empty one its body.
    private static func curl(
        _ proxy: RunningProxy, _ speech: Speech, _ path: String, _ more: [String] = []
    ) throws -> [String] {
        let words = ["-sS", "-m", "20", "-i", speech.rawValue, "http://\(proxy.address)\(path)"]
        let run = try Program.run("curl", words + more)
        try #require(run.end == .exited(0))
        return run.lines.map { $0.hasSuffix("\r") ? String($0.dropLast()) : $0 }
    }

    @Test(arguments: Speech.allCases) func requestsAreRewritten(_ speech: Speech) throws {
        let server = try Self.server()
        let proxy = try Self.proxy(server)
        let prefix = try Self.curl(proxy, speech, "/v1/a?b=/v1")
        #expect(prefix[0].hasPrefix(speech.version))
        #expect(prefix.contains("x-target: /v2/a?b=/v1") && prefix.contains("x-host: inner:81"))
        let regex = try Self.curl(proxy, speech, "/users/17?x")
        #expect(regex.contains("x-target: /u/17?x"), "\(regex)")
        let seen = server.requests.all.map { $0["x-envoy-original-path"] }
        #expect(seen == ["/v1/a?b=/v1", "/users/17?x"])
    }

    @Test(arguments: Speech.allCases) func fieldsAreChanged(_ speech: Speech) throws {
        let server = try Self.server()
        let proxy = try Self.proxy(server)
        let lines = try Self.curl(proxy, speech, "/x", ["-H", "x-old: 2", "-H", "X-New: 0"])
        #expect(lines.contains("x-seen: 1, none") && lines.contains("x-by: mesh"))
        #expect(!lines.contains { $0.hasPrefix("x-secret") })
    }

    /// None of these comes to the server.
    @Test(arguments: Speech.allCases) func theProxyAnswers(_ speech: Speech) throws {
        let server = try Self.server()
        let proxy = try Self.proxy(server)
        let elsewhere = try Self.curl(proxy, speech, "/old/x?y=1")
        #expect(elsewhere[0].hasPrefix("\(speech.version) 308"))
        #expect(elsewhere.contains("location: https://127.0.0.1:8443/new?y=1"), "\(elsewhere)")
        // Over HTTP/2 a curl as old as 7.88 takes it for an error that its body is not wanted.
        let body = speech == .http1 ? ["-d", "body"] : []
        let down = try Self.curl(proxy, speech, "/down", body)
        #expect(down[0].hasPrefix("\(speech.version) 503") && down.last == "closed")
        #expect(down.contains("content-type: text/x-note"))
        #expect(server.requests.all.isEmpty)
    }

    /// Two tokens, of which none comes back while the test runs.
    @Test(arguments: Speech.allCases) func limitsAreTold(_ speech: Speech) throws {
        let server = try Self.server()
        let proxy = try Self.proxy(server)
        for left in [1, 0] {
            let lines = try Self.curl(proxy, speech, "/limited")
            #expect(lines[0].hasPrefix("\(speech.version) 200"))
            #expect(lines.contains("x-ratelimit-limit: 2"))
            #expect(lines.contains("x-ratelimit-remaining: \(left)"))
        }
        let lines = try Self.curl(proxy, speech, "/limited")
        #expect(lines[0].hasPrefix("\(speech.version) 429"))
        #expect(lines.contains("x-envoy-ratelimited: true"))
        #expect(lines.contains("x-ratelimit-remaining: 0"))
        #expect(lines.contains { $0.hasPrefix("retry-after: 86") }, "\(lines)")
        #expect(server.requests.all.count == 2)
        #expect(try Self.curl(proxy, speech, "/x")[0].hasPrefix("\(speech.version) 200"))
    }
}
