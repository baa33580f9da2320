/// What a token bucket lets through: `burst` at once, and `rate` a second in the long run.
///
/// Source: RFC 2697 and ITU-T I.371 (the generic cell rate algorithm is the same bucket, told in
/// time); Envoy, "Local rate limit", for the bucket that is filled in steps.
public struct TokenBucket: Equatable, Sendable {
    /// Tokens that the bucket holds, and holds at the start.
    public let burst: Double
    /// Tokens a second.
    public let rate: Double

    /// - Precondition: `burst` ≥ 1 (less admits nothing, ever) and `rate` ≥ 0.
    public init(burst: Double, rate: Double) {
        precondition(burst >= 1 && rate >= 0, "a bucket of \(burst), \(rate) a second")
        self.burst = burst
        self.rate = rate
    }

    /// How many of the requests arriving evenly at `offered` a second are admitted in `seconds`;
    /// good to one request where the bucket is filled continuously.
    /// - Precondition: neither is negative.
    public func admitted(offered: Double, seconds: Double) -> Double {
        precondition(offered >= 0 && seconds >= 0, "\(offered) a second for \(seconds) s")
        return min(offered * seconds, burst + rate * seconds)
    }

    /// How many of the requests at these instants, in seconds and in rising order, are admitted,
    /// the bucket being full at the first and filled continuously.
    public func admitted(arrivals: some Sequence<Double>) -> Int {
        var tokens = burst
        var last: Double?
        var admitted = 0
        for arrival in arrivals {
            if let last { tokens = min(burst, tokens + (arrival - last) * rate) }
            last = arrival
            if tokens >= 1 {
                tokens -= 1
                admitted += 1
            }
        }
        return admitted
    }

    /// How many requests a bucket filled in steps admits in `seconds` while there are always more
    /// waiting at its door: all it held, and all that each step within that time brought.
    /// - Precondition: `step` > 0, `seconds` ≥ 0.
    public static func saturated(
        burst: Int, tokensPerStep: Int, step: Double, seconds: Double
    ) -> Int {
        precondition(step > 0 && seconds >= 0, "a step of \(step) s, \(seconds) s")
        return burst + Int((seconds / step).rounded(.down)) * min(tokensPerStep, burst)
    }
}
