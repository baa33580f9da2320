import Fault
import Model
import Posix
import ProxyCore
import Synchronization

/// How other threads speak to a worker: the one lock of the proxy, and it is not on the request
/// path.
final class Mailbox: Sendable {
    enum Message: Sendable {
        case reload(ProxyConfiguration, ProxyContexts)
        case faults([HeldFault])
        case drain
    }

    private struct State {
        var messages: [Message] = []
        var counters: Counters?
        var counts: TrafficCounts?
    }

    private let state = Mutex(State())
    private let wakeup: Wakeup

    init() throws(SystemError) { wakeup = try Wakeup() }

    var descriptor: Int32 { wakeup.descriptor }

    func send(_ message: Message) {
        state.withLock { $0.messages.append(message) }
        wakeup.wake()
    }

    func take() -> [Message] {
        wakeup.clear()
        return state.withLock { state in
            defer { state.messages = [] }
            return state.messages
        }
    }

    /// The worker's counters, for whoever adds them up.
    func publish(_ counters: Counters, _ counts: TrafficCounts) {
        state.withLock { state in
            state.counters = counters
            state.counts = counts
        }
    }

    var counters: Counters? { state.withLock { $0.counters } }

    /// What it counts by name.
    var counts: TrafficCounts? { state.withLock { $0.counts } }
}
