import Base
import LoadCore
import Model
import Posix
import Stats

extension Turn {
    /// Joins what the generators saw with what the processes used.
    func record(
        _ results: [LoadResult], _ readings: [Reading?], _ sessions: [LoadSession]
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
            tally.connections = experiment.loads.reduce(0) { $0 + $1.connections }
            tally.compact()
            var machine = MachineUsage.Shares(busy: 0, stolen: 0, softInterrupts: 0)
            if let before = start.machine, let after = end.machine {
                machine = MachineUsage.shares(from: before, to: after)
            }
            samples.append(
                Sample(
                    round: round, position: position, arm: roster.topology.arm, phase: phase.name,
                    tally: tally, processes: accounts.processes(from: start, to: end),
                    machine: machine, span: phase.duration, window: end.taken - start.taken,
                    generatorBusy: results.flatMap(\.threads).map(\.busy).max() ?? 0,
                    clockStepped: ClockPair.stepped(from: start.clocks, to: end.clocks),
                    lostWorkers: accounts.lostWorkers(from: start, to: end),
                    isOpenLoop: experiment.loads.contains { $0.arrivals != .closed },
                    scheduleHash: results.map(\.scheduleHash).joined(separator: "-")))
        }
        return ArmRecord(
            round: round, position: position, arm: roster.topology.arm, samples: samples,
            seconds: course(of: results))
    }

    /// The seconds of all generators, added up.
    private func course(of results: [LoadResult]) -> [ArmRecord.Second] {
        let count = results.map(\.seconds.count).max() ?? 0
        return (0..<count).map { index in
            var sum = LoadResult.SecondTally(phase: "", offset: 0)
            for result in results where index < result.seconds.count {
                sum.phase = result.seconds[index].phase
                sum.offset = result.seconds[index].offset
                sum.merge(result.seconds[index])
            }
            return ArmRecord.Second(
                phase: sum.phase, offset: sum.offset, planned: sum.planned,
                completed: sum.completed, errors: sum.errors, response: sum.response)
        }
    }
}
