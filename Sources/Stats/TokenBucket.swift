public import Base

/// What a token bucket lets through: `burst` at once, and a rate in the long run.
///
/// In whole numbers throughout: whether a token that falls due at the instant of a request is there
/// must not depend on how a sum was rounded.
///
/// Source: RFC 2697 and ITU-T I.371 (the generic cell rate algorithm is the same bucket, told in
/// time); Envoy, "Local rate limit", for the bucket that is filled in steps.
public struct TokenBucket: Equatable, Sendable {
    /// Tokens that the bucket holds, and holds at the start.
    public let burst: Int
    /// Tokens that come in each `interval`.
    public let tokens: Int
    public let interval: Duration

    /// - Precondition: `burst` and `interval` are above zero (an empty bucket admits nothing, ever)
    ///   and `tokens` is not below.
    public init(burst: Int, tokens: Int, per interval: Duration = .seconds(1)) {
        precondition(
            burst >= 1 && tokens >= 0 && interval > .zero,
            "a bucket of \(burst), \(tokens) in \(interval.nanoseconds) ns")
        self.burst = burst
        self.tokens = tokens
        self.interval = interval
    }

    /// How many of the requests arriving evenly at `offered` a second are admitted in `time`; good
    /// to one request where the bucket is filled continuously.
    /// - Precondition: neither is negative.
    public func admitted(offered: Double, time: Duration) -> Double {
        precondition(offered >= 0 && time >= .zero, "\(offered) a second")
        let filled = Double(tokens) * (time.seconds / interval.seconds)
        return min(offered * time.seconds, Double(burst) + filled)
    }

    /// How many of the requests at these instants, in rising order, are admitted, the bucket being
    /// full at the first and filled continuously.
    public func admitted(arrivals: some Sequence<Duration>) -> Int {
        // In parts of a token: one comes each nanosecond for each of `tokens`.
        let token = Int128(interval.nanoseconds)
        var held = Int128(burst) * token
        var last: Duration?
        var admitted = 0
        for arrival in arrivals {
            if let last {
                let come = Int128((arrival - last).nanoseconds) * Int128(tokens)
                held = min(Int128(burst) * token, held + come)
            }
            last = arrival
            if held >= token {
                held -= token
                admitted += 1
            }
        }
        return admitted
    }

    /// How many requests the bucket admits in `time` when it is filled in steps, one each
    /// `interval`, while there are always more waiting at its door: all it held, and all that each
    /// step within that time brought.
    /// - Precondition: `time` is not negative.
    public func saturated(time: Duration) -> Int {
        precondition(time >= .zero, "\(time.nanoseconds) ns")
        return burst + Int(time.nanoseconds / interval.nanoseconds) * min(tokens, burst)
    }
}
