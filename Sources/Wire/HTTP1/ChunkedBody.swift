// The chunked coding (RFC 9112, 7.1), checked byte by byte so that it can be passed on as it came:
// whoever reads it next cannot find other borders in it than were found here.

public import Base

/// Follows a chunked body through the pieces it comes in. A plain value of a few words.
public struct ChunkedBody: Sendable, BitwiseCopyable {
    private enum State: UInt8, BitwiseCopyable {
        case size
        case extensionNameStart
        case extensionName
        case extensionValueStart
        case extensionValue
        case quoted
        case quotedPair
        case extensionEnd
        case sizeLF
        case data
        case dataCR
        case dataLF
        case trailerStart
        case trailerName
        case trailerValue
        case trailerLF
        case endLF
        case done
    }

    private var state = State.size
    private var digits: UInt8 = 0
    /// Bytes still to come of the chunk.
    private var remaining = 0
    /// Extension bytes since the last data byte; trailer bytes in all. Bound: 4 KiB and 16 KiB.
    private var overhead: UInt32 = 0
    /// The letters of a trailer's name so far, folded: enough to know the names that are refused.
    private var nameHash: UInt64 = 0
    private var nameLength: UInt32 = 0

    /// The most extension bytes within one chunk's size line: room for a signature, not for a
    /// flood.
    public static let extensionLimit = 4096
    /// The most bytes of a trailer section.
    public static let trailerLimit = 16 * 1024

    public init() {}

    /// What was found in a piece.
    @frozen
    public enum Progress: Equatable, Sendable {
        /// The piece up to `end` belongs to the body, and the body is not yet complete.
        case partial(end: Int)
        /// The body ended at `end`.
        case complete(end: Int)
        case invalid(HeadError)
    }

    /// Whether the whole body has been seen.
    public var isComplete: Bool { state == .done }

    /// Whether all data has been seen, and fields may follow.
    public var isBehindData: Bool {
        switch state {
        case .trailerStart, .trailerName, .trailerValue, .trailerLF, .endLF: true
        default: false
        }
    }

    /// Checks all of `bytes` that belong to the body.
    public mutating func check(_ bytes: Bytes) -> Progress {
        do throws(HeadError) {
            var i = 0
            while i < bytes.count, state != .done {
                if state == .data {
                    let run = min(remaining, bytes.count - i)
                    consume(run)
                    i += run
                } else {
                    try step(bytes[i])
                    i += 1
                }
            }
            return state == .done ? .complete(end: i) : .partial(end: i)
        } catch {
            return .invalid(error)
        }
    }

    /// The next run of data alone, without the coding around it: for peers that cannot take chunks.
    /// - Returns: the run, and how many bytes of `bytes` are used up with it. An empty run with all
    ///   bytes used up: more are needed, or nothing but fields may come (`isBehindData`).
    public mutating func nextData(_ bytes: Bytes) throws(HeadError) -> (data: Range<Int>, used: Int)
    {
        var i = 0
        while i < bytes.count, !isBehindData, state != .done {
            if state == .data {
                let run = min(remaining, bytes.count - i)
                consume(run)
                return (i..<i + run, i + run)
            }
            try step(bytes[i])
            i += 1
        }
        return (i..<i, i)
    }

    /// Goes on behind the data.
    /// - Returns: the bytes that belong to lines of fields, without the empty line at the end, and
    ///   how many of `bytes` are used up.
    public mutating func nextTrailers(_ bytes: Bytes) throws(HeadError) -> (
        lines: Range<Int>, used: Int
    ) {
        var i = 0
        var end = 0
        while i < bytes.count, state != .done {
            try step(bytes[i])
            i += 1
            if state != .endLF, state != .done { end = i }
        }
        return (0..<end, i)
    }

    private mutating func consume(_ run: Int) {
        remaining -= run
        if remaining == 0 { state = .dataCR }
    }

    private mutating func step(_ byte: UInt8) throws(HeadError) {
        switch state {
        case .size: try sizeByte(byte)
        case .extensionNameStart, .extensionName, .extensionValueStart, .extensionValue,
            .extensionEnd:
            try extensionByte(byte)
        case .quoted, .quotedPair: try quotedByte(byte)
        case .sizeLF:
            guard byte == Ascii.lf else { throw .bareCR }
            overhead = 0
            state = remaining > 0 ? .data : .trailerStart
        case .dataCR:
            guard byte == Ascii.cr else { throw .badChunkEnd }
            state = .dataLF
        case .dataLF:
            guard byte == Ascii.lf else { throw .badChunkEnd }
            state = .size
            digits = 0
        case .data, .done: preconditionFailure("no byte is looked at here")
        default: try trailerByte(byte)
        }
    }

