// Requests for certificates (PKCS #10, RFC 2986): whoever has a key asks that somebody vouches for
// it, and shows that he has it. The key itself stays where it is.

import COpenSSL
import Glibc

/// A request whose sender has the key that it is about.
public struct CertificateRequest {
    let publicKey: Key

    /// Bytes of a request; one with an RSA key of 4096 bits has 1,700.
    public static let bytesMost = 16 * 1024
    /// RSA keys: below it they are too weak, above it verifying takes too long.
    private static let bits: ClosedRange<Int32> = 2048...4096
    private static let curves = ["prime256v1", "secp384r1"]

    /// Reads a request, and verifies that it is signed with the key that it is about. Nothing else
    /// of it is of use: whom the certificate names is for whoever issues it to say.
    /// - Parameter text: PEM.
    /// - Throws: `malformedRequest`; `weakKey` where the key is neither of P-256, of P-384, nor of
    ///   RSA with 2048 to 4096 bits; `badSignature`.
    public init(verifying text: [UInt8]) throws(TLSError) {
        guard text.count <= Self.bytesMost else {
            throw TLSError(.malformedRequest, detail: "larger than \(Self.bytesMost) bytes")
        }
        ErrorQueue.clear()
        let memory = MemoryBIO(text)
        guard
            let request = unsafe PEM_read_bio_X509_REQ(
                memory.pointer, nil, refusePassword, nil)
        else {
            let (code, reason, words) = ErrorQueue.take()
            let isAbsent = ERR_GET_LIB(code) == ERR_LIB_PEM && reason == PEM_R_NO_START_LINE
            throw TLSError(.malformedRequest, detail: isAbsent ? "no request in it" : words)
        }
        defer { unsafe X509_REQ_free(request) }
        guard let key = unsafe X509_REQ_get_pubkey(request) else {
            throw TLSError(.malformedRequest, detail: ErrorQueue.take().text)
        }
        unsafe publicKey = Key(owning: key)
        // Before the signature: verifying one of a key of any size could take any time.
        try Self.check(publicKey)
        guard unsafe X509_REQ_verify(request, key) == 1 else {
            ErrorQueue.clear()
            throw TLSError(.badSignature, detail: "the request is not signed with its own key")
        }
    }

    /// SHA-256 of the public key's DER (SubjectPublicKeyInfo, RFC 5280, 4.1.2.7).
    public var keyDigest: [UInt8] {
        var start: UnsafeMutablePointer<UInt8>?
        let count = unsafe i2d_PUBKEY(publicKey.pointer, &start)
        defer { unsafe CRYPTO_free(start, nil, 0) }
        // Never an empty one, which would be that of every other key that cannot be written.
        guard count > 0, let start = unsafe start else {
            preconditionFailure("no memory for a key")
        }
        return Digest.sha256(unsafe Array(UnsafeBufferPointer(start: start, count: Int(count))))
    }

    private static func check(_ key: Key) throws(TLSError) {
        switch unsafe EVP_PKEY_get_base_id(key.pointer) {
        case EVP_PKEY_EC:
            var name = [CChar](repeating: 0, count: 64)
            var count = 0
            // One that is given by its parameters may be a curve with a trapdoor, and nobody would
            // verify a certificate for it (RFC 5480, 2.1.1).
            var isExplicit: Int32 = 1
            let isNamed =
                unsafe EVP_PKEY_get_int_param(
                    key.pointer, "decoded-from-explicit", &isExplicit) == 1 && isExplicit == 0
                && EVP_PKEY_get_group_name(key.pointer, &name, name.count, &count) == 1
            let text = String(
                decoding: name.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard isNamed, curves.contains(text) else {
                ErrorQueue.clear()
                throw TLSError(.weakKey, detail: "of EC, P-256 and P-384 by name are taken")
            }
        case EVP_PKEY_RSA:
            guard bits.contains(unsafe EVP_PKEY_get_bits(key.pointer)) else {
                throw TLSError(
                    .weakKey,
                    detail: "of RSA, \(bits.lowerBound) to \(bits.upperBound) bits are taken")
            }
        default: throw TLSError(.weakKey, detail: "keys of EC and RSA are taken")
        }
    }

    /// A new key of P-256, and a request for it.
    /// - Parameter commonName: for people, 64 bytes at most.
    /// - Returns: both in PEM; the key is not encrypted.
    public static func make(
        commonName: String
    ) throws(TLSError) -> (key: [UInt8], request: [UInt8]) {
        let key = try Key.make()
        return (PEM.text(key), try make(commonName: commonName, key: key))
    }

    /// A request for a key that there is already.
    /// - Parameter key: PEM.
    public static func make(commonName: String, key: [UInt8]) throws(TLSError) -> [UInt8] {
        try make(commonName: commonName, key: try PEM.key(key))
    }

    private static func make(commonName: String, key: Key) throws(TLSError) -> [UInt8] {
        func failure() -> TLSError {
            TLSError(.malformedRequest, detail: ErrorQueue.take().text)
        }
        ErrorQueue.clear()
        guard let request = unsafe X509_REQ_new() else { throw failure() }
        defer { unsafe X509_REQ_free(request) }
        let name = Array(commonName.utf8)
        guard
            // Version 1 is written as 0 (RFC 2986, 4.1).
            unsafe X509_REQ_set_version(request, 0) == 1,
            unsafe X509_NAME_add_entry_by_NID(
                X509_REQ_get_subject_name(request), NID_commonName, MBSTRING_UTF8, name,
                Int32(name.count), -1, 0) == 1,
            unsafe X509_REQ_set_pubkey(request, key.pointer) == 1,
            unsafe X509_REQ_sign(request, key.pointer, EVP_sha256()) > 0
        else { throw failure() }
        let memory = MemoryBIO()
        unsafe PEM_write_bio_X509_REQ(memory.pointer, request)
        return memory.contents
    }
}
