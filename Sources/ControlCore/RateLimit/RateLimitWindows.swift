import Wire

/// Counters of windows, of which there are only so many, with values of only so many bytes: those
/// that were asked for longest ago make room.
struct RateLimitWindows {
    struct Key: Hashable, Sendable {
        /// The number of a rule.
        let rule: Int
        let values: [String]

        /// Bytes of its values.
        fileprivate var size: Int { values.reduce(0) { $0 + $1.utf8.count } }
    }

    private struct Counter {
        var key: Key
        var window: Int64
        var count: UInt64
        /// Places of those that were asked for next before and behind it; -1: none was.
        var older: Int
        var newer: Int
    }

    private let most: Int
    /// Bound: clients choose values, some as long as a question may be.
    private let mostBytes: Int
    private var bytes = 0
    private var places: [Key: Int] = [:]
    /// Bound: `most`.
    private var counters: [Counter] = []
    /// Places in `counters` of none.
    private var free: [Int] = []
    private var oldest = -1
    private var newest = -1

    /// - Parameters:
    ///   - most: counters at once, 1 or more.
    ///   - bytes: of their values together; nil: 256 for each counter, and room for any one.
    init(most: Int, bytes: Int? = nil) {
        precondition(most > 0, "no room for a counter")
        self.most = most
        mostBytes = bytes ?? max(RateLimitCall.messageBytes, most * 256)
    }

    var count: Int { places.count }

    /// Adds to the counter of a key in a window, which begins at 0 with each later window.
    /// - Returns: what it comes to, and how many others made room for it whose windows were not
    ///   over. Counters stop at 2^63.
    mutating func add(
        _ hits: UInt64, to key: Key, window: Int64
    ) -> (count: UInt64, evictions: Int) {
        var evictions = 0
        let place: Int
        if let known = places[key] {
            place = known
            unlink(place)
        } else {
            let size = key.size
            while oldest >= 0, places.count >= most || bytes + size > mostBytes {
                if evictOldest(for: key, window) { evictions += 1 }
            }
            let counter = Counter(key: key, window: window, count: 0, older: -1, newer: -1)
            if let spare = free.popLast() {
                place = spare
                counters[place] = counter
            } else {
                place = counters.count
                counters.append(counter)
            }
            places[key] = place
            bytes += size
        }
        linkNewest(place)
        // A clock that goes back opens no window anew.
        if window > counters[place].window {
            counters[place].window = window
            counters[place].count = 0
        }
        counters[place].count = min(1 << 63, counters[place].count + hits)
        return (counters[place].count, evictions)
    }

    /// - Returns: whether its window was not over. Of a rule with other windows the new key's says
    ///   nothing, which makes the number of these an upper bound.
    private mutating func evictOldest(for key: Key, _ window: Int64) -> Bool {
        let place = oldest
        unlink(place)
        let old = counters[place]
        places[old.key] = nil
        bytes -= old.key.size
        counters[place].key = Key(rule: -1, values: [])
        free.append(place)
        return old.key.rule != key.rule || old.window >= window
    }

    private mutating func unlink(_ place: Int) {
        let counter = counters[place]
        if counter.older >= 0 {
            counters[counter.older].newer = counter.newer
        } else {
            oldest = counter.newer
        }
        if counter.newer >= 0 {
            counters[counter.newer].older = counter.older
        } else {
            newest = counter.older
        }
    }

    private mutating func linkNewest(_ place: Int) {
        counters[place].older = newest
        counters[place].newer = -1
        if newest >= 0 { counters[newest].newer = place } else { oldest = place }
        newest = place
    }

    func checkInvariants() {
        precondition(
            counters.count <= most && places.count == counters.count - free.count,
            "counters are lost")
        let size = places.keys.reduce(0) { $0 + $1.size }
        precondition(bytes == size && (size <= mostBytes || places.count == 1), "lost bytes")
        var (place, last, seen) = (oldest, -1, 0)
        while place >= 0 {
            precondition(counters[place].older == last, "an order that does not lead back")
            precondition(places[counters[place].key] == place, "a counter of another key")
            seen += 1
            precondition(seen <= places.count, "an order in a ring")
            (last, place) = (place, counters[place].newer)
        }
        precondition(last == newest && seen == places.count, "an order without an end")
    }
}
