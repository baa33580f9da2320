public import Model

/// What became of one key of the mesh.
public struct MeshChange: Equatable, Sendable {
    public var key: MeshKey
    /// What it said; nil: it was absent.
    public var before: MeshDeclaration?
    /// What it says; nil: it is absent.
    public var after: MeshDeclaration?

    public init(_ key: MeshKey, before: MeshDeclaration?, after: MeshDeclaration?) {
        self.key = key
        self.before = before
        self.after = after
    }
}

/// What became of the mesh.
public enum MeshNews: Equatable, Sendable {
    /// In the order in which it happened; a key may stand several times.
    case changes([MeshChange])
    /// The mesh is another one: what changed is not known.
    case replaced

    public var isEmpty: Bool { self == .changes([]) }

    mutating func append(_ change: MeshChange) {
        guard case .changes(var changes) = self, change.before != change.after else { return }
        // In place: else each append would copy what there is.
        self = .replaced
        changes.append(change)
        self = .changes(changes)
    }
}
