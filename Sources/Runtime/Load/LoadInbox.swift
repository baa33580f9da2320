// What the threads of a load run and the thread that runs them tell each other. Touched a few times
// in a run and once a second by each thread: never for a request.

import Base
import LoadCore
import Posix
import Secure
import Synchronization

/// Shared by the threads of one load run.
final class LoadInbox: Sendable {
    /// What the threads are to do: wait until there is a start, go on until they are stopped. Two
    /// fields, so that a stop right behind the start does not hide it: a thread that was told to
    /// begin owes a result.
    struct Order: Sendable {
        var start: Instant?
        var isStopped = false
    }

    /// How opening the connections went on one thread.
    struct Settlement: Sendable {
        /// The first target without an open connection.
        var unreached: Int?
        /// Connections that could not be opened, and the last reason.
        var failed = 0
        var code: Int32 = 0
        /// Why it could not be secured, if that was the last reason.
        var failure: TLSFailure?
        /// Why the peer would not speak what was asked for, if that was a reason.
        var refusal: HandshakeRefusal?
    }

    /// All that a thread has seen.
    struct ThreadEnd: Sendable {
        var tallies: [LoadResult.PhaseTally]
        var due: [LoadResult.DueTally]
        var usage: LoadResult.ThreadUsage
        var partial: Bool
        /// Of the whole schedule; from the first thread only.
        var hashes: ScheduleHashes?
        var openFailures: OpenFailures
    }

    struct State: Sendable {
        var order = Order()
        /// Of the threads whose connections are open, or could not be opened.
        var settled: [Settlement] = []
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

    func settled(_ settlement: Settlement) {
        state.withLock { $0.settled.append(settlement) }
        news.wakeup.wake()
    }

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

    func begin(at start: Instant) { give { $0.start = start } }

    func stop() { give { $0.isStopped = true } }

    private func give(_ change: (inout Order) -> Void) {
        state.withLock { change(&$0.order) }
        for waker in wakeups { waker.wakeup.wake() }
    }

    func read<R: Sendable>(_ body: (inout sending State) -> sending R) -> R {
        state.withLock { body(&$0) }
    }
}
