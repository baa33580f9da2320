// HdrHistogram in Swift (Gil Tene, hdrhistogram.org): constant memory, constant relative error,
// lossless merging. The scale is fixed (see `Histogram.Scale`), so that any two histograms of a run
// merge slot by slot and no request ever meets a resize.
//
// A histogram has two forms. The dense one, an array of counts, is what is recorded into; the
// packed one, the bytes of the HdrHistogram V2 encoding, is what is kept and sent. A second of
// traffic takes a few kilobytes packed, so an hour of seconds stays in some ten megabytes. Every
// query works on both. Packed turns to dense by itself at the next record.

/// Counts of values in nanoseconds, each kept to 3 significant decimal digits.
///
/// A value: copies are independent, and share their memory until one of them records. Recording
/// checks for that sharing, finds one slot and adds to it: some 3 ns, no allocation, after the
/// first record or `prepare()`. In a property of a class the runtime's exclusivity check costs
/// several times that: a hot loop records through a `HistogramRecorder`.
// Bound: `Scale.slots` counts of 8 bytes, 264 KiB, taken once; of these only the pages that values
// fall into become resident, unless `prepare()` touches them all.
@frozen
public struct Histogram: Sendable {
    /// The dense form; nil: `packed` holds the counts.
    @usableFromInline var dense: DenseCounts?
    /// The counts of the V2 encoding; empty: all zero. Not meaningful beside `dense`.
    @usableFromInline var packed: [UInt8]
    @usableFromInline var total: UInt64

    /// The number of values recorded.
    @inlinable public var count: UInt64 { total }

    /// An empty histogram. Takes no memory before the first record.
    public init() {
        dense = nil
        packed = []
        total = 0
    }

    /// Counts one value, in nanoseconds. A value above `Scale.highest` is counted as clipped.
    @inlinable
    @inline(__always)
    public mutating func record(_ value: UInt64) { record(value, count: 1) }

    /// Counts a value, in nanoseconds, `count` times.
    @inlinable
    @inline(__always)
    public mutating func record(_ value: UInt64, count times: UInt64) {
        if !isKnownUniquelyReferenced(&dense) { makeDense() }
        let slot = value <= Scale.highest ? Scale.slot(of: value) : Scale.clippedSlot
        // Safety: `makeDense` leaves `dense` set, and both arms above lie below `Scale.slots`.
        unsafe dense.unsafelyUnwrapped.base[slot] &+= times
        total &+= times
    }

    /// Takes the memory for recording and touches all of it, so that no later record allocates or
    /// faults a page in.
    public mutating func prepare() {
        if !isKnownUniquelyReferenced(&dense) { makeDense() }
        dense?.touch()
    }

    /// Adds all of another histogram's counts. Nothing is lost: the same as recording both's
    /// values.
    public mutating func merge(_ other: Histogram) {
        if other.count == 0 { return }
        if !isKnownUniquelyReferenced(&dense) { makeDense() }
        guard let dense else { return }
        for (slot, times) in other.occupiedSlots { dense[slot] &+= times }
        total &+= other.total
    }

    /// Forgets all values, keeping the memory where it is not shared.
    public mutating func reset() {
        packed = []
        total = 0
        if isKnownUniquelyReferenced(&dense) { dense?.clear() } else { dense = nil }
    }

    /// The same counts in the packed form: a kilobyte or few instead of 264.
    public func compacted() -> Histogram {
        dense.map(Histogram.init(copying:)) ?? self
    }

    /// The counts of a dense array, packed.
    init(copying counts: DenseCounts) {
        self.init()
        (packed, total) = Self.pack(OccupiedSlots(dense: counts, packed: []))
    }

    /// All values so far, packed; the histogram is empty afterwards and keeps its memory.
    ///
    /// For a histogram for each second: record into one, take it when the second is over.
    public mutating func take() -> Histogram {
        let taken = compacted()
        reset()
        return taken
    }

    /// Makes `dense` the only holder of the counts: unpacks, or copies what is shared.
    @usableFromInline
    @inline(never)
    mutating func makeDense() {
        let fresh = DenseCounts()
        if let shared = dense {
            fresh.copy(shared)
        } else {
            for (slot, times) in occupiedSlots { fresh[slot] = times }
            packed = []
        }
        dense = fresh
    }
}
