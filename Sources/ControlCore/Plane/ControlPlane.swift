// The mesh's model: what the store's keys say, checked as a whole before anything changes. Without
// sockets and files; whoever has them asks here, and hands over the store.

public import Model

/// A value in the store that says nothing, or something else than its key.
public struct ControlDamage: Error, Equatable, Sendable, CustomStringConvertible {
    public var key: StoreKey
    public var reason: String

    public var description: String { "the declaration at \(key) cannot be read: \(reason)" }
}

/// The state of the control plane, which follows the store that it changes.
///
/// A change is made in the model first, checked there, committed under the condition that every
/// key it touches is as it was, and taken back where it cannot be: so it is believed whole or not
/// at all, and nothing is copied that does not change. Whoever owns a `ControlPlane` is the only
/// one who changes declarations in its store.
public struct ControlPlane: Sendable {
    public private(set) var mesh: MeshState
    /// When a declaration was last changed; after a start, a revision at or after that.
    public private(set) var lastChange: UInt64
    private let codec: MeshCodec

    /// The model of a store.
    public init(_ store: StoreState, codec: MeshCodec) throws(ControlDamage) {
        self.codec = codec
        var mesh = MeshState()
        for kind in MeshKind.allCases {
            for entry in store.entries(prefix: StoreKey(kind.plural + "/")) {
                let declaration: MeshDeclaration
                do throws(MeshBodyError) {
                    declaration = try codec.declaration(entry.value)
                } catch {
                    throw ControlDamage(
                        key: entry.key, reason: error.problems.first?.message ?? "it is empty")
                }
                guard StoreKey(declaration.key.path) == entry.key else {
                    throw ControlDamage(key: entry.key, reason: "it is \(declaration.key.title)")
                }
                mesh.declare(declaration)
            }
        }
        self.mesh = mesh
        lastChange = store.revision
    }

    /// Makes a change, or none of it.
    /// - Parameter dryRun: everything but the change: what is wrong with it, or what it would come
    ///   to, at the present revision.
    public mutating func perform(
        _ change: ControlChange, dryRun: Bool = false, in store: some ControlStore
    ) throws(ControlRefusal) -> ControlOutcome {
        let (puts, deletes) = try intended(by: change, store)
        var outcome = ControlOutcome(revision: store.revision)
        var undo: [(key: MeshKey, before: MeshDeclaration?)] = []
        for declaration in puts {
            let key = declaration.key
            let before = mesh[key]
            guard before != declaration else {
                outcome.unchanged += 1
                continue
            }
            if before == nil { outcome.created.append(key) } else { outcome.changed.append(key) }
            undo.append((key, before))
            mesh.declare(declaration)
        }
        for key in deletes {
            undo.append((key, mesh.remove(key)))
            outcome.deleted.append(key)
        }
        outcome.created.sort()
        outcome.changed.sort()
        do throws(ControlRefusal) {
            let touched = Set(undo.map(\.key))
            // Nothing was wrong before, so where nothing changes nothing is.
            let problems = touched.isEmpty ? [] : mesh.check(changed: touched)
            guard problems.isEmpty else { throw .problems(problems.map(MeshBodyProblem.init)) }
            if !dryRun, !outcome.isEmpty {
                outcome.revision = try store.commit(transaction(touched.sorted(), store))
                lastChange = outcome.revision
                return outcome
            }
        } catch {
            restore(undo)
            throw error
        }
        restore(undo)
        return outcome
    }

    /// What a change sets and removes, if it may happen as things are.
    private func intended(
        by change: ControlChange, _ store: some ControlStore
    ) throws(ControlRefusal) -> (puts: [MeshDeclaration], deletes: [MeshKey]) {
        switch change {
        case .apply(let body, let prune):
            if let revision = body.revision, revision < lastChange {
                throw .outdated(revision: lastChange)
            }
            guard prune else { return (body.declarations, []) }
            let kept = Set(body.declarations.map(\.key))
            return (body.declarations, mesh.declarations.map(\.key).filter { !kept.contains($0) })
        case .put(let declaration, let condition):
            try check(condition, declaration.key, store)
            return ([declaration], [])
        case .delete(let key, let condition):
            try check(condition, key, store)
            guard mesh[key] != nil else { throw .absent }
            return ([], [key])
        }
    }

    private func check(
        _ condition: ControlCondition, _ key: MeshKey, _ store: some ControlStore
    ) throws(ControlRefusal) {
        let revision = store.modRevision(of: StoreKey(key.path))
        guard condition.holds(revision) else { throw .condition(revision: revision) }
    }

    /// Brings the store from what it holds to what the model now says.
    private func transaction(_ keys: [MeshKey], _ store: some ControlStore) -> StoreTransaction {
        var transaction = StoreTransaction()
        for key in keys {
            let storeKey = StoreKey(key.path)
            transaction.conditions.append(
                .init(storeKey, modRevision: store.modRevision(of: storeKey)))
            transaction.changes.append(
                mesh[key].map { .put(storeKey, value: codec.encode($0)) } ?? .delete(storeKey))
        }
        return transaction
    }

    /// Takes changes back, the last one first.
    private mutating func restore(_ undo: [(key: MeshKey, before: MeshDeclaration?)]) {
        for (key, before) in undo.reversed() {
            if let before { mesh.declare(before) } else { mesh.remove(key) }
        }
    }
}
