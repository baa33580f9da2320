// One arm's turn in one round: quiet, generators made ready, all phases, results. One thread waits
// for everything: for what generators say, for processes that end, for the user, and for the next
// boundary, whichever comes first. Shortly before a boundary it stops waiting for the others and
// sleeps to the very instant, as the generators do on the same clock.

import Base
import LoadCore
import Model
import Posix

/// Something to do at an instant of a turn that is not part of measuring: stopping a server, for
/// one.
struct TurnAction {
    /// From the start of the first phase.
    var offset: Duration
    /// Whether it undoes what another has done.
    var undoes = false
    /// Takes no longer than a moment. Who ends or starts a process says so to the accountant.
    var perform: (inout Accountant) throws(RigError) -> Void
}

/// One arm in one round, under way.
struct Turn {
    /// From sending the start order to the first phase: time for every generator to read it.
    private static let headStart = Duration.milliseconds(100)
    /// Before a boundary, nothing else is looked at for so long.
    private static let hush = Duration.milliseconds(3)
    /// How often members of families are looked for within a phase.
    private static let refreshEvery = Duration.milliseconds(250)

    let experiment: Experiment
    let roster: Roster
    /// For each load, by name, the threads of its generator.
    let threads: [String: Int]
    let round: Int
    let position: Int
    let place: Workplace
    let progress: Progress
    /// At most so long before each intended instant is spent spinning by the generators.
    let spin: Duration
    var actions: [TurnAction] = []

    var arm: ArmName { roster.topology.arm }

    /// Runs the turn.
    /// - Throws: `.died` if any process ended, `.interrupted` if the user stops the run: what an
    ///   unfinished turn has measured is not used.
    func run() throws(RigError) -> ArmRecord {
        place.journal.note("turn", ["round": "\(round + 1)", "arm": arm.rawValue])
        let sessions = try startGenerators()
        try awaitReady(sessions)
        try settle()
        let start = Clock.now() + Self.headStart
        for session in sessions { try session.begin(at: start) }
        let timeline = Timeline(experiment.phases, from: start)
        var conductor: Conductor?
        defer { conductor?.stop() }
        if let desk = roster.desk {
            conductor = try Conductor(desk, experiment.scaledChanges, from: start)
        }
        let faults = ProcessFaults(roster)
        let keeper = try LeaseKeeper(try leases(from: start))
        defer { keeper.stop() }
        let readings = try follow(timeline, sessions, faults.actions)
        let leases = keeper.finish()
        let changes = try conductor?.finish() ?? []
        try roster.checkResumed(within: .seconds(10))
        let end = Clock.now()
        let results = try collect(sessions)
        for session in sessions { session.end() }
        for session in sessions { _ = session.role.process.wait(until: Clock.now() + .seconds(5)) }
        place.journal.note("turn ended", ["round": "\(round + 1)", "arm": arm.rawValue])
        for change in changes { place.journal.note("change", change.facts(from: start)) }
        let pushes = latencies(of: changes, in: timeline, until: end)
        var record = record(results, readings, sessions, pushes: pushes)
        record.changes = course(of: changes, from: start, until: end)
        record.faults = try settle(faults.records, leases, results, from: start)
        try place.folder.append(
            try jsonLine(RawTurn(record, results, changes, from: start)), to: ResultsFolder.rawFile)
        return record
    }

    private func startGenerators() throws(RigError) -> [LoadSession] {
        var sessions: [LoadSession] = []
        for load in roster.topology.loads {
            var targets: [LoadJob.Target] = []
            for endpoint in roster.topology.targets[load.name] ?? [] {
                targets.append(
                    .init(address: try roster.address(of: endpoint), host: load.to, weight: 1))
            }
            let random = SeededRandom(seed: experiment.seed).split("schedule").split(round)
            var generator = random.split(load.name)
            var plan = load
            plan.threads = threads[load.name] ?? load.threads
            let job = LoadJob(
                plan: plan, targets: targets,
                tls: roster.topology.security[load.name].flatMap { place.credentials?.client($0) },
                phases: experiment.phases, start: nil, seed: generator.next(), spin: spin,
                outcomes: try outcomesFile(of: load))
            let label = "\(arm.rawValue)-load-\(load.name)"
            sessions.append(try LoadSession(job, label: label, in: place))
        }
        return sessions
    }

    private func awaitReady(_ sessions: [LoadSession]) throws(RigError) {
        let deadline = Clock.now() + .seconds(20)
        while true {
            for session in sessions { try session.listen() }
            try roster.checkAlive()
            guard let waiting = sessions.first(where: { !$0.isReady }) else { return }
            guard Clock.now() < deadline else {
                throw RigError(
                    .start, "\(waiting.role.node.name) was not ready within 20 s",
                    log: tail(of: waiting.role.log, lines: 20))
            }
            let outputs = sessions.map(\.role.process.outputDescriptor)
            try place.wait(for: outputs + roster.endings, until: deadline)
        }
    }

