// The attempts of a request: where each begins, and what becomes of one that has failed. Stale
// connections, refused streams, answers that a policy takes for failures, timeouts of attempts and
// hedges are cases of the same:
//
//     forward ─▶ attempt ─▶ place ─▶ pair ─────────▶ the head of an answer ─▶ reconsider ─▶ settle
//        (once)     ▲         │ waits in the queue      │ connection, stream, time fails
//                   │         ▼                         ▼
//                sendAgain ◀─ backoff ◀── again? ── attemptFailed ── no ─▶ abort: the answer
//
// A request has one attempt as its peer. Where it hedges, those that have overrun their time go on
// beside it as rivals: they lead to the client, and the client to the first of them. Whichever is
// answered well first is settled on; the others are given up.

import Base
import Model
import Wire

/// What has become of a request that was to be sent.
enum Placement {
    case sent
    /// In its cluster's queue.
    case waits
    case refused(Refusal)
}

/// Why a request was not sent.
struct Refusal {
    var flag: ResponseFlag
    var detail: ResponseDetail
    var decision = Decision.none

    static let noEndpoint = Refusal(flag: .UH, detail: .noEndpoint)
    static let noHealthyEndpoint = Refusal(flag: .UH, detail: .noHealthyUpstream)
    static let noSlot = Refusal(flag: .OM, detail: .tooManyConnections)
    static let noBuffer = Refusal(flag: .OM, detail: .noBuffer)
    static let noStream = Refusal(flag: .UO, detail: .noStream)
    static let connections = Refusal(
        flag: .UO, detail: .overflow, decision: .breakerConnections)
    static let pending = Refusal(flag: .UO, detail: .overflow, decision: .breakerPending)
    static let requests = Refusal(flag: .UO, detail: .overflow, decision: .breakerRequests)
}

extension Proxy {
    // MARK: Beginning

    /// Sends the request in hand, whose head is parsed, to its cluster for the first time.
    func forward(_ slot: Int, _ bytes: Bytes, cluster: Int, now: Instant) {
        connections[slot].exchange.wakes = .zero
        guard prepare(slot, bytes, cluster, now: now) else { return }
        beginMirrors(slot, bytes, now: now)
        attempt(slot, bytes, cluster: cluster, now: now)
    }

    /// An attempt begins, the first or another.
    func attempt(_ slot: Int, _ bytes: Bytes, cluster: Int, now: Instant) {
        guard connections[slot].isMirror || passesAttemptFaults(slot, bytes, now: now) else {
            return
        }
        connections[slot].exchange.hasWaited = false
        serveQueueFirst(bytes, cluster, now: now)
        goOnOrRefuse(slot, place(slot, bytes, cluster: cluster, now: now), cluster, now: now)
    }

    /// Answers a request that could not be sent.
    func goOnOrRefuse(_ slot: Int, _ placement: Placement, _ cluster: Int, now: Instant) {
        guard case .refused(let refusal) = placement else { return }
        connections[slot].exchange.decision = refusal.decision
        countOverflow(refusal, cluster)
        giveRetry(slot)
        reply(slot, status: 503, flag: refusal.flag, detail: refusal.detail, now: now)
        serveNextPending(cluster, now: now)
    }

    /// Counts a request that comes to nothing as a limit is reached.
    func countOverflow(_ refusal: Refusal, _ cluster: Int) {
        switch refusal.decision {
        case .breakerPending: count(.pendingOverflow, .requestsOverflow, cluster)
        case .breakerRequests: count(.requestOverflow, .requestsOverflow, cluster)
        default: break
        }
    }

    /// Sends the request in hand, whose head is parsed, on a connection, or has it wait for one.
    /// - Parameter mayWait: false: at once or not at all.
    func place(
        _ slot: Int, _ bytes: Bytes, cluster: Int, mayWait: Bool = true, now: Instant
    ) -> Placement {
        let priority = connections[slot].exchange.priority
        guard take(.requests, cluster, priority) else {
            return .refused(.requests)
        }
        let placement =
            upstreams.clusters[cluster].isHTTP2
            ? placeStream(slot, bytes, cluster: cluster, mayWait: mayWait, now: now)
            : placeOnConnection(slot, bytes, cluster: cluster, mayWait: mayWait, now: now)
        // What was sent has it until its attempt is over (`pair`).
        if case .sent = placement { return placement }
        give(.requests, cluster, priority)
        return placement
    }

