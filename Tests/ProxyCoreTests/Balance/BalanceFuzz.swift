import Base
import Model
import Support
import Testing

@testable import ProxyCore

/// Workers of one proxy in front of thousands of endpoints that fail, recover, come and go: what
/// must hold at every step.
@Suite struct BalanceFuzz {
    @Test func invariantsHold() {
        let budget = FuzzBudget.current(seed: 7, steps: 24_000)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("BalanceFuzz"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        var left = steps
        while left > 0 {
            let count = min(left, 4_000)
            let own = random.next()
            var city = BalanceSimulation(seed: own)
            if let failure = city.run(count) {
                return "BalanceSimulation(seed: \(own)).run(\(count)): \(failure)"
            }
            left -= count
        }
        return nil
    }

    @Test func theSameSeedGivesTheSameTrace() {
        func trace(_ seed: UInt64) -> UInt64 {
            var city = BalanceSimulation(seed: seed)
            _ = city.run(1_500)
            return city.trace
        }
        #expect(trace(1) == trace(1))
        #expect(trace(1) != trace(2))
    }
}

/// Two workers, a cluster, and what its endpoints do.
struct BalanceSimulation {
    private struct Call {
        var worker: Int
        var endpoint: Int
        var probe: UInt32
        var started: Instant
        var ends: Instant
    }

    private var random: SeededRandom
    private let commons = ProxyCommons()
    private var workers: [Upstreams] = []
    private var plan: ProxyConfiguration.Cluster
    private var plans: [ProxyConfiguration.Cluster] = []
    /// How often an address fails.
    private var failing: [String: Double] = [:]
    private var calls: [Call] = []
    private var now = Instant(nanoseconds: 1_000_000_000)
    /// The numbers of each worker's endpoints, by address.
    private var numbers: [[String: Int]] = []
    /// How many were ejected when that was looked at last.
    private var active = 0
    private(set) var trace: UInt64 = 0

    init(seed: UInt64) {
        random = SeededRandom(seed: seed)
        let count = [1, 3, 10, 200, 3_000][random.below(5)]
        plan = ProxyConfiguration.Cluster(name: "c", endpoints: [])
        let weights = [1, 5, 100][random.below(3)]
        for i in 0..<count { plan.endpoints.append(Self.endpoint(i, weights, &random)) }
        let algorithms = BalancePolicy.Algorithm.allCases
        plan.balance = BalancePolicy(
            algorithms[random.below(algorithms.count)], hash: [.source], ringSize: 512,
            tableSize: 4_099, panicThreshold: [0, 30, 50, 100][random.below(4)],
            slowStart: random.below(2) == 0 ? .zero : .seconds(5),
            prefersZone: random.below(2) == 0,
            subsets: [.init(label: "v", header: "x-v")])
        switch random.below(4) {
        case 0: break
        case 1: plan.accrual = AccrualPolicy(failures: 1 + random.below(5))
        default:
            plan.outlier = OutlierPolicy(
                consecutive5xx: .init(
                    1 + random.below(5), enforcing: random.below(2) == 0 ? 100 : 50),
                consecutiveGateway: .init(3, enforcing: 100),
                successRate: .init(threshold: 1.9, enforcing: 100, volume: 5),
                failurePercentage: .init(threshold: 60, enforcing: 100, volume: 3),
                splitsLocalOrigin: random.below(2) == 0, interval: .seconds(1),
                baseEjection: .seconds(2), mostEjection: .seconds(10), jitter: .seconds(1),
                mostPercent: [10, 50, 100][random.below(3)], alwaysEjectsOne: random.below(2) == 0)
        }
        plans = [plan, plan]
        workers = (0..<2).map { _ in Upstreams(Self.configuration(plan), commons) }
        numbers = workers.map(Self.numbers)
        fail()
    }

    private static func endpoint(
        _ i: Int, _ weights: Int, _ random: inout SeededRandom
    ) -> ProxyConfiguration.Endpoint {
        var endpoint = ProxyConfiguration.Endpoint(
            "10.0.\(i / 250).\(i % 250):80", weight: 1 + random.below(weights))
        endpoint.zone = ["a", "b"][random.below(2)]
        endpoint.level = random.below(8) == 0 ? 1 : 0
        endpoint.labels = ["v": String(random.below(3))]
        endpoint.isHealthy = random.below(20) > 0
        return endpoint
    }

