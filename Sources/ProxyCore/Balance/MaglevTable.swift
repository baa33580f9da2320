// Consistent hashing by a table of fixed size, in which each endpoint has nearly the share that its
// weight says: less even over time than a ring when endpoints come and go, more even at any one
// time, and one look to find an endpoint.

import Base

/// Envoy's table, slot for slot.
///
/// Source: Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI
/// 2016, 3.4; Envoy, `MaglevTable`, for weights and for the hashes.
struct MaglevTable {
    private var slots: [Int32] = []

    var count: Int { slots.count }

    init() {}

    /// - Parameters:
    ///   - members: their names and weights.
    ///   - size: a prime.
    init(_ members: [(name: String, weight: Double)], size: Int) {
        guard !members.isEmpty else { return }
        let size = UInt64(size)
        slots = [Int32](repeating: -1, count: Int(size))
        let sum = members.reduce(0) { $0 + $1.weight }
        let most = members.reduce(0) { max($0, $1.weight / sum) }
        // In the order of their names: where an endpoint stands in a list means nothing.
        let order = members.indices.sorted {
            Array(members[$0].name.utf8).lexicographicallyPrecedes(Array(members[$1].name.utf8))
        }
        var entries = order.map { i in
            Entry(
                member: Int32(i), weight: members[i].weight / sum,
                place: XXHash64.hash(members[i].name) % size,
                skip: XXHash64.hash(members[i].name, seed: 1) % (size - 1) + 1)
        }
        var filled: UInt64 = 0
        var iteration = 1.0
        while filled < size {
            for i in entries.indices where filled < size {
                // An endpoint of a third of the largest weight has a slot every third time.
                guard iteration * entries[i].weight >= entries[i].target else { continue }
                entries[i].target += most
                while slots[Int(entries[i].place)] >= 0 { entries[i].advance(size) }
                slots[Int(entries[i].place)] = entries[i].member
                entries[i].advance(size)
                filled += 1
            }
            iteration += 1
        }
    }

    /// A member while the table is filled.
    private struct Entry {
        let member: Int32
        let weight: Double
        var target = 0.0
        /// In its own order of all slots, the next one.
        var place: UInt64
        let skip: UInt64

        init(member: Int32, weight: Double, place: UInt64, skip: UInt64) {
            self.member = member
            self.weight = weight
            self.place = place
            self.skip = skip
        }

        mutating func advance(_ size: UInt64) { place = (place + skip) % size }
    }

    /// The member that a request of this hash belongs to.
    /// - Parameter attempt: 0, or the number of the draw: whom it goes to when the members before
    ///   are to be avoided.
    /// - Precondition: the table has members.
    func member(_ hash: UInt64, attempt: Int = 0) -> Int {
        // Envoy: most bits set, so that the other place is far away.
        let turned = attempt == 0 ? hash : hash ^ (UInt64.max - UInt64(attempt) + 1)
        return Int(slots[Int(turned % UInt64(slots.count))])
    }
}
