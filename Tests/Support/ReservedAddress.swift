import Glibc
public import Posix

/// A loopback address that nobody listens on, and that the kernel gives to nobody else while this
/// value lives: connections to it are refused. A process that is told of it may listen there, with
/// SO_REUSEADDR.
public final class ReservedAddress: Sendable {
    public let address: SocketAddress
    /// Owned.
    private let socket: Int32

    public init() throws(SystemError) {
        // A socket that is bound and does not listen leaves its port to others of SO_REUSEADDR, and
        // is passed over where a port is chosen for a connection (Linux).
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        let socket = Glibc.socket(AF_INET, kind, 0)
        guard socket >= 0 else { throw SystemError("socket") }
        self.socket = socket
        var on: Int32 = 1
        unsafe setsockopt(
            socket, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        var any = sockaddr_in()
        any.sin_family = sa_family_t(AF_INET)
        any.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        let bound = unsafe withUnsafePointer(to: &any) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard bound == 0 else { throw SystemError("bind") }
        address = try Socket.localAddress(of: socket)
    }

    deinit { close(socket) }
}
