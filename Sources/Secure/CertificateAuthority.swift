// An authority, and the certificates that it issues. Own keys are of P-256; signatures are made
// with SHA-256.

public import Base
import COpenSSL
import Glibc

/// From when until when a certificate is valid, seconds since 1970.
public struct Validity: Equatable, Sendable {
    public var notBefore: Int64
    public var notAfter: Int64

    public init(notBefore: Int64, notAfter: Int64) {
        self.notBefore = notBefore
        self.notAfter = notAfter
    }

    /// From an hour before `wall`, seconds since 1970, so that clocks may differ, for so long.
    public init(from wall: Int64, for span: Duration) {
        self.init(
            notBefore: wall - 3600, notAfter: wall + span.nanoseconds / 1_000_000_000)
    }
}

/// Whom a certificate names.
public struct CertificateSubject: Equatable, Sendable {
    /// Shown to people; no check looks at it.
    public var commonName: String
    /// Hosts' names, `*.` for any first label.
    public var hosts: [String]
    /// Such as SPIFFE ids.
    public var uris: [String]
    /// Numeric IPv4 or IPv6 addresses.
    public var addresses: [String]

    public init(
        commonName: String, hosts: [String] = [], uris: [String] = [], addresses: [String] = []
    ) {
        self.commonName = commonName
        self.hosts = hosts
        self.uris = uris
        self.addresses = addresses
    }
}

/// Somebody who vouches for others: a root, or an intermediate that another vouches for.
public final class CertificateAuthority {
    /// Its own certificate, then those of whoever vouches for it.
    private let chain: [Certificate]
    private let key: Key

    /// A new one that vouches for itself.
    /// - Throws: what OpenSSL says; a name that is too long is among it (64 bytes).
    public init(commonName: String, validity: Validity) throws(TLSError) {
        key = try Key.make()
        let draft = try Draft(
            key: key, commonName: commonName, validity: validity, serial: Draft.randomSerial())
        try draft.setIssuer(draft.certificate)
        try draft.extend(issuer: draft.certificate, NID_basic_constraints, "critical,CA:TRUE")
        try draft.extend(
            issuer: draft.certificate, NID_key_usage, "critical,keyCertSign,cRLSign")
        try draft.extend(issuer: draft.certificate, NID_subject_key_identifier, "hash")
        try draft.sign(with: key)
        chain = [draft.certificate]
    }

    /// One that was kept, or that somebody has handed in.
    /// - Parameter identity: its certificate, then those of whoever vouches for it, each vouched
    ///   for by the next; the root at the end may be left away.
    /// - Throws: where they do not go together, or it is no authority's certificate.
    public init(_ identity: TLSIdentity) throws(TLSError) {
        let credential = try Credential(identity)
        chain = credential.chain
        key = credential.key
        for (place, certificate) in chain.enumerated() {
            let ordinal = place == 0 ? "the certificate" : "certificate \(place + 1)"
            guard unsafe X509_check_ca(certificate.pointer) != 0 else {
                throw TLSError(
                    .malformedCertificate, detail: "\(ordinal) is no authority's")
            }
            guard place > 0 else { continue }
            ErrorQueue.clear()
            let below = chain[place - 1]
            guard
                unsafe X509_check_issued(certificate.pointer, below.pointer) == X509_V_OK,
                let issuerKey = unsafe X509_get0_pubkey(certificate.pointer),
                unsafe X509_verify(below.pointer, issuerKey) == 1
            else {
                ErrorQueue.clear()
                throw TLSError(
                    .malformedCertificate,
                    detail: "\(ordinal) does not vouch for the one before it")
            }
        }
    }

    /// Its certificate, PEM.
    public var certificate: [UInt8] { PEM.text(chain[0]) }

    /// What `init` makes the same authority of again. Holds the private key.
    public var identity: TLSIdentity {
        TLSIdentity(certificate: chain.flatMap { PEM.text($0) }, key: PEM.text(key))
    }

    /// Its certificate and those behind it, without roots, which whoever verifies has: PEM, and
    /// empty for a root. Follows what it has issued.
    public var intermediates: [UInt8] {
        chain.filter { !$0.isSelfIssued }.flatMap { PEM.text($0) }
    }

    /// Issues a certificate and verifies it as whoever trusts the end of the chain does, now, as
    /// a client's and as a server's: lengths of paths, constraints of names, ends and uses of keys
    /// are of the chain, and show nowhere else before others meet them.
    /// - Throws: why it is not believed.
    public func prove(
        _ subject: CertificateSubject, validity: Validity
    ) throws(TLSError) {
        let leaf = try PEM.certificates(
            try issue(subject, validity: validity).certificate, .malformedCertificate)[0]
        for purpose in [X509_PURPOSE_SSL_CLIENT, X509_PURPOSE_SSL_SERVER] {
            var others = unsafe chain.map { unsafe Optional($0.pointer) }
            let result = unsafe mb_verify_chain(
                leaf.pointer, &others, Int32(others.count), purpose)
            ErrorQueue.clear()
            guard result == X509_V_OK else {
                let words = unsafe String(cString: X509_verify_cert_error_string(Int(result)))
                throw TLSError(
                    TLSFailure(verification: result),
                    detail: "what it issues is not believed: \(words)")
            }
        }
    }

    /// A new key, and a certificate for it that this authority vouches for, for clients and
    /// servers.
    /// - Throws: what OpenSSL says; a malformed address or too long a name is among it.
    public func issue(
        _ subject: CertificateSubject, validity: Validity
    ) throws(TLSError) -> TLSIdentity {
        let leafKey = try Key.make()
        let certificate = try issue(
            subject, for: leafKey, validity: validity, serial: Draft.randomSerial())
        return TLSIdentity(certificate: certificate, key: PEM.text(leafKey))
    }

