// The store of a control plane over a real etcd.

import Base
import ControlCore
import Model
import Posix
import Support
import Synchronization
import Testing

@testable import Runtime

@Suite struct EtcdStoreTests {
    let scratch: Scratch
    let etcd: RunningEtcd

    init() throws {
        scratch = try Scratch()
        etcd = try RunningEtcd(folder: scratch.root)
    }

    private func open(_ id: String) throws -> EtcdStore {
        let client = try EtcdClient(EtcdConfiguration(servers: etcd.servers))
        // Each time another, as a process that was started again has.
        let nonce = UInt64(bitPattern: Clock.now().nanoseconds)
        return try EtcdStore(client, writer: EtcdWriter(id: id, nonce: nonce))
    }

    private func put(
        _ key: String, _ value: String, at revision: UInt64, lease: UInt64 = 0
    ) -> StoreRequest {
        .transaction(
            StoreTransaction(
                conditions: [.init(StoreKey(key), modRevision: revision)],
                changes: [.put(StoreKey(key), value: Array(value.utf8), lease: lease)]))
    }

    private func value(_ store: EtcdStore, _ key: String) -> String? {
        store.state.entry(StoreKey(key)).map { String(decoding: $0.value, as: UTF8.self) }
    }

    /// Waits until the store holds something, or no longer does.
    private func wait(
        _ store: EtcdStore, for time: Duration = .seconds(10), _ isThere: (EtcdStore) -> Bool
    ) -> Bool {
        let deadline = Clock.now() + time
        while Clock.now() < deadline {
            store.advance()
            if isThere(store) { return true }
            _ = waitReadable([], for: .milliseconds(10))
        }
        return false
    }

    /// Commits what is committed in the end: a machine that is busy may need longer for it than a
    /// commit waits.
    private func commitAtLast(_ request: StoreRequest, _ store: EtcdStore) throws -> StoreAnswer {
        let deadline = Clock.now() + .seconds(60)
        while true {
            do throws(StoreFault) {
                return try store.commit(request, now: .zero)
            } catch {
                guard Clock.now() < deadline else { throw error }
                _ = wait(store) { $0.health == .sound }
            }
        }
    }

    @Test func commitsAreReadBackAndBySomebodyElse() throws {
        let (one, two) = (try open("one"), try open("two"))
        guard case .committed(let revision) = try one.commit(put("a", "1", at: 0), now: .zero)
        else {
            Issue.record("not committed")
            return
        }
        #expect(value(one, "a") == "1" && one.state.revision == revision)
        #expect(wait(two) { value($0, "a") == "1" })
        #expect(two.state.entry(StoreKey("a")) == one.state.entry(StoreKey("a")))
        // A condition that does not hold any more, told by etcd or by the copy.
        guard case .committed = try two.commit(put("a", "2", at: revision), now: .zero) else {
            Issue.record("not committed")
            return
        }
        guard
            case .conflict(let key, let found) = try one.commit(
                put("a", "3", at: revision), now: .zero)
        else {
            Issue.record("no conflict")
            return
        }
        #expect(key == StoreKey("a") && found > revision && value(one, "a") == "2")
        // One after a restart knows what it has written.
        let again = try open("one")
        #expect(value(again, "a") == "2")
        guard case .committed = try again.commit(put("b", "", at: 0), now: .zero) else {
            Issue.record("not committed")
            return
        }
        #expect(value(again, "b") == "" && again.health == .sound)
    }

