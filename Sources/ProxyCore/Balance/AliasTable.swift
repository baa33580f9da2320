import Base

/// A member by chance, as often as its weight says, in two looks at a table.
///
/// Source: Vose, "A linear algorithm for generating random numbers with a given distribution",
/// IEEE Transactions on Software Engineering 17 (1991).
struct AliasTable {
    private struct Slot: BitwiseCopyable {
        /// Of the slot's share, what is its own member's: in units of 2⁻⁵³.
        var own: UInt64
        var other: Int32
    }

    private var slots: [Slot] = []

    init() {}

    /// For the members 0 ..< `weights.count`, each weight more than 0.
    init(_ weights: [Double]) {
        let sum = weights.reduce(0, +)
        var left = weights.map { $0 * Double(weights.count) / sum }
        slots = (0..<weights.count).map { Slot(own: 1 << 53, other: Int32($0)) }
        var small = left.indices.filter { left[$0] < 1 }
        var large = left.indices.filter { left[$0] >= 1 }
        while let i = small.popLast(), let j = large.last {
            slots[i] = Slot(own: UInt64(left[i] * 0x1p53), other: Int32(j))
            left[j] -= 1 - left[i]
            if left[j] < 1 {
                large.removeLast()
                small.append(j)
            }
        }
        // What is left over in either list is whole but for rounding, and keeps its slot to itself.
    }

    /// - Precondition: it has members.
    func draw(_ random: inout SeededRandom) -> Int {
        let slot = random.below(slots.count)
        return random.next() >> 11 < slots[slot].own ? slot : Int(slots[slot].other)
    }
}
