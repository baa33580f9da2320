// Deadlines. Each connection has one timer. Moving a deadline later costs nothing: the timer goes
// off at the old instant, finds that it is early, and is set anew; so a busy connection touches the
// heap about once per timeout, not once per request.

public import Base
import Model
import Wire

extension Proxy {
    /// How long a client may take to read its last answer and go.
    static let lingerTime = Duration.seconds(2)

    /// Sets the connection's timer, unless it goes off early enough as it is.
    func arm(_ slot: Int) {
        guard let due = due(slot) else { return }
        if let set = deadlines.deadline(of: slot), set <= due { return }
        deadlines.set(slot, at: due)
    }

    /// When the connection is to be given up if nothing happens; nil: never.
    private func due(_ slot: Int) -> Instant? {
        let due = dueWithin(slot)
        guard let end = connectionDeadline(slot) else { return due }
        return min(end, due ?? end)
    }

    /// The same, however long the connection may last as a whole.
    private func dueWithin(_ slot: Int) -> Instant? {
        let timeouts = configuration.timeouts
        switch (connections[slot].role, connections[slot].stage) {
        case (.free, _): return nil
        case (_, .session): return sessionDue(slot)
        case (.upstream, .finishing): return connections[slot].since + Self.lingerTime
        case (.downstream, .awaitingRequest) where connections[slot].search.position > 0:
            return connections[slot].since + (isLeaving(slot) ? Self.lingerTime : timeouts.head)
        case (.downstream, .awaitingRequest) where !connections[slot].output.isEmpty:
            // The last answer is still being read.
            return lastMoved(slot) + min(timeouts.idle, timeouts.streamIdle)
        case (.downstream, .awaitingRequest):
            return connections[slot].since + (isLeaving(slot) ? Self.lingerTime : timeouts.idle)
        case (.downstream, .pending):
            let deadline = min(connections[slot].exchange.deadline, streamDeadline(slot))
            return requestDeadline(slot).map { min($0, deadline) } ?? deadline
        case (.downstream, .waiting):
            let due = min(
                connections[slot].exchange.wakes, connections[slot].exchange.deadline,
                streamDeadline(slot))
            let isBegun =
                connections[slot].exchange.isAgain || connections[slot].exchange.fault.holdsAttempt
            guard isBegun, let deadline = requestDeadline(slot) else {
                return due
            }
            return min(due, deadline)
        case (.downstream, .exchange):
            var due = min(
                lastActive(slot) + streamIdleTimeout(slot),
                connections[slot].exchange.deadline, connections[slot].exchange.fault.resumes)
            due = min(due, streamDeadline(slot), attemptEnd(slot))
            if connections[slot].exchange.hasPolicy { due = min(due, triesDue(slot)) }
            guard connections[slot].body.isComplete, let deadline = requestDeadline(slot) else {
                return due
            }
            return min(due, deadline)
        case (.downstream, .tunnel):
            let idle = lastActive(slot) + streamIdleTimeout(slot)
            return min(idle, streamDeadline(slot), attemptEnd(slot))
        case (.downstream, .finishing): return lastMoved(slot) + timeouts.streamIdle
        case (.downstream, .lingering): return connections[slot].since + Self.lingerTime
        case (.upstream, .connecting):
            let cluster = Int(upstreams.endpoints[Int(connections[slot].endpoint)].cluster)
            return connections[slot].since
                + (cluster >= 0 ? upstreams.clusters[cluster].connectTimeout : .seconds(5))
        case (.downstream, .handshaking): return connections[slot].since + timeouts.handshake
        case (.upstream, .pooled): return connections[slot].since + idleTimeout(slot)
        // An upstream with an exchange is governed by its client's deadline.
        case (.upstream, _), (.downstream, _): return nil
        }
    }

    /// How long a connection may be without a request.
    func idleTimeout(_ slot: Int) -> Duration {
        guard connections[slot].role == .upstream else { return configuration.timeouts.idle }
        let cluster = Int(upstreams.endpoints[Int(connections[slot].endpoint)].cluster)
        return cluster >= 0 ? upstreams.clusters[cluster].idleTimeout : configuration.timeouts.idle
    }

