// Which connection a request to an upstream of HTTP/2 goes on.

import Base
import Model
import Wire

extension Proxy {
    /// Sends the request as a stream, on a connection that has room.
    func placeStream(
        _ slot: Int, _ bytes: Bytes, cluster: Int, mayWait: Bool, now: Instant
    ) -> Placement {
        guard let endpoint = chooseHost(slot, cluster, now: now) else {
            return .refused(refusalWithoutHost(cluster))
        }
        let priority = connections[slot].exchange.priority
        var carrier = firstPooled(endpoint)
        if carrier == nil, !takeConnection(endpoint, cluster, priority) {
            let wish = connections[slot].exchange.wish
            carrier = upstreams.takePooled(cluster, insteadOf: endpoint, wish)
                .flatMap { firstPooled($0) }
            guard carrier != nil else {
                guard mayWait else { return .refused(.connections) }
                let placement = wait(slot, cluster: cluster, now: now)
                if case .waits = placement { makeWay(to: endpoint, cluster, priority, now: now) }
                return placement
            }
        }
        if let carrier {
            return sendStream(slot, bytes, on: carrier, of: cluster, mayWait: mayWait, now: now)
        }
        let isQueued = connections[slot].stage == .pending
        switch openPending(endpoint, cluster, priority, hasPlace: isQueued, now: now) {
        case .failure(let refusal): return .refused(refusal)
        case .success(let carrier):
            // The stream takes it anew, as all do that wait for the connection.
            if !isQueued { give(.pending, cluster, priority) }
            beginSession(carrier, server: false, now: now)
            poolSession(carrier)
            return sendStream(slot, bytes, on: carrier, of: cluster, mayWait: mayWait, now: now)
        }
    }

    func firstPooled(_ endpoint: Int) -> Int? {
        let first = upstreams.endpoints[endpoint].pooled.first
        return first >= 0 ? Int(first) : nil
    }

    private func sendStream(
        _ slot: Int, _ bytes: Bytes, on carrier: Int, of cluster: Int, mayWait: Bool, now: Instant
    ) -> Placement {
        turn = now
        let exchange = connections[slot].exchange
        // Whether a peer takes an extended CONNECT its settings tell (RFC 8441, 3), and how many
        // streams: a request that was refused once is not sent in the hope that there is room.
        let isPatient = exchange.wantsUpgrade || exchange.wasResent
        if isPatient, !session(of: carrier).hasSettings {
            guard mayWait else { return .refused(.connections) }
            let placement = wait(slot, cluster: cluster, now: now)
            if case .waits = placement { noteAwaited(carrier, slot) }
            return placement
        }
        let isOpening = connections[carrier].stage == .connecting
        guard
            !isOpening || connections[slot].stage == .pending
                || take(.pending, cluster, exchange.priority)
        else { return .refused(.pending) }
        let placement = submit(slot, bytes, on: carrier, isOpening: isOpening, now: now)
        if case .refused = placement, isOpening { give(.pending, cluster, exchange.priority) }
        return placement
    }

    /// A request that waits to see what the peer takes ends with the connection, if that cannot be
    /// opened, as if it had been sent on it.
    private func noteAwaited(_ carrier: Int, _ slot: Int) {
        guard connections[carrier].stage == .connecting else { return }
        session(of: carrier).isAwaited = true
        connections[slot].exchange.awaited = Int32(carrier)
        connections[slot].exchange.awaitedGeneration = connections[carrier].generation
    }

    private func hasAwaited(_ carrier: Int, _ slot: Int) -> Bool {
        connections[slot].exchange.awaited == Int32(carrier)
            && connections[slot].exchange.awaitedGeneration == connections[carrier].generation
    }

    /// The connection cannot be opened: requests that have waited for it become streams of it, to
    /// fail as those do, each by its own policy.
    /// - Complexity: O(requests in the cluster's queue) where some have waited for it.
    func sendAwaiting(on carrier: Int, now: Instant) {
        let cluster = cluster(ofEndpoint: Int(connections[carrier].endpoint))
        guard session(of: carrier).isAwaited, cluster >= 0 else { return }
        // Those behind wait on meanwhile.
        upstreams.withCluster(cluster) { $0.isServing = true }
        for priority in 0..<2 as Range<UInt8> {
            var next = upstreams.clusters[cluster].queue(priority).first
            while next >= 0 {
                let slot = Int(next)
                next = connections[slot].next
                guard hasAwaited(carrier, slot) else { continue }
                let bytes = headBytes(slot)
                let placement = sendAwaiting(slot, bytes, on: carrier, of: cluster, now: now)
                goOnOrRefuse(slot, placement, cluster, now: now)
            }
        }
        upstreams.withCluster(cluster) { $0.isServing = false }
    }

