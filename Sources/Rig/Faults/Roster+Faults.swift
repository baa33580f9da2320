// What is done to the processes of an arm while it carries load: they are ended and started again
// where they were, or stopped. All of it by the thread that started them: they die with it, and so
// does what is started again.

import Base
import Glibc
import Model
import Posix

/// What a process writes of what it has done, for the ledger.
enum TraceKind: String {
    case access
    case ledger
}

extension Roster {
    func role(_ name: String) -> Role? { roles.first { $0.node.name == name } }

    /// Where a process writes such lines. The file is of one turn: what another left is removed.
    func trace(of node: Topology.Node, _ kind: TraceKind) throws(RigError) -> String {
        let folder = absolutePath(try place.folder.folder("scratch/\(kind.rawValue)"))
        let path = "\(folder)/\(topology.arm.rawValue)-\(fileName(node.name)).jsonl"
        _ = unsafe unlink(path)
        traces[kind, default: [:]][node.name] = path
        return path
    }

    /// Ends processes as a power cut would.
    /// - Returns: those that did not end by it, and how they are.
    @discardableResult
    func cut(_ roles: [Role], _ accountant: inout Accountant) -> [String] {
        for role in roles {
            place.journal.note("kill", ["process": role.node.name])
            accountant.release(role.node.name)
            role.process.send(SIGKILL)
        }
        return roles.compactMap { role in
            switch role.wasCut() {
            case .killed(SIGKILL): nil
            case let end?: "\(role.node.name) \(end)"
            case nil: "\(role.node.name) lives on"
            }
        }
    }

    /// Starts a process again where it was, with what it had. That it serves is heard later: `hear`
    /// and `checkResumed`.
    func resume(_ role: Role, _ accountant: inout Accountant) throws(RigError) {
        place.journal.note("start again", ["process": role.node.name])
        role.resume(with: try launch(role.node, role.words, log: role.log))
        accountant.succeed(role.node.name, role.process.pid)
    }

    /// Takes in what processes that were started again have said.
    func hear() throws(RigError) {
        for role in roles where role.wasResumed && !role.isDown && role.servedAgain == nil {
            guard let line = try nextLine(of: role) else { continue }
            let told = try announcement(line, of: role)
            // An application's one address has no name.
            let isSame = (told.listeners ?? [:]).allSatisfy { name, address in
                role.addresses[name].map { $0 == address } ?? (role.addresses[""] == address)
            }
            guard isSame else {
                throw RigError(
                    .speech, "\(role.node.name) was started again and came back elsewhere")
            }
            role.servedAgain = Clock.now()
            place.journal.note("serves again", ["process": role.node.name])
        }
    }

    /// Become readable when a process says something that was started again.
    var voices: [Int32] {
        roles.filter { $0.wasResumed && !$0.isDown && $0.servedAgain == nil }
            .map(\.process.outputDescriptor)
    }

    /// - Throws: `.start` where something that was started again does not serve.
    func checkResumed(within patience: Duration) throws(RigError) {
        let deadline = Clock.now() + patience
        for role in roles where role.wasResumed && !role.isDown {
            while role.servedAgain == nil {
                try hear()
                try role.checkAlive()
                if role.servedAgain != nil { break }
                guard Clock.now() < deadline else {
                    throw RigError(
                        .start, "\(role.node.name) was started again and does not serve",
                        log: tail(of: role.log, lines: 20))
                }
                try place.wait(for: voices + endings, until: Clock.now() + .milliseconds(100))
            }
            try awaitControl(role, until: deadline)
        }
    }
}
