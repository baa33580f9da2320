extension Histogram {
    /// A slot that values were recorded into.
    @frozen
    public struct Bucket: Equatable, Sendable {
        /// The least value that falls into it.
        public let lowest: UInt64
        /// The greatest value that falls into it.
        public let highest: UInt64
        /// How many did.
        public let count: UInt64

        /// The value in the middle: what means are made from.
        public var middle: UInt64 { lowest + (highest - lowest + 1) / 2 }
    }

    /// The occupied buckets in rising order of value.
    public var buckets: some Sequence<Bucket> {
        occupiedSlots.lazy.map { slot, times in
            Bucket(
                lowest: Scale.lowest(ofSlot: slot), highest: Scale.highest(ofSlot: slot),
                count: times)
        }
    }

    /// The least recorded value, rounded down to its bucket; 0 where nothing was recorded.
    public var min: UInt64 {
        for (slot, _) in occupiedSlots { return Scale.lowest(ofSlot: slot) }
        return 0
    }

    /// The greatest recorded value, rounded up to its bucket; 0 where nothing was recorded.
    public var max: UInt64 {
        var last: Int?
        for (slot, _) in occupiedSlots { last = slot }
        return last.map(Scale.highest(ofSlot:)) ?? 0
    }

    /// How many values lay above `Scale.highest`.
    public var clipped: UInt64 {
        var clipped: UInt64 = 0
        for (slot, times) in occupiedSlots where slot == Scale.clippedSlot { clipped = times }
        return clipped
    }

    /// The mean of the recorded values, each taken at the middle of its bucket; 0 where there are
    /// none.
    ///
    /// Source: HdrHistogram, `getMean`.
    public var mean: Double {
        if count == 0 { return 0 }
        var sum = 0.0
        for bucket in buckets { sum += Double(bucket.middle) * Double(bucket.count) }
        return sum / Double(count)
    }

    /// The standard deviation of the recorded values (of the population, not of a sample), each
    /// taken at the middle of its bucket; 0 where there are none.
    ///
    /// Source: HdrHistogram, `getStdDeviation`.
    public var standardDeviation: Double {
        if count == 0 { return 0 }
        let mean = mean
        var sum = 0.0
        for bucket in buckets {
            let distance = Double(bucket.middle) - mean
            sum += distance * distance * Double(bucket.count)
        }
        return (sum / Double(count)).squareRoot()
    }

    /// How many values lie in a bucket above that of `value`.
    public func count(above value: UInt64) -> UInt64 {
        let limit = Scale.slotOrClipped(value)
        var sum: UInt64 = 0
        for (slot, times) in occupiedSlots where slot > limit { sum &+= times }
        return sum
    }

    /// How many values lie in the buckets from that of `low` to that of `high`, both included.
    ///
    /// Source: HdrHistogram, `getCountBetweenValues`.
    public func count(from low: UInt64, through high: UInt64) -> UInt64 {
        let first = Scale.slotOrClipped(low)
        let last = Scale.slotOrClipped(high)
        var sum: UInt64 = 0
        for (slot, times) in occupiedSlots where slot >= first && slot <= last { sum &+= times }
        return sum
    }
}

extension Histogram {
    /// The slots with a count other than 0, and the counts, in rising order.
    var occupiedSlots: OccupiedSlots { OccupiedSlots(dense: dense, packed: packed) }

    struct OccupiedSlots: Sequence, IteratorProtocol {
        private let dense: DenseCounts?
        private var words: PackedCounts
        private var slot = 0

        init(dense: DenseCounts?, packed: [UInt8]) {
            self.dense = dense
            words = PackedCounts(bytes: packed)
        }

        mutating func next() -> (slot: Int, times: UInt64)? {
            guard let dense else { return words.nextOccupied() }
            guard let occupied = dense.occupied(from: slot) else { return nil }
            slot = occupied + 1
            return (occupied, dense[occupied])
        }
    }
}

extension Histogram: Equatable {
    /// Whether both hold the same counts.
    public static func == (a: Histogram, b: Histogram) -> Bool {
        a.count == b.count && a.packedCounts() == b.packedCounts()
    }
}
