import Base
import Support
import Testing

@testable import Wire

/// A request that must be accepted, and what it must be understood as.
struct AcceptedRequest: Sendable, CustomTestStringConvertible {
    var text: String
    var framing: BodyFraming
    var authority: String
    var path: String
    var keepAlive: Bool

    init(
        _ text: String, _ framing: BodyFraming = .none, authority: String = "a",
        path: String = "/", keepAlive: Bool = true
    ) {
        self.text = text
        self.framing = framing
        self.authority = authority
        self.path = path
        self.keepAlive = keepAlive
    }

    var testDescription: String { text }

    private static func field(
        _ line: String, _ framing: BodyFraming = .none, keepAlive: Bool = true
    ) -> AcceptedRequest {
        AcceptedRequest(
            "POST / HTTP/1.1\r\nHost: a\r\n\(line)\r\n\r\n", framing, keepAlive: keepAlive)
    }

    private static func target(
        _ method: String, _ target: String, host: String = "a", path: String
    ) -> AcceptedRequest {
        AcceptedRequest(
            "\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\n\r\n", authority: host, path: path)
    }

    static let all: [AcceptedRequest] = [
        AcceptedRequest("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        AcceptedRequest("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        AcceptedRequest("GET / HTTP/1.1\r\nHost:\r\n\r\n", authority: ""),
        AcceptedRequest("GET / HTTP/1.1\r\nhOsT:a\r\n\r\n"),
        AcceptedRequest("GET / HTTP/1.1\r\nHost: \t a \t \r\n\r\n"),
        AcceptedRequest("GET / HTTP/1.0\r\n\r\n", authority: "", keepAlive: false),
        AcceptedRequest("GET / HTTP/1.0\r\nHost: a\r\n\r\n", keepAlive: false),
        AcceptedRequest("GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n"),
        AcceptedRequest(
            "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n", keepAlive: false),
        AcceptedRequest("GET http://a/ HTTP/1.0\r\n\r\n", keepAlive: false),
        target("GET", "http://a/x?y", path: "/x?y"),
        target("GET", "HTTP://A.example:80/", host: "a.example:80", path: "/"),
        target("GET", "https://a/", path: "/"),
        target("GET", "http://a", path: ""),
        target("GET", "http://a?x", path: "?x"),
        target("OPTIONS", "http://a", path: ""),
        target("OPTIONS", "*", path: "*"),
        target("OPTIONS", "/", path: "/"),
        target("CONNECT", "a:443", host: "a:443", path: "a:443"),
        target("GET", "//a/b", path: "//a/b"),
        target("GET", "/\"<>\\^`{|}", path: "/\"<>\\^`{|}"),
        target("GET", "/?a=b/c?d", path: "/?a=b/c?d"),
        target("M-SEARCH", "/", path: "/"),
        target("GET", "/", host: "[::1]:8080", path: "/"),
        target("GET", "/", host: "[v1.a:b]", path: "/"),
        target("GET", "/", host: "a:", path: "/"),
        target("GET", "/", host: "a_b-c.~d%2Fe:65535", path: "/"),
        field("Content-Length: 0", .length(0)),
        field("Content-Length: 5", .length(5)),
        field("content-length:\t007 ", .length(7)),
        field("Content-Length: 999999999999999999", .length(999_999_999_999_999_999)),
        field("Transfer-Encoding: chunked", .chunked),
        field("transfer-encoding: CHUNKED", .chunked),
        field("Transfer-Encoding: , ,chunked, ", .chunked),
        field("a:"),
        field("a: \t "),
        field("a: \u{e9}\u{ff}\u{2028}"),
        field("!#$%&'*+-.^_`|~: x"),
        field("a: b : c"),
        field("a: \"b\"\t(c)\t\t\td"),
        field("Transfer_Encoding: chunked"),
        field("Connection: close", keepAlive: false),
        field("Connection: CLOSE", keepAlive: false),
        field("Connection: ,, x-a ,\tclose,", keepAlive: false),
        field("Connection:"),
        field("Connection: x-a\r\nConnection: close", keepAlive: false),
        field("Expect: 100-Continue"),
    ]
}

@Suite struct RequestTests {
    static let limits = HeadLimits(headBytes: 4096, fieldCount: 10, targetBytes: 1024)

    @Test(arguments: RefusedRequest.all)
    func refuses(_ row: RefusedRequest) {
        var head = Head(limits: Self.limits)
        #expect(parse(row.bytes, .request, into: &head) == .invalid(row.error))
        var limits = ReferenceLimits()
        (limits.headBytes, limits.fieldCount, limits.targetBytes) = (4096, 10, 1024)
        let reference = ReferenceParser.request(row.bytes + Array("\r\n\r\n".utf8), limits: limits)
        #expect(reference == .refused, "the reference agrees")
    }

    @Test(arguments: RefusedRequest.all)
    func refusesHoweverItIsSplit(_ row: RefusedRequest) {
        var head = Head(limits: Self.limits)
        expectSameVerdict(row.bytes, .request, .invalid(row.error), &head)
    }

