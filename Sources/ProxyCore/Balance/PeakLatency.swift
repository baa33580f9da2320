// How long an endpoint takes to answer, as those believe who wait for it: a slow answer at once, a
// fast one little by little.

import Base
import Glibc

/// An exponentially weighted average of latencies in which peaks stay.
///
/// Source: Finagle, `PeakEwma`; tower, `tower::load::PeakEwma`, which Linkerd uses.
struct PeakLatency: BitwiseCopyable {
    /// Nanoseconds; 0: nothing is known yet.
    private var estimate = 0.0
    private var noted = Instant.zero

    /// What is expected at `now`, nanoseconds: it falls towards 0 while nothing is heard, so that
    /// an endpoint that was slow once is tried again.
    /// - Parameter standard: what is taken while nothing is known, from the first look on.
    mutating func value(_ standard: Duration, _ decay: Duration, now: Instant) -> Double {
        if estimate == 0 { start(standard, now: now) }
        settle(estimate * weight(decay, now: now), now: now)
        return estimate
    }

    /// An answer has come.
    mutating func note(_ latency: Duration, _ standard: Duration, _ decay: Duration, now: Instant) {
        if estimate == 0 { start(standard, now: now) }
        let found = Double(latency.nanoseconds)
        let old = weight(decay, now: now)
        settle(found > estimate ? found : estimate * old + found * (1 - old), now: now)
    }

    private mutating func start(_ standard: Duration, now: Instant) {
        estimate = Double(max(1, standard.nanoseconds))
        noted = now
    }

    private mutating func settle(_ value: Double, now: Instant) {
        // Nothing is so fast that it would pass for unknown.
        estimate = max(value, 1)
        noted = max(noted, now)
    }

    /// What is left of the estimate's weight.
    private func weight(_ decay: Duration, now: Instant) -> Double {
        let elapsed = Double(max(0, (now - noted).nanoseconds))
        return exp(-elapsed / Double(max(1, decay.nanoseconds)))
    }
}
