// Connections of HTTP/2. Such a connection is a slot in the stage `session`; what it has to send is
// made once a turn, when everything that became ready has been looked at, so that the frames of
// many streams leave in one piece.

public import Base
import Model
import Wire

extension Proxy {
    /// What this proxy asks of its peers. The window is a buffer less one byte: what may come on a
    /// stream before any was used always finds room.
    private func sessionSettings() -> HTTP2Settings {
        var settings = HTTP2Settings()
        settings.streams = configuration.limits.streams
        settings.streamWindow = Self.bufferSize - 1
        settings.headerList = configuration.limits.headBytes
        settings.extendedConnect = !configuration.upgrades.isEmpty
        return settings
    }

    /// Makes the connection one of HTTP/2.
    @discardableResult
    func beginSession(_ slot: Int, server: Bool, now: Instant) -> ProxySession {
        let session = ProxySession(
            self, slot: slot, server: server, sessionSettings(), now: now)
        connections[slot].session = sessions.add(session)
        counters.add(server ? .downstreamSessions : .upstreamSessions)
        mark(session)
        return session
    }

    /// The session of a connection or of a stream.
    func session(of slot: Int) -> ProxySession {
        guard let session = sessions[connections[slot].session] else {
            preconditionFailure("a slot without its session")
        }
        return session
    }

    /// Input has come on a session's connection.
    func sessionBytes(_ slot: Int, now: Instant) {
        guard connections[slot].hasInput else { return }
        turn = now
        let session = session(of: slot)
        // What is behind a failure, or the end, is for nobody.
        guard session.ending == nil, session.failure == nil else { return releaseInput(slot) }
        session.heard = now
        connections[slot].answered = true
        let failure = session.receive(input(slot))
        releaseInput(slot)
        if let failure { noteFlood(failure) }
        mark(session)
        arm(slot)
    }

    private func noteFlood(_ failure: HTTP2Failure) {
        switch failure {
        case .floodedWithAcknowledged: counters.add(.floodedAcknowledgements)
        case .tooManyContinuations: counters.add(.floodedContinuations)
        case .tooManySettings: counters.add(.floodedSettings)
        // Counted where they were found.
        case .tooManyResets, .tooManyEmptyFrames, .headTooLarge: break
        case .badPreface, .broken, .noMemory: counters.add(.protocolErrors)
        }
    }

    /// The session has something to send, perhaps.
    func mark(_ session: ProxySession) {
        guard !session.isMarked else { return }
        session.isMarked = true
        marked.append(Int32(session.slot))
    }

    /// Makes the frames that sessions have to send, and asks for them to be sent. Call it once a
    /// turn, and carry out the effects that it causes; until `hasMarkedSessions` is false.
    public func flushSessions(now: Instant) {
        turn = now
        // Bound: as many as were marked before; what their frames cause waits for the next call.
        swap(&marked, &flushing)
        for slot in flushing where isSession(Int(slot)) {
            let session = session(of: Int(slot))
            session.isMarked = false
            flush(session, now: now)
        }
        flushing.removeAll(keepingCapacity: true)
    }

    private func isSession(_ slot: Int) -> Bool {
        connections[slot].role != .free && connections[slot].session >= 0
            && connections[slot].carrier < 0
    }

    /// Whether `flushSessions` has something to do.
    public var hasMarkedSessions: Bool { !marked.isEmpty }

    private func flush(_ session: ProxySession, now: Instant) {
        let slot = session.slot
        guard connections[slot].stage == .session else { return }
        guard session.ending == nil else { return finishEnding(session, now: now) }
        session.isBlocked = false
        let isWhole = session.pull()
        connections[slot].output.dropEmptyTail(to: pool)
        if !connections[slot].output.isEmpty {
            askFlush(slot)
            // Whether it is taken has a deadline.
            arm(slot)
        }
        if !isWhole || session.failure != nil || session.isDone {
            endSession(slot, now: now)
        }
    }

    /// The connection is at its end, but for what waits to be sent.
    private func endSession(_ slot: Int, now: Instant) {
        end(session(of: slot), .inOrder, now: now)
    }

    /// The connection is gone, or has to go, without more ado.
    func breakSession(_ slot: Int, reset: Bool, now: Instant) {
        turn = now
        // Whoever waits for an answer that is here whole shall have it; nothing more is read.
        connections[slot].inputEnded = true
        releaseInput(slot)
        connections[slot].output.clear(to: pool)
        end(session(of: slot), .broken(reset: reset), now: now)
    }

    private func end(_ session: ProxySession, _ ending: ProxySession.Ending, now: Instant) {
        session.isClosing = true
        session.ending = ending
        unpoolSession(session.slot)
        failStreams(of: session)
        finishEnding(session, now: now)
    }

    /// Closes the connection once its last stream has gone.
    private func finishEnding(_ session: ProxySession, now: Instant) {
        let slot = session.slot
        guard session.streams.isEmpty else { return }
        switch session.ending {
        case nil: return
        case .inOrder:
            connections[slot].stage = .finishing
            connections[slot].since = now
            connections[slot].exchange.requestBytes = 0
            releaseInput(slot)
            if connections[slot].output.isEmpty { askFlush(slot) }
            arm(slot)
        case .broken(let reset) where connections[slot].role == .upstream:
            closeUpstream(slot, reset: reset, now: now)
        case .broken(let reset): close(slot, reset: reset)
        }
    }

    /// The streams of a connection end with it, but for those that have got all they need of it.
    private func failStreams(of session: ProxySession) {
        for stream in session.streams.reversed() {
            streamClosed(Int(stream), nil, detail: .upstreamClosed)
        }
    }

