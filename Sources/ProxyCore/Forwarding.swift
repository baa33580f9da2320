// Clients of a `tcp` listener: each connection is one tunnel to an endpoint of the listener's
// cluster, of whose bytes nothing is known.
//
// The client is read from at once. What it sends before the upstream is connected waits in the
// upstream's output queue, and when that is full in the kernel. A connection that cannot be opened
// ends the client's with a reset, which tells it that nobody has read what it sent; so does
// everything else that goes wrong, and an end in order is passed on as one. No other endpoint is
// tried: Envoy's `max_connect_attempts` is 1 as well.

public import Base
import Model

extension Proxy {
    /// Finds an upstream for a client that has just connected, or whose cluster has changed while
    /// it waited.
    func beginForwarding(_ slot: Int, now: Instant) {
        var exchange = Exchange()
        let isRerouted = connections[slot].isRerouted
        if isRerouted {
            connections[slot].isRerouted = false
            exchange.started = connections[slot].exchange.started
        } else {
            counters.add(.tcpConnections)
            exchange.started = now
        }
        exchange.cluster = door(of: slot).match.cluster
        begin(exchange, slot)
        noteForwarding(slot)
        guard !isBarred(slot) else {
            return refuseForwarding(slot, .UAEX, .listenerChanged, now: now)
        }
        guard admits(slot, Bytes(""), again: isRerouted) else {
            return refuseForwarding(slot, .UAEX, .denied, now: now)
        }
        let cluster = Int(connections[slot].exchange.cluster)
        guard cluster >= 0 else {
            return refuseForwarding(slot, .NC, .clusterNotFound, now: now)
        }
        noteWish(slot, Bytes(""), cluster)
        forwardBytes(slot, cluster: cluster, now: now)
    }

    /// Pairs the client with a fresh connection to its cluster, or has it wait for one: in its
    /// place, if it waits already.
    func forwardBytes(_ slot: Int, cluster: Int, now: Instant) {
        let limits = upstreams.clusters[cluster]
        guard limits.endpointCount > 0 else {
            return refuseForwarding(slot, .UH, .noEndpoint, now: now)
        }
        guard let endpoint = chooseHost(slot, cluster, now: now) else {
            count(.noneHealthy, cluster)
            return refuseForwarding(slot, .UH, .noHealthyUpstream, now: now)
        }
        let priority = connections[slot].exchange.priority
        if !takeConnection(endpoint, cluster, priority) {
            guard takeIdlePlace(cluster, priority) else {
                return waitToForward(slot, cluster: cluster, now: now)
            }
        }
        guard let upstream = open(endpoint, priority, now: now) else {
            give(.connections, cluster, priority)
            return refuseForwarding(slot, .OM, .tooManyConnections, now: now)
        }
        if connections[slot].stage == .pending { removePending(slot, cluster) }
        connections[slot].stage = .tunnel
        connections[slot].peerPlusOne = Int32(upstream + 1)
        connections[slot].exchange.endpoint = connections[upstream].endpoint
        connections[slot].exchange.attempts = 1
        connections[upstream].peerPlusOne = Int32(slot + 1)
        beginAttempt(upstream, now: now)
        for side in [slot, upstream] {
            connections[side].body.kind = .untilClose
            connections[side].since = now
            connections[side].active = now
        }
        arm(slot)
        relayTunnel(slot, now: now)
        if connections[slot].peer == upstream { askRead(slot) }
    }

    private func waitToForward(_ slot: Int, cluster: Int, now: Instant) {
        guard connections[slot].stage != .pending else { return }
        guard take(.pending, cluster, connections[slot].exchange.priority) else {
            count(.pendingOverflow, .requestsOverflow, cluster)
            connections[slot].exchange.decision = .breakerPending
            return refuseForwarding(slot, .UO, .overflow, now: now)
        }
        countWait(slot, cluster)
        connections[slot].stage = .pending
        // As long as opening a connection may take: that is what the client waits for.
        connections[slot].exchange.timeout = upstreams.clusters[cluster].connectTimeout
        if connections[slot].exchange.requestEnded == .zero {
            connections[slot].exchange.requestEnded = now
        }
        pushPending(slot, cluster)
        lookAgain(cluster, after: SharedQueues.patience, now: now)
        arm(slot)
    }

    /// Ends a client that has no upstream.
    func refuseForwarding(
        _ slot: Int, _ flag: ResponseFlag, _ detail: ResponseDetail, now: Instant
    ) {
        if connections[slot].stage == .pending {
            removePending(slot, Int(connections[slot].exchange.cluster))
        }
        logExchange(slot, flag: flag, detail: detail, now: now)
        close(slot, reset: true)
    }

    /// The upstream of a tunnel is connected: what has waited for it goes out.
    func tunnelConnected(_ upstream: Int, _ client: Int, now: Instant) {
        connections[upstream].stage = .tunnel
        attemptAnswered(upstream, status: 200, now: now)
        if !connections[upstream].output.isEmpty {
            askFlush(upstream)
        } else if connections[upstream].endAfterOutput {
            connections[upstream].outputEnded = true
            ask(.endSending(slot: upstream))
        }
        askRead(upstream)
        askRead(client)
    }

    /// Gives up all tunnels: the time to drain is over.
    public func closeTunnels(now: Instant) {
        for slot in 0..<touchedSlots
        where connections[slot].role == .downstream && connections[slot].stage == .tunnel {
            closeTunnel(slot, detail: .drainTimeout, now: now)
        }
    }
}
