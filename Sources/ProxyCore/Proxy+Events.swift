// What happened on the sockets.

public import Base
import Model
import Wire

extension Proxy {
    /// A client has connected.
    /// - Parameters:
    ///   - client: its address as text, for `x-forwarded-for` and the log; empty: unknown.
    ///   - listener: the place among the configuration's listeners of the one it came by.
    /// - Returns: the connection's slot; nil: the limit is reached, close it.
    public func accept(client: Bytes, listener: Int = 0, now: Instant) -> Int? {
        guard !draining, let slot = takeSlot(.downstream, now: now) else {
            counters.add(.downstreamConnectionsRefused)
            return nil
        }
        counters.add(.downstreamConnectionsTotal)
        remember(client: client, slot)
        connections[slot].listener = UInt16(listener)
        if door(of: slot).isSecured {
            connections[slot].isSecured = true
            connections[slot].isHandshaking = true
            connections[slot].stage = .handshaking
            arm(slot)
        } else {
            begin(client: slot)
        }
        return slot
    }

    /// A client's connection is there to be used.
    func begin(client slot: Int) {
        connections[slot].stage = .awaitingRequest
        // The configuration may have changed during its handshake.
        connections[slot].isLeaving = !fits(slot)
        switch door(of: slot).speech {
        case .tcp:
            connections[slot].forwards = true
            askRead(slot)
        case .http1: connections[slot].speech = .http1
        case .http2: connections[slot].speech = .http2
        case .auto:
            switch connections[slot].agreed {
            case .http1: connections[slot].speech = .http1
            case .http2: connections[slot].speech = .http2
            case .none: break
            }
        }
        arm(slot)
    }

    /// Where to read to; nil: not now. Reading is asked for again when there is room.
    @inline(__always)
    public func space(_ slot: Int) -> UnsafeMutableRawBufferPointer? {
        guard wantsInput(slot) else {
            connections[slot].readPaused = true
            return nil
        }
        if connections[slot].input < 0 {
            guard let buffer = pool.take() else {
                counters.add(.buffersExhausted)
                connections[slot].readPaused = true
                starve(slot)
                return nil
            }
            connections[slot].input = buffer
            connections[slot].inputStart = 0
            connections[slot].inputEnd = 0
        }
        connections[slot].readPaused = false
        return unsafe UnsafeMutableRawBufferPointer(
            rebasing: pool.memory(connections[slot].input)[Int(connections[slot].inputEnd)...])
    }

    /// Whether bytes of this connection can be taken in now.
    private func wantsInput(_ slot: Int) -> Bool {
        let connection = connections[slot]
        guard !connection.inputEnded, connection.hasSocket else { return false }
        let roomInBuffer = connection.input < 0 || Int(connection.inputEnd) < pool.size
        switch connection.stage {
        case .awaitingRequest: return roomInBuffer && !connection.output.isFull
        case .exchange, .tunnel:
            if connection.role == .downstream, connection.stage == .exchange,
                connection.body.isComplete
            {
                return false
            }
            guard let peer = connection.peer else { return roomInBuffer }
            // Bytes that pass unseen go first, and wait for what was read before them.
            if connection.body.held > 0 { return false }
            if mayPassDirectly(slot), !connections[peer].output.isEmpty { return false }
            // A peer that is not yet connected takes what is sent along with the head, and no more.
            return roomInBuffer && !connections[peer].output.isFull
        case .pooled, .lingering: return true
        // Answers to what it says must have somewhere to go.
        case .session: return roomInBuffer && !connection.output.isFull
        case .pending, .waiting, .connecting, .asking, .handshaking, .finishing: return false
        }
    }

    /// There was nothing to read after all.
    @inline(__always)
    public func nothingRead(_ slot: Int) {
        releaseEmptyInput(slot)
        if isLeaving(slot), isIdle(slot) { close(slot) }
        feedStarved()
    }

    /// There may be more, but others have their turn first.
    public func readLater(_ slot: Int) {
        connections[slot].readPaused = true
        askRead(slot)
    }

    /// `count` bytes were read into the space.
    public func received(_ slot: Int, _ count: Int, now: Instant) {
        connections[slot].inputEnd += UInt32(count)
        connections[slot].active = now
        process(slot, now: now)
    }

