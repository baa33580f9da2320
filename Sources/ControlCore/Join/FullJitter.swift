// How long to wait before another attempt.

public import Base

/// Waits that are drawn uniformly between nothing and a bound that doubles with each attempt, so
/// that many who lost the same server at once do not come back at once.
///
/// Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("full jitter").
public struct FullJitter: Equatable, Sendable {
    /// The bound of the first wait.
    public var base: Duration
    /// What no bound exceeds.
    public var cap: Duration

    public init(base: Duration, cap: Duration) {
        self.base = base
        self.cap = cap
    }

    /// The longest wait before attempt `attempt`, counted from 0.
    public func bound(_ attempt: Int) -> Duration {
        // Bound: 2 to the 20th is far beyond any cap in use, and does not overflow.
        min(cap, base * (1 << Int64(max(0, min(attempt, 20)))))
    }

    public func delay(_ attempt: Int, _ random: inout some RandomNumberGenerator) -> Duration {
        .nanoseconds(Int64.random(in: 0...bound(attempt).nanoseconds, using: &random))
    }
}
