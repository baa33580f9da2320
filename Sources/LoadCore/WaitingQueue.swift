import Base

/// A planned request that found no free slot.
struct WaitingRequest: BitwiseCopyable {
    var intended: Instant
    /// When it was taken up.
    var takenUp: Instant
    var phase: Int32
    var number: UInt32
}

/// Requests that wait for a slot, in the order of their intended instants; bounded.
struct WaitingQueue: Sendable {
    private let ring: Slab<WaitingRequest>
    private var head = 0
    private(set) var count = 0

    init(capacity: Int) {
        let none = WaitingRequest(intended: .zero, takenUp: .zero, phase: 0, number: 0)
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
