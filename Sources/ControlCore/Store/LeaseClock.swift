import Base

/// When each lease ends unless it is refreshed. Not kept through a restart: a lease then has its
/// whole life again, because nobody could refresh it in between.
struct LeaseClock: Sendable {
    private struct Deadline: SortedElement {
        struct Key: Comparable {
            var at: Instant
            var lease: UInt64

            static func < (a: Key, b: Key) -> Bool {
                (a.at, a.lease) < (b.at, b.lease)
            }
        }
        var key: Key
    }

    private var order = SortedTable<Deadline>()
    private var deadlines: [UInt64: Instant] = [:]

    var earliest: Instant? { order.first?.key.at }

    mutating func set(_ lease: UInt64, at deadline: Instant) {
        clear(lease)
        deadlines[lease] = deadline
        order.put(Deadline(key: .init(at: deadline, lease: lease)))
    }

    mutating func clear(_ lease: UInt64) {
        guard let deadline = deadlines.removeValue(forKey: lease) else { return }
        order.remove(.init(at: deadline, lease: lease))
    }

    /// Leases whose end is at or before `now`, those that ended first first.
    func expired(_ now: Instant, limit: Int) -> [UInt64] {
        var found: [UInt64] = []
        order.visit(from: .init(at: Instant(nanoseconds: .min), lease: 0)) { deadline in
            guard deadline.key.at <= now, found.count < limit else { return false }
            found.append(deadline.key.lease)
            return true
        }
        return found
    }
}
