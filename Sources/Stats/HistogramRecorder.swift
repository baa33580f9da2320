import Glibc

/// Counts values on a hot path, and hands them over as a `Histogram`.
///
/// A reference for a `let`: recording neither checks for shared memory nor, in a property of a
/// class, for exclusive access; it finds one slot and adds to it, 1 to 2 ns. For one thread at a
/// time.
// Bound: 264 KiB, as a histogram in use.
public final class HistogramRecorder {
    @usableFromInline let counts: DenseCounts

    /// A recorder with all its memory taken and touched: recording never allocates or faults a page
    /// in.
    public init() {
        counts = DenseCounts()
        counts.touch()
    }

    /// Counts one value, in nanoseconds. A value above `Histogram.Scale.highest` is counted as
    /// clipped.
    @inlinable
    @inline(__always)
    public func record(_ value: UInt64) {
        // Safety: the slot of any value lies below `Scale.slots`.
        unsafe counts.base[Histogram.Scale.slotOrClipped(value)] &+= 1
    }

    /// All values so far, packed.
    public func histogram() -> Histogram { Histogram(copying: counts) }

    /// All values since the last `take`, packed; counting begins anew.
    // Some 10 µs for the walk over the whole scale, and 20 ns for each occupied slot.
    public func take() -> Histogram {
        let taken = histogram()
        counts.clear()
        return taken
    }
}

/// The counts of what is recorded into, one for each slot of the scale.
@usableFromInline
@safe
final class DenseCounts: @unchecked Sendable {
    // Safety: `base` is valid for `Scale.slots` initialized counts for the life of the object. Only
    // its sole holder writes to it: a recorder, or a histogram that has checked that it is.
    @usableFromInline let base: UnsafeMutablePointer<UInt64>

    init() {
        // calloc rather than allocate and initialize: the pages come zeroed from the kernel, and
        // those that no value falls into are never touched.
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

    /// The first occupied slot from `start` on.
    func occupied(from start: Int) -> Int? {
        precondition(start >= 0, "no slot \(start)")
        var slot = start
        while slot < Histogram.Scale.slots {
            // Most of the scale is empty: 8 slots at a time. `Scale.slots` is a multiple of 8.
            if slot & 7 == 0 {
                let p = unsafe base + slot
                let any = unsafe p[0] | p[1] | p[2] | p[3] | p[4] | p[5] | p[6] | p[7]
                if any == 0 {
                    slot &+= 8
                    continue
                }
            }
            if unsafe base[slot] != 0 { return slot }
            slot &+= 1
        }
        return nil
    }

    /// Writes to occupied slots alone: pages that no value fell into stay untouched.
    func clear() {
        var slot = 0
        while let next = occupied(from: slot) {
            unsafe base[next] = 0
            slot = next + 1
        }
    }

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
