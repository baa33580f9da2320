// Certificates for tests and for the rig: an authority, and leaves that it vouches for. Keys are of
// P-256, signatures of ECDSA with SHA-256.

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

/// Somebody who vouches for others.
public final class CertificateAuthority {
    private let certificateObject: Certificate
    private let key: PrivateKey

    /// A new one that vouches for itself.
    /// - Throws: what OpenSSL says; a name that is too long is among it (64 bytes).
    public init(commonName: String, validity: Validity) throws(TLSError) {
        key = try Self.makeKey()
        let draft = try Draft(key: key, commonName: commonName, validity: validity)
        try draft.setIssuer(draft.certificate)
        try draft.extend(issuer: draft.certificate, NID_basic_constraints, "critical,CA:TRUE")
        try draft.extend(
            issuer: draft.certificate, NID_key_usage, "critical,keyCertSign,cRLSign")
        try draft.extend(issuer: draft.certificate, NID_subject_key_identifier, "hash")
        try draft.sign(with: key)
        certificateObject = draft.certificate
    }

    /// Its certificate, PEM.
    public var certificate: [UInt8] { PEM.text(certificateObject) }

    /// A new key, and a certificate for it that this authority vouches for, for clients and
    /// servers.
    /// - Throws: what OpenSSL says; a malformed address or too long a name is among it.
    public func issue(
        _ subject: CertificateSubject, validity: Validity
    ) throws(TLSError) -> TLSIdentity {
        let leafKey = try Self.makeKey()
        let draft = try Draft(key: leafKey, commonName: subject.commonName, validity: validity)
        try draft.setIssuer(certificateObject)
        try draft.extend(issuer: certificateObject, NID_basic_constraints, "critical,CA:FALSE")
        try draft.extend(issuer: certificateObject, NID_key_usage, "critical,digitalSignature")
        try draft.extend(issuer: certificateObject, NID_ext_key_usage, "serverAuth,clientAuth")
        try draft.extend(issuer: certificateObject, NID_subject_key_identifier, "hash")
        try draft.extend(issuer: certificateObject, NID_authority_key_identifier, "keyid")
        try draft.name(subject)
        try draft.sign(with: key)
        return TLSIdentity(certificate: PEM.text(draft.certificate), key: PEM.text(leafKey))
    }

    private static func makeKey() throws(TLSError) -> PrivateKey {
        ErrorQueue.clear()
        guard let key = unsafe mb_p256_key() else { throw Draft.failure() }
        return unsafe PrivateKey(owning: key)
    }
}

/// A certificate in the making.
private struct Draft {
    let certificate: Certificate

    static func failure() -> TLSError {
        TLSError(.malformedCertificate, detail: ErrorQueue.take().text)
    }

    init(key: PrivateKey, commonName: String, validity: Validity) throws(TLSError) {
        ErrorQueue.clear()
        guard let made = unsafe X509_new() else { throw Self.failure() }
        unsafe certificate = Certificate(owning: made)
        // Version 3 is written as 2 (RFC 5280, 4.1.2.1); serial numbers are random, positive, and
        // of 20 bytes at most (4.1.2.2).
        var serial = [UInt8](repeating: 0, count: 16)
        guard unsafe RAND_bytes(&serial, 16) == 1 else { throw Self.failure() }
        serial[0] = serial[0] & 0x7F | 0x40
        let name = Array(commonName.utf8)
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

    func sign(with key: PrivateKey) throws(TLSError) {
        guard unsafe X509_sign(certificate.pointer, key.pointer, EVP_sha256()) > 0 else {
            throw Self.failure()
        }
    }
}
