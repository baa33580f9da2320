import Base
import Support
import Testing

@testable import Secure

/// Requests for certificates, against those that `openssl req` writes and reads.
@Suite struct CertificateRequestTests {
    private let bench: Workbench

    init() throws { bench = try Workbench() }

    private func failure(_ text: [UInt8]) -> TLSFailure? {
        do throws(TLSError) {
            _ = try CertificateRequest(verifying: text)
            return nil
        } catch {
            return error.reason
        }
    }

    @Test func othersReadOurs() throws {
        let made = try CertificateRequest.make(commonName: "cart-1")
        try bench.write(made.request, "a.csr")
        try bench.write(made.key, "a.key")
        #expect(try bench.succeeds("openssl req -in a.csr -verify -noout"))
        #expect(
            try bench.sh("openssl req -in a.csr -subject -noout") == ["subject=CN = cart-1", "ok"])
        // The key is the one that goes with it.
        #expect(
            try bench.succeeds(
                "openssl req -in a.csr -pubkey -noout > 1; openssl pkey -in a.key -pubout > 2; "
                    + "cmp 1 2"))
        #expect(failure(made.request) == nil)
        let again = try CertificateRequest.make(commonName: "cart-2", key: made.key)
        #expect(
            try CertificateRequest(verifying: again).keyDigest
                == CertificateRequest(verifying: made.request).keyDigest)
        #expect(
            try CertificateRequest(verifying: CertificateRequest.make(commonName: "b").request)
                .keyDigest != CertificateRequest(verifying: made.request).keyDigest)
    }

    @Test(
        arguments: [
            ("EC -pkeyopt ec_paramgen_curve:P-256", nil),
            ("EC -pkeyopt ec_paramgen_curve:P-384", nil),
            ("RSA -pkeyopt rsa_keygen_bits:2048", nil),
            ("RSA -pkeyopt rsa_keygen_bits:4096", nil),
            ("EC -pkeyopt ec_paramgen_curve:secp256k1", .weakKey),
            ("EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit", .weakKey),
            ("RSA -pkeyopt rsa_keygen_bits:1024", .weakKey),
            ("ED25519", .weakKey),
        ] as [(String, TLSFailure?)])
    func keysOfKinds(_ kind: String, _ expected: TLSFailure?) throws {
        let made = try bench.sh(
            "openssl genpkey -out k -algorithm \(kind) && openssl req -new -key k -subj /CN=x "
                + "-addext subjectAltName=URI:spiffe://meshbench.test/control -out r")
        try #require(made.last == "ok", "\(made)")
        #expect(failure(try bench.read("r")) == expected)
    }

    @Test func whatIsNoRequest() throws {
        #expect(failure([]) == .malformedRequest)
        #expect(failure(Array("hello".utf8)) == .malformedRequest)
        #expect(failure(try Authority().pem) == .malformedRequest)
        let made = try CertificateRequest.make(commonName: "a")
        #expect(failure(made.key) == .malformedRequest)
        let padding = [UInt8](repeating: 10, count: CertificateRequest.bytesMost)
        #expect(failure(padding + made.request) == .malformedRequest)
    }

    /// A request with the key of somebody else, who has not signed it.
    @Test func foreignKeys() throws {
        let mine = try bench.sh(
            """
            openssl ecparam -name prime256v1 -genkey -noout -out mine.key
            openssl ecparam -name prime256v1 -genkey -noout -out other.key
            openssl pkey -in other.key -pubout -outform DER -out other.der
            openssl pkey -in mine.key -pubout -outform DER -out mine.der
            openssl req -new -key mine.key -subj /CN=a -outform DER -out r.der
            """)
        try #require(mine.last == "ok")
        var bytes = try bench.read("r.der")
        let from = try bench.read("mine.der")
        let to = try bench.read("other.der")
        let place = try #require(
            (0...bytes.count - from.count).first { bytes[$0...].starts(with: from) })
        bytes.replaceSubrange(place..<place + from.count, with: to)
        try bench.write(bytes, "false.der")
        #expect(try bench.succeeds("openssl req -inform DER -in false.der -out false.csr"))
        #expect(failure(try bench.read("false.csr")) == .badSignature)
        #expect(!(try bench.succeeds("openssl req -in false.csr -verify -noout 2>&1 | grep -q OK")))
    }
}

/// Requests with bytes changed: none is taken whose text says another key than the one that signed
/// it, and nothing crashes. One request a step.
@Suite struct CertificateRequestFuzz {
    @Test func changedRequests() throws {
        let budget = FuzzBudget.current(seed: 1, steps: 2_000)
        var random = SeededRandom(seed: budget.seed)
        let text = try CertificateRequest.make(commonName: "a").request
        let digest = try CertificateRequest(verifying: text).keyDigest
        var taken = 0
        for step in 0..<budget.steps {
            var changed = text
            for _ in 0..<random.below(4) {
                let place = random.below(changed.count)
                switch random.below(3) {
                case 0: changed[place] ^= UInt8(1 << random.below(8))
                case 1: changed.remove(at: place)
                default: changed.insert(UInt8(random.below(256)), at: place)
                }
            }
            guard let request = try? CertificateRequest(verifying: changed) else { continue }
            taken += 1
            guard request.keyDigest == digest else {
                Issue.record("step \(step)\n\(budget.rerun("CertificateRequestFuzz"))")
                return
            }
        }
        #expect(taken > 0)
    }
}
