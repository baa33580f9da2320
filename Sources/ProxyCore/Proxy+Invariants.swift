// What must hold between any two calls into a proxy. Called by the simulation after every step; a
// broken invariant is a bug, so each is a precondition. Too slow for anything but tests.

import Base
import Model
import Wire

extension Proxy {
    /// Checks every invariant.
    /// - Complexity: O(slots + effects).
    func checkInvariants() {
        checkSlots()
        checkBuffers()
        checkLists()
        checkEffects()
        checkBreakers()
        checkMirrors()
        deadlines.checkInvariants()
    }

    private func checkSlots() {
        var open = 0
        for slot in 0..<touchedSlots {
            let connection = connections[slot]
            guard connection.role != .free else { continue }
            open += 1
            checkPairing(slot, connection)
            checkSession(slot, connection)
            precondition(
                connection.input >= 0 || connection.inputStart == 0 && connection.inputEnd == 0,
                "bytes without a buffer")
            precondition(
                connection.inputStart <= connection.inputEnd
                    && Int(connection.inputEnd) <= pool.size, "input bytes out of order")
            precondition(
                Int(connection.exchange.route) < configuration.routes.count + router.kept.count,
                "a route of another configuration")
            if connection.stage == .awaitingRequest {
                let count = Int(connection.inputEnd - connection.inputStart)
                precondition(connection.search.position <= count, "searched ahead")
            }
        }
        let held = (0..<touchedSlots).count { connections[$0].standing >= 0 }
        precondition(held == conditions.count, "rules of nobody's")
        var closing = 0
        for effect in waitingEffects { if case .close = effect { closing += 1 } }
        precondition(open + closing == openConnections, "\(open) slots open, \(closing) closing")
        var free = 0
        var next = freeSlots
        while next >= 0 {
            precondition(connections[Int(next)].role == .free, "a slot in use is on the free list")
            free += 1
            precondition(free <= touchedSlots, "the free list is a ring")
            next = connections[Int(next)].next
        }
        precondition(free + open + closing == touchedSlots, "a slot is lost")
    }

    private func checkPairing(_ slot: Int, _ connection: Connection) {
        checkQuestion(slot, connection)
        if let peer = connection.peer, connection.stage != .asking {
            precondition(
                connections[peer].peer == slot || isRival(slot, of: peer),
                "a pair that is not mutual")
            precondition(connections[peer].role != connection.role, "a pair of one side")
            precondition(connections[peer].role != .free, "a closed peer")
        }
        switch (connection.role, connection.stage) {
        case (.downstream, .exchange), (_, .tunnel), (.upstream, .exchange):
            precondition(connection.peer != nil, "half an exchange")
        case (.downstream, .awaitingRequest), (.downstream, .pending), (.downstream, .finishing),
            (.downstream, .waiting), (.downstream, .handshaking), (.downstream, .lingering),
            (.upstream, .pooled):
            precondition(connection.peer == nil, "a peer in \(connection.stage)")
        case (.upstream, .connecting), (.upstream, .asking): break
        case (_, .session), (.upstream, .finishing):
            precondition(connection.session >= 0 && !connection.isStream, "no session")
            precondition(connection.peer == nil, "a peer in \(connection.stage)")
        default: preconditionFailure("\(connection.role) in \(connection.stage)")
        }
        precondition(
            connection.body.held == 0 || !connection.hasInput, "read past bytes that are held")
        if connection.stage == .pooled {
            precondition(connection.body.held == 0, "pooled with bytes on their way")
            precondition(connection.input < 0, "a pooled connection holds a buffer")
            precondition(connection.output.isEmpty && !connection.hasReceived, "pooled in use")
        }
        if connection.stage == .waiting {
            precondition(deadlines.deadline(of: slot) != nil, "it would wait for ever")
        }
        if [.pending, .waiting, .exchange].contains(connection.stage), connection.peer == nil {
            precondition(
                connection.hasReceived
                    || !connection.isStream && (connection.hasInput || connection.forwards),
                "a request that waits without its head")
        }
    }

