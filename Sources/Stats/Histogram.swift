// HdrHistogram in Swift (Gil Tene, hdrhistogram.org): constant memory, constant relative error, lossless
// merging. The scale is fixed (see `Histogram.Scale`), so that any two histograms of a run merge slot by
// slot and no request ever meets a resize.
//
// A histogram has two forms. The dense one, an array of counts, is what is recorded into; the packed
// one, the bytes of the HdrHistogram V2 encoding, is what is kept and sent. A second of traffic takes a
// few kilobytes packed, so an hour of seconds stays in some ten megabytes. Every query works on both.
// Packed turns to dense by itself at the next record.

import Glibc

/// Counts of values in nanoseconds, each kept to 3 significant decimal digits.
///
/// A value: copies are independent, and share their memory until one of them records. Recording checks
/// for that sharing, finds one slot and adds to it: a few nanoseconds, no allocation, after the first
/// record or `prepare()`.
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

    /// Adds all of another histogram's counts. Nothing is lost: the same as recording both's values.
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
        if dense == nil { return self }
        var copy = Histogram()
        copy.packed = packedCounts()
        copy.total = total
        return copy
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

/// The counts of a histogram that is recorded into, one for each slot of the scale.
@usableFromInline
@safe
final class DenseCounts: @unchecked Sendable {
    // Safety: `base` is valid for `Scale.slots` initialized counts for the life of the object. Only a
    // `Histogram` that is the sole holder of the object writes to it.
    @usableFromInline let base: UnsafeMutablePointer<UInt64>

    init() {
        // calloc rather than allocate and initialize: the pages come zeroed from the kernel, and those
        // that no value falls into are never touched.
        let memory = unsafe calloc(Histogram.Scale.slots, MemoryLayout<UInt64>.stride)
        guard let memory = unsafe memory else { preconditionFailure("no memory for a histogram") }
        unsafe base = memory.bindMemory(to: UInt64.self, capacity: Histogram.Scale.slots)
    }

    deinit { unsafe free(base) }

    subscript(slot: Int) -> UInt64 {
        get {
            precondition(slot >= 0 && slot < Histogram.Scale.slots, "no slot \(slot)")
            return unsafe base[slot]
        }
        set {
            precondition(slot >= 0 && slot < Histogram.Scale.slots, "no slot \(slot)")
            unsafe base[slot] = newValue
        }
    }

    func clear() { unsafe base.update(repeating: 0, count: Histogram.Scale.slots) }

    func copy(_ other: DenseCounts) {
        unsafe base.update(from: other.base, count: Histogram.Scale.slots)
    }

    /// Writes one word of each page, so that it is resident.
    func touch() {
        let page = 4096 / MemoryLayout<UInt64>.stride
        for slot in stride(from: 0, to: Histogram.Scale.slots, by: page) {
            let word = unsafe base + slot
            unsafe word.pointee = word.pointee
        }
    }
}
