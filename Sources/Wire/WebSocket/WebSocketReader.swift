// The frames of RFC 6455, section 5, as they are read: bytes in, events out. Payloads of data
// frames are pointed at, not kept; those of control frames, 125 bytes at most, are kept until the
// next control frame.

public import Base

/// What a piece of a WebSocket connection came to, up to the next thing worth knowing.
@frozen
public enum WebSocketEvent: Equatable, Sendable {
    /// All bytes were used.
    case more
    /// A message begins.
    case begin(isText: Bool)
    /// These bytes of the piece are the next ones of the message, as they came; `unmask` appends
    /// what they say.
    case data(Range<Int>)
    /// The message is complete.
    case end
    case ping
    case pong
    /// The peer closes, with this code; nil: it gave none. Whatever follows is passed over.
    case close(code: UInt16?)
    case invalid(WebSocketError)
}

/// Reads one direction of a WebSocket connection. A plain value.
public struct WebSocketReader: Sendable, BitwiseCopyable {
    private enum Stage: UInt8, BitwiseCopyable {
        case head
        case payload
        case closed
    }

    private let takesMasked: Bool
    private let checksText: Bool
    /// Bound: bytes of one message.
    private let messageLimit: Int

    private var stage = Stage.head
    /// The head so far.
    private var head: InlineArray<14, UInt8> = .init(repeating: 0)
    private var headCount: UInt8 = 0

    private var opcode = WebSocketOpcode.continuation
    private var isFinal = false
    /// Bytes to come of the frame's payload.
    private var remaining = 0
    private var key: UInt32 = 0
    /// Where in the key the next byte of the payload stands, and where the last `data` began.
    private var keyPlace: UInt8 = 0
    private var dataPlace: UInt8 = 0

    /// Within a message, of which all frames but the last are not final.
    private var inMessage = false
    private var isText = false
    private var hasBegun = false
    private var messageLength = 0
    private var text = UTF8Check()

    private var control: InlineArray<125, UInt8> = .init(repeating: 0)
    private var controlCount = 0

    /// - Parameters:
    ///   - takesMasked: this is the server's side: frames must be masked; else they must not (RFC
    ///     6455, 5.1).
    ///   - messageLimit: bytes of a message, all its frames together.
    ///   - checksText: whether texts must be UTF-8; a peer that looks at no text need not know.
    public init(takesMasked: Bool, messageLimit: Int, checksText: Bool = true) {
        self.takesMasked = takesMasked
        self.messageLimit = messageLimit
        self.checksText = checksText
    }

    /// Whether a message has begun that is not complete.
    public var isInMessage: Bool { inMessage }

    /// Reads `bytes` from `used` on, up to the next event.
    public mutating func next(_ bytes: Bytes, _ used: inout Int) -> WebSocketEvent {
        do throws(WebSocketError) {
            while true {
                switch stage {
                case .closed:
                    used = bytes.count
                    return .more
                case .head:
                    guard used < bytes.count else { return .more }
                    try takeHeadByte(bytes[used])
                    used += 1
                case .payload:
                    if let event = try payload(bytes, &used) { return event }
                    if stage == .payload { return .more }
                }
            }
        } catch {
            stage = .closed
            return .invalid(error)
        }
    }

    /// Appends what the bytes of the last `data` say.
    public func unmask(_ bytes: Bytes, to out: inout ByteWriter) {
        guard takesMasked else { return out.append(bytes) }
        for i in 0..<bytes.count { out.append(bytes[i] ^ keyByte(Int(dataPlace) + i)) }
    }

    /// Appends the payload of the last control frame: what a pong or the answer to a close carries.
    public func appendControl(to out: inout ByteWriter) {
        for i in 0..<controlCount { out.append(control[i]) }
    }

    /// Bytes of the last control frame's payload.
    public var controlLength: Int { controlCount }

    // MARK: Heads

    private mutating func takeHeadByte(_ byte: UInt8) throws(WebSocketError) {
        head[Int(headCount)] = byte
        headCount += 1
        switch headCount {
        case 1: try checkFirst(byte)
        case 2:
            guard (byte & 0x80 != 0) == takesMasked else { throw .protocolError }
            if opcode.isControl, byte & 0x7F > 125 { throw .protocolError }
        default: break
        }
        if headCount >= 2, Int(headCount) == headLength { try beginPayload() }
    }

