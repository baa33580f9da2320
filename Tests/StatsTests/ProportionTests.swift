import Stats
import Testing

// Tables: scipy 1.17.1, norm.ppf, binomtest(k, n).proportion_ci(method = "wilson" and "exact"; for
// a billion trials beta.ppf, since the former stops at four digits there), and for ranks binom.cdf
// and binom.sf searched for the outermost ranks whose tails hold at most (1 - c) / 2.

@Suite struct ProportionTests {
    @Test(arguments: [
        (1e-300, -37.0470962993612), (1e-10, -6.361340902404056), (0.001, -3.090232306167813),
        (0.025, -1.9599639845400545), (0.05, -1.6448536269514729), (0.1, -1.2815515655446004),
        (0.5, 0.0), (0.75, 0.6744897501960817), (0.925, 1.4395314709384563),
        (0.975, 1.959963984540054), (0.9999, 3.719016485455709),
    ])
    func normalQuantiles(probability: Double, expected: Double) {
        let z = Normal.quantile(probability)
        #expect(abs(z - expected) <= 1e-14 * abs(expected))
        #expect(abs(Normal.cumulative(z) - probability) <= 1e-12 * probability)
    }

    @Test(
        arguments: [
            (0, 10, 0.95, 0.0, 0.27753279986288926, 0.0, 0.30849710781876294),
            (
                1, 10, 0.95, 0.017876213095072896, 0.4041500267952385, 0.0025285785444625728,
                0.44501611702819543
            ),
            (
                5, 10, 0.95, 0.236593090512564, 0.7634069094874361, 0.1870860284474045,
                0.8129139715525955
            ),
            (10, 10, 0.95, 0.7224672001371109, 1.0, 0.6915028921812371, 1.0),
            (
                3, 1000, 0.95, 0.0010207838811386186, 0.008783014053503173, 0.0006190999316499173,
                0.008742023238657654
            ),
            (
                500, 1000, 0.99, 0.45940700521208483, 0.5405929947879151, 0.45885255330701225,
                0.5411474466929878
            ),
            (
                999_999, 1_000_000, 0.95, 0.9999943350881957, 0.9999998234754233,
                0.9999944283693444,
                0.9999999746821948
            ),
            (
                123_456, 1_000_000, 0.9, 0.12291592764104937, 0.12399810986574684,
                0.12291521487208755, 0.1239983963793161
            ),
            (
                7, 1_000_000_000, 0.95, 3.3908638452123986e-09, 1.4450594906944499e-08,
                2.8143630560026354e-09, 1.4422675364088619e-08
            ),
        ] as [(UInt64, UInt64, Double, Double, Double, Double, Double)])
    func intervals(
        successes: UInt64, trials: UInt64, confidence: Double, wilsonLow: Double,
        wilsonHigh: Double, exactLow: Double, exactHigh: Double
    ) {
        let wilson = Proportion.wilson(
            successes: successes, trials: trials, confidence: confidence)
        let exact = Proportion.clopperPearson(
            successes: successes, trials: trials, confidence: confidence)
        #expect(close(wilson.low, wilsonLow, within: 1e-9))
        #expect(close(wilson.high, wilsonHigh, within: 1e-9))
        #expect(close(exact.low, exactLow, within: 1e-8))
        #expect(close(exact.high, exactHigh, within: 1e-8))
    }

    @Test(
        arguments: [
            (0.5, 5, 0.95, nil, nil), (0.5, 6, 0.95, 1, 6), (0.5, 10, 0.95, 2, 9),
            (0.5, 100, 0.95, 40, 61), (0.99, 200, 0.95, 195, nil), (0.99, 1000, 0.95, 983, 997),
            (0.99, 10000, 0.95, 9880, 9920), (0.999, 1000, 0.95, 997, nil),
            (0.999, 10000, 0.95, 9983, 9997), (0.9999, 10_000_000, 0.95, 9_998_938, 9_999_062),
            (0.01, 100, 0.95, nil, 4), (0.5, 1, 0.95, nil, nil), (0.9, 50, 0.99, 39, nil),
            (0.5, 1_000_000, 0.95, 499020, 500981), (0.5, 3_999_999, 0.95, 1_998_040, 2_001_960),
            // The normal approximation.
            (0.5, 4_000_001, 0.95, 1_998_041, 2_001_961),
            (0.99, 200_000_000, 0.95, 197_997_242, 198_002_758),
            (0.999, 2_000_000_000, 0.99, 1_997_996_358, 1_998_003_641),
            (0, 100, 0.95, nil, nil), (1, 100, 0.95, nil, nil), (0.5, 0, 0.95, nil, nil),
        ] as [(Double, UInt64, Double, UInt64?, UInt64?)])
    func ranks(
        quantile: Double, samples: UInt64, confidence: Double, low: UInt64?, high: UInt64?
    ) {
        let ranks = RankInterval(quantile: quantile, samples: samples, confidence: confidence)
        #expect(ranks.low == low)
        #expect(ranks.high == high)
    }

    @Test func aHistogramGivesTheValuesAtTheRanks() {
        var histogram = Histogram()
        for value in 1...1000 { histogram.record(UInt64(value)) }
        let p99 = histogram.interval(ofQuantile: 0.99)
        #expect(p99.low == 983)
        #expect(p99.high == 997)
        let p999 = histogram.interval(ofQuantile: 0.999)
        #expect(p999.low == 997)
        #expect(p999.high == nil)
        #expect(Histogram().interval(ofQuantile: 0.5).low == nil)
    }
}

/// Whether two numbers differ by at most a share of the expected one.
func close(_ value: Double, _ expected: Double, within share: Double) -> Bool {
    abs(value - expected) <= share * abs(expected)
}