    private func sendAwaiting(
        _ slot: Int, _ bytes: Bytes, on carrier: Int, of cluster: Int, now: Instant
    ) -> Placement {
        let priority = connections[slot].exchange.priority
        guard take(.requests, cluster, priority) else {
            leaveQueue(slot, bytes, now: now)
            return .refused(.requests)
        }
        let placement = submit(slot, bytes, on: carrier, isOpening: true, now: now)
        if case .sent = placement { return placement }
        give(.pending, cluster, priority)
        give(.requests, cluster, priority)
        return placement
    }

    /// Makes the request a stream of the connection.
    /// - Parameter isOpening: of one that is being opened, for which the request has a place among
    ///   those that wait.
    private func submit(
        _ slot: Int, _ bytes: Bytes, on carrier: Int, isOpening: Bool, now: Instant
    ) -> Placement {
        leaveQueue(slot, bytes, keepsPlace: isOpening, now: now)
        guard let upstream = takeSlot(.upstream, now: now) else { return .refused(.noSlot) }
        let session = session(of: carrier)
        // Before it is open nobody knows; what is sent on it then has no answer.
        if !isOpening { settleUpgrade(slot, bytes, session) }
        connections[upstream].endpoint = connections[carrier].endpoint
        connections[upstream].stage = .exchange
        connections[upstream].priority = connections[slot].exchange.priority
        let exchange = connections[slot].exchange
        let switches = exchange.wantsUpgrade || exchange.isConnect
        let client = connections[slot]
        let hasBody =
            !client.body.isComplete || switches || client.keptBody > 0 || client.hasTail
        writeFields(slot, bytes, on: carrier, now: now)
        guard !fields.overflowed,
            let stream = session.submitRequest(fields, tag: upstream, hasBody: hasBody)
        else {
            // A stream that never was: no connection ends with it.
            connections[upstream].carrier = Int32(carrier)
            close(upstream)
            // Its identifiers have run out, or it has begun to close.
            unpoolSession(carrier)
            return .refused(.noStream)
        }
        attach(upstream, to: session, stream)
        // Its head is made later, and stands behind all that waits by now.
        connections[upstream].firstByte =
            connections[carrier].requestBytesSent + connections[carrier].output.byteCount
        connections[upstream].endAfterOutput = !hasBody
        connections[upstream].holdsPending = isOpening
        if isOpening { countWait(slot, cluster(ofEndpoint: Int(connections[carrier].endpoint))) }
        mark(session)
        countRequest(on: carrier)
        if !hasRoomForStreams(session) { unpoolSession(carrier) }
        pair(slot, upstream, now: now)
        return .sent
    }

    /// Of the protocols that a connection of HTTP/1.1 may change to, a stream carries WebSocket,
    /// where the peer takes that; else the server answers as if it had not been mentioned.
    private func settleUpgrade(_ slot: Int, _ bytes: Bytes, _ session: ProxySession) {
        guard connections[slot].exchange.wantsUpgrade else { return }
        var isWebSocket = false
        var key = WebSocketKey()
        for i in 0..<head.fieldCount {
            let value = bytes[head.fields[i].valueRange]
            switch head.fields[i].name {
            case .upgrade: isWebSocket = value.equalsIgnoringCase("websocket")
            case .webSocketKey: key = WebSocketKey(value) ?? key
            default: break
            }
        }
        connections[slot].exchange.wantsUpgrade =
            isWebSocket && key.isSet && session.peerTakesExtendedConnect
        connections[slot].exchange.webSocketKey = key
    }

    private func writeFields(_ slot: Int, _ bytes: Bytes, on carrier: Int, now: Instant) {
        let cluster = Int(upstreams.endpoints[Int(connections[carrier].endpoint)].cluster)
        let isSecure = cluster >= 0 && upstreams.clusters[cluster].isSecured
        // As Envoy does it: a call that came with a time is told the shortest of all that end it.
        let isTimed = connections[slot].exchange.deadline < .distantFuture
        writer.list(
            request: head, bytes, requestEdit(slot, bytes), router.actions,
            client: client(of: slot), scheme: isSecure ? "https" : "http",
            passesUpgrade: connections[slot].exchange.wantsUpgrade,
            timeLeft: isTimed ? timeLeft(slot, now: now) : nil,
            cameByHTTP2: connections[slot].speech == .http2, attempt: attemptFields(slot, now: now),
            random: &random, to: fields)
    }

