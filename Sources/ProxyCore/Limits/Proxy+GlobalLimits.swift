// Limits of all proxies, as requests meet them. A request waits between two filters while a service
// is asked, on a stream of the proxy's own that leads to one of its endpoints like any attempt:
//
//     ask ─▶ stream ─▶ hold ┬─ answered: ok ───────────────▶ resume: the filters that are left
//                           ├─ answered: over the limit ───▶ 429 RL
//                           ├─ no answer in time, or none ─▶ resume, or 500 RLSE (`denies`)
//                           └─ the client has gone ────────▶ the stream is reset
//
// The client's exchange knows the stream as `asked`, the stream knows the client as its peer. A
// question is sent once, and never waits for a place: what the service's cluster has no room for
// could not be found out about.
//
// Source: Envoy, "Rate limit" (HTTP filter).

import Base
import Model
import Wire

extension Proxy {
    /// Whether the request in hand goes on; else it has been answered, or waits.
    @inline(__always)
    func passesGlobalLimits(_ slot: Int, _ bytes: Bytes, now: Instant) -> Bool {
        guard questions.isUsed else { return true }
        return passesQuestions(slot, bytes, now: now)
    }

    private func passesQuestions(_ slot: Int, _ bytes: Bytes, now: Instant) -> Bool {
        if meets(.listenerQuestion, slot),
            let question = questions.question(ofListener: Int(connections[slot].listener)),
            !isUnlimited(slot), !passes(question, slot, bytes, now: now)
        {
            return false
        }
        guard meets(.routeQuestion, slot),
            let question = questions.question(ofRoute: connections[slot].exchange.route)
        else { return true }
        return passes(question, slot, bytes, now: now)
    }

    private func passes(
        _ question: GlobalLimits.Question, _ slot: Int, _ bytes: Bytes, now: Instant
    ) -> Bool {
        let isAsked =
            withIdentity(of: slot) { ask(question, slot, bytes, identity: $0, now: now) }
            ?? ask(question, slot, bytes, identity: Bytes(""), now: now)
        guard isAsked else { return true }
        connections[slot].exchange.deniesUnasked = question.denies
        connections[slot].exchange.tellsAnswer = question.tells
        guard connections[slot].exchange.asked > 0 else {
            return mayGoOnUnasked(slot, now: now)
        }
        hold(slot, until: now + question.timeout, now: now)
        return false
    }

    /// Nothing could be found out. Whether the request goes on; else it has been answered.
    private func mayGoOnUnasked(_ slot: Int, now: Instant) -> Bool {
        countFailure(slot)
        guard connections[slot].exchange.deniesUnasked else { return true }
        reply(slot, status: 500, flag: .RLSE, detail: .rateLimiterError, now: now)
        return false
    }

    private func countFailure(_ slot: Int) {
        count(policy: .questionsFailed, of: slot)
        guard !connections[slot].exchange.deniesUnasked else { return }
        count(policy: .questionsPassedOver, of: slot)
    }

    // MARK: Asking

    /// Sends a question about the request in hand, which has it as `asked` where that worked.
    /// - Returns: false: there is nothing to ask.
    private func ask(
        _ question: GlobalLimits.Question, _ slot: Int, _ bytes: Bytes, identity: Bytes,
        now: Instant
    ) -> Bool {
        let parts = LimitedParts(bytes: bytes, client: client(of: slot), identity: identity)
        let size = questions.size(question, head, parts)
        guard size > 0 else { return false }
        guard size <= RateLimitCall.messageBytes,
            let upstream = openQuestion(question, now: now)
        else { return true }
        let whole = size + GRPCFraming.prefixBytes
        guard let memory = unsafe connections[upstream].output.room(for: whole, from: pool) else {
            dropQuestion(upstream, .cancelled, servesPending: false, now: now)
            return true
        }
        var out = unsafe ByteWriter(memory)
        GRPCFraming.writePrefix(size, to: &out)
        questions.write(question, head, parts, to: &out)
        precondition(out.count == whole && !out.overflowed, "a message of another length")
        connections[upstream].output.grow(by: out.count)
        connections[upstream].endAfterOutput = true
        connections[upstream].peerPlusOne = Int32(slot + 1)
        connections[slot].exchange.asked = Int32(upstream + 1)
        mark(session(of: upstream))
        return true
    }

