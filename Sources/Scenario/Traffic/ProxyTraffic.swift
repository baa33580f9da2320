// The traffic policies of a proxy's file: keys of its clusters and endpoints.

import Model

extension Shape where Whole: AttemptPolicies {
    /// Also of declared policies.
    static var attempts: [Field<Whole>] {
        [
            .init(
                "retry", \.retry, Form<RetryPolicy>.retry.optional,
                about: "when a request is sent again; absent: never"),
            .init(
                "outlier", \.outlier, Form<OutlierPolicy>.outlier.optional,
                about: "when an endpoint is ejected for what it answers; absent: never"),
            .init(
                "accrual", \.accrual, Form<AccrualPolicy>.accrual.optional, .without("outlier"),
                about: "when an endpoint is shut out as Linkerd does it; absent: never"),
            .init(
                "admission", \.admission, Form<AdmissionPolicy>.admission.optional,
                about:
                    "when requests are turned away, before they are sent, for the failures of "
                    + "others; absent: never"),
        ]
    }
}

extension Shape where Whole == ClusterDraft {
    static var policies: [Field<ClusterDraft>] {
        let balance = Field<ClusterDraft>(
            "balance", \.cluster.balance, .balance, standard: "round-robin",
            about: "which endpoint a request goes to")
        return [balance] + Shape<ProxyConfiguration.Cluster>.attempts.map { $0.of(\.cluster) }
    }
}

extension Shape where Whole == ProxyConfiguration.Endpoint {
    static var policies: [Field<ProxyConfiguration.Endpoint>] {
        [
            .init(
                "zone", \.zone, Form<String>.label.optional,
                about: "where it runs; absent: nobody knows"),
            .init(
                "level", \.level, .integer(TrafficLimits.levels), standard: "0",
                about: "it serves when those of lower levels do not suffice"),
            .init("labels", \.labels, .labels, standard: "{}", about: "what subsets choose by"),
            .init(
                "healthy", \.isHealthy, .boolean, standard: "true",
                about: "whether active checks have found it well"),
        ]
    }
}

// MARK: - Writing

extension AttemptPolicies {
    /// Those that say something else than where they are absent.
    var attemptMembers: [JSON.Member] {
        var members: [JSON.Member] = []
        if let retry { members.append(.init("retry", retry.json)) }
        if let outlier { members.append(.init("outlier", outlier.json)) }
        if let accrual { members.append(.init("accrual", accrual.json)) }
        if let admission { members.append(.init("admission", admission.json)) }
        return members
    }
}

extension ProxyConfiguration.Endpoint {
    /// The address alone where it says all.
    var json: JSON {
        guard self != Self(address) else { return .string(address) }
        var members: [JSON.Member] = [
            .init("address", .string(address)), .init("weight", .integer(weight)),
        ]
        if let zone { members.append(.init("zone", .string(zone))) }
        if level != 0 { members.append(.init("level", .integer(level))) }
        if !labels.isEmpty { members.append(.init("labels", labels.labelsJSON)) }
        if !isHealthy { members.append(.init("healthy", .boolean(false))) }
        return .object(members)
    }
}
