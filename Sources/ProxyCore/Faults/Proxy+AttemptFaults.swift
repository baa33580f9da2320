// Faults as attempts meet them: each draws for itself, is held back first, and what it is aborted
// with is an answer to the retry policy, as if an upstream had given it. An attempt that is aborted
// counts as one; no endpoint has seen it, and none is judged by it. The same holds of one that
// hedges: what it is aborted with is the answer if it is a good one, else the others are waited
// for.
//
//     attempt ─▶ faults ─▶ place ─▶ …
//        ▲         │ held back, or aborted and sent again after its backoff
//        └─────── wait

import Base
import Fault
import Model
import Wire

extension Proxy {
    /// Whether the next attempt of the request in hand is made; else it has been answered, or
    /// waits.
    func passesAttemptFaults(_ slot: Int, _ bytes: Bytes, now: Instant) -> Bool {
        guard !faults.attempts.isEmpty else { return true }
        let delay = meetAttemptFaults(slot, bytes, now: now)
        if delay > .zero {
            holdAttempt(slot, until: now + delay, now: now)
            return false
        }
        guard let abort = abort(of: slot, bytes, now: now) else { return true }
        endAborted(slot, abort, now: now)
        return false
    }

    /// Draws what the next attempt meets, once.
    /// - Returns: how long it is held back.
    private func meetAttemptFaults(_ slot: Int, _ bytes: Bytes, now: Instant) -> Duration {
        let number = Int(connections[slot].exchange.attempts) + 1
        guard Int(connections[slot].exchange.fault.met) < number else { return .zero }
        let delay = decide(slot, bytes, faults.attempts, attempt: number, now: now)
        connections[slot].exchange.fault.met = UInt16(clamping: number)
        return delay
    }

    /// Whether the attempt that is to begin beside the client's others is made; else it waits, or a
    /// fault has answered it.
    func passesHedgeFaults(_ client: Int, _ bytes: Bytes, now: Instant) -> Bool {
        guard !faults.attempts.isEmpty else { return true }
        let delay = meetAttemptFaults(client, bytes, now: now)
        if delay > .zero {
            connections[client].exchange.wakes = now + delay
            arm(client)
            return false
        }
        guard let abort = abort(of: client, bytes, now: now) else { return true }
        if connections[client].exchange.attempts < .max {
            connections[client].exchange.attempts += 1
        }
        count(policy: .hedges, of: client)
        countDecided(client)
        let outcome = AttemptOutcome.answer(signs(of: abort, client))
        guard tries[client].rules.isFailure(outcome) else {
            giveRetry(client)
            endByFault(client, abort, now: now)
            return false
        }
        if decide(outcome, -1, client, isHere: true, now: now) {
            let wait = tries[client].rules.backoff.wait(before: retries(of: client), &random)
            connections[client].exchange.wakes = now + wait
        } else {
            forgoRetry(client)
        }
        arm(client)
        return false
    }

    /// A fault has answered an attempt: it is followed by another, or that is the answer.
    private func endAborted(_ slot: Int, _ abort: FaultEffect.Abort, now: Instant) {
        if connections[slot].exchange.attempts < .max { connections[slot].exchange.attempts += 1 }
        countDecided(slot)
        if connections[slot].exchange.hasPolicy,
            decide(.answer(signs(of: abort, slot)), -1, slot, isHere: true, now: now)
        {
            let wait = tries[slot].rules.backoff.wait(before: retries(of: slot), &random)
            return holdAttempt(slot, until: now + wait, now: now)
        }
        giveRetry(slot)
        let cluster = Int(connections[slot].exchange.cluster)
        replyFault(slot, abort, now: now)
        if cluster >= 0 { serveNextPending(cluster, now: now) }
    }

    private func signs(of abort: FaultEffect.Abort, _ slot: Int) -> AnswerSigns {
        switch abort {
        case .none: preconditionFailure("an abort that is none")
        case .http(let status): AnswerSigns(status: Int(status))
        case .grpc(let status):
            AnswerSigns(
                status: 200,
                grpcStatus: connections[slot].exchange.isGRPC ? Int(status) : -1)
        }
    }

    /// Has the request in hand wait for its next attempt.
    private func holdAttempt(_ slot: Int, until end: Instant, now: Instant) {
        connections[slot].stage = .waiting
        // Until the body is there too the timeout counts from its first attempt.
        if connections[slot].exchange.requestEnded == .zero {
            connections[slot].exchange.requestEnded = now
        }
        connections[slot].exchange.fault.holdsAttempt = true
        connections[slot].exchange.wakes = end
        deadlines.clear(slot)
        arm(slot)
    }

    /// The wait for an attempt is over, or the request's time is.
    func resumeAttempt(_ slot: Int, now: Instant) {
        connections[slot].exchange.fault.holdsAttempt = false
        connections[slot].exchange.wakes = .zero
        connections[slot].stage = .awaitingRequest
        connections[slot].since = now
        // It is the one in hand again, also to be answered here: that uses up its head.
        let bytes = headBytes(slot)
        guard head.parseRequest(bytes) == .complete else {
            preconditionFailure("a head that was complete no longer is")
        }
        if let decision = overdue(slot, now: now) {
            return timeOut(slot, decision, now: now)
        }
        // What it is to be sent again of is kept; else its head stands where it came.
        guard !connections[slot].exchange.isAgain else { return sendAgain(slot, now: now) }
        let cluster = Int(connections[slot].exchange.cluster)
        // The configuration has changed: its route may be another, or gone.
        guard !connections[slot].isRerouted, cluster >= 0 else {
            connections[slot].isRerouted = true
            return dispatch(slot, bytes, now: now)
        }
        attempt(slot, bytes, cluster: cluster, now: now)
    }
}
