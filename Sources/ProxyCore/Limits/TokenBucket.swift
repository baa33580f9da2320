// A token bucket in one word, so that all workers of a proxy take from it without a lock and none
// takes what another has taken. The word is the instant at which the bucket would have been empty,
// had it filled up ever since: how much is in it follows from the present one.
//
// Tokens come evenly: of 100 a second one comes each 10 ms (Envoy's `AtomicTokenBucketImpl`). Time
// is counted in such parts of a microsecond that a token is a whole number of them, so that nothing
// is ever lost to rounding.
//
// Source: ITU-T I.371, the generic cell rate algorithm in its virtual scheduling form.

import Base
import Synchronization

/// How fast buckets fill, and how much they hold.
struct TokenRate: Equatable, BitwiseCopyable, Sendable {
    /// Parts of a microsecond, and how many of them a token takes.
    let parts: Int64
    let cost: Int64
    /// Parts that fill an empty bucket.
    let capacity: Int64

    init(burst: Int, fill: Int, interval: Duration) {
        let microseconds = max(1, interval.nanoseconds / 1000)
        var (a, b) = (Int64(fill), microseconds)
        while b != 0 { (a, b) = (b, a % b) }
        parts = Int64(fill) / a
        cost = microseconds / a
        let (capacity, overflows) = cost.multipliedReportingOverflow(by: Int64(burst))
        // More cannot be counted: such a bucket holds less than it is said to.
        self.capacity = overflows ? Self.most : min(capacity, Self.most)
    }

    private static let most: Int64 = 1 << 61

    /// An instant in parts, modulo 2^64.
    func parts(of now: Instant) -> Int64 { (now.nanoseconds / 1000) &* parts }

    /// Whole seconds, rounded up, in which so many parts pass.
    func seconds(_ count: Int64) -> Int64 {
        let microseconds = (count + parts - 1) / parts
        return (microseconds + 999_999) / 1_000_000
    }
}

/// What came of asking a bucket for a token.
struct TokenDraw: Equatable {
    var isTaken: Bool
    /// Whole tokens that are left.
    var remaining: Int64
    /// Whole seconds until there is one; 0: there is.
    var wait: Int64
}

/// Where a bucket stands, as a word that many may change at once.
enum TokenBucket {
    /// Of a bucket that nobody has asked: it is full.
    static let fresh = Int64.min

    /// Takes a token, if there is one.
    static func take(
        _ word: borrowing Atomic<Int64>, _ rate: TokenRate, now: Instant
    ) -> TokenDraw {
        let present = rate.parts(of: now)
        var old = word.load(ordering: .relaxed)
        while true {
            let level = level(old, rate, present)
            guard level >= rate.cost else {
                return TokenDraw(
                    isTaken: false, remaining: 0,
                    wait: max(1, rate.seconds(rate.cost - max(0, level))))
            }
            let left = level - rate.cost
            let (exchanged, other) = word.weakCompareExchange(
                expected: old, desired: present &- left, ordering: .relaxed)
            if exchanged {
                return TokenDraw(
                    isTaken: true, remaining: left / rate.cost,
                    wait: left >= rate.cost ? 0 : rate.seconds(rate.cost - left))
            }
            old = other
        }
    }

    /// Whether it is as full as it can be.
    static func isFull(_ word: Int64, _ rate: TokenRate, now: Instant) -> Bool {
        level(word, rate, rate.parts(of: now)) == rate.capacity
    }

    /// Microseconds by which workers' clocks differ at most: each is read once a turn. At 10⁹ parts
    /// a microsecond 64 bits go round in five hours.
    private static let slack: Int64 = 60_000_000

    /// Parts that are in it. Less than zero where another worker's clock is a little ahead.
    private static func level(_ word: Int64, _ rate: TokenRate, _ present: Int64) -> Int64 {
        guard word != fresh else { return rate.capacity }
        let passed = present &- word
        // So far behind is nobody's clock: so much time has passed that it does not fit.
        guard passed > -rate.parts * Self.slack else { return rate.capacity }
        return min(passed, rate.capacity)
    }
}

