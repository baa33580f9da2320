extension Histogram {
    /// Where values lie in the array of counts: HdrHistogram's index for a lowest discernible value
    /// of 1, a highest trackable value of an hour in nanoseconds and 3 significant decimal digits.
    ///
    /// The values 0 ..< 2048 have a slot each; from there on every doubling of the value is split
    /// into 1024 slots of equal width, so a slot is never wider than a 1024th of its values.
    /// Starting at 1 µs instead would save 72 KiB of 264 and lose what lies below: lags are often
    /// shorter.
    ///
    /// Source: HdrHistogram, `AbstractHistogram.countsArrayIndex` and `valueFromIndex`.
    @frozen
    public enum Scale {
        /// The least value that is told from 0.
        @inlinable public static var lowest: UInt64 { 1 }
        /// The greatest value that is told from those beyond: one hour in nanoseconds.
        @inlinable public static var highest: UInt64 { 3_600_000_000_000 }
        /// Significant decimal digits.
        @inlinable public static var digits: Int { 3 }
        /// The least power of two that is at least 2 · 10^`digits`.
        @inlinable public static var subBuckets: Int { 2048 }
        /// The least number with `subBuckets` << (`buckets` - 1) > `highest`.
        @inlinable public static var buckets: Int { 32 }
        /// The length of the array of counts.
        @inlinable public static var slots: Int { (buckets + 1) * (subBuckets / 2) }
        /// The last slot, which no value up to `highest` falls into: values above are counted here,
        /// so that their number survives merging and encoding. Stands for 4.4 · 10¹² ns, 1.2 hours.
        @inlinable public static var clippedSlot: Int { slots - 1 }

        /// The slot of a value.
        /// - Precondition: `value` ≤ `highest(ofSlot: slots - 1)`; not checked here.
        @inlinable
        @inline(__always)
        public static func slot(of value: UInt64) -> Int {
            // 53: 64 bits less the 11 that index a sub-bucket.
            let bucket = 53 &- (value | 2047).leadingZeroBitCount
            return bucket &<< 10 &+ Int(truncatingIfNeeded: value &>> UInt64(bucket))
        }

        /// The slot that a value is counted in: its own, or that of clipped values.
        @inlinable
        public static func slotOrClipped(_ value: UInt64) -> Int {
            value <= highest ? slot(of: value) : clippedSlot
        }

        /// The least value that falls into a slot.
        @inlinable
        public static func lowest(ofSlot slot: Int) -> UInt64 {
            slot < subBuckets
                ? UInt64(slot)
                : UInt64(slot & (subBuckets / 2 - 1) | subBuckets / 2) << shift(ofSlot: slot)
        }

        /// The number of values that fall into a slot.
        @inlinable
        public static func width(ofSlot slot: Int) -> UInt64 { 1 << shift(ofSlot: slot) }

        /// The greatest value that falls into a slot.
        @inlinable
        public static func highest(ofSlot slot: Int) -> UInt64 {
            lowest(ofSlot: slot) + width(ofSlot: slot) - 1
        }

        @usableFromInline
        static func shift(ofSlot slot: Int) -> UInt64 {
            UInt64(Swift.max(slot / (subBuckets / 2) - 1, 0))
        }
    }
}
