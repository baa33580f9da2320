// Who is who in the mesh: the authority that the store holds, the tokens that let proxies in, and
// the certificates that they get. What is here follows the store, whoever has changed it.

public import Base
public import ControlCore
import Glibc
import Model
import Posix
import Secure

/// How certificates are made.
public struct IdentityConfiguration: Sendable {
    /// How long certificates last: `Authority.lives`. Nil: as the store says, a day at first.
    public var life: Duration?
    /// Who is to issue; nil: whoever the store has, at first an own root.
    public private(set) var issuer: Issuer?

    /// What `life` may be: 5 s to 90 days.
    public static var lives: ClosedRange<Duration> { Authority.lives }

    /// - Precondition: `life` is within `lives`.
    public init(life: Duration? = nil, issuer: Issuer? = nil) {
        self.life = life
        self.issuer = issuer
    }

    /// Takes the issuer from a file: its certificate, those of whoever vouches for it up to the
    /// root, and its key, in PEM.
    /// - Throws: where others may read the file, and where nobody would believe what it issues.
    public mutating func readIssuer(_ path: String) throws(TLSFileError) {
        let bytes = try TLSFiles.readSecret(path)
        do throws(TLSError) {
            let issuer = try Issuer(TLSIdentity(certificate: bytes, key: bytes))
            try issuer.prove(
                trustDomain: SPIFFEID.standardTrustDomain,
                wall: Clock.wallNanoseconds() / 1_000_000_000)
            self.issuer = issuer
        } catch {
            throw TLSFileError(file: path, reason: "\(error)")
        }
    }
}

/// What a proxy gets.
struct IssuedCertificate {
    /// The certificate and the intermediates behind it, PEM.
    var chain: [UInt8]
    /// The roots to trust, PEM.
    var bundle: [UInt8]
    var trustDomain: String
    var service: MeshName
    var identity: SPIFFEID
    var validity: Validity
}

/// Issues, and remembers for whom. On the control plane's thread.
final class ControlIdentity {
    let center: ControlCenter
    let configuration: IdentityConfiguration
    /// CLOCK_REALTIME, nanoseconds.
    private let clock: () -> Int64
    private var random = SystemRandomNumberGenerator()
    /// The authority and the value that says it; nil before it is needed, and there is none.
    private(set) var known: (authority: Authority, value: [UInt8])?
    /// Those of the authority's issuers, by their digests. Bound: two.
    private var signers: [String: CertificateAuthority] = [:]
    /// What has become of certificates since it was written down, by lineage. Bound: certificates
    /// that are valid, one for each lineage; `forget` drops the others.
    var renewals: [String: CertificateRecord] = [:]
    /// Of these, those that the store would forget too early, and could not be told. Bound: as
    /// `renewals`.
    var unwritten: Set<String> = []
    /// The lineage of one who has not acknowledged what is trusted; nil: none is known of.
    private var missing: String?
    /// Where the search for what has ended goes on.
    var sweep = IdentitySweep()

    /// Bound: proxies, dead ones among them, whose certificates are remembered: some 20 MB of the
    /// store. Another control plane may let one in at the same instant.
    let recordsMost: Int
    /// Bound: how often a change is tried that others come before, who have got on each time.
    static let attempts = 4
    private static let standardLife = Duration.seconds(86_400)

    /// - Parameter clock: CLOCK_REALTIME, nanoseconds.
    init(
        _ center: ControlCenter, _ configuration: IdentityConfiguration, recordsMost: Int = 50_000,
        clock: @escaping () -> Int64 = Clock.wallNanoseconds
    ) {
        self.center = center
        self.configuration = configuration
        self.recordsMost = recordsMost
        self.clock = clock
    }

    /// Seconds since 1970.
    var wall: Int64 { clock() / 1_000_000_000 }

    func random<T>(_ draw: (inout SystemRandomNumberGenerator) -> T) -> T { draw(&random) }

    // MARK: The authority

    /// Whether a change of the root is under way.
    var isChanging: Bool { known.map { $0.authority.phase != .steady } ?? false }

    /// The authority, which is made where there is none, as the configuration says.
    /// - Throws: where the store's value cannot be read, or what is new not be written.
    func authority() throws(ControlFailure) -> Authority {
        try follow()
        if let known { return known.authority }
        let issuer: Issuer
        do throws(TLSError) {
            if let given = configuration.issuer {
                issuer = given
            } else {
                issuer = try makeRoot()
            }
        } catch {
            throw .init(503, "no authority can be made: \(error)")
        }
        let life = configuration.life ?? Self.standardLife
        try keep(Authority(issuer, life: life, wall: wall))
        guard let known else { throw .init(503, "another control plane makes the authority") }
        return known.authority
    }

