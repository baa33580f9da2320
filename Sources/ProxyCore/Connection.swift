// The state of one connection, as plain values in a slab. A client's connection (downstream)
// carries the exchange in hand: one request and its answer. An upstream connection carries at most
// one exchange too, and refers to its client as `peer`, as the client does to it.

import Base
import Wire

/// Which side a connection is on, and so who opened it.
enum Role: UInt8, BitwiseCopyable {
    case free
    case downstream
    case upstream
}

/// What a connection is doing.
enum Stage: UInt8, BitwiseCopyable {
    /// Downstream: no exchange; waiting for a request head, or in the middle of one.
    case awaitingRequest
    /// Downstream: a request that waits for an upstream connection to become free.
    case pending
    /// Downstream: a request that waits between two filters, until an instant or until it is told
    /// to go on (`Routing/Proxy+Filters.swift`).
    case waiting
    /// Downstream: accepted, and not yet secured (`Proxy+Handshake.swift`).
    case handshaking
    /// Upstream: the connection is being opened; its request waits in the output queue.
    case connecting
    /// Upstream: open, without an exchange, in the pool.
    case pooled
    /// Both: request or answer are on their way.
    case exchange
    /// Upstream: a stream of the proxy's own, on which it asks about a request that waits
    /// (`Limits/Proxy+GlobalLimits.swift`).
    case asking
    /// Both: after an upgrade, bytes pass both ways until the end.
    case tunnel
    /// Downstream: the last answer is queued; when it is sent, the sending side is ended.
    case finishing
    /// Downstream: sending has ended; what still comes is read and thrown away, so that the client
    /// reads the answer before it meets a reset.
    case lingering
    /// Both: a connection of HTTP/2, which carries streams and no exchange of its own.
    case session
}

/// What a client's connection speaks.
enum Speech: UInt8, BitwiseCopyable {
    /// Its first bytes will tell.
    case undecided
    case http1
    case http2
}

/// How the body that a connection sends is delimited.
enum BodyCoding: UInt8, BitwiseCopyable {
    /// As it comes from the other side.
    case same
    /// In chunks that are made here, of a body from a stream.
    case chunks
    /// By the frames of a stream.
    case frames
}

/// Why a request is sent once more although no policy asks for it.
enum Resending: UInt8, BitwiseCopyable {
    case no
    case stale
    case refused
}

/// How far a body has come.
struct BodyProgress: BitwiseCopyable {
    enum Kind: UInt8, BitwiseCopyable {
        case complete
        case length
        case chunked
        /// Chunks that are taken out of their coding, for a client of HTTP/1.0 or a stream.
        case unchunking
        /// From a stream, whose end is told apart from its bytes.
        case stream
        case untilClose
    }

    var kind = Kind.complete
    var remaining = 0
    /// Bytes that are on their way without having been read (`Proxy+Direct.swift`).
    var held = 0
    /// Such bytes have passed.
    var isDirect = false
    /// None shall pass.
    var isRead = false
    var chunks = ChunkedBody()

    init() {}

    init(_ framing: BodyFraming) {
        switch framing {
        case .none: kind = .complete
        case .length(let n):
            kind = n == 0 ? .complete : .length
            remaining = n
        case .chunked: kind = .chunked
        case .untilClose: kind = .untilClose
        }
    }

    var isComplete: Bool { kind == .complete }
}

struct Connection: BitwiseCopyable {
    var role = Role.free
    var stage = Stage.awaitingRequest
    /// Counts the uses of this slot, so that an event for an earlier use is known as such.
    var generation: UInt32 = 0
    /// The other side of the exchange, from 1; 0: none.
    var peerPlusOne: Int32 = 0
    /// Links within the list this connection is in: free slots, a pool, a cluster's pending
    /// requests.
    var next: Int32 = -1
    var previous: Int32 = -1

    // Bytes received and not yet consumed.
    var input: Int32 = -1
    var inputStart: UInt32 = 0
    var inputEnd: UInt32 = 0
    var search = HeadSearch()

    var output = OutputQueue()

    /// What has arrived so far of the message this side sends: the request's body or the answer's.
    var body = BodyProgress()

    /// When it was accepted; an upstream's, when it was there.
    var opened = Instant.zero
    /// Requests that have come by it, or been sent on it.
    var requests: UInt32 = 0

    /// When the stage began, and when a byte last moved.
    var since = Instant.zero
    var active = Instant.zero

    // Requests of the reactor that are on the effect queue already.
    var flushQueued = false
    var readQueued = false
    /// Reading stopped although more may be there: for lack of room, or because nothing is wanted
    /// now.
    var readPaused = false
    /// It stands among those that found no buffer.
    var isStarved = false
    /// The peer has ended its sending side.
    var inputEnded = false
    /// Our sending side has ended, or will when the output is sent.
    var endAfterOutput = false
    var outputEnded = false
    /// Upstream: it takes no more bytes, and what is meant for it is thrown away; what it has said
    /// is still to be read.
    var outputFailed = false

