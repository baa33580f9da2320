// Streams. A stream is a slot like any connection's, whose socket is a session: bytes come from its
// frames and go out in them. So an exchange does not know what its two sides are.

import Base
import Model
import Wire

extension Proxy {
    // MARK: Coming and going

    /// Gives a slot its stream.
    func attach(_ slot: Int, to session: ProxySession, _ stream: Int32) {
        connections[slot].session = connections[session.slot].session
        connections[slot].carrier = Int32(session.slot)
        connections[slot].stream = stream
        connections[slot].place = Int32(session.streams.count)
        connections[slot].coding = .frames
        session.streams.append(Int32(slot))
        session.tag(stream, slot)
        counters.add(session.isServer ? .downstreamStreams : .upstreamStreams)
    }

    /// Takes the slot from its stream, which goes on, or ends, without it.
    func detach(_ slot: Int) {
        let session = session(of: slot)
        let place = Int(connections[slot].place)
        session.tag(connections[slot].stream, -1)
        let last = session.streams.removeLast()
        if Int(last) != slot {
            session.streams[place] = last
            connections[Int(last)].place = Int32(place)
        }
        if session.streams.isEmpty {
            connections[session.slot].since = turn
            mark(session)
        }
    }

    /// A request's head is complete, on a stream that is new.
    func streamRequest(_ session: ProxySession, _ stream: Int32, endsStream: Bool) {
        guard session.failure == nil, session.letsIn(stream),
            let slot = takeSlot(.downstream, now: turn)
        else {
            counters.add(.downstreamConnectionsRefused)
            return session.reset(stream, .refusedStream)
        }
        attach(slot, to: session, stream)
        connections[slot].listener = connections[session.slot].listener
        connections[slot].speech = .http2
        connections[slot].inputEnded = endsStream
        connections[slot].body.kind = endsStream ? .complete : .stream
        takeHead(slot, endsStream: endsStream, bodyless: false) { error in
            if let error { return refuseStream(slot, error) }
            // It may be sent again, here or elsewhere (RFC 9113, 8.7).
            counters.add(.buffersExhausted)
            dropStream(slot, .refusedStream, now: turn)
        }
        guard connections[slot].role != .free, connections[slot].hasReceived else { return }
        requestBytes(slot, now: turn)
    }

    /// An answer's head, or fields behind a body, are complete.
    func streamHead(_ slot: Int, endsStream: Bool) {
        let isUpstream = connections[slot].role == .upstream
        // Whose answer it is has no say in what follows an answer to a question about it.
        let isAsking = connections[slot].stage == .asking
        let exchange =
            isAsking ? nil : connections[slot].peer.map { connections[$0].exchange }
        takeHead(
            slot, endsStream: endsStream, bodyless: exchange?.isHead == true,
            switches: exchange?.wantsUpgrade == true ? "websocket" : nil
        ) { error in
            guard let error else { return breakStream(slot) }
            counters.add(.protocolErrors)
            session(of: slot).reset(connections[slot].stream, .protocolError)
            streamClosed(slot, .protocolError, detail: .upstreamMalformed(error))
        }
        guard connections[slot].role != .free, isUpstream, connections[slot].hasReceived else {
            return
        }
        connections[slot].active = turn
        connections[slot].answered = true
        // Its end is told apart.
        guard !isAsking else { return }
        if let client = connections[slot].peer { letGo(client) }
        if endsStream { connections[slot].inputEnded = true }
        responseBytes(slot, now: turn)
    }

    /// There is no memory for what has come.
    private func breakStream(_ slot: Int) {
        counters.add(.buffersExhausted)
        session(of: slot).reset(connections[slot].stream, .enhanceYourCalm)
        streamClosed(slot, .enhanceYourCalm, detail: .noBuffer)
    }

    /// Keeps what the assembler has made of a header block.
    /// - Parameter refuse: told what is wrong with it; nil: there is no buffer.
    private func takeHead(
        _ slot: Int, endsStream: Bool, bodyless: Bool, switches: StaticString? = nil,
        _ refuse: (HeadError?) -> Void
    ) {
        guard let assembler = session(of: slot).assembler else {
            preconditionFailure("a head that has not begun")
        }
        let assembled = assembler.finish(
            endsStream: endsStream, bodyless: bodyless,
            random: (random.next(), random.next()), switches: switches)
        switch assembled {
        case .head(let bytes):
            // An interim head that found no room on its way is not worth more than the final one.
            dropReceived(slot)
            guard bytes.count <= pool.size else { return refuse(.headTooLarge) }
            guard let segment = keep(bytes) else { return refuse(nil) }
            connections[slot].received = segment
            connections[slot].hasReceived = true
        case .trailers(let bytes):
            guard !connections[slot].hasTail, bytes.count <= pool.size else {
                return refuse(.trailersTooLarge)
            }
            guard let segment = keep(bytes) else { return refuse(nil) }
            connections[slot].tail = segment
            connections[slot].hasTail = true
        case .invalid(let error): refuse(error)
        }
    }

