// What a control plane asks of whatever keeps its mesh: a folder of its own, or an etcd that
// several control planes share.

import Base
import ControlCore

/// A durable store. For one thread.
protocol MeshStore: AnyObject {
    /// The store's contents, for reading. Where others change the store, as far as is known here.
    var state: StoreState { get }
    var health: StoreHealth { get }

    /// Commits one request, for good. What is answered as done stands in `state` from then on,
    /// unless the store is shared and slow to tell.
    /// - Throws: where nothing was changed, as far as is known: see `StoreFault`.
    func commit(_ request: StoreRequest, now: Instant) throws(StoreFault) -> StoreAnswer

    /// Gives a lease its whole life again, by way of whomever it was granted.
    /// - Returns: false if there is none of that number.
    func refresh(lease: UInt64, now: Instant) -> Bool

    /// Ends leases that were not refreshed in time, at most `limit` of them, with their keys. Where
    /// the store does that by itself, it finds none.
    /// - Returns: how many ended.
    func expire(now: Instant, limit: Int) throws(StoreFault) -> Int

    /// Brings into `state` what others have changed. Does not wait.
    func advance()
}

/// Whether a store takes changes.
enum StoreHealth: Equatable {
    case sound
    /// It takes changes, but something is due to be seen to.
    case growing(String)
    /// It takes none at present.
    case suspended(String)
}

extension Store: MeshStore {
    var health: StoreHealth {
        switch condition {
        case .sound: .sound
        case .growing(let error): .growing("\(error)")
        case .suspended(let error): .suspended("\(error)")
        }
    }

    /// Nobody else writes to its folder.
    func advance() {}
}
