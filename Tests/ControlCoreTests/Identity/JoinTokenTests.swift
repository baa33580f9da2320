import Base
import Model
import Support
import Testing

@testable import ControlCore

private let key = [UInt8](repeating: 7, count: 32)

private func token(
    _ service: MeshName = MeshName("cart", in: "shop"), notAfter: Int64 = 100,
    isSingleUse: Bool = true, roots: Int = 1
) -> JoinToken {
    JoinToken(
        id: String(repeating: "0f", count: 16), service: service, trustDomain: "meshbench.test",
        notAfter: notAfter, isSingleUse: isSingleUse,
        roots: (0..<roots).map { String(repeating: "a\($0)", count: 32) })
}

@Suite struct JoinTokenTests {
    @Test func whatItSaysIsReadBack() throws {
        let long = String(repeating: "x", count: 63)
        for made in [
            token(), token(isSingleUse: false, roots: 2),
            token(MeshName(long, in: long), notAfter: .max, roots: 8),
        ] {
            let text = made.text(key: key)
            #expect(text.utf8.count < JoinToken.bytesMost)
            #expect(JoinToken.claims(of: text) == made)
            #expect(try JoinToken(verifying: text, key: key, wall: 99) == made)
        }
    }

    /// The same computed by the tools of a shell: 'printf … | openssl dgst -sha256 -mac HMAC'.
    @Test func theFormatIsFixed() {
        let lines = [
            "1", String(repeating: "0f", count: 16), "shop/cart", "meshbench.test", "100", "once",
            String(repeating: "a0", count: 32),
        ]
        let payload = Base64.encodeURL(Array(lines.joined(separator: "\n").utf8))
        #expect(token().text(key: key).split(separator: ".").first.map(String.init) == payload)
    }

