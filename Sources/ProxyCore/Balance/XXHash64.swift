// The hash that requests and endpoints are placed on rings and in tables by. It has no key: whoever
// chooses what is hashed can choose where it falls, as with Envoy.

import Base

/// xxHash64, of bytes that lie together.
///
/// Source: Yann Collet, "xxHash fast digest algorithm", XXH64 (what Envoy's `HashUtil::xxHash64`
/// is).
enum XXHash64 {
    private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
    private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
    private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
    private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

    static func hash(_ bytes: Bytes, seed: UInt64 = 0) -> UInt64 {
        let count = bytes.count
        var i = 0
        var hash: UInt64
        if count >= 32 {
            var (a, b) = (seed &+ prime1 &+ prime2, seed &+ prime2)
            var (c, d) = (seed, seed &- prime1)
            while i + 32 <= count {
                a = round(a, bytes.word(at: i))
                b = round(b, bytes.word(at: i + 8))
                c = round(c, bytes.word(at: i + 16))
                d = round(d, bytes.word(at: i + 24))
                i += 32
            }
            hash = rotated(a, 1) &+ rotated(b, 7) &+ rotated(c, 12) &+ rotated(d, 18)
            hash = merged(merged(merged(merged(hash, a), b), c), d)
        } else {
            hash = seed &+ prime5
        }
        hash &+= UInt64(count)
        while i + 8 <= count {
            hash = rotated(hash ^ round(0, bytes.word(at: i)), 27) &* prime1 &+ prime4
            i += 8
        }
        if i + 4 <= count {
            var word: UInt64 = 0
            for k in 0..<4 { word |= UInt64(bytes[i + k]) << UInt64(8 * k) }
            hash = rotated(hash ^ (word &* prime1), 23) &* prime2 &+ prime3
            i += 4
        }
        while i < count {
            hash = rotated(hash ^ (UInt64(bytes[i]) &* prime5), 11) &* prime1
            i += 1
        }
        hash = (hash ^ (hash >> 33)) &* prime2
        hash = (hash ^ (hash >> 29)) &* prime3
        return hash ^ (hash >> 32)
    }

    /// Of a text's UTF-8. Allocates: for what is made with a configuration.
    static func hash(_ text: String, seed: UInt64 = 0) -> UInt64 {
        Array(text.utf8).withBytes { hash($0, seed: seed) }
    }

    private static func round(_ lane: UInt64, _ word: UInt64) -> UInt64 {
        rotated(lane &+ word &* prime2, 31) &* prime1
    }

    private static func merged(_ hash: UInt64, _ lane: UInt64) -> UInt64 {
        (hash ^ round(0, lane)) &* prime1 &+ prime4
    }

    private static func rotated(_ word: UInt64, _ bits: UInt64) -> UInt64 {
        word << bits | word >> (64 - bits)
    }
}