    private func requestDeadline(_ slot: Int) -> Instant? {
        let timeout = connections[slot].exchange.timeout
        let ended = connections[slot].exchange.requestEnded
        return timeout > .zero && ended > .zero ? ended + timeout : nil
    }

    /// When the time of the client's attempt is over, or another is to begin beside it.
    private func triesDue(_ slot: Int) -> Instant {
        let wakes = connections[slot].exchange.wakes
        return min(wakes > .zero ? wakes : .distantFuture, attemptDeadline(slot))
    }

    /// When the time of the client's attempt is over. It begins when the whole request has come,
    /// and the attempt has a connection.
    private func attemptDeadline(_ slot: Int) -> Instant {
        let perTry = tries[slot].rules.perTry
        guard perTry > .zero, connections[slot].body.isComplete,
            !connections[slot].exchange.headSent,
            let upstream = connections[slot].peer, !connections[upstream].isOverdue
        else { return .distantFuture }
        var began = max(connections[upstream].since, connections[slot].exchange.requestEnded)
        if connections[upstream].isStream {
            let carrier = Int(connections[upstream].carrier)
            guard connections[carrier].stage == .session else { return .distantFuture }
            began = max(began, connections[carrier].since)
        } else if connections[upstream].stage == .connecting {
            return .distantFuture
        }
        return began + perTry
    }

    /// Whose time is over that the client's request has as a whole; nil: it has some left.
    func overdue(_ slot: Int, now: Instant) -> Decision? {
        if connections[slot].exchange.deadline <= now { return .grpcTimeout }
        if streamDeadline(slot) <= now { return .durationTimeout }
        guard let deadline = requestDeadline(slot), deadline <= now else { return nil }
        return .requestTimeout
    }

    /// Answers a request whose time is over.
    func timeOut(_ slot: Int, _ decision: Decision, now: Instant) {
        guard decision != .durationTimeout else { return endStream(slot, now: now) }
        noteTimeout(slot, decision)
        if isClientsTime(slot, decision, now: now) { absolve(slot, now: now) }
        abort(
            slot, status: Int(connections[slot].exchange.timeoutStatus), flag: .UT,
            detail: decision == .grpcTimeout ? .grpcDeadline : .responseTimeout, now: now)
    }

    /// Counts that a request's time is over, and says which time that is.
    func noteTimeout(_ slot: Int, _ decision: Decision) {
        count(.requestTimeouts, of: slot)
        count(ClusterCount.requestTimeouts, Int(connections[slot].exchange.cluster))
        connections[slot].exchange.decision = decision
    }

    /// Whether a time is over that the client has named, and the policy's own is not.
    private func isClientsTime(_ slot: Int, _ decision: Decision, now: Instant) -> Bool {
        if connections[slot].exchange.isHurried { return true }
        guard decision == .grpcTimeout else { return false }
        guard let deadline = requestDeadline(slot) else { return true }
        return deadline > now
    }

    /// A client's impatience counts neither against the endpoint nor against its cluster: else
    /// whoever names a short time has any endpoint left out.
    private func absolve(_ slot: Int, now: Instant) {
        connections[slot].exchange.isAdmitted = false
        guard let upstream = connections[slot].peer, !connections[upstream].isOverdue else {
            return
        }
        endAttempt(upstream, .cancelled, now: now)
    }

    /// An answer that was just queued has its time from now on, however long nothing moved before.
    private func lastMoved(_ slot: Int) -> Instant {
        max(connections[slot].since, connections[slot].active)
    }

    private func lastActive(_ slot: Int) -> Instant {
        guard let peer = connections[slot].peer else { return connections[slot].active }
        return max(connections[slot].active, connections[peer].active)
    }

    /// The earliest instant at which `expire` has something to do; nil: never.
    public var nextDeadline: Instant? {
        var due = deadlines.earliest ?? .distantFuture
        if let board = upstreams.nextDeadline { due = min(due, board) }
        due = min(due, queues.nextLook)
        return due < .distantFuture ? due : nil
    }

