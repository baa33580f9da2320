// HTTP/2 (RFC 9113): many requests at once, each on a stream. Framing, HPACK and flow control are
// the session's; what is abuse of them is judged as the proxy judges it.

import Base
import Wire

/// HTTP/2 on one connection of a service.
final class ServiceHTTP2: ServiceSpeech {
    /// One request and its answer.
    private final class Stream {
        let id: Int32
        /// When it began.
        let since: Instant
        var request: ServiceRequest?
        var body: [UInt8] = []
        var isHead = false
        /// The client has sent all of its request.
        var hasEnded = false
        /// What still comes of the request is dropped.
        var isAnswered = false
        /// The answer's body, and how much of it is out.
        var page: [UInt8] = []
        var sent = 0
        /// What stands behind it.
        var trailers: [ServiceField] = []
        var watch: ServiceWatch?
        /// When something of the answer last moved, or began to wait.
        var moved: Instant
        /// It waits for the application to say more.
        var isSilent = false
        /// All of the answer is on its way.
        var isSent = false
        /// It has been reset, and nothing is asked of it any more.
        var isGivenUp = false

        init(_ id: Int32, _ now: Instant) {
            self.id = id
            since = now
            moved = now
        }
    }

    private lazy var session = ServiceSession(self)
    /// By tag. Bound: `ServiceLimits.streams`.
    private var streams: [Stream?]
    private var count = 0
    /// When the last stream ended.
    private var rested: Instant
    /// When the head began to come that is not complete; nil: none is.
    private var headSince: Instant?
    private var assembler: HeadAssembler?
    /// Bytes of bodies that have not come whole.
    private var held = 0

    override init(_ scope: ServiceScope, slot: Int, peer: ServicePeer) {
        streams = Array(repeating: nil, count: scope.limits.streams)
        rested = scope.now
        super.init(scope, slot: slot, peer: peer)
    }

    var now: Instant { scope.now }
    var streamLimit: Int { scope.limits.streams }

    // MARK: Bytes

    override func receive(_ bytes: Bytes) {
        if session.receive(bytes) != nil { failed() }
    }

    override func inputEnded() {
        // Nobody is left who could take part in the protocol.
        abandon(.left)
        ending = .inOrder
    }

    private var hasFailed = false

    /// What the client is to be told still goes out.
    private func failed() {
        hasFailed = true
        abandon(.left)
    }

    override func advance() {
        guard ending == nil else { return }
        guard session.pull() else {
            abandon(.left)
            ending = .reset
            return
        }
        if output.isEmpty, hasFailed || session.isDone { ending = .inOrder }
    }

    override var wantsInput: Bool { super.wantsInput && !hasFailed }

    // MARK: Time, and the end

    override var idleSince: Instant? {
        count == 0 && headSince == nil && output.isEmpty ? rested : nil
    }

    private func deadline(of stream: Stream) -> Instant {
        var deadline = Instant.distantFuture
        if !stream.hasEnded { deadline = stream.since + scope.limits.arrival }
        guard !stream.isGivenUp else { return .distantFuture }
        guard stream.isAnswered, !stream.isSent else { return deadline }
        // A watch that waits is woken to say that it is still there.
        let patience = stream.isSilent ? scope.limits.heartbeat : scope.limits.stall
        return min(deadline, stream.moved + patience)
    }

    override var deadline: Instant {
        var deadline = super.deadline
        if let headSince { deadline = min(deadline, headSince + scope.limits.arrival) }
        if count == 0, !isClosing { deadline = min(deadline, rested + scope.limits.idle) }
        for case let stream? in streams { deadline = min(deadline, self.deadline(of: stream)) }
        return deadline
    }

    override func expire() {
        super.expire()
        guard ending == nil else { return }
        if let headSince, headSince + scope.limits.arrival <= now {
            session.fail(.broken, .enhanceYourCalm)
            failed()
            return
        }
        if count == 0, !isClosing, rested + scope.limits.idle <= now {
            isClosing = true
            session.submitGoaway(.noError)
        }
        for case let (tag, stream?) in streams.enumerated() where deadline(of: stream) <= now {
            expire(stream, tag)
        }
    }

    private func expire(_ stream: Stream, _ tag: Int) {
        if !stream.isAnswered {
            refuse(tag, ServiceRefusal(408, "the request did not come in time"))
        } else if stream.isSilent, stream.moved + scope.limits.heartbeat <= now {
            stream.watch?.backlog.append("\n")
            wake(stream)
        } else if stream.isSent {
            // Nobody listens any more, and that is no error (RFC 9113, 8.1).
            give(up: stream, .left, .noError)
        } else {
            give(up: stream, .slow, .enhanceYourCalm)
        }
    }

    /// It takes no more streams, or will not when that has been said.
    private var isClosing = false

    override func drain() {
        guard !isClosing else { return }
        isClosing = true
        // Whatever was sent before the client knew of the end is served (RFC 9113, 6.8).
        session.submitShutdownNotice()
        session.submitPing(0)
        for case let stream? in streams { stream.watch?.end(as: .stopped) }
    }

