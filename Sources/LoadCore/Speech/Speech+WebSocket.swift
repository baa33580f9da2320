// WebSocket: after the handshake every message that the server sends answers the oldest that was
// sent to it. Pings are answered; a close is too, and ends the connection.

import Base
import Wire

/// The control frame that a connection owes. At most one: of several pings that could not be
/// answered yet the first is, which RFC 6455, 5.5.3, leaves to the endpoint.
struct OwedFrame: BitwiseCopyable {
    /// Bytes of a control frame at most.
    static let size = WebSocketFrame.headLimit + WebSocketFrame.controlLimit
    var count = 0
    var written = 0
    /// The peer has closed: nothing follows the answer to that.
    var isClosing = false
}

extension Speech {
    /// Answers are counted, not looked at, so they may be as long as they like.
    static var frameReader: WebSocketReader {
        WebSocketReader(takesMasked: false, messageLimit: .max, checksText: false)
    }

    mutating func readWebSocket(_ connection: Int, _ bytes: Bytes, _ used: inout Int) -> Reading {
        if lines[connection].stage != .ready { return readHandshake(connection, bytes, &used) }
        if owed[connection].isClosing {
            used = bytes.count
            return .more
        }
        while true {
            switch frames[connection].next(bytes, &used) {
            case .more: return .more
            case .begin:
                // A message that answers none.
                guard lines[connection].begun > 0 else { return .broken }
                return .began(place: Int(lines[connection].oldest))
            case .data, .pong: continue
            case .end:
                lines[connection].answer.keepAlive = true
                return .answered(takeAnswer(connection))
            case .ping:
                owe(connection, .pong)
                return .owing
            case .close:
                owe(connection, .close)
                owed[connection].isClosing = true
                return lines[connection].submitted > 0 ? .owing : .retiring
            case .invalid: return .broken
            }
        }
    }

    private mutating func readHandshake(_ connection: Int, _ bytes: Bytes, _ used: inout Int)
        -> Reading
    {
        if used == bytes.count { return .more }
        guard lines[connection].stage == .greeted else { return .broken }
        let progress = http1.read(bytes[used..<bytes.count], &lines[connection].answer)
        let status = Int(lines[connection].answer.status)
        if case .malformed = progress { return .broken }
        if status != 0, status != 101 { return .refused(status: status) }
        guard case .complete(let end) = progress else {
            used = bytes.count
            return .more
        }
        used += end
        http1.reset(&lines[connection].answer)
        lines[connection].stage = .ready
        return .ready
    }

    /// Queues a control frame that carries what the last one from the peer did.
    private func owe(_ connection: Int, _ opcode: WebSocketOpcode) {
        // A close overtakes a pong that has not begun to be written.
        guard owed[connection].count == 0 || opcode == .close && owed[connection].written == 0
        else { return }
        let start = connection * OwedFrame.size
        let key = messages.maskingKey
        owed[connection].count = unsafe withUnsafeTemporaryAllocation(
            byteCount: OwedFrame.size, alignment: 8
        ) { memory in
            var writer = unsafe ByteWriter(memory)
            let length = frames[connection].controlLength
            WebSocketFrame.append(opcode, length: length, key: key, to: &writer)
            let head = writer.count
            frames[connection].appendControl(to: &writer)
            for i in 0..<writer.count {
                let mask = UInt8(truncatingIfNeeded: key >> UInt32(24 - 8 * ((i - head) & 3)))
                owedBytes[start + i] = unsafe memory[i] ^ (i < head ? 0 : mask)
            }
            return writer.count
        }
        owed[connection].written = 0
    }

    func owedOutput(_ connection: Int) -> Output? {
        let pong = owed[connection]
        let start = connection * OwedFrame.size
        if pong.count > 0 {
            return Output(bytes: owedBytes.bytes(start + pong.written..<start + pong.count))
        }
        return pong.isClosing ? Output(bytes: Bytes("")) : nil
    }

    /// - Returns: whether there is more to write; nil: no control frame was being written.
    func wroteOwed(_ connection: Int, _ count: Int) -> Bool? {
        guard lines[connection].written == 0, owed[connection].count > 0 else { return nil }
        owed[connection].written += count
        if owed[connection].written == owed[connection].count { owed[connection].count = 0 }
        return owed[connection].count > 0 || lines[connection].sent < lines[connection].submitted
    }

    func resetFrames(_ connection: Int) {
        frames[connection] = Self.frameReader
        owed[connection] = OwedFrame()
    }
}
