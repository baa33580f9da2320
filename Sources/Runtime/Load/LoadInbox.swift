// What the threads of a load run and the thread that runs them tell each other. Touched a few times
// in a run and once a second by each thread: never for a request.

import Base
import LoadCore
import Posix
import Synchronization

/// Shared by the threads of one load run.
final class LoadInbox: Sendable {
    /// What a thread is to do.
    enum Order: Sendable {
        case wait
        case begin(Instant)
        case stop
    }

    /// All that a thread has seen.
    struct ThreadEnd: Sendable {
        var tallies: [LoadResult.PhaseTally]
        var usage: LoadResult.ThreadUsage
        var partial: Bool
        /// Of the whole schedule; from the first thread only.
        var hashes: ScheduleHashes?
    }

    struct State: Sendable {
        var order = Order.wait
        /// Threads whose connections are open, or could not be opened.
        var settled = 0
        var unreached: Int?
        var connectError: Int32 = 0
        var failure: SystemError?
        /// By thread: seconds not yet taken.
        var seconds: [[LoadResult.SecondTally]]
        var ends: [ThreadEnd] = []
    }

    private let state: Mutex<State>
    private let wakeups: [Waker]
    private let news: Waker

    /// A noncopyable wake-up that an array can hold.
    private final class Waker: Sendable {
        let wakeup: Wakeup
        init() throws(SystemError) { wakeup = try Wakeup() }
    }

    init(threads: Int) throws(SystemError) {
        state = Mutex(State(seconds: Array(repeating: [], count: threads)))
        var wakers: [Waker] = []
        for _ in 0..<threads { wakers.append(try Waker()) }
        wakeups = wakers
        news = try Waker()
    }

    // MARK: For the threads

    func descriptor(of thread: Int) -> Int32 { wakeups[thread].wakeup.descriptor }
    func clear(_ thread: Int) { wakeups[thread].wakeup.clear() }
    var order: Order { state.withLock { $0.order } }

    func settled(unreached: Int?) {
        state.withLock {
            $0.settled += 1
            if let unreached { $0.unreached = unreached }
        }
        news.wakeup.wake()
    }

    /// Keeps why a connection could not be opened, for the message.
    func note(connectError: Int32) { state.withLock { $0.connectError = connectError } }

    func post(_ seconds: [LoadResult.SecondTally], from thread: Int) {
        state.withLock { $0.seconds[thread] += seconds }
        news.wakeup.wake()
    }

    func finish(_ end: ThreadEnd) {
        state.withLock { $0.ends.append(end) }
        news.wakeup.wake()
    }

    func fail(_ error: SystemError) {
        state.withLock { $0.failure = error }
        news.wakeup.wake()
    }

    // MARK: For the thread that runs them

    /// Readable when the state has changed.
    var newsDescriptor: Int32 { news.wakeup.descriptor }
    func clearNews() { news.wakeup.clear() }

    func give(_ order: Order) {
        state.withLock { $0.order = order }
        for waker in wakeups { waker.wakeup.wake() }
    }

    func read<R: Sendable>(_ body: (inout sending State) -> sending R) -> R {
        state.withLock { body(&$0) }
    }
}
