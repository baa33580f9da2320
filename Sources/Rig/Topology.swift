// Which processes an arm consists of and who reaches whom, before any of them has an address. Each
// arm has processes of its own, applications included, so that calls between services take the
// arm's way and nothing is reconfigured between arms.
//
//     direct    load ─────────────────────────────────► app S/0, S/1         app S ──► app T/0, T/1
//
//     gateway   load ─► gateway ──────────────────────► app S/0, S/1         app S ──► app T/0, T/1
//
//     sidecar   load ─► client proxy ─► server proxy S/0 ─► app S/0
//                                   └─► server proxy S/1 ─► app S/1
//               app S/0 ─► server proxy S/0 (outbound) ─► server proxy T/0 (inbound) ─► app T/0
//
// A request names its service in `host`, as in a real mesh: a sidecar knows by it which way a
// request goes.

import Base
import Model

/// The processes of one arm, in the order in which they are started.
struct Topology: Equatable {
    /// Where a process can be reached.
    enum Endpoint: Hashable {
        /// The one address of an application.
        case application(String)
        /// A proxy's listener.
        case listener(process: String, name: String)
    }

    struct Application: Equatable {
        var behaviour: AppBehaviour
        /// For each service it calls, where.
        var calls: [String: [Endpoint]]
    }

    struct Proxy: Equatable {
        struct Route: Equatable {
            /// The value of `host`; nil: all that matched no other.
            var host: String?
            var cluster: String
        }

        struct Cluster: Equatable {
            var name: String
            var endpoints: [Endpoint]
        }

        var listeners: [String]
        var routes: [Route]
        var clusters: [Cluster]
        var workers: Int
    }

    enum Kind: Equatable {
        case application(Application)
        case command(CommandPlan)
        case proxy(Proxy)
        /// A load generator, which belongs to a turn and not to the arm.
        case generator
    }

    struct Node: Equatable {
        /// Unique within the arm: `echo/0`, `server-proxy echo/0`, `client-proxy`.
        var name: String
        var group: ProcessGroup
        var kind: Kind
        /// Whether its port is chosen before it starts, because a process that starts earlier names
        /// it.
        var isAddressedEarly = false
    }

    var arm: Arm
    var nodes: [Node]
    /// For each load, by name, where its requests go.
    var targets: [String: [Endpoint]]
    var seed: UInt64
    /// The longest timeout of any load.
    var longestTimeout: Duration

    /// Lays out one arm of an experiment.
    /// - Throws: if services call each other in a circle, or one that does not exist.
    init(_ arm: Arm, of experiment: Experiment) throws(RigError) {
        self.arm = arm
        nodes = []
        targets = [:]
        seed = experiment.seed
        longestTimeout = experiment.loads.map(\.timeout).max() ?? .zero
        let services = try leavesFirst(experiment.services)
        let mode: MeshPlan.Mode? =
            arm == .mesh && experiment.mesh.dataplane != .none ? experiment.mesh.mode : nil
        for service in services {
            for replica in 0..<service.replicas {
                add(service, replica, among: services, mode, experiment.mesh.workers)
            }
        }
        switch mode {
        case nil:
            for load in experiment.loads { targets[load.name] = instances(load.to, services) }
        case .gateway: addGateway(experiment, services)
        case .sidecar: addClientProxies(experiment, services)
        }
    }

