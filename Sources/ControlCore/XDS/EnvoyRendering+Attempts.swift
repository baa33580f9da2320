import Base
import Model

// What becomes of traffic policies in Envoy's routes. Envoy has for a route what declarations may
// say of each destination: where destinations differ in it, the route is refused.

extension EnvoyRendering {
    /// What is done with the requests of a route.
    struct Carriage: Equatable {
        var timeout: Duration
        /// nil: as of the listener.
        var streamIdle: Duration?
        var retry: RetryPolicy?
        var hash: [BalancePolicy.HashKey]
    }

    /// As the policy for a service has it.
    func carriage(_ service: MeshName) -> Carriage {
        let policy = view.policy(for: service)
        return Carriage(
            timeout: policy?.timeouts.request ?? Self.requestTimeout,
            streamIdle: policy?.timeouts.streamIdle, retry: policy?.retry,
            hash: policy?.balance?.hash ?? [])
    }

    /// The members of a route's action.
    func action(
        _ carriage: Carriage, _ priority: Priority = .standard
    ) -> EnvoyValue {
        var action: EnvoyValue = ["timeout": .duration(carriage.timeout)]
        if let idle = carriage.streamIdle { action = action.with("idle_timeout", .duration(idle)) }
        if priority == .high { action = action.with("priority", "HIGH") }
        if !carriage.hash.isEmpty {
            action = action.with("hash_policy", .list(carriage.hash.map(Self.hashPolicy)))
        }
        guard let retry = carriage.retry, !retry.on.isEmpty, retry.most > 0 else { return action }
        action = action.with("retry_policy", Self.retry(retry))
        return retry.hedges
            ? action.with("hedge_policy", ["hedge_on_per_try_timeout": true]) : action
    }

    private static func hashPolicy(_ key: BalancePolicy.HashKey) -> EnvoyValue {
        // The first that a request has is taken.
        switch key {
        case .header(let name): ["header": ["header_name": .text(name)], "terminal": true]
        case .cookie(let name): ["cookie": ["name": .text(name)], "terminal": true]
        case .source: ["connection_properties": ["source_ip": true], "terminal": true]
        }
    }

