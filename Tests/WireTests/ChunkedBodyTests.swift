import Base
import Support
import Testing

@testable import Wire

@Suite struct ChunkedBodyTests {
    static let accepted: [String] = [
        "0\r\n\r\n",
        "000000000000000\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "00005\r\nhello\r\n0\r\n\r\n",
        "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
        "2\r\n\r\n\r\n0\r\n\r\n",
        "1;a\r\nx\r\n0\r\n\r\n",
        "1;a=b;c=\"d;\\\"\\\\\te\";f\r\nx\r\n0;g=1\r\n\r\n",
        "1;a=\"\"\r\nx\r\n0\r\n\r\n",
        "0\r\nx-sum: 1\r\n\r\n",
        "0\r\nx-sum:\r\nA: \u{e9} b\r\nhostname: x\r\n\r\n",
    ]

    static let refused: [(String, HeadError)] = [
        ("\r\n", .badChunkSize),
        ("g\r\n", .badChunkSize),
        (" 5\r\nhello\r\n", .badChunkSize),
        ("5 \r\nhello\r\n", .badChunkSize),
        ("+5\r\nhello\r\n", .badChunkSize),
        ("-5\r\nhello\r\n", .badChunkSize),
        ("0x5\r\nhello\r\n", .badChunkSize),
        ("5,\r\nhello\r\n", .badChunkSize),
        (";a\r\n", .badChunkSize),
        ("5\nhello\r\n", .bareLF),
        ("5\rhello\r\n", .bareCR),
        ("1000000000000000\r\n", .chunkTooLarge),
        ("0000000000000005\r\n", .chunkTooLarge),
        ("ffffffffffffffff1\r\n", .chunkTooLarge),
        ("5;\r\nhello\r\n", .badChunkExtension),
        ("5;;a\r\nhello\r\n", .badChunkExtension),
        ("5; a\r\nhello\r\n", .badChunkExtension),
        ("5;a =b\r\nhello\r\n", .badChunkExtension),
        ("5;a=\r\nhello\r\n", .badChunkExtension),
        ("5;a=\"b\r\nhello\r\n", .badChunkExtension),
        ("5;a=\"b\"c\r\nhello\r\n", .badChunkExtension),
        ("5;a=\"\\\u{0}\"\r\nhello\r\n", .badChunkExtension),
        ("5;a=b=c\r\nhello\r\n", .badChunkExtension),
        ("5;a\nhello\r\n", .bareLF),
        ("5;a\rhello\r\n", .bareCR),
        ("5;\u{e9}\r\nhello\r\n", .badChunkExtension),
        ("5;" + String(repeating: "a", count: 4096) + "\r\n", .chunkExtensionsTooLong),
        ("5\r\nhellox\r\n", .badChunkEnd),
        ("5\r\nhello\n", .badChunkEnd),
        ("5\r\nhello\rx", .badChunkEnd),
        ("5\r\nhello0\r\n\r\n", .badChunkEnd),
        ("0\r\n\rx", .bareCR),
        ("0\r\n\n", .badTrailer),
        ("0\r\n x: y\r\n\r\n", .badTrailer),
        ("0\r\nx : y\r\n\r\n", .badTrailer),
        ("0\r\n: y\r\n\r\n", .badTrailer),
        ("0\r\nx\r\n\r\n", .badTrailer),
        ("0\r\nx: y\n\r\n", .bareLF),
        ("0\r\nx: y\rz\r\n", .bareCR),
        ("0\r\nx: \u{0}\r\n\r\n", .badTrailer),
        ("0\r\nx: a\r\n b\r\n\r\n", .badTrailer),
        ("0\r\nContent-Length: 5\r\n\r\n", .badTrailer),
        ("0\r\ntransfer-encoding: chunked\r\n\r\n", .badTrailer),
        ("0\r\nHOST: b\r\n\r\n", .badTrailer),
        ("0\r\nConnection: close\r\n\r\n", .badTrailer),
        ("0\r\nTrailer: a\r\n\r\n", .badTrailer),
        ("0\r\nTE: a\r\n\r\n", .badTrailer),
        ("0\r\nUpgrade: a\r\n\r\n", .badTrailer),
        ("0\r\nExpect: a\r\n\r\n", .badTrailer),
        ("0\r\nx: " + String(repeating: "a", count: 16 * 1024) + "\r\n\r\n", .trailersTooLarge),
    ]

