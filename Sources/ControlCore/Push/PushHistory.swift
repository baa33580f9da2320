/// The last changes, for those who come back.
struct PushHistory: Sendable {
    private struct Entry: Sendable {
        var version: UInt64
        var change: MeshChange
    }

    /// Everything up to here is forgotten, or was before.
    private var floor: UInt64
    private let limit: Int
    /// In order; those before `start` are gone, and their places are given back when they are half
    /// of the array. Bound: twice `limit`, and one mesh's changes of a time.
    private var entries: [Entry] = []
    private var start = 0

    init(since floor: UInt64, limit: Int) {
        self.floor = floor
        self.limit = limit
    }

    mutating func append(_ changes: [MeshChange], _ version: UInt64) {
        entries += changes.map { Entry(version: version, change: $0) }
        let excess = entries.count - start - limit
        guard excess > 0 else { return }
        // A version is forgotten whole.
        let last = entries[start + excess - 1].version
        floor = max(floor, last)
        start += excess
        while start < entries.count, entries[start].version == last { start += 1 }
        if start > 64, start * 2 > entries.count {
            entries.removeFirst(start)
            start = 0
        }
    }

    /// What changed after a version; nil: that is forgotten, or more than `most`.
    func changes(after version: UInt64, atMost most: Int) -> [MeshChange]? {
        guard version >= floor else { return nil }
        var low = start
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].version <= version { low = middle + 1 } else { high = middle }
        }
        guard entries.count - low <= most else { return nil }
        return entries[low...].map(\.change)
    }
}
