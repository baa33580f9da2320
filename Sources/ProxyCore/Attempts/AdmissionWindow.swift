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
    private static let slots = 30

    let policy: Terms
    private var requests: InlineArray<30, Int32> = .init(repeating: 0)
    private var successes: InlineArray<30, Int32> = .init(repeating: 0)
    private(set) var requestSum = 0
    private(set) var successSum = 0
    private var current: Int64 = 0

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

    init(_ policy: AdmissionPolicy) { self.policy = Terms(policy) }

    /// Whether the next request is turned away.
    mutating func rejects(now: Instant, _ random: inout SeededRandom) -> Bool {
        advance(now)
        guard requestSum > 0 else { return false }
        if Double(requestSum) / policy.window.seconds < policy.leastRate { return false }
        let chance = policy.rejection(requests: requestSum, successes: successSum)
        return chance > 0 && random.unit() < chance
    }

    /// How a request that was let in ended.
    mutating func note(success: Bool, now: Instant) {
        advance(now)
        let place = Int(current % Int64(Self.slots))
        requests[place] &+= 1
        requestSum += 1
        guard success else { return }
        successes[place] &+= 1
        successSum += 1
    }

    private mutating func advance(_ now: Instant) {
        let slot = max(policy.window.nanoseconds / Int64(Self.slots), 1)
        let index = now.nanoseconds / slot
        guard index > current else { return }
        for i in 0..<min(index - current, Int64(Self.slots)) {
            let old = Int((index - i) % Int64(Self.slots))
            requestSum -= Int(requests[old])
            successSum -= Int(successes[old])
            requests[old] = 0
            successes[old] = 0
        }
        current = index
    }
}
