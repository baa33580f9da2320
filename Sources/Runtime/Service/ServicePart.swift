import Base
import Posix

/// Something with sockets of its own on a service's thread, beside the listeners. A turn of it is
/// one of theirs (see `ServiceLoop`).
protocol ServicePart: AnyObject {
    /// Has its sockets watched. Called once, before anything else. Its tokens have no bit in common
    /// with those of others: see `ServicePartMark`.
    func attach(to reactor: Reactor, now: Instant) throws(SystemError)
    /// When the next turn is due at the latest; nil: when something comes.
    var deadline: Instant? { get }
    func begin(_ now: Instant)
    /// - Returns: false: it is not one of its own.
    func handle(_ readiness: Readiness) -> Bool
    func end()
}

/// Which bits tell the tokens of parts from those of listeners, which have bit 63, and of the
/// inbox, which is 0.
enum ServicePartMark {
    static let dns: UInt64 = 1 << 61
    static let health: UInt64 = 1 << 60
}

/// What a service is made of, ready to begin.
struct ServiceSetup {
    /// One or two.
    var listeners: [ServiceListener]
    var parts: [any ServicePart] = []
}
