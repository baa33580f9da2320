/// One line of `expect`, parsed.
///
///     p99(response) < 5ms during base on mesh
///     overhead(p99(response)) < 1ms during base
///     share(outcome = error) = 10% ± 1pp
public struct Expectation: Codable, Equatable, Sendable {
    /// The line as written.
    public var source: String
    public var left: Term
    public var comparison: Comparison
    public var right: Term
    /// For `=`: the greatest distance that still counts as equal, in the unit of the left side.
    public var tolerance: Tolerance?
    /// For `=` without a tolerance, which is with theory: how far the interval that the sample
    /// allows may reach to either side for the sample to decide; nil: `Expectation.standardNeed`.
    public var need: Tolerance?
    /// What the scenario calls it; nil: nothing.
    public var name: String?
    /// The phase; nil: every measured phase, taken together. Of times the phase that they are
    /// after.
    public var phase: String?
    /// The arm; nil: the one that `[ArmName].subject` tells.
    public var arm: ArmName?

    public init(
        source: String, left: Term, comparison: Comparison, right: Term, tolerance: Tolerance?,
        need: Tolerance? = nil, phase: String?, arm: ArmName?, name: String? = nil
    ) {
        self.need = need
        self.name = name
        self.source = source
        self.left = left
        self.comparison = comparison
        self.right = right
        self.tolerance = tolerance
        self.phase = phase
        self.arm = arm
    }

    public enum Comparison: String, Codable, CaseIterable, Sendable {
        case less = "<"
        case lessOrEqual = "<="
        case greater = ">"
        case greaterOrEqual = ">="
        case equal = "="
    }

    public enum Tolerance: Codable, Equatable, Sendable {
        /// In the unit of the left side: `± 1ms`, `± 1.5pp`.
        case absolute(Double)
        /// A share of the right side: `± 5%`.
        case relative(Double)
    }

    /// Whether the interval that the sample allows around what theory says decides.
    public var isByTheory: Bool { comparison == .equal && tolerance == nil && right.isTheory }

    /// How far that interval may reach where nothing is said: a quarter of the value, of a share a
    /// quarter of what it or the rest is, but no less than one percentage point.
    public static func standardNeed(_ value: Double, _ unit: Unit) -> Double {
        unit == .share
            ? max(0.01, min(value, 1 - value) / 4) : value.magnitude / 4
    }
}

/// A value that an expectation compares.
public indirect enum Term: Codable, Equatable, Sendable {
    /// A number in base units: nanoseconds, bytes, requests per second, cores, shares of 1.
    case literal(Double, Unit)
    case metric(Metric)
    case sum(Term, Term)
    case difference(Term, Term)
    case product(Term, Term)
    case quotient(Term, Term)
    /// A function of theory and its arguments, one for each of its parameters.
    case theory(Theory, [Term])

    /// The unit of the value. Terms that were parsed have passed the check that makes this so.
    public var unit: Unit {
        switch self {
        case .literal(_, let unit): unit
        case .metric(let metric): metric.unit
        case .sum(let a, _), .difference(let a, _): a.unit
        case .product(let a, let b): a.unit.isDimensionless ? b.unit : a.unit
        case .quotient(let a, let b): a.unit == b.unit ? .one : a.unit
        case .theory(let theory, _): theory.unit
        }
    }

    /// Whether it is a number of requests.
    public var isCount: Bool {
        switch self {
        case .metric(.count), .metric(.requests), .metric(.retries), .metric(.counter),
            .metric(.edge), .metric(.ofLoad(.count, _)), .metric(.workload):
            true
        case .sum(let a, let b), .difference(let a, let b): a.isCount && b.isCount
        default: false
        }
    }

    /// The measured values in it, from left to right.
    public var metrics: [Metric] {
        switch self {
        case .literal: []
        case .metric(let metric): [metric]
        case .sum(let a, let b), .difference(let a, let b), .product(let a, let b),
            .quotient(let a, let b):
            a.metrics + b.metrics
        case .theory(_, let arguments): arguments.flatMap(\.metrics)
        }
    }
}

/// What a number counts, so that milliseconds are not compared with percent.
public enum Unit: String, Codable, CaseIterable, Sendable {
    /// A plain number.
    case one
    /// Nanoseconds.
    case time
    /// Bytes.
    case bytes
    /// Per second.
    case rate
    /// Cores (of CPU): 1 m is a thousandth.
    case cores
    /// A share of 1.
    case share

    /// A pure number, by which anything can be multiplied and divided.
    public var isDimensionless: Bool { self == .one || self == .share }
}

/// Which duration is meant: one of a request's, or of a change's.
public enum LatencyKind: String, Codable, CaseIterable, Sendable {
    /// From the intended instant of sending.
    case response
    /// From the instant of sending.
    case service
    /// Sent minus intended.
    case lag
    /// Opening a connection.
    case connect
    /// From sent to the first byte of the answer.
    case firstByte = "first_byte"
    /// Of a change of the mesh: from the instant at which it was due to that at which the last
    /// proxy had it in force.
    case configPush = "config_push"

    /// Those that every request has.
    public static let ofRequests = allCases.filter { $0 != .configPush }
}

/// A group of processes of an arm.
public enum ProcessGroup: String, Codable, CaseIterable, Sendable {
    case proxies
    case apps
    case load
    /// The control plane.
    case control
    case all
}