    func pingAnswered() {
        if scope.isDraining { session.submitGoaway(.noError) }
    }

    override func abandon(_ reason: ServiceWatch.Ending) {
        for tag in streams.indices { forget(tag, reason) }
        if let assembler { scope.give(assembler) }
        assembler = nil
        headSince = nil
    }

    // MARK: Heads

    func headBegan() {
        headSince = now
        let assembler = self.assembler ?? scope.takeAssembler()
        assembler.begin()
        self.assembler = assembler
    }

    func field(_ name: Bytes, _ value: Bytes) -> Bool { assembler?.add(name, value) != false }

    func headAbandoned() {
        headSince = nil
        if let assembler { scope.give(assembler) }
        assembler = nil
    }

    func headEnded(_ id: Int32, _ tag: Int, endsStream: Bool) {
        defer { headAbandoned() }
        // Fields behind a body are let pass.
        guard tag < 0, let assembler else { return }
        let assembled = assembler.finish(
            endsStream: endsStream, bodyless: false, random: (0, 0), switches: nil)
        if case .trailers = assembled { return }
        guard session.letsIn(id), let tag = streams.firstIndex(where: { $0 == nil }) else {
            return session.reset(id, .refusedStream)
        }
        streams[tag] = Stream(id, now)
        count += 1
        session.tag(id, tag)
        do throws(ServiceRefusal) {
            switch assembled {
            case .trailers: preconditionFailure("a request without a head")
            case .invalid(let error): throw ServiceRefusal(error)
            case .head(let bytes): try begin(tag, bytes)
            }
        } catch {
            refuse(tag, error)
        }
    }

    private func begin(_ tag: Int, _ bytes: Bytes) throws(ServiceRefusal) {
        switch scope.head.parseRequest(bytes) {
        case .incomplete: preconditionFailure("an assembled head that does not end")
        case .invalid(let error): throw ServiceRefusal(error)
        case .complete: break
        }
        guard let stream = streams[tag] else { return }
        stream.isHead = scope.head.isHead
        stream.request = try scope.request(bytes, peer, .http2)
        if case .length(let length) = scope.head.framing, length > scope.limits.bodyBytes {
            throw ServiceRefusal(413, "a body has at most \(scope.limits.bodyBytes) bytes")
        }
        guard scope.head.expectsContinue, scope.head.framing != .none else { return }
        scope.fields.removeAll()
        scope.fields.add(":status", decimal: 100)
        _ = session.submitInterim(stream.id, scope.fields)
    }

    // MARK: Bodies of requests

    func data(_ tag: Int, _ bytes: Bytes) {
        guard let stream = streams[tag] else { return }
        session.consume(stream.id, bytes.count)
        guard !stream.isAnswered else { return }
        do throws(ServiceRefusal) {
            try scope.hold(bytes.count, of: stream.body.count, on: held, for: peer)
            held += bytes.count
            unsafe stream.body.append(contentsOf: bytes.raw)
        } catch {
            refuse(tag, error)
        }
    }

    func streamEnded(_ tag: Int) {
        guard let stream = streams[tag] else { return }
        stream.hasEnded = true
        guard !stream.isAnswered, var request = stream.request else { return }
        request.body = stream.body
        request.now = now
        release(stream)
        switch scope.respond(to: request) {
        case .whole(let status, let fields, let body): answer(stream, status, fields, body)
        case .call(let call): answer(stream, call)
        case .watch(let watch):
            guard scope.begin(watch, self) else {
                return refuse(tag, ServiceRefusal(503, "there are too many watches"))
            }
            begin(watch, on: stream)
        }
    }

    private func release(_ stream: Stream) {
        scope.release(stream.body.count, for: peer)
        held -= stream.body.count
        stream.body = []
        stream.request = nil
    }

    // MARK: Answers

    private func refuse(_ tag: Int, _ refusal: ServiceRefusal) {
        guard let stream = streams[tag] else { return }
        release(stream)
        answer(
            stream, refusal.status, [ServiceField("content-type", "text/plain")],
            Array("\(refusal.text)\n".utf8))
    }

    private func answer(
        _ stream: Stream, _ status: Int, _ fields: [ServiceField], _ body: [UInt8]
    ) {
        var fields = fields
        if ServiceScope.allowsBody(status) {
            fields.append(ServiceField("content-length", "\(body.count)"))
            if !stream.isHead { stream.page = body }
        }
        submit(stream, status, fields, hasBody: !stream.page.isEmpty)
    }