    /// The lines of fields behind the data, without the empty one, however they are split.
    @Test func linesBehindTheData() throws {
        let bytes = Array("3\r\nabc\r\n0\r\nx-sum: 1\r\nY:\r\n\r\nGET".utf8)
        for first in 0...bytes.count {
            for second in first...bytes.count {
                var body = ChunkedBody()
                var (data, lines) = ([UInt8](), [UInt8]())
                var waiting: [UInt8] = []
                for piece in [bytes[..<first], bytes[first..<second], bytes[second...]] {
                    waiting += piece
                    var used = 1
                    while used > 0, !waiting.isEmpty, !body.isComplete {
                        let rest = waiting
                        used = try rest.withBytes { bytes in
                            Result { () throws(HeadError) -> Int in
                                if body.isBehindData {
                                    let (found, used) = try body.nextTrailers(bytes)
                                    lines += rest[found]
                                    return used
                                }
                                let (found, used) = try body.nextData(bytes)
                                data += rest[found]
                                return used
                            }
                        }.get()
                        waiting.removeFirst(used)
                    }
                }
                #expect(body.isComplete && text(data) == "abc")
                #expect(text(lines) == "x-sum: 1\r\nY:\r\n", "\(first) \(second)")
                #expect(text(waiting) == "GET")
            }
        }
    }

    @Test(arguments: accepted)
    func acceptsHoweverItIsSplit(_ row: String) {
        let bytes = Array(row.utf8)
        let next = Array("GET".utf8)
        for cut in 0...bytes.count {
            #expect(check(bytes + next, cuts: [cut]) == .complete(end: bytes.count))
        }
        let cuts = Array(1..<bytes.count)
        #expect(check(bytes + next, cuts: cuts) == .complete(end: bytes.count))
        guard case .accepted(let body, let length) = ReferenceParser.chunked(bytes + next) else {
            Issue.record("the reference refuses")
            return
        }
        #expect(length == bytes.count)
        for cut in 0...bytes.count { #expect(decode(bytes, cuts: [cut]) == body.data) }
        #expect(decode(bytes, cuts: cuts) == body.data)
    }

    @Test(arguments: refused)
    func refusesHoweverItIsSplit(_ row: String, _ error: HeadError) {
        let bytes = Array(row.utf8)
        #expect(ReferenceParser.chunked(bytes + Array("\r\n\r\n".utf8)) == .refused)
        for cut in 0...bytes.count where cut < 300 || cut > bytes.count - 300 {
            #expect(check(bytes, cuts: [cut]) == .invalid(error), "cut at \(cut)")
        }
        #expect(check(bytes, cuts: Array(0...bytes.count)) == .invalid(error))
        #expect(decode(bytes, cuts: []) == nil)
    }

    @Test func extensionsAndTrailersFitUpToTheirLimit() {
        let longest = "1;" + String(repeating: "a", count: 4095) + "\r\nx\r\n"
        let twice = Array((longest + longest + "0\r\n\r\n").utf8)
        #expect(check(twice, cuts: []) == .complete(end: twice.count))
        let value = String(repeating: "a", count: 16 * 1024 - 6)
        let trailer = Array("0\r\nx:\(value)\r\n\r\n".utf8)
        #expect(check(trailer, cuts: []) == .complete(end: trailer.count))
    }

    @Test func aHugeChunkIsFollowedWithoutItsBytes() {
        var body = ChunkedBody()
        let size = Array("fffffffffffffff\r\n".utf8)
        #expect(size.withBytes { body.check($0) } == .partial(end: size.count))
        let piece = [UInt8](repeating: 0, count: 1000)
        #expect(piece.withBytes { body.check($0) } == .partial(end: 1000))
        #expect(!body.isComplete)
    }
}

/// What checking `bytes` cut at `cuts` comes to, the end counted from the first byte.
func check(_ bytes: [UInt8], cuts: [Int]) -> ChunkedBody.Progress {
    var body = ChunkedBody()
    var start = 0
    var last = ChunkedBody.Progress.partial(end: 0)
    for cut in cuts + [bytes.count] {
        last = Array(bytes[start..<cut]).withBytes { body.check($0) }
        switch last {
        case .partial(let end):
            if end != cut - start { return .partial(end: -1) }
        case .complete(let end): return .complete(end: start + end)
        case .invalid: return last
        }
        start = cut
    }
    return .partial(end: bytes.count)
}

/// The data of a complete body cut at `cuts`; nil: refused, or not complete.
func decode(_ bytes: [UInt8], cuts: [Int]) -> [UInt8]? {
    var body = ChunkedBody()
    var data: [UInt8] = []
    var start = 0
    for cut in cuts + [bytes.count] {
        while start < cut, !body.isComplete {
            let piece = Array(bytes[start..<cut])
            if body.isBehindData {
                let found = piece.withBytes { try? body.nextTrailers($0) }
                guard let found, found.used > 0, found.lines.upperBound <= found.used else {
                    return nil
                }
                start += found.used
                continue
            }
            let found = piece.withBytes { view -> (data: Range<Int>, used: Int)? in
                try? body.nextData(view)
            }
            guard let found, found.used > 0, found.data.upperBound <= found.used else { return nil }
            data += piece[found.data]
            start += found.used
        }
    }
    return body.isComplete ? data : nil
}
