import Base
import Support
import Wire

/// Fields as a test writes them.
typealias Fields = [(name: String, value: String)]

/// Lists fields for as long as `body` runs.
func withFields<R>(_ fields: Fields, _ body: (FieldList) -> R) -> R {
    let list = FieldList(capacity: max(1, fields.count), made: 1)
    let flat = fields.flatMap { Array($0.name.utf8) + Array($0.value.utf8) }
    return flat.withBytes { bytes in
        var at = 0
        func next(_ text: String) -> Bytes {
            let end = at + text.utf8.count
            defer { at = end }
            return bytes[at..<end]
        }
        for field in fields {
            let name = next(field.name)
            list.add(name, next(field.value))
        }
        return body(list)
    }
}

/// One end of a connection of HTTP/2, a client's or a server's, that keeps all it hears.
final class HTTP2Peer: HTTP2Session {
    final class Stream {
        let number: Int32
        /// Interim heads, and the final one.
        var heads: [Fields] = []
        var body: [UInt8] = []
        var trailers: Fields?
        var hasEnded = false
        /// Why it was closed; nil: it is open.
        var closed: HTTP2Code?
        /// Bytes that came and were not given back.
        var held = 0

        fileprivate var sending: [UInt8] = []
        fileprivate var sent = 0
        fileprivate var endsAfter = false
        fileprivate var sendingTrailers: Fields?

        fileprivate init(_ number: Int32) { self.number = number }

        var head: Fields { heads.last ?? [] }

        subscript(name: String) -> String? { head.first { $0.name == name }?.value }

        var status: Int? { self[":status"].flatMap { Int($0) } }
        /// Ended by the peer, without a reset.
        var isWhole: Bool { hasEnded && (closed == nil || closed == .noError) }
    }

    private(set) var streams: [Int32: Stream] = [:]
    /// In the order of their beginnings.
    private(set) var order: [Int32] = []
    /// Streams that have become whole or closed since somebody looked.
    var news: [Stream] = []
    private var fields: Fields = []
    private var next: Int32 = 1
    var goaways: [HTTP2Code] = []
    var failed: HTTP2Failure?
    /// Bytes for the wire.
    var output = ByteQueue()
    fileprivate var lastWords: [UInt8] = []
    /// What came is not given back: windows close.
    var holdsBack = false
    /// Called when a head has come.
    var onHead: ((Stream) -> Void)?
    /// Called when the other side has ended a stream.
    var onEnd: ((Stream) -> Void)?

    init(server: Bool, streams: Int = 1000, window: Int = 65_535) {
        var settings = HTTP2Settings()
        settings.streams = streams
        settings.streamWindow = window
        super.init(server: server, settings)
    }

    // MARK: What a test says

    @discardableResult
    func request(
        _ fields: Fields, body: [UInt8] = [], trailers: Fields? = nil, ends: Bool = true
    ) -> Stream? {
        let hasBody = !body.isEmpty || trailers != nil || !ends
        let stream = Stream(next)
        stream.sending = body
        stream.endsAfter = ends
        stream.sendingTrailers = trailers
        let tag = Int(next)
        streams[next] = stream
        guard let number = withFields(fields, { submitRequest($0, tag: tag, hasBody: hasBody) })
        else {
            streams[next] = nil
            return nil
        }
        precondition(number == next, "a stream of another number")
        order.append(next)
        next += 2
        return stream
    }

    func interim(_ stream: Stream, _ fields: Fields) {
        _ = withFields(fields) { submitInterim(stream.number, $0) }
    }

    func answer(
        _ stream: Stream, _ fields: Fields, body: [UInt8] = [], trailers: Fields? = nil,
        ends: Bool = true
    ) {
        stream.sending = body
        stream.endsAfter = ends
        stream.sendingTrailers = trailers
        let hasBody = !body.isEmpty || trailers != nil || !ends
        _ = withFields(fields) { submitResponse(stream.number, $0, hasBody: hasBody) }
    }

    func more(_ stream: Stream, _ bytes: [UInt8], ends: Bool = false, trailers: Fields? = nil) {
        stream.sending += bytes
        stream.endsAfter = ends
        stream.sendingTrailers = trailers
        resume(stream.number)
    }

    /// Gives back what was held.
    func release(_ stream: Stream) {
        consume(stream.number, stream.held)
        stream.held = 0
    }

    func hear(_ bytes: [UInt8]) { failed = bytes.withBytes { receive($0) } ?? failed }

    /// Whether a stream has bytes of a body that are still to go.
    func isSending(_ stream: Stream) -> Bool {
        stream.closed == nil && stream.sent < stream.sending.count
    }

    // MARK: What it hears and sends

    override func hasRoom() -> Bool { output.count < 1 << 18 }
    override func write(_ bytes: Bytes) { output.append(bytes) }

    private func stream(_ tag: Int) -> Stream? { streams[Int32(tag)] }

