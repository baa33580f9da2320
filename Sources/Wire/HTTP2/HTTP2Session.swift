// One HTTP/2 connection (RFC 9113) without its socket: bytes in, events out, and back. Framing,
// HPACK, flow control and the states of streams are nghttp2's; what a message means is the
// subclass's, which overrides the events that it cares for.
//
// Each stream may carry a tag, a small number of the owner's: its place in a table. Events name it,
// so that nothing has to be looked up; a stream that was let go has none, and its events are kept
// from the owner.
//
// The window of the connection is given back as soon as bytes have come, that of a stream only as
// its owner has used them: a reader that is slow holds up its own stream and no other, and what can
// wait is a stream's window times the number of streams.

public import Base
import CNghttp2

/// What a session asks of its peer, and its bounds.
public struct HTTP2Settings: Sendable {
    /// Streams that the peer may have open at once.
    public var streams = 128
    /// Bytes that may come on a stream before any were used.
    public var streamWindow = 65_535
    /// Bytes that may be on their way on the connection.
    public var connectionWindow = 1 << 20
    /// Bytes of a header list, as RFC 9113, 6.5.2, counts them.
    public var headerList = 64 * 1024
    /// Whether CONNECT may name a protocol (RFC 8441).
    public var extendedConnect = true
    /// Acknowledgements of SETTINGS and PING that may wait to be sent. Bound: a peer that asks and
    /// does not read is cut off.
    public var acknowledgements = 256
    /// CONTINUATION frames of one head. Bound: with frames of 16 KiB, what is unpacked at all.
    public var continuations = 8

    public init() {}
}

/// A connection of HTTP/2. For one thread; none of its methods but `submit…`, `reset`, `resume`,
/// `consume` and `release` may be called from within an event.
@safe
open class HTTP2Session {
    // Safety: `session` lives from `init` to `deinit`; its callbacks come only while a call of this
    // object is under way, and the pointer to self that they are given is not kept.
    private let session: OpaquePointer
    public let isServer: Bool
    private(set) public var failure: HTTP2Failure?
    /// A DATA frame has been written since `pull` last looked.
    final var hasWrittenData = false
    /// The highest stream that the peer has begun, and the numbers below that it passed over.
    /// Bound: a peer that passes over more often is not held to them.
    private var highest: Int32 = -1
    private var passedOver: [Range<Int32>] = []
    /// A GOAWAY that goes out with the next bytes.
    private var goaway: HTTP2Code?
    /// There is, or was, one.
    private var saysGoodbye = false
    /// The last stream of the peer's that is served.
    private var lastLetIn = Int32.max
    private static let passedOverLimit = 16

    public init(server: Bool, _ settings: HTTP2Settings) {
        isServer = server
        var made: OpaquePointer?
        let options = unsafe HTTP2Callbacks.options(settings)
        let callbacks = unsafe HTTP2Callbacks.table
        let code =
            unsafe server
            ? nghttp2_session_server_new2(&made, callbacks, nil, options)
            : nghttp2_session_client_new2(&made, callbacks, nil, options)
        unsafe nghttp2_option_del(options)
        guard code == 0, let made = unsafe made else {
            preconditionFailure("no memory for a session")
        }
        unsafe session = made
        unsafe nghttp2_session_set_user_data(
            session, Unmanaged.passUnretained(self).toOpaque())
        submit(settings)
    }

    deinit { unsafe nghttp2_session_del(session) }

