// The store as a state machine. A change is planned against the present state without touching it,
// written down by whoever has files, and accepted when it is safe there: what could not be written
// has never happened.

public import Base

/// What requests come to, before it is written down.
public struct StorePlan: Sendable {
    /// One for each request that was taken up, in their order. Fewer than were given where more
    /// would not fit one frame of the log; at least one.
    public fileprivate(set) var answers: [StoreAnswer] = []
    /// What to write down; empty where nothing changes.
    public fileprivate(set) var records: [StoreRecord] = []
    fileprivate var contents: StoreContents
    fileprivate var commits: [StoreCommit] = []
    fileprivate var byteCount = 0
}

/// A key-value store with revisions, in the sense of etcd v3. Without files, clocks or threads.
///
/// Every commit that changes anything, granting and ending leases included, makes one new revision.
public struct StoreState: Sendable {
    public private(set) var contents: StoreContents
    private var history: StoreHistory
    private var clock = LeaseClock()
    private let limits: StoreLimits
    /// How often `replace` has made it another store.
    public private(set) var replacements = 0

    /// An empty store.
    public init(limits: StoreLimits = StoreLimits()) {
        contents = StoreContents()
        history = StoreHistory(after: 0, limits: limits)
        self.limits = limits
    }

    /// A store that was recovered; every lease has its whole life from `now`.
    public init(_ recovery: StoreRecovery, limits: StoreLimits, now: Instant) {
        contents = recovery.contents
        history = StoreHistory(after: recovery.snapshotRevision, limits: limits)
        for commit in recovery.commits { history.append(commit) }
        self.limits = limits
        contents.leases.forEach { clock.set($0.id, at: now + $0.life) }
    }

    // MARK: Reading

    public var revision: UInt64 { contents.revision }

    /// The key as it stands; nil if it is absent.
    public func entry(_ key: StoreKey) -> StoreEntry? { contents.entries[key] }

    /// The keys that begin with `prefix`, in order: at most `limit` of those after `after`.
    public func entries(prefix: StoreKey, after: StoreKey? = nil, limit: Int = .max) -> [StoreEntry]
    {
        var found: [StoreEntry] = []
        contents.entries.visit(from: max(prefix, after ?? prefix)) { entry in
            guard entry.key.hasPrefix(prefix), found.count < limit else { return false }
            if entry.key != after { found.append(entry) }
            return true
        }
        return found
    }

    /// How many keys begin with `prefix`.
    /// - Complexity: O(number of keys / `SortedTable.leafCapacity`).
    public func count(prefix: StoreKey) -> Int {
        contents.entries.count(from: prefix) { $0.key.hasPrefix(prefix) }
    }

    /// What happened after `revision`: whole commits, in order, until they hold about `limit`
    /// changes; at least one if there is any.
    public func events(after revision: UInt64, limit: Int = .max) -> StoreEvents {
        history.events(after: revision, limit: limit)
    }

    /// How long a lease lasts without being refreshed; nil if there is none of that number. In a
    /// copy of a store that several share, zero: it was granted by way of somebody else.
    public func life(ofLease lease: UInt64) -> Duration? { contents.leases[lease]?.life }

    /// Whether keys are under a lease.
    public func holdsKeys(lease: UInt64) -> Bool { contents.leases[lease]?.keys.isEmpty == false }

    /// When the next lease ends unless it is refreshed.
    public var nextExpiry: Instant? { clock.earliest }

    /// Leases that have ended by `now` and are to be revoked, at most `limit`.
    public func expiredLeases(now: Instant, limit: Int) -> [UInt64] {
        clock.expired(now, limit: limit)
    }

    // MARK: Changing

    /// Gives a lease its whole life again from `now`. Nothing of this is written down. A lease that
    /// has ended and is not revoked yet lives on.
    /// - Returns: false if there is no such lease.
    public mutating func refresh(lease: UInt64, now: Instant) -> Bool {
        guard let life = contents.leases[lease]?.life else { return false }
        clock.set(lease, at: now + life)
        return true
    }

    /// What the requests come to, one after the other.
    /// - Precondition: there is at least one.
    public func plan(_ requests: ArraySlice<StoreRequest>) -> StorePlan {
        precondition(!requests.isEmpty, "a plan of nothing")
        var plan = StorePlan(contents: contents)
        for request in requests {
            let size = StoreLog.byteCount(request)
            // One that is too large by itself is taken up, and refused.
            if !plan.answers.isEmpty, plan.byteCount + size > StoreLimits.frameBytes { break }
            do throws(StoreRefusal) {
                guard size <= StoreLimits.frameBytes else { throw .transactionBytes(size) }
                plan.answers.append(try answer(request, &plan))
                plan.byteCount += size
            } catch {
                plan.answers.append(.refused(error))
            }
        }
        return plan
    }

    /// Makes a plan the present state, at `now`.
    /// - Precondition: it was made from the present state.
    public mutating func accept(_ plan: consuming StorePlan, now: Instant) {
        precondition(
            plan.contents.revision == revision + UInt64(plan.records.count), "a plan out of date")
        contents = plan.contents
        for commit in plan.commits { history.append(commit) }
        for record in plan.records {
            for effect in record.effects {
                switch effect {
                case .grant(let life): clock.set(record.revision, at: now + life)
                case .revoke(let lease): clock.clear(lease)
                case .put, .delete: break
                }
            }
        }
    }

