// Rate limits as requests meet them.

import Base
import Model
import Wire

/// What a client is told of a limit.
struct LimitNote: BitwiseCopyable {
    /// 0: nothing.
    var burst: UInt32 = 0
    var remaining: UInt32 = 0
    /// Whole seconds until there is a token, or a new window.
    var reset: UInt32 = 0
    /// Seconds of a window; 0: there is none.
    var window: UInt32 = 0

    /// Bytes that its lines take at most.
    static let growth = 128

    /// Lines of an answer's head; none where it tells nothing.
    ///
    /// Source: draft-polli-ratelimit-headers-03, as Envoy's `enable_x_ratelimit_headers` has it.
    /// Limits by windows also say how long those are.
    func write(to out: inout ByteWriter) {
        guard burst > 0 else { return }
        out.append("x-ratelimit-limit: ")
        writeLimit(to: &out)
        out.append("\r\nx-ratelimit-remaining: ")
        out.append(decimal: UInt64(remaining))
        out.append("\r\nx-ratelimit-reset: ")
        out.append(decimal: UInt64(reset))
        out.append("\r\n")
    }

    private func writeLimit(to out: inout ByteWriter) {
        out.append(decimal: UInt64(burst))
        guard window > 0 else { return }
        out.append(", ")
        out.append(decimal: UInt64(burst))
        out.append(";w=")
        out.append(decimal: UInt64(window))
    }

    func list(to fields: FieldList) {
        guard burst > 0 else { return }
        fields.add("x-ratelimit-limit") { writeLimit(to: &$0) }
        fields.add("x-ratelimit-remaining", decimal: Int(remaining))
        fields.add("x-ratelimit-reset", decimal: Int(reset))
    }
}

extension Proxy {
    /// Whether the request in hand goes on; else it has been answered.
    @inline(__always)
    func passesListenerLimits(_ slot: Int, _ bytes: Bytes, now: Instant) -> Bool {
        guard limits.hasListenerLimits, meets(.listenerLimits, slot), !isUnlimited(slot) else {
            return true
        }
        let range = limits.limits(ofListener: Int(connections[slot].listener))
        return passes(range, slot, bytes, now: now)
    }

    /// Whether the request in hand goes on; else it has been answered.
    @inline(__always)
    func passesRouteLimits(_ slot: Int, _ bytes: Bytes, now: Instant) -> Bool {
        guard connections[slot].exchange.filters.contains(.routeLimits),
            meets(.routeLimits, slot)
        else { return true }
        let range = limits.limits(ofRoute: connections[slot].exchange.route)
        return passes(range, slot, bytes, now: now)
    }

    private func passes(
        _ range: Range<Int>, _ slot: Int, _ bytes: Bytes, now: Instant
    ) -> Bool {
        for place in range where !passes(place, slot, bytes, now: now) { return false }
        return true
    }

    private func passes(_ place: Int, _ slot: Int, _ bytes: Bytes, now: Instant) -> Bool {
        guard draws(limits.all[place].enabled) else { return true }
        let identity = limits.all[place].isByIdentity ? identityKey(slot) : nil
        guard let draw = limits.take(place, head, bytes, identity: identity, now: now) else {
            return true
        }
        count(limit: .limitsEnabled, .limitsEnabled, of: slot)
        if limits.all[place].tells { note(told(place, draw), slot) }
        guard !draw.isTaken else {
            counters.add(.limitsOK)
            return true
        }
        return passesWithout(draw, place, slot, now: now)
    }

    /// Counts what a limit has done also for whose it is: a listener's is met before there is a
    /// route.
    private func count(limit policy: PolicyCount, _ listener: ListenerCount, of slot: Int) {
        count(policy: policy, of: slot)
        if connections[slot].exchange.route < 0 { count(listener, listenerOf: slot) }
    }

    private func told(_ place: Int, _ draw: TokenDraw) -> LimitNote {
        LimitNote(
            burst: limits.all[place].burst, remaining: UInt32(clamping: draw.remaining),
            reset: UInt32(clamping: draw.wait))
    }

    /// Whether a request goes on for which there was no token; else it has been answered.
    private func passesWithout(
        _ draw: TokenDraw, _ place: Int, _ slot: Int, now: Instant
    ) -> Bool {
        count(limit: .limitsExceeded, .limitsExceeded, of: slot)
        guard draws(limits.all[place].enforced) else { return true }
        count(limit: .limitsEnforced, .limitsEnforced, of: slot)
        var out = unsafe ByteWriter(replyFields.memory)
        out.append("x-envoy-ratelimited: true\r\n")
        if limits.all[place].tells {
            // Of the limit that turns it away, whatever others would say.
            told(place, draw).write(to: &out)
            out.append("retry-after: ")
            out.append(decimal: UInt64(draw.wait))
            out.append("\r\n")
        }
        var parts = ReplyParts()
        parts.fields = replyFields.bytes(0..<out.count)
        reply(
            slot, status: 429, flag: .RL, detail: .rateLimitedLocally, parts: parts, now: now)
        return false
    }

    /// True of so many percent.
    private func draws(_ percent: Double) -> Bool {
        percent >= 100 || percent > 0 && random.unit() * 100 < percent
    }

    /// Of several limits the one that leaves the least is told; of two that leave the same, the one
    /// that does so for longer.
    func note(_ limit: LimitNote, _ slot: Int) {
        let old = connections[slot].exchange.limit
        guard
            old.burst == 0 || limit.remaining < old.remaining
                || limit.remaining == old.remaining && limit.reset > old.reset
        else { return }
        connections[slot].exchange.limit = limit
    }

    /// Whether no limit of its listener means a client's requests, as it asks how the service is.
    func isUnlimited(_ slot: Int) -> Bool {
        let owner = connections[slot].isStream ? Int(connections[slot].carrier) : slot
        guard connections[owner].isSecured, let identity = agreements[owner]?.identity else {
            return false
        }
        return limits.exempts(identity, atListener: Int(connections[slot].listener))
    }

    /// A number that stands for whom the client's certificate names; nil: nobody.
    private func identityKey(_ slot: Int) -> UInt64? { withIdentity(of: slot, LocalLimits.key) }

    /// Calls `body` with whom the client's certificate names; nil: nobody.
    func withIdentity<R>(of slot: Int, _ body: (Bytes) -> R) -> R? {
        let owner = connections[slot].isStream ? Int(connections[slot].carrier) : slot
        guard connections[owner].isSecured, let identity = agreements[owner]?.identity else {
            return nil
        }
        return unsafe identity.rawValue.utf8.withContiguousStorageIfAvailable {
            unsafe body(Bytes(UnsafeRawBufferPointer($0)))
        }
    }
}
