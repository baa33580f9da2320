public import Base

/// How long something takes: by percentiles, or by a law of probability.
///
/// By percentiles it is the inverse distribution function through these points, straight between
/// them on a logarithmic scale of duration, flat outside them.
public struct DelayDistribution: Codable, Equatable, Sendable {
    public struct Point: Codable, Equatable, Sendable {
        /// 0 to 1.
        public var quantile: Double
        public var delay: Duration

        public init(quantile: Double, delay: Duration) {
            self.quantile = quantile
            self.delay = delay
        }
    }

    /// A law. What it draws below zero is zero, what it draws above `most` is that.
    public enum Law: Codable, Equatable, Sendable {
        /// Service times of M/M/c.
        case exponential(mean: Duration)
        /// Between the two.
        case uniform(least: Duration, most: Duration)
        case normal(mean: Duration, deviation: Duration)
        /// Of Pareto (type I): `least`·u^(−1/shape); the mean is infinite for a shape up to 1.
        case pareto(least: Duration, shape: Double)
    }

    /// In rising order of quantile, with delays that do not fall. One point: a fixed delay. None:
    /// no delay. Empty where there is a law.
    public var points: [Point]
    /// In place of `points`.
    public var law: Law?

    /// What a delay may be at most.
    public static let most = Duration.seconds(3600)
    /// Points at most.
    public static let mostPoints = 32

    public init(points: [Point]) { self.points = points }

    public init(_ law: Law) {
        points = []
        self.law = law
    }

    public static let none = DelayDistribution(points: [])

    public static func fixed(_ delay: Duration) -> DelayDistribution {
        .init(points: [.init(quantile: 0.5, delay: delay)])
    }

    /// Whether it never delays.
    public var isNone: Bool { law == nil && points.allSatisfy { $0.delay == .zero } }

    /// What is wrong with it, for people; nil: nothing.
    public var problem: String? {
        func fits(_ delay: Duration) -> Bool { delay >= .zero && delay <= Self.most }
        switch law {
        case nil: break
        case _ where !points.isEmpty: return "either points or a law"
        case .exponential(let mean): return fits(mean) ? nil : "a mean from 0 to 1h"
        case .uniform(let least, let most):
            return fits(least) && fits(most) && least <= most
                ? nil : "a least and a most from 0 to 1h, in this order"
        case .normal(let mean, let deviation):
            return fits(mean) && fits(deviation) ? nil : "a mean and a deviation from 0 to 1h"
        case .pareto(let least, let shape):
            guard fits(least) else { return "a least from 0 to 1h" }
            return shape > 0 && shape <= 100 ? nil : "a shape above 0, up to 100"
        }
        guard points.count <= Self.mostPoints else { return "at most \(Self.mostPoints) points" }
        guard points.allSatisfy({ (0...1).contains($0.quantile) && fits($0.delay) }) else {
            return "quantiles from 0 to 1, delays from 0 to 1h"
        }
        let rises = zip(points, points.dropFirst()).allSatisfy {
            $0.quantile < $1.quantile && $0.delay <= $1.delay
        }
        return rises ? nil : "quantiles rise, and delays do not fall"
    }

    private enum CodingKeys: String, CodingKey {
        case points, law
    }

    /// Either may be absent.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        points = try fields.decodeIfPresent([Point].self, forKey: .points) ?? []
        law = try fields.decodeIfPresent(Law.self, forKey: .law)
    }
}
