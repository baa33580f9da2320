import Base
import Wire

/// How a job's WebSocket connections begin, and how its messages are masked.
///
/// One key for all connections, and one to mask all frames: RFC 6455 has them drawn anew so that
/// nobody between can be fooled by bytes that a script chose (10.3); here the bytes are the plan's.
struct WebSocketOpening {
    private let key: String
    let maskingKey: UInt32

    init(seed: UInt64) {
        var random = SeededRandom(seed: seed).split("websocket")
        key = Base64.encode((0..<16).map { _ in UInt8(random.below(256)) })
        maskingKey = UInt32(truncatingIfNeeded: random.next())
    }

    /// What the server must answer the key with.
    var accept: String { Array(key.utf8).withBytes { WebSocketHandshake.accept($0) } }

    /// The fields that ask for it (RFC 6455, 4.1).
    var fields: String {
        "connection: upgrade\r\nupgrade: websocket\r\n"
            + "sec-websocket-version: 13\r\nsec-websocket-key: \(key)\r\n"
    }

    /// A message in one binary frame.
    func frame(_ payload: [UInt8]) -> [UInt8] {
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: WebSocketFrame.headLimit, alignment: 8)
        defer { unsafe memory.deallocate() }
        var writer = unsafe ByteWriter(memory)
        WebSocketFrame.append(.binary, length: payload.count, key: maskingKey, to: &writer)
        let key = maskingKey.bigEndianBytes
        return unsafe Array(memory[..<writer.count])
            + payload.enumerated().map { i, byte in byte ^ key[i & 3] }
    }
}
