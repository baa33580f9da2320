// What the proxies of a service need of the mesh. It follows from what the service says that it
// calls, and from routes: a call to one service may be answered by another.

public import Model

/// What every proxy of one service needs.
///
/// - The service itself, and the authorizations that mean it.
/// - Every service that it calls, and its endpoints.
/// - Every route with a destination that it calls; it calls the other destinations too, and those
///   that requests are mirrored to, and so on.
/// - Every policy that means any of these services, or might once more of them are declared.
public struct MeshNeeds: Equatable, Sendable {
    public let service: MeshName
    /// Whom it calls by `shop/*` or `*/*`, in order; `*/*` stands alone.
    public let patterns: [MeshName]
    /// Whom it calls beside those, itself or by way of routes.
    public let services: Set<MeshName>
    /// Those of `services`.
    private let namespaces: Set<String>

    private static let all = MeshName("*", in: "*")

    /// What follows from a mesh. Where the service is not declared, it calls nobody.
    ///
    /// - Complexity: that of all routes.
    public init(of service: MeshName, in mesh: MeshState) {
        self.init(of: service, in: mesh, RouteIndex(mesh))
    }

    /// - Complexity: that of the routes to what is needed.
    init(of service: MeshName, in mesh: MeshState, _ routes: RouteIndex) {
        let calls = mesh.services[service].map { $0.calls ?? [Self.all] } ?? []
        let wide = calls.contains(Self.all) ? [Self.all] : calls.filter { $0.breadth > 0 }
        var patterns: [MeshName] = []
        for pattern in wide.sorted() where patterns.last != pattern { patterns.append(pattern) }
        var services: Set<MeshName> = []
        var seen: Set<MeshName> = []
        var rest: [MeshName] = []
        if patterns != [Self.all] {
            for pattern in patterns { rest += routes.routes(toNamespace: pattern.namespace) }
            for name in calls where name.breadth == 0 {
                services.insert(name)
                rest += routes.routes(to: name)
            }
        }
        while let route = rest.popLast() {
            guard seen.insert(route).inserted else { continue }
            for service in mesh.routes[route]?.services ?? []
            where services.insert(service).inserted { rest += routes.routes(to: service) }
        }
        self.service = service
        self.patterns = patterns
        self.services = services.filter { name in !patterns.contains { $0.covers(name) } }
        namespaces = Set(self.services.map(\.namespace))
    }

    /// Whether it calls a service.
    public func calls(_ name: MeshName) -> Bool {
        services.contains(name) || patterns.contains { $0.covers(name) }
    }

    /// Whether a declaration is needed.
    public func includes(_ declaration: MeshDeclaration) -> Bool {
        switch declaration {
        case .service(let value): value.meshName == service || calls(value.meshName)
        case .endpoint(let value): calls(value.serviceName)
        case .route(let value): value.destinations.contains { calls($0.service) }
        case .policy(let value): value.targets.contains(where: meets)
        case .authorization(let value): value.targets.contains { $0.covers(service) }
        }
    }

    /// Whether a reference means any of the services, declared or not.
    private func meets(_ target: MeshName) -> Bool {
        switch target.breadth {
        case 0: target == service || calls(target)
        case 1:
            target.namespace == service.namespace || namespaces.contains(target.namespace)
                || patterns.contains { ["*", target.namespace].contains($0.namespace) }
        default: true
        }
    }

    /// What is needed, in the order of keys.
    ///
    /// - Complexity: that of what is needed, and of all routes, policies and authorizations; of all
    ///   services where `patterns` has any.
    public func view(of mesh: MeshState) -> [MeshDeclaration] {
        var called = services.union([service]).compactMap { mesh.services[$0] }
        if !patterns.isEmpty {
            called += mesh.services.values.filter { value in
                value.meshName != service && patterns.contains { $0.covers(value.meshName) }
            }
        }
        var found = called.map(MeshDeclaration.service)
        // Of services that are not declared too: what is told first is what changes go on from.
        var answering = services
        if !patterns.isEmpty { answering.formUnion(mesh.servicesWithEndpoints.filter(calls)) }
        for name in answering {
            found += mesh.endpoints(of: name).map(MeshDeclaration.endpoint)
        }
        found += mesh.routes.values.map(MeshDeclaration.route).filter(includes)
        found += mesh.policies.values.map(MeshDeclaration.policy).filter(includes)
        found += mesh.authorizations.values.map(MeshDeclaration.authorization).filter(includes)
        return found.map { ($0.key, $0) }.sorted { $0.0 < $1.0 }.map(\.1)
    }
}

/// Routes by their destinations.
struct RouteIndex: Sendable {
    /// By namespace and name of the destination.
    private var names: [String: [MeshName: Set<MeshName>]] = [:]

    init(_ mesh: MeshState) {
        for route in mesh.routes.values { insert(route) }
    }

    mutating func insert(_ route: MeshRoute) {
        for destination in route.destinations {
            let service = destination.service
            names[service.namespace, default: [:]][service, default: []].insert(route.meshName)
        }
    }

    mutating func remove(_ route: MeshRoute) {
        for destination in route.destinations {
            let service = destination.service
            names[service.namespace]?[service]?.remove(route.meshName)
            if names[service.namespace]?[service]?.isEmpty == true {
                names[service.namespace]?[service] = nil
            }
            if names[service.namespace]?.isEmpty == true { names[service.namespace] = nil }
        }
    }

    func routes(to service: MeshName) -> Set<MeshName> {
        names[service.namespace]?[service] ?? []
    }

    func routes(toNamespace namespace: String) -> Set<MeshName> {
        (names[namespace]?.values).map { $0.reduce(into: []) { $0.formUnion($1) } } ?? []
    }
}