    /// Acts on every deadline that has passed.
    public func expire(now: Instant) {
        if queues.nextLook <= now { look(now: now) }
        if let due = upstreams.nextDeadline, due <= now { upstreams.expire(now: now, &random) }
        while let slot = deadlines.popExpired(now) {
            guard let due = due(slot) else { continue }
            if due > now { deadlines.set(slot, at: due) } else { giveUp(slot, now: now) }
        }
    }

    private func giveUp(_ slot: Int, now: Instant) {
        if let end = connectionDeadline(slot), end <= now {
            return drainConnection(slot, now: now)
        }
        switch (connections[slot].role, connections[slot].stage) {
        case (_, .session): sessionOverdue(slot, now: now)
        case (.upstream, .finishing): closeUpstream(slot, reset: true, now: now)
        case (.downstream, .finishing) where connections[slot].isStream:
            counters.add(.idleTimeouts)
            dropStream(slot, .cancel, now: now)
        case (.downstream, .awaitingRequest) where connections[slot].search.position > 0:
            lateHead(slot, now: now)
        case (.downstream, .awaitingRequest), (.upstream, .pooled):
            counters.add(.idleTimeouts)
            if connections[slot].stage == .pooled {
                count(.connectionIdleTimeouts, cluster(ofEndpoint: Int(connections[slot].endpoint)))
                unpool(slot)
            }
            close(slot, reset: !connections[slot].output.isEmpty)
        case (.downstream, .pending):
            if connections[slot].forwards {
                return refuseForwarding(slot, .UO, .pendingTimeout, now: now)
            }
            removePending(slot, Int(connections[slot].exchange.cluster))
            connections[slot].stage = .awaitingRequest
            if !connections[slot].isStream { releaseInput(slot) }
            connections[slot].exchange.keepAlive = false
            timeOut(slot, overdue(slot, now: now) ?? .requestTimeout, now: now)
        case (.downstream, .waiting): wake(slot, now: now)
        case (.downstream, .exchange):
            exchangeOverdue(slot, now: now)
        case (_, .tunnel) where endsTunnel(slot, now: now): break
        case (_, .tunnel):
            counters.add(.idleTimeouts)
            closeTunnel(slot, flag: .SI, detail: .idleTimeout, now: now)
        case (.upstream, .connecting):
            count(
                .upstreamConnectTimeouts, .connectTimeouts,
                cluster(ofEndpoint: Int(connections[slot].endpoint)))
            if connections[slot].isHandshaking { return handshakeTimedOut(slot, now: now) }
            connectFailed(slot, flag: .UF, detail: .connectTimeout, now: now)
        case (.downstream, .handshaking): handshakeTimedOut(slot, now: now)
        default: close(slot, reset: true)
        }
    }

    /// One of the times of an exchange is over.
    private func exchangeOverdue(_ slot: Int, now: Instant) {
        let decision = overdue(slot, now: now)
        if let decision, decision != .requestTimeout || connections[slot].body.isComplete {
            return timeOut(slot, decision, now: now)
        }
        if attemptEnd(slot) <= now { return endAttempt(of: slot, now: now) }
        if connections[slot].exchange.hasPolicy, triesDue(slot) <= now {
            if connections[slot].exchange.wakes > .zero, connections[slot].exchange.wakes <= now {
                hedge(slot, now: now)
            } else {
                attemptOverdue(slot, now: now)
            }
            return
        }
        if connections[slot].exchange.fault.resumes <= now {
            return resumeThrottled(slot, now: now)
        }
        counters.add(.idleTimeouts)
        connections[slot].exchange.decision = .idleTimeout
        let status = connections[slot].body.isComplete ? 504 : 408
        abort(slot, status: status, flag: .SI, detail: .streamIdleTimeout, now: now)
    }

    private func lateHead(_ slot: Int, now: Instant) {
        counters.add(.requestsTotal)
        var exchange = Exchange()
        exchange.started = connections[slot].since
        exchange.keepAlive = false
        begin(exchange, slot)
        noteMalformed(slot)
        reply(slot, status: 408, flag: .SI, detail: .requestHeadTimeout, now: now)
    }
}
