import Base
import Model
import Testing

@testable import ProxyCore

/// Whose turn it is.
@Suite struct UpstreamsTests {
    private static func configuration(
        _ weights: [Int], from first: Int = 0
    ) -> ProxyConfiguration {
        let endpoints = weights.enumerated().map {
            ProxyConfiguration.Endpoint("127.0.0.1:\(first + $0 + 1)", weight: $1)
        }
        return ProxyConfiguration(
            listeners: [], routes: [], clusters: [.init(name: "c", endpoints: endpoints)])
    }

    private static func turns(
        _ upstreams: inout Upstreams, _ count: Int, _ random: inout SeededRandom
    ) -> String {
        (0..<count).map { _ in
            let endpoint = upstreams.select(0, HostWish(), now: .zero, &random) ?? -1
            return String(upstreams.addresses[endpoint].suffix(1))
        }.joined()
    }

    /// Equal endpoints in their order, from one by chance on; others spread by weight.
    @Test(
        arguments: [
            ([1, 1, 1], "123123"), ([3, 3], "1212"), ([1], "11"), ([5, 1, 1], nil),
            ([1, 2, 3], nil),
        ] as [([Int], String?)])
    func turnsAreSpread(_ weights: [Int], _ order: String?) {
        var random = SeededRandom(seed: 1)
        var upstreams = Upstreams(Self.configuration(weights))
        let sum = order == nil ? weights.reduce(0, +) : weights.count
        let found = Self.turns(&upstreams, 2 * sum, &random)
        if let order { #expect((order + order).contains(found)) }
        #expect(found.prefix(sum) == found.suffix(sum))
        for (i, weight) in weights.enumerated() {
            let count = found.prefix(sum).count { $0 == Character(String(i + 1)) }
            #expect(count == (order == nil ? weight : 1), "\(found)")
        }
    }

    /// Over one round of all weights each has exactly its share.
    @Test func sharesAreExact() {
        var random = SeededRandom(seed: 1)
        for _ in 0..<50 {
            let weights = (0...random.below(9)).map { _ in 1 + random.below(30) }
            var upstreams = Upstreams(Self.configuration(weights))
            let sum = weights.reduce(0, +)
            let rounds = Set(weights).count == 1 ? weights.count : sum
            var taken = [Int](repeating: 0, count: weights.count)
            for _ in 0..<rounds {
                taken[upstreams.select(0, HostWish(), now: .zero, &random) ?? 0] += 1
            }
            #expect(taken == (rounds == sum ? weights : weights.map { _ in 1 }), "\(weights)")
        }
    }

    /// Turns go on across a configuration that leaves the cluster as it is.
    @Test(arguments: [[1, 1, 1], [2, 1, 1]]) func turnsGoOnAfterAReload(_ weights: [Int]) {
        var (one, two) = (SeededRandom(seed: 1), SeededRandom(seed: 1))
        var whole = Upstreams(Self.configuration(weights))
        var reloaded = Upstreams(Self.configuration(weights))
        for _ in 0..<12 {
            let expected = Self.turns(&whole, 1, &one)
            let found = Self.turns(&reloaded, 1, &two)
            #expect(found == expected)
            reloaded.adopt(Self.configuration(weights), now: .zero)
        }
    }

    /// A mesh whose endpoints change often must not favour those that stand first.
    @Test(arguments: [[1, 1, 1], [1, 1, 4]]) func changesFavourNobody(_ weights: [Int]) {
        var random = SeededRandom(seed: 1)
        var upstreams = Upstreams(Self.configuration(weights))
        var counts: [String: Int] = [:]
        let rounds = 3_000
        for round in 0..<rounds {
            // The fourth one comes and goes; whom its requests go to is not looked at.
            upstreams.adopt(
                Self.configuration(weights + (round % 2 == 0 ? [1] : [])), now: .zero)
            counts[Self.turns(&upstreams, 1, &random), default: 0] += 1
        }
        let sum = weights.reduce(0, +)
        let known = (1...3).reduce(0) { $0 + counts[String($1), default: 0] }
        for (i, weight) in weights.enumerated() {
            let share = Double(weight) / Double(sum)
            let found = Double(counts[String(i + 1), default: 0]) / Double(known)
            // A first turn by chance favours large weights: of 1, 1 and 4 it is 4's in 37 of 48.
            #expect(abs(found - share) < (weight == weights[0] ? 0.07 : 0.13), "\(counts)")
        }
    }

    @Test func weightsMayChangeByMuch() {
        var random = SeededRandom(seed: 1)
        var upstreams = Upstreams(Self.configuration([1_000_000, 1, 1]))
        _ = Self.turns(&upstreams, 5, &random)
        upstreams.adopt(Self.configuration([1, 2, 1]), now: .zero)
        let order = Self.turns(&upstreams, 40, &random)
        for (endpoint, share) in [("1", 10), ("2", 20), ("3", 10)] {
            #expect(order.count { String($0) == endpoint } == share)
        }
    }

    private static func judged(_ algorithm: BalancePolicy.Algorithm, after failures: Int)
        -> ProxyConfiguration
    {
        var configuration = configuration([1, 1])
        configuration.clusters[0].balance.algorithm = algorithm
        configuration.clusters[0].balance.panicThreshold = 0
        configuration.clusters[0].outlier = OutlierPolicy(
            consecutive5xx: .init(failures, enforcing: 100), mostPercent: 100)
        return configuration
    }

    /// What is counted for all workers is what is in flight, whatever configuration it began under.
    @Test func anotherAlgorithmFindsTheAttemptsInFlight() {
        var random = SeededRandom(seed: 1)
        let commons = ProxyCommons()
        var upstreams = Upstreams(Self.judged(.roundRobin, after: 5), commons)
        let other = Upstreams(Self.judged(.leastRequest, after: 5), commons)
        _ = (upstreams.began(0, now: .zero), upstreams.began(0, now: .zero))
        func end() {
            upstreams.ended(
                0, .answered, probe: 0, latency: .zero, now: .zero, &random)
        }
        upstreams.adopt(Self.judged(.leastRequest, after: 5), now: .zero)
        #expect(upstreams.endpoints[0].active == 2 && other.endpoints[0].active == 2)
        end()
        #expect(upstreams.endpoints[0].active == 1 && other.endpoints[0].active == 1)
        upstreams.adopt(Self.judged(.random, after: 5), now: .zero)
        #expect(upstreams.endpoints[0].active == 1 && other.endpoints[0].active == 0)
        upstreams.adopt(Self.judged(.leastRequest, after: 5), now: .zero)
        end()
        #expect(upstreams.endpoints[0].active == 0 && other.endpoints[0].active == 0)
    }

    /// Under another policy nothing is known of endpoints, and what is found out counts at once.
    @Test func anotherPolicyMakesTheChoiceAnew() {
        var random = SeededRandom(seed: 1)
        let commons = ProxyCommons()
        var upstreams = Upstreams(Self.judged(.roundRobin, after: 1), commons)
        func fail(_ endpoint: Int, _ upstreams: inout Upstreams) {
            let probe = upstreams.began(endpoint, now: .zero)
            upstreams.answered(endpoint, status: 500, latency: .zero, now: .zero, &random)
            upstreams.ended(
                endpoint, .answered, probe: probe, latency: .zero, now: .zero, &random)
        }
        fail(0, &upstreams)
        #expect(Self.turns(&upstreams, 2, &random) == "22")
        upstreams.adopt(Self.judged(.roundRobin, after: 2), now: .zero)
        // Another worker ejects the other endpoint before this one chooses again.
        var other = Upstreams(Self.judged(.roundRobin, after: 2), commons)
        for _ in 0..<2 { fail(1, &other) }
        #expect(Self.turns(&upstreams, 2, &random) == "11")
    }

    /// The endpoint is spoken with otherwise while its probe is on its way, and stays on its board
    /// as another worker has it: whoever comes next is the probe.
    @Test func anotherMannerGivesTheProbeUp() throws {
        var random = SeededRandom(seed: 1)
        let commons = ProxyCommons()
        var configuration = Self.configuration([1])
        configuration.clusters[0].accrual = AccrualPolicy(failures: 1)
        var upstreams = Upstreams(configuration, commons)
        var other = Upstreams(configuration, commons)
        let wasOpen = upstreams.began(0, now: .zero) == 0
        upstreams.answered(0, status: 500, latency: .zero, now: .zero, &random)
        upstreams.ended(0, .answered, probe: 0, latency: .zero, now: .zero, &random)
        let due = try #require(upstreams.nextDeadline)
        upstreams.expire(now: due, &random)
        upstreams.count(1, at: 0)
        let probe = upstreams.began(0, now: due)
        #expect(wasOpen && probe > 0)
        configuration.clusters[0].speech = .http2
        upstreams.adopt(configuration, now: due)
        other.adopt(configuration, now: due)
        upstreams.ended(0, .cancelled, probe: probe, latency: .zero, now: due, &random)
        let next = upstreams.select(0, HostWish(), now: due, &random)
        try #require(next == 1)
        let second = upstreams.began(1, now: due)
        #expect(second > 0 && !other.endpoints[0].isAvailable, "there is one probe")
        upstreams.ended(1, .cancelled, probe: second, latency: .zero, now: due, &random)
        #expect(other.endpoints[0].isAvailable)
    }

    @Test func allMayGoAndComeBack() {
        var random = SeededRandom(seed: 1)
        var upstreams = Upstreams(Self.configuration([1, 2]))
        _ = Self.turns(&upstreams, 1, &random)
        upstreams.adopt(Self.configuration([]), now: .zero)
        let turn = upstreams.select(0, HostWish(), now: .zero, &random)
        #expect(turn == nil && !upstreams.hasPooled(0))
        upstreams.adopt(Self.configuration([1, 2], from: 4), now: .zero)
        let order = Self.turns(&upstreams, 3, &random)
        #expect(order.count { $0 == "6" } == 2)
    }
}
