public import Base

extension Bootstrap {
    /// The median of values, one for each round: of the differences of two arms, for one.
    ///
    /// The percentile interval is the one to use: the median jumps from value to value.
    public static func median(
        of values: [Double], resamples: Int = 10_000, random: SeededRandom
    ) -> Bootstrap {
        // The median of a resample is found among ranks: integers, sorted by counting.
        let sorted = values.sorted()
        var times = [Int](repeating: 0, count: sorted.count)
        return Bootstrap(count: values.count, resamples: resamples, random: random) { indices in
            for index in indices { times[index] += 1 }
            var seen = 0
            var lower: Int?
            var upper: Int?
            let half = indices.count / 2
            for rank in times.indices {
                seen += times[rank]
                times[rank] = 0
                if lower == nil, 2 * seen >= indices.count { lower = rank }
                if upper == nil, seen > half { upper = rank }
            }
            guard let lower, let upper else { return .nan }
            return (sorted[lower] + sorted[upper]) / 2
        }
    }

    /// The median of the paired differences `a` - `b`, one for each round.
    /// - Precondition: as many of `a` as of `b`.
    public static func medianDifference(
        _ a: [Double], _ b: [Double], resamples: Int = 10_000, random: SeededRandom
    ) -> Bootstrap {
        precondition(a.count == b.count, "\(a.count) values and \(b.count)")
        return median(of: zip(a, b).map { $0 - $1 }, resamples: resamples, random: random)
    }

    /// A ratio pooled over rounds, Σ numerators / Σ denominators: CPU seconds for each request, for
    /// one. Rounds weigh as much as they measured; a mean of ratios would not.
    /// - Precondition: as many numerators as denominators.
    public static func ratioOfSums(
        _ numerators: [Double], _ denominators: [Double], resamples: Int = 10_000,
        random: SeededRandom
    ) -> Bootstrap {
        precondition(
            numerators.count == denominators.count,
            "\(numerators.count) numerators, \(denominators.count) denominators")
        return Bootstrap(count: numerators.count, resamples: resamples, random: random) { indices in
            var above = 0.0
            var below = 0.0
            for index in indices {
                above += numerators[index]
                below += denominators[index]
            }
            return above / below
        }
    }
}