    /// A copy in a buffer of its own; nil: there is none.
    func keep(_ bytes: Bytes) -> Segment? {
        guard let buffer = pool.take() else { return nil }
        var out = unsafe ByteWriter(pool.memory(buffer))
        out.append(bytes)
        return Segment(buffer: buffer, start: 0, end: UInt32(out.count))
    }

    /// A request that is malformed ends its stream (RFC 9113, 8.1.1); one that is only too large,
    /// or asks for what is not served, is answered.
    private func refuseStream(_ slot: Int, _ error: HeadError) {
        connections[slot].body = BodyProgress()
        if error.status != 400 { return refuse(slot, error, now: turn) }
        counters.add(.requestsTotal)
        counters.add(.protocolErrors)
        var exchange = Exchange()
        exchange.started = turn
        begin(exchange, slot)
        noteMalformed(slot)
        logExchange(slot, flag: .DPE, detail: .malformed(error), now: turn)
        dropStream(slot, .protocolError, now: turn)
    }

    /// The request in hand breaks a rule that only the one parser knows.
    func refuseMalformed(_ slot: Int, _ error: HeadError) { refuseStream(slot, error) }

    // MARK: Bytes

    /// Bytes of a body have come.
    func streamData(_ slot: Int, _ bytes: Bytes) {
        connections[slot].active = turn
        switch connections[slot].stage {
        case .exchange, .tunnel, .pending, .waiting, .asking: break
        case .awaitingRequest where connections[slot].hasReceived: break
        default: return session(of: slot).consume(connections[slot].stream, bytes.count)
        }
        guard appendInput(slot, bytes) else { return breakStream(slot) }
        advance(slot, now: turn)
    }

    /// The window is no larger than a buffer, so there is room for what may come.
    func appendInput(_ slot: Int, _ bytes: Bytes) -> Bool {
        if connections[slot].input < 0 {
            guard let buffer = pool.take() else { return false }
            connections[slot].input = buffer
            connections[slot].inputStart = 0
            connections[slot].inputEnd = 0
        }
        let memory = unsafe pool.memory(connections[slot].input)
        if Int(connections[slot].inputEnd) + bytes.count > pool.size {
            let waiting = input(slot)
            unsafe memory.copyMemory(from: waiting.raw)
            connections[slot].inputStart = 0
            connections[slot].inputEnd = UInt32(waiting.count)
        }
        var out = unsafe ByteWriter(memory, count: Int(connections[slot].inputEnd))
        out.append(bytes)
        precondition(!out.overflowed, "more came than the window lets")
        connections[slot].inputEnd = UInt32(out.count)
        return true
    }

    /// Bytes of a stream have been used: as many more may come.
    func used(_ slot: Int, _ count: Int) {
        guard connections[slot].isStream, count > 0 else { return }
        let session = session(of: slot)
        session.consume(connections[slot].stream, count)
        mark(session)
    }

    /// The peer sends no more on the stream.
    func streamEnded(_ slot: Int) {
        connections[slot].inputEnded = true
        connections[slot].active = turn
        switch (connections[slot].role, connections[slot].stage) {
        case (.downstream, .exchange): relayRequest(slot, now: turn)
        case (.upstream, .exchange):
            // With the head still to be taken, this is found behind it.
            if !connections[slot].hasReceived { responseBytes(slot, now: turn) }
        case (.upstream, .asking): questionAnswered(slot, now: turn)
        case (_, .tunnel): tunnelEnded(slot, now: turn)
        default: break
        }
    }

    /// The stream's last frame has gone out.
    func streamEndSent(_ slot: Int, _ session: ProxySession) {
        connections[slot].outputEnded = true
        session.hasAnswered()
        if connections[slot].stage == .tunnel { return closeTunnelIfDone(slot, now: turn) }
        // A request that was answered before its end: the client need not send the rest (RFC 9113,
        // 8.1).
        if connections[slot].stage == .finishing, !connections[slot].inputEnded {
            session.reset(connections[slot].stream, .noError)
        }
    }

