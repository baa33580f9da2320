// Domain names (RFC 1035, 3.1). Letters are kept as they came, as whoever asks wants its question
// back byte for byte; names are compared without their case (RFC 4343).

import Base

/// An absolute domain name.
public struct DNSName: Hashable, Sendable, CustomStringConvertible {
    /// Each label behind its length, and the root's 0 at the end.
    public let wire: [UInt8]
    /// The same with ASCII letters in lower case.
    let folded: [UInt8]

    /// Bytes of a name at most (RFC 1035, 2.3.4).
    public static let byteLimit = 255
    /// Bytes of a label at most (RFC 1035, 2.3.4).
    public static let labelLimit = 63
    /// The name without labels.
    public static let root = DNSName(wire: [0])

    /// - Precondition: `wire` is a name as on the wire, of at most `byteLimit` bytes.
    init(wire: [UInt8]) {
        precondition(wire.count <= Self.byteLimit && wire.last == 0, "no name")
        self.wire = wire
        // Lengths are below 64, where no letters are.
        folded = wire.map { $0 &- 0x41 < 26 ? $0 | 0x20 : $0 }
    }

    /// From labels, the first first; nil where one is empty or too long, or all together are.
    public init?(labels: some Sequence<[UInt8]>) {
        var wire: [UInt8] = []
        for label in labels {
            guard (1...Self.labelLimit).contains(label.count),
                wire.count + label.count + 2 <= Self.byteLimit
            else { return nil }
            wire.append(UInt8(label.count))
            wire += label
        }
        self.init(wire: wire + [0])
    }

    /// From text such as `cart.shop.mesh`, with or without a dot at its end; `.` is the root. Nil
    /// where a label is empty or too long. Escapes (RFC 1035, 5.1) are not read.
    public init?(_ text: some StringProtocol) {
        if text == "." {
            self = .root
            return
        }
        let whole = text.hasSuffix(".") ? text.dropLast() : text[...]
        guard !whole.isEmpty else { return nil }
        self.init(
            labels: whole.split(separator: ".", omittingEmptySubsequences: false)
                .map { Array($0.utf8) })
    }

    /// The labels in lower case, the first first.
    public var labels: [[UInt8]] {
        var labels: [[UInt8]] = []
        var place = 0
        while folded[place] != 0 {
            let end = place + 1 + Int(folded[place])
            labels.append(Array(folded[place + 1..<end]))
            place = end
        }
        return labels
    }

    /// The labels before those of `zone`, in lower case; nil where the name is not within it.
    public func labels(below zone: DNSName) -> [[UInt8]]? {
        let labels = labels
        let suffix = zone.labels
        guard labels.count >= suffix.count, Array(labels.suffix(suffix.count)) == suffix else {
            return nil
        }
        return labels.dropLast(suffix.count)
    }

    public static func == (a: DNSName, b: DNSName) -> Bool { a.folded == b.folded }
    public func hash(into hasher: inout Hasher) { hasher.combine(folded) }

    /// As in zone files, with the dot at the end; bytes that would be misread stand as `\DDD`.
    public var description: String {
        var text = ""
        var place = 0
        while wire[place] != 0 {
            let end = place + 1 + Int(wire[place])
            for byte in wire[place + 1..<end] {
                switch byte {
                case UInt8(ascii: "."), UInt8(ascii: "\\"), ...0x20, 0x7F...:
                    let digits = String(byte)
                    text += "\\" + String(repeating: "0", count: 3 - digits.count) + digits
                default: text.unicodeScalars.append(Unicode.Scalar(byte))
                }
            }
            text += "."
            place = end
        }
        return text.isEmpty ? "." : text
    }
}

extension DNSName: ExpressibleByStringLiteral {
    /// - Precondition: the literal is a name, as `init(_:)` takes it.
    public init(stringLiteral text: StaticString) {
        guard let name = DNSName(Bytes(text).text) else {
            preconditionFailure("no name of DNS: \(text)")
        }
        self = name
    }
}
