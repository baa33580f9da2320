import Base
import Posix
import Support
import Testing

/// What desynchronizes parsers is answered with a clear status, the connection closes, and nothing
/// of it reaches the upstream.
@Suite struct ProxyRefusalTests {
    /// A bad request, the status it gets and the reason in the access log.
    struct Case: Sendable, CustomTestStringConvertible {
        var request: String
        var status: Int
        var detail: String
        var testDescription: String { "\(detail): \(request.prefix(60).debugDescription)" }

        init(_ request: String, _ status: Int, _ detail: String) {
            self.request = request
            self.status = status
            self.detail = detail
        }

        /// With these field lines after the host.
        static func fields(_ lines: String, _ status: Int, _ detail: String) -> Case {
            Case("POST / HTTP/1.1\r\nhost: a\r\n\(lines)\r\n\r\n", status, detail)
        }
    }

    static let heads: [Case] = [
        .fields(
            "content-length: 5\r\ntransfer-encoding: chunked", 400, "length_and_transfer_encoding"),
        .fields(
            "transfer-encoding: chunked\r\ncontent-length: 5", 400, "length_and_transfer_encoding"),
        .fields("content-length: 5\r\ncontent-length: 5", 400, "several_content_lengths"),
        .fields("content-length: 5\r\ncontent-length: 6", 400, "several_content_lengths"),
        .fields("content-length: 5, 5", 400, "bad_content_length"),
        .fields("content-length: +5", 400, "bad_content_length"),
        .fields("content-length: -1", 400, "bad_content_length"),
        .fields("content-length: 0x5", 400, "bad_content_length"),
        .fields("content-length: 99999999999999999999", 400, "bad_content_length"),
        .fields("content-length:", 400, "bad_content_length"),
        .fields("transfer-encoding: gzip, chunked", 501, "unknown_transfer_coding"),
        .fields("transfer-encoding: chunked, chunked", 400, "bad_transfer_encoding"),
        .fields("transfer-encoding: xchunked", 400, "bad_transfer_encoding"),
        .fields("x-a: b\r\n c", 400, "folded_line"),
        .fields("x-a: b\r\n\tc", 400, "folded_line"),
        .fields("x-a : b", 400, "space_before_colon"),
        .fields("x(a: b", 400, "bad_field_name"),
        .fields(": b", 400, "bad_field_name"),
        .fields("no-colon", 400, "bad_field_name"),
        .fields("x-a: b\u{0}c", 400, "bad_field_value"),
        .fields("x-a: b\u{7f}c", 400, "bad_field_value"),
        .fields("x-a: b\u{1}c", 400, "bad_field_value"),
        .fields("x-a: b\rc: d", 400, "bare_cr"),
        .fields("x-a: b\nc: d", 400, "bare_lf"),
        .fields("host: a", 400, "several_hosts"),
        .fields("host: b", 400, "several_hosts"),
        .fields("expect: the-unexpected", 417, "unknown_expectation"),
        Case("GET / HTTP/1.1\nhost: a\n\n", 400, "bare_lf"),
        Case("GET / HTTP/1.1\rhost: a\r\n\r\n", 400, "bare_cr"),
        Case("GET / HTTP/1.1\r\n\r\n", 400, "missing_host"),
        Case("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400, "bad_host"),
        Case("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", 400, "bad_host"),
        Case("GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", 400, "conflicting_host"),
        Case("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad_target"),
        Case("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505, "unsupported_version"),
        Case("GET / http/1.1\r\nhost: a\r\n\r\n", 400, "bad_version"),
        Case("GET /\u{1} HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad_target"),
        Case("GET a HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad_target"),
        Case("G@T / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad_method"),
        Case("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", 400, "bad_method"),
        Case(
            "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400,
            "transfer_encoding_in_http_1_0"),
        Case(
            "GET /\(String(repeating: "a", count: 9000)) HTTP/1.1\r\nhost: a\r\n\r\n", 414,
            "target_too_long"),
        .fields("x-long: \(String(repeating: "b", count: 40_000))", 431, "head_too_large"),
        .fields(
            (0..<101).map { "x-\($0): 1" }.joined(separator: "\r\n"), 431, "too_many_fields"),
    ]

    @Test func badHeadsAreRefused() throws {
        let server = try TestServer.named("backend")
        let proxy = try Self.logging(to: server)
        for bad in Self.heads {
            let client = try proxy.connect()
            try client.send(bad.request)
            let answer = try client.readAnswer()
            #expect(answer.status == bad.status, "\(bad.testDescription)")
            #expect(answer["connection"] == "close", "\(bad.testDescription)")
            #expect(answer["x-response-flags"] == "DPE", "\(bad.testDescription)")
            #expect(client.endsWithoutMore(), "\(bad.testDescription)")
            client.close()
            let line = try proxy.nextLogLine()
            #expect(line.details == "codec_error{\(bad.detail)}", "\(bad.testDescription)")
            #expect(line.status == bad.status && line.flags == "DPE")
        }
        #expect(server.connections.all.isEmpty)
        let stats = try proxy.stats()
        let count = Double(Self.heads.count)
        #expect(stats["meshbench_proxy_protocol_errors_total"] == count)
        #expect(stats["meshbench_proxy_response_flags_total{flag=\"DPE\"}"] == count)
    }

    /// What comes behind the first request in one segment must not be lost, nor believed.
    @Test func aBadRequestBehindAGoodOneIsRefusedAlone() throws {
        let server = try TestServer.named("backend")
        let proxy = try Self.logging(to: server)
        let client = try proxy.connect()
        try client.send(
            "GET /good HTTP/1.1\r\nhost: a\r\n\r\n"
                + "POST /bad HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
                + "GET /never HTTP/1.1\r\nhost: a\r\n\r\n")
        #expect(try client.readAnswer().text == "backend")
        #expect(try client.readAnswer().status == 400)
        #expect(client.endsWithoutMore())
        #expect(server.requests.all.map(\.target) == ["/good"])
    }

    @Test(arguments: [
        ("zz\r\n", "bad_chunk_size"), ("-1\r\n", "bad_chunk_size"), (" 5\r\n", "bad_chunk_size"),
        ("5 \r\nhello\r\n", "bad_chunk_size"), ("0x5\r\nhello", "bad_chunk_size"),
        ("\r\n", "bad_chunk_size"), ("5\nhello", "bare_lf"), ("5\r\nhelloo\r\n", "bad_chunk_end"),
        ("fffffffffffffffff\r\n", "chunk_too_large"), ("5;a=\u{1}\r\nhello", "bad_chunk_extension"),
        ("5;a\nhello", "bare_lf"),
        ("1;\(String(repeating: "e", count: 5000))\r\n", "chunk_extensions_too_long"),
        ("0\r\nbad trailer\r\n\r\n", "bad_trailer"), ("0\r\nx: a\nb\r\n\r\n", "bare_lf"),
    ])
    func badChunksAreRefused(chunks: String, detail: String) throws {
        // With the head: nothing is forwarded that has not been checked, so the upstream sees at
        // most a request without its end, on a connection that is reset.
        let server = try TestServer.named("backend")
        let proxy = try Self.logging(to: server)
        let client = try proxy.connect()
        try client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n" + chunks)
        let answer = try client.readAnswer()
        #expect(answer.status / 100 == 4)
        #expect(answer["connection"] == "close")
        #expect(client.endsWithoutMore())
        #expect(server.requests.all.isEmpty)
        let line = try proxy.nextLogLine()
        #expect(line.flags == "DPE")
        #expect(line.details == "codec_error{\(detail)}")
    }

    @Test func theLimitsAreConfigurable() throws {
        let server = try TestServer.named("backend")
        let proxy = try Self.logging(
            to: server, "limits: {head: 60KiB, headers: 200, target: 20KiB, connections: 100}")
        let long = String(repeating: "a", count: 19_000)
        let many = (0..<150).map { "x-\($0): 1\r\n" }.joined()
        #expect(try proxy.get("/\(long)").status == 200)
        #expect(try proxy.get("/", many).status == 200)
        #expect(try proxy.get("/", "x: \(long)\(long)\(long)\r\n").status == 200)
        #expect(try proxy.get("/", "x: \(long)\(long)\(long)\(long)\r\n").status == 431)
    }

    private static func logging(
        to server: TestServer, _ more: String = ""
    ) throws -> RunningProxy {
        try RunningProxy(
            configuration: """
                listeners: [{name: main, address: "127.0.0.1:0"}]
                routes: [{cluster: b}]
                clusters: [{name: b, endpoints: ["\(server.address)"]}]
                admin: 127.0.0.1:0
                access_log: "-"
                \(more)
                """)
    }
}
