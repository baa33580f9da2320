// A client's side of WebSockets: after the handshake every message that the server sends answers
// what was sent to it. Pings are answered; a close is too, and ends the WebSocket.

import Base
import Wire

/// The WebSockets of a generator thread, by number.
final class WebSockets {
    /// What bytes of one came to, up to the next thing worth knowing.
    enum Event {
        /// All bytes were used.
        case more
        /// A message begins.
        case began
        /// It is complete.
        case answered
        /// A pong is owed.
        case owing
        /// The server closes, and is owed the same.
        case closing
        /// The protocol was broken, or the message answers none.
        case broken
    }

    private let readers: Slab<WebSocketReader>
    private let owed: Slab<OwedFrame>
    private let owedBytes: Slab<UInt8>
    private let maskingKey: UInt32

    init(_ count: Int, maskingKey: UInt32) {
        readers = Slab(count: count, repeating: Self.reader)
        owed = Slab(count: count, repeating: OwedFrame())
        owedBytes = Slab(count: count * OwedFrame.size, repeating: 0)
        self.maskingKey = maskingKey
    }

    deinit {
        readers.deallocate()
        owed.deallocate()
        owedBytes.deallocate()
    }

    /// Answers are counted, not looked at, so they may be as long as they like.
    private static var reader: WebSocketReader {
        WebSocketReader(takesMasked: false, messageLimit: .max, checksText: false)
    }

    /// Reads `bytes` from `used` on.
    /// - Parameter isAwaited: a message has begun to be sent and has no answer.
    func read(_ number: Int, _ bytes: Bytes, _ used: inout Int, isAwaited: Bool) -> Event {
        if owed[number].isClosing {
            used = bytes.count
            return .more
        }
        while true {
            switch readers[number].next(bytes, &used) {
            case .more: return .more
            case .begin: return isAwaited ? .began : .broken
            case .data, .pong: continue
            case .end: return .answered
            case .ping:
                owe(number, .pong)
                return .owing
            case .close:
                owe(number, .close)
                owed[number].isClosing = true
                return .closing
            case .invalid: return .broken
            }
        }
    }

    /// Queues a control frame that carries what the last one from the peer did.
    private func owe(_ number: Int, _ opcode: WebSocketOpcode) {
        // A close overtakes a pong of which nothing was handed out, and follows one of which
        // something was.
        guard owed[number].count == 0 || opcode == .close && !owed[number].isHandedOut else {
            if opcode == .close { owed[number].closesNext = true }
            return
        }
        let start = number * OwedFrame.size
        let key = maskingKey
        owed[number].count = unsafe withUnsafeTemporaryAllocation(
            byteCount: OwedFrame.size, alignment: 8
        ) { memory in
            var writer = unsafe ByteWriter(memory)
            let length = readers[number].controlLength
            WebSocketFrame.append(opcode, length: length, key: key, to: &writer)
            let head = writer.count
            readers[number].appendControl(to: &writer)
            for i in 0..<writer.count {
                let mask = UInt8(truncatingIfNeeded: key >> UInt32(24 - 8 * ((i - head) & 3)))
                owedBytes[start + i] = unsafe memory[i] ^ (i < head ? 0 : mask)
            }
            return writer.count
        }
        owed[number].written = 0
    }

    /// What is owed; empty: nothing, and nothing else may be written; nil: nothing.
    func output(_ number: Int) -> Bytes? {
        let frame = owed[number]
        let start = number * OwedFrame.size
        if frame.count > 0 {
            owed[number].isHandedOut = true
            return owedBytes.bytes(start + frame.written..<start + frame.count)
        }
        return frame.isClosing ? Bytes("") : nil
    }

    /// Whether the server closes.
    func isClosing(_ number: Int) -> Bool { owed[number].isClosing }

    /// The first `count` bytes of the last `output` were written.
    /// - Returns: whether there is more of it; nil: nothing was owed.
    func wrote(_ number: Int, _ count: Int) -> Bool? {
        guard owed[number].count > 0 else { return nil }
        owed[number].written += count
        if owed[number].written == owed[number].count {
            owed[number].count = 0
            owed[number].isHandedOut = false
            if owed[number].closesNext {
                owed[number].closesNext = false
                owe(number, .close)
            }
        }
        return owed[number].count > 0
    }

    func reset(_ number: Int) {
        readers[number] = Self.reader
        owed[number] = OwedFrame()
    }
}

/// The control frame that a WebSocket owes. At most one: of several pings that could not be
/// answered yet the first is, which RFC 6455, 5.5.3, leaves to the endpoint.
private struct OwedFrame: BitwiseCopyable {
    /// Bytes of a control frame at most.
    static let size = WebSocketFrame.headLimit + WebSocketFrame.controlLimit
    var count = 0
    var written = 0
    /// Its bytes may be on their way: it is not to be replaced.
    var isHandedOut = false
    /// The peer has closed: nothing follows the answer to that.
    var isClosing = false
    /// That answer is owed too. What it carries is still the reader's: nothing is read behind it.
    var closesNext = false
}