    private static func retry(_ retry: RetryPolicy) -> EnvoyValue {
        var value: EnvoyValue = [
            "retry_on": .text(retry.on.map(\.rawValue).joined(separator: ",")),
            "num_retries": .number(retry.most),
            "retry_back_off": [
                "base_interval": .duration(retry.backoff.base),
                "max_interval": .duration(retry.backoff.most),
            ],
        ]
        if let perTry = retry.perTry { value = value.with("per_try_timeout", .duration(perTry)) }
        if !retry.statuses.isEmpty {
            value = value.with(
                "retriable_status_codes", .list(retry.statuses.map(EnvoyValue.number)))
        }
        if !retry.headers.isEmpty {
            value = value.with("retriable_headers", .list(headers([], retry.headers)))
        }
        if !retry.includesUnsafe {
            // Envoy asks nothing else of what it sends again: so it is asked for the method, also
            // of what nobody can have seen.
            let idempotent = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]
            value = value.with("retriable_request_headers", .list(headers(idempotent, [])))
        }
        if !retry.waitHeaders.isEmpty {
            let fields = retry.waitHeaders.map { header -> EnvoyValue in
                [
                    "name": .text(header.name),
                    "format": header.format == .unix ? "UNIX_TIMESTAMP" : "SECONDS",
                ]
            }
            value = value.with(
                "rate_limited_retry_back_off",
                ["reset_headers": .list(fields), "max_interval": .duration(retry.waitMost)])
        }
        guard retry.avoidsPreviousHosts else { return value }
        let name = "envoy.retry_host_predicates.previous_hosts"
        return
            value
            .with(
                "retry_host_predicate",
                [
                    .filter(
                        name,
                        .typed(
                            "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"))
                ]
            )
            .with("host_selection_retry_max_attempts", .number(retry.reselections))
    }

    // MARK: Rate limits

    static let rateLimitName = "envoy.filters.http.local_ratelimit"
    private static let rateLimitType =
        "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"

    /// The filter where routes have buckets of their own, or none.
    static var rateLimits: EnvoyValue {
        .filter(rateLimitName, .typed(rateLimitType, ["stat_prefix": "local"]))
    }

    /// A filter for each of some limits.
    static func rateLimits(
        _ limits: [RateLimitPolicy], of whose: String
    ) throws(EnvoyRefusal) -> [EnvoyValue] {
        var filters: [EnvoyValue] = []
        for limit in limits { filters.append(.filter(rateLimitName, try bucket(limit, whose))) }
        return filters
    }

    /// What a route says to the filter; nil: nothing.
    static func rateLimits(
        ofRoute route: MeshRoute
    ) throws(EnvoyRefusal) -> EnvoyValue? {
        guard let limit = route.rateLimits.first else { return nil }
        let whose = "the route \(route.meshName.text)"
        guard route.rateLimits.count == 1 else {
            throw EnvoyRefusal("\(whose) has several rate limits, and Envoy has one for a route")
        }
        return .object([.init(name: rateLimitName, value: try bucket(limit, whose))])
    }

    /// Envoy's filter asks one service for all routes of a listener, with what each of them says.
    static func refuse(_ limit: GlobalRateLimit?, of whose: String) throws(EnvoyRefusal) {
        guard limit != nil else { return }
        throw EnvoyRefusal(
            "\(whose) has a global rate limit of its own, and Envoy has one service for a listener")
    }

    private static func bucket(
        _ limit: RateLimitPolicy, _ whose: String
    ) throws(EnvoyRefusal) -> EnvoyValue {
        guard limit.per == nil, limit.matches.isEmpty else {
            throw EnvoyRefusal(
                "a rate limit of \(whose) is for some requests, or has several buckets, which "
                    + "Envoy has by descriptors only")
        }
        guard limit.interval >= .milliseconds(50) else {
            throw EnvoyRefusal(
                "a rate limit of \(whose) is filled more often than every 50 ms, which Envoy does "
                    + "not")
        }
        func share(_ percent: Double) -> EnvoyValue {
            [
                "default_value": [
                    "numerator": .number(Int((percent * 1e4).rounded())), "denominator": "MILLION",
                ]
            ]
        }
        return .typed(
            rateLimitType,
            [
                "stat_prefix": "local",
                "token_bucket": [
                    "max_tokens": .number(limit.burst), "tokens_per_fill": .number(limit.fill),
                    "fill_interval": .duration(limit.interval),
                ],
                "filter_enabled": share(limit.enabled), "filter_enforced": share(limit.enforced),
                "enable_x_ratelimit_headers": limit.tells ? "DRAFT_VERSION_03" : "OFF",
            ])
    }

    // MARK: Admission

    /// For what its own process fails.
    static func admission(_ policy: AdmissionPolicy) -> EnvoyValue {
        // Envoy refuses a default that nothing can change at run time: each has a name, which
        // nobody sets.
        func standard(_ name: String, _ value: EnvoyValue) -> EnvoyValue {
            ["default_value": value, "runtime_key": .text("meshbench.admission.\(name)")]
        }
        return .filter(
            "envoy.filters.http.admission_control",
            .typed(
                "envoy.extensions.filters.http.admission_control.v3.AdmissionControl",
                [
                    "enabled": standard("enabled", true),
                    // Those of Envoy: what is no 5xx, and what gRPC has for it.
                    "success_criteria": [:],
                    "sampling_window": .duration(policy.window),
                    "aggression": standard("aggression", .decimal(policy.aggression)),
                    "sr_threshold": standard("threshold", percent(policy.threshold)),
                    "rps_threshold": standard(
                        "min_rate", .number(Int(policy.leastRate.rounded()))),
                    "max_rejection_probability": standard(
                        "max_rejected", percent(policy.mostRejected)),
                ]))
    }
}
