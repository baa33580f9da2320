import Testing
import Wire

/// A request that must be refused, and why.
struct RefusedRequest: Sendable, CustomTestStringConvertible {
    var bytes: [UInt8]
    var error: HeadError

    init(_ text: String, _ error: HeadError) { self.init(Array(text.utf8), error) }

    init(_ bytes: [UInt8], _ error: HeadError) {
        self.bytes = bytes
        self.error = error
    }

    var testDescription: String { "\(error): \(String(decoding: bytes.prefix(70), as: UTF8.self))" }

    private static func field(_ line: String, _ error: HeadError) -> RefusedRequest {
        RefusedRequest("POST / HTTP/1.1\r\nHost: a\r\n\(line)\r\n\r\n", error)
    }

    private static func line(_ line: String, _ error: HeadError) -> RefusedRequest {
        RefusedRequest("\(line)\r\nHost: a\r\n\r\n", error)
    }

    private static func host(_ lines: String, _ error: HeadError) -> RefusedRequest {
        RefusedRequest("GET / HTTP/1.1\r\n\(lines)\r\n", error)
    }

    static let framing: [RefusedRequest] = [
        field("Content-Length: 5\r\nTransfer-Encoding: chunked", .lengthAndTransferEncoding),
        field("Transfer-Encoding: chunked\r\nContent-Length: 5", .lengthAndTransferEncoding),
        field("Content-Length: 0\r\nTransfer-Encoding: chunked", .lengthAndTransferEncoding),
        field("Content-Length: 5\r\nContent-Length: 6", .severalContentLengths),
        field("Content-Length: 5\r\nContent-Length: 5", .severalContentLengths),
        field("Content-Length: 5, 5", .badContentLength),
        field("Content-Length: 5,", .badContentLength),
        field("Content-Length:", .badContentLength),
        field("Content-Length: +5", .badContentLength),
        field("Content-Length: -5", .badContentLength),
        field("Content-Length: 0x5", .badContentLength),
        field("Content-Length: 5 5", .badContentLength),
        field("Content-Length: 5.0", .badContentLength),
        field("Content-Length: five", .badContentLength),
        field("Content-Length: 9223372036854775808", .badContentLength),
        field("Content-Length: 18446744073709551621", .badContentLength),
        field("Transfer-Encoding: identity", .badTransferEncoding),
        field("Transfer-Encoding: gzip", .badTransferEncoding),
        field("Transfer-Encoding: gzip, chunked", .unknownTransferCoding),
        field("Transfer-Encoding: chunked, gzip", .badTransferEncoding),
        field("Transfer-Encoding: chunked, chunked", .badTransferEncoding),
        field("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", .badTransferEncoding),
        field("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", .badTransferEncoding),
        field("Transfer-Encoding: xchunked", .badTransferEncoding),
        field("Transfer-Encoding: \"chunked\"", .badTransferEncoding),
        field("Transfer-Encoding: chunked;q=1", .badTransferEncoding),
        field("Transfer-Encoding: chunked chunked", .badTransferEncoding),
        field("Transfer-Encoding:", .badTransferEncoding),
        field("Transfer-Encoding: ,", .badTransferEncoding),
        field("Transfer-Encoding: \u{b}chunked", .badFieldValue),
        field("Connection: content-length\r\nContent-Length: 5", .badConnection),
        field("Connection: close, Transfer-Encoding", .badConnection),
        field("Connection: host", .badConnection),
        field("Connection: a b", .badConnection),
        field("Connection: \"close\"", .badConnection),
        field("Expect: 200-ok", .unknownExpectation),
        field("Expect: 100-continue, other", .unknownExpectation),
        RefusedRequest(
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            .transferEncodingInHTTP10),
    ]

