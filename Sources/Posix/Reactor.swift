// One epoll instance for one thread. Registration is edge-triggered and for both directions at
// once, so that a connection costs one epoll_ctl in its life; whoever is told "readable" reads
// until a short read.
//
// Each registration carries a token of the owner's: by convention the slot's number in the low half
// and its generation in the high half, so that an event left over for a slot that has been reused
// in the same turn is recognized and dropped.

public import Base
public import CShims
import Glibc

/// What is ready on one descriptor.
@frozen
public struct Readiness: Sendable, BitwiseCopyable {
    public let token: UInt64
    @usableFromInline let events: UInt32

    @inlinable init(token: UInt64, events: UInt32) {
        self.token = token
        self.events = events
    }

    /// Something to read: bytes, an end, or an error.
    @inlinable public var readable: Bool {
        events & (UInt32(MB_EPOLL_IN) | UInt32(MB_EPOLL_RDHUP) | failure) != 0
    }
    @inlinable public var writable: Bool { events & (UInt32(MB_EPOLL_OUT) | failure) != 0 }
    /// The peer has ended its sending side, or the connection failed: read to the end whatever the
    /// length.
    @inlinable public var ended: Bool { events & (UInt32(MB_EPOLL_RDHUP) | failure) != 0 }
    /// The connection failed, or both sides have ended.
    @inlinable public var failed: Bool { events & failure != 0 }
    /// The connection failed: the peer has reset it.
    @inlinable public var broken: Bool { events & UInt32(MB_EPOLL_ERR) != 0 }

    @inlinable var failure: UInt32 {
        UInt32(MB_EPOLL_ERR) | UInt32(MB_EPOLL_HUP)
    }
}

/// Waits for descriptors to become ready. For one thread, apart from `wake`.
@safe
public final class Reactor {
    private let epoll: Descriptor
    private let events: Slab<mb_event>
    /// Events taken in one turn. Bound: what one turn of the loop handles before it looks at timers
    /// again.
    public static let batch = 256

    public init() throws(SystemError) {
        let number = mb_epoll_create()
        guard number >= 0 else { throw SystemError("epoll_create1") }
        epoll = Descriptor(owning: number)
        events = Slab(count: Self.batch, repeating: mb_event())
    }

    deinit { events.deallocate() }

    /// Watches a connection for both directions, edge-triggered.
    public func add(_ descriptor: Int32, token: UInt64) throws(SystemError) {
        let events =
            UInt32(MB_EPOLL_IN) | UInt32(MB_EPOLL_OUT)
            | UInt32(MB_EPOLL_RDHUP) | UInt32(MB_EPOLL_EDGE)
        guard mb_epoll_add(epoll.number, descriptor, events, token) == 0 else {
            throw SystemError("epoll_ctl add")
        }
    }

    /// Watches a listener, pipe, timer or event counter for reading, level-triggered.
    public func add(reading descriptor: Int32, token: UInt64) throws(SystemError) {
        guard mb_epoll_add(epoll.number, descriptor, UInt32(MB_EPOLL_IN), token) == 0
        else {
            throw SystemError("epoll_ctl add")
        }
    }

    /// Stops watching. Closing a descriptor does so by itself.
    public func remove(_ descriptor: Int32) { _ = mb_epoll_remove(epoll.number, descriptor) }

    /// Waits until something is ready or `deadline` has come, and returns how many descriptors are
    /// ready.
    /// - Parameters:
    ///   - deadline: nil: for ever; at or before `now`: does not wait.
    public func wait(until deadline: Instant?, now: Instant) -> Int {
        let timeout = deadline.map { max(0, ($0 - now).nanoseconds) } ?? -1
        let n = unsafe withUnsafeMutablePointer(to: &events[0]) {
            unsafe mb_epoll_wait(epoll.number, $0, Int32(Self.batch), timeout)
        }
        return max(0, Int(n))  // Only a signal makes it -1; then nothing was ready.
    }

    /// The `index`th of what the last `wait` found.
    @inline(__always)
    public func ready(_ index: Int) -> Readiness {
        let event = events[index]
        return Readiness(token: event.token, events: event.events)
    }
}

/// Wakes a reactor from another thread.
public struct Wakeup: ~Copyable, Sendable {
    private let counter: Int32

    public init() throws(SystemError) {
        counter = mb_event_counter()
        guard counter >= 0 else { throw SystemError("eventfd") }
    }

    deinit { close(counter) }

    /// The descriptor to watch for reading.
    public var descriptor: Int32 { counter }

    /// Makes the descriptor readable. From any thread.
    public func wake() { mb_event_counter_add(counter) }

    /// Makes the descriptor unreadable again.
    public func clear() {
        mb_event_counter_clear(counter)
    }
}
