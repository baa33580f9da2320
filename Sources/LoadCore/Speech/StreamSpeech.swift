// HTTP/2, and unary calls of gRPC or WebSockets over it, on all connections of a generator thread:
// a place is a stream. Requests wait for the server's first SETTINGS, which say how many streams it
// lets be open, and keep to what later ones say: what would be held up in the session would look as
// if the generator were late.

import Base
import Model
import Wire

final class StreamSpeech {
    let isGRPC: Bool
    let toHead: Bool
    let places: Int
    let messages: LoadMessages
    /// Of the requests to each target.
    let fields: [FieldList]
    /// Whether the last of them says which request it is.
    private let numbersRequests: Bool
    var sessions: [StreamSession?]
    let lines: Slab<StreamLine>
    let requests: Slab<StreamRequest>
    /// By slot; nil: streams are requests.
    let webSockets: WebSockets?
    /// The places of the requests whose heads, or whose messages, were written and not yet told;
    /// `places` for each connection.
    private let begunPlaces: Slab<Int32>
    // Bound: what a connection has to write, of which the rest waits in its session.
    private let pool: BufferPool
    let assembler: HeadAssembler
    private var head: Head
    /// What the last bytes came to, in order; bounded by the bytes of one read.
    var events: [Reading] = []
    private var nextEvent = 0

    private static let bufferBytes = 32 * 1024
    /// What a frame takes at most: 16 KiB and its header (RFC 9113, 4.2).
    private static let frameRoom = 16 * 1024 + 9
    /// Streams have odd numbers below 2³¹: a connection is replaced long before they run out.
    private static let lastStream: Int32 = 1 << 30

    init(job: LoadJob, connections: Int, messages: LoadMessages) {
        isGRPC = job.plan.speech == .grpc
        toHead = job.plan.speech == .http2 && job.plan.request.method == "HEAD"
        places = job.plan.streams
        self.messages = messages
        fields = job.targets.map { job.requestFields(for: $0) }
        numbersRequests = job.numbersRequests
        sessions = Array(repeating: nil, count: connections)
        lines = Slab(count: connections, repeating: StreamLine())
        requests = Slab(count: connections * places, repeating: StreamRequest())
        begunPlaces = Slab(count: connections * places, repeating: -1)
        webSockets =
            job.plan.speech == .websocketHTTP2
            ? WebSockets(connections * places, maskingKey: messages.maskingKey) : nil
        pool = BufferPool(size: Self.bufferBytes, limit: connections)
        let limits = HeadLimits(headBytes: LoadLimits.head, fieldCount: 256, targetBytes: 1)
        assembler = HeadAssembler(limits)
        head = Head(limits: limits)
    }

    deinit {
        lines.deallocate()
        requests.deallocate()
        begunPlaces.deallocate()
    }

    // MARK: What the generator tells and asks

    func opened(_ connection: Int, target: Int) {
        lines[connection].target = Int32(target)
        sessions[connection] = StreamSession(self, connection: connection)
    }

    /// Requests that the connection may carry at once, once it is ready.
    func usable(_ connection: Int) -> Int { Int(lines[connection].usable) }

    func submit(_ connection: Int, place: Int, number: UInt64) {
        if webSockets != nil { return sendMessage(connection, place) }
        let target = Int(lines[connection].target)
        if numbersRequests {
            fields[target].overwrite(
                fields[target].count - 1, hex: number, digits: RequestIdentity.digits)
        }
        let stream = sessions[connection]?.submitRequest(
            fields[target], tag: place, hasBody: messages[target].count > 0)
        guard let stream else { preconditionFailure("a request where none is taken") }
        requests[slot(connection, place)].stream = stream
        if stream >= Self.lastStream { lines[connection].isWorn = true }
    }

    /// - Returns: whether its place is free for another.
    func giveUp(_ connection: Int, place: Int) -> Bool {
        if webSockets != nil {
            // Its answer would be taken for that to the next message.
            requests[slot(connection, place)].isGivenUp = true
            return false
        }
        let stream = requests[slot(connection, place)].stream
        letGo(connection, place)
        sessions[connection]?.reset(stream, .cancel)
        return true
    }

