public import Base

/// A token bucket that requests take from, shared by the workers of a proxy. One that finds it
/// empty is answered 429 with `RL` and `x-envoy-ratelimited`.
///
/// Source: Envoy, "Local rate limit".
public struct RateLimitPolicy: Codable, Equatable, Sendable {
    /// What the requests must have that it counts; empty: all.
    public var matches: [ProxyConfiguration.HeaderMatch]
    /// A bucket for each client identity (SPIFFE id), or each value of this field, instead of one
    /// for all. Bound: 1024 buckets; the rest share one.
    public var per: Key?
    /// Tokens that a full bucket has; it starts full. 1 or more.
    public var burst: Int
    /// Tokens that come each `interval`, 1 or more.
    public var fill: Int
    public var interval: Duration
    /// Percent of requests that are held against it.
    public var enabled: Double
    /// Percent of those without a token that are turned away; of the others it is only counted.
    public var enforced: Double
    /// Whether answers tell the limit (`x-ratelimit-limit`, `-remaining`, `-reset`).
    public var tells: Bool

    public enum Key: Codable, Equatable, Sendable {
        case identity
        /// Lower case.
        case header(String)
    }

    public init(
        burst: Int, fill: Int, interval: Duration = .seconds(1),
        matches: [ProxyConfiguration.HeaderMatch] = [], per: Key? = nil, enabled: Double = 100,
        enforced: Double = 100, tells: Bool = false
    ) {
        self.matches = matches
        self.per = per
        self.burst = burst
        self.fill = fill
        self.interval = interval
        self.enabled = enabled
        self.enforced = enforced
        self.tells = tells
    }
}
