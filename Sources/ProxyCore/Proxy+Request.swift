// From a client's bytes to a request on its way.

import Base
import Model
import Wire

extension Proxy {
    /// What is thrown away at most after a final answer, bytes.
    static let lingerBytes = 1 << 20

    /// Input has come while no exchange is in hand.
    func requestBytes(_ slot: Int, now: Instant) {
        if connections[slot].exchange.isAgain { return sendAgain(slot, now: now) }
        if connections[slot].isStream { return streamHeadBytes(slot, now: now) }
        guard connections[slot].hasInput else {
            if connections[slot].inputEnded { requestEnded(slot, now: now) }
            return
        }
        // An answer that waits to be sent is waited for: its client shall not pile up more.
        guard !connections[slot].output.isFull else { return }
        let bytes = input(slot)
        if connections[slot].speech != .http1, settlesSpeech(slot, bytes, now: now) { return }
        if connections[slot].search.position > 0 {
            guard
                connections[slot].search.mayBeComplete(bytes)
                    || bytes.count >= head.limits.headBytes
            else { return headIncomplete(slot, now: now) }
        }
        switch head.parseRequest(bytes) {
        case .complete: dispatch(slot, bytes, now: now)
        case .incomplete:
            if connections[slot].search.position == 0 {
                connections[slot].since = now
                _ = connections[slot].search.mayBeComplete(bytes)
            }
            headIncomplete(slot, now: now)
        case .invalid(let error): refuse(slot, error, now: now)
        }
    }

    /// A stream's head, which is whole.
    private func streamHeadBytes(_ slot: Int, now: Instant) {
        guard connections[slot].hasReceived else { return }
        let bytes = headBytes(slot)
        switch head.parseRequest(bytes) {
        case .complete: dispatch(slot, bytes, now: now)
        case .incomplete: refuseMalformed(slot, .badRequestLine)
        case .invalid(let error): refuseMalformed(slot, error)
        }
    }

    /// Finds out what a new connection speaks: HTTP/2 begins with a line that no request of
    /// HTTP/1.1 does (RFC 9113, 3.4).
    /// - Returns: whether the bytes are dealt with, or too few.
    private func settlesSpeech(_ slot: Int, _ bytes: Bytes, now: Instant) -> Bool {
        if connections[slot].speech == .undecided {
            let preface = Bytes("PRI * HTTP/2.0\r\n")
            let count = min(bytes.count, preface.count)
            guard bytes[0..<count] == preface[0..<count] else {
                connections[slot].speech = .http1
                return false
            }
            if count < preface.count {
                // As for a head that is not yet complete.
                if connections[slot].search.position == 0 { connections[slot].since = now }
                _ = connections[slot].search.mayBeComplete(bytes)
                headIncomplete(slot, now: now)
                return true
            }
            connections[slot].speech = .http2
        }
        connections[slot].stage = .session
        connections[slot].search = HeadSearch()
        beginSession(slot, server: true, now: now)
        // It was to end before it was known what it speaks.
        if isLeaving(slot) { drainSession(slot, now: now) }
        sessionBytes(slot, now: now)
        return true
    }

    private func headIncomplete(_ slot: Int, now: Instant) {
        if connections[slot].inputEnded { return requestEnded(slot, now: now) }
        makeRoomForHead(slot)
        arm(slot)
    }

    /// Moves an incomplete head to the start of its buffer if the end may be too near behind what
    /// came before.
    func makeRoomForHead(_ slot: Int) {
        guard pool.size - Int(connections[slot].inputStart) < head.limits.headBytes else { return }
        let bytes = input(slot)
        let memory = unsafe pool.memory(connections[slot].input)
        unsafe memory.copyMemory(from: bytes.raw)
        connections[slot].inputStart = 0
        connections[slot].inputEnd = UInt32(bytes.count)
    }

    /// The client will send no more, between requests or within a head.
    func requestEnded(_ slot: Int, now: Instant) {
        guard connections[slot].output.isEmpty else {
            connections[slot].stage = .finishing
            return arm(slot)
        }
        close(slot)
    }

