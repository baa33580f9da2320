import Base
import Glibc
import Stats
import Testing

@Suite struct PredictionTests {
    /// P(X ≤ k) of so many trials, added up term by term.
    private func cumulative(_ k: Int, _ n: Int, _ p: Double) -> Double {
        (0...k).reduce(0) { sum, j in
            let logarithm =
                lgamma(Double(n + 1)) - lgamma(Double(j + 1)) - lgamma(Double(n - j + 1))
                + Double(j) * log(p) + Double(n - j) * log(1 - p)
            return sum + exp(logarithm)
        }
    }

    /// What lies outside of the ends is no more likely than it may be, and would be with the ends
    /// themselves outside.
    @Test(
        arguments: [
            (100, 0.1, 0.99), (1000, 0.5, 0.99), (40, 0.02, 0.99), (2000, 0.973, 0.9999),
            (10_000, 0.1, 0.99), (1, 0.5, 0.99),
        ] as [(Int, Double, Double)])
    func sharesByTheBinomialDistribution(n: Int, p: Double, confidence: Double) throws {
        let prediction = Prediction(p, .share(dispersion: 1))
        let interval = try #require(
            prediction.interval(samples: UInt64(n), confidence: confidence))
        let (low, high) = (
            Int((interval.low * Double(n)).rounded()), Int((interval.high * Double(n)).rounded())
        )
        let tail = (1 - confidence) / 2
        if low > 0 { #expect(cumulative(low - 1, n, p) <= tail * (1 + 1e-9)) }
        #expect(cumulative(low, n, p) > tail)
        #expect(1 - cumulative(high, n, p) <= tail * (1 + 1e-9))
        if high > 0 { #expect(1 - cumulative(high - 1, n, p) > tail * (1 - 1e-9)) }
    }

    @Test func certaintiesAreMetExactly() {
        for share in [0.0, 1] {
            let interval = Prediction(share, .share(dispersion: 3)).interval(
                samples: 7, confidence: 0.99)
            #expect(interval == Interval(low: share, high: share))
        }
        #expect(Prediction(0.5, .share(dispersion: 1)).interval(samples: 0, confidence: 0.9) == nil)
    }

    @Test func dependentSamplesSayLess() throws {
        func reach(_ dispersion: Double, _ samples: UInt64) throws -> Double {
            let interval = try #require(
                Prediction(0.5, .share(dispersion: dispersion)).interval(
                    samples: samples, confidence: 0.99))
            return interval.high - interval.low
        }
        #expect(try reach(4, 40_000) == reach(1, 10_000))
    }

    // MARK: Queues

    /// Variance of the refused of n arrivals, over many stretches of one simulated queue.
    private func simulated(
        servers: Int, capacity: Int, load: Double, service: (inout SeededRandom) -> Double
    ) -> Double {
        var random = SeededRandom(seed: 5)
        func exponential(_ random: inout SeededRandom) -> Double { -log(1 - random.unit()) }
        var free = [Double](repeating: 0, count: servers)
        var ends: [Double] = []
        var now = 0.0
        let (stretches, length) = (500, 1000)
        var counts: [Double] = []
        for _ in 0..<stretches {
            var refused = 0
            for _ in 0..<length {
                now += exponential(&random) / load
                ends.removeAll { $0 <= now }
                guard ends.count < capacity else {
                    refused += 1
                    continue
                }
                let server = free.indices.min { free[$0] < free[$1] } ?? 0
                free[server] = max(now, free[server]) + service(&random)
                ends.append(free[server])
            }
            counts.append(Double(refused))
        }
        let mean = counts.reduce(0, +) / Double(stretches)
        let variance =
            counts.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(stretches - 1)
        let share = mean / Double(length)
        return variance / (Double(length) * share * (1 - share))
    }

    /// Good to 1/√500 · √2 = 6 %, three times of which is allowed.
    @Test(
        arguments: [(10, 10, 20.0), (10, 10, 5), (3, 5, 3.5), (4, 8, 4)]
            as [(Int, Int, Double)])
    func refusalsComeInBunches(servers: Int, capacity: Int, load: Double) {
        let expected = Queueing.dispersion(servers: servers, capacity: capacity, load: load)
        let seen = simulated(servers: servers, capacity: capacity, load: load) {
            -log(1 - $0.unit())
        }
        #expect(abs(seen / expected - 1) < 0.19, "\(seen) of \(expected)")
        #expect(expected > 1.5)
    }