    /// Makes the authority what the configuration says: how long certificates last, and who issues.
    /// - Throws: 409 where the issuer cannot be changed now; else as `authority` does.
    func configure() throws(ControlFailure) {
        var authority = try authority()
        var isChanged = false
        // An issuer that has ended while nobody was here would let nothing begin.
        if authority.advance(wall: wall, haveAllAcknowledged: false) { isChanged = true }
        if let life = configuration.life, authority.setLife(life, wall: wall) { isChanged = true }
        do {
            if let issuer = configuration.issuer {
                if !authority.issuers.contains(where: { $0.digest == issuer.digest }) {
                    try authority.rotate(to: issuer, wall: wall)
                    isChanged = true
                }
            } else if authority.phase == .steady, authority.issuer.notAfter <= wall {
                try authority.rotate(to: try makeRoot(), wall: wall)
                isChanged = true
            }
        } catch let error as RotationRefusal {
            throw .init(409, "another issuer cannot be taken: \(error)")
        } catch {
            throw .init(503, "no authority can be made: \(error)")
        }
        if isChanged { try keep(authority) }
    }

    private func makeRoot() throws(TLSError) -> Issuer {
        let label = random { random in JoinToken.makeID(&random).prefix(8) }
        return try Issuer.makeRoot(
            trustDomain: center.mesh.trustDomain, label: String(label), wall: wall)
    }

    /// Reads what the store says, if that is something new.
    func follow() throws(ControlFailure) {
        guard let value = center.store.state.entry(Authority.key)?.value, value != known?.value
        else { return }
        do throws(IdentityDamage) {
            known = (try Authority(storeValue: value), value)
        } catch {
            throw .init(503, "\(error)")
        }
    }

    private func keep(_ authority: Authority) throws(ControlFailure) {
        let value = authority.storeValue
        let entry = center.store.state.entry(Authority.key)
        do throws(ControlRefusal) {
            try center.commit(
                StoreTransaction(
                    conditions: [.init(Authority.key, modRevision: entry?.modRevision ?? 0)],
                    changes: [.put(Authority.key, value: value)]))
        } catch {
            // Another replica was first: what it has written counts.
            guard case .condition = error else { throw ControlFailure(error) }
            try follow()
            return
        }
        known = (authority, value)
    }

    func signer(_ issuer: Issuer) throws(ControlFailure) -> CertificateAuthority {
        if let signer = signers[issuer.digest] { return signer }
        do throws(TLSError) {
            let signer = try CertificateAuthority(issuer.identity)
            // Bound: old issuers leave with the next one.
            if signers.count > 1 { signers = [:] }
            signers[issuer.digest] = signer
            return signer
        } catch {
            throw .init(503, "the authority cannot be used: \(error)")
        }
    }

    /// Begins to change the root for a new one.
    /// - Throws: 409 where it cannot be changed now; else as `authority` does.
    func rotate() throws(ControlFailure) -> Authority {
        var authority = try authority()
        guard configuration.issuer == nil else {
            throw .init(
                409, "the issuer was handed in: start with another one, and it changes to that")
        }
        let next: Issuer
        do throws(TLSError) { next = try makeRoot() } catch {
            throw .init(503, "no authority can be made: \(error)")
        }
        do throws(RotationRefusal) {
            try authority.rotate(to: next, wall: wall)
        } catch {
            throw .init(409, "\(error)")
        }
        try keep(authority)
        return try self.authority()
    }

    /// Makes the next step of a change of the root, if it is due.
    /// - Parameter hasAcknowledged: whether the proxy of a lineage trusts both roots.
    func advance(hasAcknowledged: (String) -> Bool) throws(ControlFailure) {
        try follow()
        guard var authority = known?.authority, authority.phase != .steady else { return }
        let wall = wall
        var haveAll = false
        if authority.phase == .distributing {
            haveAll = try self.haveAll(at: wall, hasAcknowledged)
        }
        if authority.advance(wall: wall, haveAllAcknowledged: haveAll) { try keep(authority) }
    }

    /// Whether everybody whose certificate may be valid has acknowledged what is trusted. Looks at
    /// all only where the one who had not when last asked has done so since.
    private func haveAll(
        at wall: Int64, _ hasAcknowledged: (String) -> Bool
    ) throws(ControlFailure) -> Bool {
        func isMissing(_ record: CertificateRecord) -> Bool {
            record.revoked == nil && record.notAfter >= wall
                && !hasAcknowledged(record.serial.lineage)
        }
        // Of somebody the store knows nothing.
        guard unwritten.isEmpty else { return false }
        if let missing, let record = try record(missing), isMissing(record) { return false }
        missing = nil
        for entry in center.store.state.entries(prefix: CertificateRecord.keys) {
            let record = try merged(entry)
            guard isMissing(record) else { continue }
            missing = record.serial.lineage
            return false
        }
        return true
    }
}
