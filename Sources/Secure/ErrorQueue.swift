// OpenSSL tells what went wrong in a queue of each thread, by numbers. Here they become
// `TLSFailure`s.

import COpenSSL
import Glibc

/// The calling thread's errors. Cleared before each call whose failure is looked at, so that what
/// is found afterwards is that call's.
enum ErrorQueue {
    static func clear() { ERR_clear_error() }

    /// The first error that was queued, as OpenSSL words it, and its number within its library;
    /// the queue is empty afterwards.
    static func take() -> (code: UInt, reason: Int32, text: String) {
        let code = ERR_get_error()
        guard code != 0 else { return (0, 0, "") }
        ERR_clear_error()
        let text = unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) }
        return (UInt(code), ERR_GET_REASON(code), text ?? "error \(code)")
    }
}

extension TLSError {
    /// What ended a session's call.
    /// - Parameter verification: the result of verifying the peer's certificate, `X509_V_OK` where
    ///   that has not failed.
    static func ofSession(verification: Int) -> TLSError {
        let (code, reason, text) = ErrorQueue.take()
        guard code != 0 else { return TLSError(.protocolError) }
        let isOfTLS = ERR_GET_LIB(code) == ERR_LIB_SSL
        if isOfTLS, reason >= SSL_AD_REASON_OFFSET {
            return TLSError(TLSFailure(alert: reason - SSL_AD_REASON_OFFSET), detail: text)
        }
        if isOfTLS, reason == SSL_R_CERTIFICATE_VERIFY_FAILED {
            let words = unsafe String(cString: X509_verify_cert_error_string(verification))
            return TLSError(TLSFailure(verification: Int32(verification)), detail: words)
        }
        // A failed signature is told by the library of the key's kind.
        return TLSError(isOfTLS ? TLSFailure(handshake: reason) : .badSignature, detail: text)
    }
}

extension TLSFailure {
    /// What an alert of the peer's means (RFC 8446, 6.2).
    init(alert: Int32) {
        switch alert {
        case SSL_AD_CERTIFICATE_EXPIRED: self = .alertCertificateExpired
        case SSL_AD_BAD_CERTIFICATE: self = .alertBadCertificate
        case SSL_AD_UNKNOWN_CA: self = .alertUnknownAuthority
        // Its name came after OpenSSL had named the others.
        case 116: self = .alertCertificateRequired
        case SSL_AD_CERTIFICATE_REVOKED: self = .alertCertificateRevoked
        case SSL_AD_UNSUPPORTED_CERTIFICATE: self = .alertUnsupportedCertificate
        case SSL_AD_CERTIFICATE_UNKNOWN: self = .alertCertificateUnknown
        case SSL_AD_ACCESS_DENIED: self = .alertAccessDenied
        case SSL_AD_DECRYPT_ERROR: self = .alertDecryptError
        case SSL_AD_HANDSHAKE_FAILURE: self = .alertHandshakeFailure
        case SSL_AD_PROTOCOL_VERSION: self = .alertProtocolVersion
        case SSL_AD_NO_APPLICATION_PROTOCOL: self = .alertNoApplicationProtocol
        case SSL_AD_UNRECOGNIZED_NAME: self = .alertUnrecognizedName
        default: self = .alertOther
        }
    }

    /// What the verification of a certificate found.
    init(verification: Int32) {
        switch verification {
        case X509_V_ERR_CERT_HAS_EXPIRED: self = .certificateExpired
        case X509_V_ERR_CERT_NOT_YET_VALID: self = .certificateNotYetValid
        case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH,
            X509_V_ERR_EMAIL_MISMATCH:
            self = .certificateName
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_CERT_UNTRUSTED,
            X509_V_ERR_CERT_REJECTED, X509_V_ERR_INVALID_CA:
            self = .certificateAuthority
        case X509_V_ERR_CERT_SIGNATURE_FAILURE: self = .certificateSignature
        case X509_V_ERR_CERT_REVOKED: self = .certificateRevoked
        case X509_V_ERR_INVALID_PURPOSE: self = .certificatePurpose
        default: self = .certificateOther
        }
    }

    /// What OpenSSL's TLS calls its errors.
    init(handshake reason: Int32) {
        switch reason {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: self = .noPeerCertificate
        case SSL_R_BAD_SIGNATURE, SSL_R_DIGEST_CHECK_FAILED: self = .badSignature
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_NO_PROTOCOLS_AVAILABLE, SSL_R_VERSION_TOO_LOW,
            SSL_R_INAPPROPRIATE_FALLBACK:
            self = .noSharedVersion
        case SSL_R_NO_SHARED_CIPHER, SSL_R_NO_SHARED_GROUPS, SSL_R_NO_SUITABLE_KEY_SHARE,
            SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
            self = .noSharedCipher
        case SSL_R_NO_APPLICATION_PROTOCOL: self = .noSharedProtocol
        case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST, SSL_R_WRONG_VERSION_NUMBER:
            self = .notTLS
        default: self = .protocolError
        }
    }
}
