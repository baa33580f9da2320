/// SipHash-2-4 with 128 bits: short texts that stand for long ones. Whoever does not know the key
/// finds no two texts with the same.
///
/// Source: Aumasson, Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012; the form with
/// 128 bits is that of their reference implementation.
struct SipHash: BitwiseCopyable {
    /// A secret.
    struct Key: BitwiseCopyable, Sendable {
        let low: UInt64
        let high: UInt64

        init(low: UInt64, high: UInt64) {
            self.low = low
            self.high = high
        }

        init(_ random: inout some RandomNumberGenerator) {
            low = random.next()
            high = random.next()
        }
    }

    struct Digest: Hashable, BitwiseCopyable, Sendable {
        let low: UInt64
        let high: UInt64
    }

    private var v0: UInt64
    private var v1: UInt64
    private var v2: UInt64
    private var v3: UInt64
    /// Bytes that do not fill a word yet, the first in the low bits.
    private var tail: UInt64 = 0
    private var count: UInt64 = 0

    init(_ key: Key) {
        v0 = key.low ^ 0x736F_6D65_7073_6575
        v1 = key.high ^ 0x646F_7261_6E64_6F6D ^ 0xEE
        v2 = key.low ^ 0x6C79_6765_6E65_7261
        v3 = key.high ^ 0x7465_6462_7974_6573
    }

    mutating func append(_ byte: UInt8) {
        tail |= UInt64(byte) << ((count & 7) * 8)
        count += 1
        guard count & 7 == 0 else { return }
        compress(tail)
        tail = 0
    }

    /// Appends a text with its length before it, so that several in a row are told from others.
    mutating func append(_ text: String) {
        let length = UInt64(text.utf8.count)
        for i in UInt64(0)..<8 { append(UInt8(truncatingIfNeeded: length >> (i * 8))) }
        for byte in text.utf8 { append(byte) }
    }

    /// What stands for all that was appended.
    func digest() -> Digest {
        var copy = self
        copy.compress(tail | count << 56)
        copy.v2 ^= 0xEE
        let low = copy.finish()
        copy.v1 ^= 0xDD
        return Digest(low: low, high: copy.finish())
    }

    private mutating func compress(_ word: UInt64) {
        v3 ^= word
        round()
        round()
        v0 ^= word
    }

    private mutating func finish() -> UInt64 {
        for _ in 0..<4 { round() }
        return v0 ^ v1 ^ v2 ^ v3
    }

    private mutating func round() {
        v0 &+= v1
        v2 &+= v3
        v1 = Self.rotate(v1, 13) ^ v0
        v3 = Self.rotate(v3, 16) ^ v2
        v0 = Self.rotate(v0, 32)
        v2 &+= v1
        v0 &+= v3
        v1 = Self.rotate(v1, 17) ^ v2
        v3 = Self.rotate(v3, 21) ^ v0
        v2 = Self.rotate(v2, 32)
    }

    private static func rotate(_ word: UInt64, _ bits: UInt64) -> UInt64 {
        word << bits | word >> (64 - bits)
    }
}
