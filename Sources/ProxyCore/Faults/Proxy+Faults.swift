// Faults as requests meet them: held back first, then aborted, else passed on with an answer that
// comes only so fast. Before retries, no retry sees it (`passesFaults`); for each attempt, retries
// see what is made of it as an answer (`passesAttemptFaults`).

import Base
public import Fault
import Model
import Wire

extension Proxy {
    /// Has requests meet these faults from now on. Those that are held back already go on when
    /// their time has come; none is aborted by a fault that is gone.
    public func adopt(faults held: [HeldFault]) {
        heldFaults = held
        faults = FaultFilter(held, configuration)
    }

    /// Whether the request in hand goes on; else it has been answered, or waits.
    func passesFaults(_ slot: Int, _ bytes: Bytes, now: Instant) -> Bool {
        // One that is routed anew while its attempt was held back is past these: what is in store
        // for it is that attempt's, and for retries to see.
        guard !faults.requests.isEmpty, connections[slot].exchange.fault.met == 0 else {
            return true
        }
        if meets(.faults, slot) {
            let delay = decide(slot, bytes, faults.requests, attempt: meetsAt(bytes), now: now)
            if delay > .zero {
                if connections[slot].exchange.fault.isHeldByFields { heldByFields += 1 }
                hold(slot, until: now + delay, now: now)
                return false
            }
        }
        guard let abort = abort(of: slot, bytes, now: now) else {
            connections[slot].exchange.fault.base = connections[slot].exchange.fault.rate
            return true
        }
        replyFault(slot, abort, now: now)
        return false
    }

    /// Draws what is to be done to the request in hand, and notes it in its exchange.
    /// - Returns: how long it is held back.
    func decide(
        _ slot: Int, _ bytes: Bytes, _ entries: [FaultFilter.Entry], attempt: Int, now: Instant
    ) -> Duration {
        let id = requestID(bytes)
        // One without an identifier is drawn for by chance alone.
        let hash = id.count > 0 ? fnv1a(id) : random.next()
        let cluster = connections[slot].exchange.cluster
        let listener = connections[slot].listener
        let fields = faults.trustsFields ? faultFields(bytes) : FaultFields()
        var whole = FaultEffect()
        let before = connections[slot].exchange.fault
        var state = ExchangeFault()
        state.met = before.met
        state.base = before.base
        state.attempt = UInt16(clamping: attempt)
        for entry in entries where entry.fault.holds(at: now) {
            guard faults.means(entry, head, bytes, listener: listener, cluster: cluster) else {
                continue
            }
            let isFirst = entry.fault.rule.point == .clientEgress
            var effect = entry.fault.decide(
                FaultRequest(hash: hash, attempt: isFirst ? 1 : attempt), fields)
            if effect.delay > .zero, entry.fault.rule.trustsHeaders {
                if heldByFields < connections.count / Self.heldShare {
                    state.isHeldByFields = true
                } else {
                    count(policy: .faultsOverflow, of: slot)
                    effect.delay = .zero
                }
            }
            guard !effect.isNone else { continue }
            if effect.abort != .none, whole.abort == .none { state.aborter = entry.fault.serial }
            if effect.rate > 0, whole.rate == 0 || effect.rate < whole.rate {
                state.throttler = entry.fault.serial
            }
            whole.add(effect)
            if effect.delay > .zero {
                note(
                    .delayed(effect.delay), of: entry.fault, slot, id, attempt: attempt, now: now)
            }
        }
        state.abort = whole.abort
        state.rate = whole.rate
        // An answer that comes only so fast already may come slower, not faster.
        if before.base > 0, whole.rate == 0 || before.base <= whole.rate {
            state.rate = before.base
            state.throttler = before.throttler
        }
        state.isDelayed = before.isDelayed || whole.delay > .zero
        connections[slot].exchange.fault = state
        return whole.delay
    }

    /// Of a worker's connections and streams so many may be held back by fields of their own
    /// requests: each takes a buffer for as long as it says.
    ///
    /// Source: Envoy, fault filter, `max_active_faults`.
    private static var heldShare: Int { 8 }

    /// The request is held back no longer, or has ended.
    func endHold(_ slot: Int) {
        guard connections[slot].exchange.fault.isHeldByFields else { return }
        connections[slot].exchange.fault.isHeldByFields = false
        heldByFields -= 1
    }

    /// How the request in hand is answered, now that it is not held back any more; nil: it is let
    /// pass.
    func abort(of slot: Int, _ bytes: Bytes, now: Instant) -> FaultEffect.Abort? {
        let state = connections[slot].exchange.fault
        connections[slot].exchange.fault.aborter = 0
        if let fault = holder(state.aborter, now) {
            let id = requestID(bytes)
            note(
                .aborted(state.abort), of: fault, slot, id, attempt: Int(state.attempt), now: now)
            connections[slot].exchange.fault.rate = state.base
            return state.abort
        }
        noteThrottle(slot, bytes, now: now)
        return nil
    }