    private func placeOnConnection(
        _ slot: Int, _ bytes: Bytes, cluster: Int, mayWait: Bool, now: Instant
    ) -> Placement {
        guard let endpoint = chooseHost(slot, cluster, now: now) else {
            return .refused(refusalWithoutHost(cluster))
        }
        let priority = connections[slot].exchange.priority
        // Whoever closes one connection between two requests often closes all of them: one more
        // that has waited would most likely be as stale.
        let isPatient = connections[slot].exchange.resending != .stale
        if isPatient, let upstream = popPooled(endpoint, cluster, priority) {
            return send(slot, bytes, on: upstream, now: now)
        }
        if !takeConnection(endpoint, cluster, priority) {
            // Another endpoint of the cluster may have one free.
            let wish = connections[slot].exchange.wish
            if isPatient,
                let other = upstreams.takePooled(
                    cluster, insteadOf: endpoint, wish,
                    where: { firstOwn(Int($0.first), cluster, priority) != nil }),
                let upstream = popPooled(other, cluster, priority)
            {
                return send(slot, bytes, on: upstream, now: now)
            }
            // Where the request may not go on it, its place is had by closing it.
            guard takeIdlePlace(cluster, priority) else {
                return mayWait ? wait(slot, cluster: cluster, now: now) : .refused(.connections)
            }
        }
        let isQueued = connections[slot].stage == .pending
        switch openPending(endpoint, cluster, priority, hasPlace: isQueued, now: now) {
        case .failure(let refusal): return .refused(refusal)
        case .success(let upstream):
            leaveQueue(slot, bytes, keepsPlace: true, now: now)
            connections[upstream].holdsPending = true
            countWait(slot, cluster)
            return send(slot, bytes, on: upstream, now: now)
        }
    }

    /// Opens a connection whose place is taken, for a request that waits for it.
    /// - Parameter hasPlace: that stands in the queue, and goes on to count there.
    func openPending(
        _ endpoint: Int, _ cluster: Int, _ priority: UInt8, hasPlace: Bool = false, now: Instant
    ) -> Opened {
        guard hasPlace || take(.pending, cluster, priority) else {
            give(.connections, cluster, priority)
            return .failure(.pending)
        }
        guard let upstream = open(endpoint, priority, now: now) else {
            if !hasPlace { give(.pending, cluster, priority) }
            give(.connections, cluster, priority)
            return .failure(.noSlot)
        }
        return .success(upstream)
    }

    enum Opened {
        case success(Int)
        case failure(Refusal)
    }

    // MARK: Failing

    /// The attempt on `upstream` has failed: the request is sent again, or that is its answer.
    /// - Parameters:
    ///   - status: of the answer, if none has begun.
    ///   - flag: of the exchange, if this is its end.
    ///   - code: see `abort`.
    func attemptFailed(
        _ upstream: Int, _ failure: AttemptFailure, status: Int = 503, flag: ResponseFlag,
        detail: ResponseDetail, code: HTTP2Code? = nil, now: Instant
    ) {
        guard connections[upstream].stage != .asking else {
            return questionFailed(upstream, AttemptResult(flag), now: now)
        }
        guard let client = connections[upstream].peer else {
            return closeUpstream(upstream, reset: true, now: now)
        }
        guard !connections[client].exchange.headSent else {
            return abort(client, status: status, flag: flag, detail: detail, code: code, now: now)
        }
        let isFirst = failure == .stale && mayResend(upstream, client, failure)
        if !isFirst, let wait = retryWait(upstream, client, failure, now: now) {
            part(upstream, client, AttemptResult(flag), now: now)
            schedule(client, after: wait, now: now)
            return closeUpstream(upstream, reset: true, now: now)
        }
        if isFirst || mayResend(upstream, client, failure) {
            // What the policy has denied is done all the same: no upstream has looked at it.
            connections[client].exchange.noted.remove(.URX)
            connections[client].exchange.noted.remove(.UO)
            connections[client].exchange.decision = .none
            return resend(upstream, client, failure, now: now)
        }
        guard !hasOthers(upstream, client) else {
            part(upstream, client, AttemptResult(flag), now: now)
            stand(client, now: now)
            return closeUpstream(upstream, reset: true, now: now)
        }
        abort(client, status: status, flag: flag, detail: detail, code: code, now: now)
    }

