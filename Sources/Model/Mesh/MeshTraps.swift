// What a mesh says that can hold and will yet not do what its author hopes. Nothing of it is
// refused: each is a sentence for whoever declares it.

import Base

extension MeshState {
    /// What is likely to be a mistake in policies and routes, in the order of their keys.
    ///
    /// - Parameter endpoints: how many a service has; nil: nobody knows.
    /// - Complexity: that of all policies and routes.
    public func traps(endpoints: (MeshName) -> Int?) -> [MeshProblem] {
        var problems = MeshProblems(.init(.policy, MeshName("")), atMost: 100)
        for policy in policies.values.sorted(by: { $0.meshName < $1.meshName }) {
            problems.of(policy.key) { problems in
                policy.warn(&problems)
                for target in policy.targets where target.breadth == 0 {
                    guard let service = services[target] else { continue }
                    policy.warn(of: service, endpoints(target), &problems)
                }
            }
        }
        for service in services.values.sorted(by: { $0.meshName < $1.meshName }) {
            warnOfPatience(service, &problems)
        }
        for route in routes.values.sorted(by: { $0.meshName < $1.meshName }) {
            problems.of(route.key) { problems in
                guard let timeout = route.timeout else { return }
                problems.warn(route.retry, within: timeout)
            }
        }
        return problems.all
    }

    /// A service whose clients give up before it does works on for nobody.
    private func warnOfPatience(_ service: MeshService, _ problems: inout MeshProblems) {
        let standard = ProxyTimeouts().request
        let name = service.meshName
        // Whoever waits as long as is usual has not thought of any order.
        guard let policy = self.policy(for: name), let outer = policy.timeouts.request,
            outer > .zero, outer < standard
        else { return }
        for called in service.calls ?? [] where called.breadth == 0 {
            let inner = self.policy(for: called)?.timeouts.request ?? standard
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

    /// The same with the endpoints that are declared.
    public var traps: [MeshProblem] { traps { endpoints(of: $0).count } }
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
        if let outlier { problems.at("outlier") { outlier.warn(&$0) } }
    }

    fileprivate func warn(
        of service: MeshService, _ endpoints: Int?, _ problems: inout MeshProblems
    ) {
        if service.speech == .tcp, retry?.isOn == true {
            problems.report(
                "retry", "'\(service.meshName.text)' is of tcp: bytes are not sent again")
        }
        guard let outlier, let count = endpoints, count > 0 else { return }
        problems.at("outlier") { problems in
            outlier.warn(of: service.meshName.text, count, &problems)
        }
    }
}

extension OutlierPolicy {
    fileprivate func warn(_ problems: inout MeshProblems) {
        if mostPercent == 0, !alwaysEjectsOne {
            problems.report("max_percent", "0 lets none be ejected")
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
