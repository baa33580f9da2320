// What becomes of an attempt whose answer has begun, and of those beside it.

import Base
import Model
import Wire

extension Proxy {
    /// The head of a final answer has come, in `self.head`: whether the request is sent again
    /// instead of passing it on, or waits for another attempt.
    func reconsiders(_ upstream: Int, _ client: Int, _ bytes: Bytes, now: Instant) -> Bool {
        guard connections[client].exchange.hasPolicy else { return false }
        let outcome = AttemptOutcome.answer(signs(client, bytes))
        // What was decided of other attempts has not settled how this ends.
        if !tries[client].rules.isFailure(outcome) {
            connections[client].exchange.decision = .none
        }
        if connections[upstream].wasRetried {
            // It has been retried already, when its time was over. A bad answer is the answer only
            // where no other can be.
            guard tries[client].rules.isFailure(outcome), hasOthers(upstream, client) else {
                return false
            }
            release(upstream, client, bytes, now: now) { stand(client, now: now) }
            return true
        }
        guard decide(outcome, upstream, client, now: now) else {
            // Envoy drops a bad answer that it may not retry while others are awaited.
            guard tries[client].rules.isFailure(outcome), hasOthers(upstream, client) else {
                return false
            }
            release(upstream, client, bytes, now: now) { stand(client, now: now) }
            return true
        }
        let advised = advisedWait(client, bytes, now: now)
        let wait =
            advised ?? tries[client].rules.backoff.wait(before: retries(of: client), &random)
        count(
            advised == nil ? .backoffExponential : .backoffAdvised,
            Int(connections[client].exchange.cluster))
        release(upstream, client, bytes, now: now) {
            schedule(client, after: wait, now: now)
        }
        return true
    }

    /// What an answer shows of a failure.
    private func signs(_ client: Int, _ bytes: Bytes) -> AnswerSigns {
        var signs = AnswerSigns(status: head.status)
        let on = tries[client].rules.on
        // Nothing that is read below could make a failure of it.
        guard head.status >= 400 || !on.isDisjoint(with: .anyStatus) else { return signs }
        let asksGRPC = !on.isDisjoint(with: .grpc)
        for i in 0..<head.fieldCount {
            let field = head.fields[i]
            switch field.name {
            case .envoy:
                if bytes[field.nameRange].equalsIgnoringCase("x-envoy-ratelimited") {
                    signs.isRateLimited = true
                }
            case .other where asksGRPC && field.nameLength == 11:
                if bytes[field.nameRange].equalsIgnoringCase("grpc-status") {
                    signs.grpcStatus = WaitAdvice.decimal(bytes[field.valueRange], digits: 3) ?? -1
                }
            default: break
            }
        }
        if on.contains(.headers) { signs.hasHeader = hasRetriableHeader(client, bytes) }
        return signs
    }

    private func hasRetriableHeader(_ client: Int, _ bytes: Bytes) -> Bool {
        if hasFieldNamed(by: client, bytes) { return true }
        let place = Int(tries[client].rules.place)
        guard plans.retries.indices.contains(place) else { return false }
        for (name, value) in plans.retries[place].headers {
            for i in 0..<head.fieldCount
            where name.withBytes({ isNamed(head.fields[i], $0, bytes) }) {
                guard let value else { return true }
                if value.withBytes({ $0 == bytes[head.fields[i].valueRange] }) { return true }
            }
        }
        return false
    }

    /// How many fields of answers a client may name: each is looked for among all that come.
    private static let namesMost = 16

    /// Whether the answer has a field that the client's `x-envoy-retriable-header-names` names. The
    /// names are read where they are kept; a request that is kept no longer is not sent again.
    private func hasFieldNamed(by client: Int, _ bytes: Bytes) -> Bool {
        let named = tries[client].rules.named.range
        guard !named.isEmpty, connections[client].hasReceived else { return false }
        var left = Self.namesMost
        var isFound = false
        Self.eachWord(headBytes(client)[named]) { name in
            guard left > 0, !isFound else { return }
            left -= 1
            for i in 0..<head.fieldCount where isNamed(head.fields[i], name, bytes) {
                isFound = true
            }
        }
        return isFound
    }

    private func isNamed(_ field: Field, _ name: Bytes, _ bytes: Bytes) -> Bool {
        guard field.nameLength == name.count else { return false }
        let own = bytes[field.nameRange]
        for i in 0..<name.count where asciiLowercase(own[i]) != asciiLowercase(name[i]) {
            return false
        }
        return true
    }

