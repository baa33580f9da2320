import Base
import Stats
import Testing

@Suite struct UniformSumTests {
    @Test func oneAndTwoByHand() {
        let one = UniformSum([100])
        #expect(one.cumulative(-1) == 0 && one.cumulative(101) == 1)
        #expect(abs(one.cumulative(25) - 0.25) < 1e-12)
        #expect(abs(one.quantile(0.9) - 90) < 1e-9)
        // A triangle on its side: the corner that is cut off has x² / (2·w·w) of the whole.
        let two = UniformSum([100, 300])
        #expect(abs(two.cumulative(60) - 60.0 * 60 / 60_000) < 1e-12)
        #expect(abs(two.cumulative(200) - 0.5) < 1e-12)
        // Irwin and Hall: six widths of 1 stay below 1 in one of 720 cases.
        #expect(abs(UniformSum([1, 1, 1, 1, 1, 1]).cumulative(1) - 1.0 / 720) < 1e-12)
    }

    @Test(
        arguments: [
            [25, 75, 175, 250], [100, 300, 700, 1000], [1, 1, 1, 1, 1, 1, 1, 1],
            [5, 500, 500, 500],
            [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023],
        ] as [[Double]])
    func asDrawsHaveIt(widths: [Double]) {
        let sum = UniformSum(widths)
        var random = SeededRandom(seed: 11)
        let draws = (0..<40_000).map { _ in widths.reduce(0) { $0 + $1 * random.unit() } }
        for share in [0.01, 0.1, 0.5, 0.9, 0.99] {
            let quantile = sum.quantile(share)
            #expect(abs(sum.cumulative(quantile) - share) < 1e-6)
            let below = Double(draws.count { $0 <= quantile }) / Double(draws.count)
            // Five standard deviations.
            let reach = 5 * (share * (1 - share) / Double(draws.count)).squareRoot()
            #expect(abs(below - share) < reach, "\(below) of \(share)")
        }
        #expect(sum.quantile(0) == 0 && sum.quantile(1) == sum.most)
    }

    /// The waits of a policy, and where the median of a sample of them lies.
    @Test func aSamplesQuantileLiesWhereItIsSaidTo() throws {
        let prediction = RetryTheory.backoff(
            retries: 4, quantile: 0.5, base: 25, most: 250)
        #expect(abs(prediction.value - 262.5) < 1e-6, "half of 25 + 75 + 175 + 250, by symmetry")
        let interval = try #require(prediction.interval(samples: 500, confidence: 0.99))
        var random = SeededRandom(seed: 5)
        var outside = 0
        for _ in 0..<400 {
            let draws = (0..<500).map { _ in
                [25.0, 75, 175, 250].reduce(0) { $0 + $1 * random.unit() }
            }.sorted()
            if draws[249] < interval.low || draws[249] > interval.high { outside += 1 }
        }
        // One in a hundred: 4, and of 12 and more hardly ever.
        #expect(outside < 12, "\(outside) of 400 outside")
        #expect(outside > 0)
        #expect(prediction.interval(samples: 0, confidence: 0.99) == nil)
    }
}
