// JSON as other programs answer in it (RFC 8259), read into values. Not for what people write: that
// is the scenario reader's, which knows lines and columns.

import Base

/// A value of JSON.
enum JSONValue: Equatable, Sendable {
    case null
    case bool(Bool)
    /// As it was written.
    case number(String)
    case text(String)
    case array([JSONValue])
    /// In the order in which they came.
    case object([Member])

    struct Member: Equatable, Sendable {
        var name: String
        var value: JSONValue
    }

    /// The member of that name, the first if there are several; nil: there is none, or it is no
    /// object.
    subscript(_ name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// The first value of a text; nil: it is none, or something follows.
    init?(_ bytes: [UInt8]) {
        let value = bytes.withBytes { bytes -> JSONValue? in
            var reader = JSONReader(bytes)
            return reader.document()
        }
        guard let value else { return nil }
        self = value
    }
}

/// Reads one document, front to back.
struct JSONReader {
    private let bytes: Bytes
    private var offset = 0
    /// Bound: of nesting, which is the stack's. Nothing that is read here has more than ten.
    private static let depth = 32

    init(_ bytes: Bytes) { self.bytes = bytes }

    mutating func document() -> JSONValue? {
        guard let value = value(Self.depth) else { return nil }
        skipBlanks()
        return offset == bytes.count ? value : nil
    }

    private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

    private mutating func skipBlanks() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            offset += 1
        }
    }

    private mutating func take(_ byte: Character) -> Bool {
        guard let next, next == byte.asciiValue else { return false }
        offset += 1
        return true
    }

    private mutating func take(word: StaticString) -> Bool {
        let word = Bytes(word)
        guard bytes.count - offset >= word.count,
            bytes[offset..<offset + word.count] == word
        else { return false }
        offset += word.count
        return true
    }

    private mutating func value(_ depth: Int) -> JSONValue? {
        skipBlanks()
        guard depth > 0, let next else { return nil }
        switch next {
        case UInt8(ascii: "{"): return object(depth)
        case UInt8(ascii: "["): return array(depth)
        case UInt8(ascii: "\""): return text().map { .text($0) }
        case UInt8(ascii: "t"): return take(word: "true") ? .bool(true) : nil
        case UInt8(ascii: "f"): return take(word: "false") ? .bool(false) : nil
        case UInt8(ascii: "n"): return take(word: "null") ? .null : nil
        default: return number()
        }
    }

    private mutating func object(_ depth: Int) -> JSONValue? {
        offset += 1
        var members: [JSONValue.Member] = []
        skipBlanks()
        if take("}") { return .object(members) }
        repeat {
            skipBlanks()
            guard let name = text() else { return nil }
            skipBlanks()
            guard take(":"), let value = value(depth - 1) else { return nil }
            members.append(.init(name: name, value: value))
            skipBlanks()
        } while take(",")
        return take("}") ? .object(members) : nil
    }

    private mutating func array(_ depth: Int) -> JSONValue? {
        offset += 1
        var values: [JSONValue] = []
        skipBlanks()
        if take("]") { return .array(values) }
        repeat {
            guard let value = value(depth - 1) else { return nil }
            values.append(value)
            skipBlanks()
        } while take(",")
        return take("]") ? .array(values) : nil
    }

    /// Signs and digits are not looked at more closely: whoever wants a number of it does.
    private mutating func number() -> JSONValue? {
        let start = offset
        while let byte = next,
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+")
                || byte == UInt8(ascii: ".") || byte | 0x20 == UInt8(ascii: "e")
        { offset += 1 }
        return offset > start ? .number(bytes[start..<offset].text) : nil
    }

    private mutating func text() -> String? {
        guard take("\"") else { return nil }
        let start = offset
        // Nearly every text has no escape, and is a part of what there is.
        while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
            guard byte >= 0x20 else { return nil }
            offset += 1
        }
        let plain = bytes[start..<offset].text
        return take("\"") ? plain : rest(plain)
    }

    private mutating func rest(_ before: String) -> String? {
        var units = Array(before.utf16)
        while let byte = next {
            offset += 1
            if byte == UInt8(ascii: "\"") { return String(decoding: units, as: UTF16.self) }
            guard byte == UInt8(ascii: "\\") else {
                guard byte >= 0x20 else { return nil }
                let start = offset - 1
                while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
                    guard byte >= 0x20 else { return nil }
                    offset += 1
                }
                units += bytes[start..<offset].text.utf16
                continue
            }
            guard let unit = escaped() else { return nil }
            units.append(unit)
        }
        return nil
    }

    private mutating func escaped() -> UInt16? {
        guard let byte = next else { return nil }
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return UInt16(byte)
        case UInt8(ascii: "b"): return 0x08
        case UInt8(ascii: "f"): return 0x0C
        case UInt8(ascii: "n"): return 0x0A
        case UInt8(ascii: "r"): return 0x0D
        case UInt8(ascii: "t"): return 0x09
        case UInt8(ascii: "u"):
            guard bytes.count - offset >= 4 else { return nil }
            defer { offset += 4 }
            let digits = bytes[offset..<offset + 4].text
            guard digits.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") })
            else { return nil }
            return UInt16(digits, radix: 16)
        default: return nil
        }
    }
}
