// Socket calls on plain descriptors. Interruptions are retried here and nowhere else; what is no
// error of ours (would block, closed, reset) is a value; EBADF and EFAULT would be a bug of ours
// and trap.

public import Base
internal import CShims
public import Glibc

/// What a transfer on a non-blocking socket came to.
@frozen
public enum Transfer: Equatable, Sendable, BitwiseCopyable {
    /// So many bytes moved, 1 or more.
    case bytes(Int)
    /// Nothing can move now.
    case wouldBlock
    /// The peer sent its end (reading only).
    case closed
    /// The connection failed, with this `errno`.
    case failed(Int32)
}

/// What an accept came to.
public enum Acceptance: Equatable, Sendable {
    case connection(Int32, from: SocketAddress)
    case none
    /// Out of descriptors or kernel memory: stop accepting for a while (EMFILE, ENFILE, ENOBUFS,
    /// ENOMEM).
    case exhausted
}

/// Non-blocking TCP sockets.
public enum Socket {
    /// A listener on `address`, non-blocking.
    /// - Parameter sharing: with SO_REUSEPORT, so that each worker has its own queue.
    public static func listen(on address: SocketAddress, sharing: Bool, backlog: Int32 = 4096)
        throws(SystemError) -> Descriptor
    {
        let listener = try make(ipv6: address.isIPv6)
        set(listener.number, SOL_SOCKET, SO_REUSEADDR, 1)
        // Accepted sockets inherit it on Linux, which spares a call for each.
        set(listener.number, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        if sharing { set(listener.number, SOL_SOCKET, SO_REUSEPORT, 1) }
        let bound = unsafe address.withSockaddr { unsafe bind(listener.number, $0, $1) }
        guard bound == 0 else { throw SystemError("bind \(address)") }
        guard Glibc.listen(listener.number, backlog) == 0 else {
            throw SystemError("listen on \(address)")
        }
        return listener
    }

    /// A socket that keeps an address and does not listen: connections to it are refused, the
    /// kernel gives its port to nobody who asks for any (Linux), and whoever sets SO_REUSEADDR may
    /// listen there beside it, now and again.
    public static func hold(_ address: SocketAddress) throws(SystemError) -> Descriptor {
        let holder = try make(ipv6: address.isIPv6)
        set(holder.number, SOL_SOCKET, SO_REUSEADDR, 1)
        let bound = unsafe address.withSockaddr { unsafe bind(holder.number, $0, $1) }
        guard bound == 0 else { throw SystemError("bind \(address)") }
        return holder
    }

    /// Takes one waiting connection of a listener that `listen` made: non-blocking and without
    /// Nagle's delay.
    public static func accept(_ listener: Int32) -> Acceptance {
        var peer = sockaddr_storage()
        while true {
            let socket = unsafe mb_accept(
                listener, &peer, UInt32(MemoryLayout<sockaddr_storage>.size))
            if socket >= 0 {
                guard let address = SocketAddress(peer) else {
                    preconditionFailure("a listener of no address family of ours")
                }
                return .connection(socket, from: address)
            }
            switch errno {
            case EINTR, ECONNABORTED: continue
            case EMFILE, ENFILE, ENOBUFS, ENOMEM: return .exhausted
            default: return .none
            }
        }
    }

    /// Begins to connect. The socket becomes writable when it is settled; `error(of:)` tells how.
    public static func connect(to address: SocketAddress) throws(SystemError) -> Int32 {
        let socket = try make(ipv6: address.isIPv6)
        set(socket.number, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        let result = unsafe address.withSockaddr { unsafe Glibc.connect(socket.number, $0, $1) }
        if result != 0 && errno != EINPROGRESS && errno != EINTR {
            throw SystemError("connect to \(address)")
        }
        return socket.release()
    }

    /// The pending error of a socket, 0 if there is none.
    public static func error(of socket: Int32) -> Int32 {
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        unsafe getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &size)
        return code
    }

    /// The address a socket is bound to.
    public static func localAddress(of socket: Int32) throws(SystemError) -> SocketAddress {
        try unsafe name("getsockname") { unsafe getsockname(socket, $0, $1) }
    }

    /// The address of a connected socket's peer.
    public static func peerAddress(of socket: Int32) throws(SystemError) -> SocketAddress {
        try unsafe name("getpeername") { unsafe getpeername(socket, $0, $1) }
    }

    @inline(__always)
    public static func receive(_ socket: Int32, into memory: UnsafeMutableRawBufferPointer)
        -> Transfer
    {
        while true {
            let n = unsafe recv(socket, memory.baseAddress, memory.count, 0)
            if n > 0 { return .bytes(n) }
            if n == 0 { return .closed }
            if let settled = settle(errno) { return settled }
        }
    }

    /// What the first byte is that waits on a socket.
    public enum FirstByte: Equatable, Sendable {
        case byte(UInt8)
        case none
        case closed
        case failed
    }

    /// Looks at the first byte that waits, and leaves it there.
    public static func peek(_ socket: Int32) -> FirstByte {
        var byte: UInt8 = 0
        while true {
            let n = unsafe recv(socket, &byte, 1, Int32(MSG_PEEK))
            if n > 0 { return .byte(byte) }
            if n == 0 { return .closed }
            switch settle(errno) {
            case .wouldBlock?: return .none
            case nil: continue
            default: return .failed
            }
        }
    }

    /// Moves up to `count` bytes between a socket and a pipe within the kernel.
    static func move(from source: Int32, to sink: Int32, _ count: Int) -> Transfer {
        while true {
            let n = mb_splice(source, sink, count)
            if n > 0 { return .bytes(n) }
            if n == 0 { return .closed }
            if let settled = settle(errno) { return settled }
        }
    }

    @inline(__always)
    public static func send(_ socket: Int32, _ bytes: Bytes) -> Transfer {
        while true {
            let n = unsafe Glibc.send(
                socket, bytes.raw.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if n >= 0 { return .bytes(n) }
            if let settled = settle(errno) { return settled }
        }
    }

    /// Sends several regions in one call.
    /// - Returns: what came of it, and how many bytes there were.
    @inline(__always)
    public static func send(_ socket: Int32, regions count: Int, _ region: (Int) -> Bytes)
        -> (transfer: Transfer, offered: Int)
    {
        unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: count) { vector in
            var offered = 0
            for i in 0..<count {
                let bytes = region(i)
                unsafe vector[i] = iovec(
                    iov_base: UnsafeMutableRawPointer(mutating: bytes.raw.baseAddress),
                    iov_len: bytes.count)
                offered += bytes.count
            }
            return unsafe (send(socket, vector: vector), offered)
        }
    }

    /// Sends the regions of `vector` in one call.
    @inline(__always)
    public static func send(_ socket: Int32, vector: UnsafeMutableBufferPointer<iovec>) -> Transfer
    {
        var message = unsafe msghdr()
        unsafe message.msg_iov = vector.baseAddress
        unsafe message.msg_iovlen = vector.count
        while true {
            let n = unsafe sendmsg(socket, &message, Int32(MSG_NOSIGNAL))
            if n >= 0 { return .bytes(n) }
            if let settled = settle(errno) { return settled }
        }
    }

    static func settle(_ code: Int32) -> Transfer? {
        switch code {
        case EINTR: return nil
        case EAGAIN: return .wouldBlock
        case EBADF, EFAULT, ENOTSOCK:
            preconditionFailure("a socket call on what is no socket: \(code)")
        default: return .failed(code)
        }
    }

    /// Ends the sending side; the peer reads an end.
    public static func endSending(_ socket: Int32) { shutdown(socket, Int32(SHUT_WR)) }

    /// Closes; with `reset` the peer is told at once (RST) and unsent bytes are dropped.
    public static func close(_ socket: Int32, reset: Bool = false) {
        if reset {
            var option = linger(l_onoff: 1, l_linger: 0)
            unsafe setsockopt(
                socket, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        }
        Glibc.close(socket)
    }

    static func make(
        _ type: __socket_type = SOCK_STREAM, ipv6: Bool
    ) throws(SystemError) -> Descriptor {
        let kind = Int32(type.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let socket = Glibc.socket(ipv6 ? AF_INET6 : AF_INET, kind, 0)
        guard socket >= 0 else { throw SystemError("socket") }
        return Descriptor(owning: socket)
    }

    private static func set(_ socket: Int32, _ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        unsafe setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private static func name(
        _ operation: String,
        _ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) throws(SystemError) -> SocketAddress {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = unsafe withUnsafeMutablePointer(to: &storage) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe call($0, &size) }
        }
        guard result == 0 else { throw SystemError(operation) }
        guard let address = SocketAddress(storage) else {
            throw SystemError(operation, code: EAFNOSUPPORT)
        }
        return address
    }
}
