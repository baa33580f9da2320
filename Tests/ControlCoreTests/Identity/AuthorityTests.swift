import Base
import Model
import Secure
import Support
import Testing

@testable import ControlCore

private let day: Int64 = 86_400
private let start: Int64 = 1_800_000_000

private func issuer(_ label: String) throws -> Issuer {
    try Issuer.makeRoot(trustDomain: "meshbench.test", label: label, wall: start)
}

private func advance(_ authority: inout Authority, _ wall: Int64, _ haveAll: Bool) -> Bool {
    authority.advance(wall: wall, haveAllAcknowledged: haveAll)
}

private func setLife(_ authority: inout Authority, _ life: Duration, _ wall: Int64) -> Bool {
    authority.setLife(life, wall: wall)
}

@Suite struct AuthorityTests {
    @Test func theOrderOfARotation() throws {
        let (old, new) = (try issuer("old"), try issuer("new"))
        var authority = Authority(old, life: .seconds(day), wall: start)
        #expect(authority.nextStep == nil)
        #expect(authority.roots == [old.rootDigest])
        #expect(!advance(&authority, start + 100 * day, true))

        try authority.rotate(to: new, wall: start)
        #expect(authority.phase == .distributing)
        #expect(authority.roots == [old.rootDigest, new.rootDigest])
        #expect(authority.bundle == old.root + new.root)
        #expect(authority.issuer == old)
        #expect(throws: RotationRefusal.inProgress(.distributing)) {
            try authority.rotate(to: issuer("third"), wall: start)
        }
        // Whatever was issued before both were trusted lasts until then, and that second too.
        #expect(!advance(&authority, start + day, false))
        #expect(authority.nextStep == start + day + 1)
        #expect(advance(&authority, start + day + 1, false))

        #expect(authority.phase == .draining)
        #expect(authority.issuer == new)
        #expect(authority.controlIssuer == old)
        #expect(authority.roots == [old.rootDigest, new.rootDigest])
        // That all trust the new root does not end what the old one has issued.
        #expect(!advance(&authority, start + 2 * day + 1, true))
        #expect(advance(&authority, start + 2 * day + 2, false))

        #expect(authority.phase == .steady)
        #expect(authority.roots == [new.rootDigest])
        #expect(authority.controlIssuer == new)
        #expect(throws: RotationRefusal.sameIssuer) { try authority.rotate(to: new, wall: start) }
    }

    @Test func acknowledgementsMakeItFaster() throws {
        var authority = Authority(try issuer("old"), life: .seconds(day), wall: start)
        try authority.rotate(to: try issuer("new"), wall: start)
        #expect(advance(&authority, start, true))
        #expect(authority.phase == .draining)
        #expect(authority.nextStep == start + day + 1)
    }

    @Test func aShorterLifeDoesNotForgetTheLonger() throws {
        var authority = Authority(try issuer("old"), life: .seconds(day), wall: start)
        #expect(!setLife(&authority, .seconds(day), start))
        #expect(setLife(&authority, .seconds(10), start + 5))
        try authority.rotate(to: try issuer("new"), wall: start + 6)
        #expect(authority.nextStep == start + 5 + day + 1)
        #expect(setLife(&authority, .seconds(2 * day), start + 7))
        #expect(authority.nextStep == start + 6 + 2 * day + 1)
    }

    @Test func certificatesEndWithTheirIssuer() throws {
        let issuer = try issuer("a")
        let authority = Authority(issuer, life: .seconds(day), wall: start)
        #expect(
            authority.validity(of: issuer, wall: start)
                .map { [$0.notBefore, $0.notAfter] } == [start - 3600, start + day])
        let end = issuer.notAfter
        #expect(authority.validity(of: issuer, wall: end - 5)?.notAfter == end)
        #expect(authority.validity(of: issuer, wall: end) == nil)
    }

    /// Nothing of it is valid, so nobody has to be waited for; else nothing could be issued, and
    /// nothing begin, until the change came to its end.
    @Test func anIssuerThatHasEndedIsReplacedAtOnce() throws {
        let (old, new) = (try issuer("old"), try issuer("new"))
        let late = try Issuer.makeRoot(
            trustDomain: "meshbench.test", label: "late", wall: start + 5 * 365 * day)
        var authority = Authority(old, life: .seconds(day), wall: start)
        #expect(throws: RotationRefusal.ended) {
            try authority.rotate(to: new, wall: new.notAfter)
        }
        try authority.rotate(to: late, wall: old.notAfter)
        #expect(authority.phase == .steady && authority.issuers == [late])
        // It ends while a change is under way.
        authority = Authority(old, life: .seconds(day), wall: start)
        try authority.rotate(to: late, wall: old.notAfter - 10)
        #expect(authority.phase == .distributing && authority.nextStep == old.notAfter + 1)
        #expect(!advance(&authority, old.notAfter, false))
        #expect(advance(&authority, old.notAfter + 1, false))
        #expect(authority.phase == .steady && authority.issuers == [late])
    }

    @Test func theStoreKeepsAllOfIt() throws {
        var authority = Authority(try issuer("old"), life: .seconds(day), wall: start)
        for _ in 0..<3 {
            #expect(try Authority(storeValue: authority.storeValue) == authority)
            if authority.phase == .steady {
                _ = authority.setLife(.seconds(60), wall: start + 1)
                try authority.rotate(to: try issuer("new"), wall: start + 2)
            } else {
                _ = authority.advance(wall: start + 9 * day, haveAllAcknowledged: true)
            }
        }
        let value = authority.storeValue
        for end in stride(from: 0, to: value.count - 1, by: 97) {
            #expect(throws: IdentityDamage.self) { try Authority(storeValue: Array(value[..<end])) }
        }
    }
}

