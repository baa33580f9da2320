// Limits on what is open or in flight to a cluster, for each priority by itself.
//
//     connections   those open or being opened, of the priority that uses them, or used them last
//     pending       requests that wait: in the queue, or for their connection to be opened
//     requests      attempts on a connection, also on one that is being opened; never queued for
//     retries       retries from the decision on, with their backoff, to the head of their answer
//
// A worker counts for itself. Where the limits are strict, all workers count in one place besides,
// and a limit holds for all of them to the request: a place is taken by an atomic exchange or not
// at all. Else each worker has the limits for itself, and an endpoint without any connection may
// always have one, so that nothing waits for a connection that nobody would open (as in Envoy).

import Base
import Model
import Synchronization

/// What is limited.
enum Resource: Int, BitwiseCopyable, CaseIterable {
    case connections
    case pending
    case requests
    case retries
}

/// The counts of one cluster in one worker, and their limits.
struct Breaker: BitwiseCopyable {
    private var limits: InlineArray<8, Int32> = .init(repeating: 0)
    private var counts: InlineArray<8, Int32> = .init(repeating: 0)
    /// Of the connections those in pools, by priority.
    private var pooled: InlineArray<2, Int32> = .init(repeating: 0)
    let isStrict: Bool

    init(_ policy: BreakerPolicy) {
        isStrict = policy.isStrict
        for (place, limits) in [policy.standard, policy.high].enumerated() {
            let values = [limits.connections, limits.pending, limits.requests, limits.retries]
            for (i, value) in values.enumerated() {
                self.limits[place * 4 + i] = Int32(clamping: max(value, 0))
            }
        }
    }

    /// - Parameter priority: 0 or 1, high.
    @inline(__always)
    static func place(_ resource: Resource, _ priority: UInt8) -> Int {
        Int(priority) &* 4 &+ resource.rawValue
    }

    @inline(__always)
    func count(_ resource: Resource, _ priority: UInt8) -> Int {
        Int(counts[Self.place(resource, priority)])
    }

    @inline(__always)
    func limit(_ resource: Resource, _ priority: UInt8) -> Int {
        Int(limits[Self.place(resource, priority)])
    }

    @inline(__always)
    func hasRoom(_ resource: Resource, _ priority: UInt8) -> Bool {
        count(resource, priority) < limit(resource, priority)
    }

    /// Counts one more, or one less.
    @inline(__always)
    mutating func count(_ resource: Resource, _ priority: UInt8, by change: Int32) {
        let place = Self.place(resource, priority)
        counts[place] &+= change
        precondition(counts[place] >= 0, "a breaker gave back what nobody took")
    }

    @inline(__always)
    func pooled(_ priority: UInt8) -> Int { Int(pooled[Int(priority)]) }

    @inline(__always)
    mutating func countPooled(_ priority: UInt8, by change: Int32) {
        pooled[Int(priority)] &+= change
        precondition(pooled[Int(priority)] >= 0, "a pool lost what nobody put there")
    }
}

/// What all workers of a proxy have of one cluster together.
final class SharedBreaker: Sendable {
    private let counts: [Count] = (0..<8).map { _ in Count() }
    /// Requests in queues, by priority.
    private let queued: [Count] = (0..<2).map { _ in Count() }

    private final class Count: Sendable {
        let value = Atomic<Int>(0)
    }

    init() {}

    func count(_ resource: Resource, _ priority: UInt8) -> Int {
        counts[Breaker.place(resource, priority)].value.load(ordering: .relaxed)
    }

    /// Takes a place if there is one.
    func take(_ resource: Resource, _ priority: UInt8, limit: Int) -> Bool {
        let count = counts[Breaker.place(resource, priority)]
        var old = count.value.load(ordering: .relaxed)
        while old < limit {
            let (done, now) = count.value.weakCompareExchange(
                expected: old, desired: old + 1, ordering: .relaxed)
            if done { return true }
            old = now
        }
        return false
    }

    /// Requests of that priority in the queues of all workers.
    func waiting(_ priority: UInt8) -> Int {
        queued[Int(priority)].value.load(ordering: .relaxed)
    }

    func countWaiting(_ priority: UInt8, _ change: Int) {
        queued[Int(priority)].value.add(change, ordering: .relaxed)
    }

    /// Counts what is there, whatever the limit.
    func add(_ resource: Resource, _ priority: UInt8, _ amount: Int) {
        counts[Breaker.place(resource, priority)].value.add(amount, ordering: .relaxed)
    }

    /// Counts what a worker has now in place of what it had; nil: nothing. By the difference alone:
    /// others take places meanwhile, and none may seem free that is not.
    func replace(_ old: Breaker?, by new: Breaker?) {
        for priority in 0..<2 as Range<UInt8> {
            for resource in Resource.allCases {
                let had = old?.count(resource, priority) ?? 0
                let has = new?.count(resource, priority) ?? 0
                if has != had { add(resource, priority, has - had) }
            }
        }
    }
}
