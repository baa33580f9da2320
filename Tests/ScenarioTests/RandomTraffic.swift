import Base
import Model
import Support

// Random traffic policies of which nothing is wrong.

extension SeededRandom {
    /// Percent, to the four digits that files have.
    mutating func percent() -> Double { Double(below(1_000_001)) / 1e4 }

    mutating func number(_ range: ClosedRange<Double>) -> Double {
        min(max(Double(below(1_000_000)) / 1e2, range.lowerBound), range.upperBound)
    }

    mutating func count(_ range: ClosedRange<Int>) -> Int {
        switch below(4) {
        case 0: range.lowerBound
        case 1: range.upperBound
        default: range.lowerBound + below(min(range.count, 1000))
        }
    }

    mutating func retry() -> RetryPolicy {
        typealias Condition = RetryPolicy.Condition
        let on = list(0...5) { $0.one(of: Condition.allCases) }
        let avoids = below(2) == 0
        let perTry = maybe { $0.span(TrafficLimits.span) }
        let base = span(TrafficLimits.span)
        let most = count(TrafficLimits.retries)
        var fields = headers()
        while on.contains(.headers), fields.isEmpty { fields = headers() }
        return RetryPolicy(
            on: on, most: most,
            statuses: on.contains(.statuses)
                ? list(1...4) { $0.count(TrafficLimits.statuses) } : [],
            headers: on.contains(.headers) ? fields : [], perTry: perTry,
            backoff: .init(base: base, most: max(base, span(TrafficLimits.span))),
            waitHeaders: list(0...3) {
                .init(
                    name: $0.one(of: ["retry-after", "x-ratelimit-reset"]),
                    format: $0.one(of: RetryPolicy.WaitHeader.Format.allCases))
            },
            waitMost: span(TrafficLimits.span), budget: maybe { $0.budget() },
            avoidsPreviousHosts: avoids,
            reselections: avoids ? count(TrafficLimits.reselections) : 1,
            includesUnsafe: below(2) == 0, bodyLimit: count(TrafficLimits.retriedBody),
            hedges: perTry != nil && most > 0 && below(2) == 0)
    }

    private mutating func budget() -> RetryPolicy.Budget {
        if below(2) == 0 {
            return .concurrency(percent: percent(), least: 1 + below(1000))
        }
        return .rate(
            percent: percent(), window: span(TrafficLimits.budgetWindow),
            leastPerSecond: 0.01 + number(0...1000))
    }

    /// - Parameter retries: at least.
    mutating func breaker(retries: Int = 0) -> BreakerPolicy {
        func limits(_ random: inout SeededRandom) -> BreakerPolicy.Limits {
            .init(
                connections: random.count(TrafficLimits.connections),
                pending: random.count(TrafficLimits.requests),
                requests: random.count(TrafficLimits.requests),
                retries: max(retries, random.count(TrafficLimits.requests)))
        }
        return BreakerPolicy(
            standard: limits(&self), high: limits(&self), isStrict: below(2) == 0)
    }

    mutating func outlier() -> OutlierPolicy {
        func rule(_ random: inout SeededRandom) -> OutlierPolicy.Consecutive {
            .init(random.maybe { $0.count(TrafficLimits.failures) }, enforcing: random.percent())
        }
        func statistical(
            _ threshold: Double, _ random: inout SeededRandom
        ) -> OutlierPolicy.Statistical {
            .init(
                threshold: threshold, enforcing: random.percent(),
                hosts: random.count(TrafficLimits.hosts),
                volume: random.count(TrafficLimits.volume))
        }
        let splits = below(2) == 0
        return OutlierPolicy(
            consecutive5xx: rule(&self), consecutiveGateway: rule(&self),
            consecutiveLocal: splits ? rule(&self) : OutlierPolicy().consecutiveLocal,
            successRate: statistical(number(TrafficLimits.deviations), &self),
            failurePercentage: statistical(percent(), &self), splitsLocalOrigin: splits,
            interval: span(TrafficLimits.span), baseEjection: span(TrafficLimits.span),
            mostEjection: span(TrafficLimits.span), jitter: span(TrafficLimits.pause),
            mostPercent: percent(), alwaysEjectsOne: below(2) == 0,
            returnsOnHealthCheck: below(2) == 0)
    }

    mutating func accrual() -> AccrualPolicy {
        let least = span(TrafficLimits.span)
        return AccrualPolicy(
            failures: count(TrafficLimits.failures), leastWait: least,
            mostWait: max(least, span(TrafficLimits.span)),
            jitter: Double(below(10_001)) / 1e4,
            successRate: maybe {
                .init(
                    threshold: max($0.percent(), 0.1), window: $0.span(TrafficLimits.span),
                    requests: $0.count(TrafficLimits.failures))
            })
    }

    mutating func admission() -> AdmissionPolicy {
        AdmissionPolicy(
            threshold: max(percent(), 0.1), window: span(TrafficLimits.admissionWindow),
            aggression: number(TrafficLimits.aggression), mostRejected: percent(),
            leastRate: number(TrafficLimits.rates))
    }

    mutating func balance() -> BalancePolicy {
        let algorithm = one(of: BalancePolicy.Algorithm.allCases)
        let rises = algorithm == .roundRobin || algorithm == .leastRequest
        let hashes = algorithm == .ringHash || algorithm == .maglev
        let subsets = ["version", "app.kubernetes.io/name", "A_1"].prefix(below(4))
        return BalancePolicy(
            algorithm,
            hash: hashes
                ? list(1...3) { $0.one(of: [.header("x-user"), .cookie("Id"), .source]) } : [],
            ringSize: count(TrafficLimits.ringSize), tableSize: one(of: [2, 3, 65_537, 5_000_011]),
            choices: count(TrafficLimits.choices), decay: span(TrafficLimits.span),
            standardLatency: span(TrafficLimits.span), panicThreshold: percent(),
            slowStart: rises ? span(TrafficLimits.pause) : .zero, prefersZone: below(2) == 0,
            subsets: subsets.map { .init(label: $0, header: "x-version") })
    }

    mutating func rateLimits() -> [RateLimitPolicy] {
        list(0...3) { random in
            let burst = random.count(TrafficLimits.tokens)
            return RateLimitPolicy(
                burst: burst, fill: 1 + random.below(burst),
                interval: random.span(TrafficLimits.fillInterval), matches: random.headers(),
                per: random.one(of: [nil, .identity, .header("x-user")]),
                enabled: random.percent(), enforced: random.percent(), tells: random.below(2) == 0)
        }
    }

    /// - Parameter place: a cluster, or a service with its namespace.
    mutating func globalRateLimit(_ place: String) -> GlobalRateLimit {
        let letters = "aZ0._/-\"#:,'\\~!ä &{}"
        return GlobalRateLimit(
            cluster: place, domain: text(letters, 1...9),
            descriptors: list(1...3) { random in
                .init(
                    random.list(1...3) { random in
                        let value: GlobalRateLimit.Value =
                            switch random.below(3) {
                            case 0: .text(random.text(letters, 1...9))
                            case 1: .header("x-user")
                            default: .part(random.one(of: GlobalRateLimit.Part.allCases))
                            }
                        return .init(random.text(letters, 1...9), value)
                    })
            }, timeout: span(TrafficLimits.limitTimeout), denies: below(2) == 0,
            tells: below(2) == 0)
    }

    mutating func labels() -> [String: String] {
        Dictionary(
            list(0...3) {
                ($0.text("aZ0._/-", 1...9), $0.text("aZ0\"#:,'\\~!", 0...9))
            }, uniquingKeysWith: { first, _ in first })
    }
}
