import Base
import Support
import Testing

/// The proxy between well and badly behaved clients and servers. One client a step.
@Suite struct ProxyFuzz {
    @Test func everyRequestGetsItsOwnAnswer() {
        let budget = FuzzBudget.current(seed: 4, steps: 160)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("ProxyFuzz"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        var done = 0
        while done < steps {
            let count = 1 + random.below(6)
            let own = random.next()
            var traffic = ProxyTraffic(seed: own)
            if let failure = traffic.run(clients: count).failure {
                return "ProxyTraffic(seed: \(own)).run(clients: \(count)): \(failure)"
            }
            done += count
        }
        return nil
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func theSameSeedGivesTheSameTrace(_ seed: UInt64) {
        var first = ProxyTraffic(seed: seed)
        var again = ProxyTraffic(seed: seed)
        var other = ProxyTraffic(seed: seed + 100)
        let trace = first.run(clients: 4).trace
        #expect(again.run(clients: 4).trace == trace)
        #expect(other.run(clients: 4).trace != trace)
    }
}
