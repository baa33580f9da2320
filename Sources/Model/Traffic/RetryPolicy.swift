public import Base

/// When a failed request is sent again, and how often. A cluster's or a route's; nil in their
/// place: never.
///
/// The words and, where nothing else is said, the defaults are Envoy's.
///
/// Source: Envoy, `config.route.v3.RetryPolicy` and "Router", `x-envoy-retry-on`.
public struct RetryPolicy: Codable, Equatable, Sendable {
    /// What is a failure. Of several, one suffices.
    public enum Condition: String, Codable, CaseIterable, Sendable {
        /// Any 5xx, or no answer at all: a reset, a timeout of the attempt, and all that
        /// `connect-failure` and `refused-stream` mean.
        case serverError = "5xx"
        /// 502, 503 or 504.
        case gatewayError = "gateway-error"
        /// The upstream has not answered: it closed, reset, or took longer than `perTry`.
        case reset
        /// The connection could not be opened.
        case connectFailure = "connect-failure"
        /// The upstream has reset the stream with REFUSED_STREAM: it has not looked at it.
        case refusedStream = "refused-stream"
        /// 409.
        case retriable4xx = "retriable-4xx"
        /// A 429 of a rate limit: the answer has `x-envoy-ratelimited`.
        case rateLimited = "envoy-ratelimited"
        /// One of `statuses`.
        case statuses = "retriable-status-codes"
        /// The answer has one of `headers`.
        case headers = "retriable-headers"
        /// Statuses of gRPC, in the answer's head (not in its trailers).
        case cancelled
        case deadlineExceeded = "deadline-exceeded"
        case internalError = "internal"
        case resourceExhausted = "resource-exhausted"
        case unavailable

        /// The status of gRPC that it means; nil of others.
        public var grpcStatus: Int? {
            switch self {
            case .cancelled: 1
            case .deadlineExceeded: 4
            case .resourceExhausted: 8
            case .internalError: 13
            case .unavailable: 14
            default: nil
            }
        }
    }

    /// How long to wait before a retry: before the n-th, a uniform time from zero to
    /// (2^n − 1)·`base`, and `most` at most.
    ///
    /// Source: Envoy, `JitteredExponentialBackOffStrategy`.
    public struct Backoff: Codable, Equatable, Sendable {
        /// 1 ms or more.
        public var base: Duration
        /// `base` or more.
        public var most: Duration

        public init(base: Duration = .milliseconds(25), most: Duration = .milliseconds(250)) {
            self.base = base
            self.most = most
        }
    }

    /// A header of an answer that says how long to wait; the wait is then uniform from that to half
    /// as long again, and `Backoff` does not hold. By itself it makes no failure of an answer.
    ///
    /// Source: Envoy, `RateLimitedRetryBackOff`.
    public struct WaitHeader: Codable, Equatable, Sendable {
        public enum Format: String, Codable, CaseIterable, Sendable {
            /// Whole seconds from now.
            case seconds
            /// Seconds since 1970.
            case unix
        }

        /// Lower case.
        public var name: String
        public var format: Format

        public init(name: String, format: Format = .seconds) {
            self.name = name
            self.format = format
        }
    }

    /// What all of a cluster's retries together may come to.
    public enum Budget: Codable, Equatable, Sendable {
        /// Retries in flight: `percent` of the requests in flight and waiting, or `least`,
        /// whichever is more; in place of the breaker's `retries`.
        ///
        /// Source: Envoy, `CircuitBreakers.Thresholds.RetryBudget`.
        case concurrency(percent: Double, least: Int)
        /// Retries by time: `percent` of the requests of the last `window`, and `leastPerSecond`
        /// besides.
        ///
        /// Source: Linkerd, "Retries and Timeouts", retry budgets; Gateway API, `BudgetDetails`.
        case rate(percent: Double, window: Duration, leastPerSecond: Double)

        /// Envoy's: 20 % and 3.
        public static let concurrencyStandard = Budget.concurrency(percent: 20, least: 3)
        /// Linkerd's: 20 % over 10 s, and 10/s.
        public static let rateStandard = Budget.rate(
            percent: 20, window: .seconds(10), leastPerSecond: 10)
    }

    public var on: [Condition]
    /// Of `Condition.statuses`: 200 to 599.
    public var statuses: [Int]
    /// Of `Condition.headers`.
    public var headers: [ProxyConfiguration.HeaderMatch]
    /// Retries of one request, 0 to 100; 1 by default.
    public var most: Int
    /// How long one attempt may take, from the end of the request, once it has a connection; nil:
    /// as long as the request. It says nothing where it is no shorter than that.
    public var perTry: Duration?
    public var backoff: Backoff
    /// The first that an answer has is followed.
    public var waitHeaders: [WaitHeader]
    /// What such a header may say at most; more, and it is not followed.
    public var waitMost: Duration
    /// nil: the breaker's `retries` alone.
    public var budget: Budget?
    /// Whether another endpoint than those that were tried is taken.
    public var avoidsPreviousHosts: Bool
    /// How often an endpoint is drawn again where it has been tried already, 1 to 100.
    public var reselections: Int
    /// Whether what is not idempotent (RFC 9110, 9.2.2) is sent again where the upstream may have
    /// seen it, as Envoy does. What it cannot have seen is always sent again.
    public var includesUnsafe: Bool
    /// A request whose body is longer is sent once. Bytes, 64 KiB at most.
    public var bodyLimit: Int
    /// When `perTry` has passed, the attempt goes on beside the next; the first good answer is
    /// taken and the others are given up.
    public var hedges: Bool

    public init(
        on: [Condition], most: Int = 1, statuses: [Int] = [],
        headers: [ProxyConfiguration.HeaderMatch] = [], perTry: Duration? = nil,
        backoff: Backoff = .init(), waitHeaders: [WaitHeader] = [],
        waitMost: Duration = .seconds(300), budget: Budget? = nil,
        avoidsPreviousHosts: Bool = false, reselections: Int = 1, includesUnsafe: Bool = false,
        bodyLimit: Int = 64 * 1024, hedges: Bool = false
    ) {
        self.on = on
        self.most = most
        self.statuses = statuses
        self.headers = headers
        self.perTry = perTry
        self.backoff = backoff
        self.waitHeaders = waitHeaders
        self.waitMost = waitMost
        self.budget = budget
        self.avoidsPreviousHosts = avoidsPreviousHosts
        self.reselections = reselections
        self.includesUnsafe = includesUnsafe
        self.bodyLimit = bodyLimit
        self.hedges = hedges
    }
}
