// How long at most: a client's exchange, an attempt, a connection of either side; and how many
// requests a connection serves. All are without bound unless something is said.
//
//     exchange     head of the request ──────────────────────▶ 408 or 504 DT, or a reset
//     attempt      connection ──────────────────────▶ tried again on `reset`, 408 or 504 UMSDR
//     connection   opening ──▶ drained: GOAWAY, or `connection: close`, and closed
//
// An exchange that ends so is told 408 as long as its request has not come whole, like one on which
// nothing moves; behind an answer that has begun it is cut.

import Base
import Model
import Wire

extension Proxy {
    // MARK: Streams

    /// How long nothing may move on the client's exchange.
    func streamIdleTimeout(_ slot: Int) -> Duration {
        let cluster = Int(connections[slot].exchange.cluster)
        return cluster >= 0
            ? upstreams.clusters[cluster].streamIdleTimeout : configuration.timeouts.streamIdle
    }

    /// When the client's exchange has lasted as long as it may.
    @inline(__always)
    func streamDeadline(_ slot: Int) -> Instant {
        let most = configuration.timeouts.maxStream
        // Bytes of a `tcp` listener's are no exchange.
        guard most > .zero, !connections[slot].forwards else { return .distantFuture }
        return connections[slot].exchange.started + most
    }

    /// When the client's attempt has lasted as long as it may; it begins with its connection. One
    /// that has overrun its time beside another has the request's times alone.
    func attemptEnd(_ slot: Int) -> Instant {
        let cluster = Int(connections[slot].exchange.cluster)
        guard cluster >= 0, upstreams.clusters[cluster].maxStream > .zero,
            !connections[slot].forwards,
            let upstream = connections[slot].peer
        else { return .distantFuture }
        let carrier = connections[upstream].isStream ? Int(connections[upstream].carrier) : upstream
        guard connections[carrier].stage != .connecting else { return .distantFuture }
        let began = max(connections[upstream].attempted, connections[carrier].opened)
        return began + upstreams.clusters[cluster].maxStream
    }

    /// The client's exchange has lasted too long.
    func endStream(_ slot: Int, now: Instant) {
        count(policy: .streamDurations, of: slot)
        connections[slot].exchange.decision = .durationTimeout
        abort(
            slot, status: connections[slot].body.isComplete ? 504 : 408, flag: .DT,
            detail: .maxDuration, now: now)
    }

    /// The client's attempt has lasted too long.
    func endAttempt(of slot: Int, now: Instant) {
        guard let upstream = connections[slot].peer else { return }
        count(policy: .attemptDurations, of: slot)
        connections[slot].exchange.decision = .durationTimeout
        attemptFailed(
            upstream, .reset, status: connections[slot].body.isComplete ? 504 : 408, flag: .UMSDR,
            detail: .upstreamMaxDuration, now: now)
    }

    /// Whether a tunnel has lasted too long, and is closed.
    func endsTunnel(_ slot: Int, now: Instant) -> Bool {
        if streamDeadline(slot) <= now {
            count(policy: .streamDurations, of: slot)
            closeTunnel(slot, flag: .DT, detail: .maxDuration, now: now)
            return true
        }
        guard attemptEnd(slot) <= now else { return false }
        count(policy: .attemptDurations, of: slot)
        closeTunnel(
            slot, flag: .UMSDR, detail: .upstreamMaxDuration, now: now)
        return true
    }

    // MARK: Connections

    /// When the connection has lasted as long as it may; nil: never, or that is dealt with.
    func connectionDeadline(_ slot: Int) -> Instant? {
        let most: Duration
        switch connections[slot].role {
        case .free: return nil
        case .downstream: most = configuration.timeouts.maxConnection
        case .upstream:
            let cluster = self.cluster(ofEndpoint: Int(connections[slot].endpoint))
            most = cluster >= 0 ? upstreams.clusters[cluster].maxConnection : .zero
        }
        guard most > .zero, connections[slot].hasSocket, !connections[slot].isLeaving,
            !connections[slot].forwards
        else { return nil }
        switch connections[slot].stage {
        // A tunnel is no connection that could be drained.
        case .tunnel, .connecting, .handshaking, .finishing, .lingering: return nil
        default: return connections[slot].opened + most
        }
    }

    /// The connection serves what it has, and closes.
    func drainConnection(_ slot: Int, now: Instant) {
        counters.add(.connectionDurations)
        connections[slot].isLeaving = true
        switch (connections[slot].role, connections[slot].stage) {
        case (.downstream, .session) where session(of: slot).isClosing: arm(slot)
        case (.downstream, .session): drainSession(slot, now: now)
        case (.downstream, .awaitingRequest): leaveSoon(slot, now: now)
        case (.upstream, .session): leaveSession(slot, now: now)
        case (.upstream, .pooled):
            unpool(slot)
            closeUpstream(slot, now: now)
        default: arm(slot)
        }
    }

    /// An upstream's connection takes no more streams. It says so when the last has ended: a
    /// GOAWAY would go out before requests that were given to it just now.
    func leaveSession(_ slot: Int, now: Instant) {
        unpoolSession(slot)
        let session = session(of: slot)
        guard session.streams.isEmpty, !session.isClosing, session.ending == nil else {
            return arm(slot)
        }
        drainSession(slot, now: now)
    }

    /// A request goes out on an upstream's connection.
    @inline(__always)
    func countRequest(on slot: Int) {
        connections[slot].requests &+= 1
        let cluster = Int(upstreams.endpoints[Int(connections[slot].endpoint)].cluster)
        guard cluster >= 0 else { return }
        let most = upstreams.clusters[cluster].requestsPerConnection
        guard most > 0, connections[slot].requests >= most else { return }
        connections[slot].isLeaving = true
    }

    /// A request has come by a client's connection.
    @inline(__always)
    func countRequest(of slot: Int, now: Instant) {
        let most = configuration.limits.requestsPerConnection
        guard most > 0 else { return }
        let owner = connections[slot].isStream ? Int(connections[slot].carrier) : slot
        connections[owner].requests &+= 1
        guard Int(connections[owner].requests) >= most, !connections[owner].isLeaving else {
            return
        }
        connections[owner].isLeaving = true
        counters.add(.connectionDurations)
        guard connections[owner].stage == .session, !session(of: owner).isClosing else { return }
        drainSession(owner, now: now)
    }
}
