import Base
import Stats
import Testing

@Suite struct BootstrapTests {
    private let cpu = [12.1, 9.8, 15.2, 11.4, 10.9, 30.3, 12.7, 9.9, 14.0, 11.1]
    private let requests = [100.0, 101, 99, 100, 98, 102, 100, 99, 101, 100]

    /// The ends of scipy.stats.bootstrap (1.17.1) with 200 000 resamples; ours has 20 000.
    @Test func ratioOfSums() throws {
        let bootstrap = Bootstrap.ratioOfSums(
            cpu, requests, resamples: 20_000, random: SeededRandom(seed: 1))
        #expect(close(bootstrap.estimate, 0.1374, within: 1e-12))
        let percentile = try #require(bootstrap.percentileInterval())
        #expect(close(percentile.low, 0.11155778894472362, within: 0.01))
        #expect(close(percentile.high, 0.17694610778443115, within: 0.01))
        let bca = try #require(bootstrap.bcaInterval())
        #expect(close(bca.low, 0.11534603811434305, within: 0.01))
        #expect(close(bca.high, 0.20029735660417097, within: 0.015))
    }

    @Test func median() throws {
        let bootstrap = Bootstrap.median(of: cpu, random: SeededRandom(seed: 2))
        #expect(close(bootstrap.estimate, 11.75, within: 1e-12))
        #expect(bootstrap.replicates.count == 10_000)
        // scipy.stats.bootstrap, 200 000 resamples: 10.5 to 14.0. Of the values that a median can
        // take, the next ones to these are 10.4 and 10.9, 13.95 and 14.6.
        let interval = try #require(bootstrap.percentileInterval())
        #expect(interval.low >= 10.4 && interval.low <= 10.9)
        #expect(interval.high >= 13.35 && interval.high <= 14.6)
    }

    @Test(arguments: 1...12)
    func theMedianIsThatOfTheSortedValues(count: Int) {
        var random = SeededRandom(seed: UInt64(count))
        let values = (0..<count).map { _ in Double(random.below(9)) }
        func plain(_ values: [Double]) -> Double {
            let sorted = values.sorted()
            return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
        }
        let seed = SeededRandom(seed: 3)
        let fast = Bootstrap.median(of: values, resamples: 200, random: seed)
        #expect(fast.estimate == plain(values))
        // Over the sorted values, as the fast one draws ranks.
        let sorted = values.sorted()
        let slow = Bootstrap(count: count, resamples: 200, random: seed) { indices in
            plain(indices.map { sorted[$0] })
        }
        #expect(fast.replicates == slow.replicates)
        #expect(fast.jackknife == slow.jackknife)
    }

    /// Without one of the units the statistic is infinite: the acceleration is then no number, and
    /// neither are the corrected ends.
    @Test func anInfiniteJackknifeLeavesThePercentiles() throws {
        let bootstrap = Bootstrap(count: 5, resamples: 1000, random: SeededRandom(seed: 6)) {
            $0.count < 5 ? .infinity : Double($0.reduce(0, +))
        }
        let interval = try #require(bootstrap.bcaInterval())
        #expect(interval == bootstrap.percentileInterval())
    }

    @Test func pairedDifferences() throws {
        let mesh = [5.0, 6, 7, 8, 9, 10]
        let direct = [1.0, 2, 3, 4, 5, 6]
        let bootstrap = Bootstrap.medianDifference(mesh, direct, random: SeededRandom(seed: 4))
        #expect(bootstrap.estimate == 4)
        #expect(bootstrap.percentileInterval() == Interval(low: 4, high: 4))
        #expect(bootstrap.bcaInterval() == Interval(low: 4, high: 4))
    }

    @Test func theSameSeedGivesTheSameInterval() {
        func interval(_ seed: UInt64) -> Interval? {
            Bootstrap.ratioOfSums(cpu, requests, random: SeededRandom(seed: seed)).bcaInterval()
        }
        #expect(interval(5) == interval(5))
        #expect(interval(5) != interval(6))
    }

    @Test func tooFewUnitsOrNoNumberGiveNoInterval() {
        let random = SeededRandom(seed: 7)
        #expect(Bootstrap.median(of: [], random: random).estimate.isNaN)
        #expect(Bootstrap.median(of: [], random: random).percentileInterval() == nil)
        #expect(Bootstrap.median(of: [3], random: random).estimate == 3)
        #expect(Bootstrap.median(of: [3], random: random).percentileInterval() == nil)
        let undefined = Bootstrap.ratioOfSums([1, 0], [1, 0], random: random)
        #expect(undefined.estimate == 1)
        #expect(undefined.percentileInterval() == nil)
        #expect(undefined.bcaInterval() == nil)
    }

