// What a certificate says, for whoever keeps, renews or lists it.

import Base
import COpenSSL
import Glibc

/// What a certificate says.
public struct CertificateFacts: Equatable, Sendable {
    /// In lower-case hexadecimal, whole bytes.
    public var serial: String
    public var validity: Validity
    public var names: PeerIdentity
    /// SHA-256 of its DER, in lower-case hexadecimal.
    public var digest: String
    /// It vouches for itself.
    public var isRoot: Bool
    /// The certificate alone, PEM.
    public var text: [UInt8]

    /// Of the first certificate of a text.
    /// - Throws: where there is none, or one is malformed.
    public init(_ pem: [UInt8]) throws(TLSError) {
        self.init(try PEM.certificates(pem, .malformedCertificate)[0])
    }

    /// Of every certificate of a text, in order.
    /// - Throws: where there is none, or one is malformed.
    public static func all(_ pem: [UInt8]) throws(TLSError) -> [CertificateFacts] {
        try PEM.certificates(pem, .malformedCertificate).map { CertificateFacts($0) }
    }

    private init(_ certificate: Certificate) {
        unsafe serial = Self.serial(of: certificate.pointer)
        unsafe validity = Self.validity(of: certificate.pointer)
        unsafe names = PeerIdentity(of: certificate.pointer)
        unsafe digest = Self.digest(of: certificate.pointer)
        isRoot = certificate.isSelfIssued
        text = PEM.text(certificate)
    }

    static func serial(of certificate: OpaquePointer) -> String {
        guard let number = unsafe ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nil)
        else { return "" }
        defer { unsafe BN_free(number) }
        // Bound: a certificate of others may have a serial number of any length, and is at most as
        // large as a record of the handshake.
        let bits = unsafe BN_num_bits(number)
        var bytes = [UInt8](repeating: 0, count: (Int(bits) + 7) / 8)
        unsafe BN_bn2bin(number, &bytes)
        return Hexadecimal.encode(bytes)
    }

    static func validity(of certificate: OpaquePointer) -> Validity {
        Validity(
            notBefore: unsafe seconds(X509_get0_notBefore(certificate)) ?? .max,
            notAfter: unsafe seconds(X509_get0_notAfter(certificate)) ?? .min)
    }

    /// Since 1970; nil: no time can be read.
    private static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64? {
        var parts = unsafe tm()
        guard unsafe ASN1_TIME_to_tm(time, &parts) == 1 else {
            ErrorQueue.clear()
            return nil
        }
        return Int64(unsafe timegm(&parts))
    }

    private static func digest(of certificate: OpaquePointer) -> String {
        var digest = [UInt8](repeating: 0, count: Digest.byteCount)
        var count: UInt32 = 0
        unsafe X509_digest(certificate, EVP_sha256(), &digest, &count)
        return Hexadecimal.encode(digest)
    }
}
