public import Model

/// A place of work with so many servers and a queue of so many places: at most `concurrency` are
/// served at once, the others wait in their order, and who finds the queue full is turned away.
///
/// Of M/M/c/K it is the c and the K, c + the queue; that arrivals and service times are exponential
/// is for others to see to.
public struct CapacityQueue<Ticket: Equatable & BitwiseCopyable & Sendable>: Sendable {
    public enum Entry: Equatable, Sendable {
        case served
        /// Its ticket is called when it has its turn.
        case waits
        case refused
    }

    /// nil: all are served at once.
    public private(set) var capacity: AppCapacity?
    public private(set) var served = 0
    public private(set) var mostServed = 0
    public private(set) var mostWaiting = 0
    public private(set) var refused: UInt64 = 0
    // Bound: `AppCapacity.queue`, beside places that are no longer used, which are as many at most.
    private var line: [Ticket] = []
    private var first = 0

    public init(_ capacity: AppCapacity?) { self.capacity = capacity }

    public var waiting: Int { line.count - first }

    /// One comes, whose ticket is no other's that waits.
    public mutating func enter(_ ticket: Ticket) -> Entry {
        guard let capacity, served >= capacity.concurrency else {
            serve()
            return .served
        }
        guard waiting < capacity.queue else {
            refused += 1
            return .refused
        }
        line.append(ticket)
        mostWaiting = max(mostWaiting, waiting)
        return .waits
    }

    /// One that was served is done, or gone.
    /// - Returns: who is served next; nil: nobody waits, or there are still too many.
    public mutating func leave() -> Ticket? {
        precondition(served > 0, "nobody was served")
        served -= 1
        return next()
    }

    /// One that waited is gone.
    /// - Returns: false: it no longer waits.
    /// - Complexity: O(*n*), where *n* is how many wait.
    public mutating func leave(queue ticket: Ticket) -> Bool {
        guard let place = line[first...].firstIndex(of: ticket) else { return false }
        line.remove(at: place)
        return true
    }

    /// There are more or fewer places from now on. Those that wait beyond the new queue wait on.
    public mutating func change(_ capacity: AppCapacity?) { self.capacity = capacity }

    /// Who may be served now, after a change; call it until it is nil.
    public mutating func next() -> Ticket? {
        guard waiting > 0, served < capacity?.concurrency ?? .max else { return nil }
        let ticket = line[first]
        first += 1
        if first == line.count {
            line.removeAll(keepingCapacity: true)
            first = 0
        } else if first >= 64, first * 2 >= line.count {
            line.removeFirst(first)
            first = 0
        }
        serve()
        return ticket
    }

    private mutating func serve() {
        served += 1
        mostServed = max(mostServed, served)
    }
}
