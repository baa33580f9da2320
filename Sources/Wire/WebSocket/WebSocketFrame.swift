// The frames of RFC 6455, section 5, as they are written.

public import Base

/// What a frame carries (RFC 6455, 5.2).
public enum WebSocketOpcode: UInt8, Sendable, BitwiseCopyable, CaseIterable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    var isControl: Bool { rawValue >= 8 }
}

/// Why what came is no WebSocket, by the code that a close frame says it with (RFC 6455, 7.4.1).
public enum WebSocketError: UInt16, Error, Equatable, Sendable, BitwiseCopyable {
    /// The framing is broken.
    case protocolError = 1002
    /// A text is no UTF-8.
    case invalidText = 1007
    /// A message is longer than is taken.
    case tooLong = 1009
}

/// Frames on their way out.
public enum WebSocketFrame {
    /// The most bytes of a frame's head.
    public static let headLimit = 14
    /// The most bytes that a control frame carries.
    public static let controlLimit = 125

    /// Appends the head of a frame.
    /// - Parameters:
    ///   - length: bytes of payload that follow.
    ///   - key: what they are masked with, most significant byte first; nil: they are not, as those
    ///     of a server.
    public static func append(
        _ opcode: WebSocketOpcode, isFinal: Bool = true, length: Int, key: UInt32?,
        to out: inout ByteWriter
    ) {
        precondition(length >= 0, "a frame of \(length) bytes")
        let masked: UInt8 = key == nil ? 0 : 0x80
        out.append((isFinal ? 0x80 : 0) | opcode.rawValue)
        switch length {
        case ...125: out.append(masked | UInt8(length))
        case ...0xFFFF:
            out.append(masked | 126)
            append(UInt64(length), bytes: 2, to: &out)
        default:
            out.append(masked | 127)
            append(UInt64(length), bytes: 8, to: &out)
        }
        if let key { append(UInt64(key), bytes: 4, to: &out) }
    }

    /// Appends a close frame's payload: a code, and no reason.
    public static func append(closeCode code: UInt16, to out: inout ByteWriter) {
        append(UInt64(code), bytes: 2, to: &out)
    }

    private static func append(_ value: UInt64, bytes: Int, to out: inout ByteWriter) {
        for i in 1...bytes {
            out.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * (bytes - i))))
        }
    }

    /// Whether an endpoint may say this code (RFC 6455, 7.4, and IANA's registry).
    static func isCloseCode(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}
