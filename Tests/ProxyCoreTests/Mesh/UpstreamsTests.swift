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

    private static func turns(_ upstreams: inout Upstreams, _ count: Int) -> String {
        (0..<count).map { _ in
            let endpoint = upstreams.takeTurn(0) ?? -1
            return String(upstreams.addresses[endpoint].suffix(1))
        }.joined()
    }

    /// The order that nginx gives for these weights.
    @Test(arguments: [
        ([1, 1, 1], "123123"), ([5, 1, 1], "1121311112131"), ([2, 1], "121121"),
        ([3, 3], "1212"), ([1, 2, 3], "321323321323"), ([1], "11"),
    ])
    func turnsAreSpread(_ weights: [Int], _ order: String) {
        var upstreams = Upstreams(Self.configuration(weights))
        let found = Self.turns(&upstreams, order.count)
        #expect(found == order)
    }

    /// Over one round of all weights each has exactly its share, and never more than one turn too
    /// many or too few on the way.
    @Test func sharesAreExact() {
        var random = SeededRandom(seed: 1)
        for _ in 0..<50 {
            let weights = (0...random.below(9)).map { _ in 1 + random.below(30) }
            var upstreams = Upstreams(Self.configuration(weights))
            let sum = weights.reduce(0, +)
            let rounds = Set(weights).count == 1 ? weights.count : sum
            var taken = [Int](repeating: 0, count: weights.count)
            for _ in 0..<rounds { taken[upstreams.takeTurn(0) ?? 0] += 1 }
            #expect(taken == (rounds == sum ? weights : weights.map { _ in 1 }), "\(weights)")
        }
    }

    /// A mesh whose endpoints change often must not favour those that stand first.
    @Test(arguments: [[1, 1, 1], [2, 1, 1]]) func turnsGoOnAfterAReload(_ weights: [Int]) {
        var whole = Upstreams(Self.configuration(weights))
        var reloaded = Upstreams(Self.configuration(weights))
        for _ in 0..<12 {
            let (expected, found) = (Self.turns(&whole, 1), Self.turns(&reloaded, 1))
            #expect(found == expected)
            reloaded.adopt(Self.configuration(weights))
        }
    }

    @Test func weightsMayChangeByMuch() {
        var upstreams = Upstreams(Self.configuration([1_000_000, 1, 1]))
        _ = Self.turns(&upstreams, 5)
        upstreams.adopt(Self.configuration([1, 2, 1]))
        let order = Self.turns(&upstreams, 40)
        for (endpoint, share) in [("1", 10), ("2", 20), ("3", 10)] {
            let count = order.count { String($0) == endpoint }
            #expect(abs(count - share) <= 2, "\(endpoint): \(count)")
        }
    }

    @Test func allMayGoAndComeBack() {
        var upstreams = Upstreams(Self.configuration([1, 2]))
        _ = upstreams.takeTurn(0)
        upstreams.adopt(Self.configuration([]))
        let (turn, pooled) = (upstreams.takeTurn(0), upstreams.takePooled(0))
        #expect(turn == nil && pooled == nil)
        upstreams.adopt(Self.configuration([1, 2], from: 4))
        let order = Self.turns(&upstreams, 3)
        #expect(order.count { $0 == "6" } == 2)
    }
}
