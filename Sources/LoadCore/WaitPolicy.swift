// How a thread waits for its next instant. The kernel wakes a sleeper late: by the timer's slack,
// by the time to leave an idle state, by the time to get a core. Spinning is exact but burns a core
// that the system under test may need. So the thread sleeps until shortly before the instant and
// spins the rest; "shortly" is what this machine's own lateness, measured as it goes, calls for, up
// to a set limit.

public import Base

/// Decides between sleeping and spinning, and learns how late this machine wakes a sleeper.
public struct WaitPolicy: Sendable {
    /// What to do until an instant.
    public enum Wait: Equatable, Sendable {
        /// It has come.
        case none
        /// Look at the sockets without waiting, then ask again.
        case spin
        /// Sleep until this instant or until a socket is ready, then tell `woke`.
        case sleep(until: Instant)
    }

    /// The longest stretch to spin before an instant.
    public let limit: Duration
    /// The stretch that is spun at present: the measured lateness of wake-ups and a margin.
    public private(set) var stretch: Duration

    /// A wake-up is never assumed to be more exact than this.
    static let least = Duration.microseconds(2)

    /// - Parameter limit: zero: never spin.
    public init(limit: Duration) {
        self.limit = limit
        stretch = limit
    }

    /// How to wait for `due` (nil: for a socket only).
    @inline(__always)
    public func wait(for due: Instant?, now: Instant) -> Wait {
        guard let due else { return .sleep(until: .distantFuture) }
        if due <= now { return .none }
        return due - now <= stretch ? .spin : .sleep(until: due - stretch)
    }

    /// Learns from a sleep that ended by time, not by a socket.
    ///
    /// The stretch follows the high end of the lateness: up by a quarter of the distance where it
    /// was too short, down by a sixty-fourth where it was longer than needed. One late wake-up in
    /// about sixteen then keeps it up, so it settles near the 94th percentile.
    public mutating func woke(at now: Instant, requested: Instant) {
        let late = max(.zero, now - requested)
        let distance = late - stretch
        let step = distance > .zero ? distance / 4 : distance / 64
        stretch = min(limit, max(min(Self.least, limit), stretch + step))
    }
}
