// What can be done to processes of an arm, each a file of its own behind one face. Faults of
// requests are leases instead, held by a thread of their own: `LeaseKeeper`.

import Base
import Model

/// Something that is done to processes for a while, by the thread that started them.
protocol Injection {
    /// Does it. Takes no longer than a moment.
    /// - Returns: what did not come about, for people.
    func begin(
        _ roles: [Role], of roster: Roster, _ accountant: inout Accountant
    ) throws(RigError) -> [String]

    /// Undoes it, with the same processes.
    func undo(
        _ roles: [Role], of roster: Roster, _ accountant: inout Accountant
    ) throws(RigError) -> [String]
}

extension FaultPlan.Action {
    /// How it is done to processes; nil: it is done to requests.
    var injection: (any Injection)? {
        switch self {
        case .requests: nil
        case .kill, .refuse: CutInjection()
        case .stop, .blackHole: StopInjection()
        }
    }
}