    /// How long the answer says to wait; nil: it says nothing.
    private func advisedWait(_ client: Int, _ bytes: Bytes, now: Instant) -> Duration? {
        let place = Int(tries[client].rules.place)
        guard plans.retries.indices.contains(place) else { return nil }
        let plan = plans.retries[place]
        let wall = wallOffset.map { (now.nanoseconds + $0) / 1_000_000_000 }
        for (name, format) in plan.waits {
            for i in 0..<head.fieldCount
            where name.withBytes({ isNamed(head.fields[i], $0, bytes) }) {
                let advice = WaitAdvice.wait(
                    bytes[head.fields[i].valueRange], format, wallSeconds: wall,
                    most: plan.policy.waitMost)
                if let advice { return WaitAdvice.jittered(advice, &random) }
            }
        }
        return nil
    }

    /// Has done with an attempt whose answer is not wanted: its connection goes on where all of the
    /// answer is here, and is closed elsewhere.
    /// - Parameter then: what the client does next.
    private func release(
        _ upstream: Int, _ client: Int, _ bytes: Bytes, now: Instant, then: () -> Void
    ) {
        let requestComplete = connections[client].body.isComplete
        part(upstream, client, .answered, now: now)
        var isWhole = false
        if connections[upstream].isStream {
            isWhole = connections[upstream].inputEnded
        } else {
            var length = head.length
            switch head.framing {
            case .none: isWhole = true
            case .length(let count):
                isWhole = count <= bytes.count - length
                if isWhole { length += count }
            case .chunked, .untilClose: break
            }
            if isWhole {
                connections[upstream].keepAlive = head.keepAlive
                consumeInput(upstream, length)
            }
        }
        then()
        if isWhole {
            releaseUpstream(upstream, requestComplete: requestComplete, now: now)
        } else {
            closeUpstream(upstream, reset: true, now: now)
        }
    }

    // MARK: Settling

    /// This attempt's answer is the one: the others are given up, and the request is kept no
    /// longer. Its head is in `self.head`: nobody else goes on before it is written.
    /// - Returns: whether others were given up, whose places are free.
    func settle(_ upstream: Int, _ client: Int, now: Instant) -> Bool {
        guard connections[client].exchange.hasPolicy else { return false }
        let hasOthers = hasOthers(upstream, client)
        connections[client].exchange.hasPolicy = false
        giveRetry(client)
        connections[client].exchange.wakes = .zero
        if connections[client].peer != upstream {
            unlinkRival(upstream, client)
            if let loser = connections[client].peer { dismiss(loser, client, now: now) }
            connections[client].peerPlusOne = Int32(upstream + 1)
            connections[client].exchange.endpoint = connections[upstream].endpoint
        }
        dismissRivals(client, now: now)
        dropReceived(client)
        return hasOthers
    }

    /// Gives up an attempt that another has come before. Who waits for its connection is served
    /// when the answer's head is written.
    private func dismiss(_ upstream: Int, _ client: Int, now: Instant) {
        count(policy: .hedgesLost, of: client)
        connections[client].peerPlusOne = 0
        let result: AttemptResult = connections[upstream].isOverdue ? .timedOut : .cancelled
        endAttempt(upstream, result, now: now)
        connections[upstream].peerPlusOne = 0
        closeUpstream(upstream, reset: true, servesPending: false, now: now)
    }

    /// Gives up all attempts beside the client's peer.
    func dismissRivals(_ client: Int, now: Instant) {
        guard tries[client].rivals > 0 else { return }
        let peer = connections[client].peerPlusOne
        while let rival = popRival(client) { dismiss(rival, client, now: now) }
        connections[client].peerPlusOne = peer
    }

    // MARK: Hedging

    /// The time of the client's attempt is over.
    func attemptOverdue(_ client: Int, now: Instant) {
        guard let upstream = connections[client].peer else { return }
        count(.perTryTimeouts, .perTryTimeouts, Int(connections[client].exchange.cluster))
        guard tries[client].rules.hedges else {
            connections[client].exchange.decision = .perTryTimeout
            return attemptFailed(
                upstream, .timeout, status: Int(connections[client].exchange.timeoutStatus),
                flag: .UT, detail: .perTryTimeout, now: now)
        }
        connections[upstream].isOverdue = true
        // Envoy: whatever the policy's conditions, as nothing has failed.
        connections[upstream].wasRetried = mayHedge(client, now: now)
        if connections[upstream].wasRetried {
            let wait = tries[client].rules.backoff.wait(before: retries(of: client), &random)
            connections[client].exchange.wakes = now + wait
        }
        arm(client)
    }

