// Whom a certificate names, and whether that is whom we want (RFC 9525). Only subject alternative
// names count for the check; the subject's common name never does.

import COpenSSL
import Glibc

/// A name that a certificate must carry.
enum CertificateName: Equatable, Sendable {
    /// A host's name; a certificate's wildcard stands for its whole first label (RFC 9525, 6.3).
    case dns(String)
    /// A URI such as a SPIFFE id, compared byte by byte.
    case uri(String)
    /// A numeric address.
    case address(String)

    /// What kind of name `text` is can be seen from it: URIs have a scheme, addresses are numeric.
    init(_ text: String) {
        if text.contains("://") {
            self = .uri(text)
        } else if Self.isAddress(text) {
            self = .address(text)
        } else {
            self = .dns(text)
        }
    }

    static func isAddress(_ text: String) -> Bool {
        var address = in6_addr()
        return [AF_INET, AF_INET6].contains { unsafe inet_pton($0, text, &address) == 1 }
    }

    /// Whether `certificate`, an X509, carries the name.
    func matches(_ certificate: OpaquePointer) -> Bool {
        switch self {
        case .dns(let name):
            let flags =
                X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
            return unsafe X509_check_host(
                certificate, name, name.utf8.count, UInt32(flags), nil) == 1
        case .address(let text): return unsafe X509_check_ip_asc(certificate, text, 0) == 1
        case .uri(let uri):
            return unsafe AlternativeNames(of: certificate).first(GEN_URI) { $0 == uri } != nil
        }
    }
}

/// The subject alternative names of a certificate.
@safe
struct AlternativeNames: ~Copyable {
    // Safety: the names are a copy that OpenSSL has made for us, freed in `deinit`; nil: none.
    private let names: OpaquePointer?

    init(of certificate: OpaquePointer) {
        unsafe names = OpaquePointer(
            X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil))
    }

    deinit { unsafe GENERAL_NAMES_free(names) }

    /// The first name of `type` (`GEN_DNS`, `GEN_URI`) that `condition` holds for.
    borrowing func first(
        _ type: Int32, where condition: (String) -> Bool = { _ in true }
    ) -> String? {
        var found: String?
        visit(type) { name in
            guard condition(name) else { return true }
            found = name
            return false
        }
        return found
    }

    /// All names of `type`, in order.
    borrowing func all(_ type: Int32) -> [String] {
        var found: [String] = []
        visit(type) { name in
            found.append(name)
            return true
        }
        return found
    }

    /// Hands out the names of `type` until `body` says that it wants no more.
    private borrowing func visit(_ type: Int32, _ body: (String) -> Bool) {
        guard let names = unsafe names else { return }
        let count = unsafe mb_general_name_count(names)
        for i in 0..<count {
            guard let text = unsafe mb_general_name_text(names, i, type),
                let start = unsafe ASN1_STRING_get0_data(text)
            else { continue }
            let bytes = unsafe UnsafeBufferPointer(
                start: start, count: Int(ASN1_STRING_length(text)))
            // A NUL or a byte that is no text would let one name pass for another.
            guard let name = unsafe String(validating: bytes, as: UTF8.self),
                !name.utf8.contains(0)
            else { continue }
            guard body(name) else { return }
        }
    }
}

extension AlternativeNames {
    /// What a log calls the holder of `certificate`: its first URI, else its first DNS name, else
    /// its subject.
    static func title(of certificate: OpaquePointer) -> String {
        let names = unsafe AlternativeNames(of: certificate)
        if let uri = names.first(GEN_URI) { return uri }
        if let host = names.first(GEN_DNS) { return host }
        return unsafe subject(of: certificate)
    }

    static func subject(of certificate: OpaquePointer) -> String {
        var text = [CChar](repeating: 0, count: 256)
        unsafe X509_NAME_oneline(X509_get_subject_name(certificate), &text, Int32(text.count))
        return String(
            decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// Whom a certificate names.
public struct PeerIdentity: Equatable, Sendable {
    /// Subject alternative names that are URIs, such as SPIFFE ids, in order.
    public var uris: [String]
    /// Those that are DNS names.
    public var hosts: [String]
    /// The subject, as OpenSSL writes it on one line: `/CN=operator`. For people: nobody checks
    /// that no two certificates have the same.
    public var subject: String
    /// The certificate's serial number, in lower-case hexadecimal.
    public var serial: String
    /// When the certificate ends, seconds since 1970.
    public var notAfter: Int64

    public init(
        uris: [String] = [], hosts: [String] = [], subject: String = "", serial: String = "",
        notAfter: Int64 = .max
    ) {
        self.uris = uris
        self.hosts = hosts
        self.subject = subject
        self.serial = serial
        self.notAfter = notAfter
    }

    /// Of an X509.
    init(of certificate: OpaquePointer) {
        unsafe self.init(
            subject: AlternativeNames.subject(of: certificate),
            serial: CertificateFacts.serial(of: certificate),
            notAfter: CertificateFacts.validity(of: certificate).notAfter)
        let names = unsafe AlternativeNames(of: certificate)
        uris = names.all(GEN_URI)
        hosts = names.all(GEN_DNS)
    }
}
