// What a store must do, said as plainly as possible: dictionaries, no files, no structure shared
// with the store.

import Base
import ControlCore

struct StoreModel {
    struct Lease: Equatable {
        var life: Duration
        var end: Instant
    }

    var revision: UInt64 = 0
    var entries: [String: StoreEntry] = [:]
    var leases: [UInt64: Lease] = [:]
    /// The last commits; those before are no longer compared.
    var commits: [StoreCommit] = []

    /// Answers as the store must, and changes.
    mutating func answer(_ request: StoreRequest, now: Instant) -> StoreAnswer {
        switch request {
        case .grant(let life):
            revision += 1
            leases[revision] = Lease(life: life, end: now + life)
            note([])
            return .granted(lease: revision)
        case .revoke(let id):
            guard leases.removeValue(forKey: id) != nil else { return .refused(.noSuchLease(id)) }
            revision += 1
            let names = entries.filter { $0.value.lease == id }.keys.sorted()
            for name in names { entries[name] = nil }
            note(names.map { .delete(StoreKey($0)) })
            return .committed(revision: revision)
        case .transaction(let transaction):
            return answer(transaction)
        }
    }

    private mutating func answer(_ transaction: StoreTransaction) -> StoreAnswer {
        var names: Set<String> = []
        for change in transaction.changes where !names.insert(change.key.description).inserted {
            return .refused(.repeatedKey(change.key))
        }
        for condition in transaction.conditions {
            let found = entries[condition.key.description]?.modRevision ?? 0
            if found != condition.modRevision {
                return .conflict(condition.key, modRevision: found)
            }
        }
        for change in transaction.changes {
            if case .put(_, _, let lease) = change, lease != 0, leases[lease] == nil {
                return .refused(.noSuchLease(lease))
            }
        }
        var changes: [StoreChange] = []
        for change in transaction.changes {
            let name = change.key.description
            switch change {
            case .put(let key, let value, let lease):
                let before = entries[name]
                let entry = StoreEntry(
                    key: key, value: value, createRevision: before?.createRevision ?? revision + 1,
                    modRevision: revision + 1, version: (before?.version ?? 0) + 1, lease: lease)
                entries[name] = entry
                changes.append(.put(entry))
            case .delete(let key):
                if entries.removeValue(forKey: name) != nil { changes.append(.delete(key)) }
            }
        }
        if !changes.isEmpty {
            revision += 1
            note(changes)
        }
        return .committed(revision: revision)
    }

    /// The leases that have ended by `now`, those that ended first first.
    func expired(now: Instant) -> [UInt64] {
        leases.filter { $0.value.end <= now }
            .sorted { ($0.value.end, $0.key) < ($1.value.end, $1.key) }.map(\.key)
    }

    /// Every lease lasts anew, as after a start.
    mutating func restart(now: Instant) {
        leases = leases.mapValues { Lease(life: $0.life, end: now + $0.life) }
    }

    private mutating func note(_ changes: [StoreChange]) {
        commits.append(StoreCommit(revision: revision, changes: changes))
        if commits.count > 2000 { commits.removeFirst(1000) }
    }

    /// What of the store is not as it must be; nil if nothing.
    func difference(from state: StoreState) -> String? {
        if state.revision != revision { return "revision \(state.revision), not \(revision)" }
        let found = state.entries(prefix: StoreKey(""))
        let wanted = entries.keys.sorted().compactMap { entries[$0] }
        if found != wanted { return "keys \(found), not \(wanted)" }
        for (id, lease) in leases where state.life(ofLease: id) != lease.life {
            return "lease \(id) lives \(String(describing: state.life(ofLease: id)))"
        }
        let end = leases.values.map(\.end).min()
        if state.nextExpiry != end {
            return
                "next end \(String(describing: state.nextExpiry)), not \(String(describing: end))"
        }
        return nil
    }

    /// What of the history after `after` is not as it must be; nil if nothing.
    func difference(from events: StoreEvents, after: UInt64) -> String? {
        switch events {
        case .commits(let found):
            let wanted = commits.filter { $0.revision > after }
            return found == wanted ? nil : "events \(found), not \(wanted)"
        case .compacted(let compacted):
            return after < compacted && compacted <= revision
                ? nil : "compacted to \(compacted) at \(revision), asked from \(after)"
        case .ahead(let now):
            return after > revision && now == revision ? nil : "ahead at \(now), not \(revision)"
        }
    }
}
