// The control plane of an arm, and the proxies that join it. They are told where it is, given a
// token each, and find out all else; an arm is ready when all of them have in force what names the
// last endpoint.

import Base
import FoundationEssentials
import Model
import Posix

extension Roster {
    /// Starts the control plane, in a folder that goes with the arm, and declares the mesh.
    func startControl(
        _ node: Topology.Node, _ control: Topology.Control, label: String, log: String
    ) throws(RigError) {
        let data = try makeScratch(label) + "/data"
        let role = try serve(
            node, control.plan.words(data: data, api: "127.0.0.1:0", proxies: "127.0.0.1:0"),
            log: log)
        guard let api = role.addresses["main"], role.addresses["proxies"] != nil else {
            throw RigError(
                .speech,
                "the control plane announced no listener for proxies, but: "
                    + role.addresses.keys.sorted().joined(separator: ", "))
        }
        try writeFile(
            Array(MeshDesk.body(control.declarations).utf8),
            to: try place.folder.folder("configuration") + "/\(label).json")
        do throws(DeskError) {
            let desk = try MeshDesk(
                api, token: try readToken(data + "/token"), proxies: control.proxies)
            _ = try desk.apply(control.declarations)
            open(desk)
        } catch {
            throw RigError(.start, "the control plane: \(error)", log: tail(of: log, lines: 20))
        }
    }

    /// Starts a sidecar that joins.
    func startJoined(
        _ node: Topology.Node, _ joined: Topology.Joined, label: String, log: String
    ) throws(RigError) {
        guard let desk, let control = roles.first(where: { $0.node.group == .control }) else {
            preconditionFailure("a proxy joins before there is a control plane")
        }
        let scratch = try makeScratch(label)
        let token: String
        do throws(DeskError) {
            token = try desk.token(for: joined.service)
        } catch {
            throw RigError(.start, "no token for \(node.name): \(error)")
        }
        try writePrivate(Array("\(token)\n".utf8), to: scratch + "/token")
        var words = [
            "proxy", "--join", control.addresses["proxies"] ?? "", "--token-file",
            scratch + "/token", "--name", joined.name, "--outbound", "127.0.0.1:0", "--state",
            scratch + "/state", "--admin", "127.0.0.1:0", "--workers", "\(joined.workers)",
        ]
        if let application = joined.application {
            words += ["--inbound", "127.0.0.1:0", "--app", try address(of: application)]
        }
        _ = try serve(node, words, log: log)
    }

    /// Waits until every proxy has in force all that the control plane has been told by then.
    func awaitMesh(within patience: Duration) throws(RigError) {
        guard let desk else { return }
        let deadline = Clock.now() + patience
        while true {
            let state: String
            do throws(DeskError) {
                let standing = try desk.standing()
                let now = Clock.now()
                if standing.inForce(standing.revision, proxies: desk.proxies, answered: now) != nil
                {
                    return
                }
                let ready = standing.proxies.count { $0.acknowledged >= $0.sent }
                state =
                    standing.complaint
                    ?? "\(ready) of \(desk.proxies) proxies have joined and serve what they should"
            } catch {
                state = "\(error)"
            }
            try checkAlive()
            guard Clock.now() < deadline else {
                throw RigError(
                    .start, "the mesh was not ready within \(patience.seconds) s: \(state)",
                    log: roles.first.map { tail(of: $0.log, lines: 20) } ?? [])
            }
            try place.wait(for: endings, until: min(deadline, Clock.now() + .milliseconds(20)))
        }
    }

    // MARK: While it carries load

    /// Ends the control plane as a power cut would.
    func cutControl(_ accountant: inout Accountant) {
        guard let role = control?.role, !role.isDown else { return }
        place.journal.note("kill", ["process": role.node.name])
        accountant.release(role.node.name)
        role.cut()
    }

    /// Starts it again where it was, with what it had. That it serves is seen by what it answers.
    func resumeControl(_ accountant: inout Accountant) throws(RigError) {
        guard let (role, plan) = control, role.isDown else { return }
        place.journal.note("start again", ["process": role.node.name])
        let label = "\(topology.arm.rawValue)-\(fileName(role.node.name))"
        let words = plan.words(
            data: absolutePath(place.folder.path) + "/scratch/\(label)/data",
            api: role.addresses["main"] ?? "", proxies: role.addresses["proxies"] ?? "")
        role.resume(with: try launch(role.node, words, log: role.log))
        accountant.succeed(role.node.name, role.process.pid)
    }

    private var control: (role: Role, plan: ControlPlan)? {
        for role in roles {
            if case .control(let control) = role.node.kind { return (role, control.plan) }
        }
        return nil
    }
}

extension ControlPlan {
    /// The words that start it.
    fileprivate func words(data: String, api: String, proxies: String) -> [String] {
        let life = certificateLife.map { ["--certificate-life", $0.exactText] } ?? []
        return ["control", "--data", data, "--listen", api, "--proxies", proxies] + life
    }
}

/// What a control plane has written for its clients.
private func readToken(_ path: String) throws(DeskError) -> String {
    let bytes = FileManager.default.contents(atPath: path) ?? Data()
    let token = String(decoding: bytes, as: UTF8.self).prefix { $0 != "\n" }
    guard !token.isEmpty else { throw .refused("there is no token in \(path)") }
    return String(token)
}
