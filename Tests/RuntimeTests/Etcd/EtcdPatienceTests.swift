// How long the service's thread, and everybody with it, waits for an etcd.

import Base
import ControlCore
import Support
import Testing

@testable import Runtime

/// An etcd that answers those who read, and of what happens tells nothing.
private final class StalledLink: EtcdLink {
    private(set) var now = Instant.zero
    private(set) var questions = 0
    private var isCopied = false
    /// Who answers those who write; nil: nobody.
    var etcd: SimulatedEtcd?

    /// Begins as it did.
    func forget() { isCopied = false }

    func pass(_ time: Duration) { now = now + time }

    func ask(_ request: EtcdRequest, until deadline: Instant) -> EtcdReply {
        questions += 1
        if let etcd, let (status, body) = try? etcd.answer(request) {
            return .answer(status: status, body: body)
        }
        now = max(now, deadline)
        return .unanswered("it does not answer")
    }

    func takeNews() -> [EtcdNews] {
        defer { isCopied = true }
        return (isCopied ? [] : [.update(.contents([], revision: 1, goesOn: false))])
            + [.well(now)]
    }

    func waitForNews(until deadline: Instant) { now = max(now, deadline) }

    func keepAlive(_ lease: UInt64) {}
}

@Suite struct EtcdPatienceTests {
    private let request = StoreRequest.transaction(
        StoreTransaction(
            conditions: [.init(StoreKey("a"), modRevision: 0)],
            changes: [.put(StoreKey("a"), value: [])]))

    @Test func oneThatDoesNotWriteTakesAFifthOfTheTime() throws {
        let link = StalledLink()
        let store = try EtcdStore(link, writer: EtcdWriter(id: "one", nonce: 1))
        var waited = Duration.zero
        var failures: Set<String> = []
        while link.now < .zero + .seconds(60) {
            let began = link.now
            do throws(StoreFault) {
                _ = try store.commit(request, now: began)
            } catch {
                failures.insert("\(error)")
            }
            // Less than what proxies take for silence.
            #expect(link.now - began <= EtcdStore.patience + EtcdStore.copyPatience)
            #expect(link.now - began < .milliseconds(1500))
            waited = waited + (link.now - began)
            #expect(store.health != .sound)
            link.pass(.milliseconds(100))
        }
        #expect(waited <= .seconds(13) && link.questions > 5, "\(waited.seconds) s")
        #expect(
            failures == [
                "whether anything was changed is not known: it does not answer",
                "nothing was changed: it does not answer",
            ])
        // It is tried again by itself, and until then said why not.
        link.pass(.seconds(5))
        #expect(store.health == .sound)
    }

    /// It is asked no more often than one that does not answer.
    @Test func oneWhoseWatchLagsTakesAFifthOfTheTime() throws {
        let link = StalledLink()
        link.etcd = SimulatedEtcd()
        // What this one leaves there the other is not told.
        let other = try EtcdStore(link, writer: EtcdWriter(id: "other", nonce: 2))
        _ = try other.commit(request, now: .zero)
        link.forget()
        let store = try EtcdStore(link, writer: EtcdWriter(id: "one", nonce: 1))
        var waited = Duration.zero
        while link.now < .zero + .seconds(60) {
            let began = link.now
            #expect(throws: StoreFault.unreachable("the watch of etcd lags behind")) {
                try store.commit(request, now: began)
            }
            waited = waited + (link.now - began)
            link.pass(.milliseconds(100))
        }
        #expect(waited <= .seconds(13) && link.questions > 5, "\(waited.seconds) s")
    }

    /// It ends by itself, and nobody here keeps it alive.
    @Test func aLeaseThatCannotBeRevokedIsForgotten() throws {
        let link = StalledLink()
        let store = try EtcdStore(link, writer: EtcdWriter(id: "one", nonce: 1))
        link.etcd = SimulatedEtcd()
        guard case .granted(let lease) = try store.commit(.grant(life: .seconds(9)), now: .zero)
        else { throw WireFailure.unexpected("no lease") }
        #expect(store.refresh(lease: lease, now: .zero))
        link.etcd = nil
        // After the first that fails none is asked for a while.
        #expect(throws: StoreFault.self) { try store.commit(request, now: link.now) }
        let questions = link.questions
        #expect(throws: StoreFault.self) { try store.commit(.revoke(lease: lease), now: link.now) }
        #expect(link.questions == questions && !store.refresh(lease: lease, now: link.now))
    }
}
