// The field section: one pass over the bytes, strict in everything that parsers have disagreed
// about.

public import Base

extension Head {
    /// Parses field lines from `start` to the empty line, and notes what they mean for framing and
    /// connection.
    /// - Returns: where the section ends, behind the empty line; nil if the bytes end before it
    ///   does.
    mutating func parseFields(_ bytes: Bytes, from start: Int, isRequest: Bool)
        throws(HeadError) -> Int?
    {
        fieldCount = 0
        hostField = -1
        wantsUpgrade = false
        expectsContinue = false
        namesMoreHopFields = false
        var meaning = FieldMeaning()
        var i = start
        while true {
            guard i < bytes.count else { return nil }
            let first = bytes[i]
            if first == Ascii.cr {
                guard i + 1 < bytes.count else { return nil }
                guard bytes[i + 1] == Ascii.lf else { throw .bareCR }
                try conclude(meaning, isRequest: isRequest)
                return i + 2
            }
            if first == Ascii.space || first == Ascii.tab { throw .foldedLine }
            guard let end = try parseLine(bytes, from: i) else { return nil }
            try noteField(bytes, &meaning, isRequest: isRequest)
            fieldCount += 1
            i = end
        }
    }

    /// Parses one `name: value` line into the next slot. Returns where the next line begins.
    private func parseLine(_ bytes: Bytes, from start: Int) throws(HeadError) -> Int? {
        guard fieldCount < limits.fieldCount else { throw .tooManyFields }
        var i = start
        // Eight at a time past what nearly every name is made of.
        while i &+ 8 <= bytes.count {
            let others = Self.notNameBytes(bytes.word(at: i))
            guard others == 0 else {
                i &+= others.trailingZeroBitCount >> 3
                break
            }
            i &+= 8
        }
        while i < bytes.count, Grammar.isToken(bytes[i]) { i &+= 1 }
        guard i < bytes.count else { return nil }
        guard bytes[i] == UInt8(ascii: ":") else { throw Self.nameError(bytes[i]) }
        guard i > start else { throw .badFieldName }
        let nameLength = i - start
        i &+= 1
        while i < bytes.count, bytes[i] == Ascii.space || bytes[i] == Ascii.tab { i &+= 1 }
        let valueStart = i
        // Eight at a time past what no value ends with.
        while i &+ 8 <= bytes.count {
            let special = Self.controlBytes(bytes.word(at: i))
            if special == 0 {
                i &+= 8
            } else {
                i &+= special.trailingZeroBitCount >> 3
                guard bytes[i] == Ascii.tab else { break }
                i &+= 1
            }
        }
        while i < bytes.count, Grammar.isFieldValue(bytes[i]) { i &+= 1 }
        guard i < bytes.count else { return nil }
        guard bytes[i] == Ascii.cr else { throw bytes[i] == Ascii.lf ? .bareLF : .badFieldValue }
        guard i + 1 < bytes.count else { return nil }
        guard bytes[i + 1] == Ascii.lf else { throw .bareCR }
        var valueEnd = i
        while valueEnd > valueStart,
            bytes[valueEnd - 1] == Ascii.space || bytes[valueEnd - 1] == Ascii.tab
        {
            valueEnd -= 1
        }
        // In place: a `Field` at a time would be copied by memcpy.
        fields[fieldCount].start = UInt32(truncatingIfNeeded: start)
        fields[fieldCount].nameLength = UInt32(truncatingIfNeeded: nameLength)
        fields[fieldCount].valueStart = UInt32(truncatingIfNeeded: valueStart)
        fields[fieldCount].valueLength = UInt32(truncatingIfNeeded: valueEnd - valueStart)
        fields[fieldCount].end = UInt32(truncatingIfNeeded: i + 2)
        fields[fieldCount].name = FieldName.recognize(bytes[start..<start + nameLength])
        return i + 2
    }

