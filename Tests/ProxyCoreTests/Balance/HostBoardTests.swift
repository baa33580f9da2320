import Base
import Model
import Testing

@testable import ProxyCore

/// What a board makes of answers, against a model of Envoy's detector that is nothing but its
/// words, for all short sequences.
@Suite struct HostBoardTests {
    private enum Step: Equatable {
        case answer(host: Int, status: Int)
        case reset(host: Int)
        /// An active check has ended: Envoy's check of one host, which fails or passes.
        case check(host: Int, passed: Bool)
        /// An interval passes.
        case sweep
    }

    private static let interval = Duration.seconds(10)

    private static func policy(_ change: (inout OutlierPolicy) -> Void) -> OutlierPolicy {
        var policy = OutlierPolicy(
            consecutive5xx: .init(2, enforcing: 100), consecutiveGateway: .init(2, enforcing: 100),
            consecutiveLocal: .init(2, enforcing: 100),
            successRate: .init(threshold: 0.5, enforcing: 100, hosts: 2, volume: 2),
            failurePercentage: .init(threshold: 100, enforcing: 100, hosts: 1, volume: 3),
            interval: interval, baseEjection: .seconds(10), mostEjection: .seconds(20),
            mostPercent: 50)
        change(&policy)
        return policy
    }

    private static let policies = [
        policy { _ in },
        policy {
            $0.mostPercent = 10
            $0.alwaysEjectsOne = true
            $0.consecutiveGateway.count = nil
            $0.successRate.enforcing = 0
        },
        policy {
            $0.splitsLocalOrigin = true
            $0.mostPercent = 100
            $0.consecutive5xx.enforcing = 0
            $0.baseEjection = .seconds(20)
        },
    ]

    @Test(arguments: policies.indices) func boardsFollowTheirModel(_ number: Int) {
        let policy = Self.policies[number]
        var steps: [Step] = [.sweep]
        for host in 0..<2 {
            steps += [.answer(host: host, status: 200), .answer(host: host, status: 500)]
            steps.append(
                policy.splitsLocalOrigin
                    ? .reset(host: host) : .answer(host: host, status: 502))
        }
        Self.playAll(policy, steps)
    }

    /// Checks among answers and sweeps: one that passes brings back, of a host that checks have
    /// not taken out, and no other does; with the flag off none does. Two failures in a row take a
    /// host out, one pass lets it in again.
    @Test(arguments: [true, false]) func checksReturnWhomTheyMay(_ returns: Bool) {
        let policy = Self.policy {
            $0.returnsOnHealthCheck = returns
            $0.mostPercent = 100
            $0.successRate.enforcing = 0
            $0.failurePercentage.enforcing = 0
        }
        let steps: [Step] = [
            .sweep, .answer(host: 0, status: 200), .answer(host: 0, status: 500),
            .check(host: 0, passed: true), .check(host: 0, passed: false),
            .answer(host: 1, status: 500), .check(host: 1, passed: true),
        ]
        Self.playAll(policy, steps)
    }

    /// Plays all sequences of five steps, until board and model differ.
    private static func playAll(_ policy: OutlierPolicy, _ steps: [Step]) {
        let length = 5
        var count = 1
        for _ in 0..<length { count *= steps.count }
        for code in 0..<count {
            var rest = code
            let sequence = (0..<length).map { _ in
                defer { rest /= steps.count }
                return steps[rest % steps.count]
            }
            guard let difference = difference(policy, sequence) else { continue }
            Issue.record("\(difference) after \(sequence)")
            return
        }
    }

    /// Longer stories by chance.
    @Test(arguments: policies.indices) func boardsFollowTheirModelForLong(_ number: Int) {
        var random = SeededRandom(seed: UInt64(number))
        for _ in 0..<60 {
            let sequence = (0..<80).map { _ -> Step in
                let host = random.below(2)
                switch random.below(12) {
                case 0...1: return .sweep
                case 2: return .reset(host: host)
                case 3...6: return .answer(host: host, status: 200)
                case 7...9: return .answer(host: host, status: 500)
                default: return .answer(host: host, status: 503)
                }
            }
            let difference = Self.difference(Self.policies[number], sequence)
            #expect(difference == nil, "\(sequence)")
        }
    }

