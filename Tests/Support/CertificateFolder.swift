// Certificates in files, as programs want them.

import Base
import FoundationEssentials
import Glibc
public import Secure

/// A folder with an authority and what it has issued. Gone when let go.
public final class CertificateFolder {
    private let folder: Scratch
    private let issuer: CertificateAuthority
    private static let wall = Int64(time(nil))

    /// A day from now on.
    public static let valid = Validity(from: wall, for: .seconds(86_400))
    public static let expired = Validity(notBefore: wall - 7200, notAfter: wall - 3600)
    public static let notYetValid = Validity(notBefore: wall + 3600, notAfter: wall + 7200)

    public init(_ name: String = "test authority") throws {
        folder = try Scratch()
        issuer = try CertificateAuthority(commonName: name, validity: Self.valid)
        try write(issuer.certificate, "authority.pem")
        try issue("server", hosts: ["localhost"], addresses: ["127.0.0.1"])
        try issue("client", uris: ["spiffe://test/client"])
    }

    /// The authority's certificate.
    public var authority: String { path("authority.pem") }

    public func path(_ name: String) -> String { folder.path(name) }

    /// Writes NAME.pem and NAME.key, over those that are there.
    public func issue(
        _ name: String, hosts: [String] = [], uris: [String] = [], addresses: [String] = [],
        validity: Validity = valid
    ) throws {
        let identity = try issuer.issue(
            CertificateSubject(commonName: name, hosts: hosts, uris: uris, addresses: addresses),
            validity: validity)
        try write(identity.certificate, "\(name).pem")
        try write(identity.key, "\(name).key")
    }

    /// `certificate: ..., key: ...` of what `issue` wrote, for a configuration.
    public func identity(_ name: String) -> String {
        "certificate: \(path("\(name).pem")), key: \(path("\(name).key"))"
    }

    /// Puts any text into one of the files.
    public func write(_ text: [UInt8], _ name: String) throws {
        try Data(text).write(to: URL(filePath: path(name)))
    }
}
