import Glibc

extension Histogram {
    /// The value that a share `quantile` of all recorded values does not exceed, rounded up to its
    /// bucket (down for quantile 0); 0 where nothing was recorded.
    ///
    /// The rank is that of the least whole number of values that is at least `quantile` · `count`.
    ///
    /// Source: HdrHistogram 2.2, `getValueAtPercentile`.
    /// - Precondition: `quantile` is from 0 to 1.
    public func value(atQuantile quantile: Double) -> UInt64 {
        precondition(quantile >= 0 && quantile <= 1, "quantile \(quantile)")
        // One unit in the last place less, so that 0.99 · 100, were it 99.00000000000001, is rank
        // 99.
        let exact = Swift.max(quantile.nextDown, 0) * Double(count)
        let rank = Swift.max(UInt64(exact.rounded(.up)), 1)
        guard let slot = slot(ofRank: rank) else { return 0 }
        return quantile == 0 ? Scale.lowest(ofSlot: slot) : Scale.highest(ofSlot: slot)
    }

    /// The slot of the `rank`th least value, from 1; nil: fewer were recorded.
    func slot(ofRank rank: UInt64) -> Int? {
        var sum: UInt64 = 0
        for (slot, times) in occupiedSlots {
            sum &+= times
            if sum >= rank { return slot }
        }
        return nil
    }

    /// A point of the distribution, as HdrHistogram prints it.
    @frozen
    public struct Percentile: Equatable, Sendable {
        /// The greatest value of the bucket in which `level` is reached.
        public let value: UInt64
        /// 0 to 1: the share that was looked for.
        public let level: Double
        /// Values up to and including this bucket.
        public let countToValue: UInt64
    }

    /// The distribution from quantile 0 to 1 in steps that halve with the distance to 1, with
    /// `ticksPerHalfDistance` steps in each half: fine where the tail is. Empty where nothing was
    /// recorded.
    ///
    /// Source: HdrHistogram, `PercentileIterator`.
    /// - Precondition: `ticksPerHalfDistance` > 0.
    // Bound: a tick is passed over unless a value lies in it, so there are at most
    // `ticksPerHalfDistance` levels for each binary digit of `count`, and one: 5 · 64 + 1.
    public func percentiles(ticksPerHalfDistance: Int = 5) -> [Percentile] {
        precondition(ticksPerHalfDistance > 0, "no ticks")
        var points: [Percentile] = []
        // In percent, as the original: the same roundings give the same levels.
        var level = 0.0
        var sum: UInt64 = 0
        for (slot, times) in occupiedSlots {
            sum &+= times
            let reached = 100 * Double(sum) / Double(count)
            while level <= reached, level < 100 {
                points.append(
                    Percentile(
                        value: Scale.highest(ofSlot: slot), level: level / 100, countToValue: sum))
                // The last value reaches every level; the original stops there, with one line for
                // 1.
                if sum == count { break }
                level += Self.step(after: level, ticksPerHalfDistance: ticksPerHalfDistance)
            }
            if sum == count {
                points.append(
                    Percentile(value: Scale.highest(ofSlot: slot), level: 1, countToValue: sum))
            }
        }
        return points
    }

    /// The distance from one level to the next, in percent.
    private static func step(after level: Double, ticksPerHalfDistance: Int) -> Double {
        let halvings = (log(100 / (100 - level)) / log(2)).rounded(.towardZero) + 1
        return 100 / (Double(ticksPerHalfDistance) * exp2(halvings))
    }
}
