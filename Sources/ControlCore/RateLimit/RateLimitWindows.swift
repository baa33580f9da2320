import Wire

/// Counters of windows, of which there are only so many. Where none is free, one whose window is
/// over makes room. None whose window goes on is forgotten, as whoever fills the table would be
/// let in anew: where all of them do, what has no counter is counted in one that its rule has for
/// all of these.
struct RateLimitWindows {
    /// Of a bounded size: clients choose values, some as long as a question may be.
    private struct Key: Hashable, BitwiseCopyable {
        /// The number of a rule.
        let rule: Int
        /// What the standard library's hash makes of them, which no client can foresee: its seed is
        /// each process's own. Bound: of ten million, the most that there may be, two are taken for
        /// one with a probability of 3 in a million.
        let values: Int
    }

    private struct Tally: BitwiseCopyable {
        var window: Int64
        var count: UInt64

        /// A clock that goes back opens no window anew.
        /// - Returns: what it comes to. Counting stops at 2^63.
        mutating func add(_ hits: UInt64, in window: Int64) -> UInt64 {
            if window > self.window { self = Tally(window: window, count: 0) }
            count = min(1 << 63, count + hits)
            return count
        }
    }

    private struct Counter: BitwiseCopyable {
        let key: Key
        let unit: RateLimitUnit
        var tally: Tally
        /// Places of those of its unit whose windows were opened next before and behind its own;
        /// -1: none was.
        var older: Int
        var newer: Int
    }

    /// The counters of a unit, in the order in which their windows were opened. That is the order
    /// in which these are over, as windows of a unit begin together.
    private struct Order: BitwiseCopyable {
        var oldest = -1
        var newest = -1
    }

    /// What came of counting.
    struct Counted: Equatable, BitwiseCopyable {
        enum Place: BitwiseCopyable {
            case own
            /// Its own, for which one whose window was over made room.
            case evicted
            /// The one for all that have none.
            case shared
        }

        var count: UInt64
        var place: Place
    }

    private let most: Int
    private var places: [Key: Int] = [:]
    /// Bound: `most`.
    private var counters: [Counter] = []
    /// By the unit's number less one.
    private var orders = [Order](repeating: Order(), count: RateLimitUnit.allCases.count)
    /// By the rule's number: what has none of `counters`. Of a rule that writes all of its values
    /// down that is everything, and nobody can take its counter away.
    private var ofRules: [Tally]

    /// - Parameters:
    ///   - most: counters at once, 1 or more.
    ///   - rules: how many there are.
    init(most: Int, rules: Int) {
        precondition(most > 0, "no room for a counter")
        self.most = most
        ofRules = Array(repeating: Tally(window: .min, count: 0), count: rules)
    }

    /// Counters of values that are held.
    var count: Int { places.count }

    /// Adds to the counter of some values, in the window that goes on.
    /// - Parameters:
    ///   - rule: below `rules`, always with the same unit and as many values.
    ///   - values: those that the rule does not write down.
    ///   - seconds: since 1970.
    /// - Returns: what it comes to.
    mutating func add(
        _ hits: UInt64, rule: Int, values: [String], unit: RateLimitUnit, seconds: Int64
    ) -> Counted {
        let window = unit.window(at: seconds)
        if values.isEmpty {
            return Counted(count: ofRules[rule].add(hits, in: window), place: .own)
        }
        let key = key(rule, values)
        if let place = places[key] {
            if window > counters[place].tally.window {
                unlink(place)
                linkNewest(place)
            }
            return Counted(count: counters[place].tally.add(hits, in: window), place: .own)
        }
        var counter = Counter(
            key: key, unit: unit, tally: Tally(window: window, count: 0), older: -1, newer: -1)
        let count = counter.tally.add(hits, in: window)
        if counters.count < most {
            counters.append(counter)
            open(counters.count - 1)
            return Counted(count: count, place: .own)
        }
        if let place = ended(at: seconds) {
            unlink(place)
            places[counters[place].key] = nil
            counters[place] = counter
            open(place)
            return Counted(count: count, place: .evicted)
        }
        return Counted(count: ofRules[rule].add(hits, in: window), place: .shared)
    }

    private func key(_ rule: Int, _ values: [String]) -> Key {
        var hasher = Hasher()
        hasher.combine(values)
        return Key(rule: rule, values: hasher.finalize())
    }

    /// The place of a counter whose window is over; nil: none is. One may be missed after a clock
    /// has gone back, until that has caught up.
    private func ended(at seconds: Int64) -> Int? {
        for unit in RateLimitUnit.allCases {
            let place = orders[unit.rawValue - 1].oldest
            if place >= 0, counters[place].tally.window < unit.window(at: seconds) { return place }
        }
        return nil
    }

    private mutating func open(_ place: Int) {
        places[counters[place].key] = place
        linkNewest(place)
    }

    private mutating func unlink(_ place: Int) {
        let counter = counters[place]
        let order = counter.unit.rawValue - 1
        if counter.older >= 0 {
            counters[counter.older].newer = counter.newer
        } else {
            orders[order].oldest = counter.newer
        }
        if counter.newer >= 0 {
            counters[counter.newer].older = counter.older
        } else {
            orders[order].newest = counter.older
        }
    }

    private mutating func linkNewest(_ place: Int) {
        let order = counters[place].unit.rawValue - 1
        let newest = orders[order].newest
        counters[place].older = newest
        counters[place].newer = -1
        if newest >= 0 { counters[newest].newer = place } else { orders[order].oldest = place }
        orders[order].newest = place
    }

    func checkInvariants() {
        precondition(
            counters.count <= most && places.count == counters.count, "counters are lost")
        var seen = 0
        for unit in RateLimitUnit.allCases {
            let order = orders[unit.rawValue - 1]
            var (place, last) = (order.oldest, -1)
            while place >= 0 {
                let counter = counters[place]
                precondition(counter.unit == unit, "a counter in the order of another unit")
                precondition(counter.older == last, "an order that does not lead back")
                precondition(places[counter.key] == place, "a counter of another key")
                seen += 1
                precondition(seen <= counters.count, "an order in a ring")
                (last, place) = (place, counter.newer)
            }
            precondition(last == order.newest, "an order without an end")
        }
        precondition(seen == counters.count, "counters in no order")
    }
}

extension RateLimitUnit {
    /// The number of the window that goes on: how many of them have passed since 1970; of times
    /// before that, less than 0.
    /// - Parameter seconds: since 1970.
    func window(at seconds: Int64) -> Int64 {
        let (quotient, rest) = seconds.quotientAndRemainder(dividingBy: self.seconds)
        return rest < 0 ? quotient - 1 : quotient
    }
}
