// What a mesh says that can hold and will yet not do what its author hopes. Nothing of it is
// refused: each is a sentence for whoever declares it.

import Base

extension MeshState {
    /// What is likely to be a mistake in policies and routes, in the order of their keys.
    ///
    /// - Parameters:
    ///   - keys: the policies and routes that are looked at; nil: all.
    ///   - endpoints: how many a service has; nil: nobody knows.
    /// - Complexity: that of all services, policies and routes.
    public func traps(
        of keys: Set<MeshKey>? = nil, endpoints: (MeshName) -> Int?
    ) -> [MeshProblem] {
        func isMeant(_ key: MeshKey) -> Bool { keys?.contains(key) ?? true }
        var problems = MeshProblems(.init(.policy, MeshName("")), atMost: 100)
        let meant = policies.values.filter { isMeant($0.key) }
        for policy in meant.sorted(by: { $0.meshName < $1.meshName }) {
            problems.of(policy.key) { problems in
                policy.warn(&problems)
                for target in policy.targets where target.breadth == 0 {
                    guard let service = services[target] else { continue }
                    policy.warn(of: service, endpoints(target), &problems)
                }
            }
        }
        let index = PolicyIndex(self)
        let held = services.values.compactMap { service -> (service: MeshService, MeshPolicy)? in
            guard let policy = index.policy(for: service.meshName), isMeant(policy.key) else {
                return nil
            }
            return (service, policy)
        }
        for (service, policy) in held.sorted(by: { $0.service.meshName < $1.service.meshName }) {
            warnOfPatience(service, policy, index, &problems)
            problems.of(policy.key) {
                $0.at("inbound") { warn([service], policy.inbound.globalRateLimit, &$0) }
            }
        }
        let asked = routes.values.filter { isMeant($0.key) }
        for route in asked.sorted(by: { $0.meshName < $1.meshName }) {
            problems.of(route.key) { problems in
                problems.warn(route.rateLimits)
                if route.globalRateLimit != nil {
                    warn(callers(of: route), route.globalRateLimit, &problems)
                }
                if route.retry?.isOn == true, route.retry?.budget == nil {
                    warnOfNoRetries(route, index, &problems)
                }
                guard let timeout = route.timeout else { return }
                problems.warn(route.retry, within: timeout)
            }
        }
        return problems.all
    }

    /// A route whose retries the breaker of a destination never lets be.
    private func warnOfNoRetries(
        _ route: MeshRoute, _ index: PolicyIndex, _ problems: inout MeshProblems
    ) {
        for destination in route.destinations {
            guard let policy = index.policy(for: destination.service),
                let breaker = policy.breaker,
                (route.priority == .high ? breaker.high : breaker.standard).retries == 0
            else { continue }
            return problems.report(
                "retry",
                "nothing is sent again to '\(destination.service.text)': policy "
                    + "'\(policy.meshName.text)' has `breaker.retries: 0`")
        }
    }

    /// A service whose clients give up before it does works on for nobody.
    private func warnOfPatience(
        _ service: MeshService, _ policy: MeshPolicy, _ index: PolicyIndex,
        _ problems: inout MeshProblems
    ) {
        let standard = ProxyTimeouts().request
        let name = service.meshName
        // Whoever waits as long as is usual has not thought of any order.
        guard let outer = policy.timeouts.request, outer > .zero, outer < standard else { return }
        for called in service.calls ?? [] where called.breadth == 0 {
            let inner = index.policy(for: called)?.timeouts.request ?? standard
            guard inner == .zero || inner >= outer else { continue }
            problems.of(policy.key) {
                $0.at("timeout") {
                    $0.report(
                        "request",
                        "clients of '\(name.text)' wait \(outer.exactText), and it waits for "
                            + "'\(called.text)' "
                            + (inner == .zero ? "without end" : inner.exactText)
                            + ": unless it heeds the deadlines that it is told, it works on for "
                            + "nobody")
                }
            }
        }
    }

    /// A proxy cannot ask a service that it is not told of, and finds that out with each request.
    private func warn(
        _ services: [MeshService], _ limit: GlobalRateLimit?, _ problems: inout MeshProblems
    ) {
        guard let limiting = limit?.service, self.services[limiting] != nil else { return }
        let untold = services.filter { !($0.calls?.contains { $0.covers(limiting) } ?? true) }
        guard let first = untold.map(\.meshName).min() else { return }
        problems.at("global_rate_limit") {
            $0.report(
                "service",
                "the proxies of '\(first.text)' are not told of '\(limiting.text)', and cannot ask "
                    + "it: it is not among its `calls`")
        }
    }

    /// The services that say that they call a destination of a route.
    private func callers(of route: MeshRoute) -> [MeshService] {
        services.values.filter { service in
            service.calls?.contains { called in
                route.destinations.contains { called.covers($0.service) }
            } ?? false
        }
    }

    /// The same with the endpoints that are declared.
    public func traps(of keys: Set<MeshKey>? = nil) -> [MeshProblem] {
        traps(of: keys) { endpoints(of: $0).count }
    }
}

