import Base
import Posix
import Wire

/// A client of the workload. A plain value in a slab.
///
///     head ─► body ─► working ─► writing ─► head …
///      │ └───── refused or closing ─────► lingering ─► free
///      └─► streams ─────────────────────────┘
struct AppConnection: BitwiseCopyable {
    enum State: UInt8, BitwiseCopyable {
        case free
        /// Accepted, and not yet secured.
        case handshake
        /// Waits for a request's head, or for more of it.
        case head
        /// Reads a request's body.
        case body
        /// Waits for a message, or reads one.
        case message
        /// Waits for a service that was called, or for the answer's delay to pass.
        case working
        /// The socket took a part of the answer.
        case writing
        /// Speaks HTTP/2: the worker's `sessions` has the rest.
        case streams
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
    /// The client has left while its request was worked on: the answer is for nobody.
    var isGone = false
    /// Nothing has been made of its bytes yet, so that they may begin as HTTP/2 does.
    var isNew = true

    /// The buffer that holds what was read and not yet used; -1: none.
    var input: Int32 = -1
    var inputStart = 0
    var inputEnd = 0
    /// The buffer that holds what the socket did not take: of HTTP/1.1 the head of an answer, of
    /// HTTP/2 frames; -1: none.
    var output: Int32 = -1
    var outputStart = 0
    var outputEnd = 0

    // Of HTTP/1.1, for the request at hand.
    var search = HeadSearch()
    var keepAlive = true
    /// HTTP/1.0: no chunked answer, and `keep-alive` must be said.
    var isOld = false
    /// More of a refused request may come: the connection lingers after the answer.
    var mustLinger = false
    var isChunkedBody = false
    /// Of a message over TCP: its length has come.
    var hasLength = false
    /// Bytes to come of a sized body or message.
    var bodyLeft = 0
    var chunks = ChunkedBody()
    var reply = AppReply()

    // Of HTTP/2.
    /// The first of its streams, by exchange; -1: none.
    var firstStream: Int32 = -1
    /// Stands in the list of those to be flushed at the end of the turn.
    var isDirty = false
    /// The session cannot go on: what it still says goes out, and the connection ends.
    var isFailed = false

    var nextFree: Int32 = -1
}
