// What goes wrong with TLS, each cause told apart: an operator who reads the log or the counters
// knows whose certificate to look at, and for what.

/// Why a connection could not be secured, or a context not be made.
public struct TLSError: Error, Equatable, Sendable, CustomStringConvertible {
    public var reason: TLSFailure
    /// More words, as OpenSSL has them; empty: none.
    public var detail: String
    /// Which of a server's certificates it is about, the default being 0: one, or two that do not
    /// go together.
    public var certificates: [Int]

    public init(_ reason: TLSFailure, detail: String = "", certificates: [Int] = [0]) {
        self.reason = reason
        self.detail = detail
        self.certificates = certificates
    }

    public var description: String {
        detail.isEmpty ? reason.word : "\(reason.word) (\(detail))"
    }
}

/// The causes that are told apart in logs, counters and outcomes.
public enum TLSFailure: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    // The peer's certificate, as found by us.
    case certificateExpired
    case certificateNotYetValid
    /// It names somebody else.
    case certificateName
    /// No authority that we believe vouches for it.
    case certificateAuthority
    /// Its signature was made with another key than its authority's.
    case certificateSignature
    case certificateRevoked
    /// It is for something else, such as a client's in place of a server's.
    case certificatePurpose
    case certificateOther
    /// It was required, and none was shown.
    case noPeerCertificate
    /// The peer does not have the key of the certificate that it shows.
    case badSignature

    // What there is no agreement on.
    case noSharedVersion
    case noSharedCipher
    /// By ALPN (RFC 7301, 3.2).
    case noSharedProtocol

    // The peer's conduct.
    /// What came is no TLS at all: HTTP, or whatever.
    case notTLS
    case protocolError
    /// The connection ended without `close_notify` (RFC 8446, 6.1): something may be missing.
    case truncated
    /// The connection ended within the handshake.
    case handshakeCut
    case handshakeTimeout

    // What the peer says of us, by an alert (RFC 8446, 6.2).
    case alertCertificateExpired
    case alertBadCertificate
    case alertUnknownAuthority
    case alertCertificateRequired
    case alertCertificateRevoked
    case alertUnsupportedCertificate
    case alertCertificateUnknown
    case alertAccessDenied
    case alertDecryptError
    case alertHandshakeFailure
    case alertProtocolVersion
    case alertNoApplicationProtocol
    case alertUnrecognizedName
    case alertOther

    // Our own files, found when a context is made.
    /// Certificate and key do not belong together.
    case keyMismatch
    case malformedCertificate
    case malformedKey
    case malformedAuthorities
    /// Two certificates of a server have the same name: nothing says which of them is meant.
    case duplicateServerName
    /// A certificate that is to be asked for by name has no DNS name.
    case noServerName

    // Requests for certificates.
    /// It cannot be read as one.
    case malformedRequest
    /// Its key is of a kind or size that is not taken.
    case weakKey

    /// The stable name, snake case, with `tls_` before it: what the access log's `details` say.
    public var detail: StaticString {
        switch self {
        case .certificateExpired: "tls_certificate_expired"
        case .certificateNotYetValid: "tls_certificate_not_yet_valid"
        case .certificateName: "tls_certificate_name"
        case .certificateAuthority: "tls_certificate_authority"
        case .certificateSignature: "tls_certificate_signature"
        case .certificateRevoked: "tls_certificate_revoked"
        case .certificatePurpose: "tls_certificate_purpose"
        case .certificateOther: "tls_certificate_other"
        case .noPeerCertificate: "tls_no_peer_certificate"
        case .badSignature: "tls_bad_signature"
        case .noSharedVersion: "tls_no_shared_version"
        case .noSharedCipher: "tls_no_shared_cipher"
        case .noSharedProtocol: "tls_no_shared_protocol"
        case .notTLS: "tls_not_tls"
        case .protocolError: "tls_protocol_error"
        case .truncated: "tls_truncated"
        case .handshakeCut: "tls_handshake_cut"
        case .handshakeTimeout: "tls_handshake_timeout"
        case .alertCertificateExpired: "tls_alert_certificate_expired"
        case .alertBadCertificate: "tls_alert_bad_certificate"
        case .alertUnknownAuthority: "tls_alert_unknown_ca"
        case .alertCertificateRequired: "tls_alert_certificate_required"
        case .alertCertificateRevoked: "tls_alert_certificate_revoked"
        case .alertUnsupportedCertificate: "tls_alert_unsupported_certificate"
        case .alertCertificateUnknown: "tls_alert_certificate_unknown"
        case .alertAccessDenied: "tls_alert_access_denied"
        case .alertDecryptError: "tls_alert_decrypt_error"
        case .alertHandshakeFailure: "tls_alert_handshake_failure"
        case .alertProtocolVersion: "tls_alert_protocol_version"
        case .alertNoApplicationProtocol: "tls_alert_no_application_protocol"
        case .alertUnrecognizedName: "tls_alert_unrecognized_name"
        case .alertOther: "tls_alert_other"
        case .keyMismatch: "tls_key_mismatch"
        case .malformedCertificate: "tls_malformed_certificate"
        case .malformedKey: "tls_malformed_key"
        case .malformedAuthorities: "tls_malformed_authorities"
        case .duplicateServerName: "tls_duplicate_server_name"
        case .noServerName: "tls_no_server_name"
        case .malformedRequest: "tls_malformed_request"
        case .weakKey: "tls_weak_key"
        }
    }

    /// The stable name, snake case, such as `certificate_expired`: the label of counters.
    public var word: String { String("\(detail)".dropFirst(4)) }

    /// Whether it is what the peer has said.
    public var isAlert: Bool {
        (Self.alertCertificateExpired.rawValue...Self.alertOther.rawValue).contains(rawValue)
    }

    /// Whether it is found while a context is made, and so never on a connection.
    public var isOfFiles: Bool { rawValue >= TLSFailure.keyMismatch.rawValue }
}
