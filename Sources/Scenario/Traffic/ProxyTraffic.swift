// The traffic policies of a proxy's file: keys of its clusters, routes and endpoints.

import Model

extension Shape where Whole == ClusterDraft {
    static var policies: [Field<ClusterDraft>] {
        [
            .init(
                "balance", \.cluster.balance, .balance, standard: "round-robin",
                about: "which endpoint a request goes to"),
            .init(
                "outlier", \.cluster.outlier, Form<OutlierPolicy>.outlier.optional,
                about: "when an endpoint is ejected for what it answers; absent: never"),
            .init(
                "accrual", \.cluster.accrual, Form<AccrualPolicy>.accrual.optional,
                .without("outlier"),
                about: "when an endpoint is shut out as Linkerd does it; absent: never"),
            .init(
                "retry", \.cluster.retry, Form<RetryPolicy>.retry.optional,
                about: "when a request is sent again; absent: never"),
            .init(
                "admission", \.cluster.admission, Form<AdmissionPolicy>.admission.optional,
                about: "when requests are turned away for the failures of others; absent: never"),
        ]
    }
}

extension Shape where Whole == RouteDraft {
    static var policies: [Field<RouteDraft>] {
        [
            .init(
                "retry", \.route.retry, Form<RetryPolicy>.retry.optional,
                about: "in place of the cluster's `retry`"),
            .init(
                "priority", \.route.priority, .choice, standard: "standard",
                about: "whose limits of the cluster's breaker hold"),
            .init(
                "rate_limits", \.route.rateLimits, .rateLimits, standard: "[]",
                about: "buckets that a request takes a token of each of, or is answered 429"),
        ]
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

extension ProxyConfiguration.Cluster {
    /// Those that say something else than where they are absent.
    var policyMembers: [JSON.Member] {
        var members: [JSON.Member] = []
        if balance != .init() { members.append(.init("balance", balance.json)) }
        if let outlier { members.append(.init("outlier", outlier.json)) }
        if let accrual { members.append(.init("accrual", accrual.json)) }
        if let retry { members.append(.init("retry", retry.json)) }
        if let admission { members.append(.init("admission", admission.json)) }
        return members
    }
}

extension ProxyConfiguration.Route {
    /// Those that say something else than where they are absent.
    var policyMembers: [JSON.Member] {
        var members: [JSON.Member] = []
        if let retry { members.append(.init("retry", retry.json)) }
        if priority != .standard { members.append(.init("priority", .string(priority.rawValue))) }
        if !rateLimits.isEmpty {
            members.append(.init("rate_limits", .array(rateLimits.map(\.json))))
        }
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