    static let lines: [RefusedRequest] = [
        // Bare CR and LF, wherever a line can end or contain one.
        RefusedRequest("GET / HTTP/1.1\nHost: a\n\n", .bareLF),
        RefusedRequest("GET / HTTP/1.1\nHost: a\r\n\r\n", .bareLF),
        RefusedRequest("GET / HTTP/1.1\r\nHost: a\n\r\n", .bareLF),
        RefusedRequest("GET / HTTP/1.1\r\nHost: a\r\n\n", .bareLF),
        RefusedRequest("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .bareLF),
        RefusedRequest("GET\n/ HTTP/1.1\r\nHost: a\r\n\r\n", .bareLF),
        RefusedRequest("GET /\nHost: a\r\n\r\n", .bareLF),
        RefusedRequest("GET / HTTP/1.1\rHost: a\r\n\r\n", .bareCR),
        RefusedRequest("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", .bareCR),
        RefusedRequest("GET / HTTP/1.1\r\nHost: a\r\rb: c\r\n\r\n", .bareCR),
        RefusedRequest("GET / HTTP/1.1\r\nHost: a\r\nb: c\rd\r\n\r\n", .bareCR),
        RefusedRequest("GET / HTTP/1.1\r\nHost: a\r\n\rb: c\r\n\r\n", .bareCR),
        field("a: b\nc: d", .bareLF),
        field("a\n: b", .bareLF),
        // Obsolete folding.
        field("a: b\r\n c", .foldedLine),
        field("a: b\r\n\tc", .foldedLine),
        host(" Host: a\r\n", .foldedLine),
        // Space before the colon, and other names that are none.
        field("Content-Length : 5", .spaceBeforeColon),
        field("Content-Length\t: 5", .spaceBeforeColon),
        field("a b: c", .spaceBeforeColon),
        field(": b", .badFieldName),
        field("a", .badFieldName),
        field("a(b): c", .badFieldName),
        field("\u{e9}: c", .badFieldName),
        field("a\u{0}b: c", .badFieldName),
        field("a@b: c", .badFieldName),
        // Control bytes.
        field("a: b\u{0}c", .badFieldValue),
        field("a: \u{1}", .badFieldValue),
        field("a: b\u{7f}c", .badFieldValue),
        field("a: 0123456789\u{1b}abcdef", .badFieldValue),
        field("a: \u{8}", .badFieldValue),
        line("G\u{0}T / HTTP/1.1", .badMethod),
        line("GET /\u{0} HTTP/1.1", .badTarget),
        line("GET /\u{7f} HTTP/1.1", .badTarget),
        line("GET /\t HTTP/1.1", .badTarget),
        // Request lines.
        RefusedRequest("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .badRequestLine),
        line(" GET / HTTP/1.1", .badMethod),
        line("GET  / HTTP/1.1", .badTarget),
        line("GET /  HTTP/1.1", .badVersion),
        line("GET / HTTP/1.1 ", .badVersion),
        line("GET /a b HTTP/1.1", .badVersion),
        line("GET /", .badRequestLine),
        line("GET", .badRequestLine),
        line("GET / ", .badVersion),
        line("G\"T / HTTP/1.1", .badMethod),
        line("GET\t/ HTTP/1.1", .badMethod),
        line(String(repeating: "M", count: 33) + " / HTTP/1.1", .badMethod),
        line("GET / http/1.1", .badVersion),
        line("GET / HTTP/1,1", .badVersion),
        line("GET / HTTP/1.11", .badVersion),
        line("GET / HTTP/11", .badVersion),
        line("GET / HTP/1.1", .badVersion),
        line("GET / HTTP/2.0", .unsupportedVersion),
        line("GET / HTTP/1.2", .unsupportedVersion),
        line("GET / HTTP/0.9", .unsupportedVersion),
        line("GET index.html HTTP/1.1", .badTarget),
        line("GET /a#b HTTP/1.1", .badTarget),
        line("GET * HTTP/1.1", .badTarget),
        line("GET /\u{e9} HTTP/1.1", .badTarget),
        line("GET ftp://a/ HTTP/1.1", .badTarget),
    ]

    static let hosts: [RefusedRequest] = [
        host("", .missingHost),
        host("Host: a\r\nHost: b\r\n", .severalHosts),
        host("Host: a\r\nhost: a\r\n", .severalHosts),
        host("Host: a, b\r\n", .badHost),
        host("Host: a b\r\n", .badHost),
        host("Host: a/b\r\n", .badHost),
        host("Host: u@a\r\n", .badHost),
        host("Host: a?\r\n", .badHost),
        host("Host: a#\r\n", .badHost),
        host("Host: a:b\r\n", .badHost),
        host("Host: a:80:80\r\n", .badHost),
        host("Host: a:123456\r\n", .badHost),
        host("Host: :80\r\n", .badHost),
        host("Host: [::1\r\n", .badHost),
        host("Host: ::1\r\n", .badHost),
        host("Host: [::1]a\r\n", .badHost),
        host("Host: []\r\n", .badHost),
        host("Host: a%4\r\n", .badHost),
        host("Host: a%zz\r\n", .badHost),
        host("Host: \u{e9}\r\n", .badHost),
        host("Host: " + String(repeating: "a", count: 262) + "\r\n", .badHost),
        line("GET http://b/ HTTP/1.1", .conflictingHost),
        line("GET http://a:80/ HTTP/1.1", .conflictingHost),
        line("GET http://a.b/ HTTP/1.1", .conflictingHost),
        line("GET http:///x HTTP/1.1", .badHost),
        line("GET http://u@a/ HTTP/1.1", .badHost),
        line("CONNECT b:443 HTTP/1.1", .conflictingHost),
        line("CONNECT / HTTP/1.1", .badHost),
        RefusedRequest("GET http://a/ HTTP/1.1\r\n\r\n", .missingHost),
        RefusedRequest("GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", .conflictingHost),
    ]

    /// With limits of 4096 bytes, 10 fields, 1024 bytes of target.
    static let overLimits: [RefusedRequest] = [
        line("GET /" + String(repeating: "a", count: 1024) + " HTTP/1.1", .targetTooLong),
        field("a: " + String(repeating: "a", count: 4096), .headTooLarge),
        field(String(repeating: "a", count: 4096) + ": a", .headTooLarge),
        host(String(repeating: "a: b\r\n", count: 11), .tooManyFields),
    ]

    static let all = framing + lines + hosts + overLimits
}
