import Base
import Model
import Testing

@testable import ProxyCore

/// The choice of endpoints of one worker, through all that it looks at.
@Suite struct BalancerTests {
    private static func at(_ seconds: Double) -> Instant {
        Instant(nanoseconds: Int64(seconds * 1e9))
    }

    private static func upstreams(
        _ endpoints: [ProxyConfiguration.Endpoint], _ balance: BalancePolicy = BalancePolicy(),
        zone: String? = nil, _ commons: ProxyCommons = ProxyCommons(),
        change: (inout ProxyConfiguration.Cluster) -> Void = { _ in }
    ) -> Upstreams {
        Upstreams(configuration(endpoints, balance, zone: zone, change: change), commons)
    }

    private static func configuration(
        _ endpoints: [ProxyConfiguration.Endpoint], _ balance: BalancePolicy = BalancePolicy(),
        zone: String? = nil, change: (inout ProxyConfiguration.Cluster) -> Void = { _ in }
    ) -> ProxyConfiguration {
        var cluster = ProxyConfiguration.Cluster(name: "c", endpoints: endpoints)
        cluster.balance = balance
        change(&cluster)
        var configuration = ProxyConfiguration(listeners: [], routes: [], clusters: [cluster])
        configuration.zone = zone
        return configuration
    }

    private static func endpoints(_ count: Int) -> [ProxyConfiguration.Endpoint] {
        (0..<count).map { .init("127.0.0.1:\($0 + 1)") }
    }

    /// How often each endpoint is taken.
    private static func counts(
        _ upstreams: inout Upstreams, _ draws: Int, wish: HostWish = HostWish(),
        now: Instant = .zero, _ random: inout SeededRandom
    ) -> [Int] {
        var counts = upstreams.endpoints.map { _ in 0 }
        for _ in 0..<draws {
            if let endpoint = upstreams.select(0, wish, now: now, &random) {
                counts[endpoint] += 1
            }
        }
        return counts
    }

    /// One attempt and what it shows.
    private static func attempt(
        _ upstreams: inout Upstreams, at endpoint: Int, status: Int,
        latency: Duration = .milliseconds(1), now: Instant, _ random: inout SeededRandom
    ) {
        let probe = upstreams.began(endpoint, now: now)
        upstreams.answered(endpoint, status: status, latency: latency, now: now, &random)
        upstreams.ended(
            endpoint, .answered, probe: probe, latency: latency, now: now, &random)
    }

    // MARK: Levels, zones, health

    @Test func levelsSpillOver() {
        var random = SeededRandom(seed: 1)
        var all = Self.endpoints(20)
        for i in 10..<20 { all[i].level = 7 }
        for i in 0..<5 { all[i].isHealthy = false }
        var upstreams = Self.upstreams(all)
        let counts = Self.counts(&upstreams, 10_000, &random)
        let first = counts[..<10].reduce(0, +)
        #expect(counts[..<5].allSatisfy { $0 == 0 })
        #expect(abs(first - 7000) < 200, "\(first): 70 % is what Envoy documents")
    }

    /// The own zone comes first as far as it suffices; a zone that is lost takes nothing along.
    @Test func zonesComeFirst() {
        var random = SeededRandom(seed: 2)
        var all = Self.endpoints(20)
        for i in 0..<20 { all[i].zone = i < 10 ? "a" : "b" }
        let near = BalancePolicy(prefersZone: true)
        for (lost, share) in [(0, 1.0), (2, 1.0), (5, 0.7), (10, 0)] {
            for i in 0..<10 { all[i].isHealthy = i >= lost }
            var upstreams = Self.upstreams(all, near, zone: "a")
            let counts = Self.counts(&upstreams, 5_000, &random)
            #expect(abs(Double(counts[..<10].reduce(0, +)) / 5_000 - share) < 0.03)
            #expect(counts.reduce(0, +) == 5_000, "nobody is turned away")
        }
        var elsewhere = Self.upstreams(all, near)
        let counts = Self.counts(&elsewhere, 5_000, &random)
        #expect(counts[..<10].reduce(0, +) == 0 && counts[10..<20].allSatisfy { $0 == 500 })
    }

