// Several control planes over one etcd against what etcd holds: commits at random, answers that are
// lost, watches that lag, leases that end, compactions, restarts, another etcd in its place.

import Base
import ControlCore
import Model
import Scenario
import Support
import Testing

@testable import Runtime

private struct Mismatch: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}

/// One control plane, and somebody who watches it.
private final class Plane {
    let id: Int
    let link: SimulatedEtcdLink
    let store: EtcdStore
    let center: ControlCenter
    /// What who watches believes, and up to where.
    var seen: [StoreKey: StoreEntry] = [:]
    var after: UInt64 = 0
    var replacements = -1
    var rereads = 0

    init(_ id: Int, _ link: SimulatedEtcdLink, nonce: UInt64) throws {
        self.id = id
        self.link = link
        var limits = StoreLimits()
        limits.historyChanges = 30
        store = try EtcdStore(
            link, writer: EtcdWriter(id: "plane\(id)", nonce: nonce), limits: limits,
            patience: .seconds(1000))
        center = ControlCenter(store, codec: .json, version: "1")
    }

    func watch() {
        let state = store.state
        guard replacements == state.replacements,
            case .commits(let commits) = state.events(after: after)
        else {
            let all = state.entries(prefix: StoreKey(""))
            seen = Dictionary(uniqueKeysWithValues: all.map { ($0.key, $0) })
            after = state.revision
            replacements = state.replacements
            rereads += 1
            return
        }
        for commit in commits {
            after = commit.revision
            for change in commit.changes {
                switch change {
                case .put(let entry): seen[entry.key] = entry
                case .delete(let key): seen[key] = nil
                }
            }
        }
    }
}

private struct EtcdRun {
    var random: SeededRandom
    let etcd = SimulatedEtcd()
    let late = LateRequests()
    var planes: [Plane] = []
    var tally: [String: Int] = [:]
    private var restarts = 0

    init(seed: UInt64) throws {
        random = SeededRandom(seed: seed)
        for id in 0..<3 { planes.append(try plane(id)) }
    }

    private mutating func note(_ what: String) { tally[what, default: 0] += 1 }

    private mutating func plane(_ id: Int) throws -> Plane {
        restarts += 1
        let link = SimulatedEtcdLink(etcd, late, random: random.split(restarts))
        return try Plane(id, link, nonce: random.next())
    }

    mutating func step() throws {
        let plane = planes[random.below(planes.count)]
        switch random.below(200) {
        case 0..<110: try change(plane)
        case 110..<130: try lease(plane)
        case 130..<140: plane.center.store.state.checkCopy()
        case 140..<180: _ = plane.center.turn(.zero)
        case 180..<186: etcd.compact()
        case 186..<192:
            if let lease = etcd.leases.sorted().first { etcd.end(lease) }
            note("ended leases")
        case 192..<196: late.carryOutOne(etcd, &random)
        case 196:
            collect(plane)
            planes[plane.id] = try self.plane(plane.id)
            note("restarts")
        case 197 where random.below(6) == 0:
            etcd.begin()
            late.requests = []
            note("other stores")
        default: try settle()
        }
        for plane in planes { try check(plane) }
    }

    mutating func collect(_ plane: Plane) {
        for (what, count) in plane.link.tally { tally[what, default: 0] += count }
        tally["rereads", default: 0] += plane.rereads
    }

    // MARK: Changes

    private mutating func change(_ plane: Plane) throws {
        let name = "s\(random.below(4))"
        let service = MeshDeclaration.service(
            {
                var service = MeshService(name)
                service.speech = random.below(2) == 0 ? .http1 : .http2
                return service
            }())
        let endpoint = MeshDeclaration.endpoint(
            MeshEndpoint(
                "e\(random.below(5))", service: name, address: "127.0.0.1:\(1 + random.below(9))"))
        let change: ControlChange =
            switch random.below(6) {
            case 0, 1: .put(service, .init())
            case 2: .put(endpoint, .init())
            case 3: .delete(service.key, .init())
            case 4: .delete(endpoint.key, .init())
            default: .apply(MeshBody([service, endpoint]), prune: random.below(3) == 0)
            }
        let before = etcd.revision
        let marks = mark(plane)
        do throws(ControlRefusal) {
            let outcome = try plane.center.perform(change)
            note("changes")
            if !(outcome.created + outcome.changed + outcome.deleted).isEmpty {
                // It is there, unless another request that was late has come since.
                guard outcome.revision > 0, mark(plane) != marks else {
                    throw ControlRefusal.unavailable("mismatch: nothing happened")
                }
            }
        } catch {
            switch error {
            case .unavailable(let reason):
                if reason.hasPrefix("mismatch") { throw Mismatch(reason) }
                note(reason.hasPrefix("nothing") ? "failures" : "open")
                if reason.hasPrefix("nothing"), mark(plane) != marks {
                    // Unless it was an earlier one of the same plane that was late.
                    note("late")
                    guard etcd.revision > before else { throw Mismatch("\(reason), but it was") }
                }
            default: note("refusals")
            }
        }
    }