    /// A whole head is there, in `self.head`: finds out where it goes and sends it there.
    func dispatch(_ slot: Int, _ bytes: Bytes, now: Instant) {
        let isRerouted = connections[slot].isRerouted
        if isRerouted {
            connections[slot].isRerouted = false
            begin(connections[slot].exchange.afresh(), slot)
        } else {
            counters.add(.requestsTotal)
            begin(Exchange(), slot)
            connections[slot].exchange.started = now
            countRequest(of: slot, now: now)
        }
        let door = door(of: slot)
        // What is answered before a route is chosen is its listener's cluster's too.
        if door.hasCluster { connections[slot].exchange.cluster = door.match.cluster }
        noteHead(slot, bytes)
        connections[slot].search = HeadSearch()
        connections[slot].since = now
        if !connections[slot].isStream {
            connections[slot].body = BodyProgress(head.framing)
        } else if connections[slot].exchange.wantsUpgrade {
            // What comes is for the other protocol, and waits until it is agreed upon.
            connections[slot].body = BodyProgress()
        }
        noteRequest(slot, bytes)
        // Bytes follow that nothing delimits: they must not come near a connection of HTTP/1.1.
        if connections[slot].exchange.isExtendedConnect, !connections[slot].exchange.wantsUpgrade {
            return reply(slot, status: 501, flag: nil, detail: .protocolNotSupported, now: now)
        }
        if bytes[head.method] == "CONNECT", !admitsConnect(slot, now: now) { return }
        let owner = connections[slot].isStream ? Int(connections[slot].carrier) : slot
        guard !connections[owner].isLeaving || !isBarred(owner) else {
            return reply(slot, status: 403, flag: .UAEX, detail: .listenerChanged, now: now)
        }
        guard passesListenerLimits(slot, bytes, now: now) else { return }
        guard admits(slot, bytes, again: isRerouted) else {
            return reply(slot, status: 403, flag: .UAEX, detail: .denied, now: now)
        }
        if head.maxForwards(bytes) == 0 { return replyAsLast(slot, bytes, now: now) }
        guard let match = door.hasCluster ? door.match : router.match(head, bytes, &random) else {
            return reply(slot, status: 404, flag: .NR, detail: .routeNotFound, now: now)
        }
        connections[slot].exchange.timeout = match.timeout
        connections[slot].exchange.cluster = match.cluster
        connections[slot].exchange.route = match.route
        connections[slot].exchange.share = match.share
        connections[slot].exchange.filters = match.filters
        if !isRerouted { count(.requests, route: match.route) }
        goOn(slot, bytes, now: now)
    }

    /// Notes in the request's exchange what its head says.
    @inline(__always)
    private func noteHead(_ slot: Int, _ bytes: Bytes) {
        connections[slot].exchange.keepAlive = head.keepAlive && !isLeaving(slot)
        connections[slot].exchange.minorVersion = head.minorVersion
        connections[slot].exchange.isHead = head.isHead
        connections[slot].exchange.idempotent = Self.isIdempotent(bytes[head.method])
        connections[slot].exchange.wantsUpgrade = passesUpgrade(bytes)
        guard connections[slot].isStream else { return }
        connections[slot].exchange.isExtendedConnect = head.wantsUpgrade
        connections[slot].exchange.isGRPC = head.isGRPC(bytes)
        if connections[slot].exchange.isGRPC, let timeout = head.grpcTimeout(bytes) {
            connections[slot].exchange.deadline = connections[slot].exchange.started + timeout
        }
    }

    /// Whether a CONNECT is let pass; if not, it is answered. Where it leads is for routes to say:
    /// to a cluster, never to the host that the client names.
    private func admitsConnect(_ slot: Int, now: Instant) -> Bool {
        // What follows may be meant for the tunnel: it is no request.
        connections[slot].exchange.keepAlive = false
        let hasBody = connections[slot].isStream ? false : head.framing != .none
        connections[slot].body = BodyProgress()
        guard upgradePolicy.takesConnect else {
            reply(slot, status: 501, flag: nil, detail: .connectNotSupported, now: now)
            return false
        }
        // A length would have no meaning (RFC 9110, 9.3.6), and whoever took it for one be misled.
        guard !hasBody else {
            reply(slot, status: 400, flag: .DPE, detail: .connectWithBody, now: now)
            return false
        }
        connections[slot].exchange.isConnect = true
        return true
    }

