public import Base

/// So many at once, and so many a second in the long run: for what costs the peer nothing and this
/// side something.
public struct Allowance: Sendable {
    /// So many at once.
    public let burst: Double
    /// Per second.
    public let rate: Double
    private var left: Double
    private var since = Instant.zero

    public init(burst: Double, rate: Double) {
        self.burst = burst
        self.rate = rate
        left = burst
    }

    /// Takes one. False: there was none.
    public mutating func take(at now: Instant) -> Bool {
        left = min(burst, left + max(0, (now - since).seconds) * rate) - 1
        since = now
        guard left < 0 else { return true }
        left = 0
        return false
    }

    /// Gives some that were earned.
    public mutating func give(_ count: Double) { left = min(burst, left + count) }
}
