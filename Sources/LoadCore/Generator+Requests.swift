// What happens to requests and connections: taking up, sending, answers, failures.

public import Base
import Model

extension Generator {
    // MARK: Requests

    /// The intended instant of a request has come.
    mutating func takeUp(_ request: PlannedRequest, at now: Instant) {
        let intended = start + request.offset
        let phase = request.phase
        recorder.planned(phase: phase)
        if now - intended >= timeout {
            // The generator itself was stalled for longer than the timeout.
            recorder.lag(now - intended, phase: phase)
            return drop(intended, phase: phase, at: now)
        }
        let target = request.target
        let free = targets[target].free.first
        if free >= 0 {
            // Whoever waits came first; with one waiting no connection is free.
            return dispatch(
                Int(free), intended: intended, takenUp: now, phase: phase, waited: false)
        }
        recorder.lag(now - intended, phase: phase)
        let waiting = WaitingRequest(intended: intended, takenUp: now, phase: Int32(phase))
        guard targets[target].waiting.append(waiting) else {
            return drop(intended, phase: phase, at: now)
        }
        openForWaiting(target, at: now)
    }

    /// Puts a request on a free connection.
    private mutating func dispatch(
        _ slot: Int, intended: Instant, takenUp: Instant, phase: Int, waited: Bool
    ) {
        let target = Int(connections[slot].target)
        targets[target].move(slot, to: .busy, in: connections)
        connections[slot].phase = Int32(phase)
        connections[slot].intended = intended
        connections[slot].takenUp = takenUp
        connections[slot].sent = takenUp
        connections[slot].waited = waited
        connections[slot].written = false
        connections[slot].firstByteSeen = false
        actions.append(.send(slot: slot, target: target))
    }

    /// Gives a free connection its next request, if there is one.
    mutating func sendNext(on slot: Int, at now: Instant) {
        let target = Int(connections[slot].target)
        if let request = targets[target].waiting.popFirst() {
            dispatch(
                slot, intended: request.intended, takenUp: request.takenUp,
                phase: Int(request.phase), waited: true)
        } else if sendsAtOnce {
            recorder.planned(phase: phase)
            dispatch(slot, intended: now, takenUp: now, phase: phase, waited: false)
        }
    }

    /// Right before the first byte of a request is written.
    @inline(__always)
    public mutating func sending(_ slot: Int, at now: Instant) {
        let phase = Int(connections[slot].phase)
        connections[slot].sent = now
        recorder.sent(phase: phase)
        if closedLoop {
            // There is no schedule to be late against: the request is meant to go when it goes.
            connections[slot].intended = now
        } else if connections[slot].waited {
            recorder.waited(now - connections[slot].takenUp, phase: phase)
        } else {
            recorder.lag(now - connections[slot].intended, phase: phase)
        }
    }

    /// All bytes of the request are with the kernel.
    @inline(__always)
    public mutating func written(_ slot: Int) { connections[slot].written = true }

    /// A request that is never sent. It had no answer within its timeout, and its latency says so:
    /// leaving it out would make an overloaded system look faster than one that just keeps up.
    mutating func drop(_ intended: Instant, phase: Int, at now: Instant) {
        recorder.failed(
            .dropped, response: max(timeout, now - intended), service: nil, phase: phase)
    }

    /// A request that waits when the run is stopped: never sent, and timed at what it reached. It
    /// is no sign of the system that it waited no longer.
    mutating func dropEarly(_ request: WaitingRequest, at now: Instant) {
        recorder.failed(
            .dropped, response: now - request.intended, service: nil, phase: Int(request.phase))
    }

    // MARK: Answers

    /// Bytes have come. `now` is read after the call that brought them.
    public mutating func received(_ slot: Int, _ bytes: Bytes, at now: Instant) {
        recorder.roll(to: now)
        guard connections[slot].state == .busy else {
            // Bytes that nobody asked for, such as a 408 before the server closes an idle
            // connection.
            return close(slot, at: now)
        }
        let phase = Int(connections[slot].phase)
        recorder.received(bytes.count, phase: phase)
        if !connections[slot].firstByteSeen {
            connections[slot].firstByteSeen = true
            recorder.firstByte(now - connections[slot].sent, phase: phase)
        }
        switch reader.read(bytes, &connections[slot].answer) {
        case .partial: return
        case .complete(let used): complete(slot, surplus: used < bytes.count, at: now)
        case .malformed:
            recorder.failed(.malformed, response: nil, service: nil, phase: phase)
            close(slot, at: now)
        }
    }

    private mutating func complete(_ slot: Int, surplus: Bool, at now: Instant) {
        let connection = connections[slot]
        recorder.answered(
            status: Int(connection.answer.status), flags: connection.answer.flags,
            response: now - connection.intended, service: now - connection.sent,
            phase: Int(connection.phase))
        let served = connection.served &+ 1
        connections[slot].served = served
        reader.reset(&connections[slot].answer)
        // An answer before the end of the request leaves a connection that is in the middle of a
        // message.
        if !connection.answer.keepAlive || surplus || !connection.written
            || connection.peerEnded || served == requestsPerConnection
        {
            return close(slot, at: now)
        }
        targets[Int(connection.target)].move(slot, to: .free, in: connections)
        sendNext(on: slot, at: now)
    }

