import Base

/// Follows text in UTF-8 (RFC 3629) through the pieces it comes in. A plain value.
///
/// Refuses what is no shortest form, surrogates, and what lies beyond U+10FFFF, at the first byte
/// that shows it.
struct UTF8Check: BitwiseCopyable, Sendable {
    /// Bytes that the character in hand still needs.
    private var needed: UInt8 = 0
    /// What the next of them must be.
    private var least: UInt8 = 0x80
    private var most: UInt8 = 0xBF

    /// Whether no character is cut off.
    var isComplete: Bool { needed == 0 }

    /// Takes the next byte; false: this is no text.
    @inline(__always)
    mutating func take(_ byte: UInt8) -> Bool {
        if needed == 0 {
            if byte < 0x80 { return true }
            return begin(byte)
        }
        guard byte >= least, byte <= most else { return false }
        needed -= 1
        (least, most) = (0x80, 0xBF)
        return true
    }

    private mutating func begin(_ byte: UInt8) -> Bool {
        (least, most) = (0x80, 0xBF)
        switch byte {
        case 0xC2...0xDF: needed = 1
        case 0xE0...0xEF:
            needed = 2
            if byte == 0xE0 { least = 0xA0 }
            if byte == 0xED { most = 0x9F }
        case 0xF0...0xF4:
            needed = 3
            if byte == 0xF0 { least = 0x90 }
            if byte == 0xF4 { most = 0x8F }
        default: return false
        }
        return true
    }
}
