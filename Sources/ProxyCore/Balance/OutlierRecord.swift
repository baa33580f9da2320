// When one endpoint is ejected and when it comes back: no sockets, no threads, no clock.

import Base
import Model

/// Why an endpoint is left out.
///
/// Source: Envoy, `envoy.data.cluster.v3.OutlierEjectionType`, and Linkerd's failure accrual.
public enum EjectionReason: Int, CaseIterable, Sendable {
    case consecutive5xx
    case consecutiveGateway
    case consecutiveLocal
    case successRate
    case successRateLocal
    case failurePercentage
    case failurePercentageLocal
    case accrual
    case accrualRate

    /// Its name in counters and events, Envoy's where there is one.
    public var name: String {
        switch self {
        case .consecutive5xx: "consecutive_5xx"
        case .consecutiveGateway: "consecutive_gateway_failure"
        case .consecutiveLocal: "consecutive_local_origin_failure"
        case .successRate: "success_rate"
        case .successRateLocal: "local_origin_success_rate"
        case .failurePercentage: "failure_percentage"
        case .failurePercentageLocal: "local_origin_failure_percentage"
        case .accrual: "failure_accrual"
        case .accrualRate: "success_rate_accrual"
        }
    }
}

extension OutlierPolicy {
    /// How often an ejection for that reason is made, percent.
    func enforcing(_ reason: EjectionReason) -> Double {
        switch reason {
        case .consecutive5xx: consecutive5xx.enforcing
        case .consecutiveGateway: consecutiveGateway.enforcing
        case .consecutiveLocal: consecutiveLocal.enforcing
        case .successRate, .successRateLocal: successRate.enforcing
        case .failurePercentage, .failurePercentageLocal: failurePercentage.enforcing
        case .accrual, .accrualRate: 100
        }
    }

    /// Whether one more may be ejected of `hosts`, with `ejected` that are.
    ///
    /// Source: Envoy, `DetectorImpl::ejectHost`: the share with the new one must not be above the
    /// limit. Before 2023 the share without it had to be below, so that one was always ejected.
    func admitsEjection(ejected: Int, hosts: Int) -> Bool {
        if alwaysEjectsOne, ejected == 0 { return true }
        return 100 * Double(ejected + 1) / Double(hosts) <= min(100, mostPercent)
    }
}

/// One endpoint's ejections.
///
/// Source: Envoy, `DetectorHostMonitorImpl`, `DetectorImpl::ejectHost`, `checkHostForUneject` and
/// `onIntervalTimer`.
struct OutlierRecord: Equatable {
    private(set) var isEjected = false
    /// How often it has been ejected.
    private(set) var ejections = 0
    /// Times the base time: how long its ejection lasts. One more with each ejection, one less with
    /// each interval that it was well.
    private(set) var times = 0
    private(set) var jitter = Duration.zero
    private(set) var ejected: Instant?
    private(set) var returned: Instant?

    /// - Parameter chance: uniform in [0, 1): how much of the jitter it gets.
    mutating func eject(_ policy: OutlierPolicy, chance: Double, now: Instant) {
        precondition(!isEjected, "an endpoint is ejected twice")
        isEjected = true
        ejections += 1
        ejected = now
        jitter = Duration(nanoseconds: Int64(Double(policy.jitter.nanoseconds) * chance))
        // Bound: past the longest time it does not count on, or coming down would take as long.
        if policy.baseEjection * Int64(times) < policy.longestEjection + policy.baseEjection {
            times += 1
        }
    }

    /// How long its ejection lasts, until the first sweep after.
    func span(_ policy: OutlierPolicy) -> Duration {
        min(policy.baseEjection * Int64(times), policy.longestEjection) + jitter
    }

    /// Whether it comes back at a sweep at `now`.
    func isDue(_ policy: OutlierPolicy, now: Instant) -> Bool {
        guard isEjected, let ejected else { return false }
        return span(policy) <= now - ejected
    }

    mutating func takeBack(now: Instant) {
        precondition(isEjected, "an endpoint returns that was not ejected")
        isEjected = false
        returned = now
    }

    /// At the end of a sweep: an interval without an ejection makes the next one shorter.
    mutating func calm(_ policy: OutlierPolicy, now: Instant) {
        guard !isEjected, let returned, now - returned >= policy.interval else { return }
        times = max(0, times - 1)
    }
}