    /// Begins a stream for a question; nil: there is no place for it.
    private func openQuestion(_ question: GlobalLimits.Question, now: Instant) -> Int? {
        let cluster = Int(question.cluster)
        guard cluster >= 0, upstreams.clusters[cluster].isHTTP2 else { return nil }
        guard take(.requests, cluster, 0) else {
            count(.requestOverflow, .requestsOverflow, cluster)
            return nil
        }
        turn = now
        guard let carrier = carrierForQuestion(cluster, now: now),
            let upstream = submit(question, on: carrier, cluster: cluster)
        else {
            give(.requests, cluster, 0)
            return nil
        }
        connections[upstream].holdsRequest = true
        beginAttempt(upstream, now: now)
        return upstream
    }

    /// A connection that takes one more stream; nil: there is none, and no room for another.
    private func carrierForQuestion(_ cluster: Int, now: Instant) -> Int? {
        guard let endpoint = upstreams.select(cluster, HostWish(), now: now, &random) else {
            return nil
        }
        if let carrier = firstPooled(endpoint) { return carrier }
        guard takeConnection(endpoint, cluster, 0) else {
            return upstreams.takePooled(cluster, insteadOf: endpoint).flatMap { firstPooled($0) }
        }
        switch openPending(endpoint, cluster, 0, now: now) {
        case .failure(let refusal):
            countOverflow(refusal, cluster)
            return nil
        case .success(let carrier):
            // The stream takes it anew, as all do that wait for the connection.
            give(.pending, cluster, 0)
            beginSession(carrier, server: false, now: now)
            poolSession(carrier)
            return carrier
        }
    }

    private func submit(
        _ question: GlobalLimits.Question, on carrier: Int, cluster: Int
    ) -> Int? {
        let isOpening = connections[carrier].stage == .connecting
        guard !isOpening || take(.pending, cluster, 0) else {
            count(.pendingOverflow, .requestsOverflow, cluster)
            return nil
        }
        guard let upstream = takeSlot(.upstream, now: turn) else {
            if isOpening { give(.pending, cluster, 0) }
            return nil
        }
        let session = session(of: carrier)
        connections[upstream].endpoint = connections[carrier].endpoint
        connections[upstream].stage = .asking
        listFields(question, isSecure: upstreams.clusters[cluster].isSecured)
        guard !fields.overflowed,
            let stream = session.submitRequest(fields, tag: upstream, hasBody: true)
        else {
            // A stream that never was: no connection ends with it.
            connections[upstream].carrier = Int32(carrier)
            close(upstream)
            unpoolSession(carrier)
            if isOpening { give(.pending, cluster, 0) }
            return nil
        }
        attach(upstream, to: session, stream)
        connections[upstream].holdsPending = isOpening
        if isOpening { count(.requestsPending, cluster) }
        mark(session)
        countRequest(on: carrier)
        if !hasRoomForStreams(session) { unpoolSession(carrier) }
        return upstream
    }

    private func listFields(_ question: GlobalLimits.Question, isSecure: Bool) {
        fields.removeAll()
        fields.add(":method", "POST")
        fields.add(":scheme", isSecure ? "https" : "http")
        fields.add(":path", RateLimitCall.path)
        fields.add(":authority", questions.bytes(question.authority))
        fields.add("te", "trailers")
        fields.add("content-type", "application/grpc")
        fields.add("grpc-timeout") { GRPCTimeout.write(question.timeout, to: &$0) }
    }

    // MARK: Hearing

    /// All has come that the service says.
    func questionAnswered(_ upstream: Int, now: Instant) {
        guard let verdict = verdict(upstream, now: now) else {
            // Where its status has told what is wrong, that is all that is wrong.
            let result: AttemptResult = connections[upstream].isJudged ? .answered : .reset
            return questionFailed(upstream, result, now: now)
        }
        guard let slot = dropQuestion(upstream, .answered, now: now) else { return }
        let told = LimitNote(
            burst: verdict.limit, remaining: verdict.remaining, reset: verdict.reset,
            window: verdict.window)
        switch verdict.code {
        case .ok:
            counters.add(.questionsOK)
            if connections[slot].exchange.tellsAnswer, told.burst > 0 { note(told, slot) }
            resume(slot, now: now)
        case .overLimit:
            count(policy: .questionsOver, of: slot)
            _ = endWait(slot, now: now)
            var out = unsafe ByteWriter(replyFields.memory)
            out.append("x-envoy-ratelimited: true\r\n")
            if connections[slot].exchange.tellsAnswer { told.write(to: &out) }
            var parts = ReplyParts()
            parts.fields = replyFields.bytes(0..<out.count)
            reply(
                slot, status: 429, flag: .RL, detail: .rateLimited, parts: parts, now: now
            )
        }
    }

