import Base
import Testing

@testable import ControlCore

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A store that answers at once, as though everything were written down.
private struct Desk {
    var state: StoreState
    var now = Instant.zero

    init(_ limits: StoreLimits = StoreLimits()) { state = StoreState(limits: limits) }

    mutating func ask(_ requests: StoreRequest...) -> [StoreAnswer] {
        let plan = state.plan(requests[...])
        let answers = plan.answers
        state.accept(plan, now: now)
        state.checkInvariants()
        return answers
    }

    mutating func put(_ key: String, _ value: String, lease: UInt64 = 0) -> StoreAnswer {
        ask(.transaction(.init(changes: [.put(StoreKey(key), value: bytes(value), lease: lease)])))[
            0]
    }

    func keys(_ prefix: String) -> [String] {
        state.entries(prefix: StoreKey(prefix)).map(\.key.description)
    }
}

@Suite struct StoreStateTests {
    @Test func keysHaveAPast() {
        var desk = Desk()
        #expect(desk.put("a", "1") == .committed(revision: 1))
        #expect(desk.put("b", "1") == .committed(revision: 2))
        #expect(desk.put("a", "2") == .committed(revision: 3))
        #expect(
            desk.state.entry(StoreKey("a"))
                == StoreEntry(
                    key: StoreKey("a"), value: bytes("2"), createRevision: 1, modRevision: 3,
                    version: 2, lease: 0))
        let both = StoreTransaction(changes: [
            .delete(StoreKey("a")), .put(StoreKey("b"), value: bytes("3")),
        ])
        #expect(desk.ask(.transaction(both)) == [.committed(revision: 4)])
        #expect(desk.state.entry(StoreKey("a")) == nil)
        #expect(desk.state.entry(StoreKey("b"))?.version == 2)
        #expect(desk.put("a", "4") == .committed(revision: 5))
        #expect(desk.state.entry(StoreKey("a"))?.createRevision == 5)
        #expect(desk.state.entry(StoreKey("a"))?.version == 1)
    }

    @Test func conditionsAreAboutTheLastChange() {
        var desk = Desk()
        func guarded(_ revision: UInt64) -> StoreRequest {
            .transaction(
                .init(
                    conditions: [.init(StoreKey("a"), modRevision: revision)],
                    changes: [.put(StoreKey("a"), value: []), .put(StoreKey("z"), value: [])]))
        }
        #expect(desk.ask(guarded(1)) == [.conflict(StoreKey("a"), modRevision: 0)])
        #expect(desk.state.revision == 0)
        #expect(desk.ask(guarded(0)) == [.committed(revision: 1)])
        #expect(desk.ask(guarded(0)) == [.conflict(StoreKey("a"), modRevision: 1)])
        // Within one batch each sees those before it.
        #expect(
            desk.ask(guarded(1), guarded(1), guarded(2))
                == [
                    .committed(revision: 2), .conflict(StoreKey("a"), modRevision: 2),
                    .committed(revision: 3),
                ])
        // A transaction of conditions alone is a question.
        let question = StoreTransaction(conditions: [.init(StoreKey("a"), modRevision: 3)])
        #expect(desk.ask(.transaction(question)) == [.committed(revision: 3)])
        let nothing = StoreTransaction(changes: [.delete(StoreKey("absent"))])
        #expect(desk.ask(.transaction(nothing)) == [.committed(revision: 3)])
    }

    @Test func aPlanThatIsNotAcceptedHasNotHappened() {
        var desk = Desk()
        _ = desk.put("a", "1")
        _ = desk.state.plan([.transaction(.init(changes: [.delete(StoreKey("a"))]))])
        #expect(desk.keys("") == ["a"])
        #expect(desk.state.revision == 1)
    }

    @Test func prefixesAreReadInOrder() {
        var desk = Desk()
        for key in ["b/2", "a", "b/10", "b0", "b/", "b", "c/1", "b/é", "b/\u{7f}"] {
            _ = desk.put(key, key)
        }
        #expect(desk.keys("b/") == ["b/", "b/10", "b/2", "b/\u{7f}", "b/é"])
        #expect(desk.keys("b").count == 7)
        #expect(desk.keys("").count == 9)
        #expect(desk.keys("d").isEmpty)
        let page = desk.state.entries(prefix: StoreKey("b/"), after: StoreKey("b/10"), limit: 2)
        #expect(page.map(\.key.description) == ["b/2", "b/\u{7f}"])
        #expect(desk.state.entries(prefix: StoreKey("b/"), after: StoreKey("a")).count == 5)
    }

    @Test func whoWatchesIsToldWhatFollowed() {
        var limits = StoreLimits()
        limits.historyChanges = 3
        var desk = Desk(limits)
        _ = desk.put("a", "1")
        _ = desk.put("b", "1")
        guard case .commits(let two) = desk.state.events(after: 0) else {
            Issue.record("forgotten too early")
            return
        }
        #expect(two.map(\.revision) == [1, 2])
        #expect(two[1].changes.map(\.key) == [StoreKey("b")])
        #expect(desk.state.events(after: 2) == .commits([]))
        #expect(desk.state.events(after: 3) == .ahead(revision: 2))
        guard case .commits(let one) = desk.state.events(after: 0, limit: 1) else {
            Issue.record("no first page")
            return
        }
        #expect(one.map(\.revision) == [1])
        _ = desk.ask(
            .transaction(
                .init(changes: [.delete(StoreKey("a")), .delete(StoreKey("b"))])))
        #expect(desk.state.events(after: 0) == .compacted(revision: 1))
        #expect(
            desk.state.events(after: 2)
                == .commits([
                    StoreCommit(
                        revision: 3, changes: [.delete(StoreKey("a")), .delete(StoreKey("b"))])
                ]))
        // More than the history may hold: all of it is forgotten, and that is said.
        let many = (0..<4).map { StoreTransaction.Change.put(StoreKey("k\($0)"), value: []) }
        _ = desk.ask(.transaction(.init(changes: many)))
        #expect(desk.state.events(after: 3) == .compacted(revision: 4))
        #expect(desk.state.events(after: 4) == .commits([]))
    }

    @Test func historyForgetsByBytesToo() {
        var limits = StoreLimits()
        limits.historyBytes = 1000
        var desk = Desk(limits)
        for _ in 0..<200 { _ = desk.put("k", String(repeating: "v", count: 99)) }
        #expect(desk.state.events(after: 189) == .compacted(revision: 190))
        guard case .commits(let commits) = desk.state.events(after: 190) else {
            Issue.record("forgotten too early")
            return
        }
        #expect(commits.map(\.revision) == Array(191...200))
    }

    @Test func leasesEndWithTheirKeys() {
        var desk = Desk()
        #expect(desk.ask(.grant(life: .seconds(10))) == [.granted(lease: 1)])
        #expect(desk.ask(.grant(life: .seconds(5))) == [.granted(lease: 2)])
        _ = desk.put("b", "", lease: 1)
        _ = desk.put("a", "", lease: 1)
        _ = desk.put("c", "", lease: 2)
        #expect(desk.state.nextExpiry == .zero + .seconds(5))
        desk.now = .zero + .seconds(4)
        let isThere = desk.state.refresh(lease: 2, now: desk.now)
        let isThird = desk.state.refresh(lease: 3, now: desk.now)
        #expect(isThere && !isThird)
        #expect(desk.state.nextExpiry == .zero + .seconds(9))
        #expect(desk.state.expiredLeases(now: .zero + .seconds(8), limit: 9) == [])
        #expect(desk.state.expiredLeases(now: .zero + .seconds(10), limit: 9) == [2, 1])
        #expect(desk.state.expiredLeases(now: .zero + .seconds(10), limit: 1) == [2])
        // A key that is set anew without the lease outlives it.
        _ = desk.put("c", "kept")
        #expect(desk.ask(.revoke(lease: 2), .revoke(lease: 1)).count == 2)
        #expect(desk.keys("") == ["c"])
        #expect(
            desk.state.events(after: 6)
                == .commits([
                    StoreCommit(revision: 7, changes: []),
                    StoreCommit(
                        revision: 8, changes: [.delete(StoreKey("a")), .delete(StoreKey("b"))]),
                ]))
        #expect(desk.state.nextExpiry == nil)
        #expect(desk.ask(.revoke(lease: 1)) == [.refused(.noSuchLease(1))])
    }

    @Test func whatIsImpossibleIsRefusedWhole() {
        var desk = Desk()
        let good = StoreTransaction.Change.put(StoreKey("good"), value: [])
        let long = StoreKey(bytes: [UInt8](repeating: 1, count: 513))
        let large = [UInt8](repeating: 0, count: StoreLimits.valueBytes + 1)
        let many = (0...StoreLimits.operations).map {
            StoreTransaction.Change.delete(StoreKey("\($0)"))
        }
        let heavy = (0..<33).map {
            StoreTransaction.Change.put(
                StoreKey("\($0)"), value: [UInt8](repeating: 0, count: StoreLimits.valueBytes))
        }
        let table: [(StoreTransaction, StoreRefusal)] = [
            (.init(changes: [good, .put(StoreKey(""), value: [])]), .keyLength(0)),
            (.init(changes: [good, .delete(long)]), .keyLength(513)),
            (.init(conditions: [.init(long, modRevision: 0)]), .keyLength(513)),
            (
                .init(changes: [good, .put(StoreKey("a"), value: large)]),
                .valueLength(StoreKey("a"), large.count)
            ),
            (.init(changes: [good, good]), .repeatedKey(StoreKey("good"))),
            (.init(changes: many), .operations(many.count)),
            (.init(changes: [good, .put(StoreKey("a"), value: [], lease: 7)]), .noSuchLease(7)),
            (.init(changes: heavy), .transactionBytes(33 * (StoreLimits.valueBytes + 15) + 60)),
        ]
        for (transaction, refusal) in table {
            #expect(desk.ask(.transaction(transaction)) == [.refused(refusal)])
        }
        for life in [Duration.zero, .nanoseconds(-1), .seconds(86_401)] {
            #expect(desk.ask(.grant(life: life)) == [.refused(.leaseLife(life))])
        }
        #expect(desk.state.revision == 0)
    }

    @Test func aLeaseHoldsSoManyKeys() {
        var desk = Desk()
        _ = desk.ask(.grant(life: .seconds(1)))
        let full = (0..<StoreLimits.leaseKeys).map {
            StoreTransaction.Change.put(StoreKey("\($0)"), value: [], lease: 1)
        }
        #expect(desk.ask(.transaction(.init(changes: full))) == [.committed(revision: 2)])
        #expect(desk.put("one more", "", lease: 1) == .refused(.leaseKeys(1)))
        #expect(desk.put("7", "again", lease: 1) == .committed(revision: 3))
        #expect(desk.ask(.revoke(lease: 1)) == [.committed(revision: 4)])
        #expect(desk.keys("").isEmpty)
    }

    @Test func theStoreHoldsSoMuch() {
        var limits = StoreLimits()
        limits.keys = 2
        limits.bytes = 100
        limits.leases = 1
        var desk = Desk(limits)
        #expect(desk.put("a", String(repeating: "x", count: 98)) == .committed(revision: 1))
        #expect(desk.put("b", "y") == .refused(.full("100 bytes")))
        #expect(desk.put("b", "") == .committed(revision: 2))
        #expect(desk.put("c", "") == .refused(.full("2 keys")))
        #expect(desk.put("a", "") == .committed(revision: 3))
        _ = desk.ask(.grant(life: .seconds(1)))
        #expect(desk.ask(.grant(life: .seconds(1))) == [.refused(.full("1 leases"))])
    }

    @Test func whatDoesNotFitOneFrameIsPlannedLater() {
        let desk = Desk()
        let requests = (0..<5).map { index in
            StoreRequest.transaction(
                .init(
                    changes: (0..<10).map {
                        .put(
                            StoreKey("\(index)/\($0)"),
                            value: [UInt8](repeating: 0, count: StoreLimits.valueBytes))
                    }))
        }
        let plan = desk.state.plan(requests[...])
        #expect(plan.answers.count == 3)
        #expect(StoreLog.frame(plan, at: 20).count <= StoreLimits.frameBytes + 24)
    }
}