    func output(_ connection: Int) -> Output {
        if lines[connection].start == lines[connection].end, let session = sessions[connection],
            !session.pull()
        {
            // Told with the next bytes, or with the end of the connection.
            session.fail(.broken, .internalError)
        }
        let begun = Int(lines[connection].begun)
        lines[connection].begun = 0
        for index in 0..<begun {
            requests[slot(connection, self.begun(connection, index))].isTold = true
        }
        let range = lines[connection].start..<lines[connection].end
        guard !range.isEmpty else { return Output(bytes: Bytes("")) }
        return Output(bytes: pool.bytes(lines[connection].buffer, range), begun: begun)
    }

    /// The place of a request that begins in the last `output`.
    func begun(_ connection: Int, _ index: Int) -> Int {
        Int(begunPlaces[slot(connection, index)])
    }

    func wrote(_ connection: Int, _ count: Int) -> Bool {
        lines[connection].start += count
        guard lines[connection].start == lines[connection].end else { return true }
        pool.give(lines[connection].buffer)
        lines[connection].buffer = -1
        lines[connection].start = 0
        lines[connection].end = 0
        return sessions[connection]?.wantsToSend ?? false
    }

    func read(_ connection: Int, _ bytes: Bytes, _ used: inout Int) -> Reading {
        if nextEvent == events.count, used < bytes.count {
            receive(connection, bytes[used..<bytes.count])
            used = bytes.count
        }
        guard nextEvent < events.count else { return .more }
        nextEvent += 1
        return events[nextEvent - 1]
    }

    private func receive(_ connection: Int, _ bytes: Bytes) {
        clearEvents()
        guard let session = sessions[connection] else { return }
        // What it has to say to what it got is made at once: after an error of the peer's it takes
        // nothing more once it has said so.
        let isWhole = session.receive(bytes) == nil && session.pull()
        guard isWhole, session.wantsToReceive else {
            events.append(lines[connection].isReady ? .broken : .refused(.unanswered))
            return
        }
        if lines[connection].isWorn, !lines[connection].isRetiring { retire(connection) }
        if lines[connection].end > 0 { events.append(.owing) }
    }

    func reset(_ connection: Int) {
        sessions[connection] = nil
        if lines[connection].buffer >= 0 { pool.give(lines[connection].buffer) }
        lines[connection] = StreamLine()
        for place in 0..<places {
            requests[slot(connection, place)] = StreamRequest()
            webSockets?.reset(slot(connection, place))
        }
        clearEvents()
    }

    private func clearEvents() {
        events.removeAll(keepingCapacity: true)
        nextEvent = 0
    }

    func slot(_ connection: Int, _ place: Int) -> Int { connection &* places &+ place }

    /// Nothing more is heard of the request in this place.
    private func letGo(_ connection: Int, _ place: Int) {
        sessions[connection]?.tag(requests[slot(connection, place)].stream, -1)
        forgetBegun(connection, place)
        requests[slot(connection, place)] = StreamRequest()
    }

    // MARK: What a session tells

    func hasRoom(_ connection: Int) -> Bool {
        Self.bufferBytes - lines[connection].end >= Self.frameRoom
    }

    func write(_ connection: Int, _ bytes: Bytes) {
        // Of the frames that a client sends, HEADERS begin a request (RFC 9113, 6.2: type 1).
        if webSockets == nil, bytes.count >= 9, bytes[3] == 1 {
            var stream = Int32(bytes[5] & 0x7F)
            for i in 6..<9 { stream = stream << 8 | Int32(bytes[i]) }
            // Let go meanwhile: nobody waits for it.
            if let place = sessions[connection]?.tag(of: stream), place >= 0 {
                noteBegun(connection, place)
            }
        }
        append(connection, bytes)
    }

    /// The first bytes of a request are among those to be written.
    func noteBegun(_ connection: Int, _ place: Int) {
        begunPlaces[slot(connection, Int(lines[connection].begun))] = Int32(place)
        lines[connection].begun += 1
    }

    /// Its place may be another's before it is told.
    private func forgetBegun(_ connection: Int, _ place: Int) {
        var kept = 0
        for index in 0..<Int(lines[connection].begun) {
            let other = begunPlaces[slot(connection, index)]
            guard Int(other) != place else { continue }
            begunPlaces[slot(connection, kept)] = other
            kept += 1
        }
        lines[connection].begun = Int32(kept)
    }