    private static func nameError(_ byte: UInt8) -> HeadError {
        switch byte {
        case Ascii.space, Ascii.tab: .spaceBeforeColon
        case Ascii.cr: .badFieldName
        case Ascii.lf: .bareLF
        default: .badFieldName
        }
    }

    /// The high bit of each byte of `word` that is neither a letter nor a hyphen; exact.
    ///
    /// Source: Anderson, "Bit Twiddling Hacks". Sums of seven bits carry into the eighth and no
    /// further, so that no byte disturbs its neighbour.
    @inline(__always)
    private static func notNameBytes(_ word: UInt64) -> UInt64 {
        let high: UInt64 = 0x8080_8080_8080_8080
        let folded = (word | 0x2020_2020_2020_2020) & ~high
        let fromA = folded &+ 0x1F1F_1F1F_1F1F_1F1F  // From "a" on the eighth bit is set,
        let beyondZ = folded &+ 0x0505_0505_0505_0505  // and beyond "z".
        let differs = ((word ^ 0x2D2D_2D2D_2D2D_2D2D) & ~high) &+ 0x7F7F_7F7F_7F7F_7F7F
        return (~(fromA & ~beyondZ) & differs | word) & high
    }

    /// The high bit of each byte of `word` that is below 0x20 or 0x7F; the lowest set one is exact.
    ///
    /// Source: Anderson, "Bit Twiddling Hacks", determine if a word has a byte less than n.
    @inline(__always)
    private static func controlBytes(_ word: UInt64) -> UInt64 {
        let high: UInt64 = 0x8080_8080_8080_8080
        let below = (word &- 0x2020_2020_2020_2020) & ~word & high
        let x = word ^ 0x7F7F_7F7F_7F7F_7F7F
        let delete = (x &- 0x0101_0101_0101_0101) & ~x & high
        return below | delete
    }

    /// What the fields said that is judged when all of them are known.
    struct FieldMeaning {
        var contentLength = -1
        var transferEncodings = 0
        var lastCodingIsChunked = false
        var otherCodings = false
        var closes = false
        var keepsAlive = false
        var namesUpgrade = false
        var hasUpgrade = false
    }

    /// Takes note of the field in the next slot.
    private mutating func noteField(
        _ bytes: Bytes, _ meaning: inout FieldMeaning, isRequest: Bool
    ) throws(HeadError) {
        switch fields[fieldCount].name {
        case .contentLength:
            guard meaning.contentLength < 0 else { throw .severalContentLengths }
            meaning.contentLength = try Self.parseLength(bytes[fields[fieldCount].valueRange])
        case .transferEncoding:
            meaning.transferEncodings += 1
            try noteCodings(bytes[fields[fieldCount].valueRange], &meaning)
        case .connection:
            try noteConnection(bytes[fields[fieldCount].valueRange], &meaning)
        case .upgrade:
            meaning.hasUpgrade = true
        case .host where isRequest:
            guard hostField < 0 else { throw .severalHosts }
            hostField = fieldCount
        case .expect where isRequest:
            guard bytes[fields[fieldCount].valueRange].equalsIgnoringCase("100-continue") else {
                throw .unknownExpectation
            }
            expectsContinue = true
        default:
            break
        }
    }

    /// Digits only, and no more than fit (RFC 9110, 8.6). A list of equal lengths is refused too.
    private static func parseLength(_ value: Bytes) throws(HeadError) -> Int {
        // 18 digits: less than 2⁶³, and 888 PiB.
        guard value.count > 0, value.count <= 18 else { throw .badContentLength }
        var length = 0
        for i in 0..<value.count {
            guard Grammar.isDigit(value[i]) else { throw .badContentLength }
            length = length &* 10 &+ Int(value[i] &- 0x30)
        }
        return length
    }

