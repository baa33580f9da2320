// What the store holds of identities, as text: lines of a word and a value. Values that may hold
// anything are in Base64.

import Base
import Secure

/// Lines of a word and a value, read in the order in which they were written.
struct StoreLines {
    private var lines: [Substring]

    /// - Returns: nil where the bytes are no text.
    init?(_ bytes: [UInt8]) {
        guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
        lines = text.split(separator: "\n").reversed()
    }

    var isEmpty: Bool { lines.isEmpty }

    /// The value of the next line, where its word is this one.
    mutating func take(_ word: String) -> String? {
        guard let line = lines.last, line.hasPrefix("\(word) ") else { return nil }
        lines.removeLast()
        return String(line.dropFirst(word.utf8.count + 1))
    }

    mutating func takeNumber(_ word: String) -> Int64? { take(word).flatMap { Int64($0) } }

    mutating func takeBytes(_ word: String) -> [UInt8]? {
        take(word).flatMap { Base64.decode($0.utf8) }
    }

    static func text(_ lines: [(String, String)]) -> [UInt8] {
        Array(lines.map { "\($0) \($1)\n" }.joined().utf8)
    }
}

/// A value of the store that is not what it should be.
public struct IdentityDamage: Error, Equatable, Sendable, CustomStringConvertible {
    public var key: StoreKey
    public var reason: String

    /// - Parameter reason: what is wrong, behind a colon.
    public init(_ key: StoreKey, _ reason: String) {
        self.key = key
        self.reason = reason
    }

    public var description: String { "the value at \(key) cannot be read: \(reason)" }
}

extension Authority {
    /// Where it stands. Of no kind of declarations, so no list and no watch shows it.
    public static let key = StoreKey("authority/state")
    private static let version = "1"

    /// The value in the store. Holds private keys.
    public var storeValue: [UInt8] {
        var lines = [
            ("authority", Self.version), ("phase", phase.rawValue), ("since", "\(since)"),
            ("life", "\(life)"), ("longer-end", "\(longerEnd)"),
        ]
        for issuer in issuers {
            lines.append(("certificate", Base64.encode(issuer.identity.certificate)))
            lines.append(("key", Base64.encode(issuer.identity.key)))
        }
        return StoreLines.text(lines)
    }

    /// What a value of the store says.
    /// - Throws: where it is no authority, or one with keys that are of no use.
    public init(storeValue: [UInt8]) throws(IdentityDamage) {
        func damage(_ reason: String) -> IdentityDamage { IdentityDamage(Self.key, reason) }
        guard var lines = StoreLines(storeValue), lines.take("authority") == Self.version,
            let phase = lines.take("phase").flatMap({ Phase(rawValue: $0) }),
            let since = lines.takeNumber("since"), let life = lines.takeNumber("life"),
            Self.lives.contains(.seconds(min(life, 1 << 32))),
            let longerEnd = lines.takeNumber("longer-end")
        else { throw damage("no authority") }
        var issuers: [Issuer] = []
        // Bound: a value of the store is of 1 MiB at most, and each issuer takes two lines of it.
        while !lines.isEmpty {
            guard let certificate = lines.takeBytes("certificate"),
                let key = lines.takeBytes("key")
            else { throw damage("an issuer without a certificate or key") }
            do throws(TLSError) {
                issuers.append(
                    try Issuer(TLSIdentity(certificate: certificate, key: key)))
            } catch {
                throw damage("\(error)")
            }
        }
        guard issuers.count == (phase == .steady ? 1 : 2) else {
            throw damage("\(issuers.count) issuers while \(phase.rawValue)")
        }
        self.init(
            issuers: issuers, phase: phase, since: since, life: life, longerEnd: longerEnd)
    }
}
