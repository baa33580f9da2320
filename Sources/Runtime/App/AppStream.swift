import Base

/// What an exchange that is a stream of HTTP/2 has beyond others. A plain value in a slab.
struct AppStream: BitwiseCopyable {
    /// 0: the slot is free.
    var id: Int32 = 0
    var connection: Int32 = -1
    /// Neighbours among its connection's streams, by exchange; in the list of free slots the next
    /// one; -1: none.
    var next: Int32 = -1
    var previous: Int32 = -1
    /// The client has sent all of its request.
    var hasEnded = false
    /// The answer has been decided on: what still comes of the request is dropped.
    var isAnswered = false
    /// Bytes of the answer's body, and those that are out.
    var size = 0
    var sent = 0
    /// When its delay is over; `distantFuture`: none is running.
    var wake = Instant.distantFuture
    /// When its client gives up; `distantFuture`: it does not say.
    var deadline = Instant.distantFuture
    var rpc = AppRPC()
    var socket = AppSocket()
}

/// Of a stream that is a WebSocket (RFC 8441): it takes one thing at a time, as a connection does.
struct AppSocket: BitwiseCopyable {
    var isOpen = false
    /// A message is being answered, or a frame is on its way out: what comes waits.
    var isBusy = false
    /// Frames are being looked at: who makes it busy or idle meanwhile leaves the rest to that.
    var isReading = false
    /// Nothing follows what is being sent.
    var isOver = false
}
