// What the workers of one process of the workload have in common, and share with the thread that
// takes leases on faults.

import Base
import Fault
import Model
import Posix
import Synchronization

/// What the workers of one process share.
final class AppCommons: Sendable {
    let counters = AppCounters()
    let filler = AppFiller()
    let board = AppFaultBoard()
    let gate: AppGate
    let attempts = AppAttempts()
    let ledger = AppLineCounts()
    let requestLog = AppLineCounts()

    private let inboxes = Mutex<[AppInbox]>([])

    init(_ behaviour: AppBehaviour) { gate = AppGate(behaviour.capacity) }

    /// The next worker's.
    func register(_ inbox: AppInbox) { inboxes.withLock { $0.append(inbox) } }

    /// Lets a request know that its turn has come.
    func post(_ ticket: AppTicket) {
        inboxes.withLock { $0[Int(ticket.worker)] }.send(ticket)
    }

    /// Has all workers look at what has changed.
    func wake() { for inbox in inboxes.withLock({ $0 }) { inbox.wake() } }
}

/// How others speak to a worker.
final class AppInbox: Sendable {
    private let wakeup: Wakeup
    private let called = Mutex<[AppTicket]>([])
    private let hasCalled = Atomic(false)

    init() throws(SystemError) { wakeup = try Wakeup() }

    var descriptor: Int32 { wakeup.descriptor }
    func wake() { wakeup.wake() }
    func clear() { wakeup.clear() }

    func send(_ ticket: AppTicket) {
        called.withLock { $0.append(ticket) }
        hasCalled.store(true, ordering: .releasing)
        wakeup.wake()
    }

    func take() -> [AppTicket] {
        guard hasCalled.exchange(false, ordering: .acquiring) else { return [] }
        return called.withLock { tickets in
            defer { tickets = [] }
            return tickets
        }
    }
}

/// The faults that the process holds.
final class AppFaultBoard: Sendable {
    private let held = Mutex<[HeldFault]>([])
    /// Rises with each change, so that a worker looks only then.
    let version = Atomic<UInt64>(0)

    var faults: [HeldFault] { held.withLock { $0 } }

    func show(_ faults: [HeldFault]) {
        held.withLock { $0 = faults }
        version.add(1, ordering: .releasing)
    }
}

/// A request that waits for its turn, or has it.
struct AppTicket: Equatable, BitwiseCopyable, Sendable {
    var worker: Int32
    var exchange: Int32
    /// Tells it from others of the same exchange; never 0.
    var number: UInt32
}

/// The capacity of the process: whom of all its workers' requests are worked on, and who waits.
final class AppGate: Sendable {
    private let place: Mutex<CapacityQueue<AppTicket>>
    private let standard: AppCapacity?
    /// Whether there is a capacity. Who was let in while there was one has a ticket.
    private let active: Atomic<Bool>

    init(_ capacity: AppCapacity?) {
        standard = capacity
        place = Mutex(CapacityQueue(capacity))
        active = Atomic(capacity != nil)
    }

    /// Whether requests have to ask at all.
    var isActive: Bool { active.load(ordering: .relaxed) }

    func enter(_ ticket: AppTicket) -> CapacityQueue<AppTicket>.Entry {
        place.withLock { $0.enter(ticket) }
    }

    /// One that was let in is done, or gone.
    /// - Returns: who has its turn now.
    func leave() -> AppTicket? { place.withLock { $0.leave() } }

    /// One that waited is gone.
    /// - Returns: false: it has been called already, and finds out.
    func leave(queue ticket: AppTicket) -> Bool { place.withLock { $0.leave(queue: ticket) } }

    /// Has another capacity hold; nil: the process's own.
    /// - Returns: who has its turn now.
    func change(_ capacity: AppCapacity?) -> [AppTicket] {
        place.withLock { place in
            place.change(capacity ?? standard)
            active.store(place.capacity != nil, ordering: .relaxed)
            var called: [AppTicket] = []
            while let ticket = place.next() { called.append(ticket) }
            return called
        }
    }

    var json: String {
        place.withLock { place in
            "{\"now\":\(place.served),\"max\":\(place.mostServed),\"waiting\":\(place.waiting),"
                + "\"max_waiting\":\(place.mostWaiting),\"refused\":\(place.refused)}"
        }
    }
}

/// How often requests have come, by their identifiers, where no proxy counts.
final class AppAttempts: Sendable {
    private struct Table: Sendable {
        var counts: [UInt64: Int] = [:]
        /// In the order in which they came. Bound: `AppAttempts.most`; the oldest is forgotten.
        var order: [UInt64] = []
        var next = 0
    }

    private static let most = 4096
    private let table = Mutex(Table())

    /// One more has come.
    /// - Returns: how many there were, this one included.
    func count(_ request: UInt64) -> Int {
        table.withLock { table in
            if let count = table.counts[request] {
                table.counts[request] = count + 1
                return count + 1
            }
            table.counts[request] = 1
            if table.order.count < Self.most {
                table.order.append(request)
            } else {
                table.counts[table.order[table.next]] = nil
                table.order[table.next] = request
                table.next = (table.next + 1) % Self.most
            }
            return 1
        }
    }
}

/// Lines of a log of all workers together.
final class AppLineCounts: Sendable {
    private let writtenCount = Atomic<UInt64>(0)
    private let lostCount = Atomic<UInt64>(0)

    var written: UInt64 { writtenCount.load(ordering: .relaxed) }
    var lost: UInt64 { lostCount.load(ordering: .relaxed) }
    func noteWritten() { writtenCount.add(1, ordering: .relaxed) }
    func noteLost(_ lines: Int) { lostCount.add(UInt64(lines), ordering: .relaxed) }
}
