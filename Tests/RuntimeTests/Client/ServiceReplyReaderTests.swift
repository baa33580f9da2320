import Base
import Support
import Testing

@testable import Runtime

/// What an answer came to, in pieces of the given sizes; nil at its end: the rest at once.
private func read(
    _ text: String, pieces: [Int] = [], ends: Bool = true, headBytes: Int = 1024,
    bodyBytes: Int = 1024
) -> Result<ServiceReply?, ServiceClientError.Cause> {
    readReply(
        Array(text.utf8), pieces: pieces, ends: ends, headBytes: headBytes, bodyBytes: bodyBytes)
}

/// The same of any bytes.
private func readReply(
    _ bytes: [UInt8], pieces: [Int], ends: Bool, headBytes: Int, bodyBytes: Int
) -> Result<ServiceReply?, ServiceClientError.Cause> {
    var reader = ServiceReplyReader(headBytes: headBytes, bodyBytes: bodyBytes)
    var sizes = pieces[...]
    var rest = bytes[...]
    do throws(ServiceClientError.Cause) {
        while !rest.isEmpty, !reader.isComplete {
            let piece = Array(rest.prefix(sizes.popFirst() ?? rest.count))
            rest = rest.dropFirst(piece.count)
            try piece.withBytes { bytes in
                Result { () throws(ServiceClientError.Cause) in try reader.read(bytes) }
            }.get()
        }
        if ends { try reader.end() }
    } catch {
        return .failure(error)
    }
    guard reader.isComplete, let status = reader.status else { return .success(nil) }
    return .success(ServiceReply(status: status, fields: reader.fields, body: reader.takeBody()))
}

@Suite struct ServiceReplyReaderTests {
    @Test(
        arguments: [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 200, "hi"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi, and more", 200, "hi"),
            ("HTTP/1.1 204 No Content\r\n\r\nmore", 204, ""),
            ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", 500, ""),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\ncontent-length: 1\r\n\r\nx",
                201, "x"
            ),
            ("HTTP/1.0 200 OK\r\n\r\nto the end", 200, "to the end"),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                    + "3\r\nabc\r\n2;x=1\r\nde\r\n0\r\nz: 1\r\n\r\nmore", 200, "abcde"
            ),
        ])
    func answersInAnyPieces(text: String, status: Int, body: String) throws {
        for size in [1, 2, 3, 7, 1000] {
            let pieces = Array(repeating: size, count: text.utf8.count)
            let reply = try read(text, pieces: pieces).get()
            #expect(reply?.status == status, "pieces of \(size)")
            #expect(reply?.body == Array(body.utf8), "pieces of \(size)")
        }
    }

    @Test func fieldsAreInLowerCase() throws {
        let reply = try read("HTTP/1.1 204 -\r\nETag:  \"7\" \r\nA: b\r\n\r\n").get()
        #expect(reply?["etag"] == "\"7\"")
        #expect(reply?.fields.map(\.name) == ["etag", "a"])
    }

    @Test(
        arguments: [
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi", .cut),
            ("HTTP/1.1 200 OK\r\ncontent-le", .cut), ("", .cut),
            ("HTTP/1.1 100 Continue\r\n\r\n", .cut),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n", .cut),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1025\r\n\r\n", .tooLarge(1024)),
            ("SSH-2.0-OpenSSH", .malformed("bad_version")),
            ("HTTP/1.1 101 Switching\r\n\r\n", .malformed("status 101")),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
                .malformed("bad_chunk_size")
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
                .malformed("several_content_lengths")
            ),
        ] as [(String, ServiceClientError.Cause)])
    func whatIsWrongIsSaid(text: String, cause: ServiceClientError.Cause) {
        #expect(throws: cause) { _ = try read(text).get() }
        let bytes = Array(repeating: 1, count: text.utf8.count)
        #expect(throws: cause) { _ = try read(text, pieces: bytes).get() }
    }

    @Test func bounds() {
        let long = String(repeating: "x", count: 1025)
        for framing in ["", "transfer-encoding: chunked\r\n"] {
            let body = framing.isEmpty ? long : "401\r\n\(long)\r\n0\r\n\r\n"
            #expect(throws: ServiceClientError.Cause.tooLarge(1024)) {
                _ = try read("HTTP/1.1 200 OK\r\n\(framing)\r\n\(body)", pieces: [30, 30, 30]).get()
            }
        }
        #expect(throws: ServiceClientError.Cause.malformed("head_too_large")) {
            _ = try read("HTTP/1.1 200 OK\r\na: \(long)\r\n\r\n").get()
        }
    }

    @Test func linesInPieces() {
        let text = Array("one\n\ntwo\nthree".utf8)
        for size in 1...text.count {
            var lines = ServiceLines()
            var found: [[UInt8]] = []
            for start in stride(from: 0, to: text.count, by: size) {
                lines.append(Array(text[start..<min(start + size, text.count)]))
                while let line = lines.next() { found.append(line) }
            }
            #expect(found == [Array("one".utf8), [], Array("two".utf8)])
            #expect(lines.waiting == 5)
        }
    }

    @Test func fuzz() { fuzzServiceReplies(.current(steps: 2000)) }
}

/// Random answers, half of them damaged: in any pieces they come to the same as at once, and what
/// is not damaged comes to what was meant.
private func fuzzServiceReplies(_ budget: FuzzBudget) {
    var random = SeededRandom(seed: budget.seed)
    for step in 0..<budget.steps {
        let body = (0..<Int.random(in: 0...300, using: &random)).map { _ in
            UInt8.random(in: 0...255, using: &random)
        }
        var text = Array("HTTP/1.1 200 OK\r\n".utf8)
        switch Int.random(in: 0...2, using: &random) {
        case 0: text += Array("content-length: \(body.count)\r\n\r\n".utf8) + body
        case 1: text += Array("\r\n".utf8) + body
        default:
            text += "transfer-encoding: chunked\r\n\r\n".utf8
            var rest = body[...]
            while !rest.isEmpty {
                let chunk = rest.prefix(Int.random(in: 1...50, using: &random))
                rest = rest.dropFirst(chunk.count)
                text += Array("\(String(chunk.count, radix: 16))\r\n".utf8) + chunk
                text += "\r\n".utf8
            }
            text += "0\r\n\r\n".utf8
        }
        let isDamaged = Bool.random(using: &random)
        if isDamaged {
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                text[Int.random(in: 0..<text.count, using: &random)] =
                    UInt8.random(in: 0...255, using: &random)
            }
        }
        let pieces = (0..<text.count).map { _ in Int.random(in: 1...40, using: &random) }
        let whole = readReply(text, pieces: [], ends: true, headBytes: 200, bodyBytes: 400)
        let split = readReply(text, pieces: pieces, ends: true, headBytes: 200, bodyBytes: 400)
        let again = "at step \(step). Again: \(budget.rerun("ServiceReplyReaderTests/fuzz"))"
        #expect(whole == split, "\(again)")
        if !isDamaged { #expect((try? whole.get())?.body == body, "\(again)") }
    }
}
