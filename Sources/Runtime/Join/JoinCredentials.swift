// What a proxy shows, and whom it trusts: keys, certificates and authorities, and the TLS of the
// connections to control planes that is made of them.

import Base
import ControlCore
import Model
import Posix
import Secure

/// Why something was not done, for people.
struct JoinFailure: Error {
    var reason: String
    /// What it says of another attempt.
    var refusal: SubscriberRefusal

    init(_ reason: String, _ refusal: SubscriberRefusal = .passing) {
        self.reason = reason
        self.refusal = refusal
    }
}

/// The credentials of one proxy, in memory.
struct JoinCredentials {
    /// When a certificate is to be renewed, and when it ends.
    struct Terms: Equatable {
        var renewal: Instant
        var expiry: Instant
        /// CLOCK_REALTIME, nanoseconds: from then on a quarter of the life is left, which it comes
        /// to only where a clock has jumped, or the machine has slept.
        var lastQuarter: Int64

        /// - Parameters:
        ///   - validity: as the certificate says it.
        ///   - wall: CLOCK_REALTIME, nanoseconds. Where it is behind the clock of whoever has
        ///     issued the certificate, that one counts: to others it ends by theirs.
        init(_ validity: Validity, wall: Int64, _ now: Instant) {
            var random = SystemRandomNumberGenerator()
            let issued = Self.nanoseconds(validity.notBefore + Authority.backdating)
            let present = max(wall, issued)
            renewal = CertificateRenewal.due(
                received: now, wall: present, notAfter: validity.notAfter, random: &random)
            // Bound: what a clock that is far off makes of it is no more than a year.
            let left = min(max(0, Self.nanoseconds(validity.notAfter) - present), Self.year)
            expiry = now + .nanoseconds(left)
            lastQuarter = wall + left - left / 4
        }

        private static let year: Int64 = 366 * 86_400 * 1_000_000_000

        private static func nanoseconds(_ seconds: Int64) -> Int64 {
            // Bound: some 290 years, so that no difference of two overflows.
            min(max(0, seconds), .max / 2_000_000_000) * 1_000_000_000
        }
    }

    let identity: JoinIdentity
    private let token: JoinToken?
    /// Certificate and key; nil: the proxy has not joined.
    private(set) var own: TLSIdentity? { didSet { name = Self.name(of: own) } }
    /// Whom the certificate names.
    private(set) var name: String?
    /// PEM: whom it trusts.
    private(set) var authorities: [UInt8] = []
    /// The key of a certificate that is asked for. It stays until there is one: a token that is
    /// for one use may be shown again with the same key.
    private var key: [UInt8]?
    /// By how much is trusted; thrown away when what they are made of changes.
    private var contexts: [(trust: SubscriberTrust, context: TLSContext)] = [] {
        didSet { if contexts.isEmpty { checking = nil } }
    }
    /// With which it asks endpoints how they are, made of the same.
    private var checking: TLSContext?

    init(
        _ identity: JoinIdentity, token: JoinToken?, own: TLSIdentity? = nil,
        authorities: [UInt8] = []
    ) {
        self.identity = identity
        self.token = token
        self.own = own
        name = Self.name(of: own)
        self.authorities = authorities
    }

    private static func name(of identity: TLSIdentity?) -> String? {
        identity.flatMap { try? CertificateFacts($0.certificate) }?.names.uris.first
    }

    /// Takes other authorities.
    /// - Returns: false: they are those that it has.
    mutating func take(authorities new: [UInt8]) -> Bool {
        guard new != authorities else { return false }
        authorities = new
        contexts = []
        return true
    }

    /// Takes those of the authorities that the token names; nobody else's word counts.
    mutating func trust(_ text: [UInt8]) throws(JoinFailure) {
        let named = Set(token?.roots ?? [])
        let found: [CertificateFacts]
        do throws(TLSError) {
            found = try CertificateFacts.all(text)
        } catch {
            throw JoinFailure("\(error)")
        }
        let trusted = found.filter { named.contains($0.digest) }
        guard !trusted.isEmpty else {
            throw JoinFailure(
                "none of the server's authorities is one that the token names", .lasting)
        }
        _ = take(authorities: trusted.flatMap(\.text))
    }

    /// A request for a certificate, of a key that it is signed with.
    mutating func signingRequest() throws(JoinFailure) -> String {
        do throws(TLSError) {
            let request: [UInt8]
            if let key {
                request = try CertificateRequest.make(commonName: identity.proxy, key: key)
            } else {
                let made = try CertificateRequest.make(commonName: identity.proxy)
                key = made.key
                request = made.request
            }
            return String(decoding: request, as: UTF8.self)
        } catch {
            throw JoinFailure("\(error)")
        }
    }

    /// Whether the token may say of authorities that are not held that they are the mesh's: one
    /// that has not ended was made by somebody who knows.
    /// - Parameter wall: seconds since 1970.
    func isTokenNewer(wall: Int64) -> Bool {
        guard let token, wall < token.notAfter else { return false }
        let held = (try? CertificateFacts.all(authorities))?.map(\.digest) ?? []
        return !token.roots.allSatisfy(held.contains)
    }

    /// Takes a certificate over that was asked for.
    /// - Parameter wall: seconds since 1970.
    mutating func install(
        _ answer: JoinText.Certificate, wall: Int64
    ) throws(JoinFailure) {
        guard let key else { throw JoinFailure("a certificate that was not asked for") }
        guard answer.service == identity.service, answer.trustDomain == identity.trustDomain
        else { throw JoinFailure("the certificate is of \(answer.service)") }
        // It would be renewed, and looked upon as ended, for ever; and what others show, too.
        guard answer.notAfter > wall else {
            throw JoinFailure(
                "the certificate has ended \(wall - answer.notAfter) s ago by this machine's "
                    + "clock, which must be wrong, or the control plane's")
        }
        let new = TLSIdentity(certificate: Array(answer.certificate.utf8), key: key)
        do throws(TLSError) {
            // It belongs to the key, or it would fail only when it is shown.
            _ = try TLSContext(server: TLSServerOptions(identity: new))
        } catch {
            throw JoinFailure("\(error)")
        }
        self.key = nil
        own = new
        contexts = []
        _ = take(authorities: Array(answer.authorities.utf8))
    }

    /// The TLS in which endpoints are asked how they are, each session for its own name; nil: it
    /// has not joined, or what it has is of no use.
    mutating func contextOfChecks() -> TLSContext? {
        if let checking { return checking }
        guard let own else { return nil }
        var options = TLSClientOptions(authorities: authorities, protocols: ["h2"])
        options.identity = own
        options.minimum = .v13
        checking = try? TLSContext(client: options)
        return checking
    }

    /// The TLS of a connection to a control plane.
    mutating func context(for trust: SubscriberTrust) throws(JoinFailure) -> TLSContext {
        if let made = contexts.first(where: { $0.trust == trust }) { return made.context }
        var options = TLSClientOptions(protocols: ["h2"])
        options.minimum = .v13
        switch trust {
        case .anybody: options.believesAnybody = true
        case .authorities, .mutual:
            options.authorities = authorities
            options.names = [SPIFFEID.control(of: identity.trustDomain)]
            if trust == .mutual { options.identity = own }
        }
        do throws(TLSError) {
            let context = try TLSContext(client: options)
            contexts.append((trust, context))
            return context
        } catch {
            throw JoinFailure("\(error)")
        }
    }
}
