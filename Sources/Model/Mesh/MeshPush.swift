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

    public init(
        version: UInt64, isSnapshot: Bool, authorities: String? = nil,
        puts: [MeshDeclaration] = [], deletes: [MeshKey] = []
    ) {
        self.version = version
        self.isSnapshot = isSnapshot
        self.authorities = authorities
        self.puts = puts
        self.deletes = deletes
    }
}

extension MeshState {
    /// What a proxy holds after a push, if it held this before.
    public mutating func adopt(_ push: MeshPush) {
        if push.isSnapshot { self = MeshState(trustDomain: trustDomain) }
        for key in push.deletes { remove(key) }
        for declaration in push.puts { declare(declaration) }
    }
}