    /// Of 300 experiments whose true ratio is known, about 95 % of intervals must hold it. 20
    /// rounds of noise: the bootstrap is known to fall a little short.
    @Test func theIntervalHoldsTheTruth() {
        var random = SeededRandom(seed: 8)
        var held = 0
        let experiments = 300
        for experiment in 0..<experiments {
            var above: [Double] = []
            var below: [Double] = []
            for _ in 0..<20 {
                let weight = 50 + 100 * random.unit()
                below.append(weight)
                above.append(0.2 * weight * (1 + 0.4 * (random.unit() - 0.5)))
            }
            let interval = Bootstrap.ratioOfSums(
                above, below, resamples: 1000, random: random.split(experiment)
            ).bcaInterval()
            if interval?.contains(0.2) == true { held += 1 }
        }
        #expect(Double(held) / Double(experiments) > 0.89)
        #expect(Double(held) / Double(experiments) < 0.99)
    }
}

/// Percentiles that are farther out where units are few.
@Suite struct ExpandedIntervalTests {
    /// How many of 500 intervals of six units hold their mean.
    private func held(_ interval: (Bootstrap) -> Interval?) -> Int {
        var random = SeededRandom(seed: 9)
        return (0..<500).count { experiment in
            // The sum of twelve is all but normal.
            let units = (0..<6).map { _ in (0..<12).reduce(-6.0) { sum, _ in sum + random.unit() } }
            let bootstrap = Bootstrap(
                count: units.count, resamples: 1000, random: random.split(experiment)
            ) { $0.reduce(0) { $0 + units[$1] } / 6 }
            return interval(bootstrap)?.contains(0) == true
        }
    }

    /// 93 % by simulation, and 86 % without; of 500 so many may be 3 % more or less.
    @Test func sixUnitsHoldTheTruth() {
        #expect((450...480).contains(held { $0.expandedInterval() }))
        #expect(held { $0.percentileInterval() } < 450)
    }

    /// Student's t with 4 degrees of freedom is above 2.7764 with 2.5 %, times √(5/4) 3.1042: the
    /// normal distribution is below the opposite with 0.0954 %.
    @Test func theyAreThoseOfStudentsT() throws {
        let random = SeededRandom(seed: 10)
        let bootstrap = Bootstrap(count: 5, resamples: 20_000, random: random) {
            $0.reduce(0.0) { $0 * 5 + Double($1) }
        }
        let interval = try #require(bootstrap.expandedInterval())
        #expect(interval.low == bootstrap.replicates[Int(20_001 * 0.000954) - 1])
        let many = Bootstrap(count: 5000, resamples: 100, random: random) { Double($0[0]) }
        #expect(many.expandedInterval() == many.percentileInterval())
        let two = Bootstrap.median(of: [1, 5], random: random)
        #expect(two.expandedInterval() == Interval(low: 1, high: 5))
        #expect(Bootstrap.median(of: [1], random: random).expandedInterval() == nil)
    }
}

@Suite struct LineFitTests {
    @Test func aLineThroughItsOwnPoints() throws {
        let round = [1000.0, 2000, 5000].map { LineFit.Point(x: $0, y: 0.25 + 3e-5 * $0) }
        let fit = try #require(
            LineFit(rounds: [round, round, round], random: SeededRandom(seed: 1)))
        #expect(close(fit.intercept, 0.25, within: 1e-9))
        #expect(close(fit.slope, 3e-5, within: 1e-9))
        let slope = try #require(fit.slopeInterval)
        #expect(close(slope.low, 3e-5, within: 1e-9))
        #expect(close(slope.high, 3e-5, within: 1e-9))
        #expect(fit.interceptInterval != nil)
    }

    /// numpy.polyfit(x, y, 1) of the pooled points.
    @Test func leastSquares() throws {
        let x = [1.0, 2, 3, 4, 5, 6, 7, 8]
        let y = [3.0, 4.5, 7, 8.5, 11, 12, 14.5, 16]
        let points = zip(x, y).map { LineFit.Point(x: $0, y: $1) }
        let fit = try #require(
            LineFit(
                rounds: [Array(points[..<4]), Array(points[4...])], random: SeededRandom(seed: 2)))
        #expect(close(fit.slope, 1.8869047619047619, within: 1e-12))
        #expect(close(fit.intercept, 1.0714285714285714, within: 1e-12))
        let interval = try #require(fit.slopeInterval)
        #expect(interval.contains(fit.slope))
        #expect(interval.low < interval.high)
    }

    @Test func noLineWithoutTwoRates() {
        let random = SeededRandom(seed: 3)
        let point = LineFit.Point(x: 1e6, y: 1)
        #expect(LineFit(rounds: [], random: random) == nil)
        #expect(LineFit(rounds: [[point], [point]], random: random) == nil)
        let other = LineFit.Point(x: 2e6, y: 2)
        let single = LineFit(rounds: [[point, other]], random: random)
        #expect(single?.slope == 1e-6)
        #expect(single?.slopeInterval == nil)
        // A resample of one point only leaves no line, and so no interval.
        #expect(LineFit(rounds: [[point], [other]], random: random)?.slopeInterval == nil)
    }
}