    /// What the service says; nil: nothing that could be understood.
    private func verdict(_ upstream: Int, now: Instant) -> RateLimitVerdict? {
        guard connections[upstream].hasReceived else { return nil }
        let bytes = headBytes(upstream)
        guard head.parseResponse(bytes, toHead: false) == .complete else { return nil }
        // An answer without a body says in its head how the call has ended.
        var status = GRPCVerdict.status(head, bytes)
        if connections[upstream].hasTail {
            let tail = connections[upstream].tail
            let lines = pool.bytes(tail.buffer, Int(tail.start)..<Int(tail.end))
            status = max(status, GRPCVerdict.call(trailers: lines) == 0 ? 200 : 500)
        }
        attemptAnswered(upstream, status: status, now: now)
        guard status == 200, connections[upstream].hasTail else { return nil }
        let body = input(upstream)
        var framing = GRPCFraming(limit: RateLimitCall.messageBytes)
        guard let piece = try? framing.next(body), piece.ends, piece.used == body.count,
            !framing.isCompressed
        else { return nil }
        return RateLimitVerdict(body[piece.payload])
    }

    /// The service does not answer, or says what it should not.
    func questionFailed(_ upstream: Int, _ result: AttemptResult, now: Instant) {
        guard let slot = dropQuestion(upstream, result, now: now) else { return }
        goOnUnasked(slot, now: now)
    }

    /// The time is over that a request waits for an answer.
    /// - Returns: false: it waits for none.
    func questionOverdue(_ slot: Int, now: Instant) -> Bool {
        guard connections[slot].exchange.asked > 0 else { return false }
        // The service is late only by its own time, not by the request's.
        let result: AttemptResult =
            connections[slot].exchange.wakes <= now ? .timedOut : .cancelled
        dropQuestion(Int(connections[slot].exchange.asked - 1), result, now: now)
        guard connections[slot].exchange.deadline > now, streamDeadline(slot) > now else {
            return false
        }
        goOnUnasked(slot, now: now)
        return true
    }

    private func goOnUnasked(_ slot: Int, now: Instant) {
        guard connections[slot].exchange.deniesUnasked else {
            countFailure(slot)
            return resume(slot, now: now)
        }
        _ = endWait(slot, now: now)
        _ = mayGoOnUnasked(slot, now: now)
    }

    // MARK: The end

    /// A client goes away, and so does its question.
    func forgetQuestion(of slot: Int, now: Instant) {
        guard connections[slot].exchange.asked > 0 else { return }
        dropQuestion(Int(connections[slot].exchange.asked - 1), .cancelled, now: now)
    }

    /// Has done with a question: its stream is over.
    /// - Returns: who waits for it; nil: nobody does.
    @discardableResult
    private func dropQuestion(
        _ upstream: Int, _ result: AttemptResult, servesPending: Bool = true, now: Instant
    ) -> Int? {
        endAttempt(upstream, result, now: now)
        let slot = connections[upstream].peer
        connections[upstream].peerPlusOne = 0
        if let slot { connections[slot].exchange.asked = 0 }
        closeUpstream(upstream, servesPending: servesPending, now: now)
        return slot
    }

    // MARK: What must hold

    /// A question has somebody who waits for it, and a wait at most one question.
    func checkQuestion(_ slot: Int, _ connection: Connection) {
        if connection.stage == .asking {
            precondition(connection.isStream && connection.isAttempt, "asked by no stream")
            guard let client = connection.peer else {
                preconditionFailure("a question of nobody's")
            }
            precondition(connections[client].exchange.asked == Int32(slot + 1), "asked by another")
            precondition(connections[client].stage == .waiting, "it does not wait for the answer")
        }
        guard connection.role == .downstream, connection.exchange.asked > 0 else { return }
        let upstream = Int(connection.exchange.asked - 1)
        precondition(connections[upstream].peer == slot, "a question that is gone")
        precondition(connections[upstream].stage == .asking, "a question that is none")
    }
}
