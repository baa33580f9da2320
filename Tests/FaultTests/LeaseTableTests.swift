import Base
import Fault
import Model
import Testing

@Suite struct LeaseTableTests {
    private let start = Instant(nanoseconds: 1_000_000_000)
    private let rule = FaultRule(name: "", seed: 1, point: .perAttempt, abort: .http(503))

    private func table(_ standing: [FaultRule] = []) -> LeaseTable {
        LeaseTable(isProxy: true, standing: standing, now: start)
    }

    private func order(_ rule: FaultRule, _ ttl: Int = 1000) -> FaultOrder {
        FaultOrder(rule: rule, ttlMs: ttl)
    }

    @Test func aLeaseEndsByTheClock() throws {
        var leases = table()
        let isNew = try leases.hold("a", order(rule), now: start)
        #expect(isNew)
        let fault = leases.held[0]
        let end = start + .seconds(1)
        #expect(leases.nextEnd == end)
        #expect(fault.holds(at: end - .nanoseconds(1)))
        #expect(!fault.holds(at: end), "whoever has it at hand sees its end at once")
        let ends = [leases.expire(end - .nanoseconds(1)), leases.expire(end)]
        #expect(ends == [false, true])
        #expect(leases.held.isEmpty && leases.nextEnd == nil)
    }

    @Test func aRenewalKeepsTheCounts() throws {
        var leases = table()
        _ = try leases.hold("a", order(rule), now: start)
        let fault = leases.held[0]
        _ = fault.decide(FaultRequest(hash: 1), FaultFields())
        let isNew = try leases.hold("a", order(rule, 2000), now: start + .milliseconds(500))
        #expect(!isNew)
        #expect(leases.held[0] === fault)
        #expect(fault.until == start + .milliseconds(2500))
        #expect(fault.report(wallOffset: 10).seen == 1)
        #expect(fault.report(wallOffset: 10).sinceNs == start.nanoseconds + 10)
    }

    @Test func anotherRuleTakesThePlace() throws {
        var leases = table()
        _ = try leases.hold("a", order(rule), now: start)
        let old = leases.held[0]
        var other = rule
        other.chance = 0.5
        let isNew = try leases.hold("a", order(other), now: start + .milliseconds(1))
        #expect(isNew)
        #expect(leases.held.count == 1 && leases.held[0] !== old)
        #expect(!old.holds(at: start + .milliseconds(1)))
    }

    @Test func aLeaseThatHasEndedIsNotRenewedButHeldAnew() throws {
        var leases = table()
        _ = try leases.hold("a", order(rule), now: start)
        let old = leases.held[0]
        let isNew = try leases.hold("a", order(rule), now: start + .seconds(2))
        #expect(isNew)
        #expect(leases.held[0] !== old)
    }

    @Test func dropping() throws {
        var leases = table([
            FaultRule(name: "fixed", seed: 1, point: .clientEgress, abort: .http(500))
        ])
        _ = try leases.hold("a", order(rule), now: start)
        let fault = leases.held[1]
        let later = start + .milliseconds(3)
        // The last is no lease.
        let dropped = ["a", "a", "fixed"].map { leases.drop($0, now: later) }
        #expect(dropped == [true, false, false])
        #expect(!fault.holds(at: later))
        #expect(throws: LeaseRefusal.standing) {
            _ = try leases.hold("fixed", order(rule), now: start)
        }
    }

    @Test func whatStandsIsReplacedAndLeasesStay() throws {
        let (one, two) = (
            FaultRule(name: "one", seed: 1, point: .clientEgress, abort: .http(500)),
            FaultRule(name: "two", seed: 1, point: .clientEgress, abort: .http(500))
        )
        var leases = table([one, two])
        _ = try leases.hold("a", order(rule), now: start)
        let before = leases.held
        leases.replace(standing: [two], now: start + .milliseconds(1))
        #expect(leases.held.map(\.rule.name) == ["two", "a"])
        #expect(leases.held[0] === before[1] && leases.held[1] === before[2])
        #expect(!before[0].holds(at: start + .milliseconds(1)))
    }

    @Test func thereIsABound() throws {
        var leases = table()
        for i in 0..<LeaseTable.most { _ = try leases.hold("\(i)", order(rule), now: start) }
        #expect(throws: LeaseRefusal.tooMany) { _ = try leases.hold("x", order(rule), now: start) }
        let isRenewed = try !leases.hold("3", order(rule), now: start)
        // Those that have ended make room.
        let isNew = try leases.hold("x", order(rule), now: start + .seconds(1))
        #expect(isRenewed && isNew)
    }

    @Test(
        arguments: [
            ("", 1000, nil), ("a b", 1000, nil), (String(repeating: "a", count: 65), 1000, nil),
            ("a", 0, nil), ("a", -5, nil), ("a", 60_001, nil), ("a", Int.max, nil),
            ("a", 1000, "b"),
        ] as [(String, Int, String?)])
    func whatCannotBe(name: String, ttl: Int, inner: String?) {
        var leases = table()
        var rule = rule
        rule.name = inner ?? ""
        #expect(throws: LeaseRefusal.self) {
            _ = try leases.hold(name, order(rule, ttl), now: start)
        }
        #expect(leases.held.isEmpty)
    }

    @Test func pointsOfOthersAreRefused() {
        var proxy = table()
        var app = LeaseTable(isProxy: false, now: start)
        let slow = FaultRule(name: "", seed: 1, point: .app, delay: .fixed(.milliseconds(1)))
        #expect(throws: LeaseRefusal.self) { _ = try proxy.hold("a", order(slow), now: start) }
        #expect(throws: LeaseRefusal.self) { _ = try app.hold("a", order(rule), now: start) }
        #expect(throws: Never.self) { _ = try app.hold("a", order(slow), now: start) }
    }
}
