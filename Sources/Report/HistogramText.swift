public import Stats

/// The percentile distribution of a histogram as text, `.hgrm`: what HdrHistogram's plotter and
/// wrk2's readers take.
public enum HistogramText {
    /// The distribution as HdrHistogram prints it, line for line.
    ///
    /// Source: HdrHistogram 2.1, `outputPercentileDistribution`.
    /// - Parameters:
    ///   - scale: what one unit of the printed values is: 1e6 prints milliseconds.
    ///   - ticksPerHalfDistance: lines for each halving of the distance to 1.
    /// - Precondition: `scale` > 0 and `ticksPerHalfDistance` > 0.
    public static func percentiles(
        of histogram: Histogram, scale: Double = 1, ticksPerHalfDistance: Int = 5
    ) -> String {
        precondition(scale > 0, "scale \(scale)")
        var text = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n"
        for point in histogram.percentiles(ticksPerHalfDistance: ticksPerHalfDistance) {
            text += fixedDecimal(Double(point.value) / scale, decimals: 3, width: 12)
            text += " " + fixedDecimal(point.level, decimals: 12, width: 2)
            text += " " + padded("\(point.countToValue)", width: 10)
            if point.level < 1 {
                text += " " + fixedDecimal(1 / (1 - point.level), decimals: 2, width: 14)
            }
            text += "\n"
        }
        func figure(_ value: Double) -> String {
            fixedDecimal(value / scale, decimals: 3, width: 12)
        }
        let deviation = figure(histogram.standardDeviation)
        let total = padded("\(histogram.count)", width: 12)
        let buckets = padded("\(Histogram.Scale.buckets)", width: 12)
        let subBuckets = padded("\(Histogram.Scale.subBuckets)", width: 12)
        text += "#[Mean    = \(figure(histogram.mean)), StdDeviation   = \(deviation)]\n"
        text += "#[Max     = \(figure(Double(histogram.max))), Total count    = \(total)]\n"
        text += "#[Buckets = \(buckets), SubBuckets     = \(subBuckets)]\n"
        return text
    }

    private static func padded(_ text: String, width: Int) -> String {
        String(repeating: " ", count: max(width - text.utf8.count, 0)) + text
    }
}