extension MeshPolicy {
    fileprivate func warn(_ problems: inout MeshProblems) {
        let request = timeouts.request ?? ProxyTimeouts().request
        problems.warn(retry, within: request)
        if let connect = timeouts.connect, request > .zero, connect >= request {
            problems.at("timeout") {
                $0.report(
                    "connect",
                    "no shorter than the whole request may take, \(request.exactText): no other "
                        + "connection is tried")
            }
        }
        if breaker?.standard.pending == 0 {
            problems.at("breaker") {
                $0.report(
                    "pending", "0 refuses every request that needs a connection to be opened")
            }
        }
        if breaker?.standard.requests == 0 {
            problems.at("breaker") {
                $0.report("requests", "0 refuses every request but those of `priority: high`")
            }
        }
        problems.at("breaker", "high") {
            if breaker?.high.requests == 0 {
                $0.report("requests", "0 refuses every request of that priority")
            }
            if breaker?.high.pending == 0 {
                $0.report(
                    "pending",
                    "0 refuses every request of that priority that needs a connection to be opened")
            }
        }
        problems.warn(admission)
        problems.at("inbound") {
            $0.warn(inbound.rateLimits)
            $0.warn(inbound.admission)
        }
        if let outlier { problems.at("outlier") { outlier.warn(&$0) } }
        if let balance { problems.at("balance") { balance.warn(&$0) } }
    }

    fileprivate func warn(
        of service: MeshService, _ endpoints: Int?, _ problems: inout MeshProblems
    ) {
        if service.speech == .tcp, retry?.isOn == true {
            problems.report(
                "retry", "'\(service.meshName.text)' is of tcp: bytes are not sent again")
        }
        if service.speech == .tcp {
            let held = [
                ("rate_limits", !inbound.rateLimits.isEmpty),
                ("global_rate_limit", inbound.globalRateLimit != nil),
                ("admission", inbound.admission != nil),
            ]
            problems.at("inbound") { problems in
                for (key, isThere) in held where isThere {
                    problems.report(
                        key,
                        "'\(service.meshName.text)' is of tcp: bytes are no requests, and are let "
                            + "through")
                }
            }
        }
        guard let outlier, let count = endpoints, count > 0 else { return }
        problems.at("outlier") { problems in
            outlier.warn(of: service.meshName.text, count, &problems)
        }
    }
}

extension BalancePolicy {
    fileprivate func warn(_ problems: inout MeshProblems) {
        let standard = Self()
        let unused = [
            ("ring_size", ringSize != standard.ringSize && algorithm != .ringHash),
            ("table_size", tableSize != standard.tableSize && algorithm != .maglev),
            ("choices", choices != standard.choices && algorithm != .leastRequest),
        ]
        for (key, isUnused) in unused where isUnused {
            problems.report(key, "has no meaning with '\(algorithm.rawValue)'")
        }
        if zoneMinimum != standard.zoneMinimum, !prefersZone {
            problems.report("zone_minimum", "has no meaning without `prefer_zone: true`")
        }
    }
}

extension OutlierPolicy {
    fileprivate func warn(_ problems: inout MeshProblems) {
        if mostPercent == 0, !alwaysEjectsOne {
            problems.report("max_percent", "0 lets none be ejected")
        }
        let rules =
            [consecutive5xx, consecutiveGateway] + (splitsLocalOrigin ? [consecutiveLocal] : [])
        if !rules.contains(where: { $0.count != nil && $0.enforcing > 0 }),
            successRate.enforcing == 0, failurePercentage.enforcing == 0
        {
            problems.report("no rule of it is enforced: nothing is ever ejected")
        }
        if let gateway = consecutiveGateway.count, consecutiveGateway.enforcing > 0,
            let all = consecutive5xx.count, consecutive5xx.enforcing == 100, gateway >= all
        {
            problems.report(
                "consecutive_gateway",
                "never comes first: `consecutive_5xx` counts the same answers up to \(all)")
        }
    }

    /// What so few endpoints never meet.
    fileprivate func warn(of service: String, _ count: Int, _ problems: inout MeshProblems) {
        if !alwaysEjectsOne, mostPercent > 0, Double(count) * mostPercent < 100 {
            problems.report(
                "max_percent",
                "of the \(count) endpoints of '\(service)' it lets none be ejected: "
                    + "say `always_eject_one: true`, or more")
        }
        // What nobody has written down is not what anybody relies on.
        if successRate != Self().successRate, successRate.enforcing > 0 {
            problems.at("success_rate") { problems in
                successRate.warn(of: service, count, &problems)
                // The farthest that one of n can be from the mean of all is √(n − 1) deviations.
                let farthest = Double(count - 1).squareRoot()
                guard count >= successRate.hosts, farthest <= successRate.threshold else { return }
                problems.report(
                    "factor",
                    "none of the \(count) endpoints of '\(service)' can be so far below their mean")
            }
        }
        if failurePercentage.enforcing > 0 {
            problems.at("failure_percentage") { problems in
                failurePercentage.warn(of: service, count, &problems)
            }
        }
    }
}

extension OutlierPolicy.Statistical {
    fileprivate func warn(of service: String, _ count: Int, _ problems: inout MeshProblems) {
        guard count < hosts else { return }
        problems.report(
            "hosts", "'\(service)' has \(count) endpoints: fewer are never judged")
    }
}

extension MeshProblems {
    fileprivate mutating func warn(_ admission: AdmissionPolicy?) {
        guard admission?.mostRejected == 0 else { return }
        at("admission") { $0.report("max_rejected", "0 turns nothing away") }
    }

    fileprivate mutating func warn(_ limits: [RateLimitPolicy]) {
        at("rate_limits") { problems in
            for (i, limit) in limits.enumerated() where limit.enabled == 0 {
                problems.at("\(i)") { $0.report("enabled", "0 looks at no request") }
            }
        }
    }

    /// - Parameter timeout: of a request with all its attempts.
    fileprivate mutating func warn(_ retry: RetryPolicy?, within timeout: Duration) {
        guard let perTry = retry?.perTry, timeout > .zero, perTry >= timeout else { return }
        at("retry") {
            $0.report(
                "per_try",
                "no shorter than the whole request may take, \(timeout.exactText): it says nothing")
        }
    }
}
