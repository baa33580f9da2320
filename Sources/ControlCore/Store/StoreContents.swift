// What a store holds at one revision: the part that must survive. One function changes it, for
// commits as they happen and for those that recovery reads from the log.

public import Base

/// A key with its value and its past.
public struct StoreEntry: Equatable, Sendable, SortedElement {
    public let key: StoreKey
    public var value: [UInt8]
    /// The revision that made the key, after it was last absent.
    public var createRevision: UInt64
    /// The revision that last set it.
    public var modRevision: UInt64
    /// How often it was set since it was made, from 1.
    public var version: UInt64
    /// The lease whose end deletes it; 0: none.
    public var lease: UInt64

    public init(
        key: StoreKey, value: [UInt8], createRevision: UInt64, modRevision: UInt64,
        version: UInt64, lease: UInt64
    ) {
        self.key = key
        self.value = value
        self.createRevision = createRevision
        self.modRevision = modRevision
        self.version = version
        self.lease = lease
    }

    /// Bytes that count towards the limits.
    var byteCount: Int { key.bytes.count + value.count }
}

/// A promise to be heard of.
struct StoreLease: Equatable, SortedElement {
    var id: UInt64
    /// 0: not known; it was granted by way of somebody else, in a store that several share.
    var life: Duration
    /// In no order. Bound: `StoreLimits.leaseKeys`.
    var keys: [StoreKey] = []

    var key: UInt64 { id }
}

/// What a revision did, as the log holds it: enough to do it again without asking conditions.
public struct StoreRecord: Equatable, Sendable {
    /// One part of it.
    public enum Effect: Equatable, Sendable {
        case put(StoreKey, value: [UInt8], lease: UInt64)
        case delete(StoreKey)
        /// The lease whose number is the revision begins.
        case grant(life: Duration)
        /// The lease and every key under it end.
        case revoke(lease: UInt64)
    }

    public var revision: UInt64
    public var effects: [Effect]
}

/// What became of a key.
public enum StoreChange: Equatable, Sendable {
    case put(StoreEntry)
    case delete(StoreKey)

    public var key: StoreKey {
        switch self {
        case .put(let entry): entry.key
        case .delete(let key): key
        }
    }

    /// Bytes that count towards the limits of the history.
    var byteCount: Int {
        switch self {
        case .put(let entry): entry.byteCount
        case .delete(let key): key.bytes.count
        }
    }
}

/// The changes of one revision.
public struct StoreCommit: Equatable, Sendable {
    public var revision: UInt64
    /// Empty where the revision granted a lease or ended one that held no key.
    public var changes: [StoreChange]

    public init(revision: UInt64, changes: [StoreChange]) {
        self.revision = revision
        self.changes = changes
    }
}

/// Everything that a store holds at one revision. Equal contents encode to equal bytes.
public struct StoreContents: Sendable {
    /// How many commits led here.
    public internal(set) var revision: UInt64 = 0
    var entries = SortedTable<StoreEntry>()
    var leases = SortedTable<StoreLease>()
    /// Bytes of all keys and values.
    public private(set) var byteCount = 0

    /// An empty store, at revision 0.
    public init() {}

    public var count: Int { entries.count }

    /// Does what the record says.
    /// - Throws: where the record speaks of a key or a lease that is not there; the contents are
    ///   then half changed and to be thrown away.
    /// - Precondition: the record's revision is the next one.
    mutating func apply(_ record: StoreRecord) throws(StoreRefusal) -> [StoreChange] {
        precondition(record.revision == revision + 1, "a record out of turn")
        revision = record.revision
        var changes: [StoreChange] = []
        changes.reserveCapacity(record.effects.count)
        for effect in record.effects {
            switch effect {
            case .put(let key, let value, let lease):
                changes.append(.put(try put(key, value, lease)))
            case .delete(let key):
                try delete(key)
                changes.append(.delete(key))
            case .grant(let life):
                leases.put(StoreLease(id: revision, life: life))
            case .revoke(let id):
                guard let lease = leases.remove(id) else { throw .noSuchLease(id) }
                for key in lease.keys.sorted() {
                    if let entry = entries.remove(key) { byteCount -= entry.byteCount }
                    changes.append(.delete(key))
                }
            }
        }
        return changes
    }

