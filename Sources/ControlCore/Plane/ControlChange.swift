// What is asked of the control plane to change, and what comes of it.

public import Model

/// What a key must be like for a change to happen (RFC 9110, 13.1), by the revision that last
/// changed it.
public struct ControlCondition: Equatable, Sendable {
    public enum Match: Equatable, Sendable {
        /// `*`: it is there.
        case any
        /// It was last changed by one of these.
        case revisions([UInt64])

        /// - Parameter revision: 0: the key is absent.
        func holds(_ revision: UInt64) -> Bool {
            switch self {
            case .any: revision != 0
            case .revisions(let revisions): revision != 0 && revisions.contains(revision)
            }
        }
    }

    /// Must hold.
    public var match: Match?
    /// Must not hold.
    public var noneMatch: Match?

    public init(match: Match? = nil, noneMatch: Match? = nil) {
        self.match = match
        self.noneMatch = noneMatch
    }

    /// - Parameter revision: 0: the key is absent.
    func holds(_ revision: UInt64) -> Bool {
        if let match, !match.holds(revision) { return false }
        if let noneMatch, noneMatch.holds(revision) { return false }
        return true
    }
}

/// A change that happens as a whole or not at all.
public enum ControlChange: Equatable, Sendable {
    /// Declares all of it; `prune`: and removes whatever else there is.
    ///
    /// What is under a lease stays under it, and `prune` leaves it.
    case apply(MeshBody, prune: Bool)
    case put(MeshDeclaration, ControlCondition)
    case delete(MeshKey, ControlCondition)
    /// A process says where it answers, for as long as its lease lives.
    case register(MeshEndpoint, lease: UInt64)
}

/// What a change came to.
public struct ControlOutcome: Equatable, Sendable {
    /// The one that the change made; the present one where there was nothing to change.
    public var revision: UInt64
    /// In the order of keys, as the others are.
    public var created: [MeshKey] = []
    public var changed: [MeshKey] = []
    public var deleted: [MeshKey] = []
    /// Declarations that say what was said before.
    public var unchanged = 0

    init(revision: UInt64) { self.revision = revision }

    var isEmpty: Bool { created.isEmpty && changed.isEmpty && deleted.isEmpty }
}

/// Why nothing was changed.
public enum ControlRefusal: Error, Equatable, Sendable {
    /// The mesh would not hold together: at least one thing.
    case problems([MeshBodyProblem])
    /// A condition does not hold for the key, which was last changed by this revision; 0: it is
    /// absent.
    case condition(revision: UInt64)
    /// Others have changed something since, last by this revision.
    case outdated(revision: UInt64)
    /// There is no such key.
    case absent
    /// More than the store takes in one transaction.
    case tooLarge(String)
    /// More than the store may hold.
    case full(String)
    /// The store cannot write at present.
    case unavailable(String)
}

/// Where the control plane keeps what it was told.
public protocol ControlStore {
    /// The revision of the last change of anything.
    var revision: UInt64 { get }
    /// The revision that last changed a key; 0: it is absent.
    func modRevision(of key: StoreKey) -> UInt64
    /// The lease that a key is under; 0: none.
    func lease(of key: StoreKey) -> UInt64
    /// Commits, for good.
    /// - Returns: the revision that it made.
    /// - Throws: where nothing was changed.
    func commit(_ transaction: StoreTransaction) throws(ControlRefusal) -> UInt64
}
