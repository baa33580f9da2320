import Base
import Model
import Testing

@testable import ProxyCore

/// Endpoints that were ejected together and come back.
@Suite struct ReturnTests {
    /// How many return at each sweep, of 60 that were ejected in one moment.
    private static func returns(jitter: Duration) -> [Int] {
        var random = SeededRandom(seed: 1)
        let policy = OutlierPolicy(jitter: jitter, mostPercent: 100)
        let board = HostBoard(cluster: "c", outlier: policy, accrual: nil)
        var plan = ProxyConfiguration.Cluster(name: "c", endpoints: [])
        plan.outlier = policy
        let rules = HostRules(plan)
        let marks = (0..<60).map { board.join("\($0)", isHealthy: true, now: .zero) }
        board.arm(now: .zero)
        for mark in marks {
            for _ in 0..<5 {
                let found = mark.count(status: 500, rules, now: .zero)
                if !found.isEmpty { board.act(on: found, mark, now: .zero, &random) }
            }
        }
        #expect(board.tallies.active == 60)
        return (1...8).map { sweep in
            let before = board.tallies.returned
            board.expire(now: .zero + .seconds(Int64(sweep) * 10), &random)
            return board.tallies.returned - before
        }
    }

    /// Without jitter all return at once; with one they return over several sweeps, and no sweep
    /// brings back much more than its part.
    @Test func jitterKeepsTheHerdApart() {
        #expect(Self.returns(jitter: .zero) == [0, 0, 60, 0, 0, 0, 0, 0])
        let spread = Self.returns(jitter: .seconds(40))
        #expect(spread.reduce(0, +) == 60 && spread[..<3].allSatisfy { $0 == 0 })
        // 15 each in the mean of four, binomial.
        #expect(spread[3..<7].allSatisfy { (3...28).contains($0) } && spread[7] == 0, "\(spread)")
    }
}
