// What the workers of one proxy have in common: limits that hold for all of them together, and what
// one has learnt of an endpoint that the others should know.

import Synchronization

/// What the workers of one proxy share. Each of them is given the same one.
///
/// Things in it are found by name while a configuration is adopted, and kept at hand from then on:
/// the request path meets no lock, only atomics.
public final class ProxyCommons: Sendable {
    /// What is known of endpoints, by cluster and policy.
    let boards = Shelf<HostBoard>()
    /// Of local rate limits.
    let buckets = Shelf<TokenBuckets>()
    /// By the names of clusters whose limits are strict.
    let breakers = Shelf<SharedBreaker>()

    public init() {}

    /// What is known of endpoints, cluster by cluster. For whoever is asked, not for requests.
    public var hostBoards: [HostBoard] { boards.items.sorted { $0.cluster < $1.cluster } }

    /// The same of these clusters, in no order. A cluster may have two while its workers go over to
    /// another policy one after the other.
    public func hostBoards(of clusters: Set<String>) -> [HostBoard] {
        boards.items.filter { clusters.contains($0.cluster) }
    }
}

/// Things of one kind by name. One is the same for all who ask as long as anybody holds it.
final class Shelf<Item: AnyObject & Sendable>: Sendable {
    private struct Place: Sendable {
        weak var item: Item?
    }

    private let places = Mutex<[String: Place]>([:])

    init() {}

    /// All that somebody holds.
    var items: [Item] { places.withLock { $0.values.compactMap(\.item) } }

    /// The thing of that name; `make` makes it where nobody holds one.
    func item(_ name: String, _ make: () -> Item) -> Item {
        places.withLock { places in
            if let item = places[name]?.item { return item }
            // Bound: as many names as are held, for names that nobody holds any more go here.
            places = places.filter { $0.value.item != nil }
            let item = make()
            places[name] = Place(item: item)
            return item
        }
    }
}