    private mutating func checkFirst(_ byte: UInt8) throws(WebSocketError) {
        // No extension was agreed on, so the reserved bits mean nothing (RFC 6455, 5.2).
        guard byte & 0x70 == 0, let opcode = WebSocketOpcode(rawValue: byte & 0x0F) else {
            throw .protocolError
        }
        self.opcode = opcode
        isFinal = byte & 0x80 != 0
        let fits =
            switch opcode {
            case .continuation: inMessage
            case .text, .binary: !inMessage
            case .close, .ping, .pong: isFinal
            }
        guard fits else { throw .protocolError }
    }

    private var headLength: Int {
        let length =
            switch head[1] & 0x7F {
            case 126: 4
            case 127: 10
            default: 2
            }
        return length + (takesMasked ? 4 : 0)
    }

    private mutating func beginPayload() throws(WebSocketError) {
        let short = head[1] & 0x7F
        let lengthBytes = short == 126 ? 2 : short == 127 ? 8 : 0
        var length = UInt64(short)
        if lengthBytes > 0 {
            length = 0
            for i in 0..<lengthBytes { length = length << 8 | UInt64(head[2 + i]) }
            // The shortest form is the only one (RFC 6455, 5.2).
            let least: UInt64 = lengthBytes == 2 ? 126 : 0x1_0000
            guard length >= least, length <= UInt64(Int64.max) else { throw .protocolError }
        }
        key = 0
        if takesMasked {
            for i in 0..<4 { key = key << 8 | UInt32(head[2 + lengthBytes + i]) }
        }
        headCount = 0
        keyPlace = 0
        remaining = Int(length)
        stage = .payload
        if opcode.isControl {
            controlCount = 0
            return
        }
        if opcode != .continuation {
            inMessage = true
            hasBegun = false
            isText = opcode == .text
            messageLength = 0
            text = UTF8Check()
        }
        guard remaining <= messageLimit - messageLength else { throw .tooLong }
        messageLength += remaining
    }

    // MARK: Payloads

    private mutating func payload(_ bytes: Bytes, _ used: inout Int) throws(WebSocketError)
        -> WebSocketEvent?
    {
        if !opcode.isControl, !hasBegun {
            hasBegun = true
            return .begin(isText: isText)
        }
        let count = min(remaining, bytes.count - used)
        let range = used..<used + count
        let place = keyPlace
        if opcode.isControl {
            for i in 0..<count {
                control[controlCount] = bytes[used + i] ^ keyByte(Int(place) + i)
                controlCount += 1
            }
        } else if isText, checksText {
            try checkText(bytes[range])
        }
        used += count
        remaining -= count
        keyPlace = UInt8((Int(place) + count) & 3)
        if !opcode.isControl, count > 0 {
            dataPlace = place
            return .data(range)
        }
        return remaining == 0 ? try endFrame() : nil
    }

    private mutating func checkText(_ bytes: Bytes) throws(WebSocketError) {
        var i = 0
        while i < bytes.count {
            // Plain ASCII, eight at a time.
            if text.isComplete, i + 8 <= bytes.count,
                (bytes.word(at: i) ^ keyWord(Int(keyPlace) + i)) & 0x8080_8080_8080_8080 == 0
            {
                i += 8
                continue
            }
            guard text.take(bytes[i] ^ keyByte(Int(keyPlace) + i)) else { throw .invalidText }
            i += 1
        }
    }

    private mutating func endFrame() throws(WebSocketError) -> WebSocketEvent? {
        stage = .head
        switch opcode {
        case .ping: return .ping
        case .pong: return .pong
        case .close:
            stage = .closed
            return .close(code: try closeCode())
        case .continuation, .text, .binary:
            guard isFinal else { return nil }
            inMessage = false
            if isText, checksText, !text.isComplete { throw .invalidText }
            return .end
        }
    }

    /// RFC 6455, 5.5.1: nothing, or a code and a reason in UTF-8.
    private func closeCode() throws(WebSocketError) -> UInt16? {
        if controlCount == 0 { return nil }
        guard controlCount >= 2 else { throw .protocolError }
        let code = UInt16(control[0]) << 8 | UInt16(control[1])
        guard WebSocketFrame.isCloseCode(code) else { throw .protocolError }
        var reason = UTF8Check()
        for i in 2..<controlCount {
            guard reason.take(control[i]) else { throw .invalidText }
        }
        guard reason.isComplete else { throw .invalidText }
        return code
    }

    // MARK: Masking

    @inline(__always)
    private func keyByte(_ place: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: key >> UInt32(24 - 8 * (place & 3)))
    }

    /// The key for eight bytes from `place` on, the first in the low bits.
    private func keyWord(_ place: Int) -> UInt64 {
        var word: UInt64 = 0
        for i in 0..<8 { word |= UInt64(keyByte(place + i)) << UInt64(8 * i) }
        return word
    }
}
