// Digests, and proofs that who made a text had a key.

import COpenSSL

/// SHA-256 (FIPS 180-4) and what is made of it.
public enum Digest {
    /// Bytes of every digest.
    public static let byteCount = 32

    public static func sha256(_ bytes: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: byteCount)
        unsafe SHA256(bytes, bytes.count, &digest)
        return digest
    }

    /// HMAC with SHA-256 (RFC 2104).
    public static func hmac(_ bytes: [UInt8], key: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: byteCount)
        var count: UInt32 = 0
        let made = unsafe HMAC(
            EVP_sha256(), key, Int32(key.count), bytes, bytes.count, &digest, &count)
        precondition(unsafe made != nil && Int(count) == byteCount, "no memory for a digest")
        return digest
    }

    /// Whether two secrets are the same; how long that takes does not depend on where they differ.
    public static func areEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        guard a.count == b.count else { return false }
        var difference: UInt8 = 0
        for index in a.indices { difference |= a[index] ^ b[index] }
        return difference == 0
    }
}
