// An answer is a stream of at most four parts, of which only the first is written anew for each
// request:
//
//     head (and a small body) │ data │ whole chunks │ last chunk
//     a buffer                │ ──────── memory that never changes ────────
//
// A chunked body of n·16 KiB + r bytes is one chunk of r, then n of 16 KiB each out of memory in
// which they stand ready with their framing. Where an answer stands is one number, however large it
// is.

import Base

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
    /// Behind the last data: its CRLF, and the chunk of size zero. Without data before: from byte
    /// 2.
    static let lastChunk: StaticString = "\r\n0\r\n\r\n"
    /// Chunks that stand in memory, one behind the other. Bound: of one `sendmsg`, about 256 KiB.
    private static let chunkCount = 16
    static let dataBytes = chunkCount * chunkData
    private static let chunksBytes = chunkCount * chunkBytes

    // Safety: both are initialized here and only read afterwards, until `deinit`.
    private let memory: UnsafeMutableRawBufferPointer
    private let data: Bytes
    private let chunks: Bytes

    init() {
        unsafe memory = .allocate(byteCount: Self.dataBytes + Self.chunksBytes, alignment: 4096)
        // Letters and line ends: readable in a terminal, and not all the same byte.
        let line = Bytes("the quick brown fox jumps over the lazy dog, and over the mesh.\n")
        for index in 0..<Self.dataBytes { unsafe memory[index] = line[index % line.count] }
        unsafe data = Bytes(UnsafeRawBufferPointer(rebasing: memory[0..<Self.dataBytes]))
        var writer = unsafe ByteWriter(memory, count: Self.dataBytes)
        for _ in 0..<Self.chunkCount {
            writer.append("\r\n4000\r\n")
            writer.append(data[0..<Self.chunkData])
        }
        precondition(
            !writer.overflowed && writer.count == writer.capacity, "chunks that do not fit")
        unsafe chunks = Bytes(UnsafeRawBufferPointer(rebasing: memory[Self.dataBytes...]))
    }

    deinit { unsafe memory.deallocate() }

    /// The first `count` bytes of a body.
    func bytes(_ count: Int) -> Bytes { data[0..<count] }

    /// The bytes of `reply` from `position` on that stand together in memory.
    /// - Parameter head: the memory of the head; empty where the head is out.
    /// - Precondition: `position` is within the answer.
    func region(_ reply: AppReply, from position: Int, head: Bytes) -> Bytes {
        precondition(position >= 0 && position < reply.total, "past the answer")
        var offset = position
        if offset < reply.head { return head[offset..<reply.head] }
        offset -= reply.head
        if offset < reply.data {
            return part(data, from: offset % Self.dataBytes, atMost: reply.data - offset)
        }
        offset -= reply.data
        if offset < reply.chunks {
            return part(chunks, from: offset % Self.chunksBytes, atMost: reply.chunks - offset)
        }
        offset += reply.lastStart - reply.chunks
        return Bytes(Self.lastChunk)[offset..<reply.lastStart + reply.last]
    }

    private func part(_ memory: Bytes, from offset: Int, atMost count: Int) -> Bytes {
        memory[offset..<min(offset + count, memory.count)]
    }
}