    /// Goes on with what had to wait: input that could not be used, or a pause in reading.
    public func advance(_ slot: Int, now: Instant) {
        let connection = connections[slot]
        if connection.isMirror { return advanceMirror(slot, now: now) }
        guard
            connection.hasInput || connection.inputEnded || connection.hasReceived
                || connection.forwards
        else { return }
        process(slot, now: now)
    }

    private func process(_ slot: Int, now: Instant) {
        switch (connections[slot].role, connections[slot].stage) {
        case (_, .session): sessionBytes(slot, now: now)
        case (.downstream, .awaitingRequest) where connections[slot].forwards:
            beginForwarding(slot, now: now)
        case (.downstream, .awaitingRequest): requestBytes(slot, now: now)
        case (.downstream, .exchange): relayRequest(slot, now: now)
        case (.upstream, .exchange): responseBytes(slot, now: now)
        case (_, .tunnel): relayTunnel(slot, now: now)
        case (.upstream, .pooled):
            // Nobody asked: whatever it says is no answer.
            counters.add(.protocolErrors)
            unpool(slot)
            close(slot)
        case (.downstream, .lingering): discard(slot)
        default: break
        }
    }

    /// The peer has ended its sending side.
    public func ended(_ slot: Int, now: Instant) {
        connections[slot].inputEnded = true
        releaseEmptyInput(slot)
        switch (connections[slot].role, connections[slot].stage) {
        case (_, .session): breakSession(slot, reset: false, now: now)
        case (.downstream, .awaitingRequest):
            // Requests that came before the end are answered first.
            if connections[slot].hasInput || connections[slot].hasReceived {
                askRead(slot)
            } else {
                requestEnded(slot, now: now)
            }
        case (.downstream, .exchange) where !connections[slot].body.isComplete:
            relayRequest(slot, now: now)
        case (.downstream, .lingering), (.downstream, .handshaking): close(slot)
        case (.upstream, .pooled):
            unpool(slot)
            close(slot)
        case (.upstream, .exchange): responseEnded(slot, now: now)
        case (_, .tunnel): tunnelEnded(slot, now: now)
        default: break
        }
    }

    /// Reading or writing failed: the connection is gone.
    public func failed(_ slot: Int, now: Instant) {
        switch (connections[slot].role, connections[slot].stage) {
        case (_, .session): breakSession(slot, reset: true, now: now)
        case (.upstream, .connecting):
            connectFailed(slot, flag: .UF, detail: .connectionFailed, now: now)
        case (.upstream, .pooled):
            unpool(slot)
            close(slot)
        case (.upstream, .exchange): responseEnded(slot, failed: true, now: now)
        case (.downstream, .exchange), (.downstream, .pending), (.downstream, .waiting):
            abandon(slot, now: now)
        case (.downstream, .tunnel):
            closeTunnel(slot, flag: .DC, detail: .clientGone, now: now)
        case (.upstream, .tunnel):
            closeTunnel(slot, flag: .UC, detail: .streamReset, now: now)
        default: close(slot, reset: true)
        }
    }

    /// The peer takes no more bytes. An upstream may have answered before it closed, without
    /// reading all of the request: only what waits to be sent to it is given up, and its end is
    /// found behind what it said.
    public func sendingFailed(_ slot: Int, now: Instant) {
        let stage = connections[slot].stage
        guard connections[slot].role == .upstream, stage == .exchange || stage == .tunnel else {
            return failed(slot, now: now)
        }
        connections[slot].output.clear(to: pool)
        connections[slot].outputFailed = true
        readLater(slot)
        if let client = connections[slot].peer { askRead(client) }
    }

    /// The connection that was asked for is open.
    public func connected(_ slot: Int, now: Instant) {
        connections[slot].since = now
        connections[slot].opened = now
        connections[slot].active = now
        deadlines.clear(slot)
        if connections[slot].session >= 0 {
            guard !connections[slot].isSecured || connections[slot].agreed == .http2 else {
                // RFC 9113, 3.2: over TLS it is spoken where both have said so.
                return connectFailed(slot, flag: .UF, detail: .notHTTP2, now: now)
            }
            connections[slot].stage = .session
            session(of: slot).heard = now
            attemptsConnected(on: slot)
            mark(session(of: slot))
            arm(slot)
            return askRead(slot)
        }
        attemptConnected(slot)
        if let client = connections[slot].peer, connections[client].stage == .tunnel {
            return tunnelConnected(slot, client, now: now)
        }
        connections[slot].stage = .exchange
        arm(slot)
        askFlush(slot)
        askRead(slot)
        if let client = connections[slot].peer {
            askRead(client)
            // The time of the attempt has begun.
            arm(client)
        }
    }

