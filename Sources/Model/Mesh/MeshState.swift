/// Everything that a mesh has been told: a value, so that a change is made on a copy and checked as
/// a whole before it holds.
public struct MeshState: Equatable, Sendable {
    /// That of the mesh's own certificates.
    public let trustDomain: String
    public private(set) var services: [MeshName: MeshService] = [:]
    public private(set) var endpoints: [MeshName: MeshEndpoint] = [:]
    public private(set) var routes: [MeshName: MeshRoute] = [:]
    public private(set) var policies: [MeshName: MeshPolicy] = [:]
    public private(set) var authorizations: [MeshName: MeshAuthorization] = [:]
    /// Endpoints that checks find unhealthy, whatever they are declared to be, and whether or not
    /// they are declared at all.
    public private(set) var unwell: Set<MeshName> = []
    /// The names of endpoints by service, which need not be declared.
    private var endpointNames: [MeshName: Set<MeshName>] = [:]

    /// - Precondition: `trustDomain` is the name of one (`SPIFFEID.isTrustDomain`).
    public init(
        _ declarations: some Sequence<MeshDeclaration> = [],
        trustDomain: String = SPIFFEID.standardTrustDomain
    ) {
        precondition(SPIFFEID.isTrustDomain(trustDomain), "no trust domain: \(trustDomain)")
        self.trustDomain = trustDomain
        for declaration in declarations { declare(declaration) }
    }

    /// Sets what a key says.
    /// - Returns: what it said before; nil: nothing.
    @discardableResult
    public mutating func declare(_ declaration: MeshDeclaration) -> MeshDeclaration? {
        let name = declaration.key.name
        switch declaration {
        case .service(let value):
            return services.updateValue(value, forKey: name).map { .service($0) }
        case .endpoint(let value):
            let old = remove(declaration.key)
            endpoints[name] = value
            endpointNames[value.serviceName, default: []].insert(name)
            return old
        case .route(let value):
            return routes.updateValue(value, forKey: name).map { .route($0) }
        case .policy(let value):
            return policies.updateValue(value, forKey: name).map { .policy($0) }
        case .authorization(let value):
            return authorizations.updateValue(value, forKey: name).map { .authorization($0) }
        }
    }

    /// Takes a key out.
    /// - Returns: what it said; nil: nothing.
    @discardableResult
    public mutating func remove(_ key: MeshKey) -> MeshDeclaration? {
        switch key.kind {
        case .service: services.removeValue(forKey: key.name).map { .service($0) }
        case .endpoint:
            endpoints.removeValue(forKey: key.name).map { endpoint in
                let service = endpoint.serviceName
                endpointNames[service]?.remove(key.name)
                if endpointNames[service]?.isEmpty == true { endpointNames[service] = nil }
                return .endpoint(endpoint)
            }
        case .route: routes.removeValue(forKey: key.name).map { .route($0) }
        case .policy: policies.removeValue(forKey: key.name).map { .policy($0) }
        case .authorization:
            authorizations.removeValue(forKey: key.name).map { .authorization($0) }
        }
    }

    /// Takes in what checks have found.
    public mutating func find(_ findings: MeshFindings) {
        if findings.isWhole { unwell.formIntersection(findings.undecided) }
        unwell.subtract(findings.healthy)
        unwell.formUnion(findings.unhealthy)
    }

    /// What a key says; nil: nothing.
    public subscript(_ key: MeshKey) -> MeshDeclaration? {
        switch key.kind {
        case .service: services[key.name].map { .service($0) }
        case .endpoint: endpoints[key.name].map { .endpoint($0) }
        case .route: routes[key.name].map { .route($0) }
        case .policy: policies[key.name].map { .policy($0) }
        case .authorization: authorizations[key.name].map { .authorization($0) }
        }
    }

    /// Declarations of all kinds.
    public var count: Int {
        services.count + endpoints.count + routes.count + policies.count + authorizations.count
    }

