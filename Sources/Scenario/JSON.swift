/// A JSON value whose objects keep their order, for writing.
indirect enum JSON: Equatable, Sendable {
    case string(String)
    case integer(Int)
    /// Finite; written as whole numbers are where it is one.
    case number(Double)
    case boolean(Bool)
    case array([JSON])
    case object([Member])

    struct Member: Equatable, Sendable {
        var name: String
        var value: JSON

        init(_ name: String, _ value: JSON) {
            self.name = name
            self.value = value
        }

        fileprivate var prefix: String { "\(JSON.quote(name)): " }
    }

    /// On one line.
    var text: String {
        switch self {
        case .string(let text): Self.quote(text)
        case .integer(let number): "\(number)"
        case .number(let number):
            Int(exactly: number).map { "\($0)" } ?? "\(number)"
        case .boolean(let value): "\(value)"
        case .array(let items): "[\(items.map(\.text).joined(separator: ", "))]"
        case .object(let members):
            "{\(members.map { $0.prefix + $0.value.text }.joined(separator: ", "))}"
        }
    }

    /// The one text of the value: keys in the order of their bytes, nothing between.
    var canonical: [UInt8] {
        var bytes: [UInt8] = []
        writeCanonical(to: &bytes)
        return bytes
    }

    private func writeCanonical(to bytes: inout [UInt8]) {
        switch self {
        case .string(let text): Self.write(quoted: text, to: &bytes)
        case .integer, .number, .boolean: bytes += text.utf8
        case .array(let items):
            bytes.append(UInt8(ascii: "["))
            for (index, item) in items.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                item.writeCanonical(to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            let sorted = members.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
            bytes.append(UInt8(ascii: "{"))
            for (index, member) in sorted.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                Self.write(quoted: member.name, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                member.value.writeCanonical(to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    private static func write(quoted text: String, to bytes: inout [UInt8]) {
        // Nearly all are plain: names, addresses, words.
        let isPlain = text.utf8.allSatisfy { byte in
            (0x20...0x7E).contains(byte) && byte != UInt8(ascii: "\"")
                && byte != UInt8(ascii: "\\")
        }
        guard isPlain else {
            bytes += quote(text).utf8
            return
        }
        bytes.append(UInt8(ascii: "\""))
        bytes += text.utf8
        bytes.append(UInt8(ascii: "\""))
    }

    /// Over several lines, two spaces for each level; what fits on a line stays on it.
    func document(indent: String = "") -> String {
        let inner = indent + "  "
        if text.count + indent.count <= 80 { return text }
        let lines: [String]
        switch self {
        case .array(let items): lines = items.map { $0.document(indent: inner) }
        case .object(let members):
            lines = members.map { $0.prefix + $0.value.document(indent: inner) }
        default: return text
        }
        let (open, close) = if case .array = self { ("[", "]") } else { ("{", "}") }
        let body = lines.map { inner + $0 }.joined(separator: ",\n")
        return "\(open)\n\(body)\n\(indent)\(close)"
    }

    /// RFC 8259, section 7. Non-ASCII text stands as it is; DEL and the C1 controls, which YAML
    /// refuses to read raw, are escaped too.
    fileprivate static func quote(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            case _
            where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
                || [0x2028, 0x2029, 0xFEFF].contains(scalar.value):
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