    // MARK: Sending

    /// How many regions wait to be sent.
    @inline(__always)
    public func outputCount(_ slot: Int) -> Int { connections[slot].output.count }

    /// The `index`th region that waits.
    @inline(__always)
    public func output(_ slot: Int, _ index: Int) -> Bytes {
        let segment = connections[slot].output[index]
        return pool.bytes(segment.buffer, Int(segment.start)..<Int(segment.end))
    }

    /// `count` bytes were sent.
    public func sent(_ slot: Int, _ count: Int, now: Instant) {
        let wasFull = connections[slot].output.isFull
        connections[slot].output.consume(count, to: pool)
        connections[slot].active = now
        if connections[slot].role == .upstream { connections[slot].requestBytesSent += count }
        if connections[slot].output.isEmpty { outputDone(slot, now: now) }
        guard connections[slot].role != .free else { return }
        if connections[slot].stage == .session, session(of: slot).isBlocked {
            mark(session(of: slot))
        }
        if connections[slot].output.isEmpty || (wasFull && !connections[slot].output.isFull) {
            if let peer = connections[slot].peer, connections[peer].readPaused { askRead(peer) }
            switch connections[slot].stage {
            case .awaitingRequest: askRead(slot)
            case .session where connections[slot].readPaused: askRead(slot)
            default: break
            }
        }
        feedStarved()
    }

    /// A flush was asked for and everything is sent already.
    @inline(__always)
    public func nothingToSend(_ slot: Int, now: Instant) {
        if connections[slot].stage == .finishing { outputDone(slot, now: now) }
    }

    private func outputDone(_ slot: Int, now: Instant) {
        switch connections[slot].stage {
        // Its session ends it.
        case .finishing where connections[slot].isStream: break
        case .finishing where connections[slot].role == .upstream:
            closeUpstream(slot, now: now)
        case .finishing:
            ask(.endSending(slot: slot))
            connections[slot].outputEnded = true
            if connections[slot].inputEnded {
                close(slot)
            } else {
                connections[slot].stage = .lingering
                connections[slot].since = now
                discard(slot)
                arm(slot)
                askRead(slot)
            }
        // A stream's has ended with its last frame.
        case .tunnel where connections[slot].isStream: break
        case .tunnel where connections[slot].endAfterOutput && !connections[slot].outputEnded:
            connections[slot].outputEnded = true
            ask(.endSending(slot: slot))
            closeTunnelIfDone(slot, now: now)
        case .awaitingRequest where isLeaving(slot):
            // The answer is sent; what is left is the moment for a request that is on its way.
            connections[slot].since = now
            arm(slot)
        default: break
        }
    }

    /// Notes that the connection goes on when there is a buffer.
    func starve(_ slot: Int) {
        guard !connections[slot].isStarved else { return }
        connections[slot].isStarved = true
        starved.append(slot)
    }

    /// Reads on where no buffer was to be had, now that some may be.
    @inline(__always)
    func feedStarved() {
        guard !starved.isEmpty, pool.inUse < pool.limit else { return }
        for slot in starved {
            connections[slot].isStarved = false
            if connections[slot].stage == .session { mark(session(of: slot)) }
            askRead(slot)
        }
        starved.removeAll(keepingCapacity: true)
    }

    func releaseEmptyInput(_ slot: Int) {
        if connections[slot].input >= 0, !connections[slot].hasInput { releaseInput(slot) }
    }

    private func discard(_ slot: Int) {
        let count = connections[slot].hasInput ? input(slot).count : 0
        connections[slot].exchange.requestBytes += count
        releaseInput(slot)
        // Bound: who sends so much to a closed door is told by a reset.
        if connections[slot].exchange.requestBytes > Self.lingerBytes { close(slot, reset: true) }
    }
}
