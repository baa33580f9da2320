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
        let connection = connections[slot]
        let timeouts = configuration.timeouts
        switch (connection.role, connection.stage) {
        case (.free, _): return nil
        case (_, .session): return sessionDue(slot)
        case (.upstream, .finishing): return connection.since + Self.lingerTime
        case (.downstream, .awaitingRequest) where connection.search.position > 0:
            return connection.since + (isLeaving(slot) ? Self.lingerTime : timeouts.head)
        case (.downstream, .awaitingRequest) where !connection.output.isEmpty:
            // The last answer is still being read.
            return lastMoved(connection) + min(timeouts.idle, timeouts.streamIdle)
        case (.downstream, .awaitingRequest):
            return connection.since + (isLeaving(slot) ? Self.lingerTime : timeouts.idle)
        case (.downstream, .pending):
            let deadline = connection.exchange.deadline
            return requestDeadline(connection).map { min($0, deadline) } ?? deadline
        case (.downstream, .waiting):
            let due = min(connection.exchange.wakes, connection.exchange.deadline)
            let isBegun =
                connection.exchange.isAgain || connection.exchange.fault.holdsAttempt
            guard isBegun, let deadline = requestDeadline(connection) else {
                return due
            }
            return min(due, deadline)
        case (.downstream, .exchange):
            var due = min(
                lastActive(connection) + timeouts.streamIdle, connection.exchange.deadline,
                connection.exchange.fault.resumes)
            if connection.exchange.hasPolicy { due = min(due, triesDue(slot, connection)) }
            guard connection.body.isComplete, let deadline = requestDeadline(connection) else {
                return due
            }
            return min(due, deadline)
        case (.downstream, .tunnel): return lastActive(connection) + timeouts.streamIdle
        case (.downstream, .finishing): return lastMoved(connection) + timeouts.streamIdle
        case (.downstream, .lingering): return connection.since + Self.lingerTime
        case (.upstream, .connecting):
            let cluster = Int(upstreams.endpoints[Int(connection.endpoint)].cluster)
            return connection.since
                + (cluster >= 0 ? upstreams.clusters[cluster].connectTimeout : .seconds(5))
        case (.downstream, .handshaking): return connection.since + timeouts.handshake
        case (.upstream, .pooled): return connection.since + idleTimeout(slot)
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

    private func requestDeadline(_ connection: Connection) -> Instant? {
        let exchange = connection.exchange
        guard exchange.timeout > .zero, exchange.requestEnded > .zero else { return nil }
        return exchange.requestEnded + exchange.timeout
    }

    /// When the time of the client's attempt is over, or another is to begin beside it.
    private func triesDue(_ slot: Int, _ connection: Connection) -> Instant {
        let wakes = connection.exchange.wakes > .zero ? connection.exchange.wakes : .distantFuture
        return min(wakes, attemptDeadline(slot, connection))
    }

    /// When the time of the client's attempt is over. It begins when the whole request has come,
    /// and the attempt has a connection.
    private func attemptDeadline(_ slot: Int, _ connection: Connection) -> Instant {
        let perTry = tries[slot].rules.perTry
        guard perTry > .zero, connection.body.isComplete, !connection.exchange.headSent,
            let upstream = connection.peer, !connections[upstream].isOverdue
        else { return .distantFuture }
        var began = max(connections[upstream].since, connection.exchange.requestEnded)
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
    func overdue(_ connection: Connection, now: Instant) -> Decision? {
        if connection.exchange.deadline <= now { return .grpcTimeout }
        guard let deadline = requestDeadline(connection), deadline <= now else { return nil }
        return .requestTimeout
    }

    /// Answers a request whose time is over.
    func timeOut(_ slot: Int, _ decision: Decision, now: Instant) {
        count(.requestTimeouts, .requestTimeouts, Int(connections[slot].exchange.cluster))
        connections[slot].exchange.decision = decision
        abort(
            slot, status: 504, flag: .UT,
            detail: decision == .grpcTimeout ? .grpcDeadline : .responseTimeout, now: now)
    }

    /// An answer that was just queued has its time from now on, however long nothing moved before.
    private func lastMoved(_ connection: Connection) -> Instant {
        max(connection.since, connection.active)
    }

    private func lastActive(_ connection: Connection) -> Instant {
        guard let peer = connection.peer else { return connection.active }
        return max(connection.active, connections[peer].active)
    }

    /// Acts on every deadline that has passed.
    public func expire(now: Instant) {
        if let due = upstreams.nextDeadline, due <= now { upstreams.expire(now: now, &random) }
        while let slot = deadlines.popExpired(now) {
            guard let due = due(slot) else { continue }
            if due > now { deadlines.set(slot, at: due) } else { giveUp(slot, now: now) }
        }
    }

    private func giveUp(_ slot: Int, now: Instant) {
        let connection = connections[slot]
        switch (connection.role, connection.stage) {
        case (_, .session): sessionOverdue(slot, now: now)
        case (.upstream, .finishing): closeUpstream(slot, reset: true, now: now)
        case (.downstream, .finishing) where connection.isStream:
            counters.add(.idleTimeouts)
            dropStream(slot, .cancel, now: now)
        case (.downstream, .awaitingRequest) where connection.search.position > 0:
            lateHead(slot, now: now)
        case (.downstream, .awaitingRequest), (.upstream, .pooled):
            counters.add(.idleTimeouts)
            if connection.stage == .pooled {
                count(.connectionIdleTimeouts, cluster(ofEndpoint: Int(connection.endpoint)))
                unpool(slot)
            }
            close(slot, reset: !connection.output.isEmpty)
        case (.downstream, .pending):
            removePending(slot, Int(connection.exchange.cluster))
            if connection.forwards {
                return refuseForwarding(slot, .UO, .pendingTimeout, now: now)
            }
            connections[slot].stage = .awaitingRequest
            if !connection.isStream { releaseInput(slot) }
            connections[slot].exchange.keepAlive = false
            timeOut(slot, overdue(connection, now: now) ?? .requestTimeout, now: now)
        case (.downstream, .waiting): wake(slot, now: now)
        case (.downstream, .exchange):
            exchangeOverdue(slot, now: now)
        case (_, .tunnel):
            counters.add(.idleTimeouts)
            closeTunnel(slot, flag: .SI, detail: .idleTimeout, now: now)
        case (.upstream, .connecting):
            count(
                .upstreamConnectTimeouts, .connectTimeouts,
                cluster(ofEndpoint: Int(connection.endpoint)))
            if connection.isHandshaking { return handshakeTimedOut(slot, now: now) }
            connectFailed(slot, flag: .UF, detail: .connectTimeout, now: now)
        case (.downstream, .handshaking): handshakeTimedOut(slot, now: now)
        default: close(slot, reset: true)
        }
    }

    /// One of the times of an exchange is over.
    private func exchangeOverdue(_ slot: Int, now: Instant) {
        let connection = connections[slot]
        let decision = overdue(connection, now: now)
        if let decision, decision == .grpcTimeout || connection.body.isComplete {
            return timeOut(slot, decision, now: now)
        }
        if connection.exchange.hasPolicy, triesDue(slot, connection) <= now {
            if connection.exchange.wakes > .zero, connection.exchange.wakes <= now {
                hedge(slot, now: now)
            } else {
                attemptOverdue(slot, now: now)
            }
            return
        }
        if connection.exchange.fault.resumes <= now { return resumeThrottled(slot, now: now) }
        counters.add(.idleTimeouts)
        connections[slot].exchange.decision = .idleTimeout
        let status = connection.body.isComplete ? 504 : 408
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
