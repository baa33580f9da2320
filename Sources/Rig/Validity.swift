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
        case connections = "connections that the load generator could not open"
        case machine = "machine busy"
        case steal = "CPU taken by the hypervisor"
        case throttled = "CPU held back by a quota"
        case clock = "clock steps"
        case workers = "workers that ended"
        case samples = "requests completed"
    }

    var rule: Rule
    /// The figure that was held against the limit; more is worse, except for `achieved` and
    /// `samples`. The worst there is where it could not be read.
    var figure: Double
    var observed: String
    var limit: String
    var holds: Bool
    /// The whole sentence, where it does not hold.
    var sentence: String
}

extension Finding.Rule {
    /// Whether the figure `a` is farther from holding than `b`.
    func isWorse(_ a: Double, _ b: Double) -> Bool {
        self == .achieved || self == .samples ? a < b : a > b
    }
}

extension ValidityLimits {
    /// All conditions of one sample. Where nothing was to be asked, nothing can have been missed.
    func findings(_ sample: Sample) -> [Finding] {
        var found: [Finding] = []
        for load in sample.loads {
            let who = sample.loads.count == 1 ? "" : " of '\(load.name)'"
            if load.isOpen && load.planned > 0 {
                found.append(achieved(load, who))
                found.append(lag(load, who))
            }
            // A closed loop is as fast as its answers: a busy thread is a caution, see `cautions`.
            if load.isOpen { found.append(saturated(load, who)) }
            found.append(opened(load, who))
        }
        found.append(
            atMost(
                .machine, sample.machine?.busy, maxMachineCPU,
                "the machine was saturated: the cores that the run may use were busy for"))
        found.append(
            atMost(
                .steal, sample.machine?.stolen, maxSteal,
                "the hypervisor took CPU away:"))
        found.append(
            atMost(
                .throttled, sample.machine?.throttled, maxSteal,
                "a CPU quota of the control group held the run back for"))
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
        if !sample.isIdle {
            found.append(
                Finding(
                    rule: .samples, figure: Double(sample.tally.completed),
                    observed: "\(sample.tally.completed)", limit: "at least 1",
                    holds: sample.tally.completed > 0, sentence: "no request was answered"))
        }
        return found
    }

    /// What a reader should know of a sample that may be trusted all the same: with closed arrivals
    /// a busy generator means only that the rate found may be its own.
    func cautions(_ sample: Sample) -> [String] {
        sample.loads.compactMap { load in
            let finding = saturated(load, sample.loads.count == 1 ? "" : " of '\(load.name)'")
            guard !load.isOpen, !finding.holds else { return nil }
            return
                "\(sample.arm.rawValue), \(sample.phase): with closed arrivals the rate that was "
                + "found may be the generator's own: \(finding.sentence)"
        }
    }

    private func saturated(_ load: LoadSample, _ who: String) -> Finding {
        atMost(
            .generator, load.busy, maxGeneratorCPU,
            "the load generator\(who) was saturated: its busiest thread worked")
    }

    private func achieved(_ load: LoadSample, _ who: String) -> Finding {
        let share = Double(load.sent) / Double(load.planned)
        let observed = figure(share, unit: "share")
        let limit = figure(minAchieved, unit: "share")
        return Finding(
            rule: .achieved, figure: share, observed: observed, limit: "at least \(limit)",
            holds: share >= minAchieved,
            sentence: "the offered load\(who) was not reached: \(observed) of the planned requests "
                + "were sent, at least \(limit) are needed")
    }

    private func opened(_ load: LoadSample, _ who: String) -> Finding {
        Finding(
            rule: .connections, figure: Double(load.localFailures),
            observed: "\(load.localFailures)", limit: "none", holds: load.localFailures == 0,
            sentence: "the load generator\(who) lacked descriptors or ports of its own for "
                + "\(load.localFailures) connections")
    }

    private func lag(_ load: LoadSample, _ who: String) -> Finding {
        let lag = load.lagP99 ?? .zero
        let limit = figure(Double(maxLagP99.nanoseconds), unit: "ns")
        let observed = load.lagP99.map { figure(Double($0.nanoseconds), unit: "ns") } ?? "none"
        return Finding(
            rule: .lag, figure: Double(lag.nanoseconds), observed: observed,
            limit: "at most \(limit)", holds: lag <= maxLagP99,
            sentence: "the load generator\(who) was late: lag p99 was \(observed), "
                + "at most \(limit) is allowed")
    }

    /// - Parameter share: nil where it could not be read: what is not known does not hold.
    private func atMost(
        _ rule: Finding.Rule, _ share: Double?, _ limit: Double, _ complaint: String
    ) -> Finding {
        let observed = share.map { figure($0, unit: "share") } ?? "not known"
        let allowed = figure(limit, unit: "share")
        return Finding(
            rule: rule, figure: share ?? .infinity, observed: observed, limit: "at most \(allowed)",
            holds: share.map { $0 <= limit } ?? false,
            sentence: share == nil
                ? "\(rule.rawValue): it could not be read"
                : "\(complaint) \(observed), at most \(allowed) is allowed")
    }
}

/// Which rounds count, and whether they are enough.
struct Trust {
    /// Numbers of the rounds that count.
    let counted: [Int]
    /// Of each round that does not, why, by arm and phase.
    let complaints: [Int: [Complaint]]
    let validity: RunResult.Validity
    /// Whether all was done that was asked for.
    let isDelivered: Bool

