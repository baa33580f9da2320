import Base
import Model
import Support
import Synchronization
import Testing

@testable import ProxyCore

@Suite struct TokenBucketTests {
    /// A bucket as one would write it down: tokens as fractions of a common part, and a clock.
    private struct Model {
        let burst: Int
        let fill: Int
        let interval: Int
        /// In tokens times microseconds.
        var level: Int
        var last = 0

        init(_ burst: Int, _ fill: Int, _ interval: Int) {
            (self.burst, self.fill, self.interval) = (burst, fill, interval)
            level = burst * interval
        }

        mutating func take(_ now: Int) -> Bool {
            level = min(burst * interval, level + (now - last) * fill)
            last = now
            guard level >= interval else { return false }
            level -= interval
            return true
        }
    }

    private static func instant(_ microseconds: Int) -> Instant {
        Instant(nanoseconds: Int64(microseconds) * 1000)
    }

    /// All small buckets, against all sequences of steps of time.
    @Test func smallBucketsAreExact() {
        for burst in 1...3 {
            for fill in 1...3 {
                for interval in 1...4 {
                    for steps in 0..<1024 {
                        let word = Atomic<Int64>(TokenBucket.fresh)
                        let rate = TokenRate(
                            burst: burst, fill: fill,
                            interval: .microseconds(Int64(interval)))
                        var model = Model(burst, fill, interval)
                        var now = 7
                        model.last = now
                        for i in 0..<5 {
                            now += steps >> (2 * i) & 3
                            let draw = TokenBucket.take(word, rate, now: Self.instant(now))
                            let taken = model.take(now)
                            guard draw.isTaken == taken else {
                                Issue.record("\(burst) \(fill)/\(interval) \(steps) at \(i)")
                                return
                            }
                            if taken { #expect(draw.remaining == Int64(model.level / interval)) }
                        }
                    }
                }
            }
        }
    }

    /// Row 25 of the reference: 200/s for a minute against 100 and 100/s.
    @Test func whatIsAdmittedIsTheBurstAndWhatComes() {
        let rate = TokenRate(burst: 100, fill: 100, interval: .seconds(1))
        let word = Atomic<Int64>(TokenBucket.fresh)
        var taken = 0
        for i in 0..<12_000
        where TokenBucket.take(word, rate, now: Self.instant(5_000 * i)).isTaken {
            taken += 1
        }
        #expect(taken == 6_100 - 1, "the last half token is not whole: \(taken)")
    }

    @Test func randomBucketsAreExact() {
        let budget = FuzzBudget.current(seed: 3, steps: 20_000)
        var random = SeededRandom(seed: budget.seed)
        for _ in 0..<budget.steps / 200 {
            let (burst, fill) = (1 + random.below(1000), 1 + random.below(100_000))
            let interval = 1 + random.below(5_000_000)
            let rate = TokenRate(
                burst: burst, fill: fill, interval: .microseconds(Int64(interval)))
            let word = Atomic<Int64>(TokenBucket.fresh)
            var model = Model(burst, fill, interval)
            // A machine that has been up for years.
            var now = random.below(1 << 48)
            model.last = now
            for _ in 0..<200 {
                now += random.below(2 * interval / fill + 2)
                guard
                    TokenBucket.take(word, rate, now: Self.instant(now)).isTaken == model.take(now)
                else {
                    let rerun = budget.rerun("randomBucketsAreExact")
                    Issue.record("\(burst) \(fill)/\(interval)\n\(rerun)")
                    return
                }
            }
        }
    }

    @Test func aClockThatIsBehindGainsNothing() {
        let rate = TokenRate(burst: 1, fill: 1, interval: .seconds(1))
        let word = Atomic<Int64>(TokenBucket.fresh)
        #expect(TokenBucket.take(word, rate, now: Self.instant(2_000_000)).isTaken)
        #expect(!TokenBucket.take(word, rate, now: Self.instant(1_000_000)).isTaken)
        #expect(!TokenBucket.take(word, rate, now: Self.instant(2_999_999)).isTaken)
        let draw = TokenBucket.take(word, rate, now: Self.instant(2_500_000))
        #expect(draw == TokenDraw(isTaken: false, remaining: 0, wait: 1))
        #expect(TokenBucket.take(word, rate, now: Self.instant(3_000_000)).isTaken)
    }

    /// The finest parts go round in five hours: who comes back at any time finds a bucket that was
    /// never less full than at first.
    @Test func timeThatGoesRoundEmptiesNothing() {
        let rate = TokenRate(burst: 1000, fill: 999_999_999, interval: .seconds(1))
        #expect(rate.parts == 999_999_999)
        for minutes in stride(from: 0, to: 700, by: 7) {
            let word = Atomic<Int64>(TokenBucket.fresh)
            for _ in 0..<10 { _ = TokenBucket.take(word, rate, now: Self.instant(1)) }
            let draw = TokenBucket.take(word, rate, now: Self.instant(1 + minutes * 60_000_000))
            #expect(draw.isTaken, "after \(minutes) minutes")
        }
    }

    @Test func keysHaveBucketsOfTheirOwnUpToABound() {
        let rate = TokenRate(burst: 1, fill: 1, interval: .seconds(1))
        let buckets = TokenBuckets(rate, isKeyed: true)
        let now = Self.instant(1)
        let handle = buckets.handle
        func key(_ i: Int) -> UInt64 { mix(UInt64(i)) | 2 }
        var taken = 0
        for i in 0..<10_000 where handle.take(key: key(i), now: now).isTaken { taken += 1 }
        // Those that found no place share one bucket, which had one token.
        #expect(taken == buckets.keyCount + 1)
        #expect(buckets.keyCount <= TokenBuckets.most && buckets.keyCount > 900)
        #expect(!handle.take(key: key(0), now: now).isTaken)
        // Buckets that have filled up again go to others.
        let later = Self.instant(1_000_001)
        #expect((10_000..<10_100).allSatisfy { handle.take(key: key($0), now: later).isTaken })
        #expect(buckets.keyCount <= TokenBuckets.most)
    }

    /// Threads take no more together than there is.
    @Test func threadsShareABucketExactly() async {
        let buckets = TokenBuckets(
            TokenRate(burst: 1000, fill: 1, interval: .seconds(1)), isKeyed: false)
        let taken = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    (0..<1000).count { _ in buckets.handle.take(now: Self.instant(5)).isTaken }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(taken == 1000)
    }
}
