extension Bytes {
    /// Whether all of it is well-formed UTF-8 (RFC 3629, section 4): no overlong form, no
    /// surrogate, nothing behind U+10FFFF, nothing cut.
    public var isUTF8: Bool {
        var i = 0
        while i < count {
            guard let (more, second) = Self.following(self[i]) else { return false }
            guard i + more < count else { return false }
            if more > 0, !second.contains(self[i + 1]) { return false }
            if more > 1, self[i + 2] & 0xC0 != 0x80 { return false }
            if more > 2, self[i + 3] & 0xC0 != 0x80 { return false }
            i += more + 1
        }
        return true
    }

    /// How many bytes follow a first one, and which may come next; nil: none begins so.
    private static func following(_ first: UInt8) -> (Int, ClosedRange<UInt8>)? {
        switch first {
        case 0...0x7F: (0, 0...0)
        case 0xC2...0xDF: (1, 0x80...0xBF)
        case 0xE0: (2, 0xA0...0xBF)
        case 0xED: (2, 0x80...0x9F)
        case 0xE1...0xEF: (2, 0x80...0xBF)
        case 0xF0: (3, 0x90...0xBF)
        case 0xF1...0xF3: (3, 0x80...0xBF)
        case 0xF4: (3, 0x80...0x8F)
        default: nil
        }
    }
}
