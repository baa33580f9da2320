// The mesh's model: what the store's keys say, checked as a whole before anything changes. Without
// sockets and files; whoever has them asks here, and hands over the store.

public import Model

/// A value in the store that says nothing, or something else than its key: of another version of
/// this program, or put there by somebody else.
public struct ControlDamage: Error, Equatable, Sendable, CustomStringConvertible {
    public var key: StoreKey
    /// Bound: 200 characters, as the value may be quoted in it.
    public var reason: String

    init(_ key: StoreKey, _ reason: String) {
        self.key = key
        self.reason = String(reason.prefix(200))
    }

    public var description: String { "the declaration at \(key) cannot be read: \(reason)" }
}

/// The state of the control plane, which follows the store that it changes.
///
/// A change is made in the model first, checked there, committed under the condition that every
/// key it touches is as it was, and taken back where it cannot be: so it is believed whole or not
/// at all, and nothing is copied that does not change.
///
/// That each key is as it was does not say that the whole still holds, where several share a store:
/// so every change of declarations also sets the key `head`, under the condition that it is as it
/// was. Ends of leases do not; they only take endpoints away, to which nothing refers.
public struct ControlPlane: Sendable {
    public private(set) var mesh: MeshState
    /// When a declaration was last changed; after a start, a revision at or after that.
    public private(set) var lastChange: UInt64
    /// What stands where declarations do and is none. The mesh has what stood there before, or
    /// nothing after a start. A change of the same key mends it. Bound: the keys of the store.
    public private(set) var damaged: [StoreKey: ControlDamage] = [:]
    /// How often the store had been replaced when it was last followed.
    public private(set) var replacements: Int
    private let codec: MeshCodec
    /// The store has been followed up to this revision.
    private var followed: UInt64
    /// The last revision made from here, whose puts the mesh holds already; 0: none.
    private var own: UInt64 = 0
    /// What has become of the mesh since somebody asked.
    private var news = MeshNews.changes([])

    /// The key that every change of declarations sets, to an empty value.
    public static let head = StoreKey("mesh")

    /// The model of a store.
    public init(_ store: StoreState, codec: MeshCodec) {
        self.codec = codec
        mesh = MeshState()
        lastChange = store.revision
        followed = store.revision
        replacements = store.replacements
        read(store)
        news = .changes([])
    }

    /// Takes in what the store has come to hold since, whoever has changed it.
    public mutating func follow(_ store: StoreState) {
        guard store.revision != followed || store.replacements != replacements else { return }
        let events = store.events(after: followed)
        if case .commits(let commits) = events, store.replacements == replacements {
            for commit in commits {
                for change in commit.changes where !isOwn(change) { take(change, commit.revision) }
            }
        } else {
            let before = mesh
            mesh = MeshState()
            news = .replaced
            own = 0
            damaged = [:]
            read(store)
            for key in damaged.keys.compactMap(MeshKey.init) {
                if let declaration = before[key] { mesh.declare(declaration) }
            }
            lastChange = store.revision
        }
        followed = store.revision
        replacements = store.replacements
    }

    /// An authorization that cannot be read, and of which nothing is known from before; nil: there
    /// is none. Whoever was told of the mesh without it would let in whom it keeps out.
    public var missingAuthorization: ControlDamage? {
        damaged.values.filter { damage in
            guard let key = MeshKey(damage.key), key.kind == .authorization else { return false }
            return mesh[key] == nil
        }.min { $0.key < $1.key }
    }

    /// What has become of the mesh since this was last asked, whoever has changed it.
    public mutating func takeNews() -> MeshNews {
        defer { news = .changes([]) }
        return news
    }

    /// Whether a put was made here last, so that it need not be read. The commit that it comes in
    /// does not say: a copy that has caught up holds changes of others at the same revision.
    private func isOwn(_ change: StoreChange) -> Bool {
        guard case .put(let entry) = change else { return false }
        return entry.modRevision == own
    }

    private mutating func read(_ store: StoreState) {
        for kind in MeshKind.allCases {
            for entry in store.entries(prefix: StoreKey(kind.plural + "/")) {
                take(.put(entry), store.revision)
            }
        }
    }

    private mutating func take(_ change: StoreChange, _ revision: UInt64) {
        guard change.isOfDeclaration else { return }
        lastChange = max(lastChange, revision)
        damaged[change.key] = nil
        switch change {
        case .put(let entry):
            do throws(ControlDamage) {
                let after = try declaration(entry)
                let before = mesh.declare(after)
                news.append(MeshChange(after.key, before: before, after: after))
            } catch {
                damaged[entry.key] = error
            }
        case .delete:
            guard let key = MeshKey(change.key) else { return }
            news.append(MeshChange(key, before: mesh.remove(key), after: nil))
        }
    }

    private func declaration(_ entry: StoreEntry) throws(ControlDamage) -> MeshDeclaration {
        let declaration: MeshDeclaration
        do throws(MeshBodyError) {
            declaration = try codec.declaration(entry.value)
        } catch {
            throw ControlDamage(entry.key, error.problems.first?.message ?? "it is empty")
        }
        guard StoreKey(declaration.key.path) == entry.key else {
            throw ControlDamage(entry.key, "it is \(declaration.key.title)")
        }
        return declaration
    }

