// Expectations against measured values. Where the interval reaches over the limit, what was
// measured does not tell on which side the truth lies: that is inconclusive, and a run that may add
// rounds adds them. A single round has no interval; there the value alone decides, and the result
// says so.

import Base
import Model
import Report
import Stats

/// How one expectation came out.
struct Judgement: Equatable {
    var result: RunResult.ExpectationResult
    /// Whether the interval reaches over the limit, so that more rounds could settle it.
    var isOpen: Bool
}

/// Holds expectations against samples.
struct Evaluation {
    /// Of all rounds that count.
    let samples: [Sample]
    /// Numbers of the rounds that count.
    let rounds: [Int]
    let arms: [ArmName]
    let minTailSamples: Int
    let random: SeededRandom
    /// Whether requests come at random, so that how many there are varies.
    var isPoisson = true
    /// The course of the arms, for what happens after a phase.
    var courses: [Course] = []

    func judge(_ expectation: Expectation) -> Judgement {
        if expectation.isByTheory { return judgeByTheory(expectation) }
        let left = statistic(expectation.left, expectation)
        let right = statistic(expectation.right, expectation)
        let label = random.split(expectation.source)
        let observed = left.estimate(rounds: rounds.count, random: label)
        let limit = right.value(Array(rounds.indices))
        let rule = Rule(expectation, limit: limit)
        let unit = expectation.left.unit.figureUnit

        var result = RunResult.ExpectationResult(
            source: expectation.source, verdict: .inconclusive, observed: "none",
            expected: rule.text(limit: limit, unit: unit), interval: nil, samples: left.samples,
            reason: "", name: expectation.name)
        if let problem = left.problem ?? right.problem {
            result.reason = problem
            return Judgement(result: result, isOpen: true)
        }
        let difference = left.combined(with: right, -).estimate(
            rounds: rounds.count, random: label)
        guard observed.value.isFinite, limit.isFinite, difference.value.isFinite else {
            result.reason = "there is no such value in what was measured"
            return Judgement(result: result, isOpen: false)
        }
        result.observed = figure(observed.value, unit: unit)
        result.interval = observed.interval.map {
            figureInterval(low: $0.low, high: $0.high, unit: unit)
        }
        result.confidence = observed.confidence
        let isOpen = difference.interval.map(rule.isCut) ?? false
        if isOpen {
            result.verdict = .inconclusive
            result.reason = "the interval reaches over the limit: more rounds would tell"
        } else {
            result.verdict = rule.holds(observed.value - limit) ? .pass : .fail
            if difference.interval == nil {
                result.reason =
                    rounds.count == 1
                    ? "one round has no interval: the value alone decided"
                    : "there is no interval: the value alone decided"
            }
        }
        return Judgement(result: result, isOpen: isOpen)
    }

    func statistic(_ term: Term, _ expectation: Expectation) -> Statistic {
        switch term {
        case .literal(let value, _): .constant(value)
        case .metric(let metric): statistic(metric, expectation)
        case .sum(let a, let b):
            statistic(a, expectation).combined(with: statistic(b, expectation), +)
        case .difference(let a, let b):
            statistic(a, expectation).combined(with: statistic(b, expectation), -)
        case .product(let a, let b):
            statistic(a, expectation).combined(with: statistic(b, expectation), *)
        case .quotient(let a, let b):
            quotient(a, b, expectation)
        case .theory(let theory, let arguments):
            // What was measured may be no number, or none that the function takes.
            arguments.map { statistic($0, expectation) }.joined {
                theory.prediction($0, isPoisson: isPoisson)?.value ?? .nan
            }
        }
    }

    /// A share of counts rests on what it is a share of. A count is the mean of the rounds.
    private func quotient(_ a: Term, _ b: Term, _ expectation: Expectation) -> Statistic {
        let (part, whole) = (statistic(a, expectation), statistic(b, expectation))
        var quotient = part.combined(with: whole, /)
        if a.isCount, b.isCount {
            let counted = whole.value(Array(rounds.indices)) * Double(rounds.count)
            quotient.samples =
                counted.isFinite ? UInt64(min(max(0, counted.rounded()), 1e18)) : 0
        }
        return quotient
    }

    private func statistic(_ metric: Metric, _ expectation: Expectation) -> Statistic {
        guard let arm = expectation.arm ?? arms.subject else {
            preconditionFailure("an expectation of several arms that names none")
        }
        let phase = expectation.phase
        switch metric {
        case .overhead(let inner):
            return difference(of: inner, arm, less: arms.baseline, during: phase)
        case .step(let inner):
            return difference(of: inner, arm, less: arms.predecessor(of: arm), during: phase)
        case .timeTo(let share, let base):
            return timeTo(share, of: base, after: phase, arm)
        case .worstSecond(let inner): return worstSecond(inner, during: phase, arm)
        default: return pool(arm, phase).statistic(metric)
        }
    }

    /// Both are of the same rounds, so what a round did to both of them falls away.
    private func difference(
        of metric: Metric, _ arm: ArmName, less other: ArmName?, during phase: String?
    ) -> Statistic {
        guard let other else { preconditionFailure("a difference from no arm") }
        return statistic(metric, arm, phase).combined(with: statistic(metric, other, phase), -)
    }

    private func statistic(_ metric: Metric, _ arm: ArmName, _ phase: String?) -> Statistic {
        if case .worstSecond(let inner) = metric {
            return worstSecond(inner, during: phase, arm)
        }
        return pool(arm, phase).statistic(metric)
    }

    func pool(_ arm: ArmName, _ phase: String?) -> Pool {
        Pool(
            samples.filter { $0.arm == arm && (phase == nil || $0.phase == phase) },
            rounds: rounds, minTailSamples: minTailSamples)
    }
}

/// A comparison with its tolerance, as a condition on observed less expected.
private struct Rule {
    let comparison: Expectation.Comparison
    /// Only for `=`; 0 or more.
    let tolerance: Double
    /// What sums are rounded by: three shares of all requests may come to 0.9999999999999999.
    private let slack: Double

    init(_ expectation: Expectation, limit: Double) {
        comparison = expectation.comparison
        slack = 1e-9 * max(1, limit.magnitude)
        switch expectation.tolerance {
        case nil: tolerance = 0
        case .absolute(let value): tolerance = value
        case .relative(let share): tolerance = share * limit.magnitude
        }
    }

    func holds(_ difference: Double) -> Bool {
        switch comparison {
        case .less: difference < -slack
        case .lessOrEqual: difference <= slack
        case .greater: difference > slack
        case .greaterOrEqual: difference >= -slack
        case .equal: difference.magnitude <= tolerance + slack
        }
    }

    /// Whether a border between holding and not holding lies within the interval.
    func isCut(_ interval: Interval) -> Bool {
        let borders = comparison == .equal ? [-tolerance, tolerance] : [0]
        return borders.contains { interval.low < $0 - slack && $0 + slack < interval.high }
    }

    func text(limit: Double, unit: String) -> String {
        guard limit.isFinite else { return "none" }
        let text = "\(comparison.rawValue) \(figure(limit, unit: unit))"
        return comparison == .equal ? text + " ± \(figure(tolerance, unit: unit))" : text
    }
}

extension Unit {
    /// The name of the unit in results.
    var figureUnit: String {
        switch self {
        case .one: "1"
        case .time: "ns"
        case .bytes: "bytes"
        case .rate: "per_second"
        case .cores: "cores"
        case .share: "share"
        }
    }
}
