/// Which policy holds for a service, for whoever asks about many.
struct PolicyIndex {
    private let policies: [MeshName: MeshPolicy]
    /// The policies' names by their targets.
    private var names: [MeshName: MeshName] = [:]

    init(_ mesh: MeshState) {
        policies = mesh.policies
        for policy in policies.values {
            for target in policy.targets {
                // As `MeshState.policy(for:)` has it where two have the same.
                names[target] = min(names[target] ?? policy.meshName, policy.meshName)
            }
        }
    }

    func policy(for service: MeshName) -> MeshPolicy? {
        let targets = [service, MeshName("*", in: service.namespace), MeshName("*", in: "*")]
        return targets.lazy.compactMap { names[$0] }.first.flatMap { policies[$0] }
    }

    /// The policies of rate limit services that are asked about their own questions: of which each
    /// asks the next before it is let through to, and the last the first, so that no question is
    /// ever answered.
    /// - Complexity: that of all policies and their targets.
    var limitRings: Set<MeshName> {
        var rings: Set<MeshName> = []
        var seen: Set<MeshName> = []
        for policy in policies.values {
            var way: [(service: MeshName, policy: MeshName)] = []
            var asked = policy.inbound.globalRateLimit?.service
            while let service = asked, seen.insert(service).inserted {
                guard let next = self.policy(for: service) else { break }
                way.append((service, next.meshName))
                asked = next.inbound.globalRateLimit?.service
            }
            guard let first = way.firstIndex(where: { $0.service == asked }) else { continue }
            rings.formUnion(way[first...].map(\.policy))
        }
        return rings
    }
}
