// How long the service's thread, and everybody with it, waits for an etcd.

import Base
import ControlCore
import Testing

@testable import Runtime

/// An etcd that answers those who read, and nobody who writes.
private final class StalledLink: EtcdLink {
    private(set) var now = Instant.zero
    private(set) var questions = 0
    private var isCopied = false

    func pass(_ time: Duration) { now = now + time }

    func ask(_ request: EtcdRequest, until deadline: Instant) -> EtcdReply {
        questions += 1
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
        StoreTransaction(changes: [.put(StoreKey("a"), value: [])]))

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
}
