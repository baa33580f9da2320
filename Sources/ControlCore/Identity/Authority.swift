// Whose certificates a mesh believes, and who issues them. A change of the root goes in the order
// in which nobody ever meets a certificate that he cannot verify:
//
//     steady ──rotate──▶ distributing ────────────▶ draining ──────────▶ steady
//                        both are trusted,          both are trusted,    the new one alone
//                        the old one issues         the new one issues
//
// It goes on when everybody who has a certificate has one that was issued after the step before,
// as with each certificate come the roots to trust: after the life of a certificate at most. Where
// the old one has ended, nothing that it has issued is valid, and the new one takes its place at
// once: waiting would serve nobody.

public import Base
public import Secure

/// Why an authority is not changed.
public enum RotationRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// The last change is under way.
    case inProgress(Authority.Phase)
    /// It issues already.
    case sameIssuer
    /// Its certificate has ended, or that of somebody who vouches for it.
    case ended

    public var description: String {
        switch self {
        case .inProgress(let phase): "a rotation is under way: \(phase.rawValue)"
        case .sameIssuer: "it is the authority that issues already"
        case .ended: "its certificate has ended, or one of those that vouch for it"
        }
    }
}

/// The authority of a mesh, as a state machine over time.
public struct Authority: Equatable, Sendable {
    /// How far a change of the issuer is.
    public enum Phase: String, CaseIterable, Sendable {
        /// One root, which is trusted and issues.
        case steady
        /// A second root is trusted, and made known.
        case distributing
        /// The second root issues. What the first one has issued ends.
        case draining
    }

    /// One, or while they change two: the old one and the new one.
    public internal(set) var issuers: [Issuer]
    public internal(set) var phase: Phase
    /// When the phase began, seconds since 1970.
    public internal(set) var since: Int64
    /// How long certificates last, seconds.
    public internal(set) var life: Int64
    /// No certificate that was issued under a longer life lasts longer than until then, seconds
    /// since 1970.
    var longerEnd: Int64

    /// How long certificates may last.
    public static let lives = Duration.seconds(5)...Duration.seconds(90 * 86_400)
    /// Certificates are valid from so long ago, seconds, so that clocks may differ.
    public static let backdating: Int64 = 3600

    /// - Parameter wall: seconds since 1970, as everywhere here.
    /// - Precondition: `life` is within `lives`.
    public init(_ issuer: Issuer, life: Duration, wall: Int64) {
        precondition(Self.lives.contains(life), "a life of \(life.seconds) s")
        issuers = [issuer]
        phase = .steady
        since = wall
        self.life = Self.seconds(life)
        longerEnd = 0
    }

    init(issuers: [Issuer], phase: Phase, since: Int64, life: Int64, longerEnd: Int64) {
        self.issuers = issuers
        self.phase = phase
        self.since = since
        self.life = life
        self.longerEnd = longerEnd
    }

    private static func seconds(_ duration: Duration) -> Int64 {
        duration.nanoseconds / 1_000_000_000
    }

    // MARK: Who

    /// Who issues the proxies' certificates.
    public var issuer: Issuer { phase == .draining ? issuers[1] : issuers[0] }

    /// Who issues the control plane's own: the root that has been trusted longest, as whoever has
    /// only a token may have one from before a change.
    public var controlIssuer: Issuer { issuers[0] }

    /// The certificates of all roots that are trusted, PEM, each once.
    public var bundle: [UInt8] { distinct.flatMap(\.root) }

    /// SHA-256 of the DER of all roots that are trusted, in the order of `bundle`.
    public var roots: [String] { distinct.map(\.rootDigest) }

    private var distinct: [Issuer] {
        issuers.enumerated()
            .filter { place, issuer in
                !issuers[..<place].contains { $0.rootDigest == issuer.rootDigest }
            }
            .map(\.element)
    }

    /// From when until when a certificate of `issuer` is to be valid.
    /// - Returns: nil where the issuer's own has ended.
    public func validity(of issuer: Issuer, wall: Int64) -> Validity? {
        let end = min(wall + life, issuer.notAfter)
        return end > wall ? Validity(notBefore: wall - Self.backdating, notAfter: end) : nil
    }

    // MARK: Changes

    /// Makes certificates that are issued from now on last so long.
    /// - Returns: whether that is a change.
    /// - Precondition: `life` is within `lives`.
    public mutating func setLife(_ life: Duration, wall: Int64) -> Bool {
        precondition(Self.lives.contains(life), "a life of \(life.seconds) s")
        let seconds = Self.seconds(life)
        guard seconds != self.life else { return false }
        if seconds < self.life { longerEnd = max(longerEnd, wall + self.life) }
        self.life = seconds
        return true
    }

    /// Begins to change the issuer. One whose root is trusted already issues at once, and so does
    /// any where the present one has ended.
    /// - Throws: while another change is under way, and where `next` issues already or has ended.
    public mutating func rotate(to next: Issuer, wall: Int64) throws(RotationRefusal) {
        guard phase == .steady else { throw .inProgress(phase) }
        guard next.digest != issuer.digest else { throw .sameIssuer }
        guard next.notAfter > wall else { throw .ended }
        since = wall
        guard next.rootDigest != issuer.rootDigest, issuer.notAfter > wall else {
            issuers = [next]
            return
        }
        issuers.append(next)
        phase = .distributing
    }

    /// When time alone makes the next step; nil: there is none.
    public var nextStep: Int64? {
        // A second more: ends of certificates are whole seconds, up to which they are valid.
        phase == .steady ? nil : min(max(since + life, longerEnd), issuers[0].notAfter) + 1
    }

    /// Makes the next step if it is due.
    /// - Parameter haveAllAcknowledged: everybody who has a certificate that is valid has said that
    ///   he trusts `bundle`.
    /// - Returns: whether anything has changed.
    public mutating func advance(wall: Int64, haveAllAcknowledged: Bool) -> Bool {
        guard let due = nextStep else { return false }
        if wall > issuers[0].notAfter {
            issuers.removeFirst()
            phase = .steady
            since = wall
            return true
        }
        switch phase {
        case .steady: return false
        case .distributing:
            guard haveAllAcknowledged || wall >= due else { return false }
            phase = .draining
        case .draining:
            guard wall >= due else { return false }
            issuers.removeFirst()
            phase = .steady
        }
        since = wall
        return true
    }
}