    private func mayHedge(_ client: Int, now: Instant) -> Bool {
        let exchange = connections[client].exchange
        let cluster = Int(exchange.cluster)
        guard connections[client].hasReceived, connections[client].body.isComplete,
            exchange.idempotent || tries[client].rules.includesUnsafe
        else { return false }
        guard tries[client].left > 0 else {
            count(.retryLimitExceeded, .retryLimitExceeded, cluster)
            connections[client].exchange.noted.insert(.URX)
            return false
        }
        if let denial = takeRetry(client, now: now) {
            count(.retryOverflow, .retryOverflow, cluster)
            connections[client].exchange.noted.insert(.UO)
            connections[client].exchange.decision = denial
            return false
        }
        noteRetry(client, isSure: false)
        connections[client].exchange.followsTimeout = true
        return true
    }

    /// A retry that was not counted as it was decided on is made.
    func countDecided(_ client: Int) {
        guard connections[client].exchange.isUncounted else { return }
        connections[client].exchange.isUncounted = false
        count(.retries, .retries, Int(connections[client].exchange.cluster))
    }

    /// The hedge that was decided on cannot be sent: all is as if it had been denied.
    private func forgoHedge(_ client: Int, now: Instant) {
        let place = Int(tries[client].rules.place)
        if plans.budgets.indices.contains(place) { plans.budgets[place]?.giveBack(now: now) }
        forgoRetry(client)
        connections[client].exchange.isUncounted = false
        connections[client].exchange.retried -= 1
        tries[client].left += 1
        arm(client)
    }

    /// Sends the request once more beside the attempt that has overrun its time, if it can be at
    /// once.
    func hedge(_ client: Int, now: Instant) {
        connections[client].exchange.wakes = .zero
        let cluster = Int(connections[client].exchange.cluster)
        let bytes = headBytes(client)
        guard let first = connections[client].peer, cluster >= 0, connections[client].hasReceived,
            upstreams.clusters[cluster].isHTTP2 == connections[client].exchange.goesAsStream,
            head.parseRequest(bytes) == .complete
        else { return forgoHedge(client, now: now) }
        guard passesHedgeFaults(client, bytes, now: now) else { return }
        pushRival(first, client)
        connections[client].peerPlusOne = 0
        connections[client].exchange.isAgain = true
        connections[client].exchange.hasWaited = false
        let placement = place(client, bytes, cluster: cluster, mayWait: false, now: now)
        if case .sent = placement {
            count(policy: .hedges, of: client)
            return
        }
        connections[client].exchange.isAgain = false
        _ = popRival(client)
        connections[client].peerPlusOne = Int32(first + 1)
        // It has had no other: what it comes to may be tried again.
        connections[first].wasRetried = false
        forgoHedge(client, now: now)
    }

    // MARK: Rivals

    /// Whether the request has other attempts than this, or is to have one.
    func hasOthers(_ upstream: Int, _ client: Int) -> Bool {
        guard connections[client].exchange.hasPolicy else { return false }
        return connections[client].peer != upstream || tries[client].rivals > 0
            || connections[client].exchange.wakes > .zero
    }

    private func pushRival(_ upstream: Int, _ client: Int) {
        connections[upstream].next = tries[client].rivals - 1
        tries[client].rivals = Int32(upstream + 1)
    }

    /// The rival that began last; nil: there is none.
    func popRival(_ client: Int) -> Int? {
        guard connections[client].exchange.hasPolicy || tries[client].rivals > 0 else { return nil }
        let first = Int(tries[client].rivals) - 1
        guard first >= 0 else { return nil }
        tries[client].rivals = connections[first].next + 1
        connections[first].next = -1
        return first
    }

    func unlinkRival(_ upstream: Int, _ client: Int) {
        var rest: Int32 = 0
        // Bound: a request has no more attempts than its policy lets it.
        while let rival = popRival(client) {
            guard rival != upstream else { break }
            connections[rival].next = rest - 1
            rest = Int32(rival + 1)
        }
        while rest > 0 {
            let rival = Int(rest - 1)
            rest = connections[rival].next + 1
            pushRival(rival, client)
        }
    }
}
