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
            || served == requestsPerConnection
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
    public mutating func failedToOpen(_ slot: Int, at now: Instant) {
        precondition(connections[slot].state == .opening, "what was not opening failed to open")
        let target = Int(connections[slot].target)
        targets[target].move(slot, to: .closed, in: connections)
        if let request = targets[target].waiting.popFirst() {
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
    public mutating func closed(_ slot: Int, at now: Instant) {
        recorder.roll(to: now)
        if connections[slot].state == .busy {
            if reader.endsWithConnection(connections[slot].answer) {
                return complete(slot, surplus: false, at: now)
            }
            recorder.failed(
                .reset, response: nil, service: nil, phase: Int(connections[slot].phase))
        }
        close(slot, at: now)
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
    private mutating func openForWaiting(_ target: Int, at now: Instant) {
        while targets[target].waiting.count > targets[target].opening.count,
            targets[target].closed.first >= 0
        {
            open(Int(targets[target].closed.first), at: now)
        }
    }

    // MARK: Timeouts

    /// Gives up requests and attempts to open that have taken too long.
    mutating func expire(at now: Instant) {
        for target in targets.indices {
            while targets[target].busy.first >= 0 {
                let slot = Int(targets[target].busy.first)
                if connections[slot].intended + timeout > now { break }
                timeOut(slot, at: now)
            }
            while let request = targets[target].waiting.first, request.intended + timeout <= now {
                _ = targets[target].waiting.popFirst()
                drop(request.intended, phase: Int(request.phase), at: now)
            }
            while targets[target].opening.first >= 0 {
                let slot = Int(targets[target].opening.first)
                if connections[slot].openingSince + timeout > now { break }
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
