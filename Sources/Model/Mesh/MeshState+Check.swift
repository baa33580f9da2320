// The mesh as a whole: names that nothing has, declarations that contradict each other, and those
// that can never act. The same mesh gives the same answer.
//
// Endpoints are most of a mesh and most of what changes. Nothing depends on them, and they depend
// on nothing but their service and its other endpoints; so a change of endpoints looks at those of
// their services only, and any other change at everything but the endpoints that it does not touch.

import Base

extension MeshState {
    /// Everything that is wrong with the whole, in the order of keys; empty: it can hold. A key
    /// says one thing only, so whoever adds declarations looks for duplicates himself (`declare`
    /// says what it replaced).
    /// - Parameters:
    ///   - changed: what was declared or removed since nothing was wrong; nil: whatever there is.
    ///     Of two declarations that contradict each other the changed one is reported.
    ///   - limit: what is found beyond so many is not told.
    public func check(changed: Set<MeshKey>? = nil, atMost limit: Int = 100) -> [MeshProblem] {
        MeshCheck(self, changed: changed).problems(atMost: limit)
    }
}

private struct MeshCheck {
    let state: MeshState
    let changed: Set<MeshKey>?
    /// Every service's, sorted by text.
    let identities: [SPIFFEID]
    let namespaces: Set<String>
    /// See `PolicyIndex.limitRings`.
    let limitRings: Set<MeshName>

    init(_ state: MeshState, changed: Set<MeshKey>?) {
        self.state = state
        self.changed = changed
        let isEndpoints = changed?.allSatisfy { $0.kind == .endpoint } ?? false
        let services = isEndpoints ? [:] : state.services
        identities = services.values.compactMap(state.identity).sorted()
        namespaces = Set(services.keys.map(\.namespace))
        limitRings = isEndpoints ? [] : PolicyIndex(state).limitRings
    }

    func problems(atMost limit: Int) -> [MeshProblem] {
        var problems = MeshProblems(.init(.service, .init("")), atMost: limit)
        checkCounts(&problems)
        var addresses: [MeshName: [String: MeshName]] = [:]
        var policed: [MeshName: MeshName] = [:]
        var routed: [MeshRoute.Condition: MeshName] = [:]
        for declaration in subjects where !problems.isFull {
            problems.of(declaration.key) { problems in
                declaration.check(&problems)
                switch declaration {
                case .service(let service): check(service, &problems)
                case .endpoint(let endpoint): check(endpoint, &addresses, &problems)
                case .route(let route): check(route, &routed, &problems)
                case .policy(let policy): check(policy, &policed, &problems)
                case .authorization(let authorization): check(authorization, &problems)
                }
            }
        }
        let sorted = problems.all.enumerated().sorted {
            ($0.element.key, $0.offset) < ($1.element.key, $1.offset)
        }
        return sorted.map(\.element)
    }

    /// What is looked at: those that were there before, then those that changed, so that it is the
    /// latter that stand where something stands already.
    private var subjects: [MeshDeclaration] {
        guard let changed else { return state.declarations }
        var services: Set<MeshName> = []
        for key in changed {
            if key.kind == .service { services.insert(key.name) }
            guard case .endpoint(let endpoint)? = state[key] else { continue }
            services.insert(endpoint.serviceName)
        }
        var subjects = services.flatMap(state.endpoints(of:)).map(MeshDeclaration.endpoint)
        if changed.contains(where: { $0.kind != .endpoint }) {
            subjects += state.declarationsButEndpoints
        }
        let keyed = subjects.map { (isChanged: changed.contains($0.key), key: $0.key, $0) }
        return keyed.sorted { a, b in
            a.isChanged == b.isChanged ? a.key < b.key : b.isChanged
        }
        .map(\.2)
    }

    private func checkCounts(_ problems: inout MeshProblems) {
        func check(_ kind: MeshKind, _ names: some Collection<MeshName>) {
            guard names.count > MeshLimits.declarations, let last = names.max() else { return }
            problems.of(MeshKey(kind, last)) {
                $0.report("more than \(MeshLimits.declarations) \(kind.plural)")
            }
        }
        check(.service, state.services.keys)
        check(.endpoint, state.endpoints.keys)
        check(.route, state.routes.keys)
        check(.policy, state.policies.keys)
        check(.authorization, state.authorizations.keys)
    }

