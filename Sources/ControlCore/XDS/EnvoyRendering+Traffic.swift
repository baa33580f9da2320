import Base
import Model

// What becomes of traffic policies in Envoy's clusters. Envoy has nearly all of them, as the words
// are its own; what it has no words for is refused.

extension EnvoyRendering {
    /// What a policy adds to the cluster of a service.
    func traffic(_ service: MeshName, _ policy: MeshPolicy?) throws(EnvoyRefusal) -> EnvoyValue {
        func refusal(_ what: String) -> EnvoyRefusal {
            EnvoyRefusal("the policy for \(service.text) asks for \(what), which Envoy has not")
        }
        var members: EnvoyValue = [
            "circuit_breakers": try breaker(policy, refusal)
        ]
        for (name, value) in try Self.balance(policy?.balance, refusal) {
            members = members.with(name, value)
        }
        if policy?.accrual != nil { throw refusal("`accrual`, Linkerd's breaker") }
        if policy?.admission != nil {
            throw refusal("`admission` by services, where it is one for a listener")
        }
        guard let outlier = policy?.outlier else { return members }
        return members.with("outlier_detection", try Self.outlier(outlier, refusal))
    }

    typealias Refusal = (String) -> EnvoyRefusal

    // MARK: Breakers

    /// What declarations give to each worker, Envoy's workers have together.
    private func breaker(
        _ policy: MeshPolicy?, _ refusal: Refusal
    ) throws(EnvoyRefusal) -> EnvoyValue {
        let breaker = policy?.breaker ?? .init()
        if breaker.isStrict { throw refusal("limits to the request (`strict`)") }
        let budget: EnvoyValue?
        switch policy?.retry?.budget {
        case nil: budget = nil
        case .concurrency(let percent, let least):
            budget = [
                "budget_percent": Self.percent(percent), "min_retry_concurrency": ofAll(least),
            ]
        case .rate: throw refusal("a retry budget by time (`per`)")
        }
        return [
            "thresholds": [
                threshold("DEFAULT", breaker.standard, budget),
                threshold("HIGH", breaker.high, budget),
            ]
        ]
    }

    /// Those of a cluster about which nothing is declared.
    var standardBreaker: EnvoyValue {
        let limits = BreakerPolicy.Limits()
        return [
            "thresholds": [threshold("DEFAULT", limits, nil), threshold("HIGH", limits, nil)]
        ]
    }

    private func threshold(
        _ priority: String, _ limits: BreakerPolicy.Limits, _ budget: EnvoyValue?
    ) -> EnvoyValue {
        let threshold: EnvoyValue = [
            "priority": .text(priority), "max_connections": ofAll(limits.connections),
            "max_pending_requests": ofAll(limits.pending),
            "max_requests": ofAll(limits.requests), "max_retries": ofAll(limits.retries),
        ]
        return budget.map { threshold.with("retry_budget", $0) } ?? threshold
    }

    /// What all of Envoy's workers have where each worker of a reference proxy has so many.
    private func ofAll(_ each: Int) -> EnvoyValue {
        .number(min(each * facts.workers, Int(UInt32.max)))
    }

    static func percent(_ percent: Double) -> EnvoyValue { ["value": .decimal(percent)] }

    // MARK: Balancing

    private static func balance(
        _ policy: BalancePolicy?, _ refusal: Refusal
    ) throws(EnvoyRefusal) -> [(String, EnvoyValue)] {
        let balance = policy ?? .init()
        if balance.prefersZone {
            throw refusal("the own zone first (`prefer_zone`) without knowing its own cluster")
        }
        if !balance.subsets.isEmpty { throw refusal("subsets by fields of the request") }
        var members: [(String, EnvoyValue)] = []
        // Where nothing is said, Envoy's own threshold is the same.
        if policy != nil {
            let threshold = percent(balance.panicThreshold)
            var common: EnvoyValue = ["healthy_panic_threshold": threshold]
            if balance.failsOnPanic {
                common = common.with("zone_aware_lb_config", ["fail_traffic_on_panic": true])
            }
            members.append(("common_lb_config", common))
        }
        let rise: EnvoyValue? =
            balance.slowStart > .zero
            ? ["slow_start_window": .duration(balance.slowStart)] : nil
        switch balance.algorithm {
        case .roundRobin:
            members.append(("lb_policy", "ROUND_ROBIN"))
            if let rise { members.append(("round_robin_lb_config", ["slow_start_config": rise])) }
        case .random: members.append(("lb_policy", "RANDOM"))
        case .leastRequest:
            let choices: EnvoyValue = ["choice_count": .number(balance.choices)]
            members += [
                ("lb_policy", "LEAST_REQUEST"),
                (
                    "least_request_lb_config",
                    rise.map { choices.with("slow_start_config", $0) } ?? choices
                ),
            ]
        case .peakEWMA: throw refusal("`peak-ewma`, Linkerd's balancing")
        case .ringHash:
            members += [
                ("lb_policy", "RING_HASH"),
                ("ring_hash_lb_config", ["minimum_ring_size": .number(balance.ringSize)]),
            ]
        case .maglev:
            members += [
                ("lb_policy", "MAGLEV"),
                ("maglev_lb_config", ["table_size": .number(balance.tableSize)]),
            ]
        }
        return members
    }

    // MARK: Ejection

    private static func outlier(
        _ outlier: OutlierPolicy, _ refusal: Refusal
    ) throws(EnvoyRefusal) -> EnvoyValue {
        func whole(_ percent: Double) throws(EnvoyRefusal) -> EnvoyValue {
            guard let number = Int(exactly: percent) else {
                throw refusal("a share of \(percent) % in `outlier`, a part of a percent")
            }
            return .number(number)
        }
        var value: EnvoyValue = [
            "interval": .duration(outlier.interval),
            "base_ejection_time": .duration(outlier.baseEjection),
            "max_ejection_time": .duration(outlier.longestEjection),
            "max_ejection_time_jitter": .duration(outlier.jitter),
            "max_ejection_percent": try whole(outlier.mostPercent),
            "always_eject_one_host": .flag(outlier.alwaysEjectsOne),
            "split_external_local_origin_errors": .flag(outlier.splitsLocalOrigin),
            "successful_active_health_check_uneject_host": .flag(outlier.returnsOnHealthCheck),
        ]
        let consecutives = [
            ("consecutive_5xx", outlier.consecutive5xx),
            ("consecutive_gateway_failure", outlier.consecutiveGateway),
            ("consecutive_local_origin_failure", outlier.consecutiveLocal),
        ]
        for (name, rule) in consecutives {
            // Envoy has no word for a rule that is off but that it is not enforced.
            if let count = rule.count { value = value.with(name, .number(count)) }
            value = value.with(
                "enforcing_\(name)", try whole(rule.count == nil ? 0 : rule.enforcing))
        }
        let success = outlier.successRate
        let failure = outlier.failurePercentage
        return
            try value
            .with("success_rate_minimum_hosts", .number(success.hosts))
            .with("success_rate_request_volume", .number(success.volume))
            .with(
                "success_rate_stdev_factor", .number(Int((success.threshold * 1000).rounded()))
            )
            .with("enforcing_success_rate", whole(success.enforcing))
            .with("enforcing_local_origin_success_rate", whole(success.enforcing))
            .with("failure_percentage_threshold", whole(failure.threshold))
            .with("failure_percentage_minimum_hosts", .number(failure.hosts))
            .with("failure_percentage_request_volume", .number(failure.volume))
            .with("enforcing_failure_percentage", whole(failure.enforcing))
            .with("enforcing_failure_percentage_local_origin", whole(failure.enforcing))
    }
}
