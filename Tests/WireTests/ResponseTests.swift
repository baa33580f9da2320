import Base
import Support
import Testing

@testable import Wire

struct AnswerRow: Sendable, CustomTestStringConvertible {
    var text: String
    var toHead = false
    var framing = BodyFraming.untilClose
    var keepAlive = false

    var testDescription: String { text }
}

@Suite struct ResponseTests {
    static let limits = HeadLimits(headBytes: 4096, fieldCount: 10, targetBytes: 1024)

    private static func row(
        _ status: String, toHead: Bool = false, _ framing: BodyFraming, keepAlive: Bool = true
    ) -> AnswerRow {
        row(status, "", toHead: toHead, framing, keepAlive: keepAlive)
    }

    private static func row(
        _ status: String, _ fields: String, toHead: Bool = false, _ framing: BodyFraming,
        keepAlive: Bool = true, version: String = "HTTP/1.1"
    ) -> AnswerRow {
        AnswerRow(
            text: "\(version) \(status)\r\n\(fields.isEmpty ? "" : fields + "\r\n")\r\n",
            toHead: toHead, framing: framing, keepAlive: keepAlive)
    }

    static let accepted: [AnswerRow] = [
        row("200 OK", .untilClose, keepAlive: false),
        row("200 OK", "Content-Length: 5", .length(5)),
        row("200 OK", "Transfer-Encoding: chunked", .chunked),
        row("200", "Content-Length: 0", .length(0)),
        row("200 ", "Content-Length: 0", .length(0)),
        row("299 A  B\tC \u{e9}", "Content-Length: 0", .length(0)),
        row("200 OK", "Content-Length: 5", toHead: true, .none),
        row("200 OK", "Transfer-Encoding: chunked", toHead: true, .none),
        row("200 OK", toHead: true, .none),
        row("204 No Content", .none),
        row("204 No Content", "Content-Length: 5", .none),
        row("304 Not Modified", "Content-Length: 5", .none),
        row("100 Continue", .none),
        row("101 Switching Protocols", "Connection: upgrade\r\nUpgrade: x", .none),
        row("103 Early Hints", "Link: </a>", .none),
        row("200 OK", "Content-Length: 5\r\nConnection: close", .length(5), keepAlive: false),
        row("200 OK", "Content-Length: 5", .length(5), keepAlive: false, version: "HTTP/1.0"),
        row(
            "200 OK", "Content-Length: 5\r\nConnection: keep-alive", .length(5),
            version: "HTTP/1.0"),
        row("599 Any", "Content-Length: 1\r\nHost: a\r\nHost: b", .length(1)),
        row("200 OK", "Content-Length: 1\r\nExpect: nothing", .length(1)),
    ]

    static let refused: [(String, HeadError)] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            .lengthAndTransferEncoding),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            .severalContentLengths),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5,6\r\n\r\n", .badContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", .badContentLength),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", .badTransferEncoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .unknownTransferCoding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInHTTP10),
        ("HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", .spaceBeforeColon),
        ("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", .foldedLine),
        ("HTTP/1.1 200 OK\na: b\r\n\r\n", .bareLF),
        ("HTTP/1.1 200 OK\r\na: b\n\r\n", .bareLF),
        ("HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n", .bareCR),
        ("HTTP/1.1 200\nOK\r\n\r\n", .bareLF),
        ("HTTP/1.1 200\rOK\r\n\r\n", .bareCR),
        ("HTTP/1.1 200 O\u{0}K\r\n\r\n", .badStatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n", .badStatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", .badStatusLine),
        ("HTTP/1.1 099 OK\r\n\r\n", .badStatusLine),
        ("HTTP/1.1 600 OK\r\n\r\n", .badStatusLine),
        ("HTTP/1.1  200 OK\r\n\r\n", .badStatusLine),
        ("HTTP/1.1 abc OK\r\n\r\n", .badStatusLine),
        ("HTTP/1.1\r\n\r\nxxxxxxx", .badStatusLine),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", .badVersion),
        ("HTTP/2.0 200 OK\r\n\r\n", .unsupportedVersion),
        ("HTTP/2 200 OK\r\n\r\n", .badVersion),
        ("http/1.1 200 OK\r\n\r\n", .badVersion),
        ("ICY 200 OK\r\n\r\n......", .badVersion),
        ("SSH-2.0-OpenSSH_9.6\r\n", .badVersion),
        ("HTTP/1.1 200 OK\r\nConnection: content-length\r\n\r\n", .badConnection),
    ]

    @Test(arguments: accepted)
    func accepts(_ row: AnswerRow) {
        let bytes = Array(row.text.utf8)
        var head = Head(limits: Self.limits)
        let message = HeadFeeder.Message.response(toHead: row.toHead)
        #expect(parse(bytes + Array("body".utf8), message, into: &head) == .complete)
        #expect(head.length == bytes.count)
        #expect(head.framing == row.framing)
        #expect(head.keepAlive == row.keepAlive)
        #expect(disagreement(bytes, message, &head) == nil)
        expectSameVerdict(bytes, message, .complete, &head)
    }

    @Test(arguments: refused)
    func refuses(_ text: String, _ error: HeadError) {
        let bytes = Array(text.utf8)
        var head = Head(limits: Self.limits)
        let message = HeadFeeder.Message.response(toHead: false)
        #expect(parse(bytes, message, into: &head) == .invalid(error))
        #expect(ReferenceParser.response(bytes + Array("\r\n\r\n".utf8)) == .refused)
        expectSameVerdict(bytes, message, .invalid(error), &head)
    }

    @Test func overLongHeadsAreRefused() {
        var head = Head(limits: Self.limits)
        for text in [
            "HTTP/1.1 200 OK\r\na: " + String(repeating: "b", count: 4096),
            "HTTP/1.1 200 " + String(repeating: "b", count: 4096),
        ] {
            let message = HeadFeeder.Message.response(toHead: false)
            #expect(parse(Array(text.utf8), message, into: &head) == .invalid(.headTooLarge))
        }
        let fields = String(repeating: "a: b\r\n", count: 11)
        let bytes = Array("HTTP/1.1 200 OK\r\n\(fields)\r\n".utf8)
        #expect(
            parse(bytes, .response(toHead: false), into: &head) == .invalid(.tooManyFields))
    }
}
