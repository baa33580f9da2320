// HTTP/1.1 read slowly: whole messages in arrays, cut at their separators, each rule of RFC 9110
// and 9112 (and of our own strictness) one line. It shares nothing with `Wire` and is what `Wire`
// is held against.

/// What reading came to.
public enum ReferenceVerdict<Value: Equatable & Sendable>: Equatable, Sendable {
    /// The bytes begin with a whole `Value` of `length` bytes.
    case accepted(Value, length: Int)
    /// The bytes end too early.
    case unfinished
    case refused
}

/// A field line.
public struct ReferenceField: Equatable, Sendable {
    public var name: [UInt8]
    public var value: [UInt8]

    /// The name in lower case.
    public var key: String { text(name).lowercased() }
}

/// How a body is delimited.
public enum ReferenceFraming: Equatable, Sendable {
    case none
    case length(Int)
    case chunked
    case untilClose
}

/// A request or answer head.
public struct ReferenceHead: Equatable, Sendable {
    /// Method, target, version; or version, status, reason.
    public var start: [[UInt8]]
    public var fields: [ReferenceField]
    public var framing = ReferenceFraming.none
    public var minorVersion = 1
    public var keepAlive = true
    public var wantsUpgrade = false
    public var expectsContinue = false
    public var authority: [UInt8] = []
    public var path: [UInt8] = []
    public var status = 0

    /// The values of every field of this name, in order.
    public func values(_ key: String) -> [[UInt8]] {
        fields.filter { $0.key == key }.map(\.value)
    }

    /// The options of `connection`, lower case; nil: malformed.
    public var connectionOptions: [String]? {
        var options: [String] = []
        for value in values("connection") {
            guard let members = ReferenceParser.tokens(value) else { return nil }
            options += members
        }
        return options
    }
}

/// The limits the reference applies.
public struct ReferenceLimits: Sendable {
    public var headBytes = 32 * 1024
    public var fieldCount = 100
    public var targetBytes = 8 * 1024

    public init() {}
}

/// The text of bytes.
public func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

/// The bytes as a reader sees them: what is not printable escaped.
public func visible(_ bytes: some Sequence<UInt8>) -> String {
    var shown = ""
    for byte in bytes {
        switch byte {
        case 0x0D: shown += "\\r"
        case 0x0A: shown += "\\n"
        case 0x20..<0x7F: shown.unicodeScalars.append(Unicode.Scalar(byte))
        default: shown += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
    }
    return shown
}

public enum ReferenceParser {
    static let tokenBytes = Set(
        "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
    static let regNameBytes = Set(
        "-._~!$&'()*+,;=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
    static let hexBytes = Set("0123456789abcdefABCDEF".utf8)
    static let digitBytes = Set("0123456789".utf8)

    static func isToken(_ bytes: [UInt8]) -> Bool {
        !bytes.isEmpty && bytes.allSatisfy { tokenBytes.contains($0) }
    }

    static func isValue(_ bytes: [UInt8]) -> Bool {
        bytes.allSatisfy { $0 == 9 || ($0 >= 32 && $0 != 127) }
    }

    static func trimmed(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        while let last = bytes.last, last == 9 || last == 32 { bytes.removeLast() }
        return Array(bytes.drop { $0 == 9 || $0 == 32 })
    }

    /// The members of a list of tokens, lower case, empty ones left out; nil: a member is no token.
    static func tokens(_ value: [UInt8]) -> [String]? {
        let members = value.split(separator: UInt8(ascii: ",")).map { trimmed(Array($0)) }
            .filter { !$0.isEmpty }
        return members.allSatisfy(isToken) ? members.map { text($0).lowercased() } : nil
    }

    /// Where `pattern` first stands at or after `start`.
    public static func find(_ pattern: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        guard bytes.count - start >= pattern.count else { return nil }
        for i in start...bytes.count - pattern.count where bytes[i] == pattern[0] {
            if Array(bytes[i..<i + pattern.count]) == pattern { return i }
        }
        return nil
    }

    /// The lines of a head and its length, the empty line included.
    static func lines(
        _ bytes: [UInt8], from start: Int, limits: ReferenceLimits
    ) -> ReferenceVerdict<[[UInt8]]> {
        let within = Array(bytes.prefix(limits.headBytes))
        guard let end = find([13, 10, 13, 10], in: within, from: min(start, within.count)) else {
            return bytes.count >= limits.headBytes ? .refused : .unfinished
        }
        var lines: [[UInt8]] = []
        var line: [UInt8] = []
        var i = start
        while i < end + 2 {
            if within[i] == 13, within[i + 1] == 10 {
                lines.append(line)
                line = []
                i += 2
            } else {
                line.append(within[i])
                i += 1
            }
        }
        if lines.contains(where: { $0.contains(13) || $0.contains(10) }) { return .refused }
        return .accepted(lines, length: end + 4)
    }

    static func fields(_ lines: [[UInt8]]) -> [ReferenceField]? {
        var fields: [ReferenceField] = []
        for line in lines {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return nil }
            let name = Array(line[..<colon])
            let value = trimmed(Array(line[(colon + 1)...]))
            guard isToken(name), isValue(value) else { return nil }
            fields.append(ReferenceField(name: name, value: value))
        }
        return fields
    }

    /// What the fields say of framing and connection, into `head`; false: refused.
    static func settle(_ head: inout ReferenceHead, isRequest: Bool) -> Bool {
        guard let options = head.connectionOptions else { return false }
        let protected: Set = ["content-length", "transfer-encoding", "host"]
        if options.contains(where: protected.contains) { return false }
        head.keepAlive =
            !options.contains("close") && (head.minorVersion == 1 || options.contains("keep-alive"))
        head.wantsUpgrade =
            head.minorVersion == 1 && options.contains("upgrade")
            && !head.values("upgrade").isEmpty
        let lengths = head.values("content-length")
        let codings = head.values("transfer-encoding")
        if lengths.count > 1 || codings.count > 1 { return false }
        if !lengths.isEmpty && !codings.isEmpty { return false }
        if let length = lengths.first {
            guard (1...18).contains(length.count), length.allSatisfy(digitBytes.contains),
                let count = Int(text(length))
            else { return false }
            head.framing = .length(count)
        } else if let coding = codings.first {
            guard head.minorVersion == 1, tokens(coding) == ["chunked"] else { return false }
            head.framing = .chunked
        } else {
            head.framing = isRequest ? .none : .untilClose
        }
        return true
    }
}
