// What all rounds share: how each arm is laid out, and a client that is the same for all.

import Base
import LoadCore
import Model
import Posix

/// The arms of an experiment, ready to take turns.
struct Lineup {
    /// What each arm is run of: that of a control is another than that of the others.
    let experiments: [ArmName: Experiment]
    let topologies: [ArmName: Topology]
    /// For each load, by name, the threads of its generator, the same in all arms: a thread needs a
    /// connection to each address, and the arms differ in these.
    let threads: [String: Int]

    init(_ experiment: Experiment) throws(RigError) {
        var experiments: [ArmName: Experiment] = [:]
        var topologies: [ArmName: Topology] = [:]
        let plans =
            experiment.arms.map { ($0, experiment) }
            + experiment.controls.map { ($0.arm, $0.experiment) }
        for (arm, experiment) in plans {
            topologies[arm.name] = try Topology(arm, of: experiment)
            experiments[arm.name] = experiment
        }
        self.topologies = topologies
        self.experiments = experiments
        var threads: [String: Int] = [:]
        for topology in topologies.values {
            for load in topology.loads {
                let target = LoadJob.Target(address: "", host: "")
                let targets = topology.targets[load.name]?.map { _ in target } ?? []
                let count = LoadJob(
                    plan: load, targets: targets, phases: [], start: nil, seed: 0, spin: .zero
                ).threadCount
                threads[load.name] = min(threads[load.name] ?? count, count)
            }
        }
        self.threads = threads
    }

    /// Whose certificates the run needs.
    var identities: Set<String> {
        topologies.values.reduce(into: []) { $0.formUnion($1.identities) }
    }

    /// Programs of others that the run needs.
    var programs: Set<ForeignProgram> {
        topologies.values.reduce(into: []) { $0.formUnion($1.programs) }
    }

    /// How often a turn is tried that could not begin in time: a machine that stands still for
    /// longer than a start takes does so rarely.
    private static let attempts = 3

    /// Processes draw the same in all arms of a round, and others in the next: what a round draws
    /// again tells nothing new.
    func topology(of arm: ArmName, round: Int) -> Topology {
        guard var topology = topologies[arm] else { preconditionFailure("an arm not laid out") }
        var random = SeededRandom(seed: topology.seed).split("round").split(round)
        topology.seed = random.next()
        return topology
    }

    /// Starts the processes of an arm, runs its phases, and ends the processes.
    func turn(
        of arm: ArmName, round: Int, position: Int, in place: Workplace, _ progress: Progress,
        spin: Duration
    ) throws(RigError) -> ArmRecord {
        guard let experiment = experiments[arm] else {
            preconditionFailure("an arm not laid out")
        }
        let topology = self.topology(of: arm, round: round)
        var attempt = 1
        while true {
            let roster = try Roster(topology, in: place)
            defer { roster.stop() }
            let turn = Turn(
                experiment: experiment, roster: roster, threads: threads, round: round,
                position: position, place: place, progress: progress, spin: spin)
            do throws(RigError) {
                return try turn.run()
            } catch {
                guard error.kind == .late, attempt < Self.attempts else { throw error }
                place.journal.note("late", ["why": error.message, "attempt": "\(attempt)"])
                attempt += 1
            }
        }
    }
}
