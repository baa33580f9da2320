// What is wrong with traffic policies: values out of range, and those that contradict each other.
// Paths are those of files. What is only likely to be a mistake is said elsewhere, as a warning.

import Base

/// A part of what a mesh or a proxy is told about traffic.
public protocol TrafficPolicy: Codable, Equatable, Sendable {
    /// What is wrong with it by itself.
    func check(_ problems: inout MeshProblems)
}

extension TrafficPolicy {
    /// What is wrong with it, for whoever holds it by itself.
    public var findings: [MeshProblem] {
        var problems = MeshProblems(.init(.policy, MeshName("")), atMost: 100)
        check(&problems)
        return problems.all
    }
}

extension RetryPolicy: TrafficPolicy {
    public func check(_ problems: inout MeshProblems) {
        problems.range("max", most, TrafficLimits.retries)
        problems.list("statuses", statuses, 0...TrafficLimits.statusCount) {
            $0.range(nil, $1, TrafficLimits.statuses)
        }
        problems.headers(headers)
        if let perTry { problems.range("per_try", perTry, TrafficLimits.span) }
        problems.at("backoff") { problems in
            problems.range("base", backoff.base, TrafficLimits.span)
            problems.range("max", backoff.most, TrafficLimits.span)
            if backoff.most < backoff.base {
                problems.report("max", "the longest wait is shorter than the first, `base`")
            }
        }
        problems.list("wait_headers", waitHeaders, 0...TrafficLimits.waitHeaders) {
            $0.fieldName("name", $1.name)
        }
        problems.range("wait_max", waitMost, TrafficLimits.span)
        problems.range("reselections", reselections, TrafficLimits.reselections)
        problems.range("body_limit", bodyLimit, TrafficLimits.retriedBody)
        checkConditions(&problems)
        if let budget { problems.at("budget") { budget.check(&$0) } }
        if hedges, perTry == nil {
            problems.report("hedge", "hedging begins when `per_try` has passed, which is missing")
        }
        if hedges, most == 0 {
            problems.report("hedge", "has no meaning with `max: 0`: a hedge is a retry")
        }
        if reselections != 1, !avoidsPreviousHosts {
            problems.report(
                "reselections", "has no meaning without `previous_hosts: avoid`")
        }
    }

    private func checkConditions(_ problems: inout MeshProblems) {
        let needs: [(condition: Condition, key: String, isEmpty: Bool)] = [
            (.statuses, "statuses", statuses.isEmpty), (.headers, "headers", headers.isEmpty),
        ]
        for (condition, key, isEmpty) in needs {
            if let index = on.firstIndex(of: condition), isEmpty {
                problems.at("on") {
                    $0.report(
                        "\(index)", "'\(condition.rawValue)' never holds: `\(key)` is missing")
                }
            } else if !on.contains(condition), !isEmpty {
                problems.report(
                    key, "has no meaning: `on` does not have '\(condition.rawValue)'")
            }
        }
    }
}

extension RetryPolicy.Budget {
    fileprivate func check(_ problems: inout MeshProblems) {
        switch self {
        case .concurrency(let percent, let least):
            problems.percent("percent", percent)
            problems.range("min", least, TrafficLimits.requests)
            guard percent == 0, least == 0 else { return }
        case .rate(let percent, let window, let least):
            problems.percent("percent", percent)
            problems.range("per", window, TrafficLimits.budgetWindow)
            problems.range("min", least, TrafficLimits.rates)
            guard percent == 0, least == 0 else { return }
        }
        problems.report("a budget of nothing: nothing is ever sent again")
    }
}

extension BreakerPolicy: TrafficPolicy {
    public func check(_ problems: inout MeshProblems) {
        standard.check(&problems)
        problems.at("high") { high.check(&$0) }
    }
}

extension BreakerPolicy.Limits {
    fileprivate func check(_ problems: inout MeshProblems) {
        problems.range("connections", connections, TrafficLimits.connections)
        problems.range("pending", pending, TrafficLimits.requests)
        problems.range("requests", requests, TrafficLimits.requests)
        problems.range("retries", retries, TrafficLimits.requests)
    }
}

extension OutlierPolicy: TrafficPolicy {
    public func check(_ problems: inout MeshProblems) {
        let consecutives = [
            ("consecutive_5xx", consecutive5xx), ("consecutive_gateway", consecutiveGateway),
            ("consecutive_local", consecutiveLocal),
        ]
        for (key, rule) in consecutives {
            problems.at(key) { problems in
                if let count = rule.count {
                    problems.range("count", count, TrafficLimits.failures)
                }
                problems.percent("enforcing", rule.enforcing)
            }
        }
        problems.at("success_rate") { problems in
            problems.range("factor", successRate.threshold, TrafficLimits.deviations)
            successRate.check(&problems)
        }
        problems.at("failure_percentage") { problems in
            problems.percent("threshold", failurePercentage.threshold)
            failurePercentage.check(&problems)
        }
        problems.range("interval", interval, TrafficLimits.span)
        problems.range("base", baseEjection, TrafficLimits.span)
        problems.range("max", mostEjection, TrafficLimits.span)
        problems.range("jitter", jitter, TrafficLimits.pause)
        problems.percent("max_percent", mostPercent)
        if !splitsLocalOrigin, consecutiveLocal != Self().consecutiveLocal {
            problems.report(
                "consecutive_local", "counts nothing without `split_local_origin: true`")
        }
    }
}

extension OutlierPolicy.Statistical {
    fileprivate func check(_ problems: inout MeshProblems) {
        problems.percent("enforcing", enforcing)
        problems.range("hosts", hosts, TrafficLimits.hosts)
        problems.range("volume", volume, TrafficLimits.volume)
    }
}