    /// Takes in an entry or a lease of a snapshot as it is.
    mutating func restore(_ entry: StoreEntry) throws(StoreRefusal) {
        if entry.lease != 0 { try attach(entry.key, to: entry.lease) }
        entries.put(entry)
        byteCount += entry.byteCount
    }

    // MARK: Following another store

    /// Takes in what has happened to keys elsewhere, as it is.
    /// - Precondition: the commit is a later one.
    mutating func follow(_ commit: StoreCommit) {
        precondition(commit.revision > revision, "a commit of the past")
        revision = commit.revision
        for change in commit.changes {
            drop(change.key)
            if case .put(let entry) = change { take(entry) }
        }
    }

    /// Becomes what is given. Of leases, those that hold keys are known.
    mutating func replace(_ others: [StoreEntry], revision: UInt64) {
        self.revision = revision
        entries = SortedTable()
        leases = SortedTable()
        byteCount = 0
        for entry in others { take(entry) }
    }

    /// Takes in a lease that was granted. It is known until it has held keys and holds none any
    /// more: nobody says when one ends of which nobody asks.
    mutating func follow(lease id: UInt64, life: Duration) {
        leases.put(StoreLease(id: id, life: life, keys: leases[id]?.keys ?? []))
    }

    /// Takes out a lease that holds nothing; others go with the last of their keys.
    mutating func forget(lease id: UInt64) {
        if leases[id]?.keys.isEmpty == true { leases.remove(id) }
    }

    private mutating func take(_ entry: StoreEntry) {
        if entry.lease != 0 {
            var lease = leases[entry.lease] ?? StoreLease(id: entry.lease, life: .zero)
            lease.keys.append(entry.key)
            leases.put(lease)
        }
        entries.put(entry)
        byteCount += entry.byteCount
    }

    private mutating func drop(_ key: StoreKey) {
        guard let entry = entries.remove(key) else { return }
        byteCount -= entry.byteCount
        detach(key, from: entry.lease)
        forget(lease: entry.lease)
    }

    // MARK: Parts of a record

    private mutating func put(
        _ key: StoreKey, _ value: [UInt8], _ lease: UInt64
    ) throws(StoreRefusal) -> StoreEntry {
        let before = entries[key]
        let entry = StoreEntry(
            key: key, value: value, createRevision: before?.createRevision ?? revision,
            modRevision: revision, version: (before?.version ?? 0) + 1, lease: lease)
        let leaseBefore = before?.lease ?? 0
        if lease != leaseBefore {
            if lease != 0 { try attach(key, to: lease) }
            detach(key, from: leaseBefore)
        }
        entries.put(entry)
        byteCount += entry.byteCount - (before?.byteCount ?? 0)
        return entry
    }

    private mutating func delete(_ key: StoreKey) throws(StoreRefusal) {
        guard let entry = entries.remove(key) else { throw .absentKey(key) }
        byteCount -= entry.byteCount
        detach(key, from: entry.lease)
    }

    private mutating func attach(_ key: StoreKey, to id: UInt64) throws(StoreRefusal) {
        guard var lease = leases[id] else { throw .noSuchLease(id) }
        lease.keys.append(key)
        leases.put(lease)
    }

    private mutating func detach(_ key: StoreKey, from id: UInt64) {
        guard id != 0, var lease = leases[id], let place = lease.keys.firstIndex(of: key) else {
            return
        }
        lease.keys.swapAt(place, lease.keys.count - 1)
        lease.keys.removeLast()
        leases.put(lease)
    }

    /// Checks that keys and leases know each other and that the sums are right.
    public func checkInvariants() {
        entries.checkInvariants()
        leases.checkInvariants()
        var bytes = 0
        var held = 0
        entries.forEach { entry in
            bytes += entry.byteCount
            precondition(entry.modRevision <= revision, "a key from the future")
            precondition(entry.createRevision <= entry.modRevision, "a key set before it was made")
            guard entry.lease != 0 else { return }
            held += 1
            precondition(
                leases[entry.lease]?.keys.contains(entry.key) == true, "a lease without its key")
        }
        precondition(bytes == byteCount, "\(bytes) bytes, counted \(byteCount)")
        leases.forEach { lease in
            held -= lease.keys.count
            precondition(lease.life > .zero || !lease.keys.isEmpty, "a lease of nobody's")
        }
        precondition(held == 0, "a lease holds a key that is not under it")
    }
}
