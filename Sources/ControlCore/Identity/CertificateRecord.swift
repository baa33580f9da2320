import Base
public import Model

/// What a control plane keeps of one proxy's certificates: one record for a lineage, from the
/// moment the proxy joins until its last certificate has ended.
public struct CertificateRecord: Equatable, Sendable {
    public var service: MeshName
    /// What the proxy calls itself.
    public var proxy: String
    public var identity: SPIFFEID
    /// When it joined, seconds since 1970, as all times here.
    public var joined: Int64
    /// The last certificate that is known of.
    public var serial: CertificateSerial
    /// When that was issued.
    public var issued: Int64
    /// When that ends.
    public var notAfter: Int64
    /// Until when the record is kept at least. Later than `notAfter`, so that short-lived
    /// certificates are not a write each.
    public var keptUntil: Int64
    /// When it was revoked; nil: it was not.
    public var revoked: Int64?

    /// How much longer than its last certificate a record is kept, seconds.
    public static let slack: Int64 = 600
    private static let prefix = "certificates/"
    private static let version = "1"

    /// That of a proxy's first certificate.
    /// - Parameters:
    ///   - wall: now, seconds since 1970: when it is issued.
    ///   - notAfter: when it ends, likewise.
    public init(
        service: MeshName, proxy: String, identity: SPIFFEID, serial: CertificateSerial,
        wall: Int64, notAfter: Int64
    ) {
        self.service = service
        self.proxy = proxy
        self.identity = identity
        self.serial = serial
        joined = wall
        issued = wall
        self.notAfter = notAfter
        keptUntil = notAfter + Self.slack
    }

    /// Notes a renewal.
    /// - Parameters:
    ///   - wall: now, seconds since 1970.
    ///   - notAfter: when the new certificate ends, likewise.
    /// - Returns: whether the record would be forgotten too early unless it is written down.
    public mutating func renew(
        _ serial: CertificateSerial, identity: SPIFFEID, wall: Int64, notAfter: Int64
    ) -> Bool {
        self.serial = serial
        self.identity = identity
        issued = wall
        self.notAfter = notAfter
        guard notAfter >= keptUntil else { return false }
        keptUntil = notAfter + Self.slack
        return true
    }

    /// What two know together who have both noted renewals of one lineage: the later certificate,
    /// until when any has to be known of, and that it was taken back, whoever has heard of that.
    public func merged(with other: CertificateRecord) -> CertificateRecord {
        precondition(serial.lineage == other.serial.lineage, "records of two lineages")
        var merged = other.issued > issued ? other : self
        merged.keptUntil = max(keptUntil, other.keptUntil)
        merged.revoked = revoked ?? other.revoked
        return merged
    }

    // MARK: The store

    /// All records. Of no kind of declarations, so no list and no watch shows them.
    public static let keys = StoreKey(prefix)
    /// Where this one stands.
    public var key: StoreKey { Self.key(serial.lineage) }
    /// Where that of a lineage stands (`CertificateSerial.lineage`).
    public static func key(_ lineage: String) -> StoreKey { StoreKey(prefix + lineage) }

    /// The value in the store; some 300 bytes.
    public var storeValue: [UInt8] {
        StoreLines.text([
            ("certificate", Self.version), ("service", service.text), ("proxy", proxy),
            ("identity", identity.rawValue), ("joined", "\(joined)"), ("serial", serial.text),
            ("issued", "\(issued)"), ("not-after", "\(notAfter)"), ("kept-until", "\(keptUntil)"),
            ("revoked", "\(revoked ?? 0)"),
        ])
    }

    /// What an entry of the store says.
    /// - Throws: where it is no record, or one that stands at another's place.
    public init(_ entry: StoreEntry) throws(IdentityDamage) {
        guard var lines = StoreLines(entry.value), lines.take("certificate") == Self.version,
            let service = lines.take("service").flatMap({
                MeshKey(path: "\(MeshKind.service.plural)/\($0)")
            }),
            let proxy = lines.take("proxy"),
            let identity = lines.take("identity").flatMap({ SPIFFEID(rawValue: $0) }),
            let joined = lines.takeNumber("joined"),
            let serial = lines.take("serial").flatMap({ CertificateSerial($0) }),
            Self.key(serial.lineage) == entry.key, let issued = lines.takeNumber("issued"),
            let notAfter = lines.takeNumber("not-after"),
            let keptUntil = lines.takeNumber("kept-until"),
            let revoked = lines.takeNumber("revoked"), lines.isEmpty
        else { throw IdentityDamage(entry.key, "no record of a certificate") }
        self.service = service.name
        self.proxy = proxy
        self.identity = identity
        self.joined = joined
        self.serial = serial
        self.issued = issued
        self.notAfter = notAfter
        self.keptUntil = keptUntil
        self.revoked = revoked == 0 ? nil : revoked
    }
}

/// That a token for one use has been used.
public struct TokenUse: Equatable, Sendable {
    /// SHA-256 of the public key that it was used with: whoever has that may use it again, as the
    /// answer to him may have been lost.
    public var keyDigest: [UInt8]
    /// Of the certificates that came of it.
    public var lineage: String
    /// When the token ends, seconds since 1970, after which this is of no more use.
    public var notAfter: Int64

    private static let prefix = "tokens/used/"

    /// - Parameters:
    ///   - keyDigest: `Digest.byteCount` bytes.
    ///   - notAfter: seconds since 1970.
    public init(keyDigest: [UInt8], lineage: String, notAfter: Int64) {
        self.keyDigest = keyDigest
        self.lineage = lineage
        self.notAfter = notAfter
    }

    /// Where the key stands by which tokens are proved.
    public static let secretKey = StoreKey("tokens/key")
    /// All uses. Each is kept until its token ends, 30 days at most (`JoinToken.lives`).
    public static let keys = StoreKey(prefix)
    /// Where that of a token stands (`JoinToken.id`).
    public static func key(_ id: String) -> StoreKey { StoreKey(prefix + id) }

    /// The value in the store; some 100 bytes.
    public var storeValue: [UInt8] {
        StoreLines.text([
            ("key", Base64.encode(keyDigest)), ("lineage", lineage), ("not-after", "\(notAfter)"),
        ])
    }

    /// What an entry of the store says.
    /// - Throws: where it is no use of a token.
    public init(_ entry: StoreEntry) throws(IdentityDamage) {
        guard var lines = StoreLines(entry.value), let digest = lines.takeBytes("key"),
            let lineage = lines.take("lineage"), let notAfter = lines.takeNumber("not-after"),
            lines.isEmpty
        else { throw IdentityDamage(entry.key, "no use of a token") }
        self.init(keyDigest: digest, lineage: lineage, notAfter: notAfter)
    }
}
