// An Envoy of an arm, and the agent that stands beside it and joins in its place (docs/ENVOY.md).

import Base
import Model
import Posix

extension Roster {
    /// Starts what joins for an Envoy and writes what that is started with.
    func startAgent(
        _ node: Topology.Node, _ joined: Topology.Joined, label: String, log: String
    ) throws(RigError) {
        let scratch = try makeScratch(label)
        // An Envoy has to be told its ports.
        let held = [try HeldPort(), try HeldPort(), try HeldPort()]
        let ports = held.map(\.address)
        var words = ["control", "envoy-agent"] + (try joining(joined, in: scratch))
        words += [
            "--out", scratch + "/envoy", "--outbound", ports[0], "--admin", ports[1],
        ]
        if let application = joined.application {
            words += ["--inbound", ports[2], "--app", try address(of: application)]
        }
        let role = try serve(node, words, log: log)
        role.held = held
        role.addresses = ["outbound": ports[0], "admin": ports[1], "inbound": ports[2]]
    }

    /// Starts an Envoy, and waits until it has been told everything once.
    func startEnvoy(_ node: Topology.Node, agent: String, log: String) throws(RigError) {
        guard let agent = roles.first(where: { $0.node.name == agent }),
            case .agent(let joined) = agent.node.kind, let bootstrap = agent.bootstrap,
            let admin = agent.addresses["admin"], let port = SocketAddress(admin)?.port
        else { preconditionFailure("an Envoy before its agent") }
        let process = try launch(
            ProcessCommand(
                name: node.name, program: try ForeignProgram.envoy.path(),
                arguments: [
                    "-c", bootstrap, "--concurrency", "\(joined.workers)",
                    "--disable-hot-restart", "--log-level", "warning",
                ], output: .file(log), errorLog: log))
        let role = Role(node: node, process: process, log: log, addresses: agent.addresses)
        try awaitReady(role, .http(path: "/ready"), port, within: .seconds(20))
    }
}