/// The buckets of one limit, of all workers: one for all, or one for each of many keys.
final class TokenBuckets: Sendable {
    /// Bound: keys that have buckets of their own at once. Buckets that are full are as good as
    /// new, and given to new keys; where all are in use, the rest share one.
    static let most = 1024

    /// What workers take from, as long as they keep this object.
    let handle: BucketHandle

    /// - Parameter isKeyed: whether there are others than the common one.
    init(_ rate: TokenRate, isKeyed: Bool) {
        handle = BucketHandle(rate, keys: isKeyed ? Self.most : 0)
    }

    deinit { handle.deallocate() }

    /// Keys that have buckets of their own.
    var keyCount: Int { handle.keyCount }
}

/// The buckets of a limit as a worker takes from them: a plain value, so that no request counts a
/// reference. Whoever keeps one keeps the `TokenBuckets` that gave it.
@safe
struct BucketHandle: BitwiseCopyable, @unchecked Sendable {
    // Safety: `words` are `size + 1` atomics and `keys` are `size`, initialized, until the
    // `TokenBuckets` goes; every place is below `size`.
    private let rate: TokenRate
    /// The common bucket, then that of each of `keys`.
    private let words: UnsafeMutablePointer<Atomic<Int64>>
    private let keys: UnsafeMutablePointer<Atomic<UInt64>>
    /// A power of two, or 0.
    private let size: Int

    /// Places that are looked at for a key.
    private static let reach = 16

    fileprivate init(_ rate: TokenRate, keys size: Int) {
        self.rate = rate
        self.size = size
        // Of cache lines of its own, so that no other limit's requests slow it down.
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: (size + 1) * MemoryLayout<Atomic<Int64>>.stride, alignment: 64)
        unsafe words = memory.bindMemory(to: Atomic<Int64>.self, capacity: size + 1)
        unsafe keys = .allocate(capacity: size)
        for i in 0...size { unsafe (words + i).initialize(to: Atomic(TokenBucket.fresh)) }
        for i in 0..<size { unsafe (keys + i).initialize(to: Atomic(0)) }
    }

    fileprivate func deallocate() {
        unsafe UnsafeMutableRawPointer(words).deallocate()
        unsafe keys.deallocate()
    }

    /// Takes a token of the one for all.
    func take(now: Instant) -> TokenDraw { unsafe TokenBucket.take(words[0], rate, now: now) }

    /// Takes a token of a key's; where keys have none, of the one for all.
    /// - Parameter key: any number but 0, which stands for the key.
    func take(key: UInt64, now: Instant) -> TokenDraw {
        guard size > 0 else { return take(now: now) }
        let start = Int(truncatingIfNeeded: key >> 32)
        var spare: (place: Int, key: UInt64)?
        for i in 0..<Self.reach {
            let place = (start + i) & (size - 1)
            let held = unsafe keys[place].load(ordering: .relaxed)
            if held == key { return take(place, now: now) }
            if spare == nil, held == 0 || isFull(place, now: now) { spare = (place, held) }
        }
        guard let spare, claim(spare.place, from: spare.key, for: key) else {
            return take(now: now)
        }
        return take(spare.place, now: now)
    }

    private func take(_ place: Int, now: Instant) -> TokenDraw {
        unsafe TokenBucket.take(words[1 + place], rate, now: now)
    }

    private func isFull(_ place: Int, now: Instant) -> Bool {
        TokenBucket.isFull(unsafe words[1 + place].load(ordering: .relaxed), rate, now: now)
    }

    /// Gives a full bucket to another key; false: somebody was faster. Who has just looked at it
    /// for the old key may still take one token, which the new key then lacks.
    private func claim(_ place: Int, from old: UInt64, for key: UInt64) -> Bool {
        let (exchanged, other) = unsafe keys[place].compareExchange(
            expected: old, desired: key, ordering: .relaxed)
        return exchanged || other == key
    }

    fileprivate var keyCount: Int {
        (0..<size).count { unsafe keys[$0].load(ordering: .relaxed) != 0 }
    }
}
