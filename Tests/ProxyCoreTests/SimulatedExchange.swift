import Base
import Support

/// One request of a simulated client and the answer that belongs to it, both made from its number
/// alone.
struct SimulatedExchange {
    enum Answer: Int, CaseIterable {
        case length
        case chunked
        case untilClose
        case empty
        case interim
        /// Before the request's body has come.
        case early
        /// With `connection: close`.
        case closing
        // From here on the server misbehaves.
        /// Complete, and then the connection ends without a word.
        case stale
        case garbage
        case truncated
        case reset
        case silent

        var isSound: Bool { rawValue < Answer.stale.rawValue }
    }

    var tag: Int
    var answer: Answer
    var method = "GET"
    var minorVersion = 1
    var keepsAlive = true
    var requestBody: [UInt8] = []
    var isChunked = false
    var answerSize = 0
    /// Whether there is a route for it.
    var isRouted = true
    /// Whether the listener's rules deny it.
    var isDenied = false

    var isIdempotent: Bool { method != "POST" }
    var isHead: Bool { method == "HEAD" }

    /// A plain GET.
    init(tag: Int) {
        self.tag = tag
        answer = .length
    }

    init(tag: Int, answers: [Answer], _ random: inout SeededRandom) {
        self.tag = tag
        answer = answers[random.below(answers.count)]
        method = ["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE"][random.below(7)]
        if method == "POST" || method == "PUT" {
            requestBody = Self.pattern(tag, Self.size(&random))
            isChunked = random.below(2) == 0
        }
        answerSize = Self.size(&random)
        if random.below(10) == 0, !isChunked { minorVersion = 0 }
        isRouted = random.below(12) > 0
        isDenied = random.below(12) == 0
    }

    private static func size(_ random: inout SeededRandom) -> Int {
        switch random.below(12) {
        case 0: 0
        case 1...6: random.below(200)
        case 7...9: random.below(5000)
        case 10: 20_000 + random.below(2000)
        default: random.below(150_000)
        }
    }

    /// `count` bytes that belong to `tag` and no other.
    static func pattern(_ tag: Int, _ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        var word = mix(UInt64(tag) &+ 1)
        while bytes.count < count {
            for shift in stride(from: 0, to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
            word = word &* 0x9E37_79B9_7F4A_7C15 &+ 1
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    static func chunk(_ data: [UInt8], by size: Int, trailer: String = "") -> [UInt8] {
        var bytes: [UInt8] = []
        var start = 0
        while start < data.count {
            let end = min(data.count, start + size)
            bytes += Array("\(String(end - start, radix: 16))\r\n".utf8) + data[start..<end]
            bytes += [13, 10]
            start = end
        }
        return bytes + Array("0\r\n\(trailer)\r\n".utf8)
    }

    /// One that is denied says so in one of the ways that servers may read.
    var path: String {
        isDenied ? "/\(tag % 2 == 0 ? "denied" : "x/../%64enied")/\(tag)" : "/\(tag)"
    }

    /// What the client sends.
    var request: [UInt8] {
        var head = "\(method) \(path) HTTP/1.\(minorVersion)\r\nHost: \(isRouted ? "a" : "b")\r\n"
        head += "x-do: \(answer.rawValue) \(answerSize)\r\n"
        if !keepsAlive { head += "Connection: close\r\n" }
        if keepsAlive, minorVersion == 0 { head += "Connection: keep-alive\r\n" }
        guard method == "POST" || method == "PUT" else { return Array((head + "\r\n").utf8) }
        if isChunked {
            let body = Self.chunk(requestBody, by: 1 + tag % 3000, trailer: "x-sum: 1\r\n")
            return Array((head + "Transfer-Encoding: chunked\r\n\r\n").utf8) + body
        }
        return Array((head + "Content-Length: \(requestBody.count)\r\n\r\n").utf8) + requestBody
    }

    /// The data of the answer that the client must find.
    var answerBody: [UInt8] {
        isHead || answer == .empty ? [] : Self.pattern(tag &+ 1_000_000_007, answerSize)
    }
}