    private mutating func sizeByte(_ byte: UInt8) throws(HeadError) {
        if let digit = hexDigit(byte) {
            // 15 digits: below 2⁶⁰, so nothing overflows; leading zeros count.
            guard digits < 15 else { throw .chunkTooLarge }
            digits += 1
            remaining = (digits == 1 ? 0 : remaining << 4) | Int(digit)
            return
        }
        guard digits > 0 else { throw .badChunkSize }
        switch byte {
        case Ascii.cr: state = .sizeLF
        case UInt8(ascii: ";"): state = .extensionNameStart
        case Ascii.lf: throw .bareLF
        default: throw .badChunkSize
        }
    }

    /// `;name`, `;name=token`, `;name="quoted"`. White space around them ("bad white space") is
    /// refused.
    private mutating func extensionByte(_ byte: UInt8) throws(HeadError) {
        try countExtension()
        if byte == Ascii.lf { throw .bareLF }
        let between = state == .extensionName || state == .extensionValue || state == .extensionEnd
        switch byte {
        case Ascii.cr where between: state = .sizeLF
        case UInt8(ascii: ";") where between: state = .extensionNameStart
        case UInt8(ascii: "=") where state == .extensionName: state = .extensionValueStart
        case UInt8(ascii: "\"") where state == .extensionValueStart: state = .quoted
        default:
            guard Grammar.isToken(byte), state != .extensionEnd else { throw .badChunkExtension }
            if state == .extensionNameStart { state = .extensionName }
            if state == .extensionValueStart { state = .extensionValue }
        }
    }

    private mutating func quotedByte(_ byte: UInt8) throws(HeadError) {
        try countExtension()
        guard Grammar.isFieldValue(byte) else { throw .badChunkExtension }
        if state == .quotedPair {
            state = .quoted
        } else if byte == UInt8(ascii: "\\") {
            state = .quotedPair
        } else if byte == UInt8(ascii: "\"") {
            state = .extensionEnd
        }
    }

    private mutating func countExtension() throws(HeadError) {
        overhead += 1
        guard overhead <= Self.extensionLimit else { throw .chunkExtensionsTooLong }
    }

    private mutating func trailerByte(_ byte: UInt8) throws(HeadError) {
        overhead += 1
        guard overhead <= Self.trailerLimit else { throw .trailersTooLarge }
        switch state {
        case .trailerStart:
            if byte == Ascii.cr {
                state = .endLF
                return
            }
            nameHash = 0
            nameLength = 0
            state = .trailerName
            try nameByte(byte)
        case .trailerName:
            try nameByte(byte)
        case .trailerValue:
            if byte == Ascii.cr {
                state = .trailerLF
            } else if !Grammar.isFieldValue(byte) {
                throw byte == Ascii.lf ? .bareLF : .badTrailer
            }
        case .trailerLF:
            guard byte == Ascii.lf else { throw .bareCR }
            state = .trailerStart
        case .endLF:
            guard byte == Ascii.lf else { throw .bareCR }
            state = .done
        default:
            preconditionFailure("not a trailer state")
        }
    }

    private mutating func nameByte(_ byte: UInt8) throws(HeadError) {
        if byte == UInt8(ascii: ":") {
            guard nameLength > 0, !Self.isForbidden(nameHash) else { throw .badTrailer }
            state = .trailerValue
            return
        }
        guard Grammar.isToken(byte) else { throw .badTrailer }
        nameLength += 1
        nameHash = Self.fold(nameHash, byte)
    }

    private static func fold(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
        (hash ^ UInt64(asciiLowercase(byte))) &* 0x100_0000_01B3 &+ 0x9E37_79B9_7F4A_7C15
    }

    private static func hash(_ name: StaticString) -> UInt64 {
        let name = Bytes(name)
        var hash: UInt64 = 0
        for i in 0..<name.count { hash = fold(hash, name[i]) }
        return hash
    }

    /// Fields that would frame or route a message have no place behind it (RFC 9110, 6.5.1).
    private static func isForbidden(_ hash: UInt64) -> Bool {
        hash == Self.hash("content-length") || hash == Self.hash("transfer-encoding")
            || hash == Self.hash("host") || hash == Self.hash("connection")
            || hash == Self.hash("trailer") || hash == Self.hash("te")
            || hash == Self.hash("upgrade") || hash == Self.hash("expect")
    }
}
