import Base
import LoadCore
import Model
import Posix
import Stats

extension Turn {
    /// Joins what the generators saw with what the processes used.
    func record(
        _ results: [LoadResult], _ readings: [Reading?], _ sessions: [LoadSession],
        pushes: [[Duration]]
    ) -> ArmRecord {
        let accounts = Accountant(
            (roster.roles + sessions.map(\.role)).map {
                .init(name: $0.node.name, group: $0.node.group, meter: $0.meter)
            })
        var samples: [Sample] = []
        for (index, phase) in experiment.phases.enumerated() where phase.measure {
            guard let start = readings[index], let end = readings[index + 1] else {
                preconditionFailure("a measured phase without its readings")
            }
            var tally = Tally()
            for result in results where index < result.phases.count {
                tally.merge(Tally(result.phases[index]))
            }
            for push in pushes[index] { tally.configPush.record(UInt64(push.nanoseconds)) }
            tally.connections = experiment.loads.reduce(0) { $0 + $1.connections }
            tally.compact()
            var machine: MachineUsage.Shares?
            if let before = start.machine, let after = end.machine {
                machine = MachineUsage.shares(from: before, to: after)
            }
            var tallies: [String: Tally] = [:]
            if results.count > 1 {
                for (plan, result) in zip(experiment.loads, results)
                where index < result.phases.count {
                    tallies[plan.name] = Tally(result.phases[index])
                    tallies[plan.name]?.compact()
                }
            }
            samples.append(
                Sample(
                    round: round, position: position, arm: roster.topology.arm, phase: phase.name,
                    tally: tally, tallies: tallies,
                    processes: accounts.processes(from: start, to: end),
                    machine: machine, span: phase.duration, window: end.taken - start.taken,
                    loads: zip(experiment.loads, results).compactMap {
                        LoadSample($0, $1, phase: index)
                    },
                    clockStepped: ClockPair.stepped(from: start.clocks, to: end.clocks),
                    lostWorkers: accounts.lostWorkers(from: start, to: end),
                    evidence: evidence(from: start, to: end),
                    scheduleHash: results.map(\.scheduleHash).joined(separator: "-")))
        }
        return ArmRecord(
            round: round, position: position, arm: roster.topology.arm, samples: samples,
            seconds: course(of: results))
    }

    /// Of every process that can be asked, where anybody has asked.
    private func evidence(from start: Reading, to end: Reading) -> [Evidence] {
        guard experiment.needsEvidence else { return [] }
        return roster.evidenceSources.map {
            $0.evidence(from: start.evidence[$0.process], to: end.evidence[$0.process])
        }
    }

    /// The seconds of all generators, added up. Those after the end of the last phase hold answers
    /// to what was asked before it.
    private func course(of results: [LoadResult]) -> [ArmRecord.Second] {
        let count = results.map(\.seconds.count).max() ?? 0
        return (0..<count).map { index in
            var sum = LoadResult.SecondTally(phase: "", offset: 0)
            var due = LoadResult.DueTally()
            for result in results where index < result.seconds.count {
                sum.phase = result.seconds[index].phase
                sum.offset = result.seconds[index].offset
                sum.merge(result.seconds[index])
                if index < result.due.count { due.merge(result.due[index]) }
            }
            return ArmRecord.Second(
                phase: sum.phase, offset: sum.offset, planned: sum.planned,
                completed: sum.completed, errors: sum.errors, response: sum.response,
                good: sum.good, due: due)
        }
    }
}

extension LoadSample {
    /// What one generator did in one phase; nil where its result does not reach so far.
    fileprivate init?(_ plan: LoadPlan, _ result: LoadResult, phase: Int) {
        guard result.phases.indices.contains(phase) else { return nil }
        let tally = result.phases[phase]
        self.init(
            name: plan.name, isOpen: plan.arrivals != .closed, planned: tally.planned,
            sent: tally.sent,
            lagP99: tally.lag.count == 0
                ? nil : .nanoseconds(Int64(clamping: tally.lag.value(atQuantile: 0.99))),
            busy: result.threads.map { $0.busy(inPhase: phase) }.max() ?? 0,
            localFailures: result.openFailures.filter(\.isLocal).reduce(0) { $0 + $1.count })
    }
}
