/// Counters of windows, of which there are only so many: the one that was asked for longest ago
/// makes room.
struct RateLimitWindows {
    struct Key: Hashable, Sendable {
        /// The number of a rule.
        let rule: Int
        let values: [String]
    }

    private struct Counter {
        var key: Key
        var window: Int64
        var count: UInt64
        /// Places of those that were asked for next before and behind it; -1: none was.
        var older: Int
        var newer: Int
    }

    let most: Int
    private var places: [Key: Int] = [:]
    /// Bound: `most`.
    private var counters: [Counter] = []
    private var oldest = -1
    private var newest = -1

    init(most: Int) {
        precondition(most > 0, "no room for a counter")
        self.most = most
    }

    var count: Int { counters.count }

    /// Adds to the counter of a key in a window, which begins at 0 with each later window.
    /// - Returns: what it comes to, and whether another one made room for it whose window was not
    ///   over. Counters stop at 2^63.
    mutating func add(
        _ hits: UInt64, to key: Key, window: Int64
    ) -> (count: UInt64, evicts: Bool) {
        var evicts = false
        let place: Int
        if let known = places[key] {
            place = known
            unlink(place)
        } else if counters.count < most {
            place = counters.count
            counters.append(Counter(key: key, window: window, count: 0, older: -1, newer: -1))
            places[key] = place
        } else {
            place = oldest
            unlink(place)
            // Of a rule with other windows it says nothing, which makes the count an upper bound.
            evicts = counters[place].key.rule != key.rule || counters[place].window >= window
            places[counters[place].key] = nil
            counters[place] = Counter(key: key, window: window, count: 0, older: -1, newer: -1)
            places[key] = place
        }
        linkNewest(place)
        // A clock that goes back opens no window anew.
        if window > counters[place].window {
            counters[place].window = window
            counters[place].count = 0
        }
        counters[place].count = min(1 << 63, counters[place].count + hits)
        return (counters[place].count, evicts)
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
        precondition(counters.count <= most && places.count == counters.count, "counters are lost")
        var (place, last, seen) = (oldest, -1, 0)
        while place >= 0 {
            precondition(counters[place].older == last, "an order that does not lead back")
            precondition(places[counters[place].key] == place, "a counter of another key")
            seen += 1
            precondition(seen <= counters.count, "an order in a ring")
            (last, place) = (place, counters[place].newer)
        }
        precondition(last == newest && seen == counters.count, "an order without an end")
    }
}
