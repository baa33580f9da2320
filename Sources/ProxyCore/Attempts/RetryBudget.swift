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
    private static let slots = 10

    /// Percent, as a factor.
    let share: Double
    let slot: Duration
    /// What the window has besides.
    let reserve: Double
    private var requests: InlineArray<10, Int32> = .init(repeating: 0)
    private var retries: InlineArray<10, Int32> = .init(repeating: 0)
    private var requestSum = 0
    private var retrySum = 0
    /// The slot that is filled now, counted from the beginning of time.
    private var current: Int64 = 0

    /// - Parameter workers: by which the floor is divided: each worker has its own budget.
    init(percent: Double, window: Duration, leastPerSecond: Double, workers: Int = 1) {
        share = percent / 100
        slot = max(window / Int64(Self.slots), .milliseconds(1))
        reserve = leastPerSecond * window.seconds / Double(max(workers, 1))
    }

    /// A request, or a retry, is sent for the first time.
    mutating func noteRequest(now: Instant) {
        advance(now)
        requests[place] &+= 1
        requestSum += 1
    }

    /// Whether one more retry may begin.
    mutating func hasRoom(now: Instant) -> Bool {
        advance(now)
        return Double(retrySum + 1) <= share * Double(requestSum) + reserve
    }

    mutating func noteRetry(now: Instant) {
        advance(now)
        retries[place] &+= 1
        retrySum += 1
    }

    private var place: Int { Int(current % Int64(Self.slots)) }

    /// Forgets what is a window ago.
    private mutating func advance(_ now: Instant) {
        let index = now.nanoseconds / slot.nanoseconds
        guard index > current else { return }
        for i in 0..<min(index - current, Int64(Self.slots)) {
            let old = Int((index - i) % Int64(Self.slots))
            requestSum -= Int(requests[old])
            retrySum -= Int(retries[old])
            requests[old] = 0
            retries[old] = 0
        }
        current = index
    }
}
