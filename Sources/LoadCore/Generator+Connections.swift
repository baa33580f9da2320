// What happens to connections: opening, retiring, failing, closing.

public import Base
import Model

extension Generator {
    mutating func open(_ connection: Int, at now: Instant) {
        let target = Int(connections[connection].target)
        targets[target].move(connection, to: .opening, in: connections)
        connections[connection].openingSince = now
        connections[connection].carried = 0
        connections[connection].retiring = false
        actions.append(.open(connection: connection, target: target))
    }

    /// The connection is established.
    public mutating func opened(_ connection: Int, at now: Instant) {
        precondition(connections[connection].state == .opening, "opened what was not opening")
        if speech.opened(connection, target: Int(connections[connection].target)) {
            becomeReady(connection, at: now)
            serve(Int(connections[connection].target), at: now)
        } else {
            askToWrite(connection)
        }
    }

    /// Requests may be put on the connection.
    mutating func becomeReady(_ connection: Int, at now: Instant) {
        precondition(connections[connection].state == .opening, "a connection is ready once")
        let target = Int(connections[connection].target)
        recorder.opened(after: now - connections[connection].openingSince, phase: phase)
        targets[target].move(connection, to: .open, in: connections)
        limit(connection)
    }

    /// Offers as many slots of a connection as its peer lets be used. What is under way stays so;
    /// a request that was put on the connection and is held up there from now on has waited for a
    /// slot like any other.
    mutating func limit(_ connection: Int) {
        guard connections[connection].state == .open, !connections[connection].retiring else {
            return
        }
        let target = Int(connections[connection].target)
        let allowed = Int32(speech.usable(connection))
        connections[connection].allowed = allowed
        for place in 0..<speech.places where connections[connection].offered < allowed {
            let slot = slot(connection, place)
            guard slots[slot].state == .idle else { continue }
            targets[target].move(slot: slot, to: .free, in: slots)
            connections[connection].offered &+= 1
        }
        for place in (0..<speech.places).reversed()
        where connections[connection].offered > allowed {
            let slot = slot(connection, place)
            guard slots[slot].state == .free else { continue }
            targets[target].move(slot: slot, to: .idle, in: slots)
            connections[connection].offered &-= 1
        }
        if connections[connection].busy > allowed { haveUnsentWait(connection) }
    }

    /// The connection could not be established. The request that has waited longest is refused with
    /// it.
    /// - Parameter local: the generator's own machine could not, for want of descriptors, ports or
    ///   memory. That refuses nothing: what waits goes on waiting, for another connection or
    ///   another attempt, and the owner counts the failure against the generator.
    public mutating func failedToOpen(_ connection: Int, at now: Instant, local: Bool = false) {
        precondition(
            connections[connection].state == .opening, "what was not opening failed to open")
        let target = Int(connections[connection].target)
        targets[target].move(connection, to: .closed, in: connections)
        if local {
            openingPausedUntil = now + Self.retryPause
            retryLater(at: now)
        } else if let request = targets[target].waiting.popFirst() {
            outcomes?.note(UInt64(request.number), .refused)
            recorder.failed(.refused, response: nil, service: nil, phase: Int(request.phase))
            openForWaiting(target, at: now)
        } else if sendsAtOnce {
            recorder.planned(phase: phase, due: now)
            recorder.failed(.refused, response: nil, service: nil, phase: phase)
            retryLater(at: now)
        }
    }

    /// The peer refused the handshake.
    mutating func refuse(_ connection: Int, _ refusal: HandshakeRefusal, at now: Instant) {
        actions.append(.refuse(connection: connection, refusal))
        speech.reset(connection)
        failedToOpen(connection, at: now)
    }

    /// The peer has closed the connection, or it has failed. While idle that is its right; a
    /// request on it is lost, and not tried again: the retry would hide what a user without one
    /// would have seen.
    /// - Parameter clean: the peer ended in order (FIN). An answer that lasts up to the end of the
    ///   connection is complete only then: after a reset nobody knows what is missing.
    public mutating func closed(_ connection: Int, at now: Instant, clean: Bool) {
        recorder.roll(to: now)
        if clean, let answer = speech.ended(connection) {
            let generation = connections[connection].generation
            complete(connection, answer, at: now)
            if connections[connection].generation != generation { return }
        }
        lose(connection, .reset, at: now)
    }

    /// The connection is of no use any more; what is on it ends in `outcome`.
    mutating func lose(_ connection: Int, _ outcome: Outcome, at now: Instant) {
        if connections[connection].state == .opening {
            return refuse(connection, .unanswered, at: now)
        }
        if connections[connection].busy > 0 {
            for place in 0..<speech.places where slots[slot(connection, place)].state == .busy {
                end(slot(connection, place), outcome, at: now)
            }
        }
        close(connection, at: now)
    }

    /// The peer has ended its side of the connection, or the connection failed; what it sent before
    /// may still be unread. No request is sent to where nobody listens.
    public mutating func peerEnded(_ connection: Int, at now: Instant) {
        if connections[connection].state == .open { retire(connection, at: now) }
    }

    /// No further request goes out on the connection. It ends behind the last request on it, at
    /// once if there is none.
    mutating func retire(_ connection: Int, at now: Instant) {
        if connections[connection].busy == 0 { return close(connection, at: now) }
        if connections[connection].retiring { return }
        connections[connection].retiring = true
        let target = Int(connections[connection].target)
        for place in 0..<speech.places where slots[slot(connection, place)].state == .free {
            targets[target].move(slot: slot(connection, place), to: .idle, in: slots)
            connections[connection].offered &-= 1
        }
    }

    /// Lets go of a connection that has no request any more, and opens another if it is needed.
    private mutating func close(_ connection: Int, at now: Instant) {
        let target = Int(connections[connection].target)
        for place in 0..<speech.places {
            targets[target].move(slot: slot(connection, place), to: .idle, in: slots)
        }
        speech.reset(connection)
        connections[connection].generation &+= 1
        connections[connection].busy = 0
        connections[connection].blocked = 0
        connections[connection].offered = 0
        connections[connection].allowed = 0
        targets[target].move(connection, to: .closed, in: connections)
        actions.append(.close(connection: connection))
        if sendsAtOnce { open(connection, at: now) } else { openForWaiting(target, at: now) }
    }

    /// Opens connections while more requests wait than are being opened for. On demand, as a
    /// client's pool does: a request that needs a new connection pays for it in response latency.
    mutating func openForWaiting(_ target: Int, at now: Instant) {
        if now < openingPausedUntil { return }
        let bound = requestsPerConnection > 0 ? requestsPerConnection : speech.places
        let each = min(bound, speech.places)
        while targets[target].waiting.count > targets[target].opening.count &* each,
            targets[target].closed.first >= 0
        {
            open(Int(targets[target].closed.first), at: now)
        }
    }
}
