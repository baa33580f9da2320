import Base
import Testing

@testable import Secure

/// Each thing that can be wrong with a certificate has its own name, on the side that finds it, and
/// the other side learns what it can from the alert.
@Suite struct VerificationTests {
    private static let past = Validity(
        notBefore: Authority.wall - 7200, notAfter: Authority.wall - 3600)
    private static let future = Validity(
        notBefore: Authority.wall + 3600, notAfter: Authority.wall + 7200)

    enum Fault: CaseIterable {
        case expired, notYetValid, wrongName, unknownAuthority, falseAuthority
    }

    /// An identity with the fault, as seen by whoever believes `authority`.
    private func identity(_ fault: Fault, _ authority: Authority) throws -> TLSIdentity {
        switch fault {
        case .expired: try authority.identity(validity: Self.past)
        case .notYetValid: try authority.identity(validity: Self.future)
        case .wrongName: try authority.identity(["other.test"], uris: ["spiffe://other"])
        case .unknownAuthority: try Authority("another authority").identity()
        // The name of the authority that is believed, with another key.
        case .falseAuthority: try Authority().identity()
        }
    }

    private func found(_ fault: Fault) -> [TLSFailure] {
        switch fault {
        case .expired: [.certificateExpired]
        case .notYetValid: [.certificateNotYetValid]
        case .wrongName: [.certificateName]
        case .unknownAuthority: [.certificateAuthority]
        case .falseAuthority: [.certificateAuthority, .certificateSignature]
        }
    }

    private func told(_ fault: Fault) -> [TLSFailure] {
        switch fault {
        case .expired: [.alertCertificateExpired]
        case .notYetValid, .wrongName: [.alertBadCertificate]
        case .unknownAuthority: [.alertUnknownAuthority]
        case .falseAuthority: [.alertUnknownAuthority, .alertDecryptError]
        }
    }

    @Test(arguments: Fault.allCases)
    func aServersCertificate(_ fault: Fault) throws {
        let authority = try Authority()
        let identity = try identity(fault, authority)
        let pair = try Pair(authority, server: { $0.identity = identity })
        #expect(!pair.handshake())
        #expect(found(fault).contains(try #require(pair.clientFailure)))
        #expect(told(fault).contains(try #require(pair.serverFailure)))
    }

    @Test(arguments: Fault.allCases, [TLSMinimum.v12, .v13])
    func aClientsCertificate(_ fault: Fault, _ version: TLSMinimum) throws {
        let authority = try Authority()
        let identity = try identity(fault, authority)
        let pair = try Pair(
            authority, client: { $0.identity = identity },
            server: {
                $0.authorities = authority.pem
                $0.requiresClient = true
                $0.clientNames = ["spiffe://wanted", "server.test"]
            })
        if version == .v12 { pair.client.limitToVersion12() }
        #expect(!pair.handshake())
        #expect(found(fault).contains(try #require(pair.serverFailure)))
        // In TLS 1.3 the client is done before its certificate is looked at: it learns by reading.
        var failure = pair.clientFailure
        if failure == nil, case .failed(let error) = pair.clientRead() { failure = error.reason }
        #expect(told(fault).contains(try #require(failure)))
    }

    @Test func aClientWithoutACertificate() throws {
        let authority = try Authority()
        for required in [true, false] {
            let pair = try Pair(
                authority,
                server: {
                    $0.authorities = authority.pem
                    $0.asksClient = true
                    $0.requiresClient = required
                    $0.clientNames = ["spiffe://wanted"]
                })
            #expect(pair.handshake() == !required)
            guard required else { continue }
            #expect(pair.serverFailure == .noPeerCertificate)
            guard case .failed(let error) = pair.clientRead() else {
                Issue.record("the client was not told")
                continue
            }
            #expect(error.reason == .alertCertificateRequired)
        }
    }

    // MARK: Names

    struct Case: CustomTestStringConvertible {
        var wanted: [String]
        var hosts: [String] = []
        var uris: [String] = []
        var addresses: [String] = []
        var isGood: Bool
        var testDescription: String { "\(wanted) in \(hosts + uris + addresses)" }
    }

