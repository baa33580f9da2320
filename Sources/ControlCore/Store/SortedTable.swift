// A table in key order: an array of sorted leaves. A search is two binary searches; an insertion
// moves at most one leaf. As a value it is copied by reference, and a change after a copy copies
// one leaf and the list of leaves: this makes a transaction that must not happen free to undo.

/// What a `SortedTable` holds: a value that has its key in it.
protocol SortedElement: Sendable {
    associatedtype Key: Comparable
    /// Where it stands; unique in a table.
    var key: Key { get }
}

/// Elements in the order of their keys.
struct SortedTable<Element: SortedElement>: Sendable {
    /// Elements of a leaf. Bound: a copied leaf costs some microseconds, and 100,000 keys make a
    /// list of about a thousand leaves.
    static var leafCapacity: Int { 128 }

    /// Sorted, none empty.
    private var leaves: [[Element]] = []
    private(set) var count = 0

    var last: Element? { leaves.last?.last }
    var first: Element? { leaves.first?.first }

    /// The element under `key`.
    /// - Complexity: O(log n).
    subscript(key: Element.Key) -> Element? {
        guard !leaves.isEmpty else { return nil }
        let leaf = leaf(for: key)
        let place = place(of: key, in: leaf)
        return holds(key, leaf, place) ? leaves[leaf][place] : nil
    }

    /// Puts `element` in its place; returns what stood there under the same key.
    @discardableResult
    mutating func put(_ element: Element) -> Element? {
        guard !leaves.isEmpty else {
            leaves.append([element])
            count = 1
            return nil
        }
        let leaf = leaf(for: element.key)
        let place = place(of: element.key, in: leaf)
        if holds(element.key, leaf, place) {
            let before = leaves[leaf][place]
            leaves[leaf][place] = element
            return before
        }
        count += 1
        if leaves[leaf].count < Self.leafCapacity {
            leaves[leaf].insert(element, at: place)
        } else if leaf == leaves.count - 1, place == Self.leafCapacity {
            // Ascending keys, as in a snapshot, leave full leaves behind.
            leaves.append([element])
        } else {
            let half = Self.leafCapacity / 2
            leaves.insert(Array(leaves[leaf][half...]), at: leaf + 1)
            leaves[leaf].removeLast(Self.leafCapacity - half)
            if place <= half {
                leaves[leaf].insert(element, at: place)
            } else {
                leaves[leaf + 1].insert(element, at: place - half)
            }
        }
        return nil
    }

    /// Takes out the element under `key`; nil if there is none.
    @discardableResult
    mutating func remove(_ key: Element.Key) -> Element? {
        guard !leaves.isEmpty else { return nil }
        let leaf = leaf(for: key)
        let place = place(of: key, in: leaf)
        guard holds(key, leaf, place) else { return nil }
        let removed = leaves[leaf].remove(at: place)
        count -= 1
        if leaves[leaf].isEmpty {
            leaves.remove(at: leaf)
        } else if leaf + 1 < leaves.count,
            leaves[leaf].count + leaves[leaf + 1].count <= Self.leafCapacity / 2
        {
            leaves[leaf] += leaves[leaf + 1]
            leaves.remove(at: leaf + 1)
        }
        return removed
    }

    /// Calls `body` with each element whose key is not below `start`, in order, until it returns
    /// false.
    func visit(from start: Element.Key, _ body: (Element) -> Bool) {
        guard !leaves.isEmpty else { return }
        var leaf = leaf(for: start)
        var place = place(of: start, in: leaf)
        while leaf < leaves.count {
            while place < leaves[leaf].count {
                guard body(leaves[leaf][place]) else { return }
                place += 1
            }
            leaf += 1
            place = 0
        }
    }

    /// How many elements `body` holds of, from the first whose key is not below `start` on. It has
    /// to hold of those up to some element, and of none after it.
    /// - Complexity: O(number of leaves).
    func count(from start: Element.Key, while body: (Element) -> Bool) -> Int {
        guard !leaves.isEmpty else { return 0 }
        var leaf = leaf(for: start)
        var place = place(of: start, in: leaf)
        var count = 0
        while leaf < leaves.count {
            let rest = leaves[leaf][place...]
            guard rest.last.map(body) ?? true else {
                return count + rest.prefix(while: body).count
            }
            count += rest.count
            leaf += 1
            place = 0
        }
        return count
    }

    /// Calls `body` with each element, in order.
    func forEach<Failure: Error>(_ body: (Element) throws(Failure) -> Void) throws(Failure) {
        for leaf in leaves { for element in leaf { try body(element) } }
    }

    /// Checks the order, the sizes and the count.
    func checkInvariants() {
        var before: Element?
        var seen = 0
        for leaf in leaves {
            precondition(!leaf.isEmpty && leaf.count <= Self.leafCapacity, "a leaf's size")
            for element in leaf {
                if let before { precondition(before.key < element.key, "keys out of order") }
                before = element
                seen += 1
            }
        }
        precondition(seen == count, "\(seen) elements, counted \(count)")
    }

    /// The last leaf that begins at or before `key`; else the first.
    private func leaf(for key: Element.Key) -> Int {
        var low = 0
        var high = leaves.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if key < leaves[middle][0].key { high = middle } else { low = middle }
        }
        return low
    }

    /// The first place of a leaf whose key is not below `key`.
    private func place(of key: Element.Key, in leaf: Int) -> Int {
        var low = 0
        var high = leaves[leaf].count
        while low < high {
            let middle = (low + high) / 2
            if leaves[leaf][middle].key < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private func holds(_ key: Element.Key, _ leaf: Int, _ place: Int) -> Bool {
        place < leaves[leaf].count && leaves[leaf][place].key == key
    }
}
