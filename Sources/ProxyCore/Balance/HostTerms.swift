import Base
import Model

/// What an endpoint counts for at one moment, in one cluster.
struct HostTerms: BitwiseCopyable {
    let now: Instant
    let slowStart: Duration
    let standardLatency: Duration
    let decay: Duration

    init(_ policy: BalancePolicy, now: Instant) {
        self.now = now
        slowStart = policy.slowStart
        standardLatency = policy.standardLatency
        decay = policy.decay
    }

    /// Envoy's `min_weight_percent`.
    private static let leastShare = 0.1

    /// An endpoint's weight; in its slow start less, in proportion to the time since it came.
    ///
    /// Source: Envoy, `EdfLoadBalancerBase::applySlowStartFactor`, with an aggression of 1.
    func weight(_ weight: Double, _ endpoint: Endpoint) -> Double {
        guard slowStart > .zero else { return weight }
        let age = now - endpoint.joined
        guard age < slowStart else { return weight }
        let share = Double(max(1_000_000, age.nanoseconds)) / Double(slowStart.nanoseconds)
        return weight * max(share, Self.leastShare)
    }

    /// Nanoseconds that are expected to pass until the endpoint has answered one request more.
    func cost(_ endpoint: inout Endpoint) -> Double {
        let latency = endpoint.latency.value(standardLatency, decay, now: now)
        return latency * Double(endpoint.active + 1)
    }
}
