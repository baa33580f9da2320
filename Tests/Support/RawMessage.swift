// HTTP/1.1 messages as a test sees them, read by a parser of its own: simple, and unknown to the
// program under test, so that the two cannot share a mistake.

/// A request or an answer that has been read.
public struct RawMessage: Equatable, Sendable {
    /// The start line without its end: `GET / HTTP/1.1`, `HTTP/1.1 200 OK`.
    public var startLine: String
    /// Names in lower case, values without the blanks around them, in order.
    public var fields: [(name: String, value: String)]
    /// Without chunks.
    public var body: [UInt8]
    /// The trailer lines behind a chunked body.
    public var trailers: [String]
    /// The body as it stood on the wire, chunks and trailers and all.
    public var rawBody: [UInt8] = []

    /// The status of an answer; 0 for a request.
    public var status: Int {
        startLine.hasPrefix("HTTP/") ? Int(startLine.split(separator: " ")[1]) ?? 0 : 0
    }

    /// The method of a request.
    public var method: String { String(startLine.split(separator: " ").first ?? "") }

    /// The target of a request.
    public var target: String {
        let words = startLine.split(separator: " ")
        return words.count > 1 ? String(words[1]) : ""
    }

    public var text: String { String(decoding: body, as: UTF8.self) }

    /// Every value of the field, in order.
    public func values(_ name: String) -> [String] {
        fields.filter { $0.name == name }.map(\.value)
    }

    /// The first value of the field.
    public subscript(_ name: String) -> String? { values(name).first }

    public static func == (a: RawMessage, b: RawMessage) -> Bool {
        a.startLine == b.startLine && a.body == b.body && a.trailers == b.trailers
            && a.fields.elementsEqual(b.fields) { $0 == $1 }
    }
}

extension RawConnection {
    /// Reads the next message's head, which ends with an empty line.
    public func readHead() throws(WireFailure) -> RawMessage {
        let lines = try read(through: "\r\n\r\n").split(
            separator: "\r\n", omittingEmptySubsequences: true)
        guard let start = lines.first else { throw .unexpected("an empty head") }
        var message = RawMessage(startLine: String(start), fields: [], body: [], trailers: [])
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { throw .unexpected("a field without a colon: \(line)") }
            message.fields.append((parts[0].lowercased(), trimmed(parts[1])))
        }
        return message
    }

    /// Reads the next answer whole; 1xx answers are passed over.
    /// - Parameter toHead: it answers HEAD, so it has no body whatever it says.
    public func readAnswer(toHead: Bool = false) throws(WireFailure) -> RawMessage {
        var message = try readHead()
        while message.status / 100 == 1 { message = try readHead() }
        let bodiless = toHead || message.status == 204 || message.status == 304
        if !bodiless { try readBody(of: &message, untilClose: true) }
        return message
    }

    /// Reads the next request whole.
    public func readRequest() throws(WireFailure) -> RawMessage {
        var message = try readHead()
        try readBody(of: &message, untilClose: false)
        return message
    }

    /// Reads the body that the head announces.
    public func readBody(of message: inout RawMessage, untilClose: Bool) throws(WireFailure) {
        if message["transfer-encoding"] == "chunked" {
            try readChunks(of: &message)
        } else if let text = message["content-length"] {
            guard let length = Int(text) else { throw .unexpected("content-length: \(text)") }
            message.body = try read(length)
            message.rawBody = message.body
        } else if untilClose {
            message.body = try readToEnd()
            message.rawBody = message.body
        }
    }

    private func readChunks(of message: inout RawMessage) throws(WireFailure) {
        while true {
            let line = try read(through: "\r\n")
            message.rawBody += Array(line.utf8)
            let digits = line.prefix { $0.isHexDigit }
            guard let size = Int(digits, radix: 16) else { throw .unexpected("chunk: \(line)") }
            guard size > 0 else { break }
            let chunk = try read(size + 2)
            guard chunk.suffix(2) == [13, 10] else { throw .unexpected("a chunk without end") }
            message.body += chunk.dropLast(2)
            message.rawBody += chunk
        }
        while true {
            let line = try read(through: "\r\n")
            message.rawBody += Array(line.utf8)
            if line == "\r\n" { return }
            message.trailers.append(String(line.dropLast()))
        }
    }

    private func trimmed(_ text: Substring) -> String {
        let start = text.drop { $0 == " " || $0 == "\t" }
        var end = start
        while let last = end.last, last == " " || last == "\t" { end = end.dropLast() }
        return String(end)
    }
}
