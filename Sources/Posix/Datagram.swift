public import Base
import Glibc

/// Non-blocking UDP sockets.
public enum Datagram {
    /// What came of looking for a datagram.
    public enum Arrival: Equatable, Sendable {
        /// So many bytes, which may be none; what the memory had no room for is lost.
        case bytes(Int, from: SocketAddress)
        case wouldBlock
        /// An error of the socket's, which it is rid of now.
        case failed(Int32)
    }

    /// A socket that takes datagrams for `address`.
    public static func bind(to address: SocketAddress) throws(SystemError) -> Descriptor {
        let socket = try Socket.make(SOCK_DGRAM, ipv6: address.isIPv6)
        let bound = unsafe address.withSockaddr { unsafe Glibc.bind(socket.number, $0, $1) }
        guard bound == 0 else { throw SystemError("bind \(address), UDP") }
        return socket
    }

    /// A socket that sends to `address`, from a port that the kernel draws at random, and takes
    /// datagrams of nobody else. `Socket.send` sends on it.
    public static func connect(to address: SocketAddress) throws(SystemError) -> Int32 {
        let socket = try Socket.make(SOCK_DGRAM, ipv6: address.isIPv6)
        let result = unsafe address.withSockaddr { unsafe Glibc.connect(socket.number, $0, $1) }
        guard result == 0 else { throw SystemError("connect to \(address), UDP") }
        return socket.release()
    }

    /// Takes a datagram.
    public static func receive(
        _ socket: Int32, into memory: UnsafeMutableRawBufferPointer
    ) -> Arrival {
        while true {
            var source = sockaddr_storage()
            var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let count = unsafe withUnsafeMutablePointer(to: &source) {
                unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe recvfrom(socket, memory.baseAddress, memory.count, 0, $0, &size)
                }
            }
            if count >= 0 {
                guard let address = SocketAddress(source) else {
                    preconditionFailure("a datagram of no address family of ours")
                }
                return .bytes(count, from: address)
            }
            switch Socket.settle(errno) {
            case nil: continue
            case .failed(let code): return .failed(code)
            default: return .wouldBlock
            }
        }
    }

    /// Sends a datagram on a socket that `bind` made.
    public static func send(_ socket: Int32, _ bytes: Bytes, to address: SocketAddress) -> Transfer
    {
        while true {
            let count = unsafe address.withSockaddr {
                unsafe sendto(
                    socket, bytes.raw.baseAddress, bytes.count, Int32(MSG_NOSIGNAL), $0, $1)
            }
            if count >= 0 { return .bytes(count) }
            if let settled = Socket.settle(errno) { return settled }
        }
    }
}
