import Base
import ControlCore
import Model
import Secure
import Testing

@testable import Runtime

@Suite struct JoinCredentialsTests {
    private static let wall: Int64 = 1_800_000_000
    private static let identity = JoinIdentity(
        proxy: "cart-1", service: "shop/cart", trustDomain: "mesh.test")

    private static func root(_ label: String) throws -> Issuer {
        try Issuer.makeRoot(trustDomain: "mesh.test", label: label, wall: wall)
    }

    private static func token(_ issuers: Issuer...) -> JoinToken {
        JoinToken(
            id: String(repeating: "a", count: 32), service: MeshName("cart", in: "shop"),
            trustDomain: "mesh.test", notAfter: wall + 3600, isSingleUse: true,
            roots: issuers.map(\.rootDigest))
    }

    /// A proxy's clock may be ahead of the control plane's, or behind: its certificate is renewed
    /// before it ends by the latter. One that has ended by its own is told of, and its key kept,
    /// so that the same token lets it ask again.
    @Test(arguments: [-7200, -60, -1, 0, 1, 4] as [Int64])
    func clocksThatDiffer(ahead: Int64) throws {
        let validity = Validity(
            notBefore: Self.wall - Authority.backdating, notAfter: Self.wall + 10)
        for _ in 0..<50 {
            let terms = JoinCredentials.Terms(
                validity, wall: (Self.wall + ahead) * 1_000_000_000, .zero)
            let left = Double(10 - max(0, ahead))
            #expect((left * 0.449...left * 0.551).contains((terms.renewal - .zero).seconds))
            #expect(terms.expiry - .zero == .seconds(Int64(left)))
            #expect(terms.lastQuarter > (Self.wall + ahead) * 1_000_000_000)
        }
    }

    @Test func aCertificateThatHasEndedIsNotTaken() throws {
        let root = try Self.root("a")
        var credentials = JoinCredentials(Self.identity, token: Self.token(root))
        let first = try credentials.signingRequest()
        let request = try CertificateRequest(verifying: Array(first.utf8))
        let validity = Validity(notBefore: Self.wall - 3600, notAfter: Self.wall + 10)
        var random = SeededRandom(seed: 1)
        let chain = try CertificateAuthority(root.identity).issue(
            CertificateSubject(commonName: "cart-1", uris: ["spiffe://mesh.test/x"]),
            for: request, validity: validity, serial: CertificateSerial(&random).bytes)
        let answer = JoinText.Certificate(
            certificate: String(decoding: chain, as: UTF8.self),
            authorities: String(decoding: root.root, as: UTF8.self), service: "shop/cart",
            trustDomain: "mesh.test", notBefore: validity.notBefore, notAfter: validity.notAfter)
        do throws(JoinFailure) {
            try credentials.install(answer, wall: Self.wall + 15)
            Issue.record("it was taken")
        } catch {
            #expect(
                error.reason.contains("5 s ago by this machine's clock")
                    && error.refusal == .passing)
        }
        let second = try credentials.signingRequest()
        let again = try CertificateRequest(verifying: Array(second.utf8))
        #expect(again.keyDigest == request.keyDigest)
        try credentials.install(answer, wall: Self.wall)
        #expect(credentials.name == "spiffe://mesh.test/x")
    }

    /// The roots have changed while a proxy was away: a new token says so.
    @Test func aTokenMayKnowBetterThanWhatWasKept() throws {
        let (old, new) = (try Self.root("old"), try Self.root("new"))
        func isNewer(_ token: JoinToken?, wall: Int64 = Self.wall) -> Bool {
            JoinCredentials(Self.identity, token: token, authorities: old.root)
                .isTokenNewer(wall: wall)
        }
        #expect(isNewer(Self.token(new)) && isNewer(Self.token(old, new)))
        #expect(!isNewer(Self.token(old)) && !isNewer(nil))
        #expect(!isNewer(Self.token(new), wall: Self.wall + 3600))
    }

    /// Only who is refused for what he is asks for another certificate, and what is of the moment
    /// is asked for again.
    @Test(
        arguments: [
            (400, .lasting), (401, .lasting), (403, .forbidden), (404, .lasting), (408, .passing),
            (409, .lasting), (413, .lasting), (422, .lasting), (429, .passing), (500, .passing),
            (503, .passing), (507, .passing), (302, .passing),
        ] as [(Int, SubscriberRefusal)])
    func whatAStatusSaysOfAnotherAttempt(status: Int, refusal: SubscriberRefusal) {
        #expect(SubscriberRefusal(status: status) == refusal)
    }
}
