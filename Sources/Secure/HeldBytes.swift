import Base
import Glibc

/// Bytes that wait, in memory that is taken when there are some and given back when there are none:
/// an idle session holds nothing.
@safe
struct HeldBytes: ~Copyable {
    // Safety: `base` is from malloc and valid for `capacity` bytes, of which start..<end are
    // written; nil with a capacity of zero.
    private var base: UnsafeMutablePointer<UInt8>?
    private var capacity = 0
    private var start = 0
    private var end = 0

    init() { unsafe base = nil }

    deinit { unsafe free(base) }

    var count: Int { end &- start }

    /// The bytes, valid until the next change.
    var bytes: Bytes {
        guard let base = unsafe base else { return Bytes("") }
        return unsafe Bytes(UnsafePointer(base + start), count: count)
    }

    /// Puts bytes at the end. They may not be of these very bytes.
    mutating func append(_ more: Bytes) {
        guard more.count > 0 else { return }
        reserve(more.count)
        guard let base = unsafe base else { return }
        unsafe UnsafeMutableRawPointer(base + end).copyMemory(
            from: more.raw.baseAddress.unsafelyUnwrapped, byteCount: more.count)
        end += more.count
    }

    /// Puts bytes before those that wait.
    mutating func prepend(_ more: Bytes) {
        guard count > 0, more.count > 0 else { return append(more) }
        reserve(more.count)
        guard let base = unsafe base else { return }
        unsafe memmove(base + start + more.count, base + start, count)
        unsafe UnsafeMutableRawPointer(base + start).copyMemory(
            from: more.raw.baseAddress.unsafelyUnwrapped, byteCount: more.count)
        end += more.count
    }

    /// Forgets the first bytes.
    mutating func drop(_ n: Int) {
        precondition(n >= 0 && n <= count, "more was dropped than was held")
        start += n
        guard start == end else { return }
        unsafe free(base)
        unsafe base = nil
        capacity = 0
        start = 0
        end = 0
    }

    /// Moves the first bytes to `memory`; returns how many.
    mutating func move(to memory: UnsafeMutableRawBufferPointer) -> Int {
        guard let base = unsafe base, let target = memory.baseAddress else { return 0 }
        let n = min(count, memory.count)
        unsafe memcpy(target, base + start, n)
        drop(n)
        return n
    }

    /// Makes room for `n` bytes behind the last.
    private mutating func reserve(_ n: Int) {
        guard capacity - end < n else { return }
        let held = count
        if start > 0, let base = unsafe base { unsafe memmove(base, base + start, held) }
        start = 0
        end = held
        guard capacity < held + n else { return }
        let wanted = max(held + n, min(2 * capacity, capacity + 65_536))
        guard let memory = unsafe realloc(base, wanted) else {
            preconditionFailure("no memory for \(wanted) bytes")
        }
        unsafe base = memory.assumingMemoryBound(to: UInt8.self)
        capacity = wanted
    }
}
