import Posix

/// A port of the loopback that nobody else is given while this lives, whether or not a process
/// listens there: who is told it may start, end and start again.
///
/// Beside it only those can listen who set SO_REUSEADDR, as our own roles and Envoy do. For others
/// it has to go right before they start.
final class HeldPort {
    let number: UInt16
    private let holder: Descriptor

    init() throws(RigError) {
        do throws(SystemError) {
            holder = try Socket.hold(.loopback(port: 0))
            number = try Socket.localAddress(of: holder.number).port
        } catch {
            throw RigError(.start, "no port can be held: \(error)")
        }
    }

    /// `host:port`.
    var address: String { "127.0.0.1:\(number)" }
}
