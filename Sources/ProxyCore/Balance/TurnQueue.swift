// Weighted round robin for as many endpoints as there are: whoever is due first has its turn, and
// is due again after a time of 1/weight. An endpoint of weight 3 has three turns in the time in
// which one of weight 1 has one, at even distances.
//
// In the first such time each begins at a place of its own by chance. So turns of one endpoint do
// not come in a row because another's begin later, and proxies that are told of the same endpoints
// at once do not all go to the same one first.
//
// Source: Envoy, `EdfScheduler` (earliest deadline first), which draws the start too.

import Base

/// Whose turn it is, by weight.
struct TurnQueue {
    private struct Entry: BitwiseCopyable {
        /// On a clock that goes round: what is compared is the difference.
        var due: UInt64
        var member: Int32
    }

    /// A four-ary heap: a node's children lie side by side in memory.
    private var entries: [Entry] = []

    /// One turn of weight 1. Bound: four of it in 64 bits with weights down to `leastWeight`, and
    /// weights of a million still differ by a millionth.
    private static let round = Double(1 << 44)
    /// Weights are scaled down by slow start and by requests in flight; below this all are equal.
    private static let leastWeight = 1.0 / Double(1 << 16)

    var count: Int { entries.count }

    init() {}

    /// For the members 0 ..< `weights.count`.
    init(_ weights: [Double], _ random: inout SeededRandom) {
        entries = weights.indices.map { i in
            let stride = Self.stride(weights[i])
            return Entry(
                due: UInt64(Double(stride) * random.unit()), member: Int32(i))
        }
        var place = entries.count / 4
        while place >= 0 {
            siftDown(place)
            place -= 1
        }
    }

    /// The member whose turn it is.
    var first: Int { Int(entries[0].member) }

    /// The first member has had its turn.
    /// - Parameter weight: what it has from now on; more than 0.
    /// - Complexity: O(log members).
    mutating func advance(_ weight: Double) {
        entries[0].due &+= Self.stride(weight)
        siftDown(0)
    }

    private static func stride(_ weight: Double) -> UInt64 {
        UInt64(round / max(weight, leastWeight))
    }

    private mutating func siftDown(_ start: Int) {
        guard start < entries.count else { return }
        var place = start
        let entry = entries[place]
        while true {
            let firstChild = 4 * place + 1
            guard firstChild < entries.count else { break }
            var least = firstChild
            for child in firstChild + 1..<max(firstChild + 1, min(firstChild + 4, entries.count))
            where Self.isBefore(entries[child], entries[least]) {
                least = child
            }
            guard Self.isBefore(entries[least], entry) else { break }
            entries[place] = entries[least]
            place = least
        }
        entries[place] = entry
    }

    private static func isBefore(_ a: Entry, _ b: Entry) -> Bool {
        let distance = Int64(bitPattern: a.due &- b.due)
        return distance < 0 || distance == 0 && a.member < b.member
    }
}
