/// A chunked body taken apart.
public struct ReferenceBody: Equatable, Sendable {
    public var data: [UInt8] = []
    public var trailers: [ReferenceField] = []

    public init() {}
}

extension ReferenceParser {
    private static let forbiddenTrailers: Set = [
        "content-length", "transfer-encoding", "host", "connection", "trailer", "te", "upgrade",
        "expect",
    ]

    /// Reads a chunked body (RFC 9112, 7.1) at `start`; the accepted length counts from there.
    public static func chunked(
        _ bytes: [UInt8], from start: Int = 0
    ) -> ReferenceVerdict<ReferenceBody> {
        var body = ReferenceBody()
        var i = start
        while true {
            guard let end = find([13, 10], in: bytes, from: i) else { return .unfinished }
            let line = Array(bytes[i..<end])
            let digits = line.prefix { hexBytes.contains($0) }
            let extensions = Array(line.dropFirst(digits.count))
            guard (1...15).contains(digits.count), isExtensions(extensions),
                extensions.count <= 4096, let size = Int(text(Array(digits)), radix: 16)
            else { return .refused }
            i = end + 2
            if size == 0 { return trailers(bytes, from: i, start: start, body) }
            if bytes.count - i > size, bytes[i + size] != 13 { return .refused }
            guard bytes.count - i >= size + 2 else { return .unfinished }
            guard bytes[i + size + 1] == 10 else { return .refused }
            body.data += bytes[i..<i + size]
            i += size + 2
        }
    }

    private static func trailers(
        _ bytes: [UInt8], from first: Int, start: Int, _ body: ReferenceBody
    ) -> ReferenceVerdict<ReferenceBody> {
        var body = body
        var i = first
        while true {
            guard let end = find([13, 10], in: bytes, from: i) else {
                return bytes.count - first > 16 * 1024 ? .refused : .unfinished
            }
            guard end + 2 - first <= 16 * 1024 else { return .refused }
            if end == i { return .accepted(body, length: end + 2 - start) }
            guard let field = fields([Array(bytes[i..<end])])?.first,
                !forbiddenTrailers.contains(field.key)
            else { return .refused }
            body.trailers.append(field)
            i = end + 2
        }
    }

    /// *( ";" token [ "=" ( token / quoted-string ) ] ), without white space.
    private static func isExtensions(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while let first = rest.popFirst() {
            guard first == UInt8(ascii: ";") else { return false }
            let name = rest.prefix { tokenBytes.contains($0) }
            rest = rest.dropFirst(name.count)
            if name.isEmpty { return false }
            guard rest.first == UInt8(ascii: "=") else { continue }
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "\"") {
                rest = rest.dropFirst()
                var closed = false
                while !closed, let byte = rest.popFirst() {
                    if byte == UInt8(ascii: "\"") {
                        closed = true
                    } else if byte == UInt8(ascii: "\\") {
                        guard let escaped = rest.popFirst(), isValue([escaped]) else {
                            return false
                        }
                    } else if !isValue([byte]) {
                        return false
                    }
                }
                if !closed { return false }
            } else {
                let value = rest.prefix { tokenBytes.contains($0) }
                if value.isEmpty { return false }
                rest = rest.dropFirst(value.count)
            }
        }
        return true
    }
}