    /// The stream is over: both sides have ended, or one has given it up.
    /// - Parameter code: nil: its connection is gone.
    func streamClosed(_ slot: Int, _ code: HTTP2Code?, detail: ResponseDetail = .streamReset) {
        guard connections[slot].role != .free else { return }
        let connection = connections[slot]
        switch (connection.role, connection.stage) {
        case (.downstream, .exchange), (.downstream, .pending), (.downstream, .waiting):
            counters.add(.streamsCancelled)
            abandon(slot, flag: code == nil ? .DC : .DR, now: turn)
        // In order: what has come is still passed on, and then the end.
        case (_, .tunnel) where hasEnded(slot): closeTunnelIfDone(slot, now: turn)
        case (_, .tunnel): closeTunnel(slot, now: turn)
        case (.upstream, .asking): questionFailed(slot, .reset, now: turn)
        case (.upstream, .exchange):
            // What came before is passed on before its end is.
            if connection.inputEnded, code == .noError || connection.outputEnded {
                connections[slot].outputFailed = true
                return
            }
            guard let client = connection.peer else { return dropStream(slot, nil, now: turn) }
            if code == nil, isStale(slot) {
                return attemptFailed(slot, .stale, flag: .UC, detail: .upstreamClosed, now: turn)
            }
            let flag = Self.flag(code, detail)
            let status = flag == .UPE ? 502 : 503
            if connections[client].exchange.headSent {
                abort(client, status: status, flag: flag, detail: detail, code: code, now: turn)
            } else if code == .refusedStream, !connection.answered {
                attemptFailed(
                    slot, .refused, flag: flag, detail: .streamRefused, code: code, now: turn)
            } else {
                attemptFailed(
                    slot, .reset, status: status, flag: flag,
                    detail: code == .refusedStream ? .streamRefused : detail, code: code, now: turn)
            }
        default: dropStream(slot, nil, now: turn)
        }
    }

    /// Whether a stream's connection, which has been in use, is gone before anything of its request
    /// was sent. Of more nobody knows: a peer that closes in order says by GOAWAY what it has seen.
    private func isStale(_ slot: Int) -> Bool {
        connections[Int(connections[slot].carrier)].answered && isUnsent(slot)
    }

    /// Whose doing it is that an upstream's stream has ended early.
    ///
    /// Source: Envoy, `Filter::streamResetReasonToResponseFlag`.
    private static func flag(_ code: HTTP2Code?, _ detail: ResponseDetail) -> ResponseFlag {
        guard code != nil else { return .UC }
        return switch detail {
        case .upstreamMalformed: .UPE
        case .noBuffer: .LR
        default: .UR
        }
    }

    /// Lets a stream's slot go, and an upstream's place to the next request.
    /// - Parameter code: the stream, if it has not ended, is reset with this.
    func dropStream(_ slot: Int, _ code: HTTP2Code?, servesPending: Bool = true, now: Instant) {
        let connection = connections[slot]
        let session = session(of: slot)
        if let code {
            counters.add(.streamResetsSent)
            session.reset(connection.stream, code)
            mark(session)
        }
        close(slot)
        guard connection.role == .upstream else { return }
        offerRoom(session, servesPending: servesPending, now: now)
    }

    // MARK: What is kept

    func dropReceived(_ slot: Int) {
        guard connections[slot].hasReceived else { return }
        connections[slot].hasReceived = false
        connections[slot].keptBody = 0
        pool.give(connections[slot].received.buffer)
    }

    func dropTail(_ slot: Int) {
        guard connections[slot].hasTail else { return }
        connections[slot].hasTail = false
        pool.give(connections[slot].tail.buffer)
    }

    func dropTrailers(_ slot: Int) {
        guard connections[slot].hasTrailers else { return }
        connections[slot].hasTrailers = false
        pool.give(connections[slot].trailers.buffer)
    }

    /// The head in hand: one that stands apart, or what stands at the start of the input.
    func headBytes(_ slot: Int) -> Bytes {
        guard connections[slot].hasReceived else {
            return connections[slot].isStream ? Bytes("") : input(slot)
        }
        let segment = connections[slot].received
        return pool.bytes(segment.buffer, Int(segment.start)..<Int(segment.end))
    }

    /// The head in hand has been used.
    func consumeHead(_ slot: Int, _ count: Int) {
        if connections[slot].isStream { dropReceived(slot) } else { consumeInput(slot, count) }
    }
}