    private func noteCodings(_ value: Bytes, _ meaning: inout FieldMeaning) throws(HeadError) {
        var rest = TokenList(value)
        var any = false
        while let coding = try rest.next(orThrow: .badTransferEncoding) {
            any = true
            // Nothing may follow chunked, and it is applied once (RFC 9112, 6.1).
            if meaning.lastCodingIsChunked { throw .badTransferEncoding }
            if coding.equalsIgnoringCase("chunked") {
                meaning.lastCodingIsChunked = true
            } else {
                meaning.otherCodings = true
            }
        }
        if !any { throw .badTransferEncoding }
    }

    private mutating func noteConnection(_ value: Bytes, _ meaning: inout FieldMeaning)
        throws(HeadError)
    {
        var rest = TokenList(value)
        while let option = try rest.next(orThrow: .badConnection) {
            if option.equalsIgnoringCase("close") {
                meaning.closes = true
            } else if option.equalsIgnoringCase("keep-alive") {
                meaning.keepsAlive = true
            } else if option.equalsIgnoringCase("upgrade") {
                meaning.namesUpgrade = true
            } else {
                switch FieldName.recognize(option) {
                case .te, .keepAlive, .proxyConnection: break
                // To remove these would change where the message ends or whom it is for.
                case .contentLength, .transferEncoding, .host: throw .badConnection
                default: namesMoreHopFields = true
                }
            }
        }
    }

    private mutating func conclude(_ meaning: FieldMeaning, isRequest: Bool) throws(HeadError) {
        keepAlive = !meaning.closes && (minorVersion >= 1 || meaning.keepsAlive)
        // Both or neither: an `upgrade` field that `connection` does not name is a hop field to
        // drop. HTTP/1.0 knows no upgrade (RFC 9110, 7.8).
        wantsUpgrade = meaning.namesUpgrade && meaning.hasUpgrade && minorVersion >= 1
        if meaning.transferEncodings > 0 {
            if meaning.contentLength >= 0 { throw .lengthAndTransferEncoding }
            if minorVersion == 0 { throw .transferEncodingInHTTP10 }
            if meaning.transferEncodings > 1 { throw .badTransferEncoding }
            // Where a request's last coding is not chunked, nobody can tell where it ends.
            if !meaning.lastCodingIsChunked { throw .badTransferEncoding }
            if meaning.otherCodings { throw .unknownTransferCoding }
            framing = .chunked
        } else if meaning.contentLength >= 0 {
            framing = .length(meaning.contentLength)
        } else {
            framing = isRequest ? .none : .untilClose
        }
    }
}

enum Ascii {
    static let tab: UInt8 = 0x09
    static let lf: UInt8 = 0x0A
    static let cr: UInt8 = 0x0D
    static let space: UInt8 = 0x20
}

/// The members of a comma-separated list of tokens (RFC 9110, 5.6.1); empty members are passed
/// over.
@frozen
public struct TokenList {
    private var rest: Bytes

    public init(_ value: Bytes) { rest = value }

    /// The next member; nil at the end; an error where a member is not a token.
    mutating func next(orThrow error: HeadError) throws(HeadError) -> Bytes? {
        var i = 0
        while i < rest.count, Self.isSeparator(rest[i]) { i += 1 }
        guard i < rest.count else { return nil }
        let start = i
        while i < rest.count, Grammar.isToken(rest[i]) { i += 1 }
        let member = rest[start..<i]
        guard member.count > 0 else { throw error }
        while i < rest.count, rest[i] == Ascii.space || rest[i] == Ascii.tab { i += 1 }
        guard i == rest.count || rest[i] == UInt8(ascii: ",") else { throw error }
        rest = rest[i..<rest.count]
        return member
    }

    /// Whether the list names `token`, in any case. Lists that are not well-formed name nothing
    /// further.
    public func contains(_ token: Bytes) -> Bool {
        var list = self
        while let member = try? list.next(orThrow: .badConnection) {
            guard member.count == token.count else { continue }
            var same = true
            for i in 0..<member.count
            where asciiLowercase(member[i]) != asciiLowercase(token[i]) { same = false }
            if same { return true }
        }
        return false
    }

    private static func isSeparator(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: ",") || byte == Ascii.space || byte == Ascii.tab
    }
}
