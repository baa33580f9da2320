import Base
import FoundationEssentials
import Glibc
import Model
import Posix

/// One started process of an arm: its addresses, its log and what it uses.
final class Role {
    let node: Topology.Node
    private(set) var process: Process
    /// Whether it was ended on purpose and is to be started again.
    private(set) var isDown = false
    /// Whether it has been started again.
    private(set) var wasResumed = false
    /// When it said that it serves, since it was started again last.
    var servedAgain: Instant?
    let log: String
    /// What it was started with; of our own roles.
    var words: [String] = []
    /// By the name of the listener; an application's one address has the name "".
    var addresses: [String: String]
    /// Where it is asked what it does, and told; nil: nowhere.
    var admin: String?
    /// Its ports, where nobody else may be given them while it is down.
    var held: [HeldPort] = []
    /// Of a control plane: where it is, whenever it runs.
    var doors: ControlDoors?
    /// Of an agent: what its Envoy is to be started with.
    var bootstrap: String?
    var meter: UsageMeter

    init(node: Topology.Node, process: Process, log: String, addresses: [String: String]) {
        self.node = node
        self.process = process
        self.log = log
        self.addresses = addresses
        if case .command = node.kind {
            meter = UsageMeter(root: process.pid, scope: .descendants)
        } else {
            meter = UsageMeter(root: process.pid, scope: .process)
        }
    }

    /// Whether it has joined the arm's mesh by itself.
    var hasJoined: Bool {
        switch node.kind {
        case .joined, .agent: true
        case .application, .control, .envoy, .command, .proxy, .generator: false
        }
    }

    /// - Throws: `.died` if the process has ended: nobody has asked it to.
    func checkAlive() throws(RigError) {
        if isDown { return }
        if let end = process.poll() { throw died(.died, end) }
    }

    /// It was killed, as by a power cut. What is kept of it is where it was and what it wrote.
    /// - Returns: how it ended; nil: it has not.
    @discardableResult
    func wasCut() -> ProcessEnd? {
        let end = process.wait(until: Clock.now() + .seconds(5))
        isDown = true
        return end
    }

    /// Goes on with another process in place of the one that was cut.
    func resume(with process: Process) {
        self.process = process
        isDown = false
        wasResumed = true
        servedAgain = nil
    }

    func died(_ kind: RigError.Kind, _ end: ProcessEnd) -> RigError {
        RigError(kind, "\(node.name) \(end)", log: tail(of: log, lines: 20))
    }
}

/// Where a replica of a control plane is: `host:port` each.
struct ControlDoors {
    /// Of whoever asks it or changes the mesh.
    var api: String
    /// Of the proxies that join it.
    var proxies: String
}