    /// All of them, in the order of their keys.
    public var declarations: [MeshDeclaration] {
        let all = declarationsButEndpoints + endpoints.values.map(MeshDeclaration.endpoint)
        return all.map { ($0.key, $0) }.sorted { $0.0 < $1.0 }.map(\.1)
    }

    /// All but the endpoints, in no order.
    var declarationsButEndpoints: [MeshDeclaration] {
        authorizations.values.map(MeshDeclaration.authorization)
            + policies.values.map(MeshDeclaration.policy)
            + routes.values.map(MeshDeclaration.route)
            + services.values.map(MeshDeclaration.service)
    }
}

// MARK: - What follows from it

extension MeshState {
    /// Whom a service's certificates name; nil where its names cannot stand in an identity.
    public func identity(of service: MeshService) -> SPIFFEID? {
        service.identity ?? SPIFFEID(service.meshName, trustDomain: trustDomain)
    }

    /// The endpoints of a service, by name; it need not be declared.
    public func endpoints(of service: MeshName) -> [MeshEndpoint] {
        (endpointNames[service] ?? []).sorted().compactMap { endpoints[$0] }
    }

    /// The endpoints of a service that get requests, by name: those that are declared healthy and
    /// are not found unhealthy; where checks would leave none of those that are declared healthy,
    /// all of these. Then it is as likely that the checks are wrong as that all have failed at
    /// once, and requests to none would fail in any case.
    public func endpointsInUse(of service: MeshName) -> [MeshEndpoint] {
        let declared = endpoints(of: service).filter { $0.health == .healthy }
        let well = declared.filter { !unwell.contains($0.meshName) }
        return well.isEmpty ? declared : well
    }

    /// The endpoints of a service that a proxy is told of, by name, each with whether checks leave
    /// it in use.
    ///
    /// Where the service's policy says how to balance, these are all that are declared healthy:
    /// with how few that are well the others get requests too is then for its panic threshold to
    /// say. So they are where it ejects endpoints or shuts them out, for one that is not told of
    /// would be forgotten, and come back as if it had never failed. Else they are those in use.
    ///
    /// With `accrual` alone there is no panic: where none is well, all are told of as in use, as
    /// they are without a policy.
    public func endpointsTold(
        of service: MeshName, _ policy: MeshPolicy?
    ) -> [(endpoint: MeshEndpoint, isWell: Bool)] {
        let mayPanic = policy?.balance != nil || policy?.outlier != nil
        guard mayPanic || policy?.accrual != nil else {
            return endpointsInUse(of: service).map { ($0, true) }
        }
        let told = endpoints(of: service).filter { $0.health == .healthy }.map { endpoint in
            (endpoint: endpoint, isWell: !unwell.contains(endpoint.meshName))
        }
        guard !mayPanic, !told.contains(where: \.isWell) else { return told }
        return told.map { ($0.endpoint, true) }
    }

    /// The services that have endpoints, declared or not, in no order.
    public var servicesWithEndpoints: [MeshName] { Array(endpointNames.keys) }

    /// The policy that holds for a service, the narrowest that means it; nil: none does.
    ///
    /// - Complexity: that of all policies.
    public func policy(for service: MeshName) -> MeshPolicy? {
        let meant = policies.values.compactMap { policy in
            policy.targets.filter { $0.covers(service) }.map(\.breadth).min().map { ($0, policy) }
        }
        // Two of the same breadth are an error; the name decides all the same.
        return meant.min { ($0.0, $0.1.meshName) < ($1.0, $1.1.meshName) }?.1
    }

    /// Every condition of every route with the route's name, in the order in which they are held
    /// against a request.
    public var conditions: [(condition: MeshRoute.Condition, route: MeshName)] {
        routes.flatMap { name, route in
            route.conditions.map { (condition: $0.condition, route: name) }
        }
        .sorted { ($0.condition, $0.route) < ($1.condition, $1.route) }
    }
}