    // MARK: Places

    /// A request waits for a connection to the endpoint, and a strict limit lets none be opened.
    /// One to another endpoint takes no more streams, and ends with its last: it may have some for
    /// as long as it takes more. The one with the fewest, and one at a time, unless another has
    /// fewer by then. Where the endpoint has a connection, on which room may come, it is one that
    /// has none.
    private func makeWay(to endpoint: Int, _ cluster: Int, _ priority: UInt8, now: Instant) {
        guard breakers[cluster].isStrict, let slot = leastBusy(cluster, priority) else { return }
        let count = session(of: slot).streams.count
        guard count == 0 || upstreams.endpoints[endpoint].connections == 0 else { return }
        if let before = makingWay(cluster, priority) {
            guard count < session(of: before).streams.count else { return }
        }
        upstreams.clusters[cluster].makingWay[Int(priority)] = Int32(slot)
        connections[slot].isLeaving = true
        leaveSession(slot, now: now)
    }

    /// The connection that is ending already for those that wait; nil: none is.
    private func makingWay(_ cluster: Int, _ priority: UInt8) -> Int? {
        let slot = Int(upstreams.clusters[cluster].makingWay[Int(priority)])
        guard slot >= 0 else { return nil }
        let connection = connections[slot]
        guard connection.role == .upstream, connection.session >= 0, !connection.isStream,
            connection.isLeaving, connection.priority == priority,
            self.cluster(ofEndpoint: Int(connection.endpoint)) == cluster
        else { return nil }
        return slot
    }

    /// Of the connections that take streams, and up a place of that priority, the one with the
    /// fewest; nil: there is none. Who waits for settings has first use of what it has opened.
    /// - Complexity: O(connections of the cluster that take streams).
    private func leastBusy(_ cluster: Int, _ priority: UInt8) -> Int? {
        var found: Int?
        var least = Int.max
        var endpoint = upstreams.clusters[cluster].firstPooled
        while endpoint >= 0 {
            var slot = upstreams.endpoints[Int(endpoint)].pooled.first
            while slot >= 0 {
                let session = session(of: Int(slot))
                if session.hasSettings, session.streams.count < least,
                    connections[Int(slot)].priority == priority
                {
                    (found, least) = (Int(slot), session.streams.count)
                }
                slot = connections[Int(slot)].next
            }
            endpoint = upstreams.endpoints[Int(endpoint)].nextPooled
        }
        return found
    }

    // MARK: Rooms

    func hasRoomForStreams(_ session: ProxySession) -> Bool {
        !session.isClosing && session.failure == nil && !connections[session.slot].isLeaving
            && session.streams.count < min(session.peerStreams, configuration.limits.streams)
    }

    /// Puts a connection among those that take one more stream.
    /// - Parameter asLast: others of its endpoint are taken first.
    func poolSession(_ slot: Int, asLast: Bool = false) {
        guard !connections[slot].isPooled else { return }
        connections[slot].isPooled = true
        pushPooled(slot, Int(connections[slot].endpoint), asLast: asLast)
    }

    func unpoolSession(_ slot: Int) {
        guard connections[slot].isPooled else { return }
        connections[slot].isPooled = false
        unpool(slot)
    }

    /// A stream has ended, or the peer lets more be open. Who waits comes before the end of a
    /// connection that has nothing more to do: a drain would else open one after the other.
    /// - Parameter asLast: see `poolSession`.
    func offerRoom(
        _ session: ProxySession, asLast: Bool = false, servesPending: Bool = true, now: Instant
    ) {
        let slot = session.slot
        guard connections[slot].role == .upstream else { return }
        let endpoint = Int(connections[slot].endpoint)
        if upstreams.endpoints[endpoint].removed || !hasRoomForStreams(session) {
            unpoolSession(slot)
        } else {
            poolSession(slot, asLast: asLast)
            let cluster = Int(upstreams.endpoints[endpoint].cluster)
            if servesPending, cluster >= 0 { serveNextPending(cluster, now: now) }
        }
        guard session.streams.isEmpty, session.ending == nil else { return }
        arm(slot)
        let isLast =
            draining || upstreams.endpoints[endpoint].removed || connections[slot].isLeaving
            || isWantedElsewhere(slot, now: now)
        if isLast, !session.isClosing {
            drainSession(slot, now: now)
        }
    }
}