    private func answer(_ stream: Stream, _ call: CallEnding) {
        let type = ServiceField("content-type", "application/grpc")
        var end = [ServiceField("grpc-status", "\(call.status.rawValue)")]
        if !call.text.isEmpty { end.append(ServiceField("grpc-message", call.text)) }
        guard let message = call.message else {
            // Trailers-only (gRPC over HTTP2, "Responses"): the whole answer in one head.
            return submit(stream, 200, [type] + end, hasBody: false)
        }
        stream.page = [UInt8](repeating: 0, count: GRPCFraming.prefixBytes)
        unsafe stream.page.withUnsafeMutableBytes {
            var out = unsafe ByteWriter($0)
            GRPCFraming.writePrefix(message.count, to: &out)
        }
        stream.page += message
        stream.trailers = end
        submit(stream, 200, [type], hasBody: true)
    }

    private func submit(
        _ stream: Stream, _ status: Int, _ answer: [ServiceField], hasBody: Bool
    ) {
        precondition((200...599).contains(status), "an answer of status \(status)")
        stream.isAnswered = true
        stream.moved = now
        let fields = scope.fields
        fields.removeAll()
        fields.add(":status", decimal: status)
        scope.date.withBytes { fields.add(copying: Bytes("date"), $0) }
        list(answer)
        precondition(!fields.overflowed, "more fields than an answer may have")
        _ = session.submitResponse(stream.id, fields, hasBody: hasBody)
        scope.mark(slot)
    }

    private func list(_ answer: [ServiceField]) {
        for field in answer {
            Array(field.name.utf8).withBytes { name in
                Array(field.line.utf8).withBytes { scope.fields.add(copying: name, $0) }
            }
        }
    }

    private func begin(_ watch: ServiceWatch, on stream: Stream) {
        guard !watch.isHeld else {
            stream.watch = watch
            wake(stream)
            return
        }
        submit(stream, watch.status, watch.fields, hasBody: !stream.isHead)
        guard !stream.isHead else { return scope.end(watch, .finished) }
        stream.watch = watch
    }

    func provide(_ tag: Int, limit: Int) -> ServiceSession.Provided {
        guard let stream = streams[tag], !stream.isGivenUp else { return .failed }
        guard let watch = stream.watch else {
            let left = stream.page.count - stream.sent
            if !stream.trailers.isEmpty, left <= limit {
                scope.fields.removeAll()
                list(stream.trailers)
                guard session.submitTrailers(stream.id, scope.fields) else { return .failed }
                return .trailers(left)
            }
            return .bytes(min(left, limit), isLast: left <= limit)
        }
        let waiting = watch.waiting
        if waiting == 0, !watch.isEnded {
            stream.isSilent = true
            return .nothing
        }
        return .bytes(min(waiting, limit), isLast: watch.isEnded && waiting <= limit)
    }

    /// Whether one more frame may be made.
    var hasRoom: Bool { output.count < Self.outputBytes }

    /// Writes what was offered.
    func write(_ tag: Int, header: Bytes, count: Int) -> Bool {
        guard hasRoom, let stream = streams[tag], !stream.isGivenUp else { return false }
        put(header)
        stream.moved = now
        if let watch = stream.watch {
            if count > 0 { put(count, of: watch) }
        } else {
            put(Array(stream.page[stream.sent..<stream.sent + count]))
            stream.sent += count
        }
        return true
    }

    /// All of the answer is on its way.
    func endSent(_ tag: Int) {
        guard let stream = streams[tag] else { return }
        stream.isSent = true
        session.answered()
        guard let watch = stream.watch else { return }
        stream.watch = nil
        scope.end(watch, watch.orderlyEnding)
    }

    // MARK: Watches

    private func stream(of watch: ServiceWatch) -> Stream? {
        for case let stream? in streams where stream.watch === watch { return stream }
        return nil
    }

    override func watchHasNews(_ watch: ServiceWatch) {
        if let stream = stream(of: watch) { wake(stream) }
    }

    private func wake(_ stream: Stream) {
        if let watch = stream.watch, watch.isHeld {
            guard watch.isEnded else { return }
            stream.watch = nil
            scope.end(watch, watch.orderlyEnding)
            let word = watch.lastWord
            return answer(stream, word.status, word.fields, word.body)
        }
        if stream.isSilent {
            stream.isSilent = false
            stream.moved = now
            session.resume(stream.id)
        }
        scope.mark(slot)
    }

    override func watchOverflowed(_ watch: ServiceWatch) {
        if let stream = stream(of: watch) { give(up: stream, .slow, .enhanceYourCalm) }
    }

    // MARK: The end of a stream

    /// Ends a stream of which something is still to be sent.
    private func give(up stream: Stream, _ reason: ServiceWatch.Ending, _ code: HTTP2Code) {
        session.reset(stream.id, code)
        if let watch = stream.watch {
            stream.watch = nil
            scope.end(watch, reason)
        }
        stream.page = []
        stream.isGivenUp = true
        scope.mark(slot)
    }

    func streamClosed(_ tag: Int) { forget(tag, .left) }

    private func forget(_ tag: Int, _ reason: ServiceWatch.Ending) {
        guard let stream = streams[tag] else { return }
        release(stream)
        if let watch = stream.watch { scope.end(watch, reason) }
        streams[tag] = nil
        count -= 1
        rested = now
        session.tag(stream.id, -1)
    }
}
