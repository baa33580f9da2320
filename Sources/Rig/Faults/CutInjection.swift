import Base

/// Ends processes as a power cut would, and starts them again where they were. Meanwhile their
/// ports stay theirs, and nobody listens there: who connects is refused.
struct CutInjection: Injection {
    func begin(
        _ roles: [Role], of roster: Roster, _ accountant: inout Accountant
    ) throws(RigError) -> [String] {
        let down = roles.filter(\.isDown).map { "\($0.node.name) was down already" }
        return down + roster.cut(roles.filter { !$0.isDown }, &accountant)
    }

    func undo(
        _ roles: [Role], of roster: Roster, _ accountant: inout Accountant
    ) throws(RigError) -> [String] {
        for role in roles where role.isDown { try roster.resume(role, &accountant) }
        return []
    }
}