    /// Makes `exchange` the one in hand.
    func begin(_ exchange: Exchange, _ slot: Int) {
        // A request that is routed anew after a reload has its note already.
        dropNote(slot)
        connections[slot].exchange = exchange
    }

    /// Whether the request asks for another protocol, and for none that may not be passed on.
    private func passesUpgrade(_ bytes: Bytes) -> Bool {
        guard head.wantsUpgrade else { return false }
        for i in 0..<head.fieldCount where head.fields[i].name == .upgrade {
            guard upgradePolicy.passes(bytes[head.fields[i].valueRange]) else { return false }
        }
        return true
    }

    /// A request that may not be forwarded once more is answered from here (RFC 9110, 7.6.2).
    private func replyAsLast(_ slot: Int, _ bytes: Bytes, now: Instant) {
        let isOptions = bytes[head.method] == "OPTIONS"
        reply(
            slot, status: isOptions ? 200 : 501, flag: nil, detail: .maxForwards, now: now
        )
    }

    /// RFC 9110, 9.2.2.
    private static func isIdempotent(_ method: Bytes) -> Bool {
        method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE"
            || method == "OPTIONS" || method == "TRACE"
    }

    /// Puts the request in its cluster's queue. Its head stays where it is and is read again when
    /// its turn comes. One that stands there already keeps its place.
    func wait(_ slot: Int, cluster: Int, now: Instant) -> Placement {
        connections[slot].exchange.awaited = -1
        guard connections[slot].stage != .pending else { return .waits }
        guard take(.pending, cluster, connections[slot].exchange.priority) else {
            return .refused(.pending)
        }
        countWait(slot, cluster)
        connections[slot].stage = .pending
        pushPending(slot, cluster)
        lookAgain(cluster, after: SharedQueues.patience, now: now)
        // Until the body is there too the timeout counts from now.
        if connections[slot].exchange.requestEnded == .zero {
            connections[slot].exchange.requestEnded = now
        }
        arm(slot)
        return .waits
    }

    /// Lets waiting requests of a cluster go on, as many as connections may be had for; those of
    /// the high priority first.
    func serveNextPending(_ cluster: Int, now: Instant) {
        let limits = upstreams.clusters[cluster]
        guard limits.pending.count > 0 || limits.pendingHigh.count > 0, !limits.isServing else {
            return
        }
        upstreams.withCluster(cluster) { $0.isServing = true }
        servePending(cluster, 1, now: now)
        servePending(cluster, 0, now: now)
        upstreams.withCluster(cluster) { $0.isServing = false }
    }

    /// Asks those that wait in their order. Who cannot go on keeps its place, and is passed over
    /// only where others may go where it may not.
    /// - Complexity: O(1 + requests that go on), and O(requests in the queue) where it depends on
    ///   the request which endpoints it may go to.
    private func servePending(_ cluster: Int, _ priority: UInt8, now: Instant) {
        // Bound: each once.
        var left = waiting(cluster, priority)
        var passed = -1
        while left > 0, canServe(cluster, priority),
            let slot = firstPending(cluster, priority, behind: passed)
        {
            left -= 1
            if connections[slot].forwards {
                forwardBytes(slot, cluster: cluster, now: now)
            } else {
                serve(slot, cluster, now: now)
            }
            guard connections[slot].role == .downstream, connections[slot].stage == .pending else {
                continue
            }
            guard mayGoElsewhere(slot, cluster) else { return }
            passed = slot
        }
    }

