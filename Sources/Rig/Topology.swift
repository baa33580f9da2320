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
// Proxies have files that say all of this, or join a control plane that is told who calls whom,
// and find the rest out.
//
// A request names its service in `host`, as in a real mesh: a proxy knows by it which way a request
// goes. Bytes name nothing: a listener of them has one way.
//
// What is spoken: the load speaks its protocol and its TLS with whatever it reaches first; two
// proxies speak what the mesh says of their hop; behind the last proxy the load's protocol goes on
// in cleartext, as it stays within the pod.

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

    /// How the server's side of a connection is secured.
    struct ServerSide: Equatable {
        /// Whose certificate is shown; see `Credentials`.
        var identity: String
        /// Whether the client must show one too.
        var asksClient: Bool
    }

    /// How the client's side of a connection is secured.
    struct ClientSide: Equatable {
        /// Whose certificate is shown; nil: none.
        var identity: String?
        /// Who must be at the other end.
        var peer: String
    }

    struct Application: Equatable {
        var behaviour: AppBehaviour
        /// What the loads of this service speak with it.
        var speech: LoadPlan.Speech
        /// Nil: cleartext.
        var security: ServerSide?
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
            var speech = ProxyConfiguration.Cluster.Speech.http1
            /// Nil: cleartext.
            var security: ClientSide?
            /// Nil: the proxy's own limit.
            var connections: Int?
        }

        struct Listener: Equatable {
            var name: String
            /// Where bytes go that are forwarded as they are; nil: requests, which have routes.
            var bytesTo: String?
            /// Nil: cleartext.
            var security: ServerSide?
        }

        var listeners: [Listener]
        var routes: [Route]
        var clusters: [Cluster]
        var workers: Int
    }

    /// A replica of an arm's control plane.
    struct Control: Equatable {
        var plan: ControlPlan
        /// From 0.
        var replica: Int
        /// What it is told before any proxy joins; of several replicas the first.
        var declarations: [MeshDeclaration]
        /// Proxies that are to join, and how many of these are Envoys.
        var proxies: Int
        var envoys: Int
    }

    /// A proxy that is told nothing but where to join, and as whom.
    struct Joined: Equatable {
        struct Gateway: Equatable {
            /// What the loads are shown; nil: they speak cleartext.
            var security: ServerSide?
            /// What it calls. No proxy is there to declare them.
            var replicas: [Replica]
        }

        struct Replica: Equatable {
            /// Of its endpoint.
            var name: String
            var service: String
            var application: Endpoint
            /// Nil: nobody knows.
            var zone: String?
            var weight = 1
            var level = 0
            var labels: [String: String] = [:]
        }

        /// Its name in the mesh, and that of its endpoint.
        var name: String
        var service: MeshName
        /// Nil: it stands beside a process, or a load.
        var gateway: Gateway?
        /// Beside which process; nil: a load, which takes no requests.
        var application: Endpoint?
        /// Services whose loads speak TCP: each has a listener by its name.
        var bytesTo: [MeshName] = []
        var workers: Int
        /// Nil: nobody knows.
        var zone: String?
        /// Of its endpoint.
        var weight = 1
        var level = 0
        var labels: [String: String] = [:]
    }

    enum Kind: Equatable {
        case application(Application)
        case control(Control)
        case joined(Joined)
        /// What joins in an Envoy's place, and writes what that is started with.
        case agent(Joined)
        /// The Envoy of an agent, by the name of that.
        case envoy(agent: String)
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
        /// Whether it holds faults of requests for a while.
        var isInjected = false
        /// Whether it is ended by a fault and started again, where it was.
        var comesBack = false

        /// Whether it is a proxy to the control plane.
        fileprivate var isMember: Bool {
            switch kind {
            case .joined, .agent: true
            case .application, .control, .envoy, .command, .proxy, .generator: false
            }
        }
    }

    var arm: ArmName
    /// The loads as they are in this arm.
    var loads: [LoadPlan]
    var nodes: [Node]
    /// For each load, by name, where its requests go.
    var targets: [String: [Endpoint]]
    var seed: UInt64
    /// The longest timeout of any load.
    var longestTimeout: Duration
    /// For each load that speaks TLS, by name, how.
    var security: [String: ClientSide] = [:]
    /// In the order of their beginnings.
    var faults: [ArmFault] = []
    /// Whether proxies join a control plane.
    var isJoined = false
    /// Whether what joins keeps what it learns.
    var keepsState = true
    /// Whether its proxies log each request: what faults have done shows there.
    var logsAccess = false

    /// Whose certificates the arm needs.
    var identities: Set<String> {
        var found = Set(security.values.compactMap(\.identity))
        for node in nodes {
            switch node.kind {
            case .application(let application):
                found.formUnion([application.security?.identity].compactMap(\.self))
            case .proxy(let proxy):
                found.formUnion(proxy.listeners.compactMap(\.security?.identity))
                found.formUnion(proxy.clusters.compactMap(\.security?.identity))
            // What joins gets its certificate there; a gateway has another for those outside.
            case .joined(let joined):
                found.formUnion([joined.gateway?.security?.identity].compactMap(\.self))
            case .command, .generator, .control, .agent, .envoy: break
            }
        }
        return found
    }

    /// Lays out one arm of an experiment.
    /// - Throws: if services call each other in a circle, or one that does not exist.
    init(_ arm: ArmPlan, of experiment: Experiment) throws(RigError) {
        self.arm = arm.name
        loads = experiment.loads(in: arm)
        nodes = []
        targets = [:]
        seed = experiment.seed
        longestTimeout = experiment.loads.map(\.timeout).max() ?? .zero
        let services = try leavesFirst(experiment.services)
        let mode: MeshPlan.Mode? =
            arm.via == .mesh && experiment.mesh.dataplane != .none ? experiment.mesh.mode : nil
        let layout = Layout(
            services: services, loads: loads, mode: mode, workers: experiment.mesh.workers,
            hop: experiment.hop(in: arm) ?? HopPlan(), isJoined: experiment.isJoined(arm))
        for service in services {
            for replica in 0..<service.replicas { nodes += layout.nodes(of: service, replica) }
        }
        switch mode {
        case nil:
            for load in loads {
                targets[load.name] = layout.instances(load.to)
                security[load.name] = load.clientSide(peer: load.to)
            }
        case .gateway where layout.isJoined: addJoinedGateway(layout)
        case .gateway: addGateway(layout)
        case .sidecar: addClientProxies(layout)
        }
        if let plan = experiment.mesh.control, layout.isJoined {
            keepsState = plan.keepsState
            addControl(plan, experiment.declarations(in: arm))
        }
        lay(experiment, arm)
    }

    /// What all others join stands before them.
    private mutating func addControl(_ plan: ControlPlan, _ declarations: [MeshDeclaration]) {
        // An Envoy's agent joins in its place.
        let proxies = nodes.count { $0.isMember }
        let envoys = nodes.count { if case .envoy = $0.kind { true } else { false } }
        var control = (0..<plan.replicas).map { replica in
            Node(
                name: controlName(replica, of: plan), group: .control,
                kind: .control(
                    Control(
                        plan: plan, replica: replica,
                        declarations: replica == 0 ? declarations : [], proxies: proxies,
                        envoys: envoys)))
        }
        if plan.store == .etcd {
            control.insert(
                Node(
                    name: Self.etcdName, group: .control, kind: .command(.etcd),
                    isAddressedEarly: true), at: 0)
        }
        nodes = control + nodes
    }

    static let etcdName = "etcd"

    private mutating func addGateway(_ layout: Layout) {
        var proxy = Proxy.empty
        proxy.workers = layout.workers
        for service in distinct(loads.map(\.to)) {
            // Bytes name no service: each has a listener of its own.
            let isBytes = layout.speech(to: service) == .tcp
            let listener = isBytes ? service : "inbound"
            if !proxy.listeners.contains(where: { $0.name == listener }) {
                proxy.listeners.append(
                    .init(
                        name: listener, bytesTo: isBytes ? service : nil,
                        security: layout.serverSide(to: service, identity: "gateway")))
            }
            if !isBytes { proxy.routes.append(.init(host: service, cluster: service)) }
            proxy.clusters.append(
                .init(
                    name: service, endpoints: layout.instances(service),
                    speech: layout.clusterSpeech(to: service)))
            for load in loads where load.to == service {
                targets[load.name] = [.listener(process: "gateway", name: listener)]
                security[load.name] = load.clientSide(peer: "gateway")
            }
        }
        nodes.append(Node(name: "gateway", group: .proxies, kind: .proxy(proxy)))
    }

    private mutating func addJoinedGateway(_ layout: Layout) {
        let name = Experiment.gatewayName
        let called = distinct(loads.map(\.to))
        let gateway = Joined.Gateway(
            security: called.first.flatMap { layout.serverSide(to: $0, identity: name) },
            replicas: called.flatMap { layout.replicas(of: $0) })
        for load in loads {
            let listener = load.speech == .tcp ? MeshName(load.to).text : "inbound"
            targets[load.name] = [.listener(process: name, name: listener)]
            security[load.name] = load.clientSide(peer: name)
        }
        let joined = Joined(
            name: proxyName(name, 0), service: MeshName(name), gateway: gateway,
            bytesTo: called.filter { layout.speech(to: $0) == .tcp }.map { MeshName($0) },
            workers: layout.workers)
        nodes.append(Node(name: name, group: .proxies, kind: .joined(joined)))
    }

    /// What the sidecar of a load is called.
    func clientProxyName(_ load: String) -> String {
        loads.count == 1 ? "client-proxy" : "client-proxy \(load)"
    }

    /// Each load is a workload of its own, so it has a sidecar of its own.
    private mutating func addClientProxies(_ layout: Layout) {
        for load in loads {
            let name = clientProxyName(load.name)
            let isBytes = load.speech == .tcp
            targets[load.name] = [.listener(process: name, name: "outbound")]
            if layout.isJoined {
                let service = MeshName(load.to)
                if isBytes {
                    targets[load.name] = [.listener(process: name, name: service.text)]
                }
                let joined = Joined(
                    name: proxyName(load.identity, 0), service: MeshName(load.identity),
                    bytesTo: isBytes ? [service] : [], workers: layout.workers,
                    zone: load.zone)
                nodes.append(Node(name: name, group: .proxies, kind: .joined(joined)))
                continue
            }
            let proxy = Proxy(
                listeners: [
                    .init(
                        name: "outbound", bytesTo: isBytes ? load.to : nil,
                        security: load.security == .off
                            ? nil
                            : .init(
                                identity: load.identity, asksClient: load.security == .mutual))
                ],
                routes: isBytes ? [] : [.init(host: load.to, cluster: load.to)],
                clusters: [layout.hop(to: load.to, from: load.identity)],
                workers: layout.workers)
            nodes.append(Node(name: name, group: .proxies, kind: .proxy(proxy)))
            security[load.name] = load.clientSide(peer: load.identity)
        }
    }
}

func controlName(_ replica: Int, of plan: ControlPlan?) -> String {
    plan?.replicas == 1 ? "control" : "control/\(replica)"
}

func distinct(_ names: [String]) -> [String] {
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
        let ready = waiting.filter { names.isSuperset(of: $0.calls) }
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