extension AccrualPolicy: TrafficPolicy {
    public func check(_ problems: inout MeshProblems) {
        problems.range("max_failures", failures, TrafficLimits.failures)
        problems.range("min_penalty", leastWait, TrafficLimits.span)
        problems.range("max_penalty", mostWait, TrafficLimits.span)
        problems.range("jitter", jitter, 0...1)
        if mostWait < leastWait {
            problems.report("max_penalty", "the longest wait is shorter than `min_penalty`")
        }
        guard let successRate else { return }
        problems.at("success_rate") { problems in
            problems.percent("threshold", successRate.threshold)
            problems.range("window", successRate.window, TrafficLimits.span)
            problems.range("requests", successRate.requests, TrafficLimits.failures)
            if successRate.threshold == 0 {
                problems.report("threshold", "no success is rare enough: nothing is ever shut out")
            }
        }
    }
}

extension AdmissionPolicy: TrafficPolicy {
    public func check(_ problems: inout MeshProblems) {
        problems.percent("threshold", threshold)
        problems.range("window", window, TrafficLimits.admissionWindow)
        problems.range("aggression", aggression, TrafficLimits.aggression)
        problems.percent("max_rejected", mostRejected)
        problems.range("min_rate", leastRate, TrafficLimits.rates)
        if threshold == 0 {
            problems.report("threshold", "no success is rare enough: nothing is ever turned away")
        }
    }
}

extension BalancePolicy: TrafficPolicy {
    public func check(_ problems: inout MeshProblems) {
        problems.list("hash", hash, 0...TrafficLimits.hashKeys) { problems, key in
            switch key {
            case .header(let name): problems.fieldName("header", name)
            case .cookie(let name):
                if !isFieldName(name) { problems.report("cookie", "no name of a cookie") }
            case .source: break
            }
        }
        problems.range("ring_size", ringSize, TrafficLimits.ringSize)
        problems.range("table_size", tableSize, TrafficLimits.tableSize)
        problems.range("choices", choices, TrafficLimits.choices)
        problems.range("decay", decay, TrafficLimits.span)
        problems.range("standard_latency", standardLatency, TrafficLimits.span)
        problems.percent("panic", panicThreshold)
        if failsOnPanic, panicThreshold == 0 {
            problems.report("fail_on_panic", "never comes to be: `panic` is 0%")
        }
        problems.range("slow_start", slowStart, TrafficLimits.pause)
        if !isPrime(tableSize) { problems.report("table_size", "\(tableSize) is no prime") }
        if hashes, hash.isEmpty {
            problems.report(
                "algorithm",
                "'\(algorithm.rawValue)' without `hash`: every request would go by chance")
        } else if !hashes, !hash.isEmpty {
            problems.report("hash", "has no meaning with '\(algorithm.rawValue)'")
        }
        if slowStart > .zero, algorithm != .roundRobin, algorithm != .leastRequest {
            // As in Envoy: in others an endpoint has no share that could rise.
            problems.report("slow_start", "has no meaning with '\(algorithm.rawValue)'")
        }
        checkSubsets(&problems)
    }

    private func checkSubsets(_ problems: inout MeshProblems) {
        var seen: Set<String> = []
        problems.list("subsets", subsets, 0...TrafficLimits.subsets) { problems, subset in
            problems.fieldName("header", subset.header)
            if !isLabelName(subset.label) { problems.report("label", "no name of a label") }
            if !seen.insert(subset.label).inserted {
                problems.report("label", "'\(subset.label)' stands here already")
            }
        }
    }
}

extension RateLimitPolicy: TrafficPolicy {
    public func check(_ problems: inout MeshProblems) {
        problems.range("burst", burst, TrafficLimits.tokens)
        problems.range("fill", fill, TrafficLimits.tokens)
        problems.range("interval", interval, TrafficLimits.fillInterval)
        problems.headers(matches)
        if case .header(let name) = per {
            problems.at("per") { $0.fieldName("header", name) }
        }
        problems.percent("enabled", enabled)
        problems.percent("enforced", enforced)
        if fill > burst {
            problems.report("fill", "more tokens at once than the bucket holds, \(burst)")
        }
    }
}

private func isPrime(_ number: Int) -> Bool {
    // Bound: tables have 5,000,011 slots at most, whose root is 2,236.
    guard number <= TrafficLimits.tableSize.upperBound else { return true }
    guard number > 3 else { return number > 1 }
    return number % 2 != 0
        && !stride(from: 3, through: 2236, by: 2).contains { $0 < number && number % $0 == 0 }
}

extension MeshProblems {
    mutating func percent(_ step: String?, _ number: Double) {
        range(step, number, TrafficLimits.percent)
    }

    mutating func range(_ step: String?, _ number: Double, _ range: ClosedRange<Double>) {
        within(step, number, range) { "\($0)" }
    }

    mutating func labels(_ labels: [String: String]) {
        at("labels") { problems in
            guard labels.count <= TrafficLimits.labels else {
                return problems.report("at most \(TrafficLimits.labels) keys are allowed here")
            }
            for (name, value) in labels.sorted(by: { $0.key < $1.key }) {
                if !isLabelName(name) { problems.report(name, "no name of a label") }
                if !isLabelValue(value) { problems.report(name, "no value of a label") }
            }
        }
    }

    mutating func fieldName(_ step: String?, _ name: String) {
        guard !isFieldName(name) || name != name.lowercased() else { return }
        report(step, "no name of a field in lower case")
    }
}