    /// How the body that this side sends is delimited.
    var coding = BodyCoding.same

    // HTTP/2.
    /// A connection's session, also with each of its streams; -1: none.
    var session: Int32 = -1
    /// A stream's connection; -1: this is no stream but has a socket of its own.
    var carrier: Int32 = -1
    /// A stream's identifier.
    var stream: Int32 = 0
    /// A stream's place among those of its session.
    var place: Int32 = -1
    /// A head that stands apart from the input: a stream's, until it is used, and a request's that
    /// may have to be sent again, for as long as it may (`Attempts/Proxy+Kept.swift`).
    var received = Segment()
    var hasReceived = false
    /// Bytes of such a request's body that have gone on: they stand behind its head, in the same
    /// buffer.
    var keptBody: UInt32 = 0
    /// A connection to an upstream that stands in its endpoint's list although streams may use it.
    var isPooled = false
    /// Fields that came behind a stream's body, until the body has gone on.
    var tail = Segment()
    var hasTail = false
    /// Fields that go out behind the body.
    var trailers = Segment()
    var hasTrailers = false

    /// It has TLS, or will.
    var isSecured = false
    /// Its handshake has begun and is not done.
    var isHandshaking = false
    var agreed = AgreedProtocol.none

    // Mirrors (`Mirrors/Proxy+Mirrors.swift`).
    /// It has no socket: its request is another's too, and what it is answered is thrown away.
    var isMirror = false
    /// Whether whoever is asked is told so by the host.
    var marksHost = false
    /// A mirror that will not get all of its request's body.
    var isCut = false
    /// Of a request, the first of the mirrors that are given its body, from 1; of a mirror among
    /// those, the next; 0: none.
    var mirror: Int32 = 0
    /// Of such a mirror, the request, from 1.
    var origin: Int32 = 0

    // Downstream.
    /// The place of its listener in the configuration.
    var listener: UInt16 = 0
    var speech = Speech.undecided
    /// The exchange in hand.
    var exchange = Exchange()
    /// Its listener speaks `tcp`: its bytes are forwarded.
    var forwards = false
    /// It is no longer such as its listener takes, or has lasted or served as long as it may: it
    /// closes when its exchange has ended. An upstream's too.
    var isLeaving = false
    /// What its listener's rules come to for this client (`Authorizer.swift`).
    var standing: Int32 = -1
    /// Its request had been routed when the configuration changed: it is routed again, as the same.
    var isRerouted = false

    // Upstream.
    /// The endpoint's place in the endpoint table; -1: none.
    var endpoint: Int32 = -1
    /// The upstream said that it keeps the connection.
    var keepAlive = false
    /// It has answered before: it may turn out to be stale.
    var reused = false
    /// Whose limits it counts against: of the request that it serves, or served last.
    var priority: UInt8 = 0
    /// The attempt on it counts among its cluster's requests.
    var holdsRequest = false
    /// And, until it has a connection that is open, among those that wait.
    var holdsPending = false
    /// The attempt on it is one more of a request that has a place for retries.
    var isRetry = false
    /// The attempt on it has overrun its time, and goes on beside another.
    var isOverdue = false
    /// And has had its retry by that: what it comes to is not tried again for itself.
    var wasRetried = false
    /// Bytes of the answer have come; where it is a session's, any bytes.
    var answered = false
    /// Bytes that it has sent: for the request in hand, or, where it is a session's, ever.
    var requestBytesSent = 0
    /// Of a stream: how many its connection will have sent when the first of its own goes out.
    var firstByte = 0
    /// An attempt is being made on it, or on this stream, since `attempted`.
    var isAttempt = false
    /// What the attempt has been answered is told.
    var isJudged = false
    /// The number of the probe by which it tries an endpoint again; 0: it is none.
    var probe: UInt32 = 0
    var attempted = Instant.zero
    /// Bytes per second of the answer's body as faults want those of this attempt; 0: as they come.
    var rate = 0

    var peer: Int? { peerPlusOne > 0 ? Int(peerPlusOne - 1) : nil }
    var hasInput: Bool { input >= 0 && inputEnd > inputStart }
    var isStream: Bool { carrier >= 0 }
    var hasSocket: Bool { carrier < 0 && !isMirror }
}

/// A `sec-websocket-key`: 24 characters (RFC 6455, 4.1).
struct WebSocketKey: BitwiseCopyable {
    private var words: (UInt64, UInt64, UInt64) = (0, 0, 0)
    private(set) var isSet = false

    init() {}

    /// nil: this is no key.
    init?(_ text: Bytes) {
        guard WebSocketHandshake.isKey(text) else { return nil }
        words = (text.word(at: 0), text.word(at: 8), text.word(at: 16))
        isSet = true
    }

