import Synchronization

/// Memory of atomics in whole cache lines: whoever writes to one does not slow down those that read
/// what lies beside it.
enum CacheLines {
    /// Words of a line of 64 bytes.
    static let words = 8

    /// - Returns: zeros.
    static func allocate(_ lines: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        let count = lines * words
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: count * MemoryLayout<Atomic<UInt64>>.stride, alignment: 64)
        let words = unsafe memory.bindMemory(to: Atomic<UInt64>.self, capacity: count)
        for i in 0..<count { unsafe (words + i).initialize(to: Atomic(0)) }
        return unsafe words
    }

    static func deallocate(_ words: UnsafeMutablePointer<Atomic<UInt64>>) {
        unsafe UnsafeMutableRawPointer(words).deallocate()
    }
}
