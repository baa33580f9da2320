public import Base

/// The keys of a WebSocket handshake (RFC 6455, 4).
public enum WebSocketHandshake {
    private static let suffix = Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)

    /// The value of `sec-websocket-accept` that answers a `sec-websocket-key`: 28 characters.
    public static func accept(_ key: Bytes) -> String {
        var message = unsafe Array(key.raw)
        message += suffix
        return Base64.encode(SHA1.digest(message))
    }

    /// Whether this is a `sec-websocket-key`: 16 bytes in base64.
    public static func isKey(_ key: Bytes) -> Bool {
        // Bound: looked at only where the length is right.
        guard key.count == 24 else { return false }
        return unsafe Base64.decode(Array(key.raw))?.count == 16
    }
}
