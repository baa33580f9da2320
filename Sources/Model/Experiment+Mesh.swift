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
        let limiting = Set(limitServices(ofPolicies: nil) + limitServicesOfRoutes)
        var all = services.map { service -> MeshDeclaration in
            let name = MeshName(service.name)
            let asked = limitServices(ofPolicies: name).filter { $0 != name }
            return .service(
                MeshService(
                    service.name,
                    speech: limiting.contains(name)
                        ? .http2 : .init(loads.speech(to: service.name)), mtls: mtls,
                    health: service.health,
                    calls: Self.distinct(
                        service.calls.map { MeshName($0) } + asked + limitServicesOfRoutes)))
        }
        switch mesh.mode {
        case .sidecar:
            all += loads.map { load in
                .service(
                    MeshService(
                        load.identity, mtls: mtls,
                        calls: Self.distinct([MeshName(load.to)] + limitServicesOfRoutes)))
            }
        case .gateway:
            let called = Set(loads.map(\.to)).sorted()
            all.append(
                .service(
                    MeshService(
                        Self.gatewayName, mtls: mtls,
                        calls: Self.distinct(
                            called.map { MeshName($0) } + limitServicesOfRoutes))))
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

    /// Services that proxies ask for the limits of a service, as its policies say; nil: of any.
    private func limitServices(ofPolicies service: MeshName?) -> [MeshName] {
        policies.filter { policy in
            service.map { name in policy.targets.contains { $0.covers(name) } } ?? true
        }.compactMap { $0.inbound.globalRateLimit?.service }
    }

    /// Each once, in the order in which they stand.
    private static func distinct(_ names: [MeshName]) -> [MeshName] {
        var seen: Set<MeshName> = []
        return names.filter { seen.insert($0).inserted }
    }

    private var limitServicesOfRoutes: [MeshName] { routes.compactMap(\.globalRateLimit?.service) }

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

    /// What a gateway is called as a service of the mesh.
    public static let gatewayName = "gateway"

    /// The name of the policy for whatever a scenario says nothing of.
    public static let standardPolicy = "standard"
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
    public var identity: String { "load-\(name)" }
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
