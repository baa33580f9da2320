// What a request meets on its way to an upstream, in an order that no configuration changes
// (docs/PROXY.md, "The order of filters"):
//
//     limits of the listener ─▶ authorization ─▶ route chosen ─▶ limits of the route
//       ─▶ limits of all proxies: of the listener, of the route
//       ─▶ faults ─▶ redirect or answer from here
//       ─▶ breaker, endpoint, retries
//
// A filter lets the request go on, answers it, or has it wait. One that waits keeps its head where
// it stands, and its connection's timer; it goes on behind the filter that had it wait. Each
// filter is met once: not again after the wait, and not when a new configuration routes the request
// anew meanwhile.
//
// To add one: a case in `FilterSet`, and a function `passes…(slot, bytes, now:) -> Bool` that
// begins with `guard meets(.…, slot) else { return true }`, and returns false where it has answered
// (`reply`) or has the request wait (`hold`).

import Base
import Model
import Wire

/// Filters: those that a request has met, and those that its route has.
struct FilterSet: OptionSet, BitwiseCopyable {
    var rawValue: UInt8

    static let listenerLimits = FilterSet(rawValue: 1 << 0)
    static let routeLimits = FilterSet(rawValue: 1 << 1)
    static let listenerQuestion = FilterSet(rawValue: 1 << 2)
    static let faults = FilterSet(rawValue: 1 << 3)
    static let routeQuestion = FilterSet(rawValue: 1 << 4)
    /// Answering, redirecting, and rewriting paths, which may become too long.
    static let action = FilterSet(rawValue: 1 << 5)
    /// Changes to the heads of requests or answers.
    static let edits = FilterSet(rawValue: 1 << 6)
    /// Not refused by anybody: its mirrors have begun.
    static let mirrors = FilterSet(rawValue: 1 << 7)
}

extension Proxy {
    /// The request in hand has its route: takes it through the filters that are left.
    /// - Parameter bytes: its head, which is parsed.
    func goOn(_ slot: Int, _ bytes: Bytes, now: Instant) {
        guard passesRouteLimits(slot, bytes, now: now), passesGlobalLimits(slot, bytes, now: now),
            passesFaults(slot, bytes, now: now), passesAction(slot, bytes, now: now)
        else { return }
        let cluster = connections[slot].exchange.cluster
        guard cluster >= 0 else {
            return reply(slot, status: 503, flag: .NC, detail: .clusterNotFound, now: now)
        }
        noteWish(slot, bytes, Int(cluster))
        forward(slot, bytes, cluster: Int(cluster), now: now)
    }

    /// Whether the request in hand meets this filter for the first time. From here on it has.
    @inline(__always)
    func meets(_ filter: FilterSet, _ slot: Int) -> Bool {
        connections[slot].exchange.passed.insert(filter).inserted
    }

    // MARK: Waiting

    /// Has the request in hand wait before it goes on, if `resume` is not called earlier. Its
    /// head stays where it is, its body is not read, and the time that it has for its answer has
    /// not begun.
    /// - Precondition: it has its stage `awaitingRequest`, as it has within a filter.
    func hold(_ slot: Int, until end: Instant, now: Instant) {
        precondition(connections[slot].stage == .awaitingRequest, "it is beyond the filters")
        connections[slot].stage = .waiting
        connections[slot].exchange.wakes = end
        deadlines.clear(slot)
        arm(slot)
    }

    /// A request has waited long enough: it meets the filters that are left.
    func resume(_ slot: Int, now: Instant) {
        let bytes = endWait(slot, now: now)
        // The configuration has changed: its route may be another, or gone.
        if connections[slot].isRerouted { return dispatch(slot, bytes, now: now) }
        goOn(slot, bytes, now: now)
    }

    /// The timer of a request that waits has gone off.
    func wake(_ slot: Int, now: Instant) {
        if connections[slot].exchange.fault.holdsAttempt { return resumeAttempt(slot, now: now) }
        if connections[slot].exchange.isAgain { return endBackoff(slot, now: now) }
        if questionOverdue(slot, now: now) { return }
        let isOver = streamDeadline(slot) <= now
        guard connections[slot].exchange.deadline <= now || isOver else {
            return resume(slot, now: now)
        }
        _ = endWait(slot, now: now)
        guard !isOver else { return endStream(slot, now: now) }
        noteTimeout(slot, .grpcTimeout)
        reply(
            slot, status: Int(connections[slot].exchange.timeoutStatus), flag: .UT,
            detail: .grpcDeadline, now: now)
    }

    /// Makes a request that waits the one in hand again.
    /// - Returns: its head, which is parsed.
    func endWait(_ slot: Int, now: Instant) -> Bytes {
        precondition(connections[slot].stage == .waiting, "it does not wait")
        connections[slot].stage = .awaitingRequest
        connections[slot].since = now
        endHold(slot)
        let bytes = headBytes(slot)
        guard head.parseRequest(bytes) == .complete else {
            preconditionFailure("a head that was complete no longer is")
        }
        return bytes
    }
}