    private mutating func add(
        _ service: ServicePlan, _ replica: Int, among services: [ServicePlan],
        _ mode: MeshPlan.Mode?, _ workers: Int
    ) {
        let name = instance(service.name, replica)
        let sidecar = mode == .sidecar ? serverProxy(service.name, replica) : nil
        var node = Node(name: name, group: .apps, kind: .proxy(.empty))
        var called: [String] = []
        switch service.kind {
        case .command(let plan):
            node.kind = .command(plan)
            node.isAddressedEarly = true
        case .builtin(let behaviour):
            called = distinct(behaviour.calls)
            var calls: [String: [Endpoint]] = [:]
            for callee in called {
                calls[callee] =
                    sidecar.map { [.listener(process: $0, name: "outbound")] }
                    ?? instances(callee, services)
            }
            node.kind = .application(Application(behaviour: behaviour, calls: calls))
            // Its sidecar starts first, as the application has to know where to call.
            node.isAddressedEarly = sidecar != nil && !called.isEmpty
        }
        guard let sidecar else {
            nodes.append(node)
            return
        }
        var proxy = Proxy.empty
        proxy.workers = workers
        proxy.listeners = called.isEmpty ? ["inbound"] : ["inbound", "outbound"]
        for callee in called {
            proxy.routes.append(.init(host: callee, cluster: callee))
            proxy.clusters.append(.init(name: callee, endpoints: inbound(callee, services)))
        }
        proxy.routes.append(.init(host: nil, cluster: "local"))
        proxy.clusters.append(.init(name: "local", endpoints: [.application(name)]))
        let guardian = Node(name: sidecar, group: .proxies, kind: .proxy(proxy))
        nodes += node.isAddressedEarly && !called.isEmpty ? [guardian, node] : [node, guardian]
    }

    private mutating func addGateway(_ experiment: Experiment, _ services: [ServicePlan]) {
        var proxy = Proxy.empty
        proxy.workers = experiment.mesh.workers
        proxy.listeners = ["inbound"]
        for service in distinct(experiment.loads.map(\.to)) {
            proxy.routes.append(.init(host: service, cluster: service))
            proxy.clusters.append(.init(name: service, endpoints: instances(service, services)))
        }
        nodes.append(Node(name: "gateway", group: .proxies, kind: .proxy(proxy)))
        for load in experiment.loads {
            targets[load.name] = [.listener(process: "gateway", name: "inbound")]
        }
    }

    /// Each load is a workload of its own, so it has a sidecar of its own.
    private mutating func addClientProxies(_ experiment: Experiment, _ services: [ServicePlan]) {
        for load in experiment.loads {
            let name = experiment.loads.count == 1 ? "client-proxy" : "client-proxy \(load.name)"
            let proxy = Proxy(
                listeners: ["outbound"], routes: [.init(host: load.to, cluster: load.to)],
                clusters: [.init(name: load.to, endpoints: inbound(load.to, services))],
                workers: experiment.mesh.workers)
            nodes.append(Node(name: name, group: .proxies, kind: .proxy(proxy)))
            targets[load.name] = [.listener(process: name, name: "outbound")]
        }
    }
}

extension Topology.Proxy {
    fileprivate static let empty = Topology.Proxy(
        listeners: [], routes: [], clusters: [], workers: 1)
}

private func instance(_ service: String, _ replica: Int) -> String { "\(service)/\(replica)" }

private func serverProxy(_ service: String, _ replica: Int) -> String {
    "server-proxy \(instance(service, replica))"
}

private func replicas(of service: String, _ services: [ServicePlan]) -> Range<Int> {
    0..<(services.first { $0.name == service }?.replicas ?? 0)
}

private func instances(_ service: String, _ services: [ServicePlan]) -> [Topology.Endpoint] {
    replicas(of: service, services).map { .application(instance(service, $0)) }
}

private func inbound(_ service: String, _ services: [ServicePlan]) -> [Topology.Endpoint] {
    replicas(of: service, services).map {
        .listener(process: serverProxy(service, $0), name: "inbound")
    }
}

private func distinct(_ names: [String]) -> [String] {
    var seen: Set<String> = []
    return names.filter { seen.insert($0).inserted }
}

/// The services in an order in which each stands after all that it calls.
private func leavesFirst(_ services: [ServicePlan]) throws(RigError) -> [ServicePlan] {
    var placed: [ServicePlan] = []
    var waiting = services
    // Bound: each turn places at least one service or throws.
    while !waiting.isEmpty {
        let names = Set(placed.map(\.name))
        let ready = waiting.filter { names.isSuperset(of: calls(of: $0)) }
        guard !ready.isEmpty else {
            let circle = waiting.map(\.name).joined(separator: ", ")
            throw RigError(
                .layout, "services call each other in a circle, or one that is not there: \(circle)"
            )
        }
        placed += ready
        waiting.removeAll { service in ready.contains { $0.name == service.name } }
    }
    return placed
}

private func calls(of service: ServicePlan) -> [String] {
    switch service.kind {
    case .builtin(let behaviour): behaviour.calls
    case .command: []
    }
}
