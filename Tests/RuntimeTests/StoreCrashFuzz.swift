// The store against its model: random requests, failing disks, crashes and recoveries.

import Base
import ControlCore
import Posix
import Runtime
import Support
import Testing

/// A step after which the store was not what it must be.
private struct Mismatch: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}

/// What happened in a run, so that a test can tell that it tested anything.
struct StoreCrashTally: Equatable {
    var commits = 0
    var conflicts = 0
    var failures = 0
    var undecided = 0
    var suspended = 0
    var restarts = 0
    var powerCuts = 0
    var crashesInCommit = 0
    var recoveredUnacknowledged = 0
    var tornTails = 0
    var replacedLogs = 0
    var endedLeases = 0
    var compacted = 0
}

private struct StoreCrashRun {
    typealias MemoryStore = Store<MemoryFolder>

    var random: SeededRandom
    let folder: MemoryFolder
    var store: MemoryStore
    var model = StoreModel()
    /// What a commit whose fate was open would have made; a crash may bring one of them back.
    var alternatives: [StoreModel] = []
    var now = Instant.zero
    var tally = StoreCrashTally()
    let limits: StoreLimits

    init(seed: UInt64) throws {
        random = SeededRandom(seed: seed)
        folder = MemoryFolder(random: random.split("folder"))
        var limits = StoreLimits()
        // Small, so that logs are replaced and history is forgotten often.
        limits.logBytes = 2000
        limits.historyChanges = 40
        self.limits = limits
        store = try MemoryStore(in: folder, limits: limits, now: now)
    }

    mutating func step() throws {
        switch random.below(100) {
        case 0..<62: try commit((0...random.below(4) / 2).map { _ in request() })
        case 62..<70: try expire()
        case 70..<78: try refresh()
        case 78..<86: try readEvents()
        case 86..<90: now = now + .milliseconds(Int64(random.below(1500)))
        case 90..<92:
            folder.faults = [0, 0, 20, 200, 900][random.below(5)]
            // One kind alone lets a commit get far enough for that kind to matter.
            let kinds = [nil, nil, "write", "cut", "sync", "create", "rename", "sync folder"]
            folder.faultyKind = kinds[random.below(kinds.count)]
        case 92..<94: try restart(afterPowerCut: false)
        case 94..<96: try restart(afterPowerCut: true)
        case 96..<98: folder.power = 1 + random.below(30)
        default: folder.room = random.below(3) == 0 ? random.below(12_000) : .max
        }
        if !folder.hasPower { try restart(afterPowerCut: random.below(2) == 0) }
        if case .suspended = store.condition {} else { alternatives = [] }
        if let difference = model.difference(from: store.state) { throw Mismatch(difference) }
    }

    private mutating func key() -> StoreKey {
        StoreKey("services/n\(random.below(4))/\(random.below(8))")
    }

    private mutating func request() -> StoreRequest {
        switch random.below(10) {
        case 0:
            return .grant(life: .milliseconds(Int64(1 + random.below(5000))))
        case 1: return .revoke(lease: lease())
        default:
            var transaction = StoreTransaction()
            for _ in 0..<random.below(3) {
                let key = key()
                let held = model.entries[key.description]?.modRevision ?? 0
                transaction.conditions.append(
                    .init(key, modRevision: random.below(8) == 0 ? held + 1 : held))
            }
            for _ in 0..<random.below(4) {
                let size = random.below(4) == 0 ? random.below(1500) : random.below(60)
                let byte = UInt8(random.below(256))
                transaction.changes.append(
                    random.below(4) == 0
                        ? .delete(key())
                        : .put(
                            key(), value: [UInt8](repeating: byte, count: size),
                            lease: random.below(3) == 0 ? lease() : 0))
            }
            return .transaction(transaction)
        }
    }

    private mutating func lease() -> UInt64 {
        let all = model.leases.keys.sorted()
        return all.isEmpty || random.below(10) == 0
            ? UInt64(1 + random.below(50)) : all[random.below(all.count)]
    }

