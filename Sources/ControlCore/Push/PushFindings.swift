import Model

/// What checks have found, as proxies have been told of it: from this follows whom else to tell of
/// a change.
struct PushFindings: Sendable {
    /// Endpoints that are unhealthy, with the services of which they were when they were found:
    /// whom that was told to has to hear of its end. Bound, as of all here: the endpoints of a
    /// mesh.
    private var unwell: [MeshName: MeshName] = [:]
    /// Endpoints of which too little has been seen yet, in the same way.
    private var undecided: [MeshName: MeshName] = [:]
    /// Those by service.
    private var undecidedByService: [MeshName: Set<MeshName>] = [:]
    /// Those that somebody was told to be so. He may hold them as unhealthy, as somebody else told
    /// him before, so he has to hear what they are.
    private var awaited: Set<MeshName> = []

    /// All that a proxy with these needs is to be told.
    mutating func all(for needs: MeshNeeds) -> MeshFindings {
        let unknown: [MeshName]
        if needs.patterns.isEmpty {
            unknown = needs.services.flatMap { undecidedByService[$0] ?? [] }
        } else {
            unknown = undecided.filter { needs.calls($0.value) }.map(\.key)
        }
        awaited.formUnion(unknown)
        return MeshFindings(
            isWhole: true, undecided: unknown.sorted(),
            unhealthy: unwell.filter { needs.calls($0.value) }.keys.sorted())
    }

    /// Takes in what is said of an endpoint, which is something else than before, or of another
    /// endpoint of that name.
    /// - Parameter service: of which it is; nil: it is gone.
    /// - Returns: the services whose callers are to be told that it is unhealthy no longer, and
    ///   that whose callers that it is; who calls both goes by the latter.
    mutating func take(
        _ endpoint: MeshName, _ verdict: HealthVerdict, of service: MeshName?
    ) -> (healthy: Set<MeshName>, unhealthy: MeshName?) {
        let before = unwell[endpoint]
        let after = verdict == .unhealthy ? service : nil
        var healthy: Set<MeshName> = []
        if let before, before != after { healthy.insert(before) }
        if let unknown = undecided.removeValue(forKey: endpoint) {
            undecidedByService[unknown]?.remove(endpoint)
            if undecidedByService[unknown]?.isEmpty == true { undecidedByService[unknown] = nil }
            if awaited.remove(endpoint) != nil, unknown != after { healthy.insert(unknown) }
        }
        unwell[endpoint] = after
        if verdict == .undecided, let service {
            undecided[endpoint] = service
            undecidedByService[service, default: []].insert(endpoint)
        }
        return (healthy, before == after ? nil : after)
    }
}