    /// The request of that priority that has waited longest of those behind `passed`, or of all if
    /// that waits no more; nil: there is none.
    private func firstPending(_ cluster: Int, _ priority: UInt8, behind passed: Int) -> Int? {
        let isThere =
            passed >= 0 && connections[passed].role == .downstream
            && connections[passed].stage == .pending
        let next =
            isThere
            ? connections[passed].next : upstreams.clusters[cluster].queue(priority).first
        return next >= 0 ? Int(next) : nil
    }

    /// Whether a request that cannot go on may be the only one, as others may go elsewhere, or
    /// sooner.
    private func mayGoElsewhere(_ slot: Int, _ cluster: Int) -> Bool {
        upstreams.clusters[cluster].readsRequests || connections[slot].exchange.wish.redraws > 0
            || connections[slot].exchange.wasResent || connections[slot].exchange.wantsUpgrade
    }

    /// Lets a request of the queue go on if it can.
    private func serve(_ slot: Int, _ cluster: Int, now: Instant) {
        let bytes = headBytes(slot)
        let placement = place(slot, bytes, cluster: cluster, now: now)
        guard case .refused = placement else { return }
        leaveQueue(slot, bytes, now: now)
        goOnOrRefuse(slot, placement, cluster, now: now)
    }

    /// A request goes on, from its cluster's queue if it stands there: it is the one in hand then,
    /// and its head parsed.
    /// - Parameter keepsPlace: it counts among those that wait for longer, as its connection is
    ///   being opened.
    func leaveQueue(_ slot: Int, _ bytes: Bytes, keepsPlace: Bool = false, now: Instant) {
        guard connections[slot].stage == .pending else { return }
        removePending(
            slot, Int(connections[slot].exchange.cluster), givesPlace: !keepsPlace)
        guard head.parseRequest(bytes) == .complete else {
            preconditionFailure("a head that was complete no longer is")
        }
        connections[slot].stage = .awaitingRequest
        connections[slot].since = now
    }

    /// Writes the request to `upstream` and pairs the two.
    func send(_ slot: Int, _ bytes: Bytes, on upstream: Int, now: Instant) -> Placement {
        leaveQueue(slot, bytes, now: now)
        connections[upstream].priority = connections[slot].exchange.priority
        guard writeRequest(slot, bytes, to: upstream, now: now) else {
            // Nobody else goes on before the request is answered: heads are parsed in one place.
            closeUpstream(upstream, reset: true, servesPending: false, now: now)
            return .refused(.noBuffer)
        }
        if connections[upstream].stage != .connecting {
            connections[upstream].stage = .exchange
            askFlush(upstream)
        }
        countRequest(on: upstream)
        pair(slot, upstream, now: now)
        return .sent
    }

    /// The request's head has been sent: its body follows, and the answer is waited for.
    func pair(_ slot: Int, _ upstream: Int, now: Instant) {
        let headLength = head.length
        connections[slot].stage = .exchange
        connections[slot].peerPlusOne = Int32(upstream + 1)
        connections[slot].exchange.endpoint = connections[upstream].endpoint
        connections[slot].exchange.wakes = .zero
        // While the request waited its time ran. Now that it goes on, that begins with its end: how
        // long its body takes is the client's affair, also where it has to wait again.
        if !connections[slot].body.isComplete { connections[slot].exchange.requestEnded = .zero }
        if connections[slot].exchange.attempts < .max { connections[slot].exchange.attempts += 1 }
        if connections[slot].exchange.wish.redraws > 0 {
            connections[slot].exchange.wish.avoided.insert(Int(connections[upstream].endpoint))
        }
        connections[upstream].peerPlusOne = Int32(slot + 1)
        connections[upstream].answered = false
        connections[upstream].requestBytesSent = 0
        connections[upstream].body = BodyProgress()
        connections[upstream].since = now
        connections[upstream].active = now
        connections[upstream].holdsRequest = true
        connections[upstream].isRetry = connections[slot].exchange.holdsRetry
        // What another attempt draws beside this one is not its own.
        connections[upstream].rate = connections[slot].exchange.fault.rate
        beginAttempt(upstream, now: now)
        if connections[slot].body.kind == .chunked, connections[upstream].isStream {
            connections[slot].body.kind = .unchunking
        } else if connections[slot].speech == .http2, !connections[upstream].isStream,
            head.framing == .chunked
        {
            connections[upstream].coding = .chunks
        }
        if connections[slot].exchange.isAgain {
            connections[slot].exchange.isAgain = false
            noteResent(slot)
        } else {
            keepRequest(slot, upstream, headLength)
        }
        guard sendKept(slot, upstream) else {
            return abort(slot, status: 503, flag: .OM, detail: .noBuffer, now: now)
        }
        passRequestBody(slot, now: now)
        guard connections[slot].role != .free, connections[slot].peer == upstream else { return }
        // Reading stopped while the request waited for its turn.
        if !connections[slot].body.isComplete, connections[slot].readPaused { askRead(slot) }
        arm(slot)
    }

