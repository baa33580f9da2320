// Upstream connections: opened, lent to one exchange at a time, pooled, closed. And the requests
// that wait for one.

import Base
import Model
import Wire

extension Proxy {
    /// Opens a connection to `endpoint`, whose place in the breaker is taken; nil: no slot is free.
    func open(_ endpoint: Int, _ priority: UInt8, now: Instant) -> Int? {
        guard let slot = takeSlot(.upstream, now: now) else { return nil }
        connections[slot].stage = .connecting
        connections[slot].priority = priority
        connections[slot].endpoint = Int32(endpoint)
        let cluster = Int(upstreams.endpoints[endpoint].cluster)
        connections[slot].isSecured = cluster >= 0 && upstreams.clusters[cluster].isSecured
        upstreams.count(1, at: endpoint)
        count(.upstreamConnectionsTotal, .connections, cluster)
        upstreams.endpoints[endpoint].counts?.add(.connections)
        if cluster >= 0 {
            let isHTTP2 = upstreams.clusters[cluster].isHTTP2
            count(isHTTP2 ? .connectionsHTTP2 : .connectionsHTTP1, cluster)
        }
        ask(.connect(slot: slot, endpoint: endpoint))
        arm(slot)
        return slot
    }

    /// The connection could not be opened.
    func connectFailed(_ slot: Int, flag: ResponseFlag, detail: ResponseDetail, now: Instant) {
        let endpoint = Int(connections[slot].endpoint)
        upstreams.endpoints[endpoint].counts?.add(.connectFailures)
        count(.upstreamConnectFailures, .connectFailures, cluster(ofEndpoint: endpoint))
        if connections[slot].session >= 0 {
            return sessionConnectFailed(slot, flag: flag, detail: detail, now: now)
        }
        guard let client = connections[slot].peer else { return closeUpstream(slot, now: now) }
        if connections[client].stage == .tunnel {
            return closeTunnel(client, flag: flag, detail: detail, now: now)
        }
        attemptFailed(slot, .connect, flag: flag, detail: detail, now: now)
    }

    /// After an exchange: back to the pool, or to the next waiting request, or closed.
    func releaseUpstream(_ slot: Int, requestComplete: Bool, now: Instant) {
        let connection = connections[slot]
        if connection.isStream {
            return dropStream(slot, hasEnded(slot) ? nil : .noError, now: now)
        }
        if connection.hasInput { counters.add(.protocolErrors) }
        let endpoint = Int(connection.endpoint)
        guard connection.keepAlive, requestComplete, connection.output.isEmpty,
            !connection.outputFailed, !connection.hasInput, !connection.inputEnded,
            !upstreams.endpoints[endpoint].removed, !draining, !connection.isLeaving
        else { return closeUpstream(slot, now: now) }
        releaseInput(slot)
        connections[slot].coding = .same
        connections[slot].stage = .pooled
        connections[slot].since = now
        connections[slot].reused = true
        pushPooled(slot, endpoint)
        arm(slot)
        offer(slot, Int(upstreams.endpoints[endpoint].cluster), now: now)
    }

    func discardUpstream(_ slot: Int, now: Instant) {
        if let client = connections[slot].peer { connections[client].peerPlusOne = 0 }
        connections[slot].peerPlusOne = 0
        closeUpstream(slot, reset: true, now: now)
    }

    /// Closes an upstream connection without an exchange; a waiting request may then open another.
    func closeUpstream(
        _ slot: Int, reset: Bool = false, servesPending: Bool = true, now: Instant
    ) {
        if connections[slot].isStream {
            let code: HTTP2Code? = hasEnded(slot) ? nil : .cancel
            return dropStream(slot, code, servesPending: servesPending, now: now)
        }
        let cluster = Int(upstreams.endpoints[Int(connections[slot].endpoint)].cluster)
        let priority = connections[slot].priority
        close(slot, reset: reset)
        if servesPending, cluster >= 0, servesOwn(cluster, priority, now: now) {
            serveNextPending(cluster, now: now)
        }
    }

    // MARK: Lists

    func pushPooled(_ slot: Int, _ endpoint: Int, asLast: Bool = false) {
        upstreams.withEndpoint(endpoint) {
            if asLast { link(slot, last: &$0.pooled) } else { link(slot, first: &$0.pooled) }
        }
        countPooled(slot, by: 1)
    }

    /// The connection of `endpoint` that was used last; nil: none is free.
    func popPooled(_ endpoint: Int) -> Int? {
        let first = upstreams.endpoints[endpoint].pooled.first
        guard first >= 0 else { return nil }
        unpool(Int(first))
        return Int(first)
    }

    func unpool(_ slot: Int) {
        upstreams.withEndpoint(Int(connections[slot].endpoint)) { unlink(slot, &$0.pooled) }
        countPooled(slot, by: -1)
    }

    func pushPending(_ slot: Int, _ cluster: Int) {
        let isHigh = connections[slot].exchange.priority > 0
        upstreams.withCluster(cluster) {
            if isHigh { link(slot, last: &$0.pendingHigh) } else { link(slot, last: &$0.pending) }
        }
        sharedBreakers[cluster]?.countWaiting(isHigh ? 1 : 0, 1)
    }

    /// The request of that priority that has waited longest; nil: none waits.
    func popPending(_ cluster: Int, _ priority: UInt8) -> Int? {
        let limits = upstreams.clusters[cluster]
        let first = priority > 0 ? limits.pendingHigh.first : limits.pending.first
        guard first >= 0 else { return nil }
        removePending(Int(first), cluster)
        return Int(first)
    }

    /// - Parameter givesPlace: it counts no more among those that wait.
    func removePending(_ slot: Int, _ cluster: Int, givesPlace: Bool = true) {
        let priority = connections[slot].exchange.priority
        upstreams.withCluster(cluster) {
            if priority > 0 { unlink(slot, &$0.pendingHigh) } else { unlink(slot, &$0.pending) }
        }
        sharedBreakers[cluster]?.countWaiting(priority, -1)
        if givesPlace { give(.pending, cluster, priority) }
    }

    private func link(_ slot: Int, first list: inout ConnectionList) {
        connections[slot].previous = -1
        connections[slot].next = list.first
        if list.first >= 0 {
            connections[Int(list.first)].previous = Int32(slot)
        } else {
            list.last = Int32(slot)
        }
        list.first = Int32(slot)
        list.count += 1
    }

    private func link(_ slot: Int, last list: inout ConnectionList) {
        connections[slot].next = -1
        connections[slot].previous = list.last
        if list.last >= 0 {
            connections[Int(list.last)].next = Int32(slot)
        } else {
            list.first = Int32(slot)
        }
        list.last = Int32(slot)
        list.count += 1
    }

    private func unlink(_ slot: Int, _ list: inout ConnectionList) {
        let connection = connections[slot]
        if connection.previous >= 0 {
            connections[Int(connection.previous)].next = connection.next
        } else {
            list.first = connection.next
        }
        if connection.next >= 0 {
            connections[Int(connection.next)].previous = connection.previous
        } else {
            list.last = connection.previous
        }
        connections[slot].next = -1
        connections[slot].previous = -1
        list.count -= 1
    }
}
