// Whether a measurement can be trusted, apart from what it says.
//
// The unit of trust is the round: a disturbed moment of one arm makes the whole round uncounted,
// both arms of it, because arms are compared within rounds. Rounds that do not count are named with
// their reasons and replaced up to `rounds.max`; a run with fewer counted rounds than `rounds.min`
// is invalid. None of the rules looks at a latency, so that leaving rounds out cannot favour a
// result.

import Base
import Model
import Posix
import Report
import Stats

/// One condition, held against one sample.
struct Finding: Equatable {
    enum Rule: String, CaseIterable {
        case achieved = "offered load reached"
        case lag = "lag p99"
        case generator = "load generator's busiest thread"
        case machine = "machine busy"
        case steal = "CPU taken by the hypervisor"
        case clock = "clock steps"
        case workers = "workers that ended"
        case samples = "requests completed"
    }

    var rule: Rule
    /// The figure that was held against the limit; more is worse, except for `achieved` and
    /// `samples`.
    var figure: Double
    var observed: String
    var limit: String
    var holds: Bool
    /// The whole sentence, where it does not hold.
    var sentence: String
}

extension ValidityLimits {
    /// All conditions of one sample.
    func findings(_ sample: Sample) -> [Finding] {
        var found: [Finding] = []
        if sample.isOpenLoop {
            found.append(achieved(sample))
            found.append(lag(sample))
        }
        found.append(
            atMost(
                .generator, sample.generatorBusy, maxGeneratorCPU,
                "the load generator was saturated: its busiest thread worked"))
        found.append(
            atMost(
                .machine, sample.machine.busy, maxMachineCPU,
                "the machine was saturated: its cores were busy for"))
        found.append(
            atMost(
                .steal, sample.machine.stolen, maxSteal,
                "the hypervisor took CPU away:"))
        found.append(
            Finding(
                rule: .clock, figure: sample.clockStepped ? 1 : 0,
                observed: sample.clockStepped ? "stepped" : "steady", limit: "steady",
                holds: !sample.clockStepped,
                sentence: "the wall clock was set while measuring"))
        found.append(
            Finding(
                rule: .workers, figure: Double(sample.lostWorkers.count),
                observed: sample.lostWorkers.isEmpty
                    ? "none" : sample.lostWorkers.joined(separator: ", "),
                limit: "none", holds: sample.lostWorkers.isEmpty,
                sentence: "workers ended or were replaced while measuring: "
                    + sample.lostWorkers.joined(separator: ", ")))
        found.append(
            Finding(
                rule: .samples, figure: Double(sample.tally.completed),
                observed: "\(sample.tally.completed)", limit: "at least 1",
                holds: sample.tally.completed > 0, sentence: "no request was answered"))
        return found
    }

    private func achieved(_ sample: Sample) -> Finding {
        let planned = Double(sample.tally.planned)
        let share = planned > 0 ? Double(sample.tally.sent) / planned : 0
        let observed = figure(share, unit: "share")
        let limit = figure(minAchieved, unit: "share")
        return Finding(
            rule: .achieved, figure: share, observed: observed, limit: "at least \(limit)",
            holds: share >= minAchieved,
            sentence: "the offered load was not reached: \(observed) of the planned requests "
                + "were sent, at least \(limit) are needed")
    }

    private func lag(_ sample: Sample) -> Finding {
        let histogram = sample.tally.lag
        let lag = histogram.count == 0 ? 0 : Double(histogram.value(atQuantile: 0.99))
        let limit = figure(Double(maxLagP99.nanoseconds), unit: "ns")
        let observed = figure(lag, unit: "ns")
        return Finding(
            rule: .lag, figure: lag, observed: observed, limit: "at most \(limit)",
            holds: lag <= Double(maxLagP99.nanoseconds),
            sentence: "the load generator was late: lag p99 was \(observed), "
                + "at most \(limit) is allowed")
    }

    private func atMost(
        _ rule: Finding.Rule, _ share: Double, _ limit: Double, _ complaint: String
    ) -> Finding {
        let observed = figure(share, unit: "share")
        let allowed = figure(limit, unit: "share")
        return Finding(
            rule: rule, figure: share, observed: observed, limit: "at most \(allowed)",
            holds: share <= limit,
            sentence: "\(complaint) \(observed), at most \(allowed) is allowed")
    }
}

/// Which rounds count, and whether they are enough.
struct Trust {
    /// Numbers of the rounds that count.
    let counted: [Int]
    /// Of each round that does not, why, by arm and phase.
    let complaints: [Int: [Complaint]]
    let validity: RunResult.Validity

    struct Complaint: Equatable {
        var arm: Arm
        var phase: String
        var sentence: String
    }

    init(_ samples: [Sample], rounds: [Int], experiment: Experiment, warnings: [String]) {
        self.init(
            samples, rounds: rounds, limits: experiment.limits, needed: experiment.rounds.min,
            arms: experiment.arms, phases: experiment.phases.filter(\.measure).map(\.name),
            warnings: warnings)
    }

    /// - Parameters:
    ///   - rounds: numbers of all rounds that were completed.
    ///   - needed: how many of them must count.
    init(
        _ samples: [Sample], rounds: [Int], limits: ValidityLimits, needed: Int, arms: [Arm],
        phases: [String], warnings: [String]
    ) {
        var complaints: [Int: [Complaint]] = [:]
        for sample in samples {
            for finding in limits.findings(sample) where !finding.holds {
                complaints[sample.round, default: []].append(
                    Complaint(arm: sample.arm, phase: sample.phase, sentence: finding.sentence))
            }
        }
        self.complaints = complaints
        counted = rounds.filter { complaints[$0] == nil }

        let isValid = counted.count >= needed
        var reasons: [String] = []
        var warnings = warnings
        let setAside = rounds.filter { complaints[$0] != nil }
        let sentences = setAside.flatMap { round in
            (complaints[round] ?? []).map {
                "round \(round + 1), \($0.arm.rawValue), \($0.phase): \($0.sentence)"
            }
        }
        if isValid {
            if !setAside.isEmpty {
                warnings.append(
                    "\(setAside.count) of \(rounds.count) rounds were set aside and do not count")
                warnings += sentences
            }
        } else {
            reasons.append(
                "only \(counted.count) of \(rounds.count) rounds can be trusted, "
                    + "\(needed) are needed"
            )
            reasons += sentences
        }
        let judged = isValid ? counted : rounds
        validity = RunResult.Validity(
            valid: isValid, reasons: reasons, warnings: warnings,
            checks: arms.flatMap { arm in
                phases.flatMap { phase in
                    return Self.checks(
                        samples.filter {
                            $0.arm == arm && $0.phase == phase && judged.contains($0.round)
                        }, limits, label: "\(arm.rawValue), \(phase)")
                }
            })
    }

    /// For each condition the worst of the samples.
    private static func checks(
        _ samples: [Sample], _ limits: ValidityLimits, label: String
    ) -> [RunResult.Validity.Check] {
        let findings = samples.flatMap { limits.findings($0) }
        return Finding.Rule.allCases.compactMap { rule in
            let same = findings.filter { $0.rule == rule }
            let isMoreBetter = rule == .achieved || rule == .samples
            let worst =
                isMoreBetter
                ? same.min { $0.figure < $1.figure } : same.max { $0.figure < $1.figure }
            return worst.map {
                .init(
                    name: "\(rule.rawValue), \(label)", observed: $0.observed, limit: $0.limit,
                    held: same.allSatisfy(\.holds))
            }
        }
    }
}