    /// So an interval for exponential service is too wide for constant service, never too narrow.
    @Test(arguments: [20.0, 5])
    func constantServiceDispersesLess(load: Double) {
        let bound = Queueing.dispersion(servers: 10, capacity: 10, load: load)
        #expect(simulated(servers: 10, capacity: 10, load: load) { _ in 1 } < bound)
    }

    @Test(arguments: [(0, 0, 1.0), (1, 1, 1), (5, 5, 0), (1000, 2000, 1)] as [(Int, Int, Double)])
    func withoutAQueueThereIsNothingToBunch(servers: Int, capacity: Int, load: Double) {
        #expect(Queueing.dispersion(servers: servers, capacity: capacity, load: load) == 1)
    }

    // MARK: Retries and ejections

    /// Every sequence of failures, by its probability.
    @Test(arguments: [(0.3, 2), (0.5, 0), (0.9, 4), (1, 3), (0, 3)] as [(Double, Int)])
    func retriesByEveryCase(failure: Double, retries: Int) {
        var (success, mean, square) = (0.0, 0.0, 0.0)
        for pattern in 0..<(1 << (retries + 1)) {
            var probability = 1.0
            for attempt in 0...retries {
                probability *= pattern >> attempt & 1 == 1 ? failure : 1 - failure
            }
            // The attempt that succeeds is the first whose bit is 0.
            let first = (0...retries).first { pattern >> $0 & 1 == 0 }
            let attempts = Double((first ?? retries) + 1)
            if first != nil { success += probability }
            mean += probability * attempts
            square += probability * attempts * attempts
        }
        #expect(
            abs(RetryTheory.success(failure: failure, retries: retries).value - success) < 1e-12)
        let attempts = RetryTheory.attempts(failure: failure, retries: retries)
        #expect(abs(attempts.value - mean) < 1e-12)
        guard case .mean(let variance, 0) = attempts.spread else {
            Issue.record("\(attempts)")
            return
        }
        #expect(abs(variance - (square - mean * mean)) < 1e-9)
    }

    /// Table 2 of the reference: ejected at 0, 30, 90 and 180 s, 4 cycles of 5.
    @Test(
        arguments: [
            (300, 10, 20.0, 20.0), (180, 0, 15, 15), (181, 0, 20, 20), (35, 10, 5, 10),
            (1, 10, 5, 5), (3000, 0, 75, 75),
        ] as [(Int64, Int64, Double, Double)])
    func ejectionsGrowLonger(seconds: Int64, sweep: Int64, least: Double, most: Double) {
        let theory = EjectionTheory(threshold: 5, sweep: .seconds(sweep))
        let prediction = theory.errors(in: .seconds(seconds))
        #expect(prediction.spread == .range(Interval(low: least, high: most)))
        let three = EjectionTheory(threshold: 5, proxies: 3, sweep: .seconds(sweep))
        #expect(three.errors(in: .seconds(seconds)).value == 3 * prediction.value)
    }

    /// Against the bucket itself, request by request.
    @Test(arguments: [false, true], [(200.0, 100, 100), (50, 10, 5), (300, 299, 2)])
    func bucketsRefuseWhatTheyMust(isPoisson: Bool, bucket: (Double, Int, Int)) throws {
        let (rate, fill, burst) = bucket
        let theory = TokenBucket(burst: burst, tokens: fill)
        var random = SeededRandom(seed: 3)
        var outside = 0
        let runs = 200
        for _ in 0..<runs {
            var arrivals: [Duration] = []
            var now = 0.0
            while true {
                now += isPoisson ? -log(1 - random.unit()) / rate : 1 / rate
                guard now < 20 else { break }
                arrivals.append(.fractionalSeconds(now))
            }
            let refused = 1 - Double(theory.admitted(arrivals: arrivals)) / Double(arrivals.count)
            let interval = try #require(
                theory.refusedShare(
                    offered: rate, time: .seconds(20), isPoisson: isPoisson, isStepped: false
                ).interval(samples: UInt64(arrivals.count), confidence: 0.99))
            if !interval.contains(refused) { outside += 1 }
        }
        // A bucket that is nearly never empty is not what the formula is for.
        if isPoisson && Double(fill) > 0.9 * rate {
            #expect(outside > 0)
        } else {
            #expect(outside <= (isPoisson ? 10 : 0), "\(outside) of \(runs)")
        }
    }
}