    /// Waits until the machine is quiet, at most two seconds: what the last turn or the start of
    /// processes left to do must not be charged to this turn. Not where a machine that is busy all
    /// the time is valid.
    private func settle() throws(RigError) {
        guard experiment.limits.maxMachineCPU < 1 else { return }
        let deadline = Clock.now() + .seconds(2)
        while Clock.now() < deadline {
            let before = MachineUsage()
            // 20 ticks of each core: enough to tell 5 % from 15 %.
            try place.wait(for: [], until: Clock.now() + .milliseconds(200))
            guard let before, let after = MachineUsage() else { return }
            let busy = MachineUsage.shares(from: before, to: after).busy
            if busy <= 0.1 { return }
            place.journal.note("not yet quiet", ["busy": "\(busy)"])
        }
    }

    /// Lives through all phases; the readings at those boundaries that matter.
    private func follow(
        _ timeline: Timeline, _ sessions: [LoadSession], _ faults: [TurnAction]
    ) throws(RigError) -> [Reading?] {
        var accountant = Accountant(accounts(sessions))
        // Workers that a command has started since it became ready.
        accountant.refresh()
        var readings: [Reading?] = []
        var pending = inOrder(actions + controlActions + faults)[...]
        for (index, boundary) in timeline.boundaries.enumerated() {
            var refreshed = Clock.now()
            while true {
                let action = pending.first.map { timeline.boundaries[0] + $0.offset }
                let next = min(boundary, action ?? boundary)
                let now = Clock.now()
                if now >= next - Self.hush {
                    Clock.sleep(until: next)
                    if let action, action < boundary {
                        try pending.removeFirst().perform(&accountant)
                        continue
                    }
                    break
                }
                try watch(sessions, until: min(next - Self.hush, refreshed + Self.refreshEvery))
                if Clock.now() - refreshed >= Self.refreshEvery {
                    accountant.refresh()
                    refreshed = Clock.now()
                    report(timeline, sessions)
                }
            }
            readings.append(timeline.isRead[index] ? try read(&accountant) : nil)
            accountant.refresh()
            if index < experiment.phases.count {
                place.journal.note("phase", ["name": experiment.phases[index].name])
            }
        }
        // What lasts to the end is undone there.
        while let action = pending.popFirst() { try action.perform(&accountant) }
        return readings
    }

    /// Everything at this instant; what is asked of the processes comes last, as it takes time.
    private func read(_ accountant: inout Accountant) throws(RigError) -> Reading {
        var reading = try accountant.read()
        guard experiment.needsEvidence else { return reading }
        reading.evidence = roster.evidenceSources.readings()
        return reading
    }

    /// By their instants; of one instant, those that undo something come first.
    private func inOrder(_ actions: [TurnAction]) -> [TurnAction] {
        actions.enumerated().sorted { a, b in
            (a.element.offset, a.element.undoes ? 0 : 1, a.offset)
                < (b.element.offset, b.element.undoes ? 0 : 1, b.offset)
        }.map(\.element)
    }

    private func watch(_ sessions: [LoadSession], until deadline: Instant) throws(RigError) {
        let outputs = sessions.filter { $0.result == nil }.map(\.role.process.outputDescriptor)
        try place.wait(for: outputs + roster.endings + roster.voices, until: deadline)
        for session in sessions { try session.listen() }
        try roster.hear()
        try roster.checkAlive()
    }

    private func report(_ timeline: Timeline, _ sessions: [LoadSession]) {
        let phase = timeline.phase(at: Clock.now())
        progress.show(
            round: round, arm: arm, phase: experiment.phases[phase].name,
            left: timeline.end - Clock.now(), seconds: sessions.compactMap(\.second))
    }

    /// Waits for every generator's last requests and its result.
    private func collect(_ sessions: [LoadSession]) throws(RigError) -> [LoadResult] {
        let longest = experiment.loads.map(\.timeout).max() ?? .zero
        let deadline = Clock.now() + longest + .seconds(20)
        while true {
            for session in sessions { try session.listen() }
            guard let waiting = sessions.first(where: { $0.result == nil }) else {
                return sessions.compactMap(\.result)
            }
            guard Clock.now() < deadline else {
                throw RigError(.speech, "\(waiting.role.node.name) gave no result")
            }
            try watch(sessions, until: deadline)
        }
    }

    private func accounts(_ sessions: [LoadSession]) -> [Accountant.Account] {
        (roster.roles + sessions.map(\.role)).map {
            .init(name: $0.node.name, group: $0.node.group, meter: $0.meter)
        }
    }
}
