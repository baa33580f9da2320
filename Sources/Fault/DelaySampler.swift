public import Base
import Glibc
public import Model

/// Draws delays from a distribution.
///
/// By percentiles: by inverting the distribution function. A uniform number is looked up between
/// the points, straight on a logarithmic scale of duration (linear from a point at zero), flat
/// outside them.
public struct DelaySampler: ~Copyable, Sendable {
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
    private let law: DelayDistribution.Law?
    /// Set where there is but one delay, so that nothing is drawn.
    private let fixed: Duration?

    /// - Precondition: the distribution has no `problem`.
    public init(_ distribution: DelayDistribution) {
        precondition(distribution.problem == nil, "a distribution with a mistake in it")
        let points = distribution.points
        law = distribution.law
        fixed = law == nil && points.count < 2 ? points.first?.delay ?? .zero : nil
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

    /// The delay at `quantile`, 0 to 1, of a distribution by percentiles.
    public func delay(at quantile: Double) -> Duration {
        if let fixed { return fixed }
        precondition(law == nil, "a quantile of a law")
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
        if let fixed { return fixed }
        guard let law else { return delay(at: random.unit()) }
        let drawn = Self.draw(law, &random)
        let most = Double(DelayDistribution.most.nanoseconds)
        return Duration(nanoseconds: Int64(min(max(drawn, 0), most).rounded()))
    }

    /// In nanoseconds; may lie below zero or beyond all bounds.
    private static func draw(
        _ law: DelayDistribution.Law, _ random: inout SeededRandom
    ) -> Double {
        // Of (0, 1], so that its logarithm is finite.
        let unit = 1 - random.unit()
        switch law {
        case .exponential(let mean): return -log(unit) * Double(mean.nanoseconds)
        case .uniform(let least, let most):
            return Double(least.nanoseconds)
                + (1 - unit) * Double(most.nanoseconds - least.nanoseconds)
        case .normal(let mean, let deviation):
            // Box and Muller, "A note on the generation of random normal deviates", 1958.
            let z = (-2 * log(unit)).squareRoot() * cos(2 * .pi * random.unit())
            return Double(mean.nanoseconds) + z * Double(deviation.nanoseconds)
        case .pareto(let least, let shape):
            return Double(least.nanoseconds) * pow(unit, -1 / shape)
        }
    }
}
