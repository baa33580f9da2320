public import Base
import Glibc
public import Model

/// Draws delays from a distribution given by percentiles, by inverting its distribution function: a
/// uniform number is looked up between the points, straight on a logarithmic scale of duration
/// (linear from a point at zero), flat outside them.
public struct DelaySampler: ~Copyable {
    private struct Segment: BitwiseCopyable {
        var start = 0.0
        var end = 1.0
        /// In nanoseconds.
        var low = 0.0
        var high = 0.0
        /// ln(high / low), 0 where the segment is linear.
        var logarithm = 0.0
    }

    private let segments: Slab<Segment>
    /// Set where there is but one delay, so that nothing is drawn.
    private let fixed: Duration?

    /// - Precondition: quantiles rise within 0...1 and delays do not fall.
    public init(_ distribution: DelayDistribution) {
        let points = distribution.points
        for (a, b) in zip(points, points.dropFirst()) {
            precondition(a.quantile < b.quantile && a.delay <= b.delay, "points out of order")
        }
        precondition(points.allSatisfy { (0...1).contains($0.quantile) }, "quantile outside 0...1")
        fixed = points.count < 2 ? points.first?.delay ?? .zero : nil
        segments = Slab(count: max(points.count - 1, 0), repeating: Segment())
        for (index, (a, b)) in zip(points, points.dropFirst()).enumerated() {
            let low = Double(a.delay.nanoseconds)
            let high = Double(b.delay.nanoseconds)
            segments[index] = Segment(
                start: a.quantile, end: b.quantile, low: low, high: high,
                logarithm: low > 0 ? log(high / low) : 0)
        }
    }

    deinit { segments.deallocate() }

    /// The delay at `quantile`, 0 to 1.
    public func delay(at quantile: Double) -> Duration {
        if let fixed { return fixed }
        var index = 0
        while index < segments.count - 1, quantile > segments[index].end { index += 1 }
        let segment = segments[index]
        let share = (quantile - segment.start) / (segment.end - segment.start)
        if share <= 0 { return Duration(nanoseconds: Int64(segment.low)) }
        if share >= 1 { return Duration(nanoseconds: Int64(segment.high)) }
        let value =
            segment.low > 0
            ? segment.low * exp(share * segment.logarithm) : segment.high * share
        return Duration(nanoseconds: Int64(value.rounded()))
    }

    /// Draws a delay. Draws no number where there is but one.
    public func next(_ random: inout SeededRandom) -> Duration {
        fixed ?? delay(at: random.unit())
    }
}
