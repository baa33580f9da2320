// Which endpoint of one cluster a request goes to, for one worker:
//
//     request's fields ─▶ subset ─▶ level, by health and load ─▶ group ─▶ endpoint, by algorithm
//
// Within a level the endpoints of the proxy's own zone are a level of their own, before the others.

import Base
import Model

/// One endpoint of a cluster. An address that stands twice in it is one endpoint and two places.
struct BalancerHost: Equatable {
    var endpoint: Int32
    var weight: Int
    var address: String
    /// The place of its level in the order of levels.
    var level: Int
    var isHealthy: Bool
    /// The keys of the subsets that it belongs to; 0 is that of all.
    var subsets: [UInt64]
}

/// The choice of endpoints of one cluster.
struct Balancer {
    /// Endpoints with the labels that a request asks for.
    private struct Subset {
        /// Places in `hosts`.
        var hosts: [Int32]
        var levels: [Level] = []
        var loads = LevelLoads([], threshold: 0)
        /// The version of the board that it is made for; 0: none.
        var version: UInt64 = 0
        /// Until then weights rise.
        var rising = Instant.zero
    }

    private struct Level {
        var group = HostGroup()
        /// What of it serves.
        var hosts: [Int32] = []
    }

    let policy: BalancePolicy
    private let threshold: Double
    private var hosts: [BalancerHost]
    private var subsets: [Subset] = []
    /// The place of a key's subset. Bound: of each endpoint those of its labels.
    private var places: [UInt64: Int] = [:]
    /// Of each endpoint the keys of its subsets; empty where none are asked for.
    private var keys: [Int32: [UInt64]] = [:]
    /// Of each endpoint its level; empty where there is one only.
    private var levels: [Int32: Int] = [:]

    init(_ policy: BalancePolicy, _ hosts: [BalancerHost], panics: Bool) {
        self.policy = policy
        threshold = Self.threshold(policy, panics: panics)
        self.hosts = hosts
        if hosts.contains(where: { $0.level != hosts[0].level }) {
            for host in hosts { levels[host.endpoint] = host.level }
        }
        for (i, host) in hosts.enumerated() {
            if !policy.subsets.isEmpty { keys[host.endpoint, default: []] += host.subsets }
            for key in host.subsets {
                if let place = places[key] {
                    subsets[place].hosts.append(Int32(i))
                } else {
                    places[key] = subsets.count
                    subsets.append(Subset(hosts: [Int32(i)]))
                }
            }
        }
    }

    /// Whether it is for those endpoints and that policy: it goes on as it is then, also across a
    /// reload.
    func isFor(_ policy: BalancePolicy, _ hosts: [BalancerHost], panics: Bool) -> Bool {
        self.policy == policy && self.hosts == hosts
            && threshold == Self.threshold(policy, panics: panics)
    }

    private static func threshold(_ policy: BalancePolicy, panics: Bool) -> Double {
        panics ? min(100, policy.panicThreshold) : 0
    }

    /// The endpoint that a request goes to; nil: there is none for it.
    /// - Parameters:
    ///   - version: the board's; 1 where there is none.
    mutating func select(
        _ wish: HostWish, version: UInt64, now: Instant, _ endpoints: inout [Endpoint],
        _ random: inout SeededRandom
    ) -> Int? {
        guard let place = wish.subset == 0 && !hosts.isEmpty ? 0 : places[wish.subset] else {
            return nil
        }
        if subsets[place].version != version || subsets[place].rising > .zero {
            refresh(place, version: version, now: now, endpoints, &random)
        }
        let terms = HostTerms(policy, now: now)
        let hashes = policy.hashes
        let isOne = subsets[place].levels.count == 1
        let hash = hashes ? (wish.hasHash ? wish.hash : random.next()) : 0
        var attempt = 0
        while true {
            let number = hashes ? hash : isOne ? 0 : random.next()
            let level = isOne ? 0 : subsets[place].loads.level(number)
            guard !subsets[place].levels[level].group.isEmpty else { return nil }
            let endpoint = subsets[place].levels[level].group.take(
                hash: hash, attempt: attempt, terms, &endpoints, &random)
            guard attempt < wish.redraws, wish.avoided.contains(endpoint) else { return endpoint }
            attempt += 1
        }
    }

