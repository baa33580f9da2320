// Where bytes wait between two sockets. All buffers of a worker are one reserved range of
// addresses; the kernel gives memory to a page only when it is touched, and takes it back by
// `trim`. An idle connection holds no buffer, so ten thousand of them cost no buffer memory.

import Glibc

/// A bounded pool of equal buffers, taken and given back by number. Last in, first out, so that the
/// memory in use stays in the cache. For one thread.
@safe
public final class BufferPool {
    // Safety: `base` is one mapping of `limit * size` bytes that lives as long as the pool; a
    // buffer's number is checked on every access.
    private let base: UnsafeMutableRawPointer
    /// Bytes in each buffer.
    public let size: Int
    /// Buffers at most. Bound: what a worker may hold in flight; past it, reading stops.
    public let limit: Int
    private let free: Slab<Int32>
    private var freeCount: Int
    /// Numbers from here on were never taken.
    private var untouched = 0
    /// The least `freeCount` since the last trim: so many at the bottom of the stack were not
    /// needed.
    private var lowWater = 0
    private var released = 0

    /// - Precondition: `size` is a multiple of the page size, 4096.
    public init(size: Int, limit: Int) {
        precondition(size > 0 && size % 4096 == 0 && limit > 0, "buffers of \(size) bytes")
        let mapped = unsafe mmap(
            nil, size * limit, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
            preconditionFailure("no address space for \(limit) buffers of \(size) bytes")
        }
        unsafe base = mapped
        self.size = size
        self.limit = limit
        free = Slab(count: limit, repeating: 0)
        freeCount = 0
    }

    deinit {
        unsafe munmap(base, size * limit)
        free.deallocate()
    }

    /// Buffers out at this moment.
    public var inUse: Int { untouched - freeCount }

    /// The number of a buffer; nil if all are out.
    @inline(__always)
    public func take() -> Int32? {
        if freeCount > 0 {
            freeCount &-= 1
            if freeCount < lowWater { lowWater = freeCount }
            if freeCount < released { released = freeCount }
            return free[freeCount]
        }
        guard untouched < limit else { return nil }
        untouched &+= 1
        return Int32(truncatingIfNeeded: untouched &- 1)
    }

    /// Takes back a buffer from `take`.
    @inline(__always)
    public func give(_ buffer: Int32) {
        precondition(freeCount < untouched, "a buffer was given back twice")
        free[freeCount] = buffer
        freeCount &+= 1
    }

    /// The memory of a buffer.
    @inline(__always)
    public func memory(_ buffer: Int32) -> UnsafeMutableRawBufferPointer {
        precondition(buffer >= 0 && Int(buffer) < limit, "no such buffer")
        return unsafe UnsafeMutableRawBufferPointer(start: base + Int(buffer) * size, count: size)
    }

    /// The bytes in `range` of a buffer.
    @inline(__always)
    public func bytes(_ buffer: Int32, _ range: Range<Int>) -> Bytes {
        precondition(range.lowerBound >= 0 && range.upperBound <= size, "past the buffer")
        return unsafe Bytes(
            UnsafeRawBufferPointer(
                start: memory(buffer).baseAddress.unsafelyUnwrapped + range.lowerBound,
                count: range.count))
    }

    /// Gives the kernel back the pages of buffers that no one needed since the last call, but
    /// `spare`. Call it about once a second.
    public func trim(spare: Int) {
        let idle = lowWater - spare
        if idle > released {
            for i in released..<idle {
                unsafe _ = madvise(base + Int(free[i]) * size, size, MADV_DONTNEED)
            }
            released = idle
        }
        lowWater = freeCount
    }

    /// Holds the pool against what its users say that they hold: each buffer once, and all that are
    /// out.
    public func checkInvariants(held: [Int32]) {
        precondition(held.count == inUse, "\(held.count) buffers held, \(inUse) out")
        var owners = [UInt8](repeating: 0, count: untouched)
        for buffer in held { owners[Int(buffer)] += 1 }
        for i in 0..<freeCount { owners[Int(free[i])] += 1 }
        precondition(owners.allSatisfy { $0 == 1 }, "a buffer is lost, or has two owners")
        precondition(lowWater <= freeCount && released <= freeCount, "the low water mark is high")
    }
}