    /// What the plane's last transaction has left.
    private func mark(_ plane: Plane) -> [UInt8]? {
        etcd.entries[StoreKey("meshbench/writers/plane\(plane.id)")]?.value
    }

    private mutating func lease(_ plane: Plane) throws {
        do throws(StoreFault) {
            let leases = etcd.leases.sorted()
            switch random.below(4) {
            case 0 where leases.count < 6:
                _ = try plane.store.commit(.grant(life: .seconds(5)), now: .zero)
            case 1 where !leases.isEmpty:
                let lease = leases[random.below(leases.count)]
                _ = try plane.store.commit(.revoke(lease: lease), now: .zero)
            case 2:
                for lease in leases where plane.store.state.life(ofLease: lease) != nil {
                    _ = plane.store.refresh(lease: lease, now: .zero)
                }
            default:
                let key = StoreKey("leased/\(random.below(3))")
                let lease = leases.last ?? 0
                let found = plane.store.state.entry(key)?.modRevision ?? 0
                let answer = try plane.store.commit(
                    .transaction(
                        StoreTransaction(
                            conditions: [.init(key, modRevision: found)],
                            changes: [.put(key, value: [1], lease: lease)])), now: .zero)
                switch answer {
                case .committed: note("leased keys")
                case .conflict: note("conflicts")
                default: break
                }
            }
        } catch {
            note("failures")
        }
    }

    // MARK: What must hold

    /// The copy is what etcd held at some time, and who watches has missed nothing.
    private func check(_ plane: Plane) throws {
        let state = plane.store.state
        state.checkCopy()
        plane.watch()
        let copy = Dictionary(
            uniqueKeysWithValues: state.entries(prefix: StoreKey("")).map { ($0.key, $0) })
        guard copy == plane.seen else { throw Mismatch("plane \(plane.id): the history is wrong") }
        // Of an etcd that is gone nothing is known any more.
        guard plane.link.cluster == etcd.cluster else { return }
        guard etcd.contents(at: state.revision) == copy else {
            throw Mismatch("plane \(plane.id) at \(state.revision): the copy is wrong")
        }
    }

    /// Without faults, everybody comes to hold what etcd holds, and the meshes are whole.
    mutating func settle() throws {
        for plane in planes {
            plane.link.settle()
            _ = plane.center.turn(.zero)
            try check(plane)
            guard let truth = etcd.contents(at: etcd.revision) else {
                throw Mismatch("no present")
            }
            plane.watch()
            guard truth == plane.seen else { throw Mismatch("plane \(plane.id) is behind") }
            let mesh = ControlPlane(plane.store.state, codec: .json).mesh
            guard plane.center.mesh == mesh else { throw Mismatch("plane \(plane.id): its mesh") }
            guard mesh.check() == [] else { throw Mismatch("the mesh is not whole") }
            guard plane.store.health == .sound else { throw Mismatch("\(plane.store.health)") }
            plane.link.isFaulty = true
        }
        note("settled")
    }
}

extension StoreState {
    /// A copy has no lease clock to hold against its leases.
    fileprivate func checkCopy() { contents.checkInvariants() }
}

@Suite struct EtcdStoreFuzz {
    @Test func controlPlanesOverOneEtcd() throws {
        let budget = FuzzBudget.current(steps: 3000)
        var run = try EtcdRun(seed: budget.seed)
        for step in 0..<budget.steps {
            do {
                try run.step()
            } catch {
                Issue.record("step \(step): \(error); \(budget.rerun("EtcdStoreFuzz"))")
                return
            }
        }
        try run.settle()
        for plane in run.planes { run.collect(plane) }
        for what in [
            "changes", "refusals", "failures", "open", "conflicts", "leased keys", "lost answers",
            "copies that go on", "breaks", "fragments", "restarts", "ended leases", "rereads",
            "settled",
        ] {
            #expect(run.tally[what, default: 0] > 0, "\(what): \(run.tally)")
        }
    }
}
