public import Base

/// How much a store takes. What exceeds a limit is refused with a `StoreRefusal`.
public struct StoreLimits: Equatable, Sendable {
    /// Bytes of a key, from 1: a collection, a namespace and a name of 253 (a DNS name) each, or
    /// nearly so.
    public static let keyBytes = 512
    /// Bytes of a value: a declaration of a service with some 10,000 endpoints; also what etcd
    /// takes in one request by default, rounded down.
    public static let valueBytes = 1 << 20
    /// Conditions, and changes, of one transaction: the whole declaration of a mesh of 10,000
    /// services is applied at once or not at all.
    public static let operations = 16_384
    /// Bytes of one transaction as it stands in the log, and of one frame of the log, which is what
    /// recovery and the writer hold in memory at once.
    public static let frameBytes = 32 << 20
    /// Keys that one lease holds, deleted in one revision when it ends: the endpoints of one
    /// process.
    public static let leaseKeys = 1024
    /// How long a lease lasts without being refreshed. A day is more than any heartbeat needs.
    public static let leaseLife = Duration.milliseconds(1)...Duration.seconds(86_400)
    /// Greatest revision, that of etcd's signed 64 bits; also of a key's version. Not reached:
    /// at a million commits a second, in 292,000 years.
    public static let revision = UInt64(Int64.max)

    /// Keys of the store: 100,000 endpoints and what goes with them, with room.
    public var keys = 1_000_000
    /// Bytes of all keys and values together, so that the store and a snapshot of it fit in the
    /// memory of a small machine.
    public var bytes = 256 << 20
    /// Leases: one for each of 100,000 endpoints, with room.
    public var leases = 262_144
    /// Changes kept for those who watch: a watcher that is further behind reads anew.
    public var historyChanges = 65_536
    /// Bytes of keys and values that those changes hold.
    public var historyBytes = 64 << 20
    /// Bytes of the log from which on it is replaced by a snapshot, unless the snapshot before was
    /// larger: what is written twice stays below what is written once.
    public var logBytes = 8 << 20

    public init() {}
}
