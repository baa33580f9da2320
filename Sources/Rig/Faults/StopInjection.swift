import Base
import Glibc
import Posix

/// Stops processes (SIGSTOP) and lets them go on. The kernel goes on taking connections and bytes
/// for them, as much as has room, and nobody answers.
struct StopInjection: Injection {
    /// How long the kernel may take until all threads have stopped. It takes microseconds.
    private static let patience = Duration.milliseconds(100)

    func begin(
        _ roles: [Role], of roster: Roster, _ accountant: inout Accountant
    ) throws(RigError) -> [String] {
        send(SIGSTOP, to: roles, of: roster)
        return roles.filter { !comes(true, $0) }.map { "\($0.node.name) was not stopped" }
    }

    func undo(
        _ roles: [Role], of roster: Roster, _ accountant: inout Accountant
    ) throws(RigError) -> [String] {
        send(SIGCONT, to: roles, of: roster)
        return roles.filter { !comes(false, $0) }.map { "\($0.node.name) did not go on" }
    }

    private func send(_ signal: Int32, to roles: [Role], of roster: Roster) {
        let word = signal == SIGSTOP ? "stop" : "go on"
        for role in roles {
            role.process.send(signal)
            roster.place.journal.note(word, ["process": role.node.name])
        }
    }

    /// Whether it comes to be stopped, or to go on.
    private func comes(_ isStopped: Bool, _ role: Role) -> Bool {
        let deadline = Clock.now() + Self.patience
        while true {
            let state = ProcessStat(pid: role.process.pid)?.state
            if state.map({ ($0 == UInt8(ascii: "T")) == isStopped }) ?? false { return true }
            guard Clock.now() < deadline else { return false }
            Clock.sleep(until: Clock.now() + .milliseconds(1))
        }
    }
}
