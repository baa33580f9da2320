// How long to wait before a retry.

import Base
import Model

/// Exponential backoff with full jitter: before the n-th retry a uniform time from zero to
/// (2ⁿ − 1)·`base`, but not more than `most`. The bound is capped, not what was drawn, so that the
/// wait is uniform also where it is capped.
///
/// Source: Envoy, "x-envoy-max-retries"; Brooker, "Exponential backoff and jitter", 2015.
struct Backoff: BitwiseCopyable {
    var base: Duration
    var most: Duration

    init(_ policy: RetryPolicy.Backoff) {
        base = max(policy.base, .milliseconds(1))
        most = max(policy.most, base)
    }

    /// The longest wait before the `n`-th retry.
    /// - Precondition: `n` is 1 or more.
    func bound(before n: Int) -> Duration {
        precondition(n >= 1, "the retry before the first")
        // From 2⁴⁰ on any base of a millisecond is beyond a week.
        let factor = (Int64(1) << Int64(min(n, 40))) - 1
        let (product, overflows) = base.nanoseconds.multipliedReportingOverflow(by: factor)
        return overflows ? most : min(most, Duration(nanoseconds: product))
    }

    /// The wait before the `n`-th retry.
    func wait(before n: Int, _ random: inout SeededRandom) -> Duration {
        Self.uniform(.zero, bound(before: n), &random)
    }

    /// A uniform time from `least` to `most`.
    static func uniform(
        _ least: Duration, _ most: Duration, _ random: inout SeededRandom
    ) -> Duration {
        guard most > least else { return least }
        let span = Int((most - least).nanoseconds) + 1
        return least + Duration(nanoseconds: Int64(random.below(span)))
    }
}

/// What an answer says of the time to wait.
///
/// Source: Envoy, `ResetHeaderParserImpl`, `RateLimitedRetryBackOff`.
enum WaitAdvice {
    /// How long the value of a header says that is to be waited; nil: it says nothing that counts.
    /// - Parameters:
    ///   - wallSeconds: since 1970; nil: nobody knows.
    ///   - most: what is longer does not count.
    static func wait(
        _ value: Bytes, _ format: RetryPolicy.WaitHeader.Format, wallSeconds: Int64?, most: Duration
    ) -> Duration? {
        // Ten digits are the year 2286. In nanoseconds they are more than there are.
        guard let number = decimal(value, digits: 10) else { return nil }
        let seconds: Int64
        switch format {
        case .seconds: seconds = Int64(number)
        case .unix:
            guard let wallSeconds, Int64(number) > wallSeconds else { return nil }
            seconds = Int64(number) - wallSeconds
        }
        return seconds <= most.nanoseconds / 1_000_000_000 ? .seconds(seconds) : nil
    }

    /// A uniform time from that to half as long again, so that not all come back at once.
    static func jittered(_ wait: Duration, _ random: inout SeededRandom) -> Duration {
        Backoff.uniform(wait, wait + wait / 2, &random)
    }

    /// A number of digits alone, at most so many; nil: it is none.
    static func decimal(_ value: Bytes, digits: Int) -> Int? {
        guard value.count > 0, value.count <= digits else { return nil }
        var number = 0
        for i in 0..<value.count {
            let digit = value[i] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            number = number * 10 + Int(digit)
        }
        return number
    }
}
