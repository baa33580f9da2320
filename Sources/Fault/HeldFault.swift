// A fault that a process holds. All its workers share it: what it has done is counted in it, and
// until when it holds stands in it, so that a lease that ends is over for all of them at that very
// instant, whoever wakes up to clear it away later.

public import Base
public import Model
import Synchronization

/// One fault, ready to act.
public final class HeldFault: Sendable {
    public let rule: FaultRule
    /// Tells it from others of its name, earlier ones too.
    public let serial: UInt32
    /// Since when it is held.
    public let since: Instant
    /// Whether it ends by itself.
    public let isLease: Bool
    private let key: UInt64
    private let delay: DelayFault?
    private let abort: AbortFault?
    private let throttle: ThrottleFault?
    private let hang: HangFault?
    private let header: HeaderFault?

    /// Nanoseconds of the clock that `Instant` is of.
    private let end: Atomic<Int64>
    private let counts: Counts

    private struct Counts: ~Copyable, Sendable {
        let seen = Atomic<UInt64>(0)
        let hit = Atomic<UInt64>(0)
        let delayed = Atomic<UInt64>(0)
        let aborted = Atomic<UInt64>(0)
        let throttled = Atomic<UInt64>(0)
        let hung = Atomic<UInt64>(0)
    }

    /// - Precondition: the rule has no `problem`.
    /// - Parameter until: nil: it is no lease.
    init(_ rule: FaultRule, serial: UInt32, since: Instant, until: Instant?) {
        self.rule = rule
        self.serial = serial
        self.since = since
        isLease = until != nil
        key = FaultDraw.key(name: rule.name, seed: rule.seed)
        if let distribution = rule.delay, !distribution.isNone {
            delay = DelayFault(distribution)
        } else {
            delay = nil
        }
        abort = rule.abort.map(AbortFault.init)
        throttle = rule.responseRate.map(ThrottleFault.init)
        hang = rule.hangs ? HangFault() : nil
        header = rule.trustsHeaders ? HeaderFault(chance: rule.chance) : nil
        end = Atomic((until ?? .distantFuture).nanoseconds)
        counts = Counts()
    }

    /// When it ends by itself; `distantFuture`: it does not.
    public var until: Instant { Instant(nanoseconds: end.load(ordering: .relaxed)) }

    /// Whether it still holds.
    public func holds(at now: Instant) -> Bool { now < until }

    func renew(until: Instant) { end.store(until.nanoseconds, ordering: .relaxed) }

    /// It is over: whoever still has it at hand sees that.
    func end(at now: Instant) { renew(until: min(until, now)) }

    /// What is to be done to a request that the rule is about, as its match says.
    /// - Parameter fields: of rules that trust them; else they mean nothing.
    public func decide(_ request: FaultRequest, _ fields: FaultFields) -> FaultEffect {
        var effect = FaultEffect()
        // Of attempts that the rule is not about no share is met.
        if let most = rule.firstAttempts, request.attempt > most { return effect }
        counts.seen.add(1, ordering: .relaxed)
        let draw = FaultDraw(fault: key, request)
        if let header {
            header.act(draw, fields, on: &effect)
            if !effect.isNone { counts.hit.add(1, ordering: .relaxed) }
            return effect
        }
        guard draw.unit < rule.chance else { return effect }
        counts.hit.add(1, ordering: .relaxed)
        delay?.act(draw, on: &effect)
        abort?.act(draw, on: &effect)
        throttle?.act(draw, on: &effect)
        hang?.act(draw, on: &effect)
        return effect
    }

    // MARK: What was done

    public func noteDelayed() { counts.delayed.add(1, ordering: .relaxed) }
    public func noteAborted() { counts.aborted.add(1, ordering: .relaxed) }
    public func noteThrottled() { counts.throttled.add(1, ordering: .relaxed) }
    public func noteHung() { counts.hung.add(1, ordering: .relaxed) }

    /// - Parameter wallOffset: nanoseconds by which the time of day is ahead of `Instant`.
    public func report(wallOffset: Int64) -> FaultReport.Entry {
        FaultReport.Entry(
            name: rule.name, point: rule.point, isLease: isLease,
            sinceNs: since.nanoseconds + wallOffset,
            untilNs: isLease ? until.nanoseconds + wallOffset : nil,
            seen: counts.seen.load(ordering: .relaxed), hit: counts.hit.load(ordering: .relaxed),
            delayed: counts.delayed.load(ordering: .relaxed),
            aborted: counts.aborted.load(ordering: .relaxed),
            throttled: counts.throttled.load(ordering: .relaxed),
            hung: counts.hung.load(ordering: .relaxed))
    }
}
