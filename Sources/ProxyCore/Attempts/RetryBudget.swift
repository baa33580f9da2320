// What all retries to a cluster together may come to. Two kinds, which differ most where there is
// little to do: the one by concurrency lets `least` retries be in flight whatever their rate, the
// one by rate lets so many begin each second however long they take.

import Base
import Model

/// Envoy's: retries in flight against requests in flight.
///
/// Retries are requests in flight too: of r retries at o other requests r ≤ p(o + r) holds, so a
/// budget of 20 % lets a cluster that fails altogether see 1.25 times the requests.
///
/// Source: Envoy, `RetryBudgetImpl` of `ResourceManagerImpl`.
enum ConcurrencyBudget {
    /// How many retries may be in flight.
    static func most(percent: Double, least: Int, active: Int, pending: Int) -> Int {
        max(least, Int((percent / 100 * Double(active + pending)).rounded(.down)))
    }
}

/// Linkerd's and the Gateway API's: over a window, `percent` of the requests, and so many a second
/// besides. The window moves by tenths.
///
/// Source: tower, `retry::budget::TpsBudget`; Gateway API, `BudgetDetails`.
struct RateBudget: BitwiseCopyable {
    /// Percent, as a factor.
    let share: Double
    /// What the window has besides.
    let reserve: Double
    private var counts: SlidingCounts<10>

    /// - Parameter workers: by which the floor is divided: each worker has its own budget. A part
    ///   that lets less than one retry a window is none, so each that has a floor lets one.
    init(percent: Double, window: Duration, leastPerSecond: Double, workers: Int = 1) {
        share = percent / 100
        let part = leastPerSecond * window.seconds / Double(max(workers, 1))
        reserve = leastPerSecond > 0 ? max(part, 1) : 0
        counts = SlidingCounts(window)
    }

    /// Those of the window.
    var requests: Int { counts.requests }

    /// A request is sent for the first time.
    mutating func noteRequest(now: Instant) {
        counts.advance(now)
        counts.addRequest()
    }

    /// Whether one more retry may begin.
    mutating func hasRoom(now: Instant) -> Bool {
        counts.advance(now)
        return Double(counts.marked + 1) <= share * Double(counts.requests) + reserve
    }

    mutating func noteRetry(now: Instant) {
        counts.advance(now)
        counts.addMarked()
    }

    /// A retry that was noted is not sent after all.
    mutating func giveBack(now: Instant) {
        counts.advance(now)
        counts.removeMarked()
    }
}
