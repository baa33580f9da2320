// Messages from the grammar, valid by construction, and then bent: the nearer a wrong message is to
// a right one, the more parsers have disagreed about it.

public import Base

/// Makes messages from a seed.
public struct MessageGenerator {
    public var random: SeededRandom

    public init(seed: UInt64) { random = SeededRandom(seed: seed) }

    public mutating func chance(_ percent: Int) -> Bool { random.below(100) < percent }

    public mutating func pick<T>(_ choices: [T]) -> T { choices[random.below(choices.count)] }

    private mutating func many(_ range: ClosedRange<Int>, of alphabet: String) -> String {
        let characters = Array(alphabet)
        var made = ""
        for _ in 0..<range.lowerBound + random.below(range.count) { made.append(pick(characters)) }
        return made
    }

    // MARK: Valid messages

    /// A request with a whole body. `tag`, if given, ends the path.
    public mutating func request(tag: String = "") -> [UInt8] {
        let old = chance(10)
        let method = pick(["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "M-SEARCH"])
        let host = pick(["a", "a.example", "a:80", "[::1]:8080", "127.0.0.1", "a%41b", "A.Example"])
        var target = "/" + many(0...12, of: "abc/?=&%20~;,+!*") + tag
        var fields: [(String, String)] = []
        if !old || chance(50) { fields.append((pick(["Host", "host", "HOST"]), host)) }
        if chance(10) { target = pick(["http://", "HTTP://", "https://"]) + host + target }
        let (body, framing) = body(chunkedAllowed: !old)
        if let framing { fields.append(framing) }
        fields += ordinaryFields()
        if chance(15) { fields.append(("Connection", connection())) }
        if chance(4) { fields.append(("Upgrade", "websocket")) }
        if chance(4) { fields.append(("Expect", pick(["100-continue", "100-Continue"]))) }
        shuffle(&fields)
        var bytes = Array((chance(6) ? "\r\n" : "").utf8)
        bytes += Array("\(method) \(target) HTTP/1.\(old ? 0 : 1)\r\n".utf8)
        return bytes + section(fields) + body
    }

    /// An answer with a whole body, and whether it is meant for a HEAD request.
    public mutating func response() -> (bytes: [UInt8], toHead: Bool) {
        let status = pick([200, 200, 201, 204, 206, 301, 304, 404, 500, 503, 100, 103])
        let old = chance(10)
        let toHead = chance(15)
        var (body, framing) = body(chunkedAllowed: !old)
        if toHead || status < 200 || status == 204 || status == 304 { body = [] }
        var fields = ordinaryFields()
        if let framing { fields.append(framing) }
        if chance(15) { fields.append(("Connection", connection())) }
        shuffle(&fields)
        let reason = pick(["OK", "", "Not Found", "\u{e9}t\u{e9}", "A  B\tC"])
        let line = "HTTP/1.\(old ? 0 : 1) \(status)" + (chance(5) ? "" : " " + reason) + "\r\n"
        return (Array(line.utf8) + section(fields) + body, toHead)
    }

    private mutating func section(_ fields: [(String, String)]) -> [UInt8] {
        var made = ""
        for (name, value) in fields {
            let before = pick([" ", " ", " ", "", "\t", "  \t "])
            let after = pick(["", "", "", "", " ", "\t "])
            made += "\(name):\(before)\(value)\(after)\r\n"
        }
        return Array((made + "\r\n").utf8)
    }

    private mutating func ordinaryFields() -> [(String, String)] {
        var fields: [(String, String)] = []
        for _ in 0..<random.below(5) {
            let name = pick([
                "Accept", "X-A", "x-request-id", "Via", "X-Forwarded-For", "TE", "Keep-Alive",
                "Date", "Server", "Cookie", "~!#$%&'*+-.^_`|", "Trailer", "Proxy-Connection",
            ])
            let value = pick([
                "*/*", "", "a b\tc", "1.1 x, 1.0 y", "\u{e9}\u{ff}", "trailers", "\"a\\\"b\"",
                many(0...40, of: "abcdefgh ,;=0123"), "a:b:c", "(comment)",
            ])
            fields.append((name, value))
        }
        return fields
    }

    private mutating func connection() -> String {
        pick([
            "close", "keep-alive", "Keep-Alive, X-A", "upgrade", "Upgrade", ", ,close,,",
            "x-a\t,\tTE", "", "te", "CLOSE",
        ])
    }

    private mutating func shuffle(_ fields: inout [(String, String)]) {
        for i in stride(from: fields.count - 1, to: 0, by: -1) {
            fields.swapAt(i, random.below(i + 1))
        }
    }

    private mutating func body(chunkedAllowed: Bool) -> ([UInt8], (String, String)?) {
        switch random.below(4) {
        case 0, 1: return ([], nil)
        case 2 where chunkedAllowed:
            return (
                chunkedBody(), ("Transfer-Encoding", pick(["chunked", "Chunked", ",chunked,"]))
            )
        default:
            let data = data(chance(3) ? 3000 : 40)
            return (data, ("Content-Length", pick(["", "0", "000"]) + String(data.count)))
        }
    }

    private mutating func data(_ limit: Int) -> [UInt8] {
        (0..<random.below(limit)).map { _ in
            pick([13, 10, 0x30, 0x61, UInt8(truncatingIfNeeded: random.below(256))])
        }
    }

    /// A chunked body with extensions and trailers.
    public mutating func chunkedBody() -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<random.below(4) {
            let data = data(chance(5) ? 600 : 20)
            if data.isEmpty { continue }
            let size = String(data.count, radix: 16, uppercase: chance(50))
            bytes += Array((pick(["", "", "0", "0000"]) + size + extensions() + "\r\n").utf8)
            bytes += data + [13, 10]
        }
        bytes += Array((pick(["0", "0", "000"]) + extensions() + "\r\n").utf8)
        while chance(20) {
            let name = pick(["X-Sum", "a", "Hostname", "ETag"])
            bytes += Array("\(name):\(pick(["", " "]))\(many(0...12, of: "ab \t:\u{e9}"))\r\n".utf8)
        }
        return bytes + [13, 10]
    }

    private mutating func extensions() -> String {
        var made = ""
        while chance(15) {
            made += ";" + many(1...4, of: "ab-1")
            made += pick(["", "=x", "=\"\"", "=\"a;\\\"\\\\ \t=\"", "=0"])
        }
        return made
    }

    // MARK: Bent messages

    /// Changes a message in one to three places.
    public mutating func mutate(_ message: [UInt8]) -> [UInt8] {
        var bytes = message
        repeat { bend(&bytes) } while chance(35)
        return bytes
    }

    private mutating func bend(_ bytes: inout [UInt8]) {
        if bytes.isEmpty { return }
        let at = random.below(bytes.count)
        let special: [UInt8] = [
            13, 10, 32, 9, 0, 58, 44, 59, 0x80, 0x7F, 0x0B, 0x3D, 0x22, 0x5C, 0x30, 0x31, 0x66,
            0x2F, 0x2A, 0x40, 0x23, 0x5B, 0x2D, 0x2B,
        ]
        switch random.below(12) {
        case 0: bytes[at] = pick(special)
        case 1: bytes.insert(pick(special), at: at)
        case 2: bytes.remove(at: at)
        case 3: bytes[at] ^= UInt8(1 << random.below(8))
        case 4: bytes.removeSubrange(at..<min(bytes.count, at + 1 + random.below(8)))
        case 5: repeatLine(&bytes, at)
        case 6: dropByte(&bytes, pick([13, 10, 32, 58]), near: at)
        case 7: insertBefore(&bytes, pick([58, 13, 10]), pick([[32], [9], [32, 32], [13]]), at)
        case 8: insertLine(&bytes, at)
        case 9: bytes.removeSubrange(at...)
        case 10: insertBefore(&bytes, 10, [10], at)
        default: bytes.insert(contentsOf: Array(pick(Self.fragments).utf8), at: at)
        }
    }

    private static let fragments = [
        "\r\n", "\r\n\r\n", "\n\n", "0\r\n\r\n", "HTTP/1.1", "\r\n ", "\r\n\t", ", ", "chunked",
        "5", "ffffffffffffffff", "7fffffffffffffff", "0x", ";a", "GET / HTTP/1.1\r\n",
    ]

    private static let hostileLines = [
        "Content-Length: 0", "Content-Length: 5", "Content-Length: 5, 5", "Content-Length: +1",
        "Content-Length: 1e1", "Content-Length: 9223372036854775808", "Content-Length : 3",
        "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Host: b",
        "Transfer-Encoding: chunked, identity", "Transfer-Encoding: xchunked", "Host: a, b",
        "Transfer-Encoding:\u{b}chunked", "Transfer_Encoding: chunked", "Connection: host",
        "Connection: content-length", " folded: x", "\tfolded", ": empty", "no colon", "Host: a@b",
        "Expect: 200-maybe", "Connection: close", "Connection: a b", "Upgrade: h2c", "Host:",
        "Connection: keep-alive, Upgrade", "X-A:", "Transfer-Encoding: ", "Host: a:b", "Host: %zz",
    ]

    private func lineStart(_ bytes: [UInt8], _ at: Int) -> Int {
        var i = at
        while i > 0, bytes[i - 1] != 10 { i -= 1 }
        return i
    }

    private func repeatLine(_ bytes: inout [UInt8], _ at: Int) {
        let start = lineStart(bytes, at)
        let end = (bytes[start...].firstIndex(of: 10) ?? bytes.count - 1) + 1
        bytes.insert(contentsOf: Array(bytes[start..<end]), at: start)
    }

    private mutating func insertLine(_ bytes: inout [UInt8], _ at: Int) {
        let line = Array((pick(Self.hostileLines) + "\r\n").utf8)
        bytes.insert(contentsOf: line, at: lineStart(bytes, at))
    }

    private func dropByte(_ bytes: inout [UInt8], _ byte: UInt8, near at: Int) {
        if let i = bytes[at...].firstIndex(of: byte) { bytes.remove(at: i) }
    }

    private func insertBefore(
        _ bytes: inout [UInt8], _ byte: UInt8, _ piece: [UInt8], _ at: Int
    ) {
        if let i = bytes[at...].firstIndex(of: byte) { bytes.insert(contentsOf: piece, at: i) }
    }
}