    /// RFC 9525, 6; and the exact comparison of SPIFFE ids.
    @Test(arguments: [
        Case(wanted: ["a.test"], hosts: ["a.test"], isGood: true),
        Case(wanted: ["A.TEST"], hosts: ["a.test"], isGood: true),
        // OpenSSL lets no wildcard stand for all of a top-level domain.
        Case(wanted: ["a.test"], hosts: ["*.test"], isGood: false),
        Case(wanted: ["b.a.test"], hosts: ["*.a.test"], isGood: true),
        Case(wanted: ["c.b.a.test"], hosts: ["*.a.test"], isGood: false),
        Case(wanted: ["a.test"], hosts: ["*.a.test"], isGood: false),
        Case(wanted: ["abc.a.test"], hosts: ["a*.a.test"], isGood: false),
        Case(wanted: ["a.test"], hosts: ["b.test", "a.test"], isGood: true),
        Case(wanted: ["x.test", "a.test"], hosts: ["a.test"], isGood: true),
        Case(wanted: ["a.test"], hosts: ["a.test.evil"], isGood: false),
        // The common name is `test`, and does not count.
        Case(wanted: ["test"], isGood: false),
        Case(wanted: ["spiffe://d/ns/a"], uris: ["spiffe://d/ns/a"], isGood: true),
        Case(wanted: ["spiffe://d/ns/a"], uris: ["spiffe://d/ns/b"], isGood: false),
        Case(wanted: ["spiffe://d/ns/a"], uris: ["spiffe://d/ns/a/b"], isGood: false),
        Case(wanted: ["spiffe://d/ns/a"], uris: ["spiffe://D/ns/a"], isGood: false),
        Case(
            wanted: ["spiffe://d/b"], uris: ["spiffe://d/a", "spiffe://d/b"], isGood: true),
        Case(wanted: ["127.0.0.1"], addresses: ["127.0.0.1"], isGood: true),
        Case(wanted: ["127.0.0.2"], addresses: ["127.0.0.1"], isGood: false),
        Case(wanted: ["::1"], addresses: ["::1"], isGood: true),
        // An address in a DNS name is no address (RFC 9525, 6.5).
        Case(wanted: ["127.0.0.1"], hosts: ["127.0.0.1"], isGood: false),
    ])
    func names(_ one: Case) throws {
        let authority = try Authority()
        let identity = try authority.identity(
            one.hosts, uris: one.uris, addresses: one.addresses)
        let pair = try Pair(
            authority, client: { $0.names = one.wanted }, server: { $0.identity = identity })
        #expect(pair.handshake() == one.isGood)
        #expect(pair.clientFailure == (one.isGood ? nil : .certificateName))
    }

    @Test func withoutANameTheAddressMustBeThere() throws {
        let authority = try Authority()
        for (address, isGood) in [("127.0.0.1", true), ("127.0.0.2", false)] {
            let identity = try authority.identity([], addresses: ["127.0.0.1"])
            let pair = Pair(
                client: try TLSContext(client: TLSClientOptions(authorities: authority.pem)),
                server: try TLSContext(server: TLSServerOptions(identity: identity)),
                endpoint: "\(address):1", address: address)
            #expect(pair.handshake() == isGood)
        }
    }

    @Test func aPeerIsCalledByItsBestName() throws {
        let authority = try Authority()
        for (hosts, uris, title) in [
            (["a.test"], ["spiffe://d/a"], "spiffe://d/a"), (["a.test"], [], "a.test"),
            ([], [], "/CN=test"),
        ] {
            let identity = try authority.identity(hosts, uris: uris)
            let pair = try Pair(
                authority, client: { $0.identity = identity },
                server: {
                    $0.authorities = authority.pem
                    $0.requiresClient = true
                })
            #expect(pair.handshake())
            #expect(pair.server.peer == title)
        }
    }

    // MARK: Files

    @Test func whatIsWrongWithFilesIsToldApart() throws {
        let authority = try Authority()
        let one = try authority.identity()
        let other = try authority.identity()
        let nonsense = Array("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n".utf8)
        func failure(_ identity: TLSIdentity, _ authorities: [UInt8]? = nil) -> TLSFailure? {
            var options = TLSServerOptions(identity: identity)
            options.authorities = authorities
            do throws(TLSError) {
                _ = try TLSContext(server: options)
                return nil
            } catch {
                return error.reason
            }
        }
        #expect(failure(one) == nil)
        #expect(
            failure(TLSIdentity(certificate: one.certificate, key: other.key)) == .keyMismatch)
        #expect(
            failure(TLSIdentity(certificate: nonsense, key: one.key)) == .malformedCertificate)
        #expect(failure(TLSIdentity(certificate: [], key: one.key)) == .malformedCertificate)
        #expect(
            failure(TLSIdentity(certificate: one.certificate + nonsense, key: one.key))
                == .malformedCertificate)
        #expect(
            failure(TLSIdentity(certificate: one.certificate, key: one.certificate))
                == .malformedKey)
        #expect(failure(one, []) == .malformedAuthorities)
        #expect(failure(one, nonsense) == .malformedAuthorities)
        #expect(failure(one, authority.pem) == nil)
    }

    @Test func everyFailureHasANameOfItsOwn() {
        let words = TLSFailure.allCases.map(\.word)
        #expect(Set(words).count == words.count)
        #expect(words.allSatisfy { $0.allSatisfy { $0.isLowercase || $0 == "_" } })
    }
}
