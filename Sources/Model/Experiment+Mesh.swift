// What a control plane is told of an experiment before its proxies join. Endpoints are not in it:
// each proxy declares its own.

import Base

extension Experiment {
    /// Whether the proxies of an arm join a control plane; else each has a file.
    public func isJoined(_ arm: ArmPlan) -> Bool {
        arm.via == .mesh && mesh.dataplane != .none && mesh.control != nil
    }

    /// What the mesh of an arm is declared to be: every service; who calls them, which is every
    /// load as a service of its own that nobody calls, or the gateway; how requests are carried;
    /// who may ask.
    ///
    /// - Precondition: names are labels of DNS.
    public func declarations(in arm: ArmPlan) -> [MeshDeclaration] {
        let loads = loads(in: arm)
        let mtls = hop(in: arm)?.security.mutualTLS ?? .off
        let limits = LimitServices(self)
        var all = services.map { service -> MeshDeclaration in
            let name = MeshName(service.name)
            return .service(
                MeshService(
                    service.name,
                    speech: limits.all.contains(name)
                        ? .http2 : .init(loads.speech(to: service.name)), mtls: mtls,
                    health: service.health,
                    calls: Self.distinct(
                        service.calls.map { MeshName($0) } + limits.asked(by: name))))
        }
        switch mesh.mode {
        case .sidecar:
            all += loads.map { load in
                .service(
                    MeshService(
                        load.identity, mtls: mtls,
                        calls: Self.distinct([MeshName(load.to)] + limits.ofRoutes)))
            }
        case .gateway:
            let called = Set(loads.map(\.to)).sorted()
            all.append(
                .service(
                    MeshService(
                        Self.gatewayName, mtls: mtls,
                        calls: Self.distinct(called.map { MeshName($0) } + limits.ofRoutes))))
            // What comes from outside goes by routes only.
            all += called.filter { loads.speech(to: $0) != .tcp }.map { service in
                .route(
                    MeshRoute(
                        service, hosts: [service], destinations: [.init(MeshName(service))]))
            }
        }
        all += carried(in: arm).map(MeshDeclaration.policy)
        all += routes.map(MeshDeclaration.route)
        all += authorizations.map(MeshDeclaration.authorization)
        return all.map { $0.scaled(by: mesh.timeScale) }
    }

    /// Each once, in the order in which they stand.
    private static func distinct(_ names: [MeshName]) -> [MeshName] {
        var seen: Set<MeshName> = []
        return names.filter { seen.insert($0).inserted }
    }

    /// The policies of the scenario, and one for what they leave open: a proxy must not give up
    /// before the load does, nor open more than the hop says.
    private func carried(in arm: ArmPlan) -> [MeshPolicy] {
        let longest = loads.map(\.timeout).max() ?? .zero
        let standard = MeshPolicy(
            Self.standardPolicy, targets: [MeshName("*", in: "*")],
            timeouts: .init(request: max(ProxyTimeouts().request, longest * 2)),
            breaker: hop(in: arm)?.connections.map {
                BreakerPolicy(standard: .init(connections: $0))
            })
        let own = policies.map { policy in
            var policy = policy
            policy.timeouts.request = policy.timeouts.request ?? standard.timeouts.request
            if policy.breaker?.standard.connections ?? .max == BreakerPolicy.Limits().connections {
                policy.breaker?.standard.connections =
                    standard.breaker?.standard.connections ?? BreakerPolicy.Limits().connections
            }
            policy.breaker = policy.breaker ?? standard.breaker
            return policy
        }
        // Of those that are equally wide only one can hold.
        let isReplaced = own.contains { $0.targets.contains { $0.breadth == 2 } }
        return isReplaced ? own : own + [standard]
    }

    /// The cluster of a proxy without a control plane that is the process beside it. It stands
    /// among those of the services that are called, none of which can have the name.
    public static let ownCluster = "local"

    /// What a gateway is called as a service of the mesh.
    public static let gatewayName = "gateway"

    /// The name of the policy for whatever a scenario says nothing of.
    public static let standardPolicy = "standard"
}

/// Whom the proxies of a scenario ever ask for limits: by its policies and routes, and by those
/// that its changes apply, for what a service speaks and calls is declared once.
private struct LimitServices {
    private var ofPolicies: [(targets: [MeshName], service: MeshName)] = []
    /// Which any caller may have to ask.
    private(set) var ofRoutes: [MeshName] = []
    private(set) var all: Set<MeshName> = []

    init(_ experiment: Experiment) {
        var declarations =
            experiment.policies.map(MeshDeclaration.policy)
            + experiment.routes.map(MeshDeclaration.route)
        for case .apply(let changed) in experiment.changes.map(\.action) { declarations += changed }
        for declaration in declarations {
            switch declaration {
            case .policy(let policy):
                guard let service = policy.inbound.globalRateLimit?.service else { continue }
                ofPolicies.append((policy.targets, service))
            case .route(let route):
                guard let service = route.globalRateLimit?.service else { continue }
                ofRoutes.append(service)
            case .service, .endpoint, .authorization: continue
            }
        }
        all = Set(ofPolicies.map(\.service) + ofRoutes)
    }

    func asked(by name: MeshName) -> [MeshName] {
        let inbound = ofPolicies.filter { $0.targets.contains { $0.covers(name) } }.map(\.service)
        return (inbound + ofRoutes).filter { $0 != name }
    }
}

extension ServicePlan {
    /// Services that it calls, each once.
    public var calls: [String] {
        guard case .builtin(let behaviour) = kind else { return [] }
        var seen: Set<String> = []
        return behaviour.calls.filter { seen.insert($0).inserted }
    }
}

extension LoadPlan {
    /// Who it is in a mesh: the service as which it has a sidecar and a certificate.
    public var identity: String { Self.identity(of: name) }

    /// Who a load of that name is.
    public static func identity(of load: String) -> String { "load-\(load)" }
}

extension [LoadPlan] {
    /// What they speak with a service: HTTP/2 where one of them does, as whoever speaks that
    /// understands HTTP/1.1 too. HTTP/1.1 where nobody loads it.
    public func speech(to service: String) -> LoadPlan.Speech {
        let spoken = filter { $0.to == service }.map(\.speech)
        return spoken.first(where: \.isHTTP2) ?? spoken.first ?? .http1
    }
}

extension MeshService.Speech {
    /// What the process of a service speaks whose loads speak this.
    fileprivate init(_ speech: LoadPlan.Speech) {
        self = speech == .tcp ? .tcp : speech.isHTTP2 ? .http2 : .http1
    }
}

extension HopPlan.Security {
    /// The same, said of a service.
    fileprivate var mutualTLS: MeshService.MutualTLS {
        switch self {
        case .off: .off
        case .permissive: .permissive
        case .strict: .strict
        }
    }
}
