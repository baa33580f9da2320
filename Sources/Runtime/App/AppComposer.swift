import Base
import Posix
import Wire

/// Writes the heads of answers into memory of its own, which holds one at a time.
@safe
final class AppComposer {
    /// Of the head, and of a body that is sent with it.
    static let capacity = 16 * 1024
    /// Bodies up to this size are copied behind the head: one plain `send` is cheaper than a
    /// vector.
    static let copiedBody = 4096

    // Safety: allocated here for the life of the object; views of it live within one call.
    private let memory = UnsafeMutableRawBufferPointer.allocate(
        byteCount: capacity, alignment: 64)
    private let textMemory = UnsafeMutableRawBufferPointer.allocate(
        byteCount: copiedBody, alignment: 64)
    /// `Sun, 06 Nov 1994 08:49:37 GMT`, and until when it holds.
    private let date = UnsafeMutableRawBufferPointer.allocate(byteCount: 29, alignment: 8)
    private var dateEnd = Instant.zero

    /// What the head says of connection and body.
    struct Form {
        var status: Int
        var type: StaticString = "text/plain"
        /// Bytes of body.
        var size: Int
        var chunked = false
        /// The request was HEAD: the fields are those of the answer to GET, the body is absent.
        var isHead = false
        var keepAlive: Bool
        /// The client speaks HTTP/1.0.
        var isOld: Bool

        /// Whether the status allows a body at all (RFC 9110, 6.4.1).
        var allowsBody: Bool { status != 204 && status != 304 }
    }

    deinit {
        unsafe memory.deallocate()
        unsafe textMemory.deallocate()
        unsafe date.deallocate()
    }

    /// The first `count` bytes of what was composed.
    func bytes(_ count: Int) -> Bytes {
        unsafe Bytes(UnsafeRawBufferPointer(rebasing: memory[0..<count]))
    }

    /// Composes a head for a body of filler, the body too if it is small.
    func compose(_ form: Form, filler: AppFiller, now: Instant) -> AppReply {
        var writer = unsafe ByteWriter(memory)
        head(&writer, form, now)
        var reply = AppReply()
        if form.isHead || !form.allowsBody {
            reply.head = writer.count
            return reply
        }
        var data = form.size
        if form.chunked {
            if form.size > 0 {
                data = (form.size - 1) % AppFiller.chunkData + 1
                reply.chunks =
                    (form.size - data) / AppFiller.chunkData * AppFiller.chunkBytes
                let digits = (16 - (data.leadingZeroBitCount / 4))
                writer.append(hex: UInt64(data), digits: digits)
                writer.append("\r\n")
            }
            reply.lastStart = form.size > 0 ? 0 : 2
            reply.last = AppFiller.lastChunk.utf8CodeUnitCount - reply.lastStart
        }
        if data <= Self.copiedBody {
            writer.append(filler.bytes(data))
        } else {
            reply.data = data
        }
        precondition(!writer.overflowed, "a head longer than \(Self.capacity)")
        reply.head = writer.count
        return reply
    }

    /// Composes an answer over TCP: four bytes that say how long the rest is, the most significant
    /// first, and the rest, of filler.
    /// - Precondition: `size` is below 4 GiB.
    func composeLength(_ size: Int, filler: AppFiller) -> AppReply {
        var writer = unsafe ByteWriter(memory)
        for shift in [24, 16, 8, 0] { writer.append(UInt8(truncatingIfNeeded: size >> shift)) }
        var reply = AppReply()
        if size <= Self.copiedBody {
            writer.append(filler.bytes(size))
        } else {
            reply.data = size
        }
        reply.head = writer.count
        return reply
    }

    /// Composes an answer with a short text.
    func composeText(_ form: Form, now: Instant, _ write: (inout ByteWriter) -> Void) -> AppReply {
        let text = text(write)
        var form = form
        form.size = text.count
        var writer = unsafe ByteWriter(memory)
        head(&writer, form, now)
        if !form.isHead, form.allowsBody { writer.append(text) }
        return AppReply(head: writer.count)
    }

    /// What `write` writes, valid until the next text.
    func text(_ write: (inout ByteWriter) -> Void) -> Bytes {
        var text = unsafe ByteWriter(textMemory)
        write(&text)
        precondition(!text.overflowed, "a text longer than \(Self.copiedBody)")
        return unsafe Bytes(UnsafeRawBufferPointer(rebasing: textMemory[0..<text.count]))
    }

    /// Composes only the head of a page.
    func composeHead(_ form: Form, now: Instant) -> Bytes {
        var writer = unsafe ByteWriter(memory)
        head(&writer, form, now)
        return bytes(writer.count)
    }

    private func head(_ writer: inout ByteWriter, _ form: Form, _ now: Instant) {
        writer.append("HTTP/1.1 ")
        writer.append(decimal: UInt64(form.status))
        writer.append(" ")
        writer.append(reasonPhrase(form.status))
        writer.append("\r\nserver: meshbench\r\ndate: ")
        writer.append(date(now))
        if form.allowsBody {
            writer.append("\r\ncontent-type: ")
            writer.append(form.type)
            if form.chunked {
                writer.append("\r\ntransfer-encoding: chunked")
            } else {
                writer.append("\r\ncontent-length: ")
                writer.append(decimal: UInt64(form.size))
            }
        }
        if !form.keepAlive {
            writer.append("\r\nconnection: close")
        } else if form.isOld {
            writer.append("\r\nconnection: keep-alive")
        }
        writer.append("\r\n\r\n")
    }

    /// What to say for the date, valid within the call.
    func date(_ now: Instant) -> Bytes {
        if now >= dateEnd { renewDate(now) }
        return unsafe Bytes(UnsafeRawBufferPointer(date))
    }

    private func renewDate(_ now: Instant) {
        let wall = Clock.wallNanoseconds()
        dateEnd = now + .nanoseconds(1_000_000_000 - wall % 1_000_000_000)
        var writer = unsafe ByteWriter(date)
        writer.append(httpDate: wall / 1_000_000_000)
        precondition(writer.count == 29, "a date of another length")
    }
}
