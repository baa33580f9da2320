// The state of one connection and of the request on it, and the lists that connections stand in. A
// connection is a slot: its number stays, while sockets come and go.

import Base

/// One connection of a generator thread. A plain value in a slab.
struct Connection: BitwiseCopyable {
    /// Which of its target's lists the connection stands in.
    enum State: UInt8, BitwiseCopyable {
        case closed
        case opening
        /// Open, without a request.
        case free
        /// A request is on it.
        case busy
    }

    var state = State.closed
    var target: Int32
    /// Neighbours in the list; -1: none.
    var next: Int32 = -1
    var previous: Int32 = -1
    /// Whether the peer has ended its side: no further request goes out on it.
    var peerEnded = false
    /// Requests answered since it was opened.
    var served = 0
    /// When the attempt to open it began.
    var openingSince = Instant.zero

    // The request.
    var phase: Int32 = 0
    /// Whether all its bytes are with the kernel.
    var written = false
    var firstByteSeen = false
    /// Whether it waited for a connection, and since when.
    var waited = false
    var takenUp = Instant.zero
    var intended = Instant.zero
    var sent = Instant.zero
    var answer = AnswerState()

    init(target: Int) { self.target = Int32(target) }
}

/// A list of connections in the order in which they were appended, linked through their slots.
struct ConnectionList: Sendable {
    private(set) var first: Int32 = -1
    private var last: Int32 = -1
    private(set) var count = 0

    mutating func append(_ slot: Int, in connections: Slab<Connection>) {
        connections[slot].next = -1
        connections[slot].previous = last
        if last >= 0 {
            connections[Int(last)].next = Int32(slot)
        } else {
            first = Int32(slot)
        }
        last = Int32(slot)
        count &+= 1
    }

    mutating func remove(_ slot: Int, in connections: Slab<Connection>) {
        let next = connections[slot].next
        let previous = connections[slot].previous
        if previous >= 0 {
            connections[Int(previous)].next = next
        } else {
            first = next
        }
        if next >= 0 {
            connections[Int(next)].previous = previous
        } else {
            last = previous
        }
        count &-= 1
    }
}

/// A planned request that found no free connection.
struct WaitingRequest: BitwiseCopyable {
    var intended: Instant
    /// When it was taken up.
    var takenUp: Instant
    var phase: Int32
}

/// Requests that wait for a connection, in the order of their intended instants; bounded.
struct WaitingQueue: Sendable {
    private let ring: Slab<WaitingRequest>
    private var head = 0
    private(set) var count = 0

    init(capacity: Int) {
        let none = WaitingRequest(intended: .zero, takenUp: .zero, phase: 0)
        ring = Slab(count: capacity, repeating: none)
    }

    func deallocate() { ring.deallocate() }

    var first: WaitingRequest? { count == 0 ? nil : ring[head] }

    /// Takes in a request; false if the queue is full.
    mutating func append(_ request: WaitingRequest) -> Bool {
        if count == ring.count { return false }
        var place = head &+ count
        if place >= ring.count { place &-= ring.count }
        ring[place] = request
        count &+= 1
        return true
    }

    mutating func popFirst() -> WaitingRequest? {
        if count == 0 { return nil }
        let request = ring[head]
        head = head &+ 1 == ring.count ? 0 : head &+ 1
        count &-= 1
        return request
    }
}

/// What a target's requests and connections are doing on one thread. A connection stands in exactly
/// one of the lists.
struct TargetState: Sendable {
    var closed = ConnectionList()
    var opening = ConnectionList()
    var free = ConnectionList()
    /// In the order of the intended instants, so that the first is the first to time out.
    var busy = ConnectionList()
    var waiting: WaitingQueue

    mutating func move(_ slot: Int, to state: Connection.State, in connections: Slab<Connection>) {
        switch connections[slot].state {
        case .closed: closed.remove(slot, in: connections)
        case .opening: opening.remove(slot, in: connections)
        case .free: free.remove(slot, in: connections)
        case .busy: busy.remove(slot, in: connections)
        }
        enter(slot, state, in: connections)
    }

    /// Puts a connection that stands in no list into that of `state`.
    mutating func enter(_ slot: Int, _ state: Connection.State, in connections: Slab<Connection>) {
        connections[slot].state = state
        switch state {
        case .closed: closed.append(slot, in: connections)
        case .opening: opening.append(slot, in: connections)
        case .free: free.append(slot, in: connections)
        case .busy: busy.append(slot, in: connections)
        }
    }
}
