// How far a sample quantile may be from the true one, whatever the distribution: the number of
// samples below the true q-quantile is binomial (n, q), so two ranks of the sorted sample enclose
// it.

/// Which samples, counted from the least, enclose the true quantile of what they were drawn from.
@frozen
public struct RankInterval: Equatable, Sendable {
    /// From 1; nil: even the least sample may lie above the quantile.
    public let low: UInt64?
    /// Up to the number of samples; nil: even the greatest may lie below it.
    public let high: UInt64?

    /// The ranks for the `quantile` of `samples` independent samples: the true quantile lies below
    /// the lower, and above the upper, with at most (1 - `confidence`) / 2 each.
    ///
    /// Source: David and Nagaraja, "Order Statistics", 3rd edition, 7.1. Exact by summing the
    /// binomial where its variance is at most `exactVariance`, else by the normal approximation
    /// with a correction for skewness, good to a rank where their standard deviation is a thousand.
    /// - Precondition: `quantile` is from 0 to 1, `confidence` between 0 and 1.
    public init(quantile: Double, samples: UInt64, confidence: Double = 0.95) {
        precondition(quantile >= 0 && quantile <= 1, "quantile \(quantile)")
        let tail = tail(confidence: confidence)
        if samples == 0 || quantile == 0 || quantile == 1 {
            low = nil
            high = nil
            return
        }
        let variance = Double(samples) * quantile * (1 - quantile)
        (low, high) =
            variance <= Self.exactVariance
            ? Self.exact(quantile, samples, tail) : Self.approximate(quantile, samples, tail)
    }

    /// Bound: the exact sum has some 20 terms for each unit of its root, here 20 000.
    static let exactVariance = 1e6

    /// Sums binomial weights around the mode until they vanish; their common factor cancels.
    static func exact(
        _ p: Double, _ samples: UInt64, _ tail: Double
    ) -> (low: UInt64?, high: UInt64?) {
        let n = Double(samples)
        let mode = min(((n + 1) * p).rounded(.down), n)
        let negligible = 1e-30
        var below: [Double] = []
        var weight = 1.0
        var k = mode
        while k > 0 {
            weight *= k * (1 - p) / ((n - k + 1) * p)
            if weight < negligible { break }
            below.append(weight)
            k -= 1
        }
        var weights = [Double](below.reversed()) + [1]
        let first = mode - Double(below.count)
        weight = 1
        k = mode
        while k < n {
            weight *= (n - k) * p / ((k + 1) * (1 - p))
            if weight < negligible { break }
            weights.append(weight)
            k += 1
        }
        let total = weights.reduce(0, +)

        var low: UInt64?
        var sum = 0.0
        for (index, weight) in weights.enumerated() {
            sum += weight
            if sum > tail * total { break }
            low = UInt64(first) + UInt64(index) + 1
        }
        // Below the first weight summed, probabilities are as good as 0.
        if low == nil, first > 0 { low = UInt64(first) }
        // The upper one from above, so that the small weights of that end are summed on their own.
        var high = UInt64(first) + UInt64(weights.count)
        sum = 0
        for weight in weights.reversed() {
            sum += weight
            if sum > tail * total { break }
            high -= 1
        }
        return (low, high <= samples ? high : nil)
    }

    static func approximate(
        _ p: Double, _ samples: UInt64, _ tail: Double
    ) -> (low: UInt64?, high: UInt64?) {
        let n = Double(samples)
        let z = Normal.quantile(1 - tail)
        let margin = z * (n * p * (1 - p)).squareRoot()
        // Cornish and Fisher's first term, and half a unit for what is discrete.
        let centre = n * p + (1 - 2 * p) * (z * z - 1) / 6 - 0.5
        return (
            UInt64((centre - margin).rounded(.down)) + 1, UInt64((centre + margin).rounded(.up)) + 1
        )
    }
}

extension Histogram {
    /// The values that enclose a quantile of what the recorded values were drawn from, with
    /// `confidence`, each rounded outwards to its bucket; nil where the samples are too few for
    /// that side.
    ///
    /// Holds for independent values. Requests of one run are not quite: over rounds, bootstrap.
    /// - Precondition: `quantile` is from 0 to 1, `confidence` between 0 and 1.
    public func interval(
        ofQuantile quantile: Double, confidence: Double = 0.95
    ) -> (low: UInt64?, high: UInt64?) {
        let ranks = RankInterval(quantile: quantile, samples: count, confidence: confidence)
        return (
            ranks.low.flatMap(slot(ofRank:)).map(Scale.lowest(ofSlot:)),
            ranks.high.flatMap(slot(ofRank:)).map(Scale.highest(ofSlot:))
        )
    }
}