    /// Plays the steps on both; nil: they agree after each.
    private static func difference(_ policy: OutlierPolicy, _ steps: [Step]) -> String? {
        var random = SeededRandom(seed: 1)
        let board = HostBoard(cluster: "c", outlier: policy, accrual: nil)
        var plan = ProxyConfiguration.Cluster(name: "c", endpoints: [])
        plan.outlier = policy
        let rules = HostRules(plan)
        var now = Instant.zero
        let marks = (0..<2).map { board.join("host \($0)", isHealthy: true, now: now) }
        board.arm(now: now)
        var model = EnvoyDetector(policy, hosts: 2)
        for (i, step) in steps.enumerated() {
            var found: (HostFindings, Int)?
            switch step {
            case .answer(let host, let status):
                marks[host].countConnected(rules)
                found = (marks[host].count(status: status, rules, now: now), host)
                model.connected(host)
                model.putHTTP(host, status, now)
            case .reset(let host):
                found = (marks[host].count(.reset, rules, now: now), host)
                model.putLocalFailure(host, now)
            case .check(let host, let passed):
                // What the control plane tells, and what the proxy's own check shows.
                let isHealthy = model.checked(host, passed: passed, now)
                board.check("host \(host)", isHealthy: isHealthy, now: now)
                if passed { board.passedCheck("host \(host)", now: now) }
            case .sweep:
                now = now + interval
                board.expire(now: now, &random)
                model.onIntervalTimer(now)
            }
            if let found, !found.0.isEmpty {
                board.act(on: found.0, marks[found.1], now: now, &random)
            }
            let ejected = marks.map { !$0.isAvailable }
            let awaited = model.hosts.indices.filter {
                policy.returnsOnHealthCheck && model.hosts[$0].ejected
                    && !model.hosts[$0].failedActive
            }
            if Set(board.awaitingChecks) != Set(awaited.map { "host \($0)" }) {
                return "step \(i): \(board.awaitingChecks) are awaited, not \(awaited)"
            }
            if ejected != model.hosts.map(\.ejected) {
                return "step \(i): \(ejected) ejected, not \(model.hosts.map(\.ejected))"
            }
            let tallies = board.tallies
            if tallies.active != model.active || tallies.overflow != model.overflow {
                return "step \(i): \(tallies), not \(model)"
            }
            if tallies.detected != model.detected || tallies.enforced != model.enforced {
                return "step \(i): \(tallies), not \(model)"
            }
        }
        return nil
    }
}

/// Envoy's `DetectorImpl` with its `DetectorHostMonitorImpl`s, function by function and name by
/// name, of hosts that stay. What differs on purpose: a host that one sweep finds twice is ejected
/// once.
private struct EnvoyDetector {
    struct Monitor {
        var consecutive5xx = 0
        var consecutiveGateway = 0
        var consecutiveLocal = 0
        var external = (all: 0, good: 0)
        var local = (all: 0, good: 0)
        var ejected = false
        /// Envoy's `FAILED_ACTIVE_HC`, and failures of checks in a row.
        var failedActive = false
        var failedChecks = 0
        var backoff = 0
        var lastEjection = Instant.zero
        var lastUnejection: Instant?
    }

    let config: OutlierPolicy
    var hosts: [Monitor]
    var active = 0
    var overflow = 0
    var detected = [Int](repeating: 0, count: EjectionReason.allCases.count)
    var enforced = [Int](repeating: 0, count: EjectionReason.allCases.count)

    init(_ config: OutlierPolicy, hosts: Int) {
        self.config = config
        self.hosts = (0..<hosts).map { _ in Monitor() }
    }

    mutating func putHTTP(_ host: Int, _ code: Int, _ now: Instant) {
        hosts[host].external.all += 1
        guard code >= 500 else {
            hosts[host].external.good += 1
            hosts[host].consecutive5xx = 0
            hosts[host].consecutiveGateway = 0
            return
        }
        if [502, 503, 504].contains(code) {
            hosts[host].consecutiveGateway += 1
            if hosts[host].consecutiveGateway == config.consecutiveGateway.count {
                onConsecutive(host, .consecutiveGateway, now)
                if isReset { hosts[host].consecutiveGateway = 0 }
            }
        } else {
            hosts[host].consecutiveGateway = 0
        }
        hosts[host].consecutive5xx += 1
        if hosts[host].consecutive5xx == config.consecutive5xx.count {
            onConsecutive(host, .consecutive5xx, now)
            if isReset { hosts[host].consecutive5xx = 0 }
        }
    }

    /// Whether the last one was of a host that was not out already: Envoy leaves the run of one
    /// that is as it is, which goes past its limit and does nothing until it begins anew.
    private var isReset = true

    mutating func connected(_ host: Int) {
        guard config.splitsLocalOrigin else { return }
        hosts[host].local.all += 1
        hosts[host].local.good += 1
        hosts[host].consecutiveLocal = 0
    }

    mutating func putLocalFailure(_ host: Int, _ now: Instant) {
        guard config.splitsLocalOrigin else { return putHTTP(host, 503, now) }
        hosts[host].local.all += 1
        hosts[host].consecutiveLocal += 1
        if hosts[host].consecutiveLocal == config.consecutiveLocal.count {
            onConsecutive(host, .consecutiveLocal, now)
            if isReset { hosts[host].consecutiveLocal = 0 }
        }
    }