    private static func configuration(_ plan: ProxyConfiguration.Cluster) -> ProxyConfiguration {
        var configuration = ProxyConfiguration(listeners: [], routes: [], clusters: [plan])
        configuration.zone = "a"
        return configuration
    }

    /// Some endpoints fail from now on, others no longer.
    private mutating func fail() {
        failing = [:]
        let share = [0, 0.02, 0.3, 0.9, 1][random.below(5)]
        for endpoint in plan.endpoints where random.unit() < share {
            failing[endpoint.address] = [0.3, 1][random.below(2)]
        }
    }

    /// - Returns: what did not hold; nil: everything did.
    mutating func run(_ steps: Int) -> String? {
        for step in 0..<steps {
            now = now + .milliseconds(Int64(1 + random.below(10)))
            endCalls()
            if let failure = checkShare() { return "step \(step): \(failure)" }
            switch random.below(200) {
            case 0: change()
            case 1: fail()
            case 2: now = now + .seconds(Int64(random.below(4)))
            default: break
            }
            for worker in 0..<2 {
                if let due = workers[worker].nextDeadline, due <= now {
                    workers[worker].expire(now: now, &random)
                }
                if let due = workers[worker].nextDeadline, due <= now {
                    return "step \(step): what was due is due again at once"
                }
            }
            if let failure = checkShare() { return "step \(step): \(failure)" }
            // What looks at all endpoints is looked at now and then.
            let isThorough = step % 16 == 0
            if let failure = begin(isThorough) ?? (isThorough ? check() : nil) {
                return "step \(step): \(failure)"
            }
        }
        return nil
    }

    /// One worker goes over to what is configured now; the other one may lag.
    private mutating func change() {
        for _ in 0..<1 + random.below(3) where !plan.endpoints.isEmpty {
            let i = random.below(plan.endpoints.count)
            switch random.below(4) {
            case 0 where plan.endpoints.count > 1: plan.endpoints.remove(at: i)
            case 1:
                let number = plan.endpoints.count + random.below(1_000)
                let new = Self.endpoint(number, 5, &random)
                if !plan.endpoints.contains(where: { $0.address == new.address }) {
                    plan.endpoints.append(new)
                }
            default: plan.endpoints[i].isHealthy.toggle()
            }
        }
        let worker = random.below(2)
        // As a proxy does: attempts at endpoints that are gone go on.
        workers[worker].adopt(Self.configuration(plan), now: now)
        plans[worker] = plan
        numbers[worker] = Self.numbers(workers[worker])
    }

    private mutating func begin(_ isThorough: Bool) -> String? {
        let worker = random.below(2)
        var wish = HostWish()
        wish.hash = random.next() % 50
        wish.hasHash = random.below(4) > 0
        let value = random.below(4)
        if value < 3 { wish.subset = SubsetKeys.narrowed(0, 0, XXHash64.hash(String(value))) }
        wish.redraws = UInt8(random.below(3))
        let chosen = workers[worker].select(0, wish, now: now, &random)
        let isAsked = { (endpoint: ProxyConfiguration.Endpoint) in
            value == 3 || endpoint.labels["v"] == String(value)
        }
        if isThorough || chosen == nil {
            let members = plans[worker].endpoints.filter(isAsked)
            if let failure = judge(chosen, worker, members) { return failure }
        }
        guard let chosen else { return nil }
        let probe = workers[worker].began(chosen, now: now)
        // The connection keeps the endpoint's number taken.
        workers[worker].count(1, at: chosen)
        workers[worker].connected(chosen)
        calls.append(
            Call(
                worker: worker, endpoint: chosen, probe: probe, started: now,
                ends: now + .milliseconds(Int64(1 + random.below(100)))))
        trace = mix(trace ^ UInt64(chosen) ^ UInt64(worker) << 32)
        return nil
    }

