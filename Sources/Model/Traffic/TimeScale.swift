// A mesh whose own timers run faster. Ejections last half a minute and more where nobody is in a
// hurry; a test is. What waits for itself is shortened: sweeps, ejections, waits of breakers,
// windows over which something is counted, checks, slow starts. What a request can notice stays as
// it is said: its timeouts, backoffs and rate limits.

public import Base

/// What has times that the mesh waits for by itself.
public protocol TimeScaled {
    /// These times.
    static var ownTimes: [WritableKeyPath<Self, Duration>] { get }
}

extension TimeScaled {
    /// With the mesh's own times that many times as long.
    public func scaled(by factor: Double) -> Self {
        Self.ownTimes.reduce(into: self) { $0[keyPath: $1] = $0[keyPath: $1].scaled(by: factor) }
    }
}

extension OutlierPolicy: TimeScaled {
    public static var ownTimes: [WritableKeyPath<Self, Duration>] {
        [\.interval, \.baseEjection, \.mostEjection, \.jitter]
    }
}

extension AccrualPolicy: TimeScaled {
    public static var ownTimes: [WritableKeyPath<Self, Duration>] { [\.leastWait, \.mostWait] }
}

extension AccrualPolicy.SuccessRate: TimeScaled {
    public static var ownTimes: [WritableKeyPath<Self, Duration>] { [\.window] }
}

extension BalancePolicy: TimeScaled {
    public static var ownTimes: [WritableKeyPath<Self, Duration>] { [\.decay, \.slowStart] }
}

extension AdmissionPolicy {
    /// With the mesh's own times that many times as long.
    public func scaled(by factor: Double) -> AdmissionPolicy {
        var policy = self
        policy.window = window.scaled(
            by: factor, atLeast: TrafficLimits.admissionWindow.lowerBound)
        return policy
    }
}

extension RetryPolicy {
    /// With the mesh's own times that many times as long: the window of a budget by time.
    public func scaled(by factor: Double) -> RetryPolicy {
        var policy = self
        if case .rate(let percent, let window, let least)? = budget {
            let window = window.scaled(
                by: factor, atLeast: TrafficLimits.budgetWindow.lowerBound)
            policy.budget = .rate(percent: percent, window: window, leastPerSecond: least)
        }
        return policy
    }
}

extension MeshHealthCheck {
    /// With the mesh's own times that many times as long.
    public func scaled(by factor: Double) -> MeshHealthCheck {
        var check = self
        check.interval = interval.scaled(
            by: factor, atLeast: MeshLimits.healthInterval.lowerBound)
        check.timeout = timeout.scaled(by: factor)
        return check
    }
}

extension MeshPolicy {
    /// With the mesh's own times that many times as long.
    public func scaled(by factor: Double) -> MeshPolicy {
        var policy = self
        policy.retry = retry?.scaled(by: factor)
        policy.outlier = outlier?.scaled(by: factor)
        policy.accrual = accrual?.scaled(by: factor)
        policy.accrual?.successRate = accrual?.successRate?.scaled(by: factor)
        policy.balance = balance?.scaled(by: factor)
        policy.admission = admission?.scaled(by: factor)
        policy.inbound.admission = inbound.admission?.scaled(by: factor)
        return policy
    }
}

extension MeshDeclaration {
    /// With the mesh's own times that many times as long.
    public func scaled(by factor: Double) -> MeshDeclaration {
        guard factor != 1 else { return self }
        switch self {
        case .service(var service):
            service.health = service.health?.scaled(by: factor)
            return .service(service)
        case .policy(let policy): return .policy(policy.scaled(by: factor))
        case .route(var route):
            route.retry = route.retry?.scaled(by: factor)
            return .route(route)
        default: return self
        }
    }
}

extension Experiment {
    /// The changes as they are made: what they declare has the mesh's own times scaled, as all that
    /// is declared has.
    public var scaledChanges: [ChangePlan] {
        changes.map { change in
            guard case .apply(let declarations) = change.action else { return change }
            return ChangePlan(
                offset: change.offset,
                action: .apply(declarations.map { $0.scaled(by: mesh.timeScale) }))
        }
    }
}

extension Duration {
    /// That many times as long, but no shorter than a declaration may say it; what is off stays
    /// off.
    fileprivate func scaled(
        by factor: Double, atLeast least: Duration = TrafficLimits.span.lowerBound
    ) -> Duration {
        guard self > .zero else { return self }
        return max(least, .nanoseconds(Int64((Double(nanoseconds) * factor).rounded())))
    }
}
