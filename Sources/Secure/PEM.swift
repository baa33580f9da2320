// Certificates and keys in PEM (RFC 7468). Whoever reads the files hands in their bytes.

import Base
import COpenSSL
import Glibc

/// A certificate with the intermediates behind it, and its key; both in PEM.
public struct TLSIdentity: Equatable, Sendable {
    /// The leaf, then the intermediates.
    public var certificate: [UInt8]
    /// The leaf's private key, not encrypted.
    public var key: [UInt8]

    public init(certificate: [UInt8], key: [UInt8]) {
        self.certificate = certificate
        self.key = key
    }
}

/// One certificate, counted as OpenSSL counts.
@safe
final class Certificate {
    // Safety: one reference is owned, from `init` to `deinit`.
    let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }

    /// Whether it vouches for itself: a root.
    var isSelfIssued: Bool { unsafe X509_check_issued(pointer, pointer) == X509_V_OK }

    deinit { unsafe X509_free(pointer) }
}

/// One key: private, or public alone.
@safe
final class Key {
    // Safety: one reference is owned, from `init` to `deinit`.
    let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) { unsafe self.pointer = unsafe pointer }

    /// A new one of P-256.
    static func make() throws(TLSError) -> Key {
        ErrorQueue.clear()
        guard let key = unsafe mb_p256_key() else {
            throw TLSError(.malformedKey, detail: ErrorQueue.take().text)
        }
        return unsafe Key(owning: key)
    }

    deinit { unsafe EVP_PKEY_free(pointer) }
}

/// Reading and writing PEM.
enum PEM {
    /// Bound: certificates in one text; the authorities of a system are about 150.
    private static let certificatesMost = 4096

    /// All certificates of a text, in order.
    /// - Parameter failure: what a text without any, or with a broken one, is called.
    static func certificates(
        _ text: [UInt8], _ failure: TLSFailure
    ) throws(TLSError) -> [Certificate] {
        ErrorQueue.clear()
        var found: [Certificate] = []
        let memory = MemoryBIO(text)
        while found.count < certificatesMost {
            guard let next = unsafe PEM_read_bio_X509(memory.pointer, nil, refusePassword, nil)
            else { break }
            unsafe found.append(Certificate(owning: next))
        }
        // The end of the text shows as an error too: no further beginning.
        let (code, reason, words) = ErrorQueue.take()
        let isEnd = ERR_GET_LIB(code) == ERR_LIB_PEM && reason == PEM_R_NO_START_LINE
        guard !found.isEmpty else {
            throw TLSError(failure, detail: isEnd ? "no certificate in it" : words)
        }
        guard isEnd || code == 0 else {
            throw TLSError(failure, detail: "certificate \(found.count + 1): \(words)")
        }
        return found
    }

    static func key(_ text: [UInt8]) throws(TLSError) -> Key {
        ErrorQueue.clear()
        let memory = MemoryBIO(text)
        guard let key = unsafe PEM_read_bio_PrivateKey(memory.pointer, nil, refusePassword, nil)
        else {
            let (code, reason, words) = ErrorQueue.take()
            let isAbsent = ERR_GET_LIB(code) == ERR_LIB_PEM && reason == PEM_R_NO_START_LINE
            throw TLSError(.malformedKey, detail: isAbsent ? "no private key in it" : words)
        }
        return unsafe Key(owning: key)
    }

    static func text(_ certificate: Certificate) -> [UInt8] {
        let memory = MemoryBIO()
        unsafe PEM_write_bio_X509(memory.pointer, certificate.pointer)
        return memory.contents
    }

    /// Of a private key.
    static func text(_ key: Key) -> [UInt8] {
        let memory = MemoryBIO()
        unsafe PEM_write_bio_PrivateKey(memory.pointer, key.pointer, nil, nil, 0, nil, nil)
        return memory.contents
    }
}

/// Nobody is asked for the password of an encrypted key: a server has no terminal.
let refusePassword:
    @convention(c) (
        UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?
    ) -> Int32 = { _, _, _, _ in -1 }

/// A BIO over memory of its own.
@safe
final class MemoryBIO {
    // Safety: one reference is owned, from `init` to `deinit`.
    let pointer: OpaquePointer

    init(_ bytes: [UInt8] = []) {
        guard let bio = unsafe BIO_new(BIO_s_mem()) else {
            preconditionFailure("no memory for a BIO")
        }
        unsafe pointer = bio
        bytes.withBytes {
            unsafe _ = BIO_write(pointer, $0.raw.baseAddress, Int32($0.count))
        }
    }

    deinit { unsafe BIO_free(pointer) }

    var contents: [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let n = unsafe BIO_read(pointer, &chunk, Int32(chunk.count))
            guard n > 0 else { return bytes }
            bytes += chunk[..<Int(n)]
        }
    }
}
