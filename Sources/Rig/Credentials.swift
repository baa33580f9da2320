// The certificates of a run: an authority of its own, and for each workload one that names it as a
// mesh would, by its SPIFFE id. They are made once, so that no arm pays for them, live in a folder
// that only this user may read, and go when the run ends: what is left in the results opens
// nothing.

import Base
import Glibc
import Model
import Posix
import Secure

/// Where the certificates of a run are.
struct Credentials {
    /// Absolute: the proxies read their files from it.
    private let folder: String

    /// Issues a certificate for each identity.
    /// - Parameter folder: is made, for this user alone.
    init(_ identities: Set<String>, in folder: String) throws(RigError) {
        self.folder = folder
        guard unsafe mkdir(folder, 0o700) == 0 else {
            throw RigError(.file, "\(SystemError("make the folder \(folder)"))")
        }
        let issued: Issued
        do throws(TLSError) {
            issued = try Issued(identities)
        } catch {
            throw RigError(.file, "the certificates of the run: \(error)")
        }
        try writePrivate(issued.authority, to: authorityPath)
        for (identity, issued) in issued.identities {
            try writePrivate(issued.certificate, to: path(identity, "crt"))
            try writePrivate(issued.key, to: path(identity, "key"))
        }
    }

    private var authorityPath: String { folder + "/authority.crt" }

    /// Names are those of services and loads, which no path can be made of.
    private func path(_ identity: String, _ kind: String) -> String {
        "\(folder)/\(identity).\(kind)"
    }

    func server(_ side: Topology.ServerSide) -> ServerTLS {
        ServerTLS(
            certificate: path(side.identity, "crt"), key: path(side.identity, "key"),
            authorities: side.asksClient ? authorityPath : nil,
            clientCertificate: side.asksClient ? .required : .none)
    }

    func client(_ side: Topology.ClientSide) -> ClientTLS {
        ClientTLS(
            authorities: authorityPath, certificate: side.identity.map { path($0, "crt") },
            key: side.identity.map { path($0, "key") }, serverName: side.peer,
            names: [spiffeID(side.peer)])
    }
}

/// Certificates as they come from the authority.
private struct Issued {
    var authority: [UInt8]
    var identities: [(name: String, identity: TLSIdentity)] = []

    /// Longer than a run may take (`Bounds.totalDuration` of a scenario is seven days).
    private static let lifetime = Duration.seconds(30 * 86_400)

    init(_ names: Set<String>) throws(TLSError) {
        let validity = Validity(
            from: ClockPair.now().wall / 1_000_000_000, for: Self.lifetime)
        let authority = try CertificateAuthority(commonName: "meshbench run", validity: validity)
        self.authority = authority.certificate
        for name in names.sorted() {
            let subject = CertificateSubject(
                // 64 bytes are the most that a common name may have (RFC 5280, A.1).
                commonName: String(name.prefix(64)), hosts: [name], uris: [spiffeID(name)])
            identities.append((name, try authority.issue(subject, validity: validity)))
        }
    }
}

/// Who a workload is (SPIFFE-ID, 2), in the form that Istio gives it.
func spiffeID(_ identity: String) -> String {
    "spiffe://meshbench.test/ns/default/sa/\(identity)"
}
