// What is asked of a mesh with a control plane: how it is run, and what is changed in it while the
// load runs. What it is declared to be follows from the experiment: `Experiment.declarations`.

public import Base

/// How the control plane of a mesh is run.
public struct ControlPlan: Codable, Equatable, Sendable {
    /// How long the certificates last that proxies get; nil: as the control plane has it.
    public var certificateLife: Duration?

    public init(certificateLife: Duration? = nil) { self.certificateLife = certificateLife }
}

/// One change of a mesh while it carries load.
public struct ChangePlan: Codable, Equatable, Sendable {
    public enum Action: Codable, Equatable, Sendable {
        /// Declares, in place of what had the same kinds and names.
        case apply([MeshDeclaration])
        /// Takes one replica of a service out of the turns of all clients, by number from 0.
        case drain(service: String, replica: Int)
        /// Ends the control plane as a power cut would (SIGKILL).
        case killControl
        /// Starts it again, with all that it had.
        case startControl
        /// Begins to change the mesh's authority for a new one.
        case rotateAuthority
    }

    /// When it is due, from the start of the arm's first phase.
    public var offset: Duration
    public var action: Action

    public init(offset: Duration, action: Action) {
        self.offset = offset
        self.action = action
    }

    /// Whether proxies are told something by it, which is in force once all have acknowledged it.
    public var isPushed: Bool {
        switch action {
        case .apply, .drain: true
        case .killControl, .startControl, .rotateAuthority: false
        }
    }

    /// For people: `apply policy default/echo`.
    public var title: String {
        switch action {
        case .apply(let declarations):
            "apply \(declarations.map(\.key.title).joined(separator: ", "))"
        case .drain(let service, let replica): "drain \(service)/\(replica)"
        case .killControl: "kill control"
        case .startControl: "start control"
        case .rotateAuthority: "rotate authority"
        }
    }
}
