// Timers without allocation: an indexed four-ary heap. Each owner (a connection, a request) has one
// number and at most one deadline. Exact to the nanosecond; the reactor's wait decides what is left
// of it.

/// Deadlines by number, earliest first. For one thread.
public struct DeadlineHeap: ~Copyable {
    @usableFromInline struct Entry: BitwiseCopyable {
        @usableFromInline var deadline: Int64
        @usableFromInline var id: Int32
    }

    private let entries: Slab<Entry>
    /// Where each number stands in `entries`, from 1; 0: nowhere.
    private let places: Slab<Int32>
    /// How many deadlines are set.
    public private(set) var count = 0

    /// For the numbers 0 ..< `capacity`.
    public init(capacity: Int) {
        entries = Slab(zeroed: capacity)
        places = Slab(zeroed: capacity)
    }

    deinit {
        entries.deallocate()
        places.deallocate()
    }

    /// The earliest deadline; nil if none is set.
    public var earliest: Instant? {
        count == 0 ? nil : Instant(nanoseconds: entries[0].deadline)
    }

    /// The deadline of `id`; nil if none is set.
    public func deadline(of id: Int) -> Instant? {
        let place = Int(places[id]) - 1
        return place < 0 ? nil : Instant(nanoseconds: entries[place].deadline)
    }

    /// Sets or moves the deadline of `id`.
    /// - Complexity: O(log n).
    public mutating func set(_ id: Int, at deadline: Instant) {
        var place = Int(places[id]) - 1
        if place < 0 {
            place = count
            count += 1
        }
        let entry = Entry(deadline: deadline.nanoseconds, id: Int32(id))
        put(entry, at: place)
        siftUp(place)
        siftDown(Int(places[id]) - 1)
    }

    /// Forgets the deadline of `id`, if it has one.
    /// - Complexity: O(log n).
    public mutating func clear(_ id: Int) {
        let place = Int(places[id]) - 1
        guard place >= 0 else { return }
        places[id] = 0
        count -= 1
        guard place < count else { return }
        let last = entries[count]
        put(last, at: place)
        siftUp(place)
        siftDown(Int(places[Int(last.id)]) - 1)
    }

    /// Takes out the earliest number whose deadline is at or before `now`; nil if none is.
    public mutating func popExpired(_ now: Instant) -> Int? {
        guard count > 0, entries[0].deadline <= now.nanoseconds else { return nil }
        let id = Int(entries[0].id)
        clear(id)
        return id
    }

    /// Checks the order of the heap and that every number knows its place.
    public func checkInvariants() {
        for place in 0..<count {
            let entry = entries[place]
            precondition(Int(places[Int(entry.id)]) == place + 1, "a number is lost")
            let parent = entries[max(0, place - 1) / 4]
            precondition(parent.deadline <= entry.deadline, "a deadline stands before its parent")
        }
        var placed = 0
        for id in 0..<places.count where places[id] != 0 { placed += 1 }
        precondition(placed == count, "\(placed) numbers placed, \(count) deadlines")
    }

    private func put(_ entry: Entry, at place: Int) {
        entries[place] = entry
        places[Int(entry.id)] = Int32(place + 1)
    }

    private func siftUp(_ start: Int) {
        var place = start
        let entry = entries[place]
        while place > 0 {
            let parent = (place - 1) / 4
            guard entry.deadline < entries[parent].deadline else { break }
            put(entries[parent], at: place)
            place = parent
        }
        put(entry, at: place)
    }

    private func siftDown(_ start: Int) {
        var place = start
        let entry = entries[place]
        while true {
            var least = place
            var leastDeadline = entry.deadline
            let first = 4 * place + 1
            for child in first..<min(first + 4, max(first, count))
            where entries[child].deadline < leastDeadline {
                least = child
                leastDeadline = entries[child].deadline
            }
            guard least != place else { break }
            put(entries[least], at: place)
            place = least
        }
        put(entry, at: place)
    }
}