    @Test func panicAsksAll() {
        var random = SeededRandom(seed: 3)
        for out in 0...10 {
            var all = Self.endpoints(10)
            for i in 0..<out { all[i].isHealthy = false }
            var upstreams = Self.upstreams(all)
            let counts = Self.counts(&upstreams, 1_000, &random)
            let asked = counts.count { $0 > 0 }
            #expect(asked == (out > 5 ? 10 : 10 - out))
            var strict = Self.upstreams(all, BalancePolicy(panicThreshold: 0))
            let strictly = Self.counts(&strict, 1_000, &random)
            #expect(strictly.count { $0 > 0 } == 10 - out)
        }
    }

    /// With `failsOnPanic` nobody is asked where all would be.
    @Test func panicMayTurnAwayInstead() {
        var random = SeededRandom(seed: 3)
        for out in 0...10 {
            var all = Self.endpoints(10)
            for i in 0..<out { all[i].isHealthy = false }
            var policy = BalancePolicy()
            policy.failsOnPanic = true
            var upstreams = Self.upstreams(all, policy)
            let counts = Self.counts(&upstreams, 1_000, &random)
            #expect(counts.count { $0 > 0 } == (out > 5 ? 0 : 10 - out))
        }
    }

    /// Of few endpoints those of the own zone are not preferred.
    @Test func zonesCountFromSoManyEndpointsOn() {
        var random = SeededRandom(seed: 2)
        for count in [5, 6, 7] {
            var all = Self.endpoints(count)
            for i in 0..<count { all[i].zone = i < 2 ? "a" : "b" }
            var policy = BalancePolicy(prefersZone: true)
            policy.zoneMinimum = 6
            var upstreams = Self.upstreams(all, policy, zone: "a")
            let counts = Self.counts(&upstreams, 3_000, &random)
            #expect((counts[..<2].reduce(0, +) == 3_000) == (count >= 6))
        }
    }

    // MARK: Subsets

    @Test func subsetsAreChosenByLabels() {
        var random = SeededRandom(seed: 4)
        var all = Self.endpoints(4)
        for (i, labels) in [["v": "1", "t": "x"], ["v": "1"], ["v": "2", "t": "x"], [:]]
            .enumerated()
        {
            all[i].labels = labels
        }
        let keys = [
            BalancePolicy.SubsetKey(label: "v", header: "x-v"),
            .init(label: "t", header: "x-t"),
        ]
        var upstreams = Self.upstreams(all, BalancePolicy(subsets: keys))
        func wish(_ v: String?, _ t: String?) -> HostWish {
            var wish = HostWish()
            for (i, value) in [v, t].enumerated() {
                guard let value else { continue }
                wish.subset = SubsetKeys.narrowed(wish.subset, i, XXHash64.hash(value))
            }
            return wish
        }
        for (v, t, expected) in [
            (nil, nil, [1, 1, 1, 1]), ("1", nil, [2, 2, 0, 0]), ("2", nil, [0, 0, 4, 0]),
            (nil, "x", [2, 0, 2, 0]), ("1", "x", [4, 0, 0, 0]), ("3", nil, [0, 0, 0, 0]),
            ("2", "y", [0, 0, 0, 0]),
        ] as [(String?, String?, [Int])] {
            let counts = Self.counts(&upstreams, 4, wish: wish(v, t), &random)
            #expect(counts == expected, "\(v ?? "-") \(t ?? "-")")
        }
    }

    // MARK: Avoidance