    private func check(_ service: MeshService, _ problems: inout MeshProblems) {
        for (index, target) in (service.calls ?? []).enumerated() {
            problems.at("calls") {
                checkTarget("\(index)", target, in: service.namespace, &$0)
            }
        }
        guard let identity = service.identity else { return }
        if identity.trustDomain != state.trustDomain {
            problems.report(
                "identity", "not of this mesh, whose trust domain is '\(state.trustDomain)'")
        } else if identity.rawValue == SPIFFEID.control(of: state.trustDomain) {
            problems.report("identity", "the control plane's own, which no service can have")
        }
    }

    private func check(
        _ endpoint: MeshEndpoint, _ addresses: inout [MeshName: [String: MeshName]],
        _ problems: inout MeshProblems
    ) {
        let service = endpoint.serviceName
        checkReference("service", service, in: endpoint.namespace, &problems)
        let other = addresses[service, default: [:]]
            .updateValue(endpoint.meshName, forKey: endpoint.address)
        if let other {
            problems.report("address", "the endpoint '\(other.text)' has this address already")
        } else if addresses[service]?.count == MeshLimits.endpoints + 1 {
            // Once only: at the first one too many.
            problems.report(
                "service", "more than \(MeshLimits.endpoints) endpoints of one service")
        }
    }

    private func check(
        _ route: MeshRoute, _ routed: inout [MeshRoute.Condition: MeshName],
        _ problems: inout MeshProblems
    ) {
        let asked = route.destinations.map(\.service).enumerated().map { ("to", $0, $1) }
        let mirrors = route.mirrors.map(\.target).enumerated().map { ("mirror", $0, $1) }
        for (step, index, service) in asked + mirrors {
            problems.at(step, "\(index)") { problems in
                checkReference("service", service, in: route.namespace, &problems)
                guard state.services[service]?.speech == .tcp else { return }
                problems.report(
                    "service", "'\(service.text)' is a tcp service, which takes no requests")
            }
        }
        check(route.globalRateLimit, in: route.namespace, &problems)
        let count = max(route.hosts.count, 1) * route.matches.count
        guard routed.count + count <= MeshLimits.conditions else {
            return problems.report(
                "more than \(MeshLimits.conditions) conditions in all routes: hosts times matches")
        }
        var repeated: Set<Int> = []
        for (_, match, condition) in route.conditions {
            guard let other = routed.updateValue(route.meshName, forKey: condition),
                repeated.insert(match).inserted
            else { continue }
            let whose = other == route.meshName ? "this route" : "the route '\(other.text)'"
            let host = condition.host.map { " for the host '\($0)'" } ?? ""
            problems.at("matches") {
                $0.report("\(match)", "\(whose) has the same conditions\(host)")
            }
        }
    }

    private func check(
        _ policy: MeshPolicy, _ policed: inout [MeshName: MeshName],
        _ problems: inout MeshProblems
    ) {
        for (index, target) in policy.targets.enumerated() {
            problems.at("to") { problems in
                checkTarget("\(index)", target, in: policy.namespace, &problems)
                guard let other = policed.updateValue(policy.meshName, forKey: target) else {
                    return
                }
                let whose = other == policy.meshName ? "this policy" : "'\(other.text)'"
                problems.report("\(index)", "\(whose) is a policy for '\(target.text)' already")
            }
        }
        problems.at("inbound") { problems in
            check(policy.inbound.globalRateLimit, in: policy.namespace, &problems)
            guard let service = policy.inbound.globalRateLimit?.service,
                limitRings.contains(policy.meshName)
            else { return }
            let isOwn = state.policy(for: service)?.meshName == policy.meshName
            problems.at("global_rate_limit") {
                $0.report(
                    "service",
                    isOwn
                        ? "'\(service.text)' would be asked about each question itself: the policy "
                            + "is for it too, unless another one is"
                        : "'\(service.text)' asks in turn, and in the end those whom the policy is "
                            + "for: no question would be answered")
            }
        }
    }

