import Base
import Glibc
import Stats
import Testing

// Tables: the sums of the textbook in exact rational arithmetic (Python's fractions).

@Suite struct QueueingTests {
    @Test(
        arguments: [
            (0, 1, 1.0), (1, 1, 0.5), (10, 5, 0.018384570336648132), (10, 20, 0.5379631686320729),
            (100, 90, 0.026957380464359214), (1000, 1000, 0.02481191764616041), (5, 0, 0),
        ] as [(Int, Double, Double)])
    func erlangB(servers: Int, load: Double, expected: Double) {
        #expect(
            close(Queueing.erlangB(servers: servers, load: load), expected, within: 1e-12))
    }

    @Test(
        arguments: [
            (1, 0.5, 0.5), (2, 1, 0.3333333333333333), (10, 8, 0.40918015079644354),
            (100, 95, 0.5064568539130206), (3, 3, 1), (3, 5, 1),
        ] as [(Int, Double, Double)])
    func erlangC(servers: Int, load: Double, expected: Double) {
        #expect(
            close(Queueing.erlangC(servers: servers, load: load), expected, within: 1e-12))
    }

    @Test(
        arguments: [
            (1, 1, 0.5, 0.3333333333333333), (1, 5, 0.5, 0.015873015873015872),
            (1, 5, 2, 0.5079365079365079), (2, 4, 3, 0.39901477832512317),
            (10, 30, 9, 0.008772084480501999), (10, 30, 20, 0.5000000336496098),
            (50, 60, 40, 0.0018813438542838478), (0, 0, 1, 1),
        ] as [(Int, Int, Double, Double)])
    func blocking(servers: Int, capacity: Int, load: Double, expected: Double) {
        let share = Queueing.blocking(servers: servers, capacity: capacity, load: load)
        #expect(close(share, expected, within: 1e-12))
    }

    /// Far beyond where factorials and powers leave the range of `Double`.
    @Test func largeSystemsStayFinite() {
        let share = Queueing.blocking(servers: 100_000, capacity: 200_000, load: 110_000)
        #expect(close(share, 1 - 100_000.0 / 110_000, within: 1e-6))
    }

    /// A simulated queue: the oracle that shares no formula with the code.
    @Test func aSimulatedQueueRefusesAsMuch() {
        var random = SeededRandom(seed: 11)
        func exponential(_ mean: Double) -> Double { -mean * log(1 - random.unit()) }
        let (servers, capacity, load) = (3, 5, 3.5)
        var busyUntil: [Double] = []
        var freeAt = [Double](repeating: 0, count: servers)
        var now = 0.0
        var refused = 0
        let arrivals = 200_000
        for _ in 0..<arrivals {
            now += exponential(1 / load)
            busyUntil.removeAll { $0 <= now }
            if busyUntil.count == capacity {
                refused += 1
                continue
            }
            let next = freeAt.indices.min { freeAt[$0] < freeAt[$1] } ?? 0
            freeAt[next] = max(now, freeAt[next]) + exponential(1)
            busyUntil.append(freeAt[next])
        }
        let expected = Queueing.blocking(servers: servers, capacity: capacity, load: load)
        #expect(abs(Double(refused) / Double(arrivals) - expected) < 0.006)
    }
}

@Suite struct TokenBucketTests {
    @Test(
        arguments: [
            // (burst, rate, offered, seconds, admitted)
            (10, 5, 100, 10, 60), (10, 100, 50, 10, 500), (1, 0, 100, 10, 1), (100, 50, 60, 4, 240),
            (100, 50, 60, 20, 1100),
        ] as [(Int, Int, Int64, Int64, Double)])
    func admitted(burst: Int, rate: Int, offered: Int64, seconds: Int64, expected: Double) {
        let bucket = TokenBucket(burst: burst, tokens: rate)
        #expect(
            bucket.admitted(offered: Double(offered), time: .seconds(seconds)) == expected)
        let arrivals = (0..<offered * seconds).map {
            Duration.nanoseconds($0 * 1_000_000_000 / offered)
        }
        #expect(abs(Double(bucket.admitted(arrivals: arrivals)) - expected) <= 1)
    }

    /// A token falls due at the very instant of each arrival: in floating point some come too late.
    @Test func aTokenThatIsDueIsThere() {
        let bucket = TokenBucket(burst: 1, tokens: 1, per: .milliseconds(100))
        let arrivals = (0..<1_000_000).map { Duration.milliseconds(100 * $0) }
        #expect(bucket.admitted(arrivals: arrivals) == 1_000_000)
        let early = arrivals.map { $0 == .zero ? $0 : $0 - .nanoseconds(1) }
        #expect(bucket.admitted(arrivals: early.prefix(2)) == 1)
    }

    @Test func aBucketFilledInStepsAdmitsAllItHeldAndAllSteps() {
        let slow = TokenBucket(burst: 10, tokens: 5, per: .milliseconds(100))
        #expect(slow.saturated(time: .milliseconds(1050)) == 60)
        // Exactly ten steps, which 1.0 / 0.1 need not be.
        #expect(slow.saturated(time: .seconds(1)) == 60)
        #expect(slow.saturated(time: .milliseconds(999)) == 55)
        let large = TokenBucket(burst: 10, tokens: 50)
        #expect(large.saturated(time: .milliseconds(3500)) == 40)
    }
}
