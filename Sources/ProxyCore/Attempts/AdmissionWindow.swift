// Admission control: as a cluster's success falls below a threshold, requests to it are turned away
// at random before they are sent, so that what it gets is what it can do.

import Base
import Glibc
import Model

/// The requests of a window, and how many of them succeeded, by thirtieths of it.
///
/// Source: Envoy, `ThreadLocalControllerImpl` (a second each of 30) and
/// `AdmissionControlFilter::shouldRejectRequest`.
struct AdmissionWindow: BitwiseCopyable {
    let policy: Terms
    private var counts: SlidingCounts<30>

    /// In the window, as it was last looked at.
    var requests: Int { counts.requests }

    /// The policy in plain numbers.
    struct Terms: BitwiseCopyable {
        /// Shares, not percent.
        var threshold: Double
        var mostRejected: Double
        var aggression: Double
        var leastRate: Double
        var window: Duration

        init(_ policy: AdmissionPolicy) {
            threshold = max(policy.threshold / 100, 0.000_1)
            mostRejected = policy.mostRejected / 100
            aggression = max(policy.aggression, 0.000_1)
            leastRate = policy.leastRate
            window = policy.window
        }

        /// How likely a request is turned away: ((n − s/threshold)/(n + 1))^(1/aggression), between
        /// zero and `mostRejected`.
        func rejection(requests n: Int, successes s: Int) -> Double {
            var chance = (Double(n) - Double(s) / threshold) / Double(n + 1)
            guard chance > 0 else { return 0 }
            if aggression != 1 { chance = pow(chance, 1 / aggression) }
            return min(chance, mostRejected)
        }
    }

    init(_ policy: AdmissionPolicy) {
        self.policy = Terms(policy)
        counts = SlidingCounts(policy.window)
    }

    /// Whether the next request is turned away.
    mutating func rejects(now: Instant, _ random: inout SeededRandom) -> Bool {
        counts.advance(now)
        guard counts.requests > 0 else { return false }
        if Double(counts.requests) / policy.window.seconds < policy.leastRate { return false }
        let chance = policy.rejection(requests: counts.requests, successes: counts.marked)
        return chance > 0 && random.unit() < chance
    }

    /// How a request that was let in ended.
    mutating func note(success: Bool, now: Instant) {
        counts.advance(now)
        counts.addRequest()
        if success { counts.addMarked() }
    }
}
