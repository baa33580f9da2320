import Base
import Support
import Testing

@testable import Wire

@Suite struct HeadAssemblerTests {
    private static func assemble(
        _ fields: [(String, String)], endsStream: Bool = true, bodyless: Bool = false,
        switches: StaticString? = nil, limits: HeadLimits = HeadLimits()
    ) -> String {
        let assembler = HeadAssembler(limits)
        // Twice: nothing of one block may be left for the next.
        var result = ""
        for _ in 0..<2 {
            assembler.begin()
            for (name, value) in fields {
                let goesOn = Array(name.utf8).withBytes { name in
                    Array(value.utf8).withBytes { assembler.add(name, $0) }
                }
                if !goesOn { return "given up" }
            }
            let found = assembler.finish(
                endsStream: endsStream, bodyless: bodyless, random: (1, 2), switches: switches)
            switch found {
            case .head(let bytes): result = text(unsafe [UInt8](bytes.raw))
            case .trailers(let bytes): result = "trailers " + text(unsafe [UInt8](bytes.raw))
            case .invalid(let error): result = "\(error)"
            }
        }
        return result
    }

    private static let get = [
        (":method", "GET"), (":scheme", "http"), (":path", "/a"), (":authority", "h"),
    ]
    private static let start = "GET /a HTTP/1.1\r\nhost: h\r\n"

    @Test func requestsBecomeText() {
        #expect(Self.assemble(Self.get) == Self.start + "\r\n")
        #expect(
            Self.assemble(Self.get + [("x", "1"), ("x", "")]) == Self.start + "x: 1\r\nx: \r\n\r\n")
        #expect(
            Self.assemble(Self.get, endsStream: false)
                == Self.start + "transfer-encoding: chunked\r\n\r\n")
        #expect(
            Self.assemble(Self.get + [("content-length", "5")], endsStream: false)
                == Self.start + "content-length: 5\r\n\r\n")
        #expect(
            Self.assemble(Self.get + [("cookie", "a=1"), ("x", "1"), ("cookie", "b=2")])
                == Self.start + "x: 1\r\ncookie: a=1; b=2\r\n\r\n")
        // The pseudo-fields in any order, and `host` for `:authority`.
        #expect(Self.assemble(Self.get.reversed()) == Self.start + "\r\n")
        #expect(Self.assemble(Self.get.dropLast() + [("host", "h")]) == Self.start + "\r\n")
        #expect(Self.assemble(Self.get + [("host", "h")]) == Self.start + "\r\n")
    }

    @Test func whatIsWrongIsTold() {
        let assemble = { Self.assemble(Self.get + $0) }
        #expect(assemble([("host", "other")]) == "conflictingHost")
        #expect(assemble([("host", "h"), ("host", "h")]) == "severalHosts")
        #expect(assemble([(":x", "")]) == "badFieldName")
        #expect(Self.assemble(Array(Self.get.dropLast())) == "missingHost")
        for path in ["", "a", "http://b/", "*/"] {
            let fields = [(":method", "GET"), (":path", path), (":authority", "h")]
            #expect(Self.assemble(fields) == "badTarget", "\(path)")
        }
        let limits = HeadLimits(headBytes: 1000, fieldCount: 10, targetBytes: 100)
        let long = String(repeating: "a", count: 900)
        #expect(Self.assemble(Self.get + [("x", long)], limits: limits) == "headTooLarge")
        #expect(
            Self.assemble(Self.get + Array(repeating: ("x", long), count: 10), limits: limits)
                == "given up")
        #expect(
            Self.assemble(
                [(":method", "GET"), (":path", "/" + long), (":authority", "h")], limits: limits)
                != Self.start)
    }

    @Test func connectIsAnUpgradeInOtherWords() {
        let connect = [(":method", "CONNECT"), (":authority", "h:1")]
        #expect(Self.assemble(connect) == "CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n")
        let extended = Self.assemble(
            [
                (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                (":path", "/chat"), (":authority", "h"), ("sec-websocket-version", "13"),
            ], endsStream: false)
        #expect(
            extended
                == "GET /chat HTTP/1.1\r\nhost: h\r\nsec-websocket-version: 13\r\n"
                + "connection: upgrade\r\nupgrade: websocket\r\n"
                + "sec-websocket-key: AQAAAAAAAAACAAAAAAAAAA==\r\n\r\n")
    }

    @Test func answersBecomeText() {
        #expect(Self.assemble([(":status", "200")]) == "HTTP/1.1 200 OK\r\n\r\n")
        #expect(
            Self.assemble([(":status", "404"), ("x", "1")], endsStream: false)
                == "HTTP/1.1 404 Not Found\r\nx: 1\r\ntransfer-encoding: chunked\r\n\r\n")
        for status in ["103", "204", "304"] {
            let text = Self.assemble([(":status", status)], endsStream: false)
            #expect(text.hasPrefix("HTTP/1.1 \(status) ") && !text.contains("transfer"))
        }
        #expect(
            !Self.assemble([(":status", "200")], endsStream: false, bodyless: true)
                .contains("transfer"))
        #expect(
            Self.assemble([(":status", "200")], endsStream: false, switches: "websocket")
                == "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n"
                + "upgrade: websocket\r\n\r\n")
        #expect(
            Self.assemble([(":status", "403")], switches: "websocket")
                == "HTTP/1.1 403 Forbidden\r\n\r\n")
    }

    @Test func trailersAreLines() {
        #expect(Self.assemble([("x", "1"), ("y", "")]) == "trailers x: 1\r\ny: \r\n")
        #expect(Self.assemble([]) == "trailers ")
        for name in ["content-length", "host", "te", "trailer", "expect"] {
            #expect(Self.assemble([(name, "1")]) == "badTrailer", "\(name)")
        }
    }
}
