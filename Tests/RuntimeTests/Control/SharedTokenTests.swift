import Base
import ControlCore
import Posix
import Support
import Testing

@testable import Runtime

@Suite struct SharedTokenTests {
    /// A store that takes nothing is asked for ten seconds, and no longer; what somebody else puts
    /// there meanwhile is taken.
    @Test func aStartWaitsForTheSharedToken() throws {
        for (comes, isFound) in [(0, true), (9, true), (11, false)] as [(Int64, Bool)] {
            let store = BentStore(
                try Store(in: MemoryFolder(random: SeededRandom(seed: 1)), now: .zero))
            store.bend(.failure(.unreachable("an election")), count: .max / 2)
            var now = Instant.zero
            let shared = ControlToken.random()
            // Somebody else, with whom the store speaks.
            store.onAdvance = { [unowned store] in
                guard now >= Instant.zero + .seconds(comes) else { return }
                store.onAdvance = {}
                store.bend(.conflict, count: 0)
                _ = try? store.commit(
                    .transaction(
                        StoreTransaction(changes: [
                            .put(OpenedStore.tokenKey, value: Array(shared.text.utf8))
                        ])), now: now)
                store.bend(.conflict, count: .max / 2)
            }
            let folder = try Scratch()
            let waiting = OpenedStore.Waiting(now: { now }) { now = now + $0 }
            let found = try? OpenedStore.sharedToken(folder.root, store, waiting)
            #expect(found?.text == (isFound ? shared.text : nil), "after \(comes) s")
            let waited = now - Instant.zero
            #expect(waited < OpenedStore.patience + .milliseconds(100))
            if !isFound { #expect(waited >= OpenedStore.patience) }
            // It is in the folder from then on.
            #expect(try ControlToken.found(folder: folder.root)?.text == found?.text)
        }
    }

    /// The first one makes it, and does not wait.
    @Test func theFirstMakesTheSharedToken() throws {
        let store = BentStore(
            try Store(in: MemoryFolder(random: SeededRandom(seed: 1)), now: .zero))
        let folder = try Scratch()
        let waiting = OpenedStore.Waiting(now: { .zero }) { _ in Issue.record("it has waited") }
        let token = try OpenedStore.sharedToken(folder.root, store, waiting)
        let kept = try #require(store.state.entry(OpenedStore.tokenKey)?.value)
        #expect(kept == Array(token.text.utf8))
    }
}