    /// Reference, row 14: 1 of 4 fails, with random choice. A second attempt that avoids the first
    /// one's endpoint with one draw more meets it in 1 of 16, with five in 1 of 4096.
    @Test(arguments: [(0, 1.0 / 4), (1, 1.0 / 16), (5, 1.0 / 4096)])
    func hostsAreAvoided(_ redraws: Int, _ share: Double) {
        var random = SeededRandom(seed: 5)
        var upstreams = Self.upstreams(Self.endpoints(4), BalancePolicy(.random))
        var wish = HostWish()
        wish.redraws = UInt8(redraws)
        wish.avoided.insert(2)
        let draws = 40_000
        let counts = Self.counts(&upstreams, draws, wish: wish, &random)
        let deviation = (Double(draws) * share * (1 - share)).squareRoot()
        #expect(abs(Double(counts[2]) - Double(draws) * share) < 4.5 * deviation + 1)
    }

    @Test func hashesAvoidToo() {
        var random = SeededRandom(seed: 6)
        for algorithm in [BalancePolicy.Algorithm.ringHash, .maglev] {
            var upstreams = Self.upstreams(
                Self.endpoints(8), BalancePolicy(algorithm, hash: [.source]))
            var wish = HostWish()
            wish.hasHash = true
            for key in 0..<200 {
                wish.hash = XXHash64.hash("key \(key)")
                wish.avoided = AvoidedHosts()
                wish.redraws = 0
                let first = upstreams.select(0, wish, now: .zero, &random) ?? -1
                let again = upstreams.select(0, wish, now: .zero, &random) ?? -1
                #expect(first == again)
                wish.avoided.insert(first)
                wish.redraws = 20
                let other = upstreams.select(0, wish, now: .zero, &random) ?? -1
                #expect(other != first && other >= 0)
            }
        }
    }

    // MARK: Least requests, latencies, slow start

    @Test func idleEndpointsAreTaken() {
        var random = SeededRandom(seed: 7)
        var upstreams = Self.upstreams(Self.endpoints(10), BalancePolicy(.leastRequest))
        for _ in 0..<50 { _ = upstreams.began(3, now: .zero) }
        let counts = Self.counts(&upstreams, 10_000, &random)
        // It is taken only where both draws are its own: 1 of 100.
        #expect(abs(counts[3] - 100) < 45, "\(counts)")
        // The other worker's requests count as well.
        let commons = ProxyCommons()
        let (policy, all) = (BalancePolicy(.leastRequest), Self.endpoints(10))
        var one = Self.upstreams(all, policy, commons)
        var two = Self.upstreams(all, policy, commons)
        for _ in 0..<50 { _ = one.began(3, now: .zero) }
        let others = Self.counts(&two, 10_000, &random)
        #expect(abs(others[3] - 100) < 45, "\(others)")
        one.leave()
        let alone = Self.counts(&two, 10_000, &random)
        #expect(abs(alone[3] - 1000) < 150, "\(alone)")
    }

    /// Envoy: with weights, `weight / (active + 1)` is how often it is an endpoint's turn.
    @Test func weightsAndRequestsGoTogether() {
        var random = SeededRandom(seed: 8)
        var all = Self.endpoints(2)
        all[0].weight = 4
        var upstreams = Self.upstreams(all, BalancePolicy(.leastRequest))
        let idle = Self.counts(&upstreams, 1_000, &random)
        #expect(abs(idle[0] - 800) <= 3, "\(idle)")
        for _ in 0..<3 { _ = upstreams.began(0, now: .zero) }
        let busy = Self.counts(&upstreams, 1_000, &random)
        #expect(abs(busy[0] - 500) <= 3, "\(busy)")
    }

