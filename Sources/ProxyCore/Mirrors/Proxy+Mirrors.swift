// Mirrors: a request that goes on is sent to others too, whose answers are thrown away. A mirror is
// an exchange of its own, whose client has no socket: a slot that is given the request's head, and
// its body as that goes on, and lets go of all that is to be sent to it. So it has a place in its
// cluster's queue, a connection or a stream, limits and times as any request has, and no policy of
// retries.
//
//     client ──▶ request ───────────────────────▶ its cluster
//                   │ head, and pieces of the body
//                   ▼
//                mirror ──(a turn of its own)────▶ the mirror's cluster
//                   ╳ ◀──────── answer ──────────
//
// The request never waits for it: what is copied waits at the mirror, which does everything else
// when it is read from (`advance`), and whatever becomes of it is found out there. A mirror that
// cannot take a piece is given up; so is one whose request has ended before its body did.

import Base
import Model
import Wire

/// A mirror of a route's.
struct MirrorPlan: BitwiseCopyable {
    /// The place of its cluster; -1: there is none of that name.
    var cluster: Int32
    /// Of requests, 0 to 1.
    var share: Double
    var marksHost: Bool
    /// As of a request that its cluster gets by itself.
    var timeout: Duration

    init(_ mirror: RequestMirror<String>, _ places: ClusterPlaces) {
        let match = places.match(mirror.target)
        cluster = match.cluster
        share = mirror.percent / 100
        marksHost = mirror.marksHost
        timeout = match.timeout
    }
}

extension Proxy {
    // MARK: Beginning

    /// Begins the mirrors of the request in hand, which goes on to its cluster.
    @inline(__always)
    func beginMirrors(_ slot: Int, _ bytes: Bytes, now: Instant) {
        guard connections[slot].exchange.filters.contains(.mirrors) else { return }
        drawMirrors(slot, bytes, now: now)
    }

    private func drawMirrors(_ slot: Int, _ bytes: Bytes, now: Instant) {
        let route = Int(connections[slot].exchange.route)
        guard route >= 0 else { return }
        let places = plans.routes[route].mirrors
        // What follows a change of protocols is for those two alone.
        guard !places.isEmpty, !connections[slot].exchange.wantsUpgrade,
            !connections[slot].exchange.isConnect, meets(.mirrors, slot)
        else { return }
        for place in places.indices {
            let plan = plans.mirrors[place]
            // By chance, as in Envoy: by anything that a client says, it would choose.
            guard random.unit() < plan.share else { continue }
            guard !beginMirror(slot, bytes, plan, now: now) else { continue }
            count(policy: .mirrorsSkipped, cluster: Int(plan.cluster), route: Int32(route))
        }
    }

    /// - Returns: false: there is no room for it.
    private func beginMirror(
        _ slot: Int, _ bytes: Bytes, _ plan: MirrorPlan, now: Instant
    ) -> Bool {
        guard plan.cluster >= 0, hasRoomForMirrors, openMirrors < connections.count / 8,
            let segment = keep(bytes[0..<head.length])
        else { return false }
        guard let mirror = takeSlot(.downstream, now: now) else {
            pool.give(segment.buffer)
            return false
        }
        openMirrors += 1
        count(
            policy: .mirrors, cluster: Int(plan.cluster),
            route: connections[slot].exchange.route)
        remember(client: client(of: slot), mirror)
        let exchange = connections[slot].exchange
        connections[mirror].isMirror = true
        connections[mirror].marksHost = plan.marksHost
        connections[mirror].received = segment
        connections[mirror].hasReceived = true
        connections[mirror].listener = connections[slot].listener
        connections[mirror].speech = connections[slot].speech
        // Nobody takes what it is answered.
        connections[mirror].outputFailed = true
        connections[mirror].body = connections[slot].body
        connections[mirror].exchange.started = now
        connections[mirror].exchange.timeout = plan.timeout
        connections[mirror].exchange.cluster = plan.cluster
        connections[mirror].exchange.route = exchange.route
        connections[mirror].exchange.share = exchange.share
        connections[mirror].exchange.filters = exchange.filters
        connections[mirror].exchange.minorVersion = exchange.minorVersion
        connections[mirror].exchange.isHead = exchange.isHead
        connections[mirror].exchange.idempotent = exchange.idempotent
        connections[mirror].exchange.isGRPC = exchange.isGRPC
        connections[mirror].exchange.keepAlive = false
        if !connections[slot].body.isComplete {
            connections[mirror].origin = Int32(slot + 1)
            connections[mirror].mirror = connections[slot].mirror
            connections[slot].mirror = Int32(mirror + 1)
        }
        askRead(mirror)
        return true
    }

    /// Whether mirrors may take more memory: what is left is for requests.
    private var hasRoomForMirrors: Bool { pool.inUse < pool.limit / 2 }

    /// Has a mirror do what it can.
    func advanceMirror(_ slot: Int, now: Instant) {
        guard !connections[slot].isCut else { return abandon(slot, now: now) }
        switch connections[slot].stage {
        case .awaitingRequest where connections[slot].exchange.isAgain: sendAgain(slot, now: now)
        case .awaitingRequest: sendMirror(slot, now: now)
        case .exchange: relayRequest(slot, now: now)
        // It goes on when its turn comes.
        default: break
        }
    }

