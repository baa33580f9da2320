// What the Envoys of each service are told of, and what a change makes others of that: so that what
// a change costs goes with the change and with the Envoys that it concerns, not with how many there
// are and how much each of them holds.

public import Model

/// Contents that may be others than before.
public struct EnvoyStaleness: Equatable, Sendable {
    /// Everything.
    public var isAll: Bool
    public var types: Set<EnvoyType>
    /// Services of which the endpoints are.
    public var endpoints: Set<MeshName>

    public init(
        isAll: Bool = false, types: Set<EnvoyType> = [], endpoints: Set<MeshName> = []
    ) {
        self.isAll = isAll
        self.types = types
        self.endpoints = endpoints
    }

    public static let all = EnvoyStaleness(isAll: true)

    public func covers(_ question: EnvoyQuestion) -> Bool {
        if isAll || types.contains(question.type) { return true }
        guard question.type == .endpoints, let name = question.name else { return false }
        return endpoints.contains { $0.text == name }
    }

    /// What a change means to the Envoys of a service that need what it changes, and else the same
    /// as before.
    mutating func insert(_ change: MeshChange, of own: MeshName) {
        switch change.key.kind {
        case .endpoint:
            for case .endpoint(let endpoint)? in [change.before, change.after] {
                endpoints.insert(endpoint.serviceName)
            }
        case .route: types.insert(.routes)
        case .policy:
            types.formUnion([.clusters, .routes])
            var targets: [MeshName] = []
            for case .policy(let policy)? in [change.before, change.after] {
                targets += policy.targets
            }
            // What its own listener holds requests against.
            if targets.contains(where: { $0.covers(own) }) { types.insert(.listeners) }
            // Which endpoints are told of goes by the policy that holds for a service, and one that
            // says nothing of it takes the place of a wider one that does.
            if change.before.telling != change.after.telling { types.insert(.endpoints) }
        case .authorization: types.insert(.listeners)
        case .service where change.key.name == own: isAll = true
        case .service:
            types.formUnion([.clusters, .routes])
            endpoints.insert(change.key.name)
        }
    }
}

/// What of a policy decides which endpoints of which services are told of, as
/// `MeshState.endpointsTold` has it.
private struct Telling: Equatable {
    let targets: [MeshName]
    let balances: Bool
    let ejects: Bool
    let shutsOut: Bool
}

extension MeshDeclaration? {
    /// Nil of what is no policy.
    fileprivate var telling: Telling? {
        guard case .policy(let policy)? = self else { return nil }
        return Telling(
            targets: policy.targets, balances: policy.balance != nil,
            ejects: policy.outlier != nil, shutsOut: policy.accrual != nil)
    }
}

/// The views of the services of which there are Envoys.
public struct EnvoyViews: Sendable {
    private var groups: PushGroups
    /// Of each group, what its proxies need of the mesh.
    private var views: [MeshName: MeshState] = [:]

    /// Nobody's.
    public init(_ mesh: MeshState) { groups = PushGroups(mesh) }

    /// An Envoy of a service comes.
    /// - Parameter isWell: whether checks leave an endpoint in use.
    public mutating func add(
        _ node: String, to service: MeshName, _ mesh: MeshState, isWell: (MeshName) -> Bool
    ) {
        let needs = groups.add(node, to: service, mesh)
        if views[service] == nil { views[service] = Self.view(needs, mesh, isWell) }
    }

    public mutating func remove(_ node: String, from service: MeshName) {
        groups.remove(node, from: service)
        if groups[service] == nil { views[service] = nil }
    }

    /// What the proxies of a service need of the mesh; nil: there is no Envoy of it.
    public func view(of service: MeshName) -> MeshState? { views[service] }

    /// The Envoys of a service.
    public func nodes(of service: MeshName) -> Set<String> { groups[service]?.members ?? [] }

    private static func view(
        _ needs: MeshNeeds, _ mesh: MeshState, _ isWell: (MeshName) -> Bool
    ) -> MeshState {
        var view = MeshState(needs.view(of: mesh), trustDomain: mesh.trustDomain)
        view.find(MeshFindings(unhealthy: view.endpoints.keys.filter { !isWell($0) }))
        return view
    }

    // MARK: Changes

    /// What a step of a service from one way of being spoken to to the other makes others.
    public func staleness(ofMode service: MeshName) -> [MeshName: EnvoyStaleness] {
        var stale: [MeshName: EnvoyStaleness] = [:]
        for caller in groups.callers(of: service) {
            stale[caller] = EnvoyStaleness(types: [.clusters])
        }
        if groups[service] != nil { stale[service, default: .init()].types.insert(.listeners) }
        return stale
    }

    /// The mesh has changed.
    /// - Returns: by service, what its Envoys are to be told anew.
    public mutating func take(
        _ news: MeshNews, _ mesh: MeshState, isWell: (MeshName) -> Bool
    ) -> [MeshName: EnvoyStaleness] {
        guard case .changes(let changes) = news else {
            groups.replace(mesh)
            for (service, group) in groups.groups {
                views[service] = Self.view(group.needs, mesh, isWell)
            }
            return groups.groups.mapValues { _ in .all }
        }
        var stale: [MeshName: EnvoyStaleness] = [:]
        for (service, effect) in groups.take(changes, mesh) {
            guard let needs = groups[service]?.needs else { continue }
            switch effect {
            case .needs:
                views[service] = Self.view(needs, mesh, isWell)
                stale[service] = .all
            case .changes(let places):
                for place in places {
                    guard adopt(changes[place], service, needs, isWell) else { continue }
                    stale[service, default: .init()].insert(changes[place], of: service)
                }
            }
        }
        return stale
    }

    /// - Returns: whether that changes the view.
    private mutating func adopt(
        _ change: MeshChange, _ service: MeshName, _ needs: MeshNeeds, _ isWell: (MeshName) -> Bool
    ) -> Bool {
        guard let after = change.after, needs.includes(after) else {
            // What is not held is not held to be unhealthy.
            if change.key.kind == .endpoint { views[service]?.find(change.key.name, isWell: true) }
            return views[service]?.remove(change.key) != nil
        }
        let before = views[service]?.declare(after)
        if change.key.kind == .endpoint {
            views[service]?.find(change.key.name, isWell: isWell(change.key.name))
        }
        return before != after
    }

    /// Checks may have found something else than before of these endpoints.
    /// - Returns: by service, what its Envoys are to be told anew.
    /// - Complexity: that of the endpoints, and of the services that call theirs.
    public mutating func take(
        checksOf endpoints: [MeshName], _ mesh: MeshState, isWell: (MeshName) -> Bool
    ) -> [MeshName: EnvoyStaleness] {
        var stale: [MeshName: EnvoyStaleness] = [:]
        for name in endpoints {
            // Of what is gone no view has anything: changes come first.
            guard let called = mesh.endpoints[name]?.serviceName else { continue }
            let isWell = isWell(name)
            for service in groups.callers(of: called) {
                guard views[service]?.unwell.contains(name) == isWell else { continue }
                views[service]?.find(name, isWell: isWell)
                stale[service, default: .init()].endpoints.insert(called)
            }
        }
        return stale
    }

    /// The services that call one of which there are Envoys.
    public func callers(of service: MeshName) -> [MeshName] { groups.callers(of: service) }
}

extension MeshState {
    fileprivate mutating func find(_ endpoint: MeshName, isWell: Bool) {
        find(MeshFindings(unhealthy: isWell ? [] : [endpoint], healthy: isWell ? [endpoint] : []))
    }
}