    private func writeRequest(
        _ slot: Int, _ bytes: Bytes, to upstream: Int, now: Instant
    ) -> Bool {
        let edit = requestEdit(slot, bytes)
        let size = min(head.length + HeadWriter.growth + edit.growth, pool.size)
        guard let memory = unsafe connections[upstream].output.room(for: size, from: pool) else {
            return false
        }
        var out = unsafe ByteWriter(memory)
        writer.write(
            request: head, bytes, edit, router.actions, client: client(of: slot),
            passesUpgrade: connections[slot].exchange.wantsUpgrade,
            cameByHTTP2: connections[slot].speech == .http2, attempt: attemptFields(slot, now: now),
            random: &random, to: &out)
        guard !out.overflowed else { return false }
        connections[upstream].output.grow(by: out.count)
        return true
    }

    /// Passes on what has come of the body of a request that is on its way.
    func relayRequest(_ slot: Int, now: Instant) {
        // The time of its answer begins.
        if passRequestBody(slot, now: now) { arm(slot) }
    }

    /// - Returns: whether with this all of the request has gone on.
    @discardableResult
    private func passRequestBody(_ slot: Int, now: Instant) -> Bool {
        guard let upstream = connections[slot].peer else { return false }
        let before = connections[slot].body.isComplete
        switch relay(from: slot, to: upstream) {
        case .moved(let bytes):
            connections[slot].exchange.requestBytes += bytes
            count(.requestBytes, of: slot, bytes)
            if bytes > 0, connections[upstream].stage != .connecting { askFlush(upstream) }
        case .invalid(let error):
            abort(slot, status: error.status, flag: .DPE, detail: .malformed(error), now: now)
            return false
        case .noBuffer:
            abort(slot, status: 503, flag: .OM, detail: .noBuffer, now: now)
            return false
        }
        if connections[slot].body.isComplete {
            if connections[slot].mirror > 0 { endMirrorBodies(of: slot) }
            // A stream that is to be a tunnel stays open for it.
            let awaitsTunnel =
                connections[slot].exchange.wantsUpgrade || connections[slot].exchange.isConnect
            guard awaitsTunnel || endBody(from: slot, to: upstream) else {
                abort(slot, status: 503, flag: .OM, detail: .noBuffer, now: now)
                return false
            }
            guard !before || connections[slot].exchange.requestEnded == .zero else { return false }
            connections[slot].exchange.requestEnded = now
            return true
        }
        if connections[slot].inputEnded, !connections[slot].hasInput,
            connections[slot].body.held == 0
        {
            // The client may still read: what was answered before is not taken from it by a reset.
            abort(slot, status: 400, flag: .DC, detail: .requestIncomplete, now: now)
        }
        return false
    }

    /// Answers a malformed request; nothing of it reaches an upstream.
    func refuse(_ slot: Int, _ error: HeadError, now: Instant) {
        counters.add(.requestsTotal)
        counters.add(.protocolErrors)
        var exchange = Exchange()
        exchange.started = now
        exchange.keepAlive = false
        begin(exchange, slot)
        connections[slot].body = BodyProgress()
        noteMalformed(slot)
        reply(slot, status: error.status, flag: .DPE, detail: .malformed(error), now: now)
    }
}