    /// A session knows its streams, and they know it.
    private func checkSession(_ slot: Int, _ connection: Connection) {
        guard connection.session >= 0 else { return }
        let session = session(of: slot)
        if connection.isStream {
            precondition(session.slot == Int(connection.carrier), "a stream of another connection")
            precondition(session.streams[Int(connection.place)] == Int32(slot), "a lost stream")
            precondition(connections[session.slot].role == connection.role, "a stream of one side")
        } else {
            precondition(session.slot == slot, "a session of another connection")
            precondition(Set(session.streams).count == session.streams.count, "a stream twice")
            precondition(
                session.isMarked == marked.contains(Int32(slot)), "a mark that is not noted")
            if connection.isPooled {
                precondition(!session.isClosing, "a connection at its end is offered")
            }
        }
    }

    /// Every buffer out of the pool is referred to exactly once.
    private func checkBuffers() {
        var held: [Int32] = []
        for slot in 0..<touchedSlots where connections[slot].role != .free {
            let connection = connections[slot]
            if connection.input >= 0 { held.append(connection.input) }
            for i in 0..<connection.output.count {
                let segment = connection.output[i]
                precondition(segment.start <= segment.end, "a segment ends before it starts")
                held.append(segment.buffer)
            }
            if connection.hasReceived { held.append(connection.received.buffer) }
            if connection.hasTail { held.append(connection.tail.buffer) }
            if connection.hasTrailers { held.append(connection.trailers.buffer) }
            if connection.exchange.note >= 0 { held.append(connection.exchange.note) }
        }
        pool.checkInvariants(held: held)
    }

    private func checkLists() {
        var listed = 0
        var perEndpoint = [Int32](repeating: 0, count: upstreams.endpoints.count)
        var attempts = perEndpoint
        var waiting = 0
        for slot in 0..<touchedSlots {
            let connection = connections[slot]
            if connection.role == .upstream, connection.isAttempt {
                precondition(connection.peer != nil, "an attempt for nobody")
                attempts[Int(connection.endpoint)] += 1
            }
            if connection.role == .upstream, !connection.isStream {
                perEndpoint[Int(connection.endpoint)] += 1
                if connection.stage == .pooled || connection.isPooled { waiting += 1 }
            }
            if connection.role == .downstream, connection.stage == .pending { waiting += 1 }
        }
        for (i, endpoint) in upstreams.endpoints.enumerated() {
            precondition(endpoint.connections == perEndpoint[i], "endpoint \(i) miscounted")
            precondition(endpoint.attempts == attempts[i], "endpoint \(i) has lost attempts")
            listed += check(endpoint.pooled) {
                ($0.stage == .pooled || $0.isPooled) && $0.endpoint == Int32(i)
            }
        }
        for (i, cluster) in upstreams.clusters.enumerated() {
            let connections = upstreams.endpoints.filter { $0.cluster == Int32(i) }
                .reduce(0) { $0 + $1.connections }
            precondition(cluster.connections == connections, "cluster \(i) miscounted")
            for (priority, list) in [cluster.pending, cluster.pendingHigh].enumerated() {
                listed += check(list) {
                    $0.stage == .pending && $0.exchange.cluster == Int32(i)
                        && $0.exchange.priority == UInt8(priority)
                }
            }
        }
        precondition(listed == waiting, "\(listed) listed, \(waiting) that should be")
    }

    /// Walks a list both ways; returns its length.
    private func check(_ list: ConnectionList, _ belongs: (Connection) -> Bool) -> Int {
        var count: Int32 = 0
        var previous: Int32 = -1
        var slot = list.first
        while slot >= 0 {
            let connection = connections[Int(slot)]
            precondition(connection.role != .free && belongs(connection), "a stranger in a list")
            precondition(connection.previous == previous, "a list that does not lead back")
            count += 1
            precondition(count <= list.count, "a list longer than its count")
            previous = slot
            slot = connection.next
        }
        precondition(list.last == previous && list.count == count, "a list's end is wrong")
        return Int(count)
    }

    private func checkEffects() {
        var flushes = [Int](repeating: 0, count: touchedSlots)
        var reads = flushes
        for effect in waitingEffects {
            switch effect {
            case .flush(let slot): flushes[slot] += 1
            case .read(let slot): reads[slot] += 1
            default: break
            }
        }
        for slot in 0..<touchedSlots where connections[slot].role != .free {
            precondition(flushes[slot] == (connections[slot].flushQueued ? 1 : 0), "flushes asked")
            precondition(reads[slot] == (connections[slot].readQueued ? 1 : 0), "reads asked")
        }
        precondition(starved.count <= connections.count, "the starved list outgrows the slots")
    }
}
