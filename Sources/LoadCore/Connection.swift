// The state of one connection and of the requests on it, and the lists that they stand in. A
// connection is a number that stays, while sockets come and go. It carries `Speech.places` requests
// at once, each in a slot of its own: slot `connection * places + place`.

import Base

/// One connection of a generator thread. A plain value in a slab.
struct Connection: BitwiseCopyable, Linked {
    /// Which of its target's lists the connection stands in.
    enum State: UInt8, BitwiseCopyable {
        case closed
        /// Being connected, or in the handshake of what it is to speak.
        case opening
        case open
    }

    var state = State.closed
    var target: Int32
    var next: Int32 = -1
    var previous: Int32 = -1
    /// Whether no further request goes out on it, and it ends behind the last.
    var retiring = false
    /// Whether an action to write on it has not been taken yet.
    var writeAsked = false
    /// Raised when it is closed.
    var generation: UInt32 = 0
    /// Requests put on it since it was opened.
    var carried = 0
    /// Slots whose request waits for its answer, and slots that its answer alone sets free.
    var busy: Int32 = 0
    var blocked: Int32 = 0
    /// Slots that are not idle, and how many may be for all that its peer has said. More are while
    /// requests are under way that it let be so before.
    var offered: Int32 = 0
    var allowed: Int32 = 0
    /// The phase of the last request put on it.
    var phase: Int32 = 0
    /// When the attempt to open it began.
    var openingSince = Instant.zero

    init(target: Int) { self.target = Int32(target) }
}

/// One request of those that a connection carries at once.
struct RequestSlot: BitwiseCopyable, Linked {
    enum State: UInt8, BitwiseCopyable {
        /// Its connection takes no request. In no list.
        case idle
        case free
        /// A request is in it.
        case busy
        /// Its request was given up, and the answer would be taken for another's: in no list until
        /// that has come.
        case blocked
    }

    var state = State.idle
    var next: Int32 = -1
    var previous: Int32 = -1

    var phase: Int32 = 0
    /// Which request it is.
    var number: UInt64 = 0
    /// Whether its first byte was offered to the kernel.
    var isSent = false
    var firstByteSeen = false
    /// Whether it waited for a slot, and since when.
    var waited = false
    var takenUp = Instant.zero
    var intended = Instant.zero
    var sent = Instant.zero
}

/// What stands in a list linked through the elements of a slab.
protocol Linked: BitwiseCopyable {
    /// Neighbours in the list; -1: none.
    var next: Int32 { get set }
    var previous: Int32 { get set }
}

/// Elements of a slab in the order in which they were appended, linked through themselves.
struct LinkedList<Element: Linked>: Sendable {
    private(set) var first: Int32 = -1
    private var last: Int32 = -1
    private(set) var count = 0

    mutating func append(_ index: Int, in elements: Slab<Element>) {
        elements[index].next = -1
        elements[index].previous = last
        if last >= 0 {
            elements[Int(last)].next = Int32(index)
        } else {
            first = Int32(index)
        }
        last = Int32(index)
        count &+= 1
    }

    mutating func remove(_ index: Int, in elements: Slab<Element>) {
        let next = elements[index].next
        let previous = elements[index].previous
        if previous >= 0 {
            elements[Int(previous)].next = next
        } else {
            first = next
        }
        if next >= 0 {
            elements[Int(next)].previous = previous
        } else {
            last = previous
        }
        count &-= 1
    }
}

/// What a target's requests and connections are doing on one thread. A connection stands in exactly
/// one of the first three lists.
struct TargetState: Sendable {
    var closed = LinkedList<Connection>()
    var opening = LinkedList<Connection>()
    var open = LinkedList<Connection>()
    /// Slots.
    var free = LinkedList<RequestSlot>()
    /// Slots in the order of the intended instants, so that the first is the first to time out.
    var busy = LinkedList<RequestSlot>()
    var waiting: WaitingQueue

    mutating func move(
        _ connection: Int, to state: Connection.State, in connections: Slab<Connection>
    ) {
        switch connections[connection].state {
        case .closed: closed.remove(connection, in: connections)
        case .opening: opening.remove(connection, in: connections)
        case .open: open.remove(connection, in: connections)
        }
        enter(connection, state, in: connections)
    }

    /// Puts a connection that stands in no list into that of `state`.
    mutating func enter(
        _ connection: Int, _ state: Connection.State, in connections: Slab<Connection>
    ) {
        connections[connection].state = state
        switch state {
        case .closed: closed.append(connection, in: connections)
        case .opening: opening.append(connection, in: connections)
        case .open: open.append(connection, in: connections)
        }
    }

    mutating func move(
        slot: Int, to state: RequestSlot.State, in slots: Slab<RequestSlot>
    ) {
        switch slots[slot].state {
        case .free: free.remove(slot, in: slots)
        case .busy: busy.remove(slot, in: slots)
        case .idle, .blocked: break
        }
        slots[slot].state = state
        switch state {
        case .free: free.append(slot, in: slots)
        case .busy: busy.append(slot, in: slots)
        case .idle, .blocked: break
        }
    }
}
