import Report
import Stats

extension RunResult.Latency {
    /// Those that are stated one by one; the curve has all others.
    private static let quantiles = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999]

    /// - Parameter isTrusted: whether the measurement is valid: without that, no percentile is
    ///   supported.
    init(_ histogram: Histogram, minTailSamples: Int, isTrusted: Bool) {
        let count = histogram.count
        guard count > 0 else {
            self.init(count: 0, minNs: 0, maxNs: 0, meanNs: 0, percentiles: [], curve: [])
            return
        }
        self.init(
            count: count, minNs: histogram.min, maxNs: histogram.max, meanNs: histogram.mean,
            percentiles: Self.quantiles.map { quantile in
                let problem = tailProblem(quantile, count: count, least: minTailSamples)
                let ends = histogram.interval(ofQuantile: quantile)
                return Percentile(
                    quantile: quantile, valueNs: Double(histogram.value(atQuantile: quantile)),
                    lowNs: ends.low.map { Double($0) }, highNs: ends.high.map { Double($0) },
                    beyond: samplesBeyond(quantile, count: count),
                    supported: isTrusted && problem == nil)
            },
            // Four points for each halving of what is left: a smooth line on a logarithmic tail
            // axis.
            curve: histogram.percentiles(ticksPerHalfDistance: 4).map {
                Point(quantile: $0.level, valueNs: Double($0.value))
            })
    }
}
