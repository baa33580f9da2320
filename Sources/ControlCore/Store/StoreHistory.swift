// The last commits, for those who watch. In memory only: after a start it goes back to the
// snapshot, and whoever is further behind reads anew.

/// What a watcher is told.
public enum StoreEvents: Equatable, Sendable {
    /// The commits after the revision asked from, in order; empty where there is none yet.
    case commits([StoreCommit])
    /// What followed the revision asked from is forgotten up to `revision`: read anew.
    case compacted(revision: UInt64)
    /// The revision asked from is after `revision`, the present one: the asker knows another store,
    /// or this one before it was restored from a copy.
    case ahead(revision: UInt64)
}

/// Commits in order, the oldest forgotten first.
struct StoreHistory: Sendable {
    /// Everything up to this revision is forgotten.
    private(set) var compacted: UInt64
    private let changeLimit: Int
    private let byteLimit: Int
    /// The commits after `compacted` begin at `start`; those before are gone, and their
    /// places are given back when they are half of the array.
    private var commits: [StoreCommit?] = []
    /// That of the last commit, or the one after which the history begins.
    private(set) var revision: UInt64
    private var start = 0
    private(set) var changeCount = 0
    private(set) var byteCount = 0

    /// No commit, after `revision`.
    init(after revision: UInt64, limits: StoreLimits) {
        compacted = revision
        self.revision = revision
        changeLimit = limits.historyChanges
        byteLimit = limits.historyBytes
    }

    /// - Precondition: the commit is a later one. In a copy of a store there are gaps.
    mutating func append(_ commit: StoreCommit) {
        precondition(commit.revision > revision, "a commit out of turn")
        revision = commit.revision
        commits.append(commit)
        changeCount += Self.weight(commit)
        byteCount += commit.changes.reduce(0) { $0 + $1.byteCount }
        while changeCount > changeLimit || byteCount > byteLimit { forget() }
    }

    private mutating func forget() {
        guard let commit = commits[start] else { return }
        commits[start] = nil
        start += 1
        compacted = commit.revision
        changeCount -= Self.weight(commit)
        byteCount -= commit.changes.reduce(0) { $0 + $1.byteCount }
        if start > 64, start * 2 > commits.count {
            commits.removeFirst(start)
            start = 0
        }
    }

    /// A commit without changes takes a place too.
    private static func weight(_ commit: StoreCommit) -> Int { max(1, commit.changes.count) }

    /// The commits after `revision`: as many whole ones as hold about `limit` changes, at least
    /// one if there is any.
    func events(after revision: UInt64, limit: Int) -> StoreEvents {
        guard revision <= self.revision else { return .ahead(revision: self.revision) }
        guard revision >= compacted else { return .compacted(revision: compacted) }
        var found: [StoreCommit] = []
        var room = max(1, limit)
        for commit in commits[place(after: revision)...] {
            guard let commit, room > 0 else { break }
            found.append(commit)
            room -= Self.weight(commit)
        }
        return .commits(found)
    }

    /// The first place whose commit is after `revision`.
    private func place(after revision: UInt64) -> Int {
        var low = start
        var high = commits.count
        while low < high {
            let middle = (low + high) / 2
            if let commit = commits[middle], commit.revision > revision {
                high = middle
            } else {
                low = middle + 1
            }
        }
        return low
    }
}
