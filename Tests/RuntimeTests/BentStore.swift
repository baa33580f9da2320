import Base
import ControlCore
import Posix

@testable import Runtime

/// A store that now and then answers what somebody else wants it to.
final class BentStore: MeshStore {
    private let base: any MeshStore
    /// Transactions that were asked for.
    private(set) var transactions = 0
    /// From which transaction on, up to which, and what they are answered.
    private var bent: (Range<Int>, Result<StoreAnswer, StoreFault>)?
    /// What others do meanwhile.
    var onAdvance: () -> Void = {}

    init(_ base: any MeshStore) { self.base = base }

    /// Answers `count` transactions after the next `spared` ones, which do not happen.
    func bend(
        _ answer: Result<StoreAnswer, StoreFault>, count: Int = 1000, sparing spared: Int = 0
    ) {
        let first = transactions + spared + 1
        bent = (first..<first + count, answer)
    }

    var state: StoreState { base.state }
    var health: StoreHealth { base.health }

    func commit(_ request: StoreRequest, now: Instant) throws(StoreFault) -> StoreAnswer {
        if case .transaction = request {
            transactions += 1
            if let (range, answer) = bent, range.contains(transactions) { return try answer.get() }
        }
        return try base.commit(request, now: now)
    }

    func refresh(lease: UInt64, now: Instant) -> Bool { base.refresh(lease: lease, now: now) }

    func expire(now: Instant, limit: Int) throws(StoreFault) -> Int {
        try base.expire(now: now, limit: limit)
    }

    func advance() {
        onAdvance()
        base.advance()
    }
}

extension Result where Success == StoreAnswer, Failure == StoreFault {
    static func refusal(_ refusal: StoreRefusal) -> Self { .success(.refused(refusal)) }
    /// Somebody else has changed a key.
    static var conflict: Self { .success(.conflict(StoreKey("x"), modRevision: 1)) }
}
