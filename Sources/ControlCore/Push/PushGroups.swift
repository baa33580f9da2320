import Model

/// The services of which there are subscribers, and what each needs: so that what a change costs
/// goes with those whom it concerns, not with how many there are.
struct PushGroups: Sendable {
    struct Group: Sendable {
        var needs: MeshNeeds
        /// Proxies. Bound: `MeshSubscriptions.Limits.subscribers`.
        var members: Set<String> = []
    }

    private(set) var groups: [MeshName: Group] = [:]
    private var routes: RouteIndex
    /// Groups by the services that they call by name, or are.
    private var byService: [MeshName: Set<MeshName>] = [:]
    /// Groups by the namespaces of which they call all.
    private var byNamespace: [String: Set<MeshName>] = [:]
    /// Those that call all.
    private var everywhere: Set<MeshName> = []

    init(_ mesh: MeshState) { routes = RouteIndex(mesh) }

    subscript(_ service: MeshName) -> Group? { groups[service] }

    mutating func add(_ proxy: String, to service: MeshName, _ mesh: MeshState) -> MeshNeeds {
        if groups[service] == nil {
            let needs = MeshNeeds(of: service, in: mesh, routes)
            groups[service] = Group(needs: needs)
            enter(needs)
        }
        groups[service]?.members.insert(proxy)
        guard let needs = groups[service]?.needs else { preconditionFailure("added to no group") }
        return needs
    }

    mutating func remove(_ proxy: String, from service: MeshName) {
        guard var group = groups[service] else { return }
        group.members.remove(proxy)
        groups[service] = group.members.isEmpty ? nil : group
        if group.members.isEmpty { leave(group.needs) }
    }

    // MARK: Whom a change concerns

    /// What changes mean to a group.
    enum Effect: Equatable {
        /// These concern it, by their places in what was given.
        case changes([Int])
        /// It needs other things than before.
        case needs
    }

    /// Brings the needs up to date, and says whom the changes concern.
    /// - Parameter mesh: with all of them made.
    mutating func take(_ changes: [MeshChange], _ mesh: MeshState) -> [MeshName: Effect] {
        var concerned: [MeshName: [Int]] = [:]
        var unsure: Set<MeshName> = []
        for (index, change) in changes.enumerated() {
            if case .route(let route)? = change.before { routes.remove(route) }
            if case .route(let route)? = change.after { routes.insert(route) }
            for group in self.groups(for: change) {
                if concerned[group]?.last != index { concerned[group, default: []].append(index) }
                if change.mayChangeNeeds(of: group) { unsure.insert(group) }
            }
        }
        var effects = concerned.mapValues { Effect.changes($0) }
        for service in unsure {
            guard let group = groups[service] else { continue }
            let needs = MeshNeeds(of: service, in: mesh, routes)
            guard needs != group.needs else { continue }
            leave(group.needs)
            groups[service]?.needs = needs
            enter(needs)
            effects[service] = .needs
        }
        return effects
    }

    /// The mesh is another one: all needs are made anew.
    mutating func replace(_ mesh: MeshState) {
        routes = RouteIndex(mesh)
        (byService, byNamespace, everywhere) = ([:], [:], [])
        for service in groups.keys {
            let needs = MeshNeeds(of: service, in: mesh, routes)
            groups[service]?.needs = needs
            enter(needs)
        }
    }

    private func groups(for change: MeshChange) -> Set<MeshName> {
        var found: Set<MeshName> = []
        for declaration in [change.before, change.after] {
            guard let declaration else { continue }
            switch declaration {
            case .service(let value): found.formUnion(groups(naming: value.meshName))
            case .endpoint(let value): found.formUnion(groups(naming: value.serviceName))
            case .route(let value):
                for destination in value.destinations {
                    found.formUnion(groups(naming: destination.service))
                }
            case .policy(let value): found.formUnion(groups(for: declaration, value.targets))
            case .authorization(let value):
                found.formUnion(groups(for: declaration, value.targets))
            }
        }
        return found
    }

    /// Those that call a service.
    func callers(of service: MeshName) -> [MeshName] {
        groups(naming: service).filter { groups[$0]?.needs.calls(service) ?? false }
    }

    /// Those that have to do with a service; one that is named may still not call it.
    private func groups(naming service: MeshName) -> Set<MeshName> {
        (byService[service] ?? []).union(byNamespace[service.namespace] ?? []).union(everywhere)
    }

    /// A target that means more than one service is held against every group.
    private func groups(
        for declaration: MeshDeclaration, _ targets: [MeshName]
    ) -> [MeshName] {
        guard targets.allSatisfy({ $0.breadth == 0 }) else {
            return groups.compactMap { $0.value.needs.includes(declaration) ? $0.key : nil }
        }
        return targets.reduce(into: Set<MeshName>()) { $0.formUnion(groups(naming: $1)) }
            .filter { groups[$0]?.needs.includes(declaration) ?? false }
    }

    private mutating func enter(_ needs: MeshNeeds) {
        for name in needs.services.union([needs.service]) {
            byService[name, default: []].insert(needs.service)
        }
        for pattern in needs.patterns {
            if pattern.namespace == "*" {
                everywhere.insert(needs.service)
            } else {
                byNamespace[pattern.namespace, default: []].insert(needs.service)
            }
        }
    }

    private mutating func leave(_ needs: MeshNeeds) {
        for name in needs.services.union([needs.service]) {
            byService[name]?.remove(needs.service)
            if byService[name]?.isEmpty == true { byService[name] = nil }
        }
        for pattern in needs.patterns {
            byNamespace[pattern.namespace]?.remove(needs.service)
            if byNamespace[pattern.namespace]?.isEmpty == true {
                byNamespace[pattern.namespace] = nil
            }
        }
        everywhere.remove(needs.service)
    }
}

extension MeshChange {
    /// Whether proxies of a service, whom it concerns, may need other things after it than before.
    func mayChangeNeeds(of service: MeshName) -> Bool {
        switch key.kind {
        case .route: return true
        case .service where key.name == service:
            guard case .service(let before)? = before, case .service(let after)? = after else {
                return true
            }
            return before.calls != after.calls
        default: return false
        }
    }
}