    @Test func leasesLiveAsLongAsTheyAreRefreshed() throws {
        let (one, two) = (try open("one"), try open("two"))
        func grant() throws -> UInt64 {
            guard
                case .granted(let lease) = try one.commit(
                    .grant(life: .seconds(2)), now: .zero)
            else { throw WireFailure.unexpected("no lease") }
            return lease
        }
        let (kept, left) = (try grant(), try grant())
        for (key, lease) in [("kept", kept), ("left", left)] {
            guard case .committed = try one.commit(put(key, "x", at: 0, lease: lease), now: .zero)
            else { throw WireFailure.unexpected("not committed") }
        }
        #expect(one.state.life(ofLease: kept) == .seconds(2))
        // Whoever knows of it can keep it alive, should the one die that was granted it.
        #expect(wait(two) { value($0, "kept") == "x" })
        #expect(two.state.life(ofLease: kept) == .zero)
        let isOver = wait(two) { store in
            _ = store.refresh(lease: kept, now: .zero)
            return value(store, "left") == nil
        }
        #expect(isOver && value(two, "kept") == "x")
        let isKnown = wait(one) { store in
            _ = two.refresh(lease: kept, now: .zero)
            return value(store, "left") == nil
        }
        #expect(isKnown && value(one, "kept") == "x")
        // One that has ended is known as such, though nobody has asked for it.
        #expect(one.state.life(ofLease: left) == nil && two.state.life(ofLease: left) == nil)
        #expect(!one.refresh(lease: left, now: .zero))
        #expect(
            try one.commit(put("late", "x", at: 0, lease: left), now: .zero)
                == .refused(.noSuchLease(left)))
        guard case .committed = try one.commit(.revoke(lease: kept), now: .zero) else {
            throw WireFailure.unexpected("not revoked")
        }
        #expect(value(one, "kept") == nil && !one.refresh(lease: kept, now: .zero))
    }

    @Test func whatIsLargeAndWhatIsTooLarge() throws {
        let store = try open("one")
        let large = String(repeating: "x", count: 1 << 20)
        // Together more than the 4 MiB that an answer of gRPC has by default. No more of them: each
        // is written to the disk before it is answered, which a busy machine takes its time for.
        for index in 0..<6 {
            switch try commitAtLast(put("k\(index)", large, at: 0), store) {
            // That of an attempt whose answer came too late.
            case .committed, .conflict: break
            default: throw WireFailure.unexpected("not committed")
            }
        }
        #expect(try open("two").state.contents.byteCount > 6 << 20)
        func many(_ count: Int) -> StoreRequest {
            .transaction(
                StoreTransaction(changes: (0..<count).map { .put(StoreKey("m\($0)"), value: []) }))
        }
        guard case .committed = try commitAtLast(many(1000), store) else {
            throw WireFailure.unexpected("not committed")
        }
        #expect(wait(store) { $0.state.contents.count == 1006 })
        guard case .refused(.elsewhere(let reason)) = try commitAtLast(many(2000), store)
        else { throw WireFailure.unexpected("committed") }
        #expect(reason.contains("--max-txn-ops"))
        let both = StoreRequest.transaction(
            StoreTransaction(
                changes: ["a", "b"].map { .put(StoreKey($0), value: Array(large.utf8)) }
            ))
        guard case .refused(.elsewhere) = try commitAtLast(both, store) else {
            throw WireFailure.unexpected("committed")
        }
    }

    @Test func compactionsAndOutagesAndAnotherStore() throws {
        let (one, two) = (try open("one"), try open("two"))
        guard case .committed = try one.commit(put("a", "1", at: 0), now: .zero) else {
            throw WireFailure.unexpected("not committed")
        }
        #expect(wait(two) { value($0, "a") == "1" })
        etcd.kill(0)
        #expect(wait(two) { $0.health != .sound })
        #expect(throws: StoreFault.self) { try two.commit(put("b", "1", at: 0), now: .zero) }
        #expect(value(two, "a") == "1")
        // What happens before it is watched again, and is then forgotten.
        try etcd.start(0)
        try etcd.waitUntilHealthy(0)
        let key = Base64.encode(Array("meshbench/keys/a".utf8))
        let answer = try etcd.ask(0, "/v3/kv/put", "{\"key\":\"\(key)\",\"value\":\"Mg==\"}")
        #expect(answer.status == 200)
        _ = try etcd.ask(0, "/v3/kv/put", "{\"key\":\"\(key)\",\"value\":\"Mg==\"}")
        _ = try etcd.ask(0, "/v3/kv/compaction", "{\"revision\":\"4\"}")
        #expect(wait(two) { value($0, "a") == "2" && $0.health == .sound })
        guard case .committed = try two.commit(put("b", "1", at: 0), now: .zero) else {
            throw WireFailure.unexpected("not committed")
        }
        #expect(wait(one) { value($0, "b") == "1" })
        // It stands still: what was asked is not known, and then it is not asked any more.
        etcd.pause(0, true)
        #expect(throws: StoreFault.self) { try one.commit(put("c", "1", at: 0), now: .zero) }
        do throws(StoreFault) {
            _ = try one.commit(put("d", "1", at: 0), now: .zero)
            Issue.record("committed")
        } catch {
            guard case .unreachable = error else {
                Issue.record("\(error)")
                return
            }
        }
        etcd.pause(0, false)
        #expect(wait(one) { $0.health == .sound })
    }

    /// A name is looked up at the start, and where nobody waits for it.
    @Test func connectionsDoNotLookNamesUp() throws {
        let answers = Mutex<(count: Int, last: Result<[SocketAddress], ServiceClientError.Cause>)>(
            (0, .success([try #require(SocketAddress(etcd.servers[0]))])))
        let server = try EtcdServer("etcd.test:2379", tls: nil) { name in
            answers.withLock { answers in
                answers.count += 1
                return answers.last
            }
        }
        for _ in 0..<3 { _ = try server.connect(until: Clock.now() + .seconds(10)) }
        #expect(answers.withLock { $0.count } == 1)
        // One that means nothing any more still means what it did.
        answers.withLock { $0.last = .failure(.unknownName("gone")) }
        server.lookUp()
        _ = try server.connect(until: Clock.now() + .seconds(10))
        #expect(answers.withLock { $0.count } == 2)
        // Others than those of loopback are not spoken to in cleartext, at the second look neither.
        answers.withLock { $0.last = .success([SocketAddress("192.0.2.1:1")].compactMap(\.self)) }
        server.lookUp()
        #expect(throws: ServiceClientError.Cause.self) {
            _ = try server.connect(until: Clock.now() + .seconds(10))
        }
    }
}

/// An etcd that is asked over TLS.
@Suite struct EtcdTrustTests {
    /// Whoever has no certificate of the authority's is not believed, and the reason is said.
    @Test func somebodyElsesEtcdIsNotBelieved() throws {
        let scratch = try Scratch()
        let (own, other) = (try CertificateFolder(), try CertificateFolder("another"))
        let etcd = try RunningEtcd(folder: scratch.root, certificates: own)
        func store(
            _ authority: String, patience: Duration
        ) throws(StoreFault) -> EtcdStore? {
            let tls = ClientTLS(
                authorities: authority, certificate: own.path("client.pem"),
                key: own.path("client.key"))
            guard
                let client = try? EtcdClient(
                    EtcdConfiguration(servers: etcd.servers, tls: tls))
            else { return nil }
            return try EtcdStore(
                client, writer: EtcdWriter(id: "one", nonce: 1), patience: patience)
        }
        // It is there and answers: nothing else is in the way.
        #expect(try store(own.authority, patience: .seconds(10)) != nil)
        let fault = #expect(throws: StoreFault.self) {
            _ = try store(other.authority, patience: .milliseconds(500))
        }
        #expect(fault.map { "\($0)" }?.contains("certificate") == true)
    }
}