    /// The value of the `sec-websocket-accept` that answers it. Allocates, once for a WebSocket.
    var accept: String {
        unsafe withUnsafeBytes(of: words) { WebSocketHandshake.accept(unsafe Bytes($0)) }
    }
}

/// One request and its answer, as the downstream connection remembers it.
struct Exchange: BitwiseCopyable {
    var started = Instant.zero
    /// When the last byte of the request had come.
    var requestEnded = Instant.zero
    var timeout = Duration.zero
    /// The client's word has made that shorter: its end says nothing of the endpoint.
    var isHurried = false
    /// Until when a gRPC client waits, wherever its request stands.
    var deadline = Instant.distantFuture
    var cluster: Int32 = -1
    /// The place of its route among those of the configuration and those kept; -1: none.
    var route: Int32 = -1
    /// The place of its share of the route's requests.
    var share: Int32 = 0
    /// Filters that its route has.
    var filters: FilterSet = []
    /// Those that it has met, and does not meet again.
    var passed = FilterSet()
    /// What its answer tells of rate limits.
    var limit = LimitNote()
    /// On which stream it is asked about, from 1, while it waits for the answer; 0: on none.
    var asked: Int32 = 0
    /// Without an answer it is not let in.
    var deniesUnasked = false
    /// Its own answer tells what that one says.
    var tellsAnswer = false
    /// Until when it waits at most, in `Stage.waiting`.
    var wakes = Instant.zero
    var fault = ExchangeFault()
    /// The client's connection may serve another request afterwards.
    var keepAlive = true
    var minorVersion: UInt8 = 1
    var isHead = false
    var idempotent = false
    /// Its failures are told as gRPC tells them.
    var isGRPC = false
    /// The status of gRPC that it has been told; -1: none yet.
    var call: Int8 = -1
    /// It asks for a protocol that the configuration lets pass.
    var wantsUpgrade = false
    /// It came as an extended CONNECT, to which any 2xx is a yes (RFC 8441, 5).
    var isExtendedConnect = false
    /// It is a CONNECT: a 2xx makes a tunnel of it.
    var isConnect = false
    /// The key of a WebSocket that goes on by HTTP/2, which has none: its answer is made here.
    var webSocketKey = WebSocketKey()
    /// The final answer's head has been queued: no other can be sent.
    var headSent = false
    /// It has been sent before, and is on its way again.
    var isAgain = false
    /// It has been sent once more although no policy asks for it, because no upstream can have seen
    /// it, or its connection was stale.
    var wasResent = false
    /// Why it is on its way again so, until it is sent.
    var resending = Resending.no
    /// It goes to upstreams as a stream; so what is kept of its body has no coding of HTTP/1.1.
    var goesAsStream = false
    /// It has a retry policy, or a time for each attempt: the rest is in `Proxy.tries`.
    var hasPolicy = false
    /// Its policy's budget has counted it.
    var isInBudget = false
    /// Retries that it has had, or is to have.
    var retried: UInt8 = 0
    /// The last of them, since an attempt took longer than it may.
    var followsTimeout = false
    /// One of them is a hedge, which counts when it is sent: there may be no room for it then.
    var isUncounted = false
    /// A retry of its counts among its cluster's.
    var holdsRetry = false
    /// The connection of HTTP/2 that it has waited for since it last came into its cluster's queue,
    /// to see what the peer takes, and its generation; -1: none.
    var awaited: Int32 = -1
    var awaitedGeneration: UInt32 = 0
    /// Its attempt counts among those that have waited.
    var hasWaited = false
    /// How it ends counts for its cluster's admission.
    var isAdmitted = false
    /// What it is answered when its time, or its last attempt's, is over.
    var timeoutStatus: UInt16 = 504
    /// Whose limits of its cluster it is held against: 0, or 1, high.
    var priority: UInt8 = 0
    /// How often it has been sent; 255: or more.
    var attempts: UInt8 = 0
    /// How often the client's proxy had sent it before, as it says.
    var attemptsBefore: UInt8 = 0
    /// Which policy has settled how it ends.
    var decision = Decision.none
    /// Flags that it has besides the one that it ends with.
    var noted = FlagSet()
    var interimCount: UInt8 = 0
    var status: UInt16 = 0
    var requestBytes = 0
    var responseBytes = 0
    /// What the access log has noted of the request; -1: nothing.
    var note: Int32 = -1
    var noteLength: UInt32 = 0
    var endpoint: Int32 = -1
    /// Which endpoint it asks for.
    var wish = HostWish()

    /// The same request, before it is routed: what has befallen it is not undone by a reload.
    func afresh() -> Exchange {
        var exchange = Exchange()
        exchange.started = started
        exchange.requestEnded = requestEnded
        exchange.passed = passed
        exchange.limit = limit
        exchange.fault = fault
        // Attempts that faults have answered, which no upstream has seen.
        exchange.attempts = attempts
        exchange.isInBudget = isInBudget
        exchange.isAdmitted = isAdmitted
        exchange.retried = retried
        return exchange
    }
}
