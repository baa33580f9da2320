// What is asked of a store and what it answers, in the terms of etcd v3, so that etcd can stand in
// its place.

public import Base

/// Changes that happen together or not at all, if the keys stand as the asker believes.
public struct StoreTransaction: Equatable, Sendable {
    /// That a key was last changed at a revision.
    public struct Condition: Equatable, Sendable {
        public var key: StoreKey
        /// 0: the key is absent.
        public var modRevision: UInt64

        public init(_ key: StoreKey, modRevision: UInt64) {
            self.key = key
            self.modRevision = modRevision
        }
    }

    /// One change of one key.
    public enum Change: Equatable, Sendable {
        /// Sets the value; `lease` 0: for good. The lease that the key was under no longer holds
        /// it.
        case put(StoreKey, value: [UInt8], lease: UInt64 = 0)
        /// Removes the key if it is there.
        case delete(StoreKey)

        public var key: StoreKey {
            switch self {
            case .put(let key, _, _), .delete(let key): key
            }
        }
    }

    public var conditions: [Condition]
    /// No key twice.
    public var changes: [Change]

    public init(conditions: [Condition] = [], changes: [Change] = []) {
        self.conditions = conditions
        self.changes = changes
    }
}

/// What is asked of a store.
public enum StoreRequest: Equatable, Sendable {
    case transaction(StoreTransaction)
    /// A new lease that ends unless refreshed within `life`.
    case grant(life: Duration)
    /// The end of a lease and of the keys under it.
    case revoke(lease: UInt64)
}

/// What a store answers.
public enum StoreAnswer: Equatable, Sendable {
    /// Done. The revision that the changes made; the present one if there was nothing to change.
    case committed(revision: UInt64)
    /// The lease's number: the revision that granted it, so never used again.
    case granted(lease: UInt64)
    /// Nothing was done: `key` was last changed at `modRevision` (0: it is absent).
    case conflict(StoreKey, modRevision: UInt64)
    /// Nothing was done, and never will be.
    case refused(StoreRefusal)
}

/// Why a request cannot be fulfilled.
public enum StoreRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    case keyLength(Int)
    case valueLength(StoreKey, Int)
    case operations(Int)
    case transactionBytes(Int)
    case repeatedKey(StoreKey)
    case absentKey(StoreKey)
    case noSuchLease(UInt64)
    case leaseKeys(UInt64)
    case leaseLife(Duration)
    /// The store holds as many keys, bytes or leases as it may.
    case full(String)
    /// What a store elsewhere says of it.
    case elsewhere(String)

    public var description: String {
        switch self {
        case .keyLength(let count):
            "a key of \(count) bytes; 1 to \(StoreLimits.keyBytes) are taken"
        case .valueLength(let key, let count):
            "a value of \(count) bytes at \(key); up to \(StoreLimits.valueBytes) are taken"
        case .operations(let count):
            "a transaction of \(count) conditions or changes; up to "
                + "\(StoreLimits.operations) are taken"
        case .transactionBytes(let count):
            "a transaction of \(count) bytes; up to \(StoreLimits.frameBytes) are taken"
        case .repeatedKey(let key): "a transaction that changes \(key) twice"
        case .absentKey(let key): "there is no key \(key)"
        case .noSuchLease(let lease): "there is no lease \(lease)"
        case .leaseKeys(let lease):
            "lease \(lease) would hold more than \(StoreLimits.leaseKeys) keys"
        case .leaseLife(let life):
            "a lease of \(life.seconds) s; \(StoreLimits.leaseLife.lowerBound.seconds) s to "
                + "\(StoreLimits.leaseLife.upperBound.seconds) s are taken"
        case .full(let what): "the store is full: \(what)"
        case .elsewhere(let reason): reason
        }
    }
}
