public import Base

/// When an endpoint that fails is left out for a while, by what its own answers show.
///
/// Source: Envoy, `config.cluster.v3.OutlierDetection`.
public struct OutlierPolicy: Codable, Equatable, Sendable {
    /// A rule of failures in a row.
    public struct Consecutive: Codable, Equatable, Sendable {
        /// So many in a row eject, 1 or more; nil: the rule is off.
        public var count: Int?
        /// How often an ejection is really made, percent; otherwise it is only counted.
        public var enforcing: Double

        public init(_ count: Int?, enforcing: Double) {
            self.count = count
            self.enforcing = enforcing
        }
    }

    /// A rule about the rates of all endpoints in one interval.
    public struct Statistical: Codable, Equatable, Sendable {
        /// Success rate: the factor of standard deviations, 1.9. Failure percentage: percent, 85.
        public var threshold: Double
        public var enforcing: Double
        /// Endpoints with `volume` that there must be.
        public var hosts: Int
        /// Requests of an endpoint in the interval from which it counts.
        public var volume: Int

        public init(threshold: Double, enforcing: Double, hosts: Int = 5, volume: Int) {
            self.threshold = threshold
            self.enforcing = enforcing
            self.hosts = hosts
            self.volume = volume
        }
    }

    /// 5xx in a row; where local-origin errors are not told apart, those too.
    public var consecutive5xx: Consecutive
    /// 502, 503, 504 in a row.
    public var consecutiveGateway: Consecutive
    /// Failures to connect, timeouts and resets in a row; only with `splitsLocalOrigin`.
    public var consecutiveLocal: Consecutive
    /// Ejects below mean − threshold·(population standard deviation) of the endpoints' rates of
    /// success.
    public var successRate: Statistical
    /// Ejects from this percentage of failures.
    public var failurePercentage: Statistical
    public var splitsLocalOrigin: Bool
    /// From one sweep to the next: rates are judged, and ejected endpoints come back.
    public var interval: Duration
    /// Times how often in a row: how long an ejection lasts.
    public var baseEjection: Duration
    /// How long it lasts at most, jitter apart; or `baseEjection`, where that is longer.
    public var mostEjection: Duration
    /// A uniform time up to this is added to each ejection, so that not all come back at once.
    public var jitter: Duration
    /// Of the endpoints, how many percent may be ejected at once.
    public var mostPercent: Double
    /// Whether one may be ejected where `mostPercent` comes to less than one.
    public var alwaysEjectsOne: Bool
    /// Whether an active check that passes brings an endpoint back.
    public var returnsOnHealthCheck: Bool

    public init(
        consecutive5xx: Consecutive = .init(5, enforcing: 100),
        consecutiveGateway: Consecutive = .init(5, enforcing: 0),
        consecutiveLocal: Consecutive = .init(5, enforcing: 100),
        successRate: Statistical = .init(threshold: 1.9, enforcing: 100, volume: 100),
        failurePercentage: Statistical = .init(threshold: 85, enforcing: 0, volume: 50),
        splitsLocalOrigin: Bool = false, interval: Duration = .seconds(10),
        baseEjection: Duration = .seconds(30), mostEjection: Duration = .seconds(300),
        jitter: Duration = .zero, mostPercent: Double = 10, alwaysEjectsOne: Bool = false,
        returnsOnHealthCheck: Bool = true
    ) {
        self.consecutive5xx = consecutive5xx
        self.consecutiveGateway = consecutiveGateway
        self.consecutiveLocal = consecutiveLocal
        self.successRate = successRate
        self.failurePercentage = failurePercentage
        self.splitsLocalOrigin = splitsLocalOrigin
        self.interval = interval
        self.baseEjection = baseEjection
        self.mostEjection = mostEjection
        self.jitter = jitter
        self.mostPercent = mostPercent
        self.alwaysEjectsOne = alwaysEjectsOne
        self.returnsOnHealthCheck = returnsOnHealthCheck
    }

    /// The longest ejection, jitter apart.
    ///
    /// Source: Envoy, `max_ejection_time`: the greater of it and `base_ejection_time`.
    public var longestEjection: Duration { max(mostEjection, baseEjection) }
}

/// Linkerd's breaker: an endpoint that fails so often in a row gets nothing until one real request,
/// let through after a growing wait, succeeds. All endpoints may be left out at once.
///
/// Source: Linkerd, "Circuit Breaking"; linkerd2-proxy, `breaker/unified.rs`.
public struct AccrualPolicy: Codable, Equatable, Sendable {
    /// A rule about the share of successes, of late: an average whose weights fall by e in each
    /// window.
    public struct SuccessRate: Codable, Equatable, Sendable {
        /// Percent of successes below which an endpoint is left out.
        public var threshold: Double
        public var window: Duration
        /// Answers since it began, or began anew, before which it is not judged.
        public var requests: Int

        public init(
            threshold: Double = 80, window: Duration = .seconds(10), requests: Int = 5
        ) {
            self.threshold = threshold
            self.window = window
            self.requests = requests
        }
    }

    /// 5xx or failures in a row, 1 or more.
    public var failures: Int
    /// Before the first probe; doubled by each that fails.
    public var leastWait: Duration
    public var mostWait: Duration
    /// Of each wait, the share by which it may be longer, 0 to 1.
    public var jitter: Double
    /// nil: failures in a row alone shut an endpoint out.
    public var successRate: SuccessRate?

    public init(
        failures: Int = 7, leastWait: Duration = .seconds(1), mostWait: Duration = .seconds(60),
        jitter: Double = 0.5, successRate: SuccessRate? = nil
    ) {
        self.successRate = successRate
        self.failures = failures
        self.leastWait = leastWait
        self.mostWait = mostWait
        self.jitter = jitter
    }
}

/// Turns requests away at random as their success falls below a threshold, before they are sent.
///
/// Source: Envoy, "Admission control": each is rejected with the probability
/// ((n − s/threshold)/(n + 1))^(1/aggression) of n requests with s successes in the window.
public struct AdmissionPolicy: Codable, Equatable, Sendable {
    /// Percent of successes below which requests are turned away.
    public var threshold: Double
    public var window: Duration
    public var aggression: Double
    /// Percent that are turned away at most.
    public var mostRejected: Double
    /// Requests per second below which none is.
    public var leastRate: Double

    public init(
        threshold: Double = 95, window: Duration = .seconds(30), aggression: Double = 1,
        mostRejected: Double = 80, leastRate: Double = 0
    ) {
        self.threshold = threshold
        self.window = window
        self.aggression = aggression
        self.mostRejected = mostRejected
        self.leastRate = leastRate
    }
}
