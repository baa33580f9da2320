// Subsets are known by a hash of the label values that were asked for, so that a request finds its
// own without a look at texts. Two that fell together would take requests for each other's; with 64
// bits nobody's labels do, and a client that makes a value do so gets no further than by naming the
// other subset.

import Base
import Model

/// The keys of subsets.
enum SubsetKeys {
    /// Labels that may be asked for. Bound: an endpoint belongs to 2ⁿ − 1 subsets.
    static let most = 4

    /// The key of all endpoints.
    static let all: UInt64 = 0

    /// The key of those of `key`'s endpoints whose `label`th label has a value with that hash.
    static func narrowed(_ key: UInt64, _ label: Int, _ value: UInt64) -> UInt64 {
        let narrowed = mix(key ^ mix(value &+ UInt64(label + 1)))
        return narrowed == all ? 1 : narrowed
    }

    /// The keys of all subsets that an endpoint belongs to, first `all`.
    static func all(
        of labels: [String: String], _ asked: [BalancePolicy.SubsetKey]
    ) -> [UInt64] {
        var keys = [all]
        for (i, label) in asked.prefix(most).enumerated() {
            guard let value = labels[label.label] else { continue }
            let hash = XXHash64.hash(value)
            keys += keys.map { narrowed($0, i, hash) }
        }
        return keys
    }
}