    /// Whether the endpoint may serve such a request in place of the chosen one. For choices among
    /// connections that are there already: they change neither whom a hash means, nor what levels
    /// get, nor bring a request back to where it has been.
    func admits(
        _ endpoint: Int, insteadOf chosen: Int, _ wish: HostWish, _ endpoints: [Endpoint]
    ) -> Bool {
        guard !(policy.hashes && wish.hasHash),
            levels.isEmpty || levels[Int32(endpoint)] == levels[Int32(chosen)],
            wish.redraws == 0 || !wish.avoided.contains(endpoint)
        else { return endpoint == chosen }
        guard let place = wish.subset == 0 ? 0 : places[wish.subset], place < subsets.count else {
            return false
        }
        if wish.subset != 0, keys[Int32(endpoint)]?.contains(wish.subset) != true { return false }
        return endpoints[endpoint].isHealthy && endpoints[endpoint].isAvailable
            || !policy.failsOnPanic && subsets[place].loads.panics.contains(true)
    }

    // MARK: Health

    /// Makes the groups of a subset for the endpoints that are available now.
    /// - Complexity: O(endpoints of the subset), for each change of one.
    private mutating func refresh(
        _ place: Int, version: UInt64, now: Instant, _ endpoints: [Endpoint],
        _ random: inout SeededRandom
    ) {
        let subset = subsets[place]
        if subset.version == version, now < subset.rising { return }
        let isRising = policy.slowStart > .zero
        var levels: [[Int32]] = []
        var counts: [LevelLoads.Count] = []
        var rising = Instant.zero
        for i in subset.hosts {
            let host = hosts[Int(i)]
            while levels.count <= host.level {
                levels.append([])
                counts.append(.init(all: 0, available: 0))
            }
            counts[host.level].all += 1
            guard host.isHealthy, endpoints[Int(host.endpoint)].isAvailable else { continue }
            counts[host.level].available += 1
            levels[host.level].append(i)
            if isRising {
                let end = endpoints[Int(host.endpoint)].joined + policy.slowStart
                if end > now { rising = max(rising, end) }
            }
        }
        let loads = LevelLoads(counts, threshold: threshold)
        for level in levels.indices where loads.panics[level] {
            levels[level] =
                policy.failsOnPanic ? [] : subset.hosts.filter { hosts[Int($0)].level == level }
        }
        subsets[place].version = version
        subsets[place].loads = loads
        let wasRising = subset.rising > .zero
        subsets[place].rising = rising
        let terms = HostTerms(policy, now: now)
        for (level, serving) in levels.enumerated() {
            if level == subsets[place].levels.count { subsets[place].levels.append(Level()) }
            let old = subsets[place].levels[level]
            // The same endpoints as before: turns go on where they are.
            if old.hosts == serving, !old.group.isEmpty, !wasRising, rising == .zero { continue }
            let members = serving.map { i in
                GroupMember(
                    endpoint: hosts[Int(i)].endpoint, weight: Double(hosts[Int(i)].weight),
                    name: hosts[Int(i)].address)
            }
            // A first turn by chance: workers and proxies would else begin at the same one.
            let turn =
                old.hosts.isEmpty && !members.isEmpty
                ? random.below(members.count) : old.group.turn
            let group = HostGroup(
                members, policy, turn: turn, isRising: rising > .zero, &random
            ) { terms.weight($0.weight, endpoints[Int($0.endpoint)]) }
            subsets[place].levels[level] = Level(group: group, hosts: serving)
        }
    }
}
