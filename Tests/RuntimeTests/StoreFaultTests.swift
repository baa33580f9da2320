// What a store says and does when the disk fails, one failure at a time. That nothing is lost by
// it is held by StoreCrashFuzz.

import Base
import ControlCore
import Glibc
import Posix
import Runtime
import Testing

private func put(_ key: String, bytes: Int = 1) -> StoreRequest {
    .transaction(
        .init(changes: [.put(StoreKey(key), value: [UInt8](repeating: 7, count: bytes))]))
}

@Suite struct StoreFaultTests {
    private let folder = MemoryFolder(random: SeededRandom(seed: 1))

    private func open(_ now: Instant = .zero) throws(StoreFault) -> Store<MemoryFolder> {
        var limits = StoreLimits()
        limits.logBytes = 1000
        return try Store(in: folder, limits: limits, now: now)
    }

    private func commit(
        _ store: Store<MemoryFolder>, _ request: StoreRequest, _ now: Instant = .zero
    ) -> StoreFault? {
        do throws(StoreFault) {
            _ = try store.commit(request, now: now)
            return nil
        } catch {
            return error
        }
    }

    private func keys(_ store: Store<MemoryFolder>) -> [String] {
        store.state.entries(prefix: StoreKey("")).map(\.key.description)
    }

    @Test func aFailedWriteIsCutBack() throws {
        let store = try open()
        #expect(commit(store, put("a")) == nil)
        folder.failing = ["write"]
        guard case .notWritten? = commit(store, put("b")) else {
            Issue.record("not refused")
            return
        }
        #expect(store.condition == .sound)
        #expect(keys(store) == ["a"])
        folder.failing = []
        #expect(commit(store, put("c")) == nil)
        folder.losePower()
        #expect(try keys(open()) == ["a", "c"])
    }

    /// Nothing more goes to a log that could not be synced; reads go on, and so do commits once
    /// the log could be replaced.
    @Test func aFailedSyncSuspendsUntilTheLogIsReplaced() throws {
        let store = try open()
        let second = Instant.zero + .seconds(1)
        #expect(commit(store, put("a")) == nil)
        folder.failing = ["sync"]
        guard case .undecided? = commit(store, put("b")), case .suspended = store.condition else {
            Issue.record("not suspended: \(store.condition)")
            return
        }
        #expect(keys(store) == ["a"])
        // Within a second the disk is left alone.
        let operations = folder.operations
        guard case .suspended? = commit(store, put("c"), second - .nanoseconds(1)) else {
            Issue.record("not suspended")
            return
        }
        #expect(folder.operations == operations)
        guard case .suspended? = commit(store, put("c"), second) else {
            Issue.record("not suspended")
            return
        }
        #expect(folder.operations > operations)
        // A question changes nothing, so it is answered.
        #expect(commit(store, .transaction(.init()), second) == nil)
        folder.failing = []
        #expect(commit(store, put("d"), second + .seconds(1)) == nil)
        #expect(store.condition == .sound)
        folder.losePower()
        #expect(try keys(open()) == ["a", "d"])
    }

    @Test(arguments: ["create", "rename", "sync folder"])
    func aLogThatCannotBeReplacedGrows(what: String) throws {
        let store = try open()
        folder.failing = [what]
        #expect(commit(store, put("a", bytes: 2000)) == nil)
        guard case .growing = store.condition else {
            Issue.record("\(store.condition)")
            return
        }
        #expect(commit(store, put("b")) == nil)
        folder.failing = []
        #expect(commit(store, put("c"), .zero + .seconds(1)) == nil)
        #expect(store.condition == .sound)
        folder.losePower()
        let again = try open()
        #expect(keys(again) == ["a", "b", "c"])
        #expect(again.opening.snapshotRevision == 3)
    }

    /// The new snapshot may or may not be found after a crash: the old log is no longer enough.
    @Test(arguments: ["rename", "sync folder"])
    func aSwitchThatFailsSuspends(what: String) throws {
        let store = try open()
        folder.failing = [what]
        // The log's name is made safe, the snapshot's is not.
        folder.spared = 1
        #expect(commit(store, put("a", bytes: 2000)) == nil)
        guard case .suspended = store.condition, case .suspended? = commit(store, put("b")) else {
            Issue.record("\(store.condition)")
            return
        }
        #expect(keys(store) == ["a"])
        folder.failing = []
        #expect(commit(store, put("c"), .zero + .seconds(1)) == nil)
        #expect(store.condition == .sound)
        folder.losePower()
        #expect(try keys(open()) == ["a", "c"])
    }

    @Test func whatCannotBeRemovedIsRemovedLater() throws {
        let store = try open()
        folder.failing = ["remove"]
        #expect(commit(store, put("a", bytes: 2000)) == nil)
        #expect(store.condition == .sound)
        #expect(folder.files.count == 4)
        folder.losePower()
        folder.failing = []
        #expect(try keys(open()) == ["a"])
        #expect(
            folder.files.keys.sorted() == ["log-0000000000000001", "snapshot-0000000000000001"])
    }

    @Test(arguments: ["names", "contents", "open", "write", "cut", "sync", "sync folder"])
    func whatCannotBeMadeSafeIsNotShown(what: String) throws {
        #expect(try commit(open(), put("a")) == nil)
        folder.failing = [what]
        do throws(StoreFault) {
            _ = try open()
            Issue.record("opened")
        } catch {
            guard case .folder = error else {
                Issue.record("\(error)")
                return
            }
        }
        folder.failing = []
        #expect(try keys(open()) == ["a"])
    }

    @Test func manyRequestsShareASync() throws {
        let store = try open()
        let before = folder.operations
        let results = store.commit((0..<20).map { put("k\($0)") }, now: .zero)
        #expect(results.map { try? $0.get() } == (1...20).map { .committed(revision: $0) })
        // Some writes, because they may be short, and one sync.
        #expect(folder.operations - before < 8)
        folder.failing = ["write"]
        let refused = store.commit((0..<3).map { put("r\($0)") }, now: .zero)
        #expect(refused.count == 3)
        #expect(Set(refused.map { "\($0)" }).count == 1)
    }
}
