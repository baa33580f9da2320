// The faults of a turn that are done to processes, as actions of the thread that follows the
// phases.

import Base
import Model
import Posix

/// What became of one fault of an arm in one turn.
struct FaultRecord: Sendable {
    var fault: ArmFault
    /// When it was wholly there, and when it was wholly gone; nil: never.
    var begun: Instant?
    var ended: Instant?
    /// What was asked for and did not come about, each a sentence.
    var problems: [String] = []
    /// What processes say that they have done by their rules; empty: it is no fault of requests.
    var reports: [String: FaultReport.Entry] = [:]
}

/// Does such faults in their order, and notes what became of them. For one thread.
final class ProcessFaults {
    private let roster: Roster
    private(set) var records: [FaultRecord] = []

    init(_ roster: Roster) { self.roster = roster }

    /// What is to be done in the course of the turn.
    var actions: [TurnAction] {
        roster.topology.faults.flatMap { fault -> [TurnAction] in
            guard let injection = fault.plan.action.injection else { return [] }
            let place = records.count
            records.append(FaultRecord(fault: fault))
            return [
                TurnAction(offset: fault.span.begin) { [self] accountant throws(RigError) in
                    records[place].problems += try injection.begin(
                        roles(fault), of: roster, &accountant)
                    records[place].begun = note("fault begins", fault)
                },
                TurnAction(offset: fault.span.end, undoes: true) {
                    [self] accountant throws(RigError) in
                    records[place].problems += try injection.undo(
                        roles(fault), of: roster, &accountant)
                    records[place].ended = note("fault ends", fault)
                },
            ]
        }
    }

    private func roles(_ fault: ArmFault) -> [Role] { fault.processes.compactMap(roster.role) }

    private func note(_ words: String, _ fault: ArmFault) -> Instant {
        let now = Clock.now()
        roster.place.journal.note(words, fault.facts, at: now)
        return now
    }
}

extension ArmFault {
    /// For the journal.
    var facts: KeyValuePairs<String, String> {
        [
            "fault": name, "what": plan.action.title, "point": plan.point.rawValue,
            "processes": processes.joined(separator: ", "),
        ]
    }
}