    @Test func refusals() {
        func refusal(_ text: String, wall: Int64 = 99, key: [UInt8] = key) -> JoinRefusal? {
            do throws(JoinRefusal) {
                _ = try JoinToken(verifying: text, key: key, wall: wall)
                return nil
            } catch {
                return error
            }
        }
        let text = token().text(key: key)
        let parts = text.split(separator: ".").map(String.init)
        let other = token(MeshName("admin", in: "shop")).text(key: key).split(separator: ".")
        #expect(refusal(text) == nil)
        #expect(refusal(text, wall: 100) == .expired(100))
        #expect(refusal(text, key: [UInt8](repeating: 8, count: 32)) == .forged)
        // The proof of one token with the text of another.
        #expect(refusal("\(other[0]).\(parts[1])") == .forged)
        let broken = [
            "", ".", "a.b", parts[0], "\(parts[0]).", ".\(parts[1])", "\(text).", "\(text)\n",
            " \(text)", "\(parts[0])=.\(parts[1])", "\(parts[0]).\(parts[1].dropLast(2))",
            "\(Base64.encodeURL(Array("1\nx".utf8))).\(parts[1])",
            String(repeating: "A", count: 1 << 20) + "." + parts[1],
        ]
        for text in broken { #expect(refusal(text) == .malformed, "\(text.prefix(99))") }
    }

    @Test func idsAreNotTheSame() {
        var random = SeededRandom(seed: 1)
        let ids = Set((0..<1000).map { _ in JoinToken.makeID(&random) })
        #expect(ids.count == 1000)
    }
}

/// Tokens with characters changed: none is taken but the one that was made. One token a step.
@Suite struct JoinTokenFuzz {
    @Test func changedTokens() {
        let budget = FuzzBudget.current(seed: 1, steps: 20_000)
        var random = SeededRandom(seed: budget.seed)
        let text = token(roots: 2).text(key: key)
        let letters = Array("ABCabc012-_.=+/ \n".utf8)
        for step in 0..<budget.steps {
            var changed = Array(text.utf8)
            for _ in 0...random.below(3) {
                let place = random.below(changed.count)
                switch random.below(4) {
                case 0: changed[place] = letters[random.below(letters.count)]
                case 1: changed.remove(at: place)
                case 2: changed.insert(letters[random.below(letters.count)], at: place)
                default: changed.swapAt(place, random.below(changed.count))
                }
            }
            let other = String(decoding: changed, as: UTF8.self)
            let isTaken = (try? JoinToken(verifying: other, key: key, wall: 0)) != nil
            guard isTaken == (other == text) else {
                Issue.record("step \(step): \(other)\n\(budget.rerun("JoinTokenFuzz"))")
                return
            }
        }
    }
}

@Suite struct CertificateLifeTests {
    @Test func renewalsAreSpreadAroundHalf() {
        var random = SeededRandom(seed: 1)
        let dues = (0..<1000).map { _ in
            CertificateRenewal.due(
                received: .zero, wall: 1_000_500_000_000, notAfter: 1_100, random: &random
            ).nanoseconds
        }
        // 99.5 s are left.
        #expect(dues.allSatisfy { (44_775_000_000...54_725_000_000).contains($0) })
        #expect(Set(dues.map { $0 / 1_000_000_000 }).count >= 9)
        let now = Instant(nanoseconds: 5)
        for end in [Int64(0), 1_000, .min] {
            #expect(
                CertificateRenewal.due(
                    received: now, wall: 1_000_500_000_000, notAfter: end, random: &random) == now)
        }
        // A clock that has gone mad.
        #expect(
            CertificateRenewal.due(received: now, wall: .min, notAfter: .max, random: &random)
                < now + .seconds(366 * 86_400))
    }

    @Test func serialNumbersHaveALineage() throws {
        var random = SeededRandom(seed: 1)
        let first = CertificateSerial(&random)
        let second = first.next(&random)
        #expect(first != second)
        #expect(first.lineage == second.lineage)
        #expect(first.lineage != CertificateSerial(&random).lineage)
        #expect(CertificateSerial(first.text) == first)
        #expect(first.text.hasPrefix(first.lineage))
        for text in ["", "00", String(repeating: "f", count: 32), first.text.uppercased() + "0"] {
            #expect(CertificateSerial(text) == nil)
        }
        for _ in 0..<1000 { #expect((0x40...0x7F).contains(CertificateSerial(&random).bytes[0])) }
    }

    @Test func recordsAreKept() throws {
        var random = SeededRandom(seed: 1)
        let identity = try #require(SPIFFEID(rawValue: "spiffe://meshbench.test/ns/shop/sa/cart"))
        var record = CertificateRecord(
            service: MeshName("cart", in: "shop"), proxy: "cart-1", identity: identity,
            serial: CertificateSerial(&random), wall: 1000, notAfter: 1010)
        func entry() -> StoreEntry {
            StoreEntry(
                key: record.key, value: record.storeValue, createRevision: 1, modRevision: 1,
                version: 1, lease: 0)
        }
        #expect(try CertificateRecord(entry()) == record)
        // Short lives are no write each.
        var writes = 0
        for wall in stride(from: Int64(1005), to: 4605, by: 5) {
            let next = record.serial.next(&random)
            if record.renew(next, identity: identity, wall: wall, notAfter: wall + 10) {
                writes += 1
            }
            #expect(record.keptUntil > record.notAfter)
        }
        #expect((5...7).contains(writes))
        record.revoked = 5000
        #expect(try CertificateRecord(entry()) == record)
        var other = entry()
        other.value.removeLast("revoked 5000\n".utf8.count)
        #expect(throws: IdentityDamage.self) { try CertificateRecord(other) }
        let use = TokenUse(keyDigest: [1, 2, 3], lineage: record.serial.lineage, notAfter: 9)
        let used = StoreEntry(
            key: TokenUse.key("a"), value: use.storeValue, createRevision: 1, modRevision: 1,
            version: 1, lease: 0)
        #expect(try TokenUse(used) == use)
    }
}
