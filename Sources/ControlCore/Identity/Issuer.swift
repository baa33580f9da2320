import Model
public import Secure

/// Somebody who issues a mesh's certificates: an authority with its key, and the root behind it.
public struct Issuer: Equatable, Sendable {
    /// The certificates from its own to the root's, and its key.
    public let identity: TLSIdentity
    /// The certificate of the root, PEM: what others have to trust.
    public let root: [UInt8]
    /// SHA-256 of the root's DER, in lower-case hexadecimal.
    public let rootDigest: String
    /// SHA-256 of its own certificate's DER.
    public let digest: String
    /// When the first of its certificates ends, seconds since 1970: nothing that it issues is of
    /// use after that.
    public let notAfter: Int64

    /// Certificates of one chain.
    private static let chainMost = 8
    /// How long an own root lasts.
    private static let life: Int64 = 10 * 365 * 86_400

    /// One that was kept, or handed in.
    /// - Throws: where certificates and key do not go together, or the root is not among them.
    public init(_ identity: TLSIdentity) throws(TLSError) {
        // Written anew: what was handed in may have more in it.
        let identity = try CertificateAuthority(identity).identity
        let facts = try CertificateFacts.all(identity.certificate)
        guard facts.count <= Self.chainMost else {
            throw TLSError(
                .malformedCertificate, detail: "more than \(Self.chainMost) certificates")
        }
        guard let root = facts.last, root.isRoot else {
            throw TLSError(
                .malformedCertificate,
                detail: "the last certificate must be the root, which vouches for itself")
        }
        self.identity = identity
        self.root = root.text
        rootDigest = root.digest
        digest = facts[0].digest
        notAfter = facts.map(\.validity.notAfter).min() ?? .min
    }

    /// Holds it to what it is for: whoever trusts the root has to believe what it issues.
    /// - Parameter wall: seconds since 1970.
    /// - Throws: why nobody would.
    public func prove(trustDomain: String, wall: Int64) throws(TLSError) {
        try CertificateAuthority(identity).prove(
            CertificateSubject(
                commonName: "proof", hosts: ["proof.proof.mesh"],
                uris: [SPIFFEID.control(of: trustDomain)]),
            validity: Validity(notBefore: wall - Authority.backdating, notAfter: wall + 60))
    }

    /// A new root that issues by itself. Its name is its own, so that nobody takes a root for
    /// another by the name.
    /// - Parameters:
    ///   - label: what its name has of its own, a few characters.
    ///   - wall: seconds since 1970.
    public static func makeRoot(
        trustDomain: String, label: String, wall: Int64
    ) throws(TLSError) -> Issuer {
        // A common name has 64 characters at most (RFC 5280, appendix A.1).
        let name = "\(trustDomain.prefix(64 - 6 - label.count)) root \(label)"
        let authority = try CertificateAuthority(
            commonName: name,
            validity: Validity(
                notBefore: wall - Authority.backdating, notAfter: wall + life))
        return try Issuer(authority.identity)
    }
}