/// What the built-in workload counts besides its requests.
public enum WorkloadCounter: String, Codable, CaseIterable, Sendable {
    /// Requests that were worked on to the end though their clients had gone.
    case wasted
    /// Requests that came with the time that they have left.
    case deadlines
    /// Those times, in milliseconds.
    case deadlineMs = "deadline_ms"
}

/// A measured value.
public indirect enum Metric: Codable, Equatable, Sendable {
    /// `p99(response)`: 0.99. Also `min` (0) and `max` (1).
    case percentile(Double, LatencyKind)
    case mean(LatencyKind)
    /// `rate(achieved)`, `rate(offered)`: requests per second.
    case achievedRate
    case offeredRate
    /// `share(outcome = ok)`: of all planned requests.
    case shareOfOutcome(Outcome)
    /// `share(status = 503)`: of all planned requests.
    case shareOfStatus(Int)
    /// `share(flag = UO)`: of all planned requests.
    case shareOfFlag(ResponseFlag)
    /// `cpu_per_1000rps(proxies)`: cores per 1000 completed requests per second.
    case cpuPer1000(ProcessGroup)
    /// `cpu(proxies)`: cores.
    case cpu(ProcessGroup)
    /// `memory(proxies)`: proportional set size, bytes.
    case memory(ProcessGroup)
    /// `count(status = 503)`: as many requests of a round, the mean of the rounds.
    case count(Metric)
    /// `rate(goodput)`: requests per second that ended in `ok`.
    case goodput
    /// `requests(echo)`, `requests(echo/1)`: those that came to the workload, each attempt by
    /// itself; the mean of the rounds.
    case requests(service: String, replica: Int?)
    /// `retries(echo)`: those of them that are no first attempts.
    case retries(service: String)
    /// `concurrency(echo)`: the most that one replica has had at once in the phase.
    case concurrency(service: String)
    /// `counter(pending_overflow_total, load-main)`: what the proxies counted, of one service or
    /// all; the mean of the rounds.
    case counter(String, service: String?)
    /// `edge(front -> leaf)`: requests that the proxies of the one sent to the other, each attempt
    /// by itself; the mean of the rounds.
    case edge(from: String, to: String)
    /// `attempts(mean)`: how often the proxies of the loads sent a request that has ended, or a
    /// fault of theirs answered it in place of that.
    case attempts
    /// `ejections(echo)`, `ejections(echo/1)`: how often proxies have left out a replica of it; the
    /// mean of the rounds.
    case ejections(service: String, replica: Int?)
    /// `worst_second(rate(goodput))`: of the phase's whole seconds that in which it was worst; the
    /// mean of the rounds.
    case worstSecond(Metric)
    /// `workload(wasted, leaf)`: what the workloads of a service counted; the mean of the rounds.
    case workload(WorkloadCounter, service: String)
    /// `time_to(goodput >= 99% of base)`: from the end of the phase that the expectation is after
    /// to where that share of what `base` had is reached and held.
    case timeTo(share: Double, of: String)
    /// `p99(response, main)`: of the requests of one load.
    case ofLoad(Metric, String)
    /// `overhead(x)`: x on the arm less x on the baseline.
    case overhead(Metric)
    /// `step(x)`: x on the arm less x on the arm listed before it.
    case step(Metric)

    /// The unit of the value.
    public var unit: Unit {
        switch self {
        case .percentile, .mean, .timeTo: .time
        case .count, .requests, .retries, .concurrency, .counter, .edge, .attempts, .ejections,
            .workload:
            .one
        case .achievedRate, .offeredRate, .goodput: .rate
        case .shareOfOutcome, .shareOfStatus, .shareOfFlag: .share
        case .cpuPer1000, .cpu: .cores
        case .memory: .bytes
        case .overhead(let metric), .step(let metric), .worstSecond(let metric),
            .ofLoad(let metric, _):
            metric.unit
        }
    }

    /// The duration that it is of; nil of other values.
    public var latency: LatencyKind? {
        switch self {
        case .percentile(_, let kind), .mean(let kind): kind
        case .overhead(let metric), .step(let metric), .worstSecond(let metric),
            .ofLoad(let metric, _):
            metric.latency
        default: nil
        }
    }

    /// Whether it is of what processes count themselves.
    public var needsEvidence: Bool {
        switch self {
        case .requests, .retries, .concurrency, .counter, .edge, .attempts, .ejections, .workload:
            true
        case .overhead(let metric), .step(let metric): metric.needsEvidence
        default: false
        }
    }

    /// Whether it is of the time after a phase.
    public var isOfTime: Bool {
        switch self {
        case .timeTo: true
        case .overhead(let metric), .step(let metric): metric.isOfTime
        default: false
        }
    }

    /// Whether there is a worst second of it, and whether that is the one with the most of it; nil:
    /// a second has no such value.
    public var worstIsMost: Bool? {
        switch self {
        case .goodput, .achievedRate, .shareOfOutcome(.ok): false
        case .shareOfOutcome(.error): true
        case .percentile(let quantile, .response): quantile > 0 ? true : nil
        case .mean(.response): true
        default: nil
        }
    }

    /// Whether it is of requests, each of which is one load's.
    public var isOfRequests: Bool {
        switch self {
        case .percentile(_, let kind), .mean(let kind): kind != .configPush
        case .achievedRate, .offeredRate, .goodput: true
        case .shareOfOutcome, .shareOfStatus, .shareOfFlag, .count: true
        default: false
        }
    }

    /// Whether it compares two arms.
    public var isDifference: Bool {
        switch self {
        case .overhead, .step: true
        default: false
        }
    }
}