    /// Holds a choice against all that could be chosen.
    private func judge(
        _ chosen: Int?, _ worker: Int, _ members: [ProxyConfiguration.Endpoint]
    ) -> String? {
        let open = members.filter { isOpen($0, worker) }
        guard let chosen else {
            if !open.isEmpty { return "nobody for a request that \(open.count) may serve" }
            let panics = plan.accrual == nil && plan.balance.panicThreshold > 0
            return panics && !members.isEmpty ? "no panic" : nil
        }
        let address = workers[worker].addresses[chosen]
        guard let member = members.first(where: { $0.address == address }) else {
            return "\(address) is not of the subset"
        }
        // In panic, and only then, one that is out is asked.
        guard !isOpen(member, worker) else { return nil }
        let same = members.filter { level($0) == level(member) }
        let percent = 100 * Double(same.count { isOpen($0, worker) }) / Double(same.count)
        if percent >= plan.balance.panicThreshold { return "\(address) is out" }
        return plan.accrual == nil ? nil : "Linkerd knows no panic"
    }

    private func level(_ endpoint: ProxyConfiguration.Endpoint) -> Int {
        endpoint.level * 2 + (plan.balance.prefersZone && endpoint.zone != "a" ? 1 : 0)
    }

    private func isOpen(_ endpoint: ProxyConfiguration.Endpoint, _ worker: Int) -> Bool {
        guard endpoint.isHealthy, let i = numbers[worker][endpoint.address] else { return false }
        return workers[worker].endpoints[i].isAvailable
    }

    private static func numbers(_ upstreams: Upstreams) -> [String: Int] {
        var numbers: [String: Int] = [:]
        for i in upstreams.endpoints.indices where !upstreams.endpoints[i].removed {
            numbers[upstreams.addresses[i]] = i
        }
        return numbers
    }

    private mutating func endCalls() {
        for call in calls where call.ends <= now {
            let address = workers[call.worker].addresses[call.endpoint]
            let isBad = random.unit() < failing[address, default: 0]
            let latency = call.ends - call.started
            var result = AttemptResult.answered
            switch random.below(isBad ? 4 : 40) {
            case 0: result = isBad ? .reset : .cancelled
            case 1 where isBad: result = .connectFailed
            default:
                workers[call.worker].answered(
                    call.endpoint, status: isBad ? [500, 503][random.below(2)] : 200,
                    latency: latency, now: now, &random)
            }
            workers[call.worker].ended(
                call.endpoint, result, probe: call.probe, latency: latency, now: now,
                &random)
            workers[call.worker].count(-1, at: call.endpoint)
        }
        calls.removeAll { $0.ends <= now }
    }

    // MARK: What must hold

    /// Never is one more ejected than the policy lets. That endpoints go which are not ejected
    /// makes the share larger, and nobody returns for that.
    private mutating func checkShare() -> String? {
        guard let board = commons.hostBoards.first, let outlier = plan.outlier else { return nil }
        let tallies = board.tallies
        defer { active = tallies.active }
        guard tallies.active > active else { return nil }
        return outlier.admitsEjection(ejected: tallies.active - 1, hosts: tallies.hosts)
            ? nil : "\(tallies.active) of \(tallies.hosts) are out"
    }

    private func check() -> String? {
        for worker in 0..<2 {
            let endpoints = workers[worker].endpoints
            if endpoints.contains(where: { $0.attempts < 0 }) { return "less than no attempts" }
            let attempts = endpoints.reduce(0) { $0 + Int($1.attempts) }
            if attempts != calls.count(where: { $0.worker == worker }) { return "lost attempts" }
        }
        guard let board = commons.hostBoards.first else { return nil }
        let held = Set(numbers[0].keys).union(numbers[1].keys)
        if board.tallies.hosts != held.count { return "the board has other endpoints" }
        let out = held.count { address in
            (0..<2).contains { worker in
                numbers[worker][address].map { !workers[worker].endpoints[$0].isAvailable } ?? false
            }
        }
        // One that may be tried again is available, and not yet back.
        if plan.outlier != nil, out != board.tallies.active { return "\(out) are out" }
        return nil
    }
}