    struct Complaint: Equatable {
        var round: Int
        var arm: ArmName
        var phase: String
        var finding: Finding
        var sentence: String { finding.sentence }
    }

    init(
        _ samples: [Sample], rounds: [Int], experiment: Experiment, faults: [RunResult.Fault] = [],
        changes: [RunResult.Change] = [], warnings: [String]
    ) {
        self.init(
            samples, rounds: rounds, limits: experiment.limits, needed: experiment.rounds.min,
            arms: experiment.turnNames, phases: experiment.phases.filter(\.measure).map(\.name),
            faults: faults, changes: changes, warnings: warnings)
    }

    /// - Parameters:
    ///   - rounds: numbers of all rounds that were completed.
    ///   - needed: how many of them must count.
    init(
        _ samples: [Sample], rounds: [Int], limits: ValidityLimits, needed: Int, arms: [ArmName],
        phases: [String], faults: [RunResult.Fault] = [], changes: [RunResult.Change] = [],
        warnings: [String]
    ) {
        var complaints: [Int: [Complaint]] = [:]
        for sample in samples {
            for finding in limits.findings(sample) where !finding.holds {
                complaints[sample.round, default: []].append(
                    Complaint(
                        round: sample.round, arm: sample.arm, phase: sample.phase,
                        finding: finding))
            }
        }
        self.complaints = complaints
        counted = rounds.filter { complaints[$0] == nil }

        // What was asked for and not done is no chance disturbance: other rounds do not mend it.
        var reasons = Self.undelivered(faults) + Self.unmade(changes)
        isDelivered = reasons.isEmpty
        let isValid = counted.count >= needed && isDelivered
        var warnings = warnings
        let setAside = rounds.filter { complaints[$0] != nil }
        let sentences = Self.summary(setAside.flatMap { complaints[$0] ?? [] })
        if isValid {
            if !setAside.isEmpty {
                warnings.append(
                    "\(setAside.count) of \(rounds.count) rounds were set aside and do not count")
                warnings += sentences
            }
        } else if counted.count < needed {
            reasons.append(
                "only \(counted.count) of \(rounds.count) rounds can be trusted, "
                    + "\(needed) are needed"
            )
            reasons += sentences
        }
        let judged = isValid ? counted : rounds
        // One for each arm and phase: the first round in which it was so.
        var cautioned: Set<String> = []
        for sample in samples where judged.contains(sample.round) {
            let place = "\(sample.arm.rawValue), \(sample.phase)"
            let cautions = limits.cautions(sample)
            if !cautions.isEmpty, cautioned.insert(place).inserted { warnings += cautions }
        }
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

    /// Of each fault the first of what is wrong with it, and how often something is.
    private static func undelivered(_ faults: [RunResult.Fault]) -> [String] {
        distinct(faults.map(\.name)).compactMap { name in
            let wrong = faults.filter { $0.name == name && !$0.problems.isEmpty }
            guard let first = wrong.first else { return nil }
            let place = "round \(first.round), \(first.arm.rawValue)"
            let more = wrong.reduce(-1) { $0 + $1.problems.count }
            return "the fault '\(name)' was not what was asked for: \(place): "
                + first.problems[0] + (more > 0 ? "; and \(more) more" : "")
        }
    }

    /// Of each change of the mesh that was not made by the end, the first time that it was not.
    private static func unmade(_ changes: [RunResult.Change]) -> [String] {
        let undone = changes.filter { $0.done == false }
        return distinct(undone.map(\.what)).compactMap { what in
            let same = undone.filter { $0.what == what }
            guard let first = same.first else { return nil }
            return "the change '\(what)' was not made: round \(first.round), "
                + first.arm.rawValue
                + (same.count > 1 ? "; and \(same.count - 1) more times" : "")
        }
    }

    /// For each rule that was broken one sentence, about the worst case, and the rounds in which it
    /// was: a machine that is too slow breaks the same rule in every phase of every round.
    private static func summary(_ complaints: [Complaint]) -> [String] {
        Finding.Rule.allCases.compactMap { rule in
            let same = complaints.filter { $0.finding.rule == rule }
            guard let worst = same.max(by: { rule.isWorse($1.finding.figure, $0.finding.figure) })
            else { return nil }
            let place = "round \(worst.round + 1), \(worst.arm.rawValue), \(worst.phase)"
            let others = Set(same.map(\.round)).subtracting([worst.round]).sorted()
            let rest =
                others.isEmpty
                ? "" : "; also in round " + others.map { "\($0 + 1)" }.joined(separator: ", ")
            return "\(place): \(worst.sentence)\(rest)"
        }
    }

    /// For each condition the worst of the samples.
    private static func checks(
        _ samples: [Sample], _ limits: ValidityLimits, label: String
    ) -> [RunResult.Validity.Check] {
        let findings = samples.flatMap { limits.findings($0) }
        return Finding.Rule.allCases.compactMap { rule in
            let same = findings.filter { $0.rule == rule }
            let worst = same.max { rule.isWorse($1.figure, $0.figure) }
            return worst.map {
                .init(
                    name: "\(rule.rawValue), \(label)", observed: $0.observed, limit: $0.limit,
                    held: same.allSatisfy(\.holds))
            }
        }
    }
}
