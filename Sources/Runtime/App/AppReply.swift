// An answer is a stream of at most four parts, of which only the first is written anew for each request:
//
//     head (and a small body) │ data │ whole chunks │ last chunk
//     a buffer                │ ──────── memory that never changes ────────
//
// A chunked body of n·16 KiB + r bytes is one chunk of r, then n of 16 KiB each out of memory in which
// they stand ready with their framing. Where an answer stands is one number, however large it is.

import Base
import Glibc

/// How far one answer has come. A plain value.
struct AppReply: BitwiseCopyable {
    /// Bytes of each part, in the order in which they go out.
    var head = 0
    var data = 0
    var chunks = 0
    var last = 0
    /// Bytes already sent of all parts together.
    var sent = 0
    /// Where `last` begins in `AppFiller.lastChunk`.
    var lastStart = 0

    var total: Int { head + data + chunks + last }
    var isComplete: Bool { sent == total }
}

/// The bytes that bodies are made of: made once, shared by all workers, never changed.
@safe
final class AppFiller: @unchecked Sendable {
    static let chunkData = 16 * 1024
    /// CRLF behind the chunk before, the size line, and the data.
    static let chunkBytes = 2 + 6 + chunkData
    /// Behind the last data: its CRLF, and the chunk of size zero. Without data before: from byte 2.
    static let lastChunk: StaticString = "\r\n0\r\n\r\n"
    /// Chunks that stand in memory, one behind the other. Bound: of one `sendmsg`, about 256 KiB.
    private static let chunkCount = 16
    static let dataBytes = chunkCount * chunkData
    private static let chunksBytes = chunkCount * chunkBytes

    // Safety: both are initialized here and only read afterwards, until `deinit`.
    private let data: UnsafeMutableRawBufferPointer
    private let chunks: UnsafeMutableRawBufferPointer

    init() {
        unsafe data = .allocate(byteCount: Self.dataBytes, alignment: 4096)
        unsafe chunks = .allocate(
            byteCount: Self.chunksBytes, alignment: 4096)
        // Letters and line ends: readable in a terminal, and not all the same byte.
        let line = Bytes("the quick brown fox jumps over the lazy dog, and over the mesh.\n")
        for index in 0..<Self.dataBytes { unsafe data[index] = line[index % line.count] }
        var writer = unsafe ByteWriter(chunks)
        for _ in 0..<Self.chunkCount {
            writer.append("\r\n4000\r\n")
            writer.append(bytes(Self.chunkData))
        }
        precondition(!writer.overflowed && writer.count == Self.chunksBytes)
    }

    deinit {
        unsafe data.deallocate()
        unsafe chunks.deallocate()
    }

    /// The first `count` bytes of a body.
    func bytes(_ count: Int) -> Bytes {
        unsafe Bytes(UnsafeRawBufferPointer(rebasing: data[0..<count]))
    }

    /// Adds what comes next of `reply` to `vector`, behind its head.
    /// - Parameter head: the memory of the head; nil where none of it is left to send.
    /// - Returns: how many places of `vector` are used, 1 or more.
    func gather(
        _ reply: AppReply, head: UnsafeRawBufferPointer?,
        into vector: UnsafeMutableBufferPointer<iovec>
    ) -> Int {
        var count = 0
        var position = reply.sent
        func add(_ memory: UnsafeRawBufferPointer, _ offset: Int, _ length: Int) {
            unsafe vector[count] = iovec(
                iov_base: UnsafeMutableRawPointer(
                    mutating: memory.baseAddress.unsafelyUnwrapped + offset), iov_len: length)
            count += 1
            position += length
        }
        if position < reply.head, let head = unsafe head {
            unsafe add(head, position, reply.head - position)
        }
        var end = reply.head + reply.data
        while position < end, count < vector.count {
            let offset = (position - reply.head) % Self.dataBytes
            unsafe add(
                UnsafeRawBufferPointer(data), offset, min(end - position, Self.dataBytes - offset))
        }
        let start = end
        end += reply.chunks
        while position >= start, position < end, count < vector.count {
            let offset = (position - start) % Self.chunksBytes
            unsafe add(
                UnsafeRawBufferPointer(chunks), offset,
                min(end - position, Self.chunksBytes - offset))
        }
        if position >= end, position < reply.total, count < vector.count {
            let offset = reply.lastStart + position - end
            unsafe add(Bytes(Self.lastChunk).raw, offset, reply.total - position)
        }
        return count
    }
}