    /// A certificate for the key of a request, for clients and servers. What else the request says
    /// does not count.
    /// - Parameter serial: 16 bytes, never used before (RFC 5280, 4.1.2.2); the first two bits are
    ///   made 01.
    /// - Returns: PEM: the certificate, and the intermediates behind it.
    /// - Throws: as the other.
    public func issue(
        _ subject: CertificateSubject, for request: CertificateRequest, validity: Validity,
        serial: [UInt8]
    ) throws(TLSError) -> [UInt8] {
        try issue(subject, for: request.publicKey, validity: validity, serial: serial)
    }

    private func issue(
        _ subject: CertificateSubject, for leafKey: Key, validity: Validity, serial: [UInt8]
    ) throws(TLSError) -> [UInt8] {
        let issuer = chain[0]
        let draft = try Draft(
            key: leafKey, commonName: subject.commonName, validity: validity, serial: serial)
        try draft.setIssuer(issuer)
        try draft.extend(issuer: issuer, NID_basic_constraints, "critical,CA:FALSE")
        try draft.extend(issuer: issuer, NID_key_usage, "critical,digitalSignature")
        try draft.extend(issuer: issuer, NID_ext_key_usage, "serverAuth,clientAuth")
        try draft.extend(issuer: issuer, NID_subject_key_identifier, "hash")
        try draft.extend(issuer: issuer, NID_authority_key_identifier, "keyid")
        try draft.name(subject)
        try draft.sign(with: key)
        return PEM.text(draft.certificate) + intermediates
    }
}

/// A certificate in the making.
private struct Draft {
    let certificate: Certificate

    static func failure() -> TLSError {
        TLSError(.malformedCertificate, detail: ErrorQueue.take().text)
    }

    /// Serial numbers are random, positive, and of 20 bytes at most (RFC 5280, 4.1.2.2).
    static func randomSerial() throws(TLSError) -> [UInt8] {
        ErrorQueue.clear()
        var serial = [UInt8](repeating: 0, count: 16)
        guard unsafe RAND_bytes(&serial, 16) == 1 else { throw failure() }
        return serial
    }

    init(
        key: Key, commonName: String, validity: Validity, serial: [UInt8]
    ) throws(TLSError) {
        precondition(serial.count == 16, "a serial number of \(serial.count) bytes")
        ErrorQueue.clear()
        guard let made = unsafe X509_new() else { throw Self.failure() }
        unsafe certificate = Certificate(owning: made)
        var serial = serial
        serial[0] = serial[0] & 0x3F | 0x40
        let name = Array(commonName.utf8)
        // Version 3 is written as 2 (RFC 5280, 4.1.2.1).
        unsafe X509_set_version(made, 2)
        let number = unsafe BN_bin2bn(serial, 16, nil)
        unsafe BN_to_ASN1_INTEGER(number, X509_get_serialNumber(made))
        unsafe BN_free(number)
        guard
            unsafe ASN1_TIME_set(X509_getm_notBefore(made), Int(validity.notBefore)) != nil,
            unsafe ASN1_TIME_set(X509_getm_notAfter(made), Int(validity.notAfter)) != nil,
            unsafe X509_set_pubkey(made, key.pointer) == 1,
            unsafe X509_NAME_add_entry_by_NID(
                X509_get_subject_name(made), NID_commonName, MBSTRING_UTF8, name,
                Int32(name.count), -1, 0) == 1
        else { throw Self.failure() }
    }

    func setIssuer(_ issuer: Certificate) throws(TLSError) {
        let name = unsafe X509_get_subject_name(issuer.pointer)
        guard unsafe X509_set_issuer_name(certificate.pointer, name) == 1 else {
            throw Self.failure()
        }
    }

    /// Adds an extension in OpenSSL's words, which are always ours.
    func extend(issuer: Certificate, _ kind: Int32, _ value: String) throws(TLSError) {
        var context = unsafe X509V3_CTX()
        unsafe X509V3_set_ctx(
            &context, issuer.pointer, certificate.pointer, nil, nil, X509V3_CTX_REPLACE)
        guard let made = unsafe X509V3_EXT_nconf_nid(nil, &context, kind, value) else {
            throw Self.failure()
        }
        defer { unsafe X509_EXTENSION_free(made) }
        guard unsafe X509_add_ext(certificate.pointer, made, -1) == 1 else {
            throw Self.failure()
        }
    }

    /// Adds the subject alternative names, of which there may be none.
    func name(_ subject: CertificateSubject) throws(TLSError) {
        guard let names = unsafe GENERAL_NAMES_new() else { throw Self.failure() }
        defer { unsafe GENERAL_NAMES_free(names) }
        let all =
            subject.hosts.map { (GEN_DNS, $0) } + subject.uris.map { (GEN_URI, $0) }
            + subject.addresses.map { (GEN_IPADD, $0) }
        guard !all.isEmpty else { return }
        for (kind, text) in all {
            // Puts each name into its structure by itself: no text is taken for another.
            guard
                let name = unsafe a2i_GENERAL_NAME(nil, nil, nil, Int32(kind), text, 0)
            else { throw Self.failure() }
            unsafe _ = mb_general_names_push(names, name)
        }
        guard
            unsafe X509_add1_ext_i2d(
                certificate.pointer, NID_subject_alt_name, UnsafeMutableRawPointer(names), 0,
                UInt(X509V3_ADD_DEFAULT)) == 1
        else { throw Self.failure() }
    }

    func sign(with key: Key) throws(TLSError) {
        guard unsafe X509_sign(certificate.pointer, key.pointer, EVP_sha256()) > 0 else {
            throw Self.failure()
        }
    }
}
