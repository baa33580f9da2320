import Base
import Wire

/// A request on its way back to its sender: as JSON, or as it came where `accept` asks for
/// `text/plain`.
struct AppEcho {
    /// Bound: bytes of body that are kept.
    static let bodyLimit = 1 << 20

    private let isText: Bool
    private var start: [UInt8]
    private var body: [UInt8] = []

    /// Keeps the request whose head was parsed from `bytes`.
    /// - Parameter isStream: it came over HTTP/2; `bytes` is what HTTP/1.1 would have made of it.
    init(_ head: borrowing Head, _ bytes: Bytes, isStream: Bool) {
        var fields: [String] = []
        var isText = false
        for index in 0..<head.fieldCount {
            let name = bytes[head.fields[index].nameRange]
            let value = bytes[head.fields[index].valueRange]
            if name.equalsIgnoringCase("accept"), value == "text/plain" { isText = true }
            // HTTP/2 has no such field: it stands for a body of unknown length.
            if isStream, head.fields[index].name == .transferEncoding { continue }
            fields.append("[\(jsonQuoted(name.text)),\(jsonQuoted(value.text))]")
        }
        self.isText = isText
        let version = isStream ? "2" : "1.\(head.minorVersion)"
        if isText {
            start = unsafe Array(bytes[0..<head.length].raw)
        } else {
            start = Array(
                """
                {"method":\(jsonQuoted(bytes[head.method].text)),\
                "target":\(jsonQuoted(bytes[head.target].text)),\
                "version":"\(version)","headers":[\(fields.joined(separator: ","))],
                """.utf8)
        }
    }

    /// The media type of `page`.
    var type: StaticString { isText ? "text/plain" : "application/json" }

    /// Keeps more of the body.
    /// - Returns: false where it would be too long.
    mutating func append(_ bytes: Bytes) -> Bool {
        guard body.count + bytes.count <= Self.bodyLimit else { return false }
        unsafe body.append(contentsOf: bytes.raw)
        return true
    }

    /// The answer. A body that is no UTF-8 comes back in hexadecimal, as `body_hex`.
    func page() -> [UInt8] {
        if isText { return start + body }
        let end: String
        if let text = String(validating: body, as: UTF8.self) {
            end = "\"body\":\(jsonQuoted(text))}\n"
        } else {
            let digits = Array("0123456789abcdef".utf8)
            let hex = body.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
            end = "\"body_hex\":\"\(String(decoding: hex, as: UTF8.self))\"}\n"
        }
        return start + Array(end.utf8)
    }
}
