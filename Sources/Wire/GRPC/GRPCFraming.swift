// Messages in a body (grpc/doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message"): one byte that says
// whether the message is compressed, four that say how long it is, high byte first, and the
// message. DATA frames are cut without regard to them.

public import Base

/// Why a body holds no messages, or none that are let in.
@frozen
public enum GRPCFramingError: Error, Equatable, Sendable {
    /// The first byte of a prefix is neither 0 nor 1.
    case badFlag
    case tooLarge
    /// The body ended within a message.
    case truncated

    /// The status that the call ends with.
    public var status: GRPCStatus {
        switch self {
        case .badFlag, .truncated: .internal
        case .tooLarge: .resourceExhausted
        }
    }
}

/// Follows the messages of a body through the pieces it comes in. A plain value of a few words.
@frozen
public struct GRPCFraming: Sendable, BitwiseCopyable {
    /// Bytes in front of each message.
    public static let prefixBytes = 5

    /// Bytes of a message at most. Bound: what its reader may have to keep.
    public let limit: Int
    private var prefixCount: UInt8 = 0
    private var flag: UInt8 = 0
    private var size: UInt32 = 0
    private var left = 0

    /// - Parameter limit: bytes of a message at most, up to 2³² - 1. gRPC's libraries take 4 MiB.
    public init(limit: Int = 4 << 20) { self.limit = limit }

    /// What one step found.
    @frozen
    public struct Piece: Equatable, Sendable {
        /// Bytes that were looked at, the prefix included.
        public var used: Int
        /// Those of the message among them.
        public var payload: Range<Int>
        /// The prefix became complete in this step.
        public var begins: Bool
        /// The message became complete in this step.
        public var ends: Bool
    }

    /// Whether the message at hand, or the last one, is compressed.
    public var isCompressed: Bool { flag == 1 }
    /// Bytes of the message at hand, or of the last one.
    public var messageBytes: Int { Int(size) }
    /// Whether the body may end here.
    public var isBetweenMessages: Bool { prefixCount == 0 }

    /// Looks at `bytes` up to the end of one message at most. Where they are used up and no message
    /// has ended, more have to come.
    public mutating func next(_ bytes: Bytes) throws(GRPCFramingError) -> Piece {
        var index = 0
        var begins = false
        while prefixCount < 5, index < bytes.count {
            if prefixCount == 0 {
                guard bytes[index] <= 1 else { throw .badFlag }
                flag = bytes[index]
                size = 0
            } else {
                size = size << 8 | UInt32(bytes[index])
            }
            prefixCount += 1
            index += 1
            if prefixCount == 5 {
                guard Int(size) <= limit else { throw .tooLarge }
                left = Int(size)
                begins = true
            }
        }
        guard prefixCount == 5 else {
            return Piece(used: index, payload: index..<index, begins: false, ends: false)
        }
        let count = min(left, bytes.count - index)
        left -= count
        if left == 0 { prefixCount = 0 }
        return Piece(
            used: index + count, payload: index..<index + count, begins: begins, ends: left == 0)
    }

    /// Whether a body that ends here is whole.
    public func finish() throws(GRPCFramingError) {
        if !isBetweenMessages { throw .truncated }
    }

    /// Writes what stands in front of a message of `count` bytes that is not compressed.
    /// - Precondition: `count` < 2³².
    public static func writePrefix(_ count: Int, to out: inout ByteWriter) {
        out.append(0)
        let size = UInt32(count)
        for shift in stride(from: UInt32(24), through: 0, by: -8) {
            out.append(UInt8(truncatingIfNeeded: size >> shift))
        }
    }
}