/// A mesh whose proxies join, renew, lose touch and come back while roots change over and over:
/// whoever has a valid certificate can verify everybody else's, and the control plane's. One event
/// a step.
@Suite struct AuthorityFuzz {
    private struct Proxy {
        var root: String
        var trusts: [String]
        var notAfter: Int64
        /// Whether it has acknowledged what the control plane trusts now.
        var hasAcknowledged: Bool
        /// Nobody hears of it after it has joined, and yet others talk to it.
        var isLost = false
    }

    /// - Returns: what went wrong, and how many rotations came to an end.
    private func run(_ random: inout SeededRandom, steps: Int) throws -> (String?, Int) {
        // Keys take their time to make, and only their digests matter here.
        let pool = try (0..<6).map { try issuer("\($0)") }
        var life: Int64 = 100
        var authority = Authority(pool[0], life: .seconds(life), wall: start)
        var proxies: [Proxy] = []
        var wall = start
        var ended = 0
        func issued(_ authority: Authority) -> Proxy {
            Proxy(
                root: authority.issuer.rootDigest, trusts: authority.roots,
                notAfter: authority.validity(of: authority.issuer, wall: wall)?.notAfter ?? 0,
                hasAcknowledged: true)
        }
        for step in 0..<steps {
            let before = authority
            switch random.below(12) {
            case 0: wall += Int64(random.below(30))
            case 1: wall += 1
            case 2:
                guard proxies.count < 30 else { break }
                proxies.append(issued(authority))
                proxies[proxies.count - 1].isLost = random.below(4) == 0
            case 3, 4, 5:
                let heard = proxies.indices.filter { !proxies[$0].isLost }
                guard !heard.isEmpty else { break }
                proxies[heard[random.below(heard.count)]] = issued(authority)
            case 6, 7:
                // A push that was acknowledged.
                let heard = proxies.indices.filter { !proxies[$0].isLost }
                guard !heard.isEmpty else { break }
                let place = heard[random.below(heard.count)]
                proxies[place].trusts = authority.roots
                proxies[place].hasAcknowledged = true
            case 8:
                if authority.phase == .steady {
                    try authority.rotate(
                        to: pool.filter { $0 != authority.issuer }[random.below(5)], wall: wall)
                }
            case 9:
                // Seldom: each waits for what was issued under a longer one.
                guard random.below(20) == 0 else { break }
                life = [20, 100, 300][random.below(3)]
                _ = authority.setLife(.seconds(life), wall: wall)
            default:
                if authority.advance(
                    wall: wall, haveAllAcknowledged: proxies.allSatisfy(\.hasAcknowledged)),
                    authority.phase == .steady
                {
                    ended += 1
                }
            }
            if before.roots != authority.roots {
                for place in proxies.indices { proxies[place].hasAcknowledged = false }
            }
            proxies.removeAll { $0.notAfter < wall }
            for proxy in proxies {
                let others = proxies.map(\.root) + [authority.controlIssuer.rootDigest]
                guard others.allSatisfy(proxy.trusts.contains) else {
                    return ("step \(step): one does not trust another, \(authority.phase)", ended)
                }
                guard authority.roots.contains(proxy.root) else {
                    return ("step \(step): the control plane does not trust a proxy", ended)
                }
            }
        }
        return (nil, ended)
    }

    @Test func everybodyTrustsEverybody() throws {
        let budget = FuzzBudget.current(seed: 1, steps: 8000)
        var random = SeededRandom(seed: budget.seed)
        let (failure, ended) = try run(&random, steps: budget.steps)
        if let failure { Issue.record("\(failure)\n\(budget.rerun("AuthorityFuzz"))") }
        #expect(ended > 10)
    }
}

@Suite struct CertificateRecordTests {
    /// Two control planes have noted renewals of one lineage: the later certificate counts, and
    /// neither forgets it sooner than the other, nor that it was taken back.
    @Test func twoRecordsAreOne() throws {
        var random = SeededRandom(seed: 1)
        let identity = try #require(
            SPIFFEID(MeshName("echo"), trustDomain: SPIFFEID.standardTrustDomain))
        let first = CertificateRecord(
            service: MeshName("echo"), proxy: "p", identity: identity,
            serial: CertificateSerial(&random), wall: start, notAfter: start + 10 * day)
        var later = first
        _ = later.renew(
            first.serial.next(&random), identity: identity, wall: start + 5, notAfter: start + day)
        later.keptUntil = start + 2 * day
        var revoked = first
        revoked.revoked = start + 1
        for (one, two) in [(first, later), (later, first)] {
            let merged = one.merged(with: two)
            #expect(merged.serial == later.serial && merged.notAfter == later.notAfter)
            #expect(merged.keptUntil == first.keptUntil && merged.revoked == nil)
        }
        for (one, two) in [(revoked, later), (later, revoked)] {
            let merged = one.merged(with: two)
            #expect(merged.serial == later.serial && merged.revoked == start + 1)
        }
    }
}
