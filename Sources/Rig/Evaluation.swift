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
            sum(a, b, expectation)
        case .difference(let a, let b):
            difference(a, b, expectation)
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

    /// Counts of different things rest on all of them together; parts of the same requests rest on
    /// these, once.
    private func sum(_ a: Term, _ b: Term, _ expectation: Expectation) -> Statistic {
        let (first, second) = (statistic(a, expectation), statistic(b, expectation))
        var sum = first.combined(with: second, +)
        if a.isCount, b.isCount {
            sum.samples =
                a.population != nil && a.population == b.population
                ? max(first.samples, second.samples) : first.samples + second.samples
        }
        return sum
    }

    /// What is left of counts rests on what is left.
    private func difference(_ a: Term, _ b: Term, _ expectation: Expectation) -> Statistic {
        let (first, second) = (statistic(a, expectation), statistic(b, expectation))
        var difference = first.combined(with: second, -)
        if a.isCount, b.isCount, first.samples > second.samples {
            difference.samples = first.samples - second.samples
        }
        return difference
    }

    /// A share of counts rests on what it is a share of.
    private func quotient(_ a: Term, _ b: Term, _ expectation: Expectation) -> Statistic {
        let (part, whole) = (statistic(a, expectation), statistic(b, expectation))
        var quotient = part.combined(with: whole, /)
        if a.isCount, b.isCount { quotient.samples = whole.samples }
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

/// Whose planned requests a count is a part of.
private enum Population: Equatable {
    case allLoads
    case load(String)
}

extension Term {
    /// Nil: it counts something else, or parts of several.
    fileprivate var population: Population? {
        switch self {
        case .metric(.count): .allLoads
        case .metric(.ofLoad(.count, let load)): .load(load)
        case .sum(let a, let b), .difference(let a, let b):
            a.population == b.population ? a.population : nil
        default: nil
        }
    }
}

/// A comparison with its tolerance, as a condition on observed less expected.
private struct Rule {
    let comparison: Expectation.Comparison
    /// Only for `=`; 0 or more.
    let tolerance: Double

    init(_ expectation: Expectation, limit: Double) {
        comparison = expectation.comparison
        switch expectation.tolerance {
        case nil: tolerance = 0
        case .absolute(let value): tolerance = value
        case .relative(let share): tolerance = share * limit.magnitude
        }
    }

    func holds(_ difference: Double) -> Bool {
        switch comparison {
        case .less: difference < 0
        case .lessOrEqual: difference <= 0
        case .greater: difference > 0
        case .greaterOrEqual: difference >= 0
        case .equal: difference.magnitude <= tolerance
        }
    }

    /// Whether a border between holding and not holding lies within the interval.
    func isCut(_ interval: Interval) -> Bool {
        let borders = comparison == .equal ? [-tolerance, tolerance] : [0]
        return borders.contains { interval.low < $0 && $0 < interval.high }
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