    override func provide(_ tag: Int, _ number: Int32, limit: Int) -> Provided {
        guard let stream = stream(tag) else { return .failed }
        let left = stream.sending.count - stream.sent
        let count = min(limit, left)
        guard count == left, stream.endsAfter else {
            return count > 0 ? .bytes(count, isLast: false) : .nothing
        }
        guard let trailers = stream.sendingTrailers else { return .bytes(count, isLast: true) }
        return withFields(trailers) { submitTrailers(number, $0) } ? .trailers(count) : .failed
    }

    override func writeData(_ tag: Int, header: Bytes, count: Int) -> Bool {
        guard let stream = stream(tag) else { return false }
        output.append(header)
        output.append(stream.sending[stream.sent..<stream.sent + count])
        stream.sent += count
        return true
    }

    override func headBegan(_ number: Int32, tag heard: Int) {
        fields = []
        guard heard < 0, isServer else { return }
        streams[number] = Stream(number)
        order.append(number)
        tag(number, Int(number))
    }

    override func field(_ number: Int32, tag: Int, _ name: Bytes, _ value: Bytes) -> Bool {
        fields.append((text(name.copy), text(value.copy)))
        return true
    }

    override func headEnded(_ number: Int32, tag: Int, endsStream: Bool) {
        guard let stream = streams[number] else { return }
        let isInterim = stream[":status"]?.hasPrefix("1") == true
        if stream.heads.isEmpty || isInterim {
            stream.heads.append(fields)
            onHead?(stream)
        } else {
            stream.trailers = fields
        }
    }

    override func data(_ number: Int32, tag: Int, _ bytes: Bytes) {
        guard let stream = streams[number] else { return }
        stream.body += bytes.copy
        if holdsBack { stream.held += bytes.count } else { consume(number, bytes.count) }
    }

    override func streamEnded(_ number: Int32, tag: Int) {
        guard let stream = streams[number] else { return }
        stream.hasEnded = true
        onEnd?(stream)
    }

    override func streamClosed(_ number: Int32, tag: Int, _ code: HTTP2Code) {
        guard let stream = streams[number] else { return }
        stream.closed = code
        news.append(stream)
    }

    /// Says that no stream behind `last` has been looked at, whatever has come. Behind what is to
    /// be said already: SETTINGS come first.
    func goAway(last: Int32) {
        let number = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: last >> $0) }
        lastWords += [0, 0, 8, 7, 0, 0, 0, 0, 0] + number + [0, 0, 0, 0]
    }

    override func goawayReceived(last: Int32, _ code: HTTP2Code) { goaways.append(code) }
}

extension Bytes {
    var copy: [UInt8] { unsafe [UInt8](raw) }
}

/// A peer of HTTP/2 on a simulated socket, which moves its bytes whenever it can.
final class HTTP2End: SimulatedPeer {
    let peer: HTTP2Peer
    let socket: SimulatedSocket
    let wakeAt: Instant? = nil
    var isDone = false
    /// Bytes at a time, at most.
    var readLimit = 1 << 20
    var writeLimit = 1 << 20
    /// Nothing is read or written.
    var isPaused = false
    /// The connection is over: the proxy has ended or reset it.
    private(set) var hasEnded = false
    /// Ends the connection when all is said.
    var closesWhenDone = false
    /// Resets it then.
    var resets = false
    /// Changes what goes out, frame by frame.
    var bend: (([UInt8]) -> [UInt8])?
    private var bent = ByteQueue()

    init(_ peer: HTTP2Peer, _ socket: SimulatedSocket) {
        self.peer = peer
        self.socket = socket
    }

    func act(_ simulation: ProxySimulation) -> Bool {
        guard !isPaused, !isDone else { return false }
        if socket.wasNeverOpened { return finish() }
        guard socket.opening == .open else { return false }
        if socket.proxyReset { return finish() }
        let piece = socket.peerRead(
            readLimit < 1 << 20 ? 1 + simulation.random.below(readLimit) : readLimit)
        if !piece.isEmpty {
            peer.hear(Array(piece))
            return true
        }
        if socket.peerFindsEnd {
            socket.peerClose(reset: false)
            return finish()
        }
        _ = peer.pull()
        peer.output.append(peer.lastWords)
        peer.lastWords = []
        bendFrames()
        if bend == nil ? peer.output.isEmpty : bent.isEmpty {
            guard closesWhenDone || resets || peer.failed != nil || peer.isDone else {
                return false
            }
            socket.peerClose(reset: resets)
            return finish()
        }
        let room = min(
            socket.peerRoom,
            writeLimit < 1 << 20 ? 1 + simulation.random.below(writeLimit) : writeLimit)
        guard room > 0 else { return false }
        socket.peerWrite(bend == nil ? peer.output.take(room) : bent.take(room))
        return true
    }

    /// Frame by frame; a client's preface stays as it is.
    private func bendFrames() {
        guard let bend else { return }
        let bytes = Array(peer.output.take(.max))
        var at = bytes.starts(with: "PRI * HTTP/2.0".utf8) ? 24 : 0
        bent.append(bytes[..<at])
        while at + 9 <= bytes.count {
            let length = Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
            bent.append(bend(Array(bytes[at..<at + 9 + length])))
            at += 9 + length
        }
    }

    private func finish() -> Bool {
        hasEnded = true
        isDone = true
        return true
    }
}
