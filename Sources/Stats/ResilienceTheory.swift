// What follows from the rules of retries, ejections and token buckets by arithmetic alone.

public import Base
import Glibc

/// Requests of which every attempt fails by itself with the same probability.
public enum RetryTheory {
    /// The share that succeeds with so many retries: 1 - p^(n + 1).
    /// - Precondition: `failure` is from 0 to 1, `retries` 0 or more.
    public static func success(failure: Double, retries: Int) -> Prediction {
        check(failure, retries)
        return Prediction(1 - pow(failure, Double(retries + 1)), .share(dispersion: 1))
    }

    /// Attempts for each request: 1 + p + … + p^n, as attempt k + 1 is made where the first k have
    /// failed. Their variance is Σ (2k + 1)·p^k less the square of that.
    public static func attempts(failure: Double, retries: Int) -> Prediction {
        check(failure, retries)
        var (mean, square, power) = (0.0, 0.0, 1.0)
        for attempt in 0...retries {
            mean += power
            square += Double(2 * attempt + 1) * power
            power *= failure
        }
        return Prediction(mean, .mean(variance: max(0, square - mean * mean), slack: 0))
    }

    /// A quantile of the time for which a request with so many retries waits between its attempts:
    /// the k-th wait is uniform from 0 to (2^k - 1) times `base`, or to `most`.
    /// - Precondition: `retries` is from 1 to 10, times are above zero, `quantile` is from 0 to 1.
    public static func backoff(
        retries: Int, quantile: Double, base: Double, most: Double
    ) -> Prediction {
        precondition(retries >= 1 && base > 0 && most > 0, "\(retries) waits of \(base)")
        let widths = (1...retries).map { min(most, (pow(2, Double($0)) - 1) * base) }
        let sum = UniformSum(widths)
        return Prediction(sum.quantile(quantile), .quantile(sum, quantile))
    }

    private static func check(_ failure: Double, _ retries: Int) {
        precondition((0...1).contains(failure) && retries >= 0, "\(retries) retries of \(failure)")
    }
}

/// An endpoint that fails every request, under ejection for failures in a row.
///
/// It is ejected after `threshold` failures at each proxy, for the first time at the start. The
/// k-th ejection lasts k times `base`, `most` at most, and ends with the sweep behind that, up to
/// `sweep` later. Then it fails `threshold` requests more. So each proxy sees threshold · cycles
/// failures, where the cycles are the ejections that begin within `duration`:
///
///     start(1) = 0, start(k + 1) = start(k) + min(k · base, most) + (0 to sweep)
///
/// It is left out that requests under way when the last failure comes back fail too, and that the
/// `threshold` requests take their time to come.
///
/// Source: Envoy, "Outlier detection", ejection algorithm.
public struct EjectionTheory: Sendable {
    public var threshold: Int
    public var proxies: Int
    public var base: Duration
    public var most: Duration
    public var sweep: Duration

    /// - Precondition: counts and `base` are above zero, the other times not below.
    public init(
        threshold: Int, proxies: Int = 1, base: Duration = .seconds(30),
        most: Duration = .seconds(300), sweep: Duration = .seconds(10)
    ) {
        precondition(
            threshold > 0 && proxies > 0 && base > .zero && most > .zero && sweep >= .zero,
            "ejections after \(threshold) at \(proxies) proxies")
        self.threshold = threshold
        self.proxies = proxies
        self.base = base
        self.most = most
        self.sweep = sweep
    }

    /// Ejections that begin within `duration`, where each ends so long behind its time.
    func cycles(in duration: Duration, late: Duration) -> Int {
        var start = Duration.zero
        var count = 0
        // Bound: some million steps, for a day of millisecond ejections.
        while start < duration, count < 10_000_000 {
            count += 1
            // `most` is reached long before this could leave the range of a duration.
            let length = base.nanoseconds.multipliedReportingOverflow(by: Int64(count))
            let lasts =
                length.overflow ? most : min(.nanoseconds(length.partialValue), most)
            start = start + lasts + late
        }
        return count
    }

    /// Failures that the clients of all proxies see. The value is that without any lateness; with
    /// that of whole sweeps there are fewer.
    public func errors(in duration: Duration) -> Prediction {
        let each = Double(threshold * proxies)
        let most = each * Double(cycles(in: duration, late: .zero))
        let least = each * Double(cycles(in: duration, late: sweep))
        return Prediction(most, .range(Interval(low: least, high: most)))
    }
}

extension TokenBucket {
    /// The share of requests that find it empty, where it is full at the start and they come faster
    /// than tokens do: 1 - (burst + fill · time) / (rate · time).
    ///
    /// A bucket of one token loses what comes while that is there, so it holds for two and more;
    /// and where requests hardly come faster than tokens, those that come at random find it full at
    /// times, which is more refused than this says.
    ///
    /// With Poisson arrivals the number of requests varies and that of admitted ones does not; with
    /// even arrivals neither does. Either way the last step of filling may or may not be within
    /// that time, and less than two tokens may be left at the end.
    /// - Precondition: `offered` (a second) and `time` are above zero.
    public func refusedShare(
        offered: Double, time: Duration, isPoisson: Bool, isStepped: Bool
    ) -> Prediction {
        precondition(offered > 0 && time > .zero, "\(offered) a second")
        let admitted = self.admitted(offered: offered, time: time) / (offered * time.seconds)
        guard admitted < 1 else { return Prediction(0, .mean(variance: 0, slack: 0)) }
        let step = isStepped ? Double(min(tokens, burst)) : 0
        return Prediction(
            1 - admitted,
            .mean(variance: isPoisson ? admitted * admitted : 0, slack: step + 2))
    }
}
