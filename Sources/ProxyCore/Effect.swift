/// What a proxy asks of whoever owns the sockets. Taken from `Proxy.nextEffect` after each call
/// into it.
public enum Effect: Equatable, Sendable, BitwiseCopyable {
    /// Open a connection for this slot to the endpoint, and tell `connected` or `failed`.
    case connect(slot: Int, endpoint: Int)
    /// Send what `output` offers, until it is empty or would block, and tell `sent`.
    case flush(slot: Int)
    /// Call `advance`, then read while `space` offers room.
    case read(slot: Int)
    /// End the sending side.
    case endSending(slot: Int)
    /// Close; the slot is free from here on. `reset`: tell the peer that it is not a proper end.
    case close(slot: Int, reset: Bool)
}
