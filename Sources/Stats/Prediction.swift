/// What theory says of a value, and where that of a sample falls if theory is right.
public struct Prediction: Equatable, Sendable {
    /// Why a sample's value is not the prediction itself.
    public enum Spread: Equatable, Sendable {
        /// A share of requests, each of which meets it or not. `dispersion` is how much more the
        /// count varies than if each request were by itself (1 where it is): n requests say as
        /// much as n / dispersion that do not depend on each other.
        case share(dispersion: Double)
        /// A mean over requests, of which one has this variance; and whatever the chance, so many
        /// requests' worth may be missing or too many in each round (`slack`), as at its ends.
        case mean(variance: Double, slack: Double)
        /// A quantile of a sum of uniform numbers.
        case quantile(UniformSum, Double)
        /// Whatever the sample.
        case range(Interval)
    }

    public var value: Double
    public var spread: Spread

    public init(_ value: Double, _ spread: Spread) {
        self.value = value
        self.spread = spread
    }

    /// Where the value of so many requests lies with at least this confidence.
    ///
    /// Of a share, exact quantiles of the binomial distribution of the effective sample; of a mean,
    /// by the normal distribution.
    /// - Parameters:
    ///   - samples: of all rounds together.
    ///   - rounds: 1 or more.
    /// - Precondition: `confidence` is between 0 and 1. Without samples it is anywhere: nil.
    public func interval(samples: UInt64, rounds: Int = 1, confidence: Double) -> Interval? {
        let tail = tail(confidence: confidence)
        guard value.isFinite else { return nil }
        if case .range(let interval) = spread { return interval }
        guard samples > 0 else { return nil }
        switch spread {
        case .share(let dispersion):
            let effective = max(1, (Double(samples) / dispersion).rounded(.down))
            return Proportion.range(of: value, trials: UInt64(effective), tail: tail)
        case .mean(let variance, let slack):
            let z = Normal.quantile(1 - tail)
            let reach =
                z * (variance / Double(samples)).squareRoot()
                + slack * Double(rounds) / Double(samples)
            return Interval(low: value - reach, high: value + reach)
        case .quantile(let sum, let quantile):
            // As many lie below a sample's quantile as a draw of so many with that chance gives.
            let shares = Proportion.range(of: quantile, trials: samples, tail: tail)
            return Interval(low: sum.quantile(shares.low), high: sum.quantile(shares.high))
        case .range(let interval): return interval
        }
    }
}

extension Proportion {
    /// From the least to the greatest share of `trials` independent trials that is not less likely
    /// than `tail` on its side, where the true share is `share`.
    static func range(of share: Double, trials: UInt64, tail: Double) -> Interval {
        precondition(trials > 0, "a share of nothing")
        guard share > 0, share < 1 else { return Interval(low: share, high: share) }
        let n = Double(trials)
        /// P(X ≤ k).
        func cumulative(_ k: UInt64) -> Double {
            k >= trials ? 1 : Beta.cumulative(1 - share, n - Double(k), Double(k) + 1)
        }
        /// The least k for which P(X ≤ k) is above `limit`.
        func quantile(_ limit: Double) -> UInt64 {
            var (low, high) = (UInt64(0), trials)
            while low < high {
                let middle = low + (high - low) / 2
                if cumulative(middle) > limit { high = middle } else { low = middle + 1 }
            }
            return low
        }
        // At the upper end P(X > k) ≤ tail: rounding must not lose the last of a small tail.
        let high = quantile((1 - tail).nextDown)
        return Interval(low: Double(min(quantile(tail), high)) / n, high: Double(high) / n)
    }
}
