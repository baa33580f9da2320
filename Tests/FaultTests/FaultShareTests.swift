import Base
import Fault
import Model
import Testing

/// What faults do to ten thousand requests with identifiers as the load generator gives them.
@Suite struct FaultShareTests {
    private static let count = 10_000
    private static let requests = (0..<count).map { index in
        let text = "00000000-0000-4000-8000-" + hex(index, 12)
        return Array(text.utf8).withBytes { FaultRequest(id: $0) }
    }

    private static func hex(_ value: Int, _ digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: digits - text.count) + text
    }

    private static func held(_ rules: [FaultRule]) -> [HeldFault] {
        LeaseTable(isProxy: true, standing: rules, now: .zero).held
    }

    private static func rule(
        _ name: String, seed: UInt64 = 7, chance: Double, delay: DelayDistribution? = nil,
        abort: FaultRule.Abort? = nil
    ) -> FaultRule {
        FaultRule(
            name: name, seed: seed, point: .clientEgress, chance: chance, delay: delay,
            abort: abort)
    }

    /// Four standard deviations of a binomial count: one run in 16,000 lies outside, and the draws
    /// are the same in every run.
    private func isBinomial(_ hits: Int, _ chance: Double) -> Bool {
        let n = Double(Self.count)
        return abs(Double(hits) - n * chance) < 4 * (n * chance * (1 - chance)).squareRoot()
    }

    @Test(arguments: [1, 2, 42, 0xFFFF_FFFF_FFFF_FFFF] as [UInt64])
    func sharesAreBinomialAndIndependent(seed: UInt64) {
        let faults = Self.held([
            Self.rule("slow", seed: seed, chance: 0.2, delay: .fixed(.milliseconds(50))),
            Self.rule("down", seed: seed, chance: 0.1, abort: .http(503)),
        ])
        var (delayed, aborted, both) = (0, 0, 0)
        for request in Self.requests {
            var effect = FaultEffect()
            for fault in faults { effect.add(fault.decide(request, FaultFields())) }
            let isDelayed = effect.delay == .milliseconds(50)
            let isAborted = effect.abort == .http(503)
            if isDelayed { delayed += 1 }
            if isAborted { aborted += 1 }
            if isDelayed, isAborted { both += 1 }
        }
        #expect(isBinomial(delayed, 0.2), "\(delayed)")
        #expect(isBinomial(aborted, 0.1), "\(aborted)")
        #expect(isBinomial(both, 0.02), "\(both)")
        let reports = faults.map { $0.report(wallOffset: 0) }
        #expect(reports.map(\.seen) == [10_000, 10_000])
        #expect(reports.map(\.hit) == [UInt64(delayed), UInt64(aborted)])
    }

    @Test func theSameRequestsAreHitAgain() {
        func hits(_ name: String, _ seed: UInt64, _ chance: Double) -> [Bool] {
            let fault = Self.held([
                Self.rule(name, seed: seed, chance: chance, abort: .http(500))
            ])[0]
            return Self.requests.map { !fault.decide($0, FaultFields()).isNone }
        }
        let first = hits("a", 1, 0.1)
        #expect(first == hits("a", 1, 0.1))
        // Another seed, or name, hits others: of 1000, some 100 are the same by chance.
        for other in [hits("a", 2, 0.1), hits("b", 1, 0.1)] {
            #expect(zip(first, other).count { $0 && $1 } < 150)
        }
        let more = hits("a", 1, 0.3)
        #expect(zip(first, more).allSatisfy { !$0 || $1 }, "a larger chance left one out")
    }

    @Test func eachAttemptDrawsAnew() {
        let fault = Self.held([Self.rule("a", chance: 0.5, abort: .http(500))])[0]
        var both = 0
        for request in Self.requests {
            var second = request
            second.attempt = 2
            let isHit = !fault.decide(request, FaultFields()).isNone
            if isHit, !fault.decide(second, FaultFields()).isNone { both += 1 }
        }
        #expect(isBinomial(both, 0.25), "\(both)")
    }

    @Test(arguments: [0.0, 1.0])
    func noneAndAll(chance: Double) {
        let fault = Self.held([Self.rule("a", chance: chance, abort: .grpc(14))])[0]
        let hits = Self.requests.count { fault.decide($0, FaultFields()).abort == .grpc(14) }
        #expect(hits == (chance == 1 ? Self.count : 0))
    }

    @Test func onlyTheFirstAttempts() {
        var rule = Self.rule("a", chance: 1, abort: .http(503))
        rule.point = .perAttempt
        rule.firstAttempts = 2
        let fault = Self.held([rule])[0]
        let hits = (1...4).map { !fault.decide(.init(hash: 1, attempt: $0), .init()).isNone }
        #expect(hits == [true, true, false, false])
        let report = fault.report(wallOffset: 0)
        #expect(report.seen == 2 && report.hit == 2, "it is about no others")
    }

    @Test func faultsGoTogether() {
        var effect = FaultEffect()
        for rule in [
            Self.rule("a", chance: 1, delay: .fixed(.milliseconds(5)), abort: .http(500)),
            Self.rule("b", chance: 1, delay: .fixed(.milliseconds(7)), abort: .http(503)),
        ] {
            effect.add(Self.held([rule])[0].decide(Self.requests[0], FaultFields()))
        }
        #expect(effect.delay == .milliseconds(12))
        #expect(effect.abort == .http(500), "the first abort holds")
    }
}