    func append(_ connection: Int, _ bytes: Bytes) {
        if lines[connection].buffer < 0 {
            guard let buffer = pool.take() else {
                preconditionFailure("more buffers in use than connections")
            }
            lines[connection].buffer = buffer
        }
        var writer = unsafe ByteWriter(
            pool.memory(lines[connection].buffer), count: lines[connection].end)
        writer.append(bytes)
        precondition(!writer.overflowed, "a frame longer than its buffer")
        lines[connection].end = writer.count
    }

    func provide(_ connection: Int, _ place: Int, limit: Int) -> HTTP2Session.Provided {
        if webSockets != nil { return provideMessage(connection, place, limit: limit) }
        let body = messages[Int(lines[connection].target)]
        let left = body.count - requests[slot(connection, place)].sent
        return .bytes(min(left, limit), isLast: left <= limit)
    }

    func writeBody(_ connection: Int, _ place: Int, header: Bytes, _ count: Int) {
        append(connection, header)
        if webSockets != nil { return writeMessage(connection, place, count) }
        let start = requests[slot(connection, place)].sent
        append(connection, messages[Int(lines[connection].target)][start..<start + count])
        requests[slot(connection, place)].sent = start + count
    }

    func settled(_ connection: Int, streams: Int) {
        if webSockets != nil {
            // Those that are open stay so, whatever the server lets be opened later.
            guard !lines[connection].isReady, streams > 0 else { return }
            return openWebSockets(connection, streams: streams)
        }
        let usable = Int32(min(streams, places))
        guard usable != lines[connection].usable else { return }
        lines[connection].usable = usable
        events.append(lines[connection].isReady ? .limited : .ready)
        lines[connection].isReady = true
    }

    func began(_ connection: Int, _ place: Int) {
        guard webSockets == nil, !requests[slot(connection, place)].hasBegun else { return }
        requests[slot(connection, place)].hasBegun = true
        events.append(.began(place: place))
    }

    func field(_ connection: Int, _ place: Int, _ name: Bytes, _ value: Bytes) {
        if isGRPC, name.count == 11, name == "grpc-status" {
            requests[slot(connection, place)].call = GRPCStatus(field: value)
        }
    }

    /// The head of an answer, or trailers, are complete.
    func headEnded(_ connection: Int, _ place: Int, endsStream: Bool) {
        let assembled = assembler.finish(
            endsStream: endsStream, bodyless: toHead, random: (0, 0), switches: nil)
        switch assembled {
        case .trailers: return
        case .invalid: malformed(connection, place)
        case .head(let bytes):
            guard case .complete = head.parseResponse(bytes, toHead: toHead) else {
                return malformed(connection, place)
            }
            guard head.status >= 200 else { return }
            if webSockets != nil {
                return webSocketAnswered(connection, place, status: head.status)
            }
            requests[slot(connection, place)].status = Int32(head.status)
            if head.status >= 400 {
                requests[slot(connection, place)].flags = responseFlags(head, bytes)
            }
        }
    }

    private func malformed(_ connection: Int, _ place: Int) {
        if webSockets != nil { return breakWebSocket(connection, place) }
        let stream = requests[slot(connection, place)].stream
        letGo(connection, place)
        sessions[connection]?.reset(stream, .protocolError)
        events.append(.lost(place: place, .malformed))
    }

    /// The server sends no more on the stream.
    func answered(_ connection: Int, _ place: Int) {
        if webSockets != nil { return cancelWebSocket(connection, place) }
        let request = requests[slot(connection, place)]
        var answer = Answer(place: place, status: Int(request.status), flags: request.flags)
        if isGRPC {
            let call = request.call ?? GRPCStatus(httpStatus: Int(request.status))
            answer.call = call
            answer.isError = call != .ok
        } else {
            answer.isError = request.status >= 400
        }
        letGo(connection, place)
        // Nobody wants the rest of a request that has its answer.
        if request.sent < messages[Int(lines[connection].target)].count {
            sessions[connection]?.reset(request.stream, .cancel)
        }
        events.append(.answered(answer))
    }