    /// How long to wait before the request is sent again, if its policy has it so; nil: it is not.
    private func retryWait(
        _ upstream: Int, _ client: Int, _ failure: AttemptFailure, now: Instant
    ) -> Duration? {
        guard connections[client].exchange.hasPolicy, !connections[upstream].wasRetried else {
            return nil
        }
        let outcome = AttemptOutcome.failure(failure)
        guard decide(outcome, upstream, client, now: now) else { return nil }
        count(.backoffExponential, Int(connections[client].exchange.cluster))
        return tries[client].rules.backoff.wait(before: retries(of: client), &random)
    }

    /// Whether the policy has the request sent again. Notes why not, and counts.
    /// - Parameters:
    ///   - upstream: of a failure; an answer may come from none.
    ///   - isHere: whether it can be sent again; nil: where it is kept.
    func decide(
        _ outcome: AttemptOutcome, _ upstream: Int, _ client: Int, isHere: Bool? = nil,
        now: Instant
    ) -> Bool {
        let exchange = connections[client].exchange
        let cluster = Int(exchange.cluster)
        // A retry counts to the head of its answer, or to its failure.
        if upstream >= 0 { connections[upstream].isRetry = false }
        var isUnseen = false
        if case .failure(let failure) = outcome {
            isUnseen = failure == .connect || failure == .refused || isUnsent(upstream)
        }
        var denial: Decision?
        let verdict = tries[client].rules.verdict(
            outcome, mayRepeat: exchange.idempotent || isUnseen,
            isHere: isHere ?? connections[client].hasReceived, left: Int(tries[client].left)
        ) {
            denial = takeRetry(client, now: now)
            return denial == nil
        }
        switch verdict {
        case .no:
            // Envoy: what was sent again, and need not be once more.
            if case .answer = outcome, tries[client].left < tries[client].rules.most {
                count(.retrySuccess, cluster)
            }
            return false
        case .gone: return false
        case .unsafe:
            connections[client].exchange.decision = .retryUnsafe
            return false
        case .exhausted:
            count(.retryLimitExceeded, .retryLimitExceeded, cluster)
            connections[client].exchange.noted.insert(.URX)
            connections[client].exchange.decision = .retryMost
            return false
        case .overflow:
            count(.retryOverflow, .retryOverflow, cluster)
            connections[client].exchange.noted.insert(.UO)
            connections[client].exchange.decision = denial ?? .breakerRetries
            return false
        case .again:
            noteRetry(client)
            connections[client].exchange.followsTimeout = outcome.isTimeout
            return true
        }
    }

    /// One more attempt of the request is to be made.
    /// - Parameter isSure: it counts now; else when it is sent.
    func noteRetry(_ client: Int, isSure: Bool = true) {
        tries[client].left -= 1
        connections[client].exchange.retried += 1
        guard isSure else {
            connections[client].exchange.isUncounted = true
            return
        }
        count(.retries, .retries, Int(connections[client].exchange.cluster))
    }

    /// How many retries the request has had, the one included that was just decided on.
    func retries(of client: Int) -> Int {
        max(1, Int(tries[client].rules.most) - Int(tries[client].left))
    }

    /// Whether the request is sent once more without being asked for: no upstream has looked at it
    /// (RFC 9113, 8.7), or its connection was stale and it may be sent twice (RFC 9110, 9.2.2).
    private func mayResend(_ upstream: Int, _ client: Int, _ failure: AttemptFailure) -> Bool {
        let exchange = connections[client].exchange
        guard connections[client].hasReceived, !exchange.wasResent, !hasOthers(upstream, client)
        else { return false }
        switch failure {
        case .refused: return true
        case .stale: return exchange.idempotent || isUnsent(upstream)
        case .connect, .reset, .timeout: return false
        }
    }

