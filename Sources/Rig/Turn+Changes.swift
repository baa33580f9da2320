// The changes of a turn: those that the thread with the processes makes, and what became of all.

import Base
import Model
import Report

extension Turn {
    /// What ends and starts the control plane, of which all processes are this thread's.
    var controlActions: [TurnAction] {
        guard roster.desk != nil else { return [] }
        let roster = roster
        return experiment.changes.compactMap { change in
            switch change.action {
            case .killControl(let replica):
                TurnAction(offset: change.offset) { roster.cutControl(replica, &$0) }
            case .startControl(let replica):
                TurnAction(offset: change.offset) { accountant throws(RigError) in
                    try roster.resumeControl(replica, &accountant)
                }
            case .apply, .drain, .undrain, .rotateAuthority: nil
            }
        }
    }

    /// All changes of the turn, in the order in which they were due: those that this thread made,
    /// which are of processes, before others of the same instant.
    func course(
        of changes: [ChangeRecord], from start: Instant, until end: Instant
    ) -> [RunResult.Change] {
        guard roster.desk != nil else { return [] }
        // One that could not be made has failed the turn.
        let own = experiment.changes.filter { !$0.isCalled }.map {
            RunResult.Change(
                arm: arm, round: round + 1, what: $0.title, dueSeconds: $0.offset.seconds,
                done: true)
        }
        let called = changes.map { change in
            RunResult.Change(
                arm: arm, round: round + 1, what: change.plan.title,
                dueSeconds: (change.due - start).seconds, done: change.answered != nil,
                configPushNs: change.latency(until: end)?.nanoseconds,
                inForce: change.plan.isPushed ? change.inForce != nil : nil)
        }
        return (own + called).enumerated().sorted {
            ($0.element.dueSeconds, $0.offset) < ($1.element.dueSeconds, $1.offset)
        }.map(\.element)
    }

    /// How long changes took to be in force, for each phase in which they were due.
    func latencies(
        of changes: [ChangeRecord], in timeline: Timeline, until end: Instant
    ) -> [[Duration]] {
        var all = [[Duration]](repeating: [], count: experiment.phases.count)
        for change in changes {
            guard let latency = change.latency(until: end) else { continue }
            all[timeline.phase(at: change.due)].append(latency)
        }
        return all
    }
}

extension ChangeRecord {
    /// For the journal; instants are from the start of the first phase.
    func facts(from start: Instant) -> KeyValuePairs<String, String> {
        func text(_ instant: Instant?) -> String {
            instant.map { "\(($0 - start).seconds) s" } ?? "not by the end"
        }
        return [
            "what": plan.title, "due": text(due), "done": text(answered),
            "in force": plan.isPushed ? text(inForce) : "not measured",
            "complaint": complaint ?? "none",
        ]
    }
}
