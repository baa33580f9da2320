// What the listeners of a control plane have in common: the mesh, the store behind it, and those
// who are told when either changes. All on the service's one thread.

import Base
import ControlCore
import Model
import Posix

/// The mesh and its store.
final class ControlCenter {
    let store: any MeshStore
    let codec: MeshCodec
    private(set) var plane: ControlPlane
    var statistics: ControlStatistics
    /// Called after the store has changed, by a commit from here or by others, when it and the mesh
    /// hold the change. They may not commit.
    var afterCommit: [() -> Void] = []
    /// Who checks endpoints; nil: nobody does.
    var health: HealthLoop?
    /// What checks say of an endpoint. Proxies and Envoys are told of it, and DNS leaves out those
    /// that are not well.
    var verdict: (MeshName) -> HealthVerdict = { _ in .healthy }
    /// What parts count, in Prometheus' text format: goes behind `statistics`.
    var collectors: [() -> String] = []
    /// Told before those what has become of the mesh, where anything has. They may not commit.
    var afterChange: [(MeshNews) -> Void] = []
    /// Answers that should not be, as they were logged: see `described`.
    var noted: Set<String> = []
    /// The revision that those were last told of.
    private var told: UInt64

    /// How often a change is tried that others come before. Each time one of them has got on, so
    /// that only many at once make it fail.
    private static var attempts: Int { 16 }
    /// Past which it is not tried again: everybody waits for it.
    private static var attemptsTime: Duration { .seconds(1) }
    /// How long after a lease could not be ended it is tried again.
    private static var patience: Duration { .seconds(1) }

    init(_ store: any MeshStore, codec: MeshCodec, version: String) {
        self.store = store
        self.codec = codec
        plane = ControlPlane(store.state, codec: codec)
        told = store.state.revision
        statistics = ControlStatistics(version: version, started: Clock.wallNanoseconds())
    }

    var mesh: MeshState { plane.mesh }

    /// Before anybody is told of the mesh who may know it from before, or from somebody else.
    /// - Throws: where an authorization is missing in it.
    func checkCanTell() throws(ControlFailure) {
        guard let missing = plane.missingAuthorization else { return }
        throw .init(
            503, "\(missing): nobody is told of the mesh without it",
            fields: [ServiceField("retry-after", "1")])
    }

    /// Whether checks leave an endpoint in use.
    func isWell(_ endpoint: MeshName) -> Bool { verdict(endpoint).isWell }

    /// Changes declarations. Where others have changed something in between, the change is tried
    /// again on what there is then, conditions included.
    func perform(
        _ change: ControlChange, dryRun: Bool = false
    ) throws(ControlRefusal) -> ControlOutcome {
        let writer = ControlWriter(store)
        defer { note(writer) }
        let until = Clock.now() + Self.attemptsTime
        for attempt in 0..<Self.attempts {
            if attempt > 0, Clock.now() > until { break }
            plane.follow(store.state)
            do throws(ControlRefusal) {
                return try plane.perform(change, dryRun: dryRun, in: writer)
            } catch {
                guard writer.takeConflict() else { throw error }
            }
        }
        throw .unavailable("nothing was changed: others always came before")
    }

    /// Changes keys that are no declarations.
    /// - Returns: the revision that it made.
    /// - Throws: `condition` where a condition of the transaction does not hold.
    @discardableResult
    func commit(_ transaction: StoreTransaction) throws(ControlRefusal) -> UInt64 {
        let writer = ControlWriter(store)
        defer { note(writer) }
        return try writer.commit(transaction)
    }

    // MARK: Endpoints of processes that say so themselves

    /// Declares an endpoint for as long as it is refreshed, or gives it its whole life again where
    /// it is declared so already.
    func register(_ endpoint: MeshEndpoint, life: Duration, now: Instant) throws(ControlRefusal) {
        if var before = mesh.endpoints[endpoint.meshName] {
            before.health = endpoint.health
            if before == endpoint, refresh(endpoint.key, now: now) { return }
        }
        let answer: StoreAnswer
        do throws(StoreFault) {
            answer = try store.commit(.grant(life: life), now: now)
        } catch {
            statistics.failures += 1
            throw .unavailable("\(error)")
        }
        guard case .granted(let lease) = answer else {
            throw .full("there can be no more leases")
        }
        do throws(ControlRefusal) {
            _ = try perform(.register(endpoint, lease: lease))
        } catch {
            // Where that fails too, it ends by itself.
            _ = try? store.commit(.revoke(lease: lease), now: now)
            throw error
        }
    }

