// Values that theory tells, for expectations: what a protection must do follows from its rule and
// the load, and needs no threshold that somebody has chosen. The functions themselves are in Stats;
// here is what they are called and what they take.

/// A function of theory in an expectation.
public enum Theory: String, Codable, CaseIterable, Sendable {
    /// `erlang_b(servers = 10, load = 20)`: refused where none may wait. Erlang 1917.
    case erlangB = "erlang_b"
    /// `mmck(servers = 10, capacity = 20, load = 9)`: refused where some may wait; `capacity`
    /// counts those in service too. Kendall's M/M/c/K.
    case mmck
    /// `binomial(10%)`: the share itself, of requests that are each met or not by themselves.
    case binomial
    /// `token_bucket(rate = 200/s, fill = 100/s, burst = 100, duration = 10s)`: refused.
    case tokenBucket = "token_bucket"
    /// `retry_success(p = 30%, n = 2)`: the share of requests of which an attempt succeeds.
    case retrySuccess = "retry_success"
    /// `retry_attempts(p = 30%, n = 2)`: attempts for each request.
    case retryAttempts = "retry_attempts"
    /// `ejection_errors(threshold = 5, duration = 20s)`: requests that fail at an endpoint that is
    /// ejected again and again.
    case ejectionErrors = "ejection_errors"
    /// `backoff(n = 2, q = 50%)`: a quantile of the time that the waits before the first n retries
    /// take together.
    case backoff

    /// What the value counts.
    public var unit: Unit {
        switch self {
        case .erlangB, .mmck, .binomial, .tokenBucket, .retrySuccess: .share
        case .retryAttempts, .ejectionErrors: .one
        case .backoff: .time
        }
    }

    /// One argument.
    public struct Parameter: Sendable {
        public var name: String
        public var kind: Kind
        /// In the base unit of its kind; nil: it must be given.
        public var standard: Double?
    }

    /// What an argument may be.
    public enum Kind: Equatable, Sendable {
        /// A whole number within a range.
        case count(ClosedRange<Int>)
        /// 0 or more; a share is a number too.
        case number
        /// 0 to 1.
        case share
        /// Above 0.
        case rate
        case time
        /// 0 or more.
        case span
    }

    /// In the order in which they are written without names.
    public var parameters: [Parameter] {
        // The recursions take one step for each place: more than any breaker has.
        let places = Kind.count(1...100_000)
        return switch self {
        case .erlangB:
            [.init(name: "servers", kind: places), .init(name: "load", kind: .number)]
        case .mmck:
            [
                .init(name: "servers", kind: places), .init(name: "capacity", kind: places),
                .init(name: "load", kind: .number),
            ]
        case .binomial: [.init(name: "p", kind: .share)]
        case .tokenBucket:
            [
                .init(name: "rate", kind: .rate), .init(name: "fill", kind: .rate),
                .init(name: "burst", kind: .count(2...1_000_000_000)),
                .init(name: "duration", kind: .time),
                // Filled without steps where it is zero.
                .init(name: "interval", kind: .span, standard: 0),
            ]
        case .retrySuccess, .retryAttempts:
            [.init(name: "p", kind: .share), .init(name: "n", kind: .count(0...100))]
        case .ejectionErrors:
            [
                .init(name: "threshold", kind: .count(1...1_000_000)),
                .init(name: "duration", kind: .time),
                .init(name: "proxies", kind: .count(1...1_000_000), standard: 1),
                .init(name: "base", kind: .time, standard: 30e9),
                .init(name: "most", kind: .time, standard: 300e9),
                .init(name: "sweep", kind: .span, standard: 10e9),
            ]
        case .backoff:
            [
                // The sum over all subsets of the waits is exact to so many.
                .init(name: "n", kind: .count(1...10)), .init(name: "q", kind: .share),
                .init(name: "base", kind: .time, standard: 25e6),
                .init(name: "most", kind: .time, standard: 250e6),
            ]
        }
    }
}

extension Theory.Kind {
    /// The unit of an argument; of plain numbers `one`, for which a share may stand too.
    public var unit: Unit {
        switch self {
        case .count, .number, .share: .one
        case .rate: .rate
        case .time, .span: .time
        }
    }

    /// What is wrong with a value in the base unit, as a sentence that goes on after the name; nil
    /// where nothing is.
    public func complaint(_ value: Double) -> String? {
        switch self {
        case .count(let range):
            let isFit =
                value == value.rounded() && value >= Double(range.lowerBound)
                && value <= Double(range.upperBound)
            return isFit
                ? nil : "is a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .number, .span: return value >= 0 ? nil : "cannot be negative"
        case .share: return value >= 0 && value <= 1 ? nil : "is a share from 0% to 100%"
        case .rate, .time: return value > 0 ? nil : "must be above zero"
        }
    }
}

extension Term {
    /// `erlang_b` of these.
    public static func erlangB(servers: Term, load: Term) -> Term {
        .theory(.erlangB, [servers, load])
    }

    /// Whether a function of theory is in it.
    public var isTheory: Bool {
        switch self {
        case .literal, .metric: false
        case .theory: true
        case .sum(let a, let b), .difference(let a, let b), .product(let a, let b),
            .quotient(let a, let b):
            a.isTheory || b.isTheory
        }
    }
}
