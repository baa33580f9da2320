import Base
import Glibc
import Support
import Testing

@testable import Secure

/// Authorities that are kept and handed in, and what they issue, as `openssl` verifies it.
@Suite struct CertificateIssuingTests {
    private let bench: Workbench
    private static let subject = CertificateSubject(
        commonName: "cart-1", hosts: ["cart.shop.mesh"],
        uris: ["spiffe://meshbench.test/ns/shop/sa/cart"])
    private static let serial = [UInt8](0x40...0x4F)

    init() throws { bench = try Workbench() }

    private func leaf(_ authority: CertificateAuthority) throws -> [UInt8] {
        try authority.issue(
            Self.subject,
            for: CertificateRequest(verifying: CertificateRequest.make(commonName: "?").request),
            validity: Authority.aDay, serial: Self.serial)
    }

    /// An intermediate of `openssl`, below a root whose key is made as said.
    /// - Parameters:
    ///   - root: its basic constraints.
    ///   - middle: the intermediate's, and further extensions, as `printf` takes them.
    private func handedIn(
        rootKey: String, root: String, middle: String
    ) throws -> CertificateAuthority {
        let made = try bench.sh(
            """
            set -e
            openssl req -x509 -newkey \(rootKey) -nodes -days 30 -subj /CN=root \
              -keyout root.key -out root.pem -addext basicConstraints=critical,\(root)
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=middle \
              -keyout middle.key -out middle.csr
            printf 'basicConstraints=critical,\(middle)\\n' > ext
            openssl x509 -req -in middle.csr -CA root.pem -CAkey root.key -days 20 \
              -extfile ext -out middle.pem -set_serial 7
            cat middle.pem root.pem > chain.pem
            """)
        try #require(made.last == "ok", "\(made)")
        return try CertificateAuthority(
            TLSIdentity(
                certificate: try bench.read("chain.pem"), key: try bench.read("middle.key")))
    }