    /// Gives a registered endpoint its whole life again, by way of whichever control plane it was
    /// registered.
    /// - Returns: false: it is not registered.
    func refresh(_ key: MeshKey, now: Instant) -> Bool {
        guard let lease = store.state.entry(StoreKey(key.path))?.lease, lease != 0 else {
            return false
        }
        return store.refresh(lease: lease, now: now)
    }

    /// Ends what was registered; nothing happens where it is no longer.
    func unregister(_ key: MeshKey?, now: Instant) throws(ControlRefusal) {
        guard let key, let lease = store.state.entry(StoreKey(key.path))?.lease, lease != 0 else {
            return
        }
        defer { follow() }
        do throws(StoreFault) {
            _ = try store.commit(.revoke(lease: lease), now: now)
        } catch {
            statistics.failures += 1
            throw .unavailable("\(error)")
        }
    }

    /// At the end of each turn of the service: ends leases that are over, and takes in what others
    /// have changed.
    /// - Returns: when to be called at the latest, where nothing happens before; nil: no matter.
    func turn(_ now: Instant) -> Instant? {
        store.advance()
        do throws(StoreFault) {
            while try store.expire(now: now, limit: 1024) > 0 {}
        } catch {
            statistics.failures += 1
            follow()
            return now + Self.patience
        }
        follow()
        return store.state.nextExpiry
    }

    private func note(_ writer: ControlWriter) {
        statistics.commits += writer.commits
        statistics.failures += writer.failures
        statistics.commitTime = statistics.commitTime + writer.time
        follow()
    }

    /// Lets the mesh hold what the store holds, and tells.
    private func follow() {
        let state = store.state
        guard state.revision != told || state.replacements != plane.replacements else { return }
        plane.follow(state)
        told = state.revision
        let news = plane.takeNews()
        if !news.isEmpty { for tell in afterChange { tell(news) } }
        for tell in afterCommit { tell() }
    }
}

/// The store as `ControlPlane` sees it.
private final class ControlWriter: ControlStore {
    private let store: any MeshStore
    private(set) var commits: UInt64 = 0
    private(set) var failures: UInt64 = 0
    private(set) var time = Duration.zero
    private var hadConflict = false

    init(_ store: any MeshStore) { self.store = store }

    var revision: UInt64 { store.state.revision }
    func modRevision(of key: StoreKey) -> UInt64 { store.state.entry(key)?.modRevision ?? 0 }
    func lease(of key: StoreKey) -> UInt64 { store.state.entry(key)?.lease ?? 0 }

    /// Whether the last commit failed because others had changed a key of it.
    func takeConflict() -> Bool {
        defer { hadConflict = false }
        return hadConflict
    }

    func commit(_ transaction: StoreTransaction) throws(ControlRefusal) -> UInt64 {
        let answer: StoreAnswer
        let began = Clock.now()
        do throws(StoreFault) {
            answer = try store.commit(.transaction(transaction), now: began)
        } catch {
            failures += 1
            throw .unavailable("\(error)")
        }
        switch answer {
        case .committed(let revision):
            commits += 1
            time = time + (Clock.now() - began)
            return revision
        case .refused(.full(let what)): throw .full("the store is full: \(what)")
        // It has ended between the grant and this, or before a copy of the store has heard of it:
        // a moment later there is another, or none.
        case .refused(.noSuchLease(let lease)):
            throw .unavailable("nothing was changed: lease \(lease) has just ended")
        case .refused(let refusal): throw .tooLarge("\(refusal)")
        case .conflict(_, let revision):
            hadConflict = true
            throw .condition(revision: revision)
        case .granted: preconditionFailure("a transaction that was answered with a lease")
        }
    }
}
