// How often an endpoint has succeeded of late, for Linkerd's breaker: two atomics that all workers
// write. No clock.
//
//     answer ──▶ time: the newest wins, and gives back the one before ──▶ weight of this answer
//            ──▶ rate and count in one word
//
// Each answer moves the rate by the time since the one before it, so that what workers write at
// once adds up to what one would have written. Answers of one instant count as the first of them,
// as with Linkerd: the others are counted, and weigh nothing.

import Base
import Glibc
import Model
import Synchronization

/// When a share of successes is too low, as far as requests look at it.
struct AccrualRateRule: BitwiseCopyable {
    /// 0 to 1.
    let threshold: Double
    let window: Duration
    /// Bound: what an `AccrualRate` can count. More is asked of nobody, or it would never act.
    let requests: UInt32

    init(_ rate: AccrualPolicy.SuccessRate) {
        threshold = rate.threshold / 100
        window = rate.window
        requests = min(UInt32(clamping: rate.requests), AccrualRate.most)
    }
}

/// The average of one endpoint. A handle: copies mean the same words, which live as long as those
/// of its `HostMarks`.
///
/// Source: linkerd2-proxy, `breaker/unified.rs` and `linkerd/ewma`.
@safe
struct AccrualRate: BitwiseCopyable, @unchecked Sendable {
    // Safety: two initialized atomics until the board goes.
    private let words: UnsafeMutablePointer<Atomic<UInt64>>

    init(_ words: UnsafeMutablePointer<Atomic<UInt64>>) { unsafe self.words = words }

    /// Linkerd's `IDLE_COLD_START_FACTOR`: after so many windows without an answer the next one
    /// alone would nearly be the average, and must not decide.
    static let idleWindows: Int64 = 3

    /// Nothing is known: it is taken to have succeeded always.
    func begin(now: Instant) {
        unsafe words[0].store(UInt64(bitPattern: now.nanoseconds), ordering: .relaxed)
        unsafe words[1].store(Self.word(rate: 1, count: 0), ordering: .relaxed)
    }

    /// An answer has come, or what stands for one.
    /// - Returns: whether there have been enough, and too few of them were good.
    func note(isGood: Bool, _ rule: AccrualRateRule, now: Instant) -> Bool {
        let stamp = UInt64(bitPattern: now.nanoseconds)
        let before = unsafe words[0].max(stamp, ordering: .relaxed).oldValue
        // Workers' turns begin at different instants: one may come behind another's.
        let elapsed = Duration(nanoseconds: Int64(stamp > before ? stamp - before : 0))
        let windows = Double(elapsed.nanoseconds) / Double(max(1, rule.window.nanoseconds))
        let old = exp(-windows)
        let isIdle = elapsed > rule.window * Self.idleWindows
        var word = unsafe words[1].load(ordering: .relaxed)
        while true {
            let count = isIdle ? 0 : Self.count(word)
            let rate = Self.rate(word) * old + (isGood ? 1 - old : 0)
            // Bound: a count that is full says enough.
            let next = Self.word(rate: rate, count: min(count + 1, Self.most))
            let (isDone, found) = unsafe words[1].weakCompareExchange(
                expected: word, desired: next, ordering: .relaxed)
            if isDone { return Self.count(next) >= rule.requests && rate < rule.threshold }
            word = found
        }
    }

    /// The share, and how many answers it rests on.
    var seen: (rate: Double, count: UInt32) {
        let word = unsafe words[1].load(ordering: .relaxed)
        return (Self.rate(word), Self.count(word))
    }

    // 40 bits for the share and 24 for the count. A share in 32 bits would lose what one good
    // answer adds where thousands come in a window, and keep what a failure takes away.
    private static let one = Double(1 << 39)
    static let most: UInt32 = (1 << 24) - 1

    private static func word(rate: Double, count: UInt32) -> UInt64 {
        UInt64(count) << 40 | UInt64((min(1, max(0, rate)) * one).rounded())
    }

    private static func count(_ word: UInt64) -> UInt32 { UInt32(word >> 40) }

    private static func rate(_ word: UInt64) -> Double { Double(word & ((1 << 40) - 1)) / one }
}
