// The character classes of RFC 9110 and 9112, as bit sets: one shift and one mask a byte.

/// The byte classes of HTTP's grammar.
@usableFromInline
enum Grammar {
    /// tchar (RFC 9110, 5.6.2): what methods and field names are made of.
    @inlinable @inline(__always)
    static func isToken(_ byte: UInt8) -> Bool {
        // ! # $ % & ' * + - . 0-9 in the low half; A-Z ^ _ ` a-z | ~ in the high half.
        let low: UInt64 = 0x03FF_6CFA_0000_0000
        let high: UInt64 = 0x57FF_FFFF_C7FF_FFFE
        let set = byte < 64 ? low : byte < 128 ? high : 0
        return (set >> UInt64(byte & 63)) & 1 != 0
    }

    /// What a field value may hold (RFC 9110, 5.5): visible characters, space, tab and obs-text.
    @inlinable @inline(__always)
    static func isFieldValue(_ byte: UInt8) -> Bool {
        (byte >= 0x20 && byte != 0x7F) || byte == 0x09
    }

    /// What a request target may hold: visible ASCII without `#`, which begins a fragment and is
    /// never sent (RFC 9112, 3.2). Anything else is sent escaped.
    @inlinable @inline(__always)
    static func isTarget(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7F && byte != 0x23 }

    /// What a registered name may hold besides percent-escapes (RFC 3986, 3.2.2).
    @inlinable @inline(__always)
    static func isRegisteredName(_ byte: UInt8) -> Bool {
        // ! $ & ' ( ) * + , - . 0-9 ; =  and  A-Z _ a-z ~
        let low: UInt64 = 0x2BFF_7FD2_0000_0000
        let high: UInt64 = 0x47FF_FFFE_87FF_FFFE
        let set = byte < 64 ? low : byte < 128 ? high : 0
        return (set >> UInt64(byte & 63)) & 1 != 0
    }

    @inlinable @inline(__always)
    static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }
}