    /// Where there is nobody to ask, or nobody who would understand, proxies would only find out
    /// with each request.
    private func check(
        _ limit: GlobalRateLimit?, in namespace: String, _ problems: inout MeshProblems
    ) {
        guard let limit else { return }
        problems.at("global_rate_limit") { problems in
            guard let service = limit.service else {
                return problems.reference("service", MeshName(limit.cluster, in: ""), breadth: 0)
            }
            checkReference("service", service, in: namespace, &problems)
            guard let speech = state.services[service]?.speech, speech != .http2 else { return }
            problems.report(
                "service",
                "'\(service.text)' speaks \(speech.rawValue), and a rate limit service is asked "
                    + "over http2 (`protocol`)")
        }
    }

    private func check(_ authorization: MeshAuthorization, _ problems: inout MeshProblems) {
        for (index, target) in authorization.targets.enumerated() {
            problems.at("to") {
                checkTarget("\(index)", target, in: authorization.namespace, &$0)
            }
        }
        let services = meant(by: authorization)
        for (index, rule) in authorization.rules.enumerated() {
            problems.at("rules", "\(index)") { check(rule, of: services, &$0) }
        }
    }

    /// The services that an authorization means; nil where that is not worth looking for, because
    /// all of a namespace or of the mesh are meant.
    private func meant(by authorization: MeshAuthorization) -> [MeshService]? {
        guard authorization.targets.allSatisfy({ $0.breadth == 0 }) else { return nil }
        return authorization.targets.compactMap { state.services[$0] }
    }

    private func check(
        _ rule: MeshAuthorization.Rule, of services: [MeshService]?, _ problems: inout MeshProblems
    ) {
        for (index, pattern) in rule.identities.enumerated() where isUnknown(pattern) {
            let known = pattern.exact == nil ? [] : identities
            let hint = suggestion(for: pattern.rawValue, in: known.lazy.map(\.rawValue))
            problems.at("identities") {
                $0.report("\(index)", "never holds: no service has such an identity\(hint)")
            }
        }
        for (index, namespace) in rule.namespaces.enumerated()
        where !namespaces.contains(namespace) {
            let hint = suggestion(for: namespace, in: namespaces.sorted())
            problems.at("namespaces") {
                $0.report("\(index)", "never holds: no service is of such a namespace\(hint)")
            }
        }
        guard let services, !services.isEmpty else { return }
        if rule.asksForHTTP, services.allSatisfy({ $0.speech == .tcp }) {
            problems.report("never holds: TCP has no methods, paths or headers")
        }
        if rule.asksForIdentity, services.allSatisfy({ $0.mtls == .off }) {
            problems.report("never holds: with `mtls: off` nobody shows an identity")
        }
    }

    /// Whether a pattern that can mean this mesh's services only means none of them.
    private func isUnknown(_ pattern: IdentityPattern) -> Bool {
        let prefix = pattern.prefix
        guard prefix.hasPrefix("\(SPIFFEID.scheme)\(state.trustDomain)/") else { return false }
        // The first identity that is not before the prefix is the first that can begin with it.
        var low = 0
        var high = identities.count
        while low < high {
            let middle = (low + high) / 2
            if identities[middle].rawValue < prefix { low = middle + 1 } else { high = middle }
        }
        return low == identities.count || !pattern.matches(identities[low])
    }

    private func checkTarget(
        _ step: String, _ target: MeshName, in namespace: String, _ problems: inout MeshProblems
    ) {
        switch target.breadth {
        case 0: checkReference(step, target, in: namespace, &problems)
        case 1 where !namespaces.contains(target.namespace):
            let hint = suggestion(for: target.namespace, in: namespaces.sorted())
            problems.report(step, "no service is of the namespace '\(target.namespace)'\(hint)")
        default: break
        }
    }

    private func checkReference(
        _ step: String, _ service: MeshName, in namespace: String, _ problems: inout MeshProblems
    ) {
        guard state.services[service] == nil else { return }
        // In the words of whoever refers: names of the own namespace need none.
        let isLocal = service.namespace == namespace
        let names = state.services.keys.sorted().lazy
            .filter { !isLocal || $0.namespace == namespace }
            .map { isLocal ? $0.name : $0.text }
        let word = isLocal ? service.name : service.text
        problems.report(step, "unknown service '\(word)'\(suggestion(for: word, in: names))")
    }
}