    /// The health checker's `handleSuccess` and `handleFailure` with thresholds of 1 and 2, and
    /// what the detector does at the end of a check.
    /// - Returns: whether the host may be used as far as checks go.
    mutating func checked(_ host: Int, passed: Bool, _ now: Instant) -> Bool {
        if passed {
            hosts[host].failedChecks = 0
            hosts[host].failedActive = false
            if config.returnsOnHealthCheck, hosts[host].ejected { unejectHost(host, now) }
        } else {
            hosts[host].failedChecks += 1
            if hosts[host].failedChecks >= 2 { hosts[host].failedActive = true }
        }
        return !hosts[host].failedActive
    }

    private mutating func unejectHost(_ host: Int, _ now: Instant) {
        active -= 1
        hosts[host].ejected = false
        hosts[host].consecutive5xx = 0
        hosts[host].consecutiveGateway = 0
        hosts[host].consecutiveLocal = 0
        hosts[host].lastUnejection = now
    }

    private mutating func onConsecutive(_ host: Int, _ type: EjectionReason, _ now: Instant) {
        isReset = !hosts[host].ejected
        guard !hosts[host].ejected else { return }
        detected[type.rawValue] += 1
        ejectHost(host, type, now)
    }

    private mutating func ejectHost(_ host: Int, _ type: EjectionReason, _ now: Instant) {
        let percent = 100.0 * Double(active + 1) / Double(hosts.count)
        var shouldEject = percent <= config.mostPercent
        if config.alwaysEjectsOne { shouldEject = active == 0 || shouldEject }
        guard shouldEject else {
            overflow += 1
            return
        }
        let enforcing =
            switch type {
            case .consecutive5xx: config.consecutive5xx.enforcing
            case .consecutiveGateway: config.consecutiveGateway.enforcing
            case .consecutiveLocal: config.consecutiveLocal.enforcing
            case .successRate, .successRateLocal: config.successRate.enforcing
            default: config.failurePercentage.enforcing
            }
        guard enforcing == 100 else { return }
        active += 1
        enforced[type.rawValue] += 1
        hosts[host].ejected = true
        hosts[host].lastEjection = now
        let (base, most) = (config.baseEjection, config.mostEjection)
        if base * Int64(hosts[host].backoff) < most + base { hosts[host].backoff += 1 }
    }

    mutating func onIntervalTimer(_ now: Instant) {
        var buckets: [[(all: Int, good: Int)]] = [[], []]
        for i in hosts.indices {
            if hosts[i].ejected {
                let time = min(
                    config.baseEjection * Int64(hosts[i].backoff), config.mostEjection)
                if time <= now - hosts[i].lastEjection { unejectHost(i, now) }
            }
            buckets[0].append(hosts[i].external)
            buckets[1].append(hosts[i].local)
            hosts[i].external = (0, 0)
            hosts[i].local = (0, 0)
        }
        processSuccessRate(buckets[0], .successRate, .failurePercentage, now)
        processSuccessRate(buckets[1], .successRateLocal, .failurePercentageLocal, now)
        for i in hosts.indices where !hosts[i].ejected {
            guard let last = hosts[i].lastUnejection, now - last >= config.interval else {
                continue
            }
            if hosts[i].backoff != 0 { hosts[i].backoff -= 1 }
        }
    }

    private mutating func processSuccessRate(
        _ bucket: [(all: Int, good: Int)], _ rate: EjectionReason, _ share: EjectionReason,
        _ now: Instant
    ) {
        let (first, second) = (config.successRate, config.failurePercentage)
        if hosts.count < first.hosts, hosts.count < second.hosts { return }
        var valid: [(Int, Double)] = []
        var validShare: [(Int, Double)] = []
        for i in hosts.indices where !hosts[i].ejected && bucket[i].all > 0 {
            let success = Double(bucket[i].good) * 100 / Double(bucket[i].all)
            if bucket[i].all >= first.volume { valid.append((i, success)) }
            if bucket[i].all >= second.volume { validShare.append((i, success)) }
        }
        if !valid.isEmpty, valid.count >= first.hosts {
            let mean = valid.map(\.1).reduce(0, +) / Double(valid.count)
            let variance =
                valid.map { ($0.1 - mean) * ($0.1 - mean) }.reduce(0, +) / Double(valid.count)
            let threshold = mean - first.threshold * variance.squareRoot()
            for (i, success) in valid where success < threshold {
                detected[rate.rawValue] += 1
                ejectHost(i, rate, now)
            }
        }
        if !validShare.isEmpty, validShare.count >= second.hosts {
            for (i, success) in validShare where 100 - success >= second.threshold {
                guard !hosts[i].ejected else { continue }
                detected[share.rawValue] += 1
                ejectHost(i, share, now)
            }
        }
    }
}
