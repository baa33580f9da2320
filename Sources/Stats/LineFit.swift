public import Base

/// A straight line fitted to points by least squares, with intervals over rounds: CPU against rate,
/// the intercept the idle cost and the slope the marginal one.
public struct LineFit: Equatable, Sendable {
    public struct Point: Equatable, Sendable {
        public let x: Double
        public let y: Double

        public init(x: Double, y: Double) {
            self.x = x
            self.y = y
        }
    }

    public let intercept: Double
    public let slope: Double
    /// nil where there are fewer than two rounds, or a resample of them leaves no line.
    public let interceptInterval: Interval?
    public let slopeInterval: Interval?

    /// Fits a line to the points of all rounds; nil where they have no two different x.
    ///
    /// The intervals are percentile intervals of a bootstrap that draws whole rounds: the points of
    /// one round share its disturbances.
    /// - Precondition: `confidence` is between 0 and 1, `resamples` ≥ 100.
    public init?(
        rounds: [[Point]], confidence: Double = 0.95, resamples: Int = 10_000, random: SeededRandom
    ) {
        let points = rounds.joined()
        if points.isEmpty { return nil }
        // Sums about the mean of all x: differences of squares of large numbers would cancel.
        let origin = points.reduce(0) { $0 + $1.x } / Double(points.count)
        let sums = rounds.map { Sums($0, origin: origin) }
        guard let line = sums.reduce(Sums(), +).line else { return nil }
        func interval(_ part: (Double, Double) -> Double) -> (Double, Interval?) {
            let bootstrap = Bootstrap(count: sums.count, resamples: resamples, random: random) {
                var total = Sums()
                for index in $0 { total = total + sums[index] }
                return total.line.map { part($0.intercept - $0.slope * origin, $0.slope) } ?? .nan
            }
            return (
                part(line.intercept - line.slope * origin, line.slope),
                bootstrap.expandedInterval(confidence: confidence)
            )
        }
        (intercept, interceptInterval) = interval { intercept, _ in intercept }
        (slope, slopeInterval) = interval { _, slope in slope }
    }

    /// What a least-squares line needs of points; adds up over sets of points.
    private struct Sums {
        var n = 0.0
        var x = 0.0
        var y = 0.0
        var xx = 0.0
        var xy = 0.0

        init() {}

        init(_ points: [Point], origin: Double) {
            for point in points {
                let dx = point.x - origin
                n += 1
                x += dx
                y += point.y
                xx += dx * dx
                xy += dx * point.y
            }
        }

        static func + (a: Sums, b: Sums) -> Sums {
            var sum = a
            sum.n += b.n
            sum.x += b.x
            sum.y += b.y
            sum.xx += b.xx
            sum.xy += b.xy
            return sum
        }

        var line: (intercept: Double, slope: Double)? {
            if n == 0 { return nil }
            let spread = xx - x * x / n
            // All x the same, but for rounding.
            if spread <= 1e-12 * xx { return nil }
            let slope = (xy - x * y / n) / spread
            return ((y - slope * x) / n, slope)
        }
    }
}
