import Base
import ControlCore
import Posix
import Synchronization

/// How those who listen to etcd speak to the store's thread, and it to them.
final class EtcdInbox: Sendable {
    private struct State {
        var news: [EtcdNews] = []
        var wake: (@Sendable () -> Void)?
    }

    /// Bound: of what waits; whoever brings more waits as well, and etcd with it.
    private static let limit = 1024
    private let state = Mutex(State())
    /// There are news.
    private let arrival: Wakeup
    /// It is over.
    private let end: Wakeup

    init() throws(SystemError) {
        arrival = try Wakeup()
        end = try Wakeup()
    }

    /// Readable once all is to end.
    var stop: Int32 { end.descriptor }

    /// Whom to tell that there are news: called at once where there are, and on other threads.
    func onNews(_ wake: @escaping @Sendable () -> Void) {
        let isWaiting = state.withLock { state in
            state.wake = wake
            return !state.news.isEmpty
        }
        if isWaiting { wake() }
    }

    /// Hands news over; waits while there are too many.
    /// - Returns: false: it is over.
    @discardableResult
    func put(_ news: EtcdNews) -> Bool {
        while true {
            guard !waitReadable([stop], for: .zero)[0] else { return false }
            let (isTaken, wake) = state.withLock { state in
                guard state.news.count < Self.limit else { return (false, state.wake) }
                state.news.append(news)
                return (true, state.news.count == 1 ? state.wake : nil)
            }
            arrival.wake()
            wake?()
            if isTaken { return true }
            _ = waitReadable([stop], for: .milliseconds(10))
        }
    }

    func take() -> [EtcdNews] {
        arrival.clear()
        return state.withLock { state in
            defer { state.news = [] }
            return state.news
        }
    }

    func wait(until deadline: Instant) {
        _ = waitReadable([arrival.descriptor], for: deadline - Clock.now())
    }

    func close() { end.wake() }
}