    // MARK: Connections

    mutating func open(_ slot: Int, at now: Instant) {
        let target = Int(connections[slot].target)
        targets[target].move(slot, to: .opening, in: connections)
        connections[slot].openingSince = now
        connections[slot].served = 0
        connections[slot].peerEnded = false
        actions.append(.open(slot: slot, target: target))
    }

    /// The connection is established.
    public mutating func opened(_ slot: Int, at now: Instant) {
        precondition(connections[slot].state == .opening, "opened what was not opening")
        recorder.opened(after: now - connections[slot].openingSince, phase: phase)
        targets[Int(connections[slot].target)].move(slot, to: .free, in: connections)
        sendNext(on: slot, at: now)
    }

    /// The connection could not be established. The request that has waited longest is refused with
    /// it.
    /// - Parameter local: the generator's own machine could not, for want of descriptors, ports or
    ///   memory. That refuses nothing: what waits goes on waiting, for another connection or
    ///   another attempt, and the owner counts the failure against the generator.
    public mutating func failedToOpen(_ slot: Int, at now: Instant, local: Bool = false) {
        precondition(connections[slot].state == .opening, "what was not opening failed to open")
        let target = Int(connections[slot].target)
        targets[target].move(slot, to: .closed, in: connections)
        if local {
            openingPausedUntil = now + Self.retryPause
            retryLater(at: now)
        } else if let request = targets[target].waiting.popFirst() {
            recorder.failed(.refused, response: nil, service: nil, phase: Int(request.phase))
            openForWaiting(target, at: now)
        } else if sendsAtOnce {
            recorder.planned(phase: phase)
            recorder.failed(.refused, response: nil, service: nil, phase: phase)
            retryLater(at: now)
        }
    }

    /// The peer has closed the connection, or it has failed. While idle that is its right; a
    /// request on it is lost, and not tried again: the retry would hide what a user without one
    /// would have seen.
    /// - Parameter clean: the peer ended in order (FIN). An answer that lasts up to the end of the
    ///   connection is complete only then: after a reset nobody knows what is missing.
    public mutating func closed(_ slot: Int, at now: Instant, clean: Bool) {
        recorder.roll(to: now)
        if connections[slot].state == .busy {
            if clean, reader.endsWithConnection(connections[slot].answer) {
                return complete(slot, surplus: false, at: now)
            }
            recorder.failed(
                .reset, response: nil, service: nil, phase: Int(connections[slot].phase))
        }
        close(slot, at: now)
    }

    /// The peer has ended its side of the connection, or the connection failed; what it sent before
    /// may still be unread. Without a request the connection is let go; with one it ends behind
    /// that, so that no request is sent to where nobody listens.
    public mutating func peerEnded(_ slot: Int, at now: Instant) {
        switch connections[slot].state {
        case .free: close(slot, at: now)
        case .busy: connections[slot].peerEnded = true
        case .closed, .opening: break
        }
    }

    /// Lets go of a connection that has no request any more, and opens another if it is needed.
    private mutating func close(_ slot: Int, at now: Instant) {
        let target = Int(connections[slot].target)
        reader.reset(&connections[slot].answer)
        targets[target].move(slot, to: .closed, in: connections)
        actions.append(.close(slot: slot))
        if sendsAtOnce { open(slot, at: now) } else { openForWaiting(target, at: now) }
    }

    /// Opens connections while more requests wait than connections are being opened. On demand, as
    /// a client's pool does: a request that needs a new connection pays for it in response latency.
    mutating func openForWaiting(_ target: Int, at now: Instant) {
        if now < openingPausedUntil { return }
        while targets[target].waiting.count > targets[target].opening.count,
            targets[target].closed.first >= 0
        {
            open(Int(targets[target].closed.first), at: now)
        }
    }

    // MARK: Timeouts

    /// Gives up requests and attempts to open that have taken too long.
    /// - Parameter heard: the instant that counts; see `advance`.
    mutating func expire(by heard: Instant, at now: Instant) {
        for target in targets.indices {
            while targets[target].busy.first >= 0 {
                let slot = Int(targets[target].busy.first)
                if connections[slot].intended + timeout > heard { break }
                timeOut(slot, at: now)
            }
            while let request = targets[target].waiting.first, request.intended + timeout <= heard {
                _ = targets[target].waiting.popFirst()
                drop(request.intended, phase: Int(request.phase), at: now)
            }
            while targets[target].opening.first >= 0 {
                let slot = Int(targets[target].opening.first)
                if connections[slot].openingSince + timeout > heard { break }
                actions.append(.close(slot: slot))
                failedToOpen(slot, at: now)
            }
        }
    }

    /// A request that was sent had no complete answer in time.
    mutating func timeOut(_ slot: Int, at now: Instant) {
        let connection = connections[slot]
        recorder.failed(
            .timeout, response: now - connection.intended, service: now - connection.sent,
            phase: Int(connection.phase))
        close(slot, at: now)
    }
}