    func lost(_ connection: Int, _ place: Int, _ code: HTTP2Code) {
        let outcome: Outcome = code == .refusedStream ? .refused : .reset
        if webSockets != nil { return endWebSocket(connection, place, outcome) }
        forgetBegun(connection, place)
        requests[slot(connection, place)] = StreamRequest()
        events.append(.lost(place: place, outcome))
    }

    func retire(_ connection: Int) {
        lines[connection].isRetiring = true
        events.append(lines[connection].isReady ? .retiring : .refused(.unanswered))
    }
}

/// One connection of HTTP/2.
struct StreamLine: BitwiseCopyable {
    var target: Int32 = 0
    /// Streams that the server lets be open, by its last SETTINGS; at most as many as there are
    /// places.
    var usable: Int32 = 0
    var isReady = false
    /// WebSockets that were asked for and not yet granted.
    var opening: Int32 = 0
    var isRetiring = false
    /// So many streams have been on it that it is to be replaced.
    var isWorn = false
    /// Requests that have begun to be written, and were not yet told.
    var begun: Int32 = 0
    /// The buffer of what is to be written; -1: none.
    var buffer: Int32 = -1
    var start = 0
    var end = 0
}

/// One request on it.
struct StreamRequest: BitwiseCopyable {
    var stream: Int32 = 0
    var status: Int32 = 0
    var flags: UInt32 = 0
    var call: GRPCStatus?
    var hasBegun = false
    /// Its beginning was told to whoever writes.
    var isTold = false
    /// Bytes of its body, or of the message, that were written.
    var sent = 0
    /// Of a stream that is a WebSocket.
    var webSocket = StreamWebSocket.opening
    /// It carries a message that has no answer, and whether one still waits for that.
    var hasMessage = false
    var isGivenUp = false
    /// What `provide` offered last and was not written yet.
    var offered = StreamOffer.nothing
}

/// The HTTP/2 of one connection: passes on to the speech what nghttp2 tells, with the place as each
/// stream's tag.
final class StreamSession: HTTP2Session {
    private unowned let speech: StreamSpeech
    private let connection: Int

    init(_ speech: StreamSpeech, connection: Int) {
        self.speech = speech
        self.connection = connection
        var settings = HTTP2Settings()
        // Bodies are counted as they come: what is on its way is bounded for the server's sake.
        settings.streamWindow = 1 << 20
        settings.connectionWindow = 16 << 20
        settings.headerList = LoadLimits.head
        super.init(server: false, settings)
    }

    override func hasRoom() -> Bool { speech.hasRoom(connection) }
    override func write(_ bytes: Bytes) { speech.write(connection, bytes) }

    override func provide(_ tag: Int, _ stream: Int32, limit: Int) -> Provided {
        speech.provide(connection, tag, limit: limit)
    }

    override func writeData(_ tag: Int, header: Bytes, count: Int) -> Bool {
        guard tag >= 0, speech.hasRoom(connection) else { return false }
        speech.writeBody(connection, tag, header: header, count)
        return true
    }

    override func headBegan(_ stream: Int32, tag: Int) {
        speech.assembler.begin()
        if tag >= 0 { speech.began(connection, tag) }
    }

    override func field(_ stream: Int32, tag: Int, _ name: Bytes, _ value: Bytes) -> Bool {
        if tag >= 0 { speech.field(connection, tag, name, value) }
        return speech.assembler.add(name, value)
    }

    override func headEnded(_ stream: Int32, tag: Int, endsStream: Bool) {
        if tag >= 0 { speech.headEnded(connection, tag, endsStream: endsStream) }
    }

    override func data(_ stream: Int32, tag: Int, _ bytes: Bytes) {
        consume(stream, bytes.count)
        if tag >= 0 { speech.readWebSocket(connection, tag, bytes) }
    }

    override func streamEnded(_ stream: Int32, tag: Int) {
        if tag >= 0 { speech.answered(connection, tag) }
    }

    override func streamClosed(_ stream: Int32, tag: Int, _ code: HTTP2Code) {
        if tag >= 0 { speech.lost(connection, tag, code) }
    }

    override func goawayReceived(last: Int32, _ code: HTTP2Code) { speech.retire(connection) }

    override func settingsReceived() { speech.settled(connection, streams: peerStreams) }
}
