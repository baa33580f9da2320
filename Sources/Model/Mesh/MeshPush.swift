/// What a proxy is told of the mesh: all that it needs, or what has changed in that since it was
/// last told. On its watch each is one line of JSON.
public struct MeshPush: Equatable, Sendable {
    /// The revision of the store that it says; less than that of the push before only in a
    /// snapshot, after the store was replaced by an older one.
    public var version: UInt64
    /// It is all; what was held before counts no longer.
    public var isSnapshot: Bool
    /// The certificates of every authority to be trusted, as PEM; nil: as before. Every snapshot
    /// has them.
    public var authorities: String?
    /// In the order of their keys, each once.
    public var puts: [MeshDeclaration]
    /// What is needed or declared no longer, in the order of their keys; none that is put too. A
    /// snapshot has none.
    public var deletes: [MeshKey]
    /// What checks have found of endpoints that it needs; nil: nothing new. It is no declaration,
    /// and has no version: each control plane finds out for itself.
    public var checks: MeshFindings?

    public init(
        version: UInt64, isSnapshot: Bool, authorities: String? = nil,
        puts: [MeshDeclaration] = [], deletes: [MeshKey] = [], checks: MeshFindings? = nil
    ) {
        self.version = version
        self.isSnapshot = isSnapshot
        self.authorities = authorities
        self.puts = puts
        self.deletes = deletes
        self.checks = checks
    }
}

/// What active checks have found of endpoints, whatever these are declared to be.
public struct MeshFindings: Equatable, Sendable {
    /// It is all: whoever is not named is well.
    public var isWhole: Bool
    /// Where it is all, endpoints of which whoever says it knows too little yet, in order, each
    /// once: they stay what they are held to be.
    public var undecided: [MeshName]
    /// Endpoints that are found unhealthy, in order, each once.
    public var unhealthy: [MeshName]
    /// Endpoints that are so no longer, or are not, in the same way; none of `unhealthy`, and none
    /// where it is all.
    public var healthy: [MeshName]

    public init(
        isWhole: Bool = false, undecided: [MeshName] = [], unhealthy: [MeshName] = [],
        healthy: [MeshName] = []
    ) {
        self.isWhole = isWhole
        self.undecided = undecided
        self.unhealthy = unhealthy
        self.healthy = healthy
    }

    public var isEmpty: Bool { !isWhole && unhealthy.isEmpty && healthy.isEmpty }
}

extension MeshState {
    /// What a proxy holds after a push, if it held this before.
    public mutating func adopt(_ push: MeshPush) {
        if push.isSnapshot {
            let known = unwell
            self = MeshState(trustDomain: trustDomain)
            // Nothing that was declared counts any longer, but what was found stays found where
            // whoever tells all of the mesh has not seen enough yet.
            find(MeshFindings(unhealthy: Array(known)))
        }
        for key in push.deletes { remove(key) }
        for declaration in push.puts { declare(declaration) }
        if let checks = push.checks { find(checks) }
    }
}