    @Test func aCertificateForARequest() throws {
        let made = try CertificateRequest.make(commonName: "somebody else")
        let root = try Authority()
        let leaf = try root.authority.issue(
            Self.subject, for: CertificateRequest(verifying: made.request),
            validity: Authority.aDay, serial: Self.serial)
        try bench.write(root.pem, "root.pem")
        try bench.write(leaf, "leaf.pem")
        try bench.write(made.key, "key.pem")
        for purpose in ["sslclient", "sslserver"] {
            let verdict = try bench.sh(
                "openssl verify -x509_strict -purpose \(purpose) -CAfile root.pem leaf.pem")
            #expect(verdict == ["leaf.pem: OK", "ok"])
        }
        let text = try bench.sh(
            "openssl x509 -in leaf.pem -noout -serial -subject -ext subjectAltName")
        #expect(text.contains("serial=404142434445464748494A4B4C4D4E4F"))
        #expect(text.contains("subject=CN = cart-1"))
        #expect(
            text.contains {
                $0.contains("DNS:cart.shop.mesh, URI:spiffe://meshbench.test/ns/shop/sa/cart")
            })
        #expect(
            try bench.succeeds(
                "openssl x509 -in leaf.pem -pubkey -noout > 1; "
                    + "openssl pkey -in key.pem -pubout > 2; cmp 1 2"))
        let facts = try CertificateFacts(leaf)
        #expect(facts.serial == "404142434445464748494a4b4c4d4e4f")
        #expect(facts.validity == Authority.aDay)
        #expect(facts.names.uris == Self.subject.uris)
        #expect(facts.names.serial == facts.serial)
        #expect(facts.names.notAfter == Authority.aDay.notAfter)
        #expect(!facts.isRoot)
        #expect(try CertificateFacts(root.pem).isRoot)
        let print = try bench.sh("openssl x509 -in leaf.pem -noout -fingerprint -sha256")
        let digits = try #require(print.first?.split(separator: "=").last).filter { $0 != ":" }
        #expect(digits.lowercased() == facts.digest)
    }

    @Test func aKeptAuthorityIsTheSame() throws {
        let first = try Authority()
        let kept = try CertificateAuthority(first.authority.identity)
        #expect(kept.certificate == first.pem)
        #expect(kept.identity == first.authority.identity)
        #expect(kept.intermediates.isEmpty)
        try bench.write(first.pem, "root.pem")
        try bench.write(try leaf(kept), "leaf.pem")
        #expect(try bench.succeeds("openssl verify -CAfile root.pem leaf.pem"))
    }

    @Test func whatIsNoAuthority() throws {
        let root = try Authority()
        let leaf = try root.identity()
        let other = try Authority()
        let mixed = TLSIdentity(
            certificate: root.pem, key: other.authority.identity.key)
        func failure(_ identity: TLSIdentity) -> TLSError? {
            do throws(TLSError) {
                _ = try CertificateAuthority(identity)
                return nil
            } catch {
                return error
            }
        }
        #expect(failure(leaf)?.detail == "the certificate is no authority's")
        #expect(failure(mixed)?.reason == .keyMismatch)
        // Of the same name, but another key: it has not signed.
        var chain = other.authority.identity
        chain.certificate += root.pem
        #expect(
            failure(chain)?.detail == "certificate 2 does not vouch for the one before it")
    }

    /// What others would not believe is found out before they meet it.
    @Test(
        arguments: [
            ("CA:TRUE", "CA:TRUE,pathlen:0", nil),
            ("CA:TRUE,pathlen:0", "CA:TRUE", "path length"),
            ("CA:TRUE", "CA:TRUE\\nnameConstraints=permitted;DNS:other.test", "permitted"),
            ("CA:TRUE", "CA:TRUE\\nextendedKeyUsage=clientAuth", "purpose"),
        ] as [(String, String, String?)])
    func proofs(root: String, middle: String, reason: String?) throws {
        let authority = try handedIn(
            rootKey: "ec -pkeyopt ec_paramgen_curve:P-256", root: root, middle: middle)
        let failure = proof(authority)
        #expect(failure.map { "\($0)" }?.contains(reason ?? "") == reason.map { _ in true })
    }

    @Test func whatHasEndedProvesNothing() throws {
        let wall = Int64(time(nil))
        let past = try CertificateAuthority(
            commonName: "past", validity: Validity(notBefore: wall - 100, notAfter: wall - 10))
        #expect(proof(past)?.reason == .certificateExpired)
        #expect(proof(try Authority().authority) == nil)
    }

    private func proof(_ authority: CertificateAuthority) -> TLSError? {
        do throws(TLSError) {
            try authority.prove(
                CertificateSubject(
                    commonName: "a", hosts: ["a.b.mesh"], uris: ["spiffe://a.test/b"]),
                validity: Validity(from: Int64(time(nil)), for: .seconds(60)))
            return nil
        } catch {
            return error
        }
    }

    /// Root and intermediate are of `openssl`, with a key of RSA.
    @Test func anIntermediateThatIsHandedIn() throws {
        let authority = try handedIn(
            rootKey: "rsa:2048", root: "CA:TRUE",
            middle: "CA:TRUE,pathlen:0\\nkeyUsage=critical,keyCertSign\\nsubjectKeyIdentifier=hash")
        let facts = try CertificateFacts.all(authority.intermediates)
        #expect(facts.map(\.names.subject) == ["/CN=middle"])
        try bench.write(try leaf(authority), "leaf.pem")
        #expect(
            try bench.sh(
                "openssl verify -purpose sslclient -CAfile root.pem -untrusted leaf.pem leaf.pem")
                == ["leaf.pem: OK", "ok"])
        // Without what was served with it there is no way to the root.
        #expect(!(try bench.succeeds("openssl verify -CAfile root.pem leaf.pem")))
    }
}
