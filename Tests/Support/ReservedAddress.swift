public import Posix

/// A loopback address that nobody listens on, and that the kernel gives to nobody else while this
/// value lives: connections to it are refused. A process that is told of it may listen there, with
/// SO_REUSEADDR.
public final class ReservedAddress: Sendable {
    public let address: SocketAddress
    private let holder: Descriptor

    public init() throws(SystemError) {
        holder = try Socket.hold(.loopback(port: 0))
        address = try Socket.localAddress(of: holder.number)
    }
}