    /// Reference, row 29: who is ten times slower gets less than its share, and who fails fast no
    /// more than its share, however much the others have in flight: 1, 2 and 10 requests.
    @Test(arguments: [(200, 100, 10), (503, 1, 10), (429, 1, 10), (503, 1, 20), (503, 0, 100)])
    func slowAndFailingEndpointsDrawNobody(_ status: Int, _ milliseconds: Int, _ usual: Int) {
        var random = SeededRandom(seed: 9)
        var upstreams = Self.upstreams(Self.endpoints(10), BalancePolicy(.peakEWMA))
        var now = Self.at(1)
        var counts = [Int](repeating: 0, count: 10)
        var busy: [(ends: Instant, endpoint: Int, latency: Duration)] = []
        for request in 0..<20_000 {
            now = now + .milliseconds(1)
            for call in busy where call.ends <= now {
                let isBad = call.endpoint == 4
                upstreams.answered(
                    call.endpoint, status: isBad ? status : 200, latency: call.latency, now: now,
                    &random)
                upstreams.ended(
                    call.endpoint, .answered, probe: 0, latency: call.latency, now: now,
                    &random)
            }
            busy.removeAll { $0.ends <= now }
            let endpoint = upstreams.select(0, HostWish(), now: now, &random) ?? 0
            _ = upstreams.began(endpoint, now: now)
            let latency = Duration.milliseconds(Int64(endpoint == 4 ? milliseconds : usual))
            busy.append((now + latency, endpoint, latency))
            if request >= 5_000 { counts[endpoint] += 1 }
        }
        #expect(counts[4] <= 1500, "\(counts)")
        if status == 200 { #expect(counts[4] < 500, "\(counts)") }
        #expect(counts.enumerated().allSatisfy { $0 == 4 || $1 > 1200 }, "\(counts)")
    }

    /// Envoy: linear over the window, from a tenth on.
    @Test func newEndpointsBeginSlowly() {
        var random = SeededRandom(seed: 10)
        let slow = BalancePolicy(slowStart: .seconds(100))
        var upstreams = Self.upstreams(Self.endpoints(4), slow)
        upstreams.adopt(Self.configuration(Self.endpoints(5), slow), now: Self.at(1000))
        for (age, weight) in [(0.0, 0.1), (5, 0.1), (30, 0.3), (80, 0.8), (100, 1), (500, 1)] {
            let now = Self.at(1000 + age)
            // Weights count from the next turn on.
            _ = Self.counts(&upstreams, 100, now: now, &random)
            let counts = Self.counts(&upstreams, 4_100, now: now, &random)
            let share = weight / (4 + weight)
            #expect(abs(Double(counts[4]) / 4_100 - share) < 0.004, "\(age) s: \(counts)")
        }
        // Who is found well again begins slowly, too.
        var all = Self.endpoints(5)
        all[2].isHealthy = false
        upstreams.adopt(Self.configuration(all, slow), now: Self.at(2000))
        upstreams.adopt(Self.configuration(Self.endpoints(5), slow), now: Self.at(2010))
        _ = Self.counts(&upstreams, 100, now: Self.at(2010), &random)
        let counts = Self.counts(&upstreams, 4_100, now: Self.at(2010), &random)
        #expect(abs(counts[2] - 100) <= 5, "\(counts)")
    }

    // MARK: Ejection

    /// Reference, row 16: 1 of 10 always fails: five errors, then none. One worker learns from the
    /// other.
    @Test func oneBadEndpointFailsFiveTimes() {
        var random = SeededRandom(seed: 11)
        let commons = ProxyCommons()
        let all = Self.endpoints(10)
        var workers = (0..<2).map { _ in
            Self.upstreams(all, BalancePolicy(), commons) { $0.outlier = OutlierPolicy() }
        }
        var errors = 0
        for request in 0..<2_000 {
            let now = Self.at(Double(request) / 1000)
            let worker = request % 2
            let endpoint = workers[worker].select(0, HostWish(), now: now, &random) ?? -1
            let status = endpoint == 6 ? 500 : 200
            errors += endpoint == 6 ? 1 : 0
            Self.attempt(&workers[worker], at: endpoint, status: status, now: now, &random)
        }
        #expect(errors == 5)
        let board = commons.hostBoards.first
        #expect(board?.tallies.active == 1)
        let event = board?.events.first
        #expect(event?.action == .eject && event?.reason == .consecutive5xx)
        #expect(event?.upstream == "127.0.0.1:7" && event?.isEnforced == true)
        #expect(board?.events.count == 1)
    }

    /// Reference, row 17: an endpoint that stays bad for 300 s: out at 0, 30, 90 and 180 s, each
    /// time after five errors, back at the first sweep after.
    @Test func ejectionsComeAgain() {
        var random = SeededRandom(seed: 12)
        let commons = ProxyCommons()
        var upstreams = Self.upstreams(Self.endpoints(10), BalancePolicy(), commons) {
            $0.outlier = OutlierPolicy()
        }
        var errors = 0
        for request in 0..<29_000 {
            let now = Self.at(Double(request) / 100)
            if let due = upstreams.nextDeadline, due <= now { upstreams.expire(now: now, &random) }
            let endpoint = upstreams.select(0, HostWish(), now: now, &random) ?? -1
            errors += endpoint == 6 ? 1 : 0
            Self.attempt(
                &upstreams, at: endpoint, status: endpoint == 6 ? 500 : 200, now: now, &random)
        }
        #expect(errors == 20)
        let events = commons.hostBoards.first?.events ?? []
        let times = events.map { ($0.action, Int(($0.at.nanoseconds) / 1_000_000_000)) }
        let ejections = times.filter { $0.0 == .eject }.map(\.1)
        let returns = times.filter { $0.0 == .uneject }.map(\.1)
        #expect(ejections.count == 4)
        for (i, expected) in [0, 30, 90, 180].enumerated() {
            // Each return is up to a sweep late, and so is what follows.
            #expect((expected...expected + 10 * (i + 1)).contains(ejections[i]), "\(ejections)")
        }
        #expect(returns.count == 3, "\(returns)")
    }

    /// Reference, row 18: with what is standard, three endpoints are too few for any ejection.
    @Test(arguments: [3, 9, 10]) func fewEndpointsAreNotEjected(_ count: Int) {
        var random = SeededRandom(seed: 13)
        let commons = ProxyCommons()
        var upstreams = Self.upstreams(Self.endpoints(count), BalancePolicy(), commons) {
            $0.outlier = OutlierPolicy()
        }
        for _ in 0..<20 {
            Self.attempt(&upstreams, at: 0, status: 500, now: .zero, &random)
        }
        let tallies = commons.hostBoards.first?.tallies
        #expect(tallies?.active == (count == 10 ? 1 : 0))
        #expect(tallies?.overflow == (count == 10 ? 0 : 4))
        #expect(tallies?.detected[EjectionReason.consecutive5xx.rawValue] == (count == 10 ? 1 : 4))
    }

    /// An active check that passes after failing brings an endpoint back, if the policy says so.
    @Test(arguments: [true, false]) func checksBringBack(_ returns: Bool) {
        var random = SeededRandom(seed: 14)
        var all = Self.endpoints(10)
        let change: (inout ProxyConfiguration.Cluster) -> Void = {
            $0.outlier = OutlierPolicy(returnsOnHealthCheck: returns)
        }
        let commons = ProxyCommons()
        var upstreams = Self.upstreams(all, BalancePolicy(), commons, change: change)
        for _ in 0..<5 { Self.attempt(&upstreams, at: 2, status: 500, now: .zero, &random) }
        #expect(!upstreams.endpoints[2].isAvailable)
        for isHealthy in [true, false, true] {
            all[2].isHealthy = isHealthy
            upstreams.adopt(Self.configuration(all, change: change), now: Self.at(1))
        }
        #expect(upstreams.endpoints[2].isAvailable == returns)
        #expect(commons.hostBoards.first?.tallies.active == (returns ? 0 : 1))
    }

    /// Reference, row 27: a bad endpoint costs seven errors and then one a probe, each after twice
    /// the time; all may be out at once.
    @Test func linkerdProbesWithOneRequest() {
        var random = SeededRandom(seed: 15)
        let commons = ProxyCommons()
        var upstreams = Self.upstreams(Self.endpoints(2), BalancePolicy(), commons) {
            $0.accrual = AccrualPolicy()
        }
        var errors: [Int] = [0, 0]
        var refused = 0
        for request in 0..<30_000 {
            let now = Self.at(Double(request) / 100)
            if let due = upstreams.nextDeadline, due <= now { upstreams.expire(now: now, &random) }
            guard let endpoint = upstreams.select(0, HostWish(), now: now, &random) else {
                refused += 1
                continue
            }
            // The second one fails for the last third of the time only.
            let isBad = endpoint == 0 || request > 20_000
            if isBad { errors[endpoint] += 1 }
            Self.attempt(
                &upstreams, at: endpoint, status: isBad ? 503 : 200, now: now, &random)
        }
        #expect((7 + 7...7 + 10).contains(errors[0]), "\(errors)")
        #expect(errors[1] <= 7 + 7, "\(errors)")
        #expect(refused > 9_900, "with nobody left a request is refused at once")
        #expect(commons.hostBoards.first?.tallies.active == 2)
        let probes = commons.hostBoards.first?.tallies.probes ?? 0
        #expect(errors[0] + errors[1] == 14 + probes)
    }

    @Test func aProbeThatIsGivenUpIsMadeAgain() {
        var random = SeededRandom(seed: 16)
        var upstreams = Self.upstreams(Self.endpoints(1)) {
            $0.accrual = AccrualPolicy(failures: 1, jitter: 0)
        }
        Self.attempt(&upstreams, at: 0, status: 500, now: .zero, &random)
        let early = upstreams.select(0, HostWish(), now: .zero, &random)
        #expect(early == nil)
        upstreams.expire(now: Self.at(1), &random)
        for _ in 0..<3 {
            let endpoint = upstreams.select(0, HostWish(), now: Self.at(1), &random)
            #expect(endpoint == 0)
            let probe = upstreams.began(0, now: Self.at(1))
            #expect(probe > 0)
            let second = upstreams.select(0, HostWish(), now: Self.at(1), &random)
            #expect(second == nil, "one at a time")
            upstreams.ended(
                0, .cancelled, probe: probe, latency: .zero, now: Self.at(1), &random)
        }
        Self.attempt(&upstreams, at: 0, status: 200, now: Self.at(2), &random)
        #expect(upstreams.endpoints[0].isAvailable)
    }

    /// Whatever workers do with their configurations, nothing of an endpoint that is gone remains.
    @Test func boardsForgetWhoIsGone() {
        var random = SeededRandom(seed: 17)
        let commons = ProxyCommons()
        let change: (inout ProxyConfiguration.Cluster) -> Void = { $0.outlier = OutlierPolicy() }
        var workers = (0..<2).map { _ in
            Self.upstreams(Self.endpoints(10), BalancePolicy(), commons, change: change)
        }
        for _ in 0..<5 { Self.attempt(&workers[0], at: 9, status: 500, now: .zero, &random) }
        let board = commons.hostBoards[0]
        #expect(board.tallies.active == 1 && board.tallies.hosts == 10)
        for worker in 0..<2 {
            workers[worker].adopt(
                Self.configuration(Self.endpoints(9), change: change), now: .zero)
            #expect(board.tallies.hosts == (worker == 0 ? 10 : 9))
        }
        #expect(board.tallies.active == 0)
        for worker in 0..<2 {
            workers[worker].adopt(
                Self.configuration(Self.endpoints(10), change: change), now: .zero)
            #expect(workers[worker].endpoints[9].isAvailable)
        }
        for worker in 0..<2 { workers[worker].leave() }
        #expect(board.tallies.hosts == 0)
    }
}