    // MARK: Frames

    /// Whether one more frame of any kind can be taken: one of the largest, and its header. Where
    /// not, the session goes on when something has been sent.
    func hasRoomForFrames(_ slot: Int) -> Bool {
        let size = Self.largestFrame
        let output = connections[slot].output
        if output.tailRoom(of: pool) >= size { return true }
        if !output.isFull, unsafe connections[slot].output.room(for: size, from: pool) != nil {
            return true
        }
        session(of: slot).isBlocked = true
        if !output.isFull { starve(slot) }
        return false
    }

    /// RFC 9113, 4.2: what a peer takes that has not asked for more; ours does not send more.
    private static let largestFrame = 16_384 + 9

    func appendFrames(_ bytes: Bytes, _ slot: Int) {
        let fits = connections[slot].output.append(bytes, from: pool)
        precondition(fits, "a frame larger than what was asked for")
    }

    /// What a stream has to send.
    func provide(_ slot: Int, limit: Int, _ session: ProxySession) -> HTTP2Session.Provided {
        let waiting = connections[slot].output.byteCount
        let count = min(limit, waiting)
        guard count == waiting, connections[slot].endAfterOutput else {
            return count > 0 ? .bytes(count, isLast: false) : .nothing
        }
        guard connections[slot].hasTrailers else { return .bytes(count, isLast: true) }
        fields.removeAll()
        let lines = connections[slot].trailers
        fields.add(lines: pool.bytes(lines.buffer, Int(lines.start)..<Int(lines.end)))
        // They stay until the stream is let go: it may be refused, and sent again.
        guard !fields.overflowed, session.submitTrailers(connections[slot].stream, fields) else {
            return .failed
        }
        return .trailers(count)
    }

    /// Moves bytes of a stream into its connection's output, behind the header of their frame.
    func writeFrame(of slot: Int, header: Bytes, count: Int, on carrier: Int) -> Bool {
        guard hasRoomForFrames(carrier) else { return false }
        appendFrames(header, carrier)
        var left = count
        var index = 0
        while left > 0 {
            let segment = connections[slot].output[index]
            let piece = min(left, segment.count)
            let start = Int(segment.start)
            appendFrames(pool.bytes(segment.buffer, start..<start + piece), carrier)
            left -= piece
            index += 1
        }
        if count > 0 { sent(slot, count, now: turn) }
        return true
    }

    // MARK: Life and death

    func goawayReceived(_ session: ProxySession) {
        counters.add(.goawaysReceived)
        session.isClosing = true
        unpoolSession(session.slot)
    }

    /// The peer has said how many streams it takes.
    func settingsReceived(_ session: ProxySession) {
        session.hasSettings = true
        guard !session.isServer else { return }
        offerRoom(session, now: turn)
    }

    /// Lets clients of a connection know that it will take no more, and has it close when its
    /// streams have ended.
    func drainSession(_ slot: Int, now: Instant) {
        let session = session(of: slot)
        session.isClosing = true
        if session.isServer {
            // Requests that are on their way are still let in (RFC 9113, 6.8).
            session.submitShutdownNotice()
            session.submitPing(ProxySession.shutdownMark)
            session.announcesShutdown = true
            session.pingDeadline = now + Self.lingerTime
        } else {
            unpoolSession(slot)
            session.submitGoaway(.noError)
        }
        mark(session)
        arm(slot)
    }

    /// When the connection is to be looked at if nothing happens; nil: never.
    func sessionDue(_ slot: Int) -> Instant? {
        let session = session(of: slot)
        // Its streams have their clients' deadlines.
        if session.ending != nil { return nil }
        let timeouts = configuration.timeouts
        var due: Instant?
        func consider(_ instant: Instant) { due = min(due ?? instant, instant) }
        if let since = session.headSince { consider(since + timeouts.head) }
        if let deadline = session.pingDeadline {
            consider(deadline)
        } else if timeouts.pingInterval > .zero {
            consider(session.heard + timeouts.pingInterval)
        }
        if session.streams.isEmpty {
            consider(connections[slot].since + idleTimeout(slot))
        }
        // What nobody takes off our hands for so long will not be taken.
        if !connections[slot].output.isEmpty {
            consider(max(connections[slot].active, connections[slot].since) + timeouts.streamIdle)
        }
        return due
    }

    /// One of its deadlines has passed.
    func sessionOverdue(_ slot: Int, now: Instant) {
        let session = session(of: slot)
        let timeouts = configuration.timeouts
        turn = now
        if let deadline = session.pingDeadline, deadline <= now {
            if session.announcesShutdown {
                session.announceLast()
                return arm(slot)
            }
            counters.add(.pingTimeouts)
            return breakSession(slot, reset: true, now: now)
        }
        if let since = session.headSince, since + timeouts.head <= now {
            counters.add(.idleTimeouts)
            return breakSession(slot, reset: true, now: now)
        }
        if !connections[slot].output.isEmpty,
            max(connections[slot].active, connections[slot].since) + timeouts.streamIdle <= now
        {
            counters.add(.idleTimeouts)
            return breakSession(slot, reset: true, now: now)
        }
        if session.streams.isEmpty, connections[slot].since + idleTimeout(slot) <= now {
            counters.add(.idleTimeouts)
            connections[slot].since = now
            session.fail(.broken, .noError)
            mark(session)
            return arm(slot)
        }
        if timeouts.pingInterval > .zero, session.heard + timeouts.pingInterval <= now {
            session.submitPing(ProxySession.keepAliveMark)
            session.pingDeadline = now + timeouts.pingTimeout
            mark(session)
        }
        arm(slot)
    }
}
