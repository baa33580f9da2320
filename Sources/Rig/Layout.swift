// What the layout of an arm is made from: the processes of a service, and what is spoken where.

import Model

/// The parts of one arm that several of its processes have to agree on.
struct Layout {
    let services: [ServicePlan]
    /// As they are in this arm.
    let loads: [LoadPlan]
    /// Nil: no mesh.
    let mode: MeshPlan.Mode?
    /// Of each proxy.
    let workers: Int
    let hop: HopPlan
    /// Whether proxies join a control plane; else each has a file.
    let isJoined: Bool

    /// One replica, and its sidecar where there are sidecars.
    func nodes(of service: ServicePlan, _ replica: Int) -> [Topology.Node] {
        let name = instance(service.name, replica)
        let isEnvoy = isJoined && service.dataplane == .envoy
        let sidecar =
            mode == .sidecar
            ? (isEnvoy ? "envoy \(name)" : sidecarName(service.name, replica)) : nil
        var node = Topology.Node(name: name, group: .apps, kind: .proxy(.empty))
        var called: [String] = []
        switch service.kind {
        case .command(let plan):
            node.kind = .command(plan)
            node.isAddressedEarly = true
        case .builtin(let behaviour):
            called = service.calls
            node.kind = .application(application(service.name, behaviour, called, sidecar))
            // Its sidecar starts first, as the application has to know where to call.
            node.isAddressedEarly = sidecar != nil && !called.isEmpty
        }
        guard let sidecar else { return [node] }
        let joined = Topology.Joined(
            name: proxyName(service.name, replica), service: MeshName(service.name),
            application: .application(name), workers: workers, zone: service.zone(of: replica),
            weight: service.weight(of: replica), level: service.level(of: replica),
            labels: service.labels(of: replica))
        let guardians: [Topology.Node]
        if isEnvoy {
            let agent = "envoy-agent \(name)"
            guardians = [
                .init(name: agent, group: .proxies, kind: .agent(joined)),
                .init(name: sidecar, group: .proxies, kind: .envoy(agent: agent)),
            ]
        } else {
            let file = serverProxy(of: service.name, application: name, called)
            guardians = [
                .init(
                    name: sidecar, group: .proxies,
                    kind: isJoined ? .joined(joined) : .proxy(file))
            ]
        }
        return node.isAddressedEarly && !called.isEmpty ? guardians + [node] : [node] + guardians
    }

    private func application(
        _ service: String, _ behaviour: AppBehaviour, _ called: [String], _ sidecar: String?
    ) -> Topology.Application {
        var calls: [String: [Topology.Endpoint]] = [:]
        for callee in called {
            calls[callee] =
                sidecar.map { [.listener(process: $0, name: "outbound")] } ?? instances(callee)
        }
        return .init(
            behaviour: behaviour, speech: speech(to: service),
            security: mode == nil ? serverSide(to: service, identity: service) : nil, calls: calls)
    }

    private func serverProxy(
        of service: String, application: String, _ called: [String]
    ) -> Topology.Proxy {
        let isBytes = speech(to: service) == .tcp
        var proxy = Topology.Proxy.empty
        proxy.workers = workers
        proxy.listeners = [
            .init(
                name: "inbound", bytesTo: isBytes ? Experiment.ownCluster : nil,
                security: hop.security == .off
                    ? nil : .init(identity: service, asksClient: true))
        ]
        if !called.isEmpty { proxy.listeners.append(.init(name: "outbound")) }
        for callee in called {
            proxy.routes.append(.init(host: callee, cluster: callee))
            proxy.clusters.append(hop(to: callee, from: service))
        }
        if !isBytes {
            proxy.routes.append(.init(host: nil, cluster: Experiment.ownCluster))
        }
        proxy.clusters.append(
            .init(
                name: Experiment.ownCluster, endpoints: [.application(application)],
                speech: clusterSpeech(to: service)))
        return proxy
    }

    /// From one proxy to those of a service. Bytes pass as they are: nothing is spoken around them.
    func hop(to service: String, from identity: String) -> Topology.Proxy.Cluster {
        .init(
            name: service, endpoints: inbound(service),
            speech: hop.speech == .http2 && speech(to: service) != .tcp ? .http2 : .http1,
            security: hop.security == .off ? nil : .init(identity: identity, peer: service),
            connections: hop.connections)
    }

    func speech(to service: String) -> LoadPlan.Speech { loads.speech(to: service) }

    func clusterSpeech(to service: String) -> ProxyConfiguration.Cluster.Speech {
        speech(to: service).isHTTP2 ? .http2 : .http1
    }

    /// How whoever answers the loads of a service is secured; nil: cleartext.
    func serverSide(to service: String, identity: String) -> Topology.ServerSide? {
        let security = loads.first { $0.to == service }?.security ?? .off
        return security == .off
            ? nil : .init(identity: identity, asksClient: security == .mutual)
    }

    func instances(_ service: String) -> [Topology.Endpoint] {
        numbers(of: service).map { .application(instance(service, $0)) }
    }

    /// What a gateway that joins calls.
    func replicas(of service: String) -> [Topology.Joined.Replica] {
        guard let plan = services.first(where: { $0.name == service }) else { return [] }
        return numbers(of: service).map {
            .init(
                name: proxyName(service, $0), service: service,
                application: .application(instance(service, $0)), zone: plan.zone(of: $0),
                weight: plan.weight(of: $0), level: plan.level(of: $0),
                labels: plan.labels(of: $0))
        }
    }

    private func inbound(_ service: String) -> [Topology.Endpoint] {
        numbers(of: service).map {
            .listener(process: sidecarName(service, $0), name: "inbound")
        }
    }

    private func numbers(of service: String) -> Range<Int> {
        0..<(services.first { $0.name == service }?.replicas ?? 0)
    }
}

extension LoadPlan {
    /// How it is secured; nil: cleartext.
    func clientSide(peer: String) -> Topology.ClientSide? {
        switch security {
        case .off: nil
        case .server: .init(identity: nil, peer: peer)
        case .mutual: .init(identity: identity, peer: peer)
        }
    }
}

extension Topology.Proxy {
    static let empty = Topology.Proxy(listeners: [], routes: [], clusters: [], workers: 1)
}

func instance(_ service: String, _ replica: Int) -> String { "\(service)/\(replica)" }

func sidecarName(_ service: String, _ replica: Int) -> String {
    sidecarName(of: instance(service, replica))
}

/// Of the sidecar of an instance.
func sidecarName(of instance: String) -> String { "server-proxy \(instance)" }

/// What the names of all sidecars of a service begin with, and of no other.
func sidecarPrefix(_ service: String) -> String { sidecarName(of: "\(service)/") }