    /// The request in hand goes on: its answer will come only so fast, if a fault wants it so.
    private func noteThrottle(_ slot: Int, _ bytes: Bytes, now: Instant) {
        let state = connections[slot].exchange.fault
        guard state.throttler > 0 else { return }
        connections[slot].exchange.fault.throttler = 0
        guard let fault = holder(state.throttler, now) else {
            connections[slot].exchange.fault.rate = state.base
            return
        }
        let id = requestID(bytes)
        note(.throttled(state.rate), of: fault, slot, id, attempt: Int(state.attempt), now: now)
    }

    /// The fault of that serial, if it still holds.
    private func holder(_ serial: UInt32, _ now: Instant) -> HeldFault? {
        guard serial > 0 else { return nil }
        return heldFaults.first { $0.serial == serial && $0.holds(at: now) }
    }

    /// Answers the request in hand as a fault will have it.
    func replyFault(_ slot: Int, _ abort: FaultEffect.Abort, now: Instant) {
        withAnswer(of: abort) { status in
            reply(slot, status: status, flag: .FI, detail: .faultAbort, now: now)
        }
    }

    /// The same of one whose attempts are under way, which are given up.
    func endByFault(_ slot: Int, _ abort: FaultEffect.Abort, now: Instant) {
        dismissRivals(slot, now: now)
        // Before the answer is chosen: others may be served now, or refused.
        if let upstream = connections[slot].peer {
            endAttempt(upstream, .cancelled, now: now)
            discardUpstream(upstream, now: now)
        }
        withAnswer(of: abort) { status in
            self.abort(slot, status: status, flag: .FI, detail: .faultAbort, now: now)
        }
    }

    private func withAnswer(of abort: FaultEffect.Abort, _ answer: (Int) -> Void) {
        switch abort {
        case .none: preconditionFailure("an abort that is none")
        case .http(let status): answer(Int(status))
        case .grpc(let status):
            // To whoever makes no call it is an answer like any other, as Envoy's.
            forcedCall = GRPCStatus(rawValue: UInt8(status))
            answer(200)
            forcedCall = nil
        }
    }

    // MARK: What a request says

    /// Which attempt it is, as the client's proxy has counted; 1: it does not say.
    private func meetsAt(_ bytes: Bytes) -> Int {
        for i in 0..<head.fieldCount where head.fields[i].name == .envoy {
            let name = bytes[head.fields[i].nameRange]
            guard name.count == 21, name.equalsIgnoringCase("x-envoy-attempt-count") else {
                continue
            }
            let value = bytes[head.fields[i].valueRange]
            guard (1...4).contains(value.count) else { return 1 }
            var count = 0
            for i in 0..<value.count {
                let digit = value[i] &- UInt8(ascii: "0")
                guard digit < 10 else { return 1 }
                count = count * 10 + Int(digit)
            }
            return max(1, count)
        }
        return 1
    }

    /// Empty: it has none.
    func requestID(_ bytes: Bytes) -> Bytes {
        for i in 0..<head.fieldCount where head.fields[i].name == .requestID {
            return bytes[head.fields[i].valueRange]
        }
        return Bytes("")
    }

    private func faultFields(_ bytes: Bytes) -> FaultFields {
        var fields = FaultFields()
        for i in 0..<head.fieldCount where head.fields[i].name == .envoy {
            fields.take(bytes[head.fields[i].nameRange], bytes[head.fields[i].valueRange])
        }
        return fields
    }

    // MARK: The ledger

    /// Counts what was done to the request, and writes it down.
    private func note(
        _ deed: FaultDeed, of fault: HeldFault, _ slot: Int, _ id: Bytes, attempt: Int,
        now: Instant
    ) {
        fault.count(deed)
        switch deed {
        case .delayed: count(policy: .faultDelays, of: slot)
        case .aborted: count(policy: .faultAborts, of: slot)
        case .throttled: count(policy: .faultThrottles, of: slot)
        case .hung: break
        }
        guard ledger.enabled else { return }
        let wall = now.nanoseconds + (wallOffset ?? 0)
        let isWritten = unsafe withUnsafeTemporaryAllocation(
            byteCount: HeldFault.lineBytes, alignment: 1
        ) { memory in
            var out = unsafe ByteWriter(memory)
            fault.write(deed, wall: wall, id: id, attempt: attempt, to: &out)
            precondition(!out.overflowed, "a line outgrew its bound")
            return unsafe ledger.append(
                Bytes(UnsafeRawBufferPointer(rebasing: memory[..<out.count])))
        }
        counters.add(isWritten ? .ledgerLines : .ledgerDropped)
    }
}
