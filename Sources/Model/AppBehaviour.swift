public import Base

/// A distribution given by percentiles: the inverse distribution function through these points,
/// straight between them on a logarithmic scale of duration, flat outside them.
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

    /// In rising order of quantile, with delays that do not fall. One point: a fixed delay. None:
    /// no delay.
    public var points: [Point]

    public init(points: [Point]) { self.points = points }

    public static let none = DelayDistribution(points: [])

    public static func fixed(_ delay: Duration) -> DelayDistribution {
        .init(points: [.init(quantile: 0.5, delay: delay)])
    }
}

/// What the built-in workload answers.
public struct AppBehaviour: Codable, Equatable, Sendable {
    /// Bytes in the answer's body.
    public var size: Int
    public var delay: DelayDistribution
    /// CPU time to burn before each answer.
    public var burn: Duration
    /// The share of answers with each status other than 200; shares sum to at most 1.
    public var statuses: [StatusShare]
    /// Whether the body is sent chunked rather than sized.
    public var chunked: Bool
    /// Names of services called before answering, one after another.
    public var calls: [String]

    public struct StatusShare: Codable, Equatable, Sendable {
        public var status: Int
        /// 0 to 1.
        public var share: Double

        public init(status: Int, share: Double) {
            self.status = status
            self.share = share
        }
    }

    public init(
        size: Int = 1024, delay: DelayDistribution = .none, burn: Duration = .zero,
        statuses: [StatusShare] = [], chunked: Bool = false, calls: [String] = []
    ) {
        self.size = size
        self.delay = delay
        self.burn = burn
        self.statuses = statuses
        self.chunked = chunked
        self.calls = calls
    }
}
