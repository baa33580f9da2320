// Linkerd's breaker of one endpoint: no sockets, no threads, no clock.
//
//     open ──failures in a row──▶ shut ──wait──▶ probation ──a good answer──▶ open
//                                  ▲                 │
//                                  └── twice the wait, a bad answer

import Base
import Model

/// Whether an endpoint that has failed often in a row is asked again.
///
/// Source: linkerd2-proxy, `breaker/consecutive_failures.rs`.
struct AccrualGate: Equatable {
    enum Stage: Equatable {
        case open
        /// Nothing is sent to it until then.
        case shut(until: Instant)
        /// One request is sent to it, which is on its way already or not.
        case probation(isTaken: Bool)
    }

    private(set) var stage = Stage.open
    private var wait = Duration.zero

    /// It has failed as often in a row as the policy says.
    /// - Parameter chance: uniform in [0, 1), for the jitter.
    mutating func trip(_ policy: AccrualPolicy, chance: Double, now: Instant) {
        guard stage == .open else { return }
        wait = policy.leastWait
        shut(policy, chance: chance, now: now)
    }

    /// An answer or failure of the endpoint. While it is shut that says nothing: the request was
    /// sent before. On probation the first that comes decides, as with Linkerd.
    /// - Parameter chance: uniform in [0, 1), for the jitter.
    mutating func heard(isSuccess: Bool, _ policy: AccrualPolicy, chance: Double, now: Instant) {
        guard case .probation = stage else { return }
        if isSuccess {
            stage = .open
        } else {
            wait = min(policy.mostWait, wait * 2)
            shut(policy, chance: chance, now: now)
        }
    }

    private mutating func shut(_ policy: AccrualPolicy, chance: Double, now: Instant) {
        let longer = Double(wait.nanoseconds) * (1 + policy.jitter * chance)
        let span = min(Duration(nanoseconds: Int64(longer)), policy.mostWait)
        stage = .shut(until: now + span)
    }

    /// When the wait ends; nil: there is none.
    var due: Instant? {
        if case .shut(let until) = stage { until } else { nil }
    }

    /// The wait may be over.
    mutating func expire(now: Instant) {
        if let due, due <= now { stage = .probation(isTaken: false) }
    }

    /// A request is sent to it.
    mutating func took() {
        if case .probation = stage { stage = .probation(isTaken: true) }
    }

    /// The request on probation was given up by others: the next one is asked instead.
    mutating func gaveUp() {
        if case .probation = stage { stage = .probation(isTaken: false) }
    }
}