    private func submit(_ settings: HTTP2Settings) {
        var entries: [nghttp2_settings_entry] = []
        func add(_ id: nghttp2_settings_id, _ value: Int) {
            entries.append(
                nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: UInt32(value)))
        }
        add(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.streamWindow)
        add(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings.headerList)
        if isServer {
            add(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.streams)
            if settings.extendedConnect { add(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1) }
        } else {
            add(NGHTTP2_SETTINGS_ENABLE_PUSH, 0)
        }
        check(unsafe nghttp2_submit_settings(session, 0, entries, entries.count))
        check(
            unsafe nghttp2_session_set_local_window_size(
                session, 0, 0, Int32(settings.connectionWindow)))
    }

    /// Lets the peer have so many streams open from here on; those that are open go on. For tests
    /// of peers, as nothing here changes its mind.
    final func submitLimit(streams: Int) {
        let entries = [
            nghttp2_settings_entry(
                settings_id: Int32(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue),
                value: UInt32(streams))
        ]
        check(unsafe nghttp2_submit_settings(session, 0, entries, entries.count))
    }

    /// What has no other reason than a lack of memory, or a mistake of ours.
    private func check(_ code: Int32) {
        precondition(code == 0, "nghttp2 refused what it should take")
    }

    // MARK: Bytes

    /// Takes what has arrived, and tells what it holds.
    /// - Returns: nil, or why the connection is to be closed at once. What the peer is to be told
    ///   of it has been queued.
    public final func receive(_ bytes: Bytes) -> HTTP2Failure? {
        let taken = unsafe nghttp2_session_mem_recv(
            session, bytes.raw.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
        if let failure { return failure }
        if taken >= 0 { return nil }
        let failed: HTTP2Failure
        switch taken {
        case Int(NGHTTP2_ERR_BAD_CLIENT_MAGIC.rawValue): failed = .badPreface
        case Int(NGHTTP2_ERR_FLOODED.rawValue): failed = .floodedWithAcknowledged
        case Int(NGHTTP2_ERR_NOMEM.rawValue): failed = .noMemory
        case Int(NGHTTP2_ERR_TOO_MANY_CONTINUATIONS.rawValue): failed = .tooManyContinuations
        case Int(NGHTTP2_ERR_TOO_MANY_SETTINGS.rawValue): failed = .tooManySettings
        default: failed = .broken
        }
        failure = failed
        return failed
    }

    /// Gives up the connection, for a reason that the peer is told as `code`.
    public final func fail(_ failure: HTTP2Failure, _ code: HTTP2Code) {
        guard self.failure == nil else { return }
        self.failure = failure
        unsafe _ = nghttp2_session_terminate_session(session, code.rawValue)
    }

    /// Hands frames to `write` until there are no more, or it takes no more.
    /// - Returns: false where the connection cannot go on.
    public final func pull() -> Bool {
        announceLast()
        while hasRoom() {
            var start: UnsafePointer<UInt8>?
            let count = unsafe nghttp2_session_mem_send(session, &start)
            if count == 0 {
                guard hasWrittenData else { return true }
                hasWrittenData = false
                continue
            }
            guard count > 0, let start = unsafe start else { return false }
            unsafe write(Bytes(start, count: count))
        }
        return true
    }

    /// Whether frames wait to be sent, as far as windows let them.
    public final var wantsToSend: Bool {
        unsafe goaway != nil || nghttp2_session_want_write(session) != 0
    }

    /// Whether more can come: no longer after an error of the peer's, nor where both have done with
    /// the connection.
    public final var wantsToReceive: Bool { unsafe nghttp2_session_want_read(session) != 0 }

    /// Whether the connection has nothing more to say or to hear.
    public final var isDone: Bool {
        !wantsToSend && !wantsToReceive
    }

    // MARK: Messages

    /// Sends a request.
    /// - Returns: the stream; nil: the connection takes no more.
    public final func submitRequest(_ fields: FieldList, tag: Int, hasBody: Bool) -> Int32? {
        var provider = unsafe HTTP2Callbacks.provider
        let stream = unsafe withUnsafePointer(to: &provider) { provider in
            unsafe nghttp2_submit_request(
                session, nil, fields.start, fields.count, hasBody ? provider : nil,
                UnsafeMutableRawPointer(bitPattern: tag + 1))
        }
        return stream > 0 ? stream : nil
    }

    /// Sends the head of a final answer; without a body it ends the stream.
    /// - Returns: false: the stream is gone.
    public final func submitResponse(
        _ stream: Int32, _ fields: FieldList, hasBody: Bool
    ) -> Bool {
        var provider = unsafe HTTP2Callbacks.provider
        return unsafe withUnsafePointer(to: &provider) { provider in
            unsafe nghttp2_submit_response(
                session, stream, fields.start, fields.count, hasBody ? provider : nil) == 0
        }
    }

    /// Sends the head of an interim answer (1xx).
    public final func submitInterim(_ stream: Int32, _ fields: FieldList) -> Bool {
        unsafe nghttp2_submit_headers(
            session, 0, stream, nil, fields.start, fields.count, nil) == 0
    }

    /// Sends the fields behind a body; from within `provide`, which says `.trailers` then.
    public final func submitTrailers(_ stream: Int32, _ fields: FieldList) -> Bool {
        unsafe nghttp2_submit_trailer(session, stream, fields.start, fields.count) == 0
    }

    /// Ends a stream at once.
    public final func reset(_ stream: Int32, _ code: HTTP2Code) {
        // Without a stream, or with too little memory, there is nobody to tell.
        unsafe _ = nghttp2_submit_rst_stream(session, 0, stream, code.rawValue)
    }

    /// There may be bytes for a stream again.
    public final func resume(_ stream: Int32) {
        // An error: the stream has not stopped, or is gone.
        unsafe _ = nghttp2_session_resume_data(session, stream)
    }

    /// `count` bytes of a stream's body have been used: so many more may come.
    public final func consume(_ stream: Int32, _ count: Int) {
        unsafe _ = nghttp2_session_consume_stream(session, stream, count)
    }

    /// Puts another tag on a stream; -1: its events are kept from the owner from here on.
    public final func tag(_ stream: Int32, _ tag: Int) {
        unsafe _ = nghttp2_session_set_stream_user_data(
            session, stream, UnsafeMutableRawPointer(bitPattern: tag + 1))
    }

    /// The tag on a stream; -1: it has none, or there is no such stream.
    public final func tag(of stream: Int32) -> Int {
        Int(bitPattern: unsafe nghttp2_session_get_stream_user_data(session, stream)) - 1
    }

    // MARK: The connection

    /// Announces that no more streams will be let in, before `submitGoaway` makes it so: whoever
    /// has sent a request meanwhile is still served (RFC 9113, 6.8).
    public final func submitShutdownNotice() {
        unsafe _ = nghttp2_submit_shutdown_notice(session)
    }

    /// Lets no more streams in; those that are open go on. Once is enough.
    ///
    /// It is said when bytes go out next, so that the last stream it names is the last of all that
    /// have come by then: it must not be raised by a second (RFC 9113, 6.8), and what lies beyond
    /// it must not be served, as the client will send it again elsewhere.
    public final func submitGoaway(_ code: HTTP2Code) {
        guard !saysGoodbye else { return }
        saysGoodbye = true
        goaway = code
    }

    /// Whether a stream of the peer's is served. While a GOAWAY waits behind other frames some may
    /// come that it does not name: the client sends them elsewhere.
    public final func letsIn(_ stream: Int32) -> Bool { stream <= lastLetIn }

    private func announceLast() {
        guard let code = goaway, hasRoom() else { return }
        goaway = nil
        lastLetIn = unsafe nghttp2_session_get_last_proc_stream_id(session)
        unsafe _ = nghttp2_submit_goaway(session, 0, lastLetIn, code.rawValue, nil, 0)
    }

    /// Asks for a sign of life; the answer is `pingAnswered`.
    /// - Parameter mark: comes back with it.
    public final func submitPing(_ mark: UInt8) {
        let opaque = [UInt8](repeating: mark, count: 8)
        unsafe _ = nghttp2_submit_ping(session, 0, opaque)
    }

    /// How many streams the peer lets be open at once.
    public final var peerStreams: Int {
        Int(
            unsafe nghttp2_session_get_remote_settings(
                session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
    }

    /// Whether the peer takes a CONNECT that names a protocol (RFC 8441).
    public final var peerTakesExtendedConnect: Bool {
        unsafe nghttp2_session_get_remote_settings(
            session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1
    }

    /// HEADERS come. On a stream that was passed over they are an error (RFC 9113, 5.1.1), while on
    /// one that has ended they may have crossed its end: the library takes them all for the latter.
    final func headersBegin(_ stream: Int32) {
        guard isServer, stream & 1 == 1 else { return }
        if stream > highest {
            if stream > highest + 2, passedOver.count < Self.passedOverLimit {
                passedOver.append(highest + 1..<stream)
            }
            highest = stream
        } else if passedOver.contains(where: { $0.contains(stream) }) {
            fail(.broken, .protocolError)
        }
    }

    final func consumeConnection(_ count: Int) {
        unsafe _ = nghttp2_session_consume_connection(session, count)
    }

    // MARK: Events, for the subclass

    /// What a stream has to send.
    @frozen
    public enum Provided {
        /// So many bytes, up to the limit; `isLast`: they end the stream.
        case bytes(Int, isLast: Bool)
        /// The bytes end the body, and `submitTrailers` was called.
        case trailers(Int)
        /// Nothing now; `resume` tells when there is.
        case nothing
        /// The stream cannot be completed.
        case failed
    }

    /// Whether `write` takes one more frame.
    open func hasRoom() -> Bool { preconditionFailure("to be overridden") }
    /// Takes one frame, or several.
    open func write(_ bytes: Bytes) { preconditionFailure("to be overridden") }
    /// What stream `tag` can send, of at most `limit` bytes.
    open func provide(_ tag: Int, _ stream: Int32, limit: Int) -> Provided { .failed }
    /// Writes a frame's header and then `count` bytes of stream `tag`, as `provide` had offered.
    /// - Returns: false: there is no room; it is asked again.
    open func writeData(_ tag: Int, header: Bytes, count: Int) -> Bool { false }

    /// A head, or fields behind a body, begin on a stream; a stream that is new has the tag -1.
    open func headBegan(_ stream: Int32, tag: Int) {}
    /// One of its fields. False: it may not be.
    open func field(_ stream: Int32, tag: Int, _ name: Bytes, _ value: Bytes) -> Bool { true }
    /// The head will not be completed: a field of it may not be.
    open func headAbandoned(_ stream: Int32) {}
    /// The head is complete.
    open func headEnded(_ stream: Int32, tag: Int, endsStream: Bool) {}
    /// Bytes of a body; `consume` is to be told when they are used.
    open func data(_ stream: Int32, tag: Int, _ bytes: Bytes) {}
    /// The peer sends no more on the stream.
    open func streamEnded(_ stream: Int32, tag: Int) {}
    /// The stream is over on both sides.
    open func streamClosed(_ stream: Int32, tag: Int, _ code: HTTP2Code) {}
    /// The last frame of the stream from this side has been handed out.
    open func endSent(_ stream: Int32, tag: Int) {}
    /// The peer has reset a stream, or an idle one.
    open func resetReceived(_ stream: Int32, tag: Int) {}
    /// The peer lets no more streams in, and has not looked at those behind `last`.
    open func goawayReceived(last: Int32, _ code: HTTP2Code) {}
    /// The peer has been told that no more streams are let in, and why.
    open func goawaySent(_ code: HTTP2Code) {}
    open func settingsReceived() {}
    /// A PING has been answered, this side's or one that nobody has sent.
    open func pingAnswered(_ mark: UInt8) {}
    /// A frame of any kind has come; `isEmpty`: with nothing in it that needs a frame.
    open func frameReceived(isEmpty: Bool) {}
    /// A frame of the peer's was against the protocol.
    open func invalidFrame() {}
}
