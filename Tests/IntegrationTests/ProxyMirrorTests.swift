import Posix
import Support
import Testing

/// Mirrors over real sockets: curl asks, one server answers, and others get the same.
@Suite struct ProxyMirrorTests {
    private static func proxy(
        _ main: TestServer, _ mirror: TestServer, _ more: String = ""
    ) throws -> RunningProxy {
        try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                admin: 127.0.0.1:0
                routes:
                  - {cluster: c, mirror: [{cluster: m}], request_headers: {set: {x-new: "1"}}}
                clusters:
                  - {name: c, endpoints: ["\(main.address)"]}
                  - {name: m, endpoints: ["\(mirror.address)"]\(more)}
                """)
    }

    private static func curl(
        _ proxy: RunningProxy, _ speech: ProxyActionTests.Speech, _ more: [String]
    ) throws -> [String] {
        let words = ["-sS", "-m", "20", speech.rawValue, "http://\(proxy.address)/a?b"]
        let run = try Program.run("curl", words + more)
        #expect(run.end == .exited(0))
        return run.lines
    }

    /// Whatever the mirror answers, the client hears the main server alone; both have got the
    /// request and its body.
    @Test(arguments: ProxyActionTests.Speech.allCases)
    func theMirrorGetsAllAndIsNotHeard(_ speech: ProxyActionTests.Speech) throws {
        let main = try TestServer.answering { _ in
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmain"
        }
        let mirror = try TestServer.answering { _ in
            "HTTP/1.1 500 No\r\ncontent-length: 6\r\n\r\nmirror"
        }
        let proxy = try Self.proxy(main, mirror)
        let body = String(repeating: "x", count: 5000)
        for _ in 0..<20 {
            #expect(try Self.curl(proxy, speech, ["-d", body]) == ["main"])
        }
        try proxy.wait(for: "mirrored_requests_answered_total") { $0 == 20 }
        #expect(main.requests.all.count == 20 && mirror.requests.all.count == 20)
        for request in mirror.requests.all {
            #expect(request.target == "/a?b" && request["x-new"] == "1")
            let host = request["host"] ?? ""
            #expect(host == "\(proxy.address)".replacing(":", with: "-shadow:", maxReplacements: 1))
            #expect(request["content-length"] == "5000")
        }
        let stats = try proxy.stats()
        #expect(stats["meshbench_proxy_requests_total"] == 20)
        #expect(stats["meshbench_proxy_responses_5xx_total"] == 0)
    }

    /// A mirror that nobody serves, or that never answers, costs the client nothing.
    @Test func aMirrorThatIsLostIsNotMissed() throws {
        let main = try TestServer.answering { _ in
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmain"
        }
        let silent = try TestServer.answering { _ in "" }
        let proxy = try Self.proxy(main, silent, ", request_timeout: 200ms")
        for _ in 0..<10 { #expect(try Self.curl(proxy, .http1, []) == ["main"]) }
        try proxy.wait(for: "mirrored_requests_failed_total") { $0 == 10 }
        #expect(try proxy.stats()["meshbench_proxy_requests_completed_total"] == 10)
    }
}