    private func sendMirror(_ slot: Int, now: Instant) {
        connections[slot].isRerouted = false
        let cluster = Int(connections[slot].exchange.cluster)
        // The configuration may have changed since.
        guard cluster >= 0 else { return abandon(slot, now: now) }
        let bytes = headBytes(slot)
        guard head.parseRequest(bytes) == .complete else {
            preconditionFailure("a head that was complete no longer is")
        }
        noteWish(slot, bytes, cluster)
        attempt(slot, bytes, cluster: cluster, now: now)
    }

    // MARK: Bodies

    /// Bytes of a request's body go on, as they came.
    @inline(__always)
    func mirrorBody(_ bytes: Bytes, of slot: Int) {
        guard connections[slot].mirror > 0, !connections[slot].isMirror else { return }
        eachMirror(of: slot) { mirror in
            let waiting = Int(connections[mirror].inputEnd - connections[mirror].inputStart)
            // Bound: so much waits at a mirror whose upstream takes no more.
            guard waiting + bytes.count <= pool.size, hasRoomForMirrors,
                appendInput(mirror, bytes)
            else { return cut(mirror) }
            askRead(mirror)
        }
    }

    /// All of the request's body has gone on.
    func endMirrorBodies(of slot: Int) {
        eachMirror(of: slot) { mirror in
            unlinkMirror(mirror)
            if connections[mirror].body.kind == .stream {
                connections[mirror].inputEnded = true
                if connections[slot].hasTail {
                    let tail = connections[slot].tail
                    let lines = pool.bytes(tail.buffer, Int(tail.start)..<Int(tail.end))
                    guard let copy = keep(lines) else { return cut(mirror) }
                    connections[mirror].tail = copy
                    connections[mirror].hasTail = true
                }
            }
            askRead(mirror)
        }
    }

    /// The request has ended: mirrors that have not got all of its body never will.
    func cutMirrors(of slot: Int) {
        eachMirror(of: slot) { cut($0) }
    }

    private func cut(_ mirror: Int) {
        unlinkMirror(mirror)
        connections[mirror].isCut = true
        askRead(mirror)
    }

    private func eachMirror(of slot: Int, _ body: (Int) -> Void) {
        guard !connections[slot].isMirror else { return }
        var next = connections[slot].mirror
        // Bound: a request has no more than its route, `TrafficLimits.mirrors`.
        while next > 0 {
            let mirror = Int(next - 1)
            next = connections[mirror].mirror
            body(mirror)
        }
    }

    // MARK: Ending

    /// Counts how a mirror has ended, for its own cluster and the route that has it.
    /// - Parameter isAnswered: whole.
    func countMirror(_ slot: Int, isAnswered: Bool) {
        guard !isAnswered else { return counters.add(.mirrorsAnswered) }
        count(
            policy: .mirrorsFailed, cluster: Int(connections[slot].exchange.cluster),
            route: connections[slot].exchange.route)
    }

    /// A mirror's slot is let go.
    func endMirror(_ slot: Int) {
        unlinkMirror(slot)
        openMirrors -= 1
    }

    private func unlinkMirror(_ mirror: Int) {
        let origin = Int(connections[mirror].origin) - 1
        guard origin >= 0 else { return }
        let next = connections[mirror].mirror
        connections[mirror].origin = 0
        connections[mirror].mirror = 0
        guard Int(connections[origin].mirror) != mirror + 1 else {
            connections[origin].mirror = next
            return
        }
        var before = Int(connections[origin].mirror) - 1
        while Int(connections[before].mirror) != mirror + 1 {
            before = Int(connections[before].mirror) - 1
        }
        connections[before].mirror = next
    }

    /// What is counted of clients' requests is not of mirrors.
    @inline(__always)
    func count(_ counter: Counter, of slot: Int, _ number: Int = 1) {
        guard !connections[slot].isMirror else { return }
        counters.add(counter, number)
    }

    /// Counts an answer, or one before it, by its class.
    @inline(__always)
    func countAnswer(_ status: Int, of slot: Int) {
        guard !connections[slot].isMirror else { return }
        counters.add(StatusClass(of: status))
    }

    /// Every mirror that has not all of its request's body stands in its request's list.
    func checkMirrors() {
        var open = 0
        for slot in 0..<touchedSlots where connections[slot].role == .downstream {
            guard connections[slot].isMirror else {
                var next = Int(connections[slot].mirror) - 1
                while next >= 0 {
                    precondition(
                        connections[next].isMirror && Int(connections[next].origin) == slot + 1,
                        "a mirror of another request")
                    next = Int(connections[next].mirror) - 1
                }
                continue
            }
            open += 1
            precondition(connections[slot].output.isEmpty, "a mirror keeps what it is answered")
            let origin = Int(connections[slot].origin) - 1
            precondition(
                origin < 0 || connections[origin].role == .downstream, "a mirror of nobody's")
        }
        precondition(open == openMirrors, "\(open) mirrors, \(openMirrors) counted")
    }
}