    private mutating func commit(_ requests: [StoreRequest]) throws {
        var next = model
        let wanted = requests.map { next.answer($0, now: now) }
        let results = store.commit(requests, now: now)
        guard case .failure(let fault)? = results.first else {
            let found = results.map { try? $0.get() }
            guard found == wanted else { throw Mismatch("answered \(found), not \(wanted)") }
            tally.commits += 1
            for answer in wanted { if case .conflict = answer { tally.conflicts += 1 } }
            model = next
            return
        }
        // Together or not at all.
        guard results.allSatisfy({ $0 == .failure(fault) }) else {
            throw Mismatch("half a frame: \(results)")
        }
        tally.failures += 1
        guard folder.hasPower else {
            tally.crashesInCommit += 1
            alternatives.append(next)
            return
        }
        switch fault {
        case .notWritten: break
        case .undecided:
            tally.undecided += 1
            alternatives = [next]
        case .suspended: tally.suspended += 1
        default: throw Mismatch("a commit that fails with \(fault)")
        }
    }

    private mutating func expire() throws {
        let leases = model.expired(now: now)
        if store.state.expiredLeases(now: now, limit: .max) != leases {
            throw Mismatch("not the leases that have ended: \(leases)")
        }
        guard !leases.isEmpty else { return }
        tally.endedLeases += leases.count
        try commit(leases.map { .revoke(lease: $0) })
    }

    private mutating func refresh() throws {
        let id = lease()
        let isThere = store.refresh(lease: id, now: now)
        guard isThere == (model.leases[id] != nil) else { throw Mismatch("a refresh for \(id)") }
        if let life = model.leases[id]?.life { model.leases[id]?.end = now + life }
    }

    private mutating func readEvents() throws {
        let after = model.revision + 1 - min(model.revision + 1, UInt64(random.below(60)))
        let events = store.state.events(after: after)
        if case .compacted = events { tally.compacted += 1 }
        if let difference = model.difference(from: events, after: after) {
            throw Mismatch(difference)
        }
    }

    /// The process is killed, or the machine loses its power as well, and the store is opened anew.
    private mutating func restart(afterPowerCut: Bool) throws {
        if afterPowerCut {
            folder.losePower()
            tally.powerCuts += 1
        } else {
            folder.restartProcess()
        }
        tally.restarts += 1
        folder.room = .max
        // Perhaps it cannot be read at once, and perhaps the power fails again in between.
        folder.faults = [0, 0, 200][random.below(3)]
        folder.faultyKind = nil
        if random.below(4) == 0 { folder.power = 1 + random.below(20) }
        while true {
            do throws(StoreFault) {
                store = try MemoryStore(in: folder, limits: limits, now: now)
                break
            } catch {
                guard case .folder = error else { throw Mismatch("opening: \(error)") }
                if !folder.hasPower {
                    if random.below(2) == 0 { folder.losePower() } else { folder.restartProcess() }
                }
                folder.faults = random.below(2) == 0 ? 0 : 100
            }
        }
        folder.faults = 0
        if store.opening.tornBytes > 0 { tally.tornTails += 1 }
        if store.opening.snapshotRevision > 0 { tally.replacedLogs += 1 }
        store.state.checkInvariants()
        for (index, candidate) in ([model] + alternatives).enumerated() {
            var candidate = candidate
            candidate.restart(now: now)
            guard candidate.difference(from: store.state) == nil else { continue }
            if index > 0 { tally.recoveredUnacknowledged += 1 }
            model = candidate
            alternatives = []
            return
        }
        model.restart(now: now)
        throw Mismatch(
            "recovered \(store.opening): \(model.difference(from: store.state) ?? "?"), and "
                + "\(alternatives.count) alternatives neither")
    }
}

/// Steps of random work; throws at the first that goes wrong.
func storeCrashRun(seed: UInt64, steps: Int) throws -> StoreCrashTally {
    var run = try StoreCrashRun(seed: seed)
    for step in 0..<steps {
        do {
            try run.step()
        } catch {
            throw Mismatch("step \(step): \(error)")
        }
    }
    run.store.state.checkInvariants()
    return run.tally
}

@Suite struct StoreCrashFuzz {
    @Test func acknowledgedChangesSurviveStoreCrashFuzz() throws {
        let budget = FuzzBudget.current(steps: 4000)
        do {
            let tally = try storeCrashRun(seed: budget.seed, steps: budget.steps)
            if budget.steps >= 4000 {
                // Each kind of trouble was met.
                for count in [
                    tally.conflicts, tally.undecided, tally.suspended, tally.tornTails,
                    tally.crashesInCommit, tally.recoveredUnacknowledged, tally.replacedLogs,
                    tally.endedLeases, tally.compacted,
                ] { #expect(count > 0, "\(tally)") }
                #expect(tally.commits > budget.steps / 10)
            }
            if budget.steps > 50_000 { print(tally) }
        } catch {
            Issue.record("\(error)\nagain: \(budget.rerun("StoreCrashFuzz"))")
        }
    }
}
