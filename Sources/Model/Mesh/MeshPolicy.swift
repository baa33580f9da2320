public import Base

/// How requests to services are carried: what Istio has in a DestinationRule's traffic policy. Nil
/// is whatever the proxy does by itself.
public struct MeshPolicy: MeshDeclared, AttemptPolicies {
    public static let kind = MeshKind.policy

    /// How long the proxies of its clients wait.
    public struct Timeouts: Codable, Equatable, Sendable {
        /// For a connection to open.
        public var connect: Duration?
        /// From the end of the request to the end of the answer; `zero`: no limit.
        public var request: Duration?
        /// For a request on an open connection, before that is closed.
        public var idle: Duration?
        /// On a request of which nothing moves in either direction.
        public var streamIdle: Duration?
        /// For one attempt, from its connection to the end of its answer; `zero`: no limit.
        public var maxStream: Duration?
        /// Until a connection takes no more requests; `zero`: no limit.
        public var maxConnection: Duration?

        public init(connect: Duration? = nil, request: Duration? = nil, idle: Duration? = nil) {
            self.connect = connect
            self.request = request
            self.idle = idle
        }
    }

    /// What the service's own proxies hold requests against as they come in, whoever sends them.
    public struct Inbound: Codable, Equatable, Sendable {
        /// A request takes a token of each that means it. Each proxy has buckets of its own.
        public var rateLimits: [RateLimitPolicy]
        /// What all of its proxies limit together; nil: nothing.
        public var globalRateLimit: GlobalRateLimit?
        /// nil: none is turned away for the failures of others.
        public var admission: AdmissionPolicy?

        public init(rateLimits: [RateLimitPolicy] = [], admission: AdmissionPolicy? = nil) {
            self.rateLimits = rateLimits
            self.admission = admission
        }
    }

    public var namespace: String
    public var name: String
    /// Services by name, or all of a namespace, or all. Of several policies that mean a service
    /// the narrowest holds, alone.
    public var targets: [MeshName]
    public var timeouts: Timeouts
    /// nil: as `BreakerPolicy` has it where nothing is said.
    public var breaker: BreakerPolicy?
    public var retry: RetryPolicy?
    public var outlier: OutlierPolicy?
    public var accrual: AccrualPolicy?
    /// nil: as `BalancePolicy` has it where nothing is said.
    public var balance: BalancePolicy?
    public var admission: AdmissionPolicy?
    public var inbound: Inbound

    public init(
        _ name: String, in namespace: String = MeshName.standardNamespace, targets: [MeshName],
        timeouts: Timeouts = .init(), breaker: BreakerPolicy? = nil, retry: RetryPolicy? = nil,
        outlier: OutlierPolicy? = nil, accrual: AccrualPolicy? = nil,
        balance: BalancePolicy? = nil, admission: AdmissionPolicy? = nil,
        inbound: Inbound = .init()
    ) {
        self.namespace = namespace
        self.name = name
        self.targets = targets
        self.timeouts = timeouts
        self.breaker = breaker
        self.retry = retry
        self.outlier = outlier
        self.accrual = accrual
        self.balance = balance
        self.admission = admission
        self.inbound = inbound
    }

    public func check(_ problems: inout MeshProblems) {
        problems.list("to", targets, 1...MeshLimits.targets) {
            $0.reference(nil, $1, breadth: 2)
        }
        problems.at("timeout") { problems in
            if let connect = timeouts.connect {
                problems.range("connect", connect, MeshLimits.connectTimeout)
            }
            if let request = timeouts.request {
                problems.range("request", request, MeshLimits.timeout)
            }
            if let idle = timeouts.idle {
                problems.range("idle", idle, MeshLimits.positiveTimeout)
            }
            if let idle = timeouts.streamIdle {
                problems.range("stream_idle", idle, MeshLimits.positiveTimeout)
            }
            if let most = timeouts.maxStream {
                problems.range("max_stream", most, MeshLimits.timeout)
            }
            if let most = timeouts.maxConnection {
                problems.range("max_connection", most, MeshLimits.timeout)
            }
        }
        problems.part("breaker", breaker)
        problems.part("retry", retry)
        problems.part("outlier", outlier)
        problems.part("accrual", accrual)
        problems.part("balance", balance)
        problems.part("admission", admission)
        problems.at("inbound") { problems in
            problems.rateLimits(inbound.rateLimits)
            problems.part("global_rate_limit", inbound.globalRateLimit)
            problems.part("admission", inbound.admission)
        }
        checkTogether(&problems)
    }

    /// What several parts say against each other.
    private func checkTogether(_ problems: inout MeshProblems) {
        if outlier != nil, accrual != nil {
            problems.report("accrual", "has no meaning beside `outlier`: it is one or the other")
        }
        if let retry, retry.isOn, retry.budget == nil, breaker?.standard.retries == 0 {
            problems.at("breaker") {
                $0.report("retries", "0 lets nothing be sent again, which `retry` asks for")
            }
        }
        if self == MeshPolicy(name, in: namespace, targets: targets) {
            problems.report("a policy that says nothing, neither `timeout` nor `retry` nor others")
        }
    }
}

extension RetryPolicy {
    /// Whether anything is ever sent again.
    public var isOn: Bool { !on.isEmpty && most > 0 }
}

extension MeshProblems {
    mutating func part(_ step: String, _ policy: (some TrafficPolicy)?) {
        guard let policy else { return }
        at(step) { policy.check(&$0) }
    }

    mutating func rateLimits(_ limits: [RateLimitPolicy]) {
        list("rate_limits", limits, 0...TrafficLimits.rateLimits) { $1.check(&$0) }
    }
}
