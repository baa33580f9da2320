// What waits to be sent on one connection: a few pieces of buffers, in order. A piece is either
// copied in behind what is there already, or a whole buffer that changes hands, so that a large
// body is never copied.

import Base

/// A piece of a buffer.
struct Segment: BitwiseCopyable {
    var buffer: Int32 = 0
    var start: UInt32 = 0
    var end: UInt32 = 0

    var count: Int { Int(end &- start) }
}

/// The segments of one connection. A plain value; the buffers are the pool's.
struct OutputQueue: BitwiseCopyable {
    /// Bound: with buffers of 64 KiB, at most 256 KiB wait on one connection.
    static let capacity = 4
    /// From so many on, whoever feeds this queue is not read from: one piece read more must still
    /// fit.
    static let full = 3

    private var s0 = Segment()
    private var s1 = Segment()
    private var s2 = Segment()
    private var s3 = Segment()
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }
    var isFull: Bool { count >= Self.full }

    subscript(index: Int) -> Segment {
        get {
            switch index {
            case 0: s0
            case 1: s1
            case 2: s2
            default: s3
            }
        }
        set {
            switch index {
            case 0: s0 = newValue
            case 1: s1 = newValue
            case 2: s2 = newValue
            default: s3 = newValue
            }
        }
    }

    /// Puts a buffer's piece at the end; the queue owns the buffer from here on.
    /// - Precondition: there is room.
    mutating func push(_ segment: Segment) {
        precondition(count < Self.capacity, "an output queue overflowed")
        self[count] = segment
        count &+= 1
    }

    /// Copies `bytes` in at the end, into the last buffer where they fit. False: the pool is empty.
    /// - Precondition: there is room for one more buffer.
    mutating func append(_ bytes: Bytes, from pool: BufferPool) -> Bool {
        guard let memory = unsafe room(for: bytes.count, from: pool) else { return false }
        var writer = unsafe ByteWriter(memory)
        writer.append(bytes)
        grow(by: writer.count)
        return true
    }

    /// Memory behind the last byte, of at least `size` bytes; `grow` tells how many were used. nil:
    /// the pool is empty.
    mutating func room(for size: Int, from pool: BufferPool) -> UnsafeMutableRawBufferPointer? {
        precondition(size <= pool.size, "more than a buffer holds")
        if count > 0 {
            let end = Int(self[count - 1].end)
            if pool.size - end >= size {
                return unsafe UnsafeMutableRawBufferPointer(
                    rebasing: pool.memory(self[count - 1].buffer)[end...])
            }
        }
        guard count < Self.capacity, let buffer = pool.take() else { return nil }
        push(Segment(buffer: buffer))
        return unsafe pool.memory(buffer)
    }

    /// Bytes that the last buffer still takes.
    func tailRoom(of pool: BufferPool) -> Int {
        guard count > 0 else { return 0 }
        return pool.size - Int(self[count - 1].end)
    }

    /// `bytes` more have been written into the room.
    mutating func grow(by bytes: Int) { self[count - 1].end += UInt32(bytes) }

    /// `bytes` have been sent: drops them, and gives emptied buffers back.
    mutating func consume(_ bytes: Int, to pool: BufferPool) {
        var rest = bytes
        while count > 0 {
            let first = s0.count
            if rest < first {
                s0.start += UInt32(rest)
                return
            }
            rest -= first
            pool.give(s0.buffer)
            s0 = s1
            s1 = s2
            s2 = s3
            count &-= 1
            if rest == 0 && count > 0 && s0.count > 0 { return }
        }
        precondition(rest == 0, "more was sent than there was")
    }

    /// Gives back a buffer that was asked for and not written to.
    mutating func dropEmptyTail(to pool: BufferPool) {
        guard count > 0, self[count - 1].count == 0 else { return }
        pool.give(self[count - 1].buffer)
        count &-= 1
    }

    /// Bytes that wait.
    var byteCount: Int {
        switch count {
        case 0: 0
        case 1: s0.count
        default: (0..<count).reduce(0) { $0 + self[$1].count }
        }
    }

    /// Drops everything.
    mutating func clear(to pool: BufferPool) {
        for i in 0..<count { pool.give(self[i].buffer) }
        count = 0
    }
}