    // MARK: Following

    /// Takes in a commit that has happened in the store of which this is a copy. Its revision may
    /// be any later one: what happened to other keys than those copied is not told.
    /// - Precondition: the revision is after the present one.
    public mutating func follow(_ commit: StoreCommit) {
        contents.follow(commit)
        history.append(commit)
    }

    /// Becomes what the store has come to that is copied, after a time of which nothing is known:
    /// what differs happened at `revision`, all at once, as far as those who watch are told.
    public mutating func catchUp(_ entries: [StoreEntry], revision: UInt64) {
        guard revision > self.revision else { return }
        var changes: [StoreChange] = []
        var kept: Set<StoreKey> = []
        for entry in entries {
            kept.insert(entry.key)
            if contents.entries[entry.key] != entry { changes.append(.put(entry)) }
        }
        contents.entries.forEach { entry in
            if !kept.contains(entry.key) { changes.append(.delete(entry.key)) }
        }
        follow(StoreCommit(revision: revision, changes: changes))
    }

    /// Becomes a copy of another store. The history begins anew: whoever watches has to read
    /// everything.
    public mutating func replace(_ entries: [StoreEntry], revision: UInt64) {
        contents.replace(entries, revision: revision)
        history = StoreHistory(after: revision, limits: limits)
        replacements += 1
    }

    /// Takes in a lease that was granted by the store of which this is a copy.
    public mutating func follow(lease: UInt64, life: Duration) {
        contents.follow(lease: lease, life: life)
    }

    /// Forgets a lease that has ended in the store of which this is a copy, or is not to be used.
    /// Where it holds keys it goes with them, when that store says so.
    public mutating func forget(lease: UInt64) { contents.forget(lease: lease) }

    /// Checks what must hold between the parts.
    public func checkInvariants() {
        contents.checkInvariants()
        precondition(history.revision == revision, "a history of another revision")
        var count = 0
        contents.leases.forEach { _ in count += 1 }
        precondition(
            clock.expired(.distantFuture, limit: .max).count == count, "a lease without an end")
    }

    private func answer(
        _ request: StoreRequest, _ plan: inout StorePlan
    ) throws(StoreRefusal) -> StoreAnswer {
        switch request {
        case .grant(let life):
            guard StoreLimits.leaseLife.contains(life) else { throw .leaseLife(life) }
            try commit([.grant(life: life)], &plan)
            return .granted(lease: plan.contents.revision)
        case .revoke(let lease):
            try commit([.revoke(lease: lease)], &plan)
            return .committed(revision: plan.contents.revision)
        case .transaction(let transaction):
            try check(transaction)
            for condition in transaction.conditions {
                let found = plan.contents.entries[condition.key]?.modRevision ?? 0
                guard found == condition.modRevision else {
                    return .conflict(condition.key, modRevision: found)
                }
            }
            let effects = transaction.changes.compactMap { change -> StoreRecord.Effect? in
                switch change {
                case .put(let key, let value, let lease):
                    .put(key, value: value, lease: lease)
                case .delete(let key):
                    plan.contents.entries[key] == nil ? nil : .delete(key)
                }
            }
            if !effects.isEmpty { try commit(effects, &plan) }
            return .committed(revision: plan.contents.revision)
        }
    }

    /// Whether the transaction is one that a store could ever fulfil.
    private func check(_ transaction: StoreTransaction) throws(StoreRefusal) {
        let count = max(transaction.conditions.count, transaction.changes.count)
        guard count <= StoreLimits.operations else { throw .operations(count) }
        for condition in transaction.conditions { try check(condition.key) }
        var keys: Set<StoreKey> = []
        for change in transaction.changes {
            try check(change.key)
            if transaction.changes.count > 1, !keys.insert(change.key).inserted {
                throw .repeatedKey(change.key)
            }
            if case .put(let key, let value, _) = change, value.count > StoreLimits.valueBytes {
                throw .valueLength(key, value.count)
            }
        }
    }

    private func check(_ key: StoreKey) throws(StoreRefusal) {
        guard (1...StoreLimits.keyBytes).contains(key.bytes.count) else {
            throw .keyLength(key.bytes.count)
        }
    }

    /// Adds a revision to the plan, unless the store would hold too much with it.
    private func commit(
        _ effects: [StoreRecord.Effect], _ plan: inout StorePlan
    ) throws(StoreRefusal) {
        let record = StoreRecord(revision: plan.contents.revision + 1, effects: effects)
        var contents = plan.contents
        let changes = try contents.apply(record)
        for effect in effects {
            if case .put(_, _, let lease) = effect, lease != 0,
                let held = contents.leases[lease], held.keys.count > StoreLimits.leaseKeys
            {
                throw .leaseKeys(lease)
            }
        }
        // Whatever makes room is let through, also where limits were once higher.
        let before = plan.contents
        if contents.count > max(limits.keys, before.count) {
            throw .full("\(limits.keys) keys")
        }
        if contents.byteCount > max(limits.bytes, before.byteCount) {
            throw .full("\(limits.bytes) bytes")
        }
        if contents.leases.count > max(limits.leases, before.leases.count) {
            throw .full("\(limits.leases) leases")
        }
        plan.contents = contents
        plan.records.append(record)
        plan.commits.append(StoreCommit(revision: record.revision, changes: changes))
    }
}