    /// Whether nothing of the request has left for that upstream, which cannot have seen it then.
    func isUnsent(_ upstream: Int) -> Bool {
        guard connections[upstream].isStream else {
            return connections[upstream].requestBytesSent == 0
        }
        let carrier = Int(connections[upstream].carrier)
        return connections[carrier].requestBytesSent <= connections[upstream].firstByte
    }

    /// Sends the request at once on another connection.
    private func resend(
        _ upstream: Int, _ client: Int, _ failure: AttemptFailure, now: Instant
    ) {
        connections[client].exchange.wasResent = true
        connections[client].exchange.resending = failure == .refused ? .refused : .stale
        part(upstream, client, failure == .refused ? .reset : .cancelled, now: now)
        connections[client].stage = .awaitingRequest
        connections[client].exchange.isAgain = true
        guard connections[upstream].isStream else {
            let cluster = Int(upstreams.endpoints[Int(connections[upstream].endpoint)].cluster)
            closeUpstream(upstream, reset: true, servesPending: false, now: now)
            sendAgain(client, now: now)
            if cluster >= 0 { serveNextPending(cluster, now: now) }
            return
        }
        let session = session(of: upstream)
        // Until the request has found its place, so that it goes elsewhere if it can; others go
        // elsewhere too while they can.
        unpoolSession(session.slot)
        close(upstream)
        sendAgain(client, now: now)
        offerRoom(session, asLast: true, now: now)
    }

    // MARK: Parting

    /// Takes an attempt from its client, for which it is over. Its connection is left to be closed,
    /// or used again.
    func part(_ upstream: Int, _ client: Int, _ result: AttemptResult, now: Instant) {
        endAttempt(upstream, result, now: now)
        connections[upstream].peerPlusOne = 0
        if connections[client].peer == upstream {
            connections[client].peerPlusOne = 0
        } else {
            unlinkRival(upstream, client)
        }
    }

    /// Has the request be sent again when so much time has passed.
    func schedule(_ client: Int, after wait: Duration, now: Instant) {
        connections[client].exchange.wakes = now + wait
        // The retry has yet to say how it ends.
        connections[client].exchange.decision = .none
        stand(client, now: now)
    }

    /// A client whose attempt is over goes on with a rival, or waits for its retry.
    func stand(_ client: Int, now: Instant) {
        if connections[client].peer == nil, let rival = popRival(client) {
            connections[client].peerPlusOne = Int32(rival + 1)
        }
        if connections[client].peer == nil {
            connections[client].stage = .waiting
            connections[client].exchange.isAgain = true
        }
        arm(client)
    }

    /// The time to wait before a retry is over, or there is no time left.
    func endBackoff(_ client: Int, now: Instant) {
        connections[client].stage = .awaitingRequest
        if let decision = overdue(client, now: now) {
            return timeOut(client, decision, now: now)
        }
        connections[client].exchange.wakes = .zero
        sendAgain(client, now: now)
    }

    /// Sends a request that is kept, or has it wait.
    func sendAgain(_ slot: Int, now: Instant) {
        connections[slot].isRerouted = false
        let bytes = headBytes(slot)
        guard head.parseRequest(bytes) == .complete else {
            preconditionFailure("a head that was complete no longer is")
        }
        let exchange = connections[slot].exchange
        let cluster = Int(exchange.cluster)
        // The configuration may have changed since.
        guard cluster >= 0 else {
            return reply(slot, status: 503, flag: .NC, detail: .clusterNotFound, now: now)
        }
        guard upstreams.clusters[cluster].isHTTP2 == exchange.goesAsStream else {
            return reply(slot, status: 503, flag: .LR, detail: .protocolChanged, now: now)
        }
        attempt(slot, bytes, cluster: cluster, now: now)
    }
}