    /// Makes a change, or none of it.
    /// - Parameter dryRun: everything but the change: what is wrong with it, or what it would come
    ///   to, at the present revision.
    public mutating func perform(
        _ change: ControlChange, dryRun: Bool = false, in store: some ControlStore
    ) throws(ControlRefusal) -> ControlOutcome {
        let (puts, deletes, lease) = try intended(by: change, store)
        var outcome = ControlOutcome(revision: store.revision)
        var undo: [(key: MeshKey, before: MeshDeclaration?)] = []
        for declaration in puts {
            let key = declaration.key
            let before = mesh[key]
            let isMended = isDamaged(key)
            guard
                before != declaration || isMended
                    || lease.map({ $0 != leaseOf(key, store) }) ?? false
            else {
                outcome.unchanged += 1
                continue
            }
            if before == nil, !isMended {
                outcome.created.append(key)
            } else {
                outcome.changed.append(key)
            }
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
                outcome.revision = try store.commit(
                    transaction(touched.sorted(), lease: lease, store))
                lastChange = outcome.revision
                own = outcome.revision
                for (key, before) in undo {
                    damaged[StoreKey(key.path)] = nil
                    news.append(MeshChange(key, before: before, after: mesh[key]))
                }
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
    ) throws(ControlRefusal) -> (puts: [MeshDeclaration], deletes: [MeshKey], lease: UInt64?) {
        switch change {
        case .apply(let body, let prune):
            if let revision = body.revision, revision < lastChange {
                throw .outdated(revision: lastChange)
            }
            guard prune else { return (body.declarations, [], nil) }
            let kept = Set(body.declarations.map(\.key))
            // Who has registered himself is not declared in files, and is not missed there.
            let there = mesh.declarations.map(\.key) + damaged.keys.compactMap(MeshKey.init)
            let rest = Set(there).filter { key in
                !kept.contains(key) && (key.kind != .endpoint || leaseOf(key, store) == 0)
            }
            return (body.declarations, rest.sorted(), nil)
        case .put(let declaration, let condition):
            try check(condition, declaration.key, store)
            return ([declaration], [], nil)
        case .delete(let key, let condition):
            try check(condition, key, store)
            guard mesh[key] != nil || isDamaged(key) else { throw .absent }
            return ([], [key], nil)
        case .register(let endpoint, let lease):
            let (put, deletes) = try registration(endpoint, store)
            return ([put], deletes, lease)
        }
    }

    /// An endpoint as its process has it, but for the health that somebody else may have declared;
    /// and those that had its address before it, which only one process can have.
    private func registration(
        _ endpoint: MeshEndpoint, _ store: some ControlStore
    ) throws(ControlRefusal) -> (put: MeshDeclaration, deletes: [MeshKey]) {
        var endpoint = endpoint
        let before = mesh.endpoints[endpoint.meshName]
        if before != nil || isDamaged(endpoint.key), leaseOf(endpoint.key, store) == 0 {
            throw .problems([
                .init(key: endpoint.key, "it is declared, and no process can register it")
            ])
        }
        if let before {
            if before.serviceName == endpoint.serviceName, before.address == endpoint.address {
                endpoint.health = before.health
            }
        }
        let others = mesh.endpoints(of: endpoint.serviceName).filter {
            $0.address == endpoint.address && $0.meshName != endpoint.meshName
                && leaseOf($0.key, store) != 0
        }
        return (.endpoint(endpoint), others.map(\.key))
    }

    private func isDamaged(_ key: MeshKey) -> Bool { damaged[StoreKey(key.path)] != nil }

    private func leaseOf(_ key: MeshKey, _ store: some ControlStore) -> UInt64 {
        store.lease(of: StoreKey(key.path))
    }

    private func check(
        _ condition: ControlCondition, _ key: MeshKey, _ store: some ControlStore
    ) throws(ControlRefusal) {
        let revision = store.modRevision(of: StoreKey(key.path))
        guard condition.holds(revision) else { throw .condition(revision: revision) }
    }

    /// Brings the store from what it holds to what the model now says.
    /// - Parameter lease: under which to put; nil: each key stays under the one that it is under.
    private func transaction(
        _ keys: [MeshKey], lease: UInt64?, _ store: some ControlStore
    ) -> StoreTransaction {
        var transaction = StoreTransaction(
            conditions: [.init(Self.head, modRevision: store.modRevision(of: Self.head))],
            changes: [.put(Self.head, value: [])])
        for key in keys {
            let storeKey = StoreKey(key.path)
            transaction.conditions.append(
                .init(storeKey, modRevision: store.modRevision(of: storeKey)))
            let change = mesh[key].map { declaration -> StoreTransaction.Change in
                let lease = lease ?? store.lease(of: storeKey)
                return .put(storeKey, value: codec.encode(declaration), lease: lease)
            }
            transaction.changes.append(change ?? .delete(storeKey))
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

extension MeshKey {
    /// nil: no declaration can have it.
    public init?(_ key: StoreKey) {
        guard let text = String(validating: key.bytes, as: UTF8.self) else { return nil }
        self.init(path: text)
    }
}

extension StoreChange {
    /// Whether it is of a key where declarations stand, whatever stands there.
    var isOfDeclaration: Bool {
        MeshKind.allCases.contains { key.bytes.starts(with: "\($0.plural)/".utf8) }
    }
}

extension StoreCommit {
    /// Whether it changed declarations.
    public var touchesDeclarations: Bool { changes.contains(where: \.isOfDeclaration) }
}
