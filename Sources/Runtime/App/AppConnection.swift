import Base
import Posix
import Wire

/// A client of the workload. A plain value in a slab.
///
///     head ─► body ─► calling ─► delayed ─► writing ─► head …
///       └────────── refused or closing ──────► lingering ─► free
struct AppConnection: BitwiseCopyable {
    enum State: UInt8, BitwiseCopyable {
        case free
        /// Waits for a request's head, or for more of it.
        case head
        /// Reads a request's body.
        case body
        /// Waits for a message, or reads one.
        case message
        /// Waits for a service that was called.
        case calling
        /// Waits for the answer's delay to pass.
        case delayed
        /// The socket took a part of the answer.
        case writing
        /// The answer is out and the sending side ended; reads and drops until the client ends too,
        /// so that no reset overtakes the answer (RFC 9112, 9.6).
        case lingering
    }

    /// What is spoken on it.
    enum Kind: UInt8, BitwiseCopyable {
        case http
        case webSocket
        case tcp
    }

    var state = State.free
    var kind = Kind.http
    var socket: Int32 = -1
    /// Tells a reused slot from its former user, in the reactor's tokens.
    var generation: UInt32 = 0
    /// Something may be readable: set by an event, cleared by a read that came back short.
    var canRead = false
    /// The client has ended its side: a short read is not the last.
    var sawEnd = false

    /// The buffer that holds what was read and not yet used; -1: none.
    var input: Int32 = -1
    var inputStart = 0
    var inputEnd = 0
    var search = HeadSearch()

    // The request.
    var plan = AppPlan.none
    var isHead = false
    var keepAlive = true
    /// HTTP/1.0: no chunked answer, and `keep-alive` must be said.
    var isOld = false
    /// More of a refused request may come: the connection lingers after the answer.
    var mustLinger = false
    /// Counted as one of the requests at work.
    var isCounted = false
    /// Counted as ended because a call offers its last byte; taken back if the kernel takes less.
    var isEndOffered = false
    var isChunkedBody = false
    /// Of a message over TCP: its length has come. Of a WebSocket's: it is a text.
    var hasLength = false
    var isText = false
    /// Bytes to come of a sized body or message.
    var bodyLeft = 0
    var chunks = ChunkedBody()
    /// Whether the request is kept for an echo, in the worker's `pages`.
    var keepsBody = false
    /// The place in the list of calls; and the slot of the one under way, -1: none.
    var nextCall = 0
    var call: Int32 = -1

    var reply = AppReply()
    /// The buffer that holds the head of an answer that was sent in part; -1: none.
    var output: Int32 = -1

    var nextFree: Int32 = -1
}

extension AppPlan {
    static let none = AppPlan(
        page: .body, status: 200, size: 0, delay: .zero, burn: .zero, chunked: false, close: false,
        attempt: 0)
}