    @Test(arguments: AcceptedRequest.all)
    func accepts(_ row: AcceptedRequest) {
        let bytes = Array(row.text.utf8)
        var head = Head(limits: Self.limits)
        #expect(parse(bytes + Array("next".utf8), .request, into: &head) == .complete)
        #expect(head.length == bytes.count)
        #expect(head.framing == row.framing)
        #expect(head.keepAlive == row.keepAlive)
        #expect(text(Array(bytes[head.authority])).lowercased() == row.authority.lowercased())
        #expect(text(Array(bytes[head.path])) == row.path)
        #expect(disagreement(bytes, .request, &head) == nil)
    }

    @Test(arguments: AcceptedRequest.all)
    func acceptsHoweverItIsSplit(_ row: AcceptedRequest) {
        var head = Head(limits: Self.limits)
        let bytes = Array(row.text.utf8)
        expectSameVerdict(bytes, .request, .complete, &head)
        for end in 0..<bytes.count {
            #expect(parse(Array(bytes[..<end]), .request, into: &head) == .incomplete)
        }
    }

    @Test func theLastByteOfTheLimitStillFits() {
        var head = Head(limits: Self.limits)
        let empty = "GET / HTTP/1.1\r\nHost: a\r\nb: \r\n\r\n"
        let room = Self.limits.headBytes - empty.utf8.count
        for (excess, verdict) in [(0, HeadParse.complete), (1, .invalid(.headTooLarge))] {
            let value = String(repeating: "x", count: room + excess)
            let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\nb: \(value)\r\n\r\n".utf8)
            #expect(parse(bytes, .request, into: &head) == verdict)
        }
        let ten = "Host: a\r\n" + String(repeating: "a: b\r\n", count: 9)
        #expect(
            parse(Array("GET / HTTP/1.1\r\n\(ten)\r\n".utf8), .request, into: &head) == .complete)
        let target = "/" + String(repeating: "a", count: 1023)
        let line = "GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n"
        #expect(parse(Array(line.utf8), .request, into: &head) == .complete)
    }

    @Test(arguments: [
        ("Connection: upgrade\r\nUpgrade: websocket", 1, true),
        ("Connection: keep-alive, Upgrade\r\nUpgrade: a, b", 1, true),
        ("Upgrade: websocket", 1, false),
        ("Connection: upgrade", 1, false),
        // RFC 9110, 7.8: an upgrade in HTTP/1.0 is ignored.
        ("Connection: upgrade\r\nUpgrade: websocket", 0, false),
    ])
    func upgradeNeedsBothFieldsAndHTTP11(_ fields: String, _ minor: Int, _ wanted: Bool) {
        var head = Head(limits: Self.limits)
        let bytes = Array("GET / HTTP/1.\(minor)\r\nHost: a\r\n\(fields)\r\n\r\n".utf8)
        #expect(parse(bytes, .request, into: &head) == .complete)
        #expect(head.wantsUpgrade == wanted)
    }

    @Test func eachByteOfEachClassIsJudgedByTheGrammar() {
        var head = Head(limits: Self.limits)
        for byte in UInt8.min...UInt8.max {
            let places: [(String, String)] = [
                ("GET /", " HTTP/1.1\r\nHost: a\r\n\r\n"), ("G", " / HTTP/1.1\r\nHost: a\r\n\r\n"),
                ("GET / HTTP/1.1\r\nHost: a", "\r\n\r\n"),
                ("GET / HTTP/1.1\r\nHost: a\r\nb", ": c\r\n\r\n"),
                ("GET / HTTP/1.1\r\nHost: a\r\nb: c", "d\r\n\r\n"),
                ("GET / HTTP/1.1\r\nHost: a\r\nb: 0123456", "89abcdef\r\n\r\n"),
                ("GET / HTTP/1.1\r\nHost: a\r\nConnection: c", "\r\n\r\n"),
            ]
            for (before, after) in places {
                let bytes = Array(before.utf8) + [byte] + Array(after.utf8)
                let found = disagreement(bytes, .request, &head)
                #expect(found == nil, "byte \(byte) in \(visible(bytes))")
            }
        }
    }
}

/// Every cut into two pieces, and every byte by itself, come to the same verdict.
func expectSameVerdict(
    _ bytes: [UInt8], _ message: HeadFeeder.Message, _ verdict: HeadParse, _ head: inout Head
) {
    for cut in 0...bytes.count {
        let found = HeadFeeder.verdict(bytes, message, cuts: [cut], into: &head)
        #expect(found == verdict, "cut at \(cut): \(visible(bytes.prefix(200)))")
    }
    let found = HeadFeeder.verdict(bytes, message, cuts: Array(0...bytes.count), into: &head)
    #expect(found == verdict, "byte by byte: \(visible(bytes.prefix(200)))")
}

extension RequestTests {
    /// Every byte at every place of a name: only what the grammar allows, wherever a word ends.
    @Test func whatANameMayHold() {
        var head = Head(limits: HeadLimits())
        let tokens = Set(
            "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
        for place in 0..<18 {
            for byte in UInt8.min...UInt8.max where byte != UInt8(ascii: ":") {
                var name = Array("x-abcdefghij-lmnop".utf8)
                name[place] = byte
                let bytes =
                    Array("GET / HTTP/1.1\r\nhost: a\r\n".utf8) + name + Array(": y\r\n\r\n".utf8)
                let result = bytes.withBytes { head.parseRequest($0) }
                #expect((result == .complete) == tokens.contains(byte), "\(byte) at \(place)")
            }
        }
    }
}
