// What is asked of a mesh with a control plane: how it is run, and what is changed in it while the
// load runs. What it is declared to be follows from the experiment: `Experiment.declarations`.

public import Base

/// How the control plane of a mesh is run.
public struct ControlPlan: Codable, Equatable, Sendable {
    /// Where a control plane keeps what it is told.
    public enum Store: String, Codable, CaseIterable, Sendable {
        /// A folder of its own.
        case folder
        /// An etcd, which several share.
        case etcd
    }

    /// How long the certificates last that proxies get; nil: as the control plane has it.
    public var certificateLife: Duration?
    /// Processes, 1 or more; more than one share an etcd.
    public var replicas: Int
    public var store: Store
    /// Whether proxies keep on disk what they learn, so that they start without a control plane.
    public var keepsState: Bool

    public init(
        certificateLife: Duration? = nil, replicas: Int = 1, store: Store = .folder,
        keepsState: Bool = true
    ) {
        self.certificateLife = certificateLife
        self.replicas = replicas
        self.store = store
        self.keepsState = keepsState
    }
}

/// One change of a mesh while it carries load.
public struct ChangePlan: Codable, Equatable, Sendable {
    public enum Action: Codable, Equatable, Sendable {
        /// Declares, in place of what had the same kinds and names.
        case apply([MeshDeclaration])
        /// Takes one replica of a service out of the turns of all clients, by number from 0.
        case drain(service: String, replica: Int)
        /// Lets a drained replica get requests again.
        case undrain(service: String, replica: Int)
        /// Ends the control plane as a power cut would (SIGKILL): one of its replicas, by number
        /// from 0, or all of them.
        case killControl(replica: Int?)
        /// Starts it again, with all that it had.
        case startControl(replica: Int?)
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
        case .apply, .drain, .undrain: true
        case .killControl, .startControl, .rotateAuthority: false
        }
    }

    /// For people: `apply policy default/echo`.
    public var title: String {
        switch action {
        case .apply(let declarations):
            "apply \(declarations.map(\.key.title).joined(separator: ", "))"
        case .drain(let service, let replica): "drain \(service)/\(replica)"
        case .undrain(let service, let replica): "undrain \(service)/\(replica)"
        case .killControl(let replica): "kill \(controlName(replica))"
        case .startControl(let replica): "start \(controlName(replica))"
        case .rotateAuthority: "rotate authority"
        }
    }
}

/// `control/1`, or `control` for all of it.
private func controlName(_ replica: Int?) -> String {
    replica.map { "control/\($0)" } ?? "control"
}
