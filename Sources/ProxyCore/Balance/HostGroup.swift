// Endpoints of which one is taken by one algorithm: all that serve at a level, or all of a level in
// panic. It is made anew when endpoints become available or cease to be, which allocates; taking
// one allocates nothing.

import Base
import Model

/// An endpoint of a group.
struct GroupMember {
    var endpoint: Int32
    var weight: Double
    var name: String
}

/// Endpoints to choose from.
struct HostGroup {
    /// Endpoints by number.
    private var members: [Int32] = []
    private var weights: [Double] = []
    private var algorithm = BalancePolicy.Algorithm.roundRobin
    private var choices = 2
    /// Weights differ, or rise in a slow start.
    private var isWeighted = false
    private var queue = TurnQueue()
    private var alias = AliasTable()
    private var ring = HashRing()
    private var table = MaglevTable()
    /// Whose turn it is, where all weights are equal.
    private var next = 0

    init() {}

    /// - Parameters:
    ///   - turn: where the turn of equal endpoints begins.
    ///   - isRising: weights rise: some endpoints are in their slow start.
    ///   - weight: what an endpoint's weight is now.
    init(
        _ members: [GroupMember], _ policy: BalancePolicy, turn: Int, isRising: Bool,
        _ random: inout SeededRandom, weight: (_ member: GroupMember) -> Double
    ) {
        self.members = members.map(\.endpoint)
        weights = members.map(\.weight)
        algorithm = policy.algorithm
        choices = policy.choices
        isWeighted = weights.contains { $0 != weights[0] } || isRising && members.count > 1
        next = members.isEmpty ? 0 : turn % members.count
        let named = { members.map { (name: $0.name, weight: $0.weight) } }
        switch algorithm {
        case .roundRobin, .leastRequest:
            if isWeighted { queue = TurnQueue(members.map(weight), &random) }
        case .random: if isWeighted { alias = AliasTable(weights) }
        case .peakEWMA: break
        case .ringHash: ring = HashRing(named(), leastPoints: policy.ringSize)
        case .maglev: table = MaglevTable(named(), size: policy.tableSize)
        }
    }

    var isEmpty: Bool { members.isEmpty }
    var count: Int { members.count }
    /// Where the turn of equal endpoints stands.
    var turn: Int { next }

    /// One of the group.
    /// - Parameters:
    ///   - hash: of the request, for algorithms that hash.
    ///   - attempt: 0, or how often one was drawn that was to be avoided.
    ///   - endpoints: the worker's, by number.
    /// - Precondition: the group is not empty.
    mutating func take(
        hash: UInt64, attempt: Int, _ terms: HostTerms, _ endpoints: inout [Endpoint],
        _ random: inout SeededRandom
    ) -> Int {
        switch algorithm {
        case .ringHash: return Int(members[ring.member(hash, attempt: attempt)])
        case .maglev: return Int(members[table.member(hash, attempt: attempt)])
        case .random:
            let i = isWeighted ? alias.draw(&random) : random.below(members.count)
            return Int(members[i])
        case .peakEWMA: return takeFastest(terms, &endpoints, &random)
        case .roundRobin where isWeighted:
            let i = queue.first
            queue.advance(terms.weight(weights[i], endpoints[Int(members[i])]))
            return Int(members[i])
        case .leastRequest where isWeighted:
            // The endpoint's next turn is the later the more it has to do (Envoy's weights:
            // `weight / (active + 1)`).
            let i = queue.first
            let endpoint = endpoints[Int(members[i])]
            queue.advance(terms.weight(weights[i], endpoint) / Double(endpoint.active + 1))
            return Int(members[i])
        case .roundRobin:
            let i = next
            next = i + 1 < members.count ? i + 1 : 0
            return Int(members[i])
        case .leastRequest: return takeIdlest(endpoints, &random)
        }
    }

    /// Of some drawn, the one with the least to do; the first of those that are equal.
    private func takeIdlest(_ endpoints: [Endpoint], _ random: inout SeededRandom) -> Int {
        var best = Int(members[random.below(members.count)])
        var least = endpoints[best].active
        for _ in 1..<max(2, choices) {
            let other = Int(members[random.below(members.count)])
            let active = endpoints[other].active
            if active < least { (best, least) = (other, active) }
        }
        return best
    }

    /// Of two that differ, the one at which less time is expected to pass.
    private func takeFastest(
        _ terms: HostTerms, _ endpoints: inout [Endpoint], _ random: inout SeededRandom
    ) -> Int {
        guard members.count > 1 else { return Int(members[0]) }
        let i = random.below(members.count)
        let drawn = random.below(members.count - 1)
        let j = drawn < i ? drawn : drawn + 1
        let first = terms.cost(&endpoints[Int(members[i])]) / weights[i]
        let second = terms.cost(&endpoints[Int(members[j])]) / weights[j]
        return Int(members[second < first ? j : i])
    }
}
