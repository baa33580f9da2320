// A connection of a client that has nothing else to do than to wait for it: every wait ends at a
// deadline.

import Base
import Glibc
import Posix
import Secure

/// A connected socket, secured or not. For one thread.
@safe
final class ServiceClientSocket {
    /// What came of waiting for the peer.
    enum Arrival {
        /// Valid until the next call.
        case bytes(Bytes)
        /// The peer has ended its side in order.
        case ended
        /// The other descriptor became readable first.
        case stopped
    }

    // Safety: owned from `init` to `deinit`.
    private let memory: UnsafeMutableRawBufferPointer
    private let socket: Descriptor
    private var tls: TLSSocket?

    private static let memoryBytes = 64 * 1024

    /// Connects to the first of the addresses that takes the connection.
    /// - Parameter patience: for each of the addresses.
    init(
        to addresses: [SocketAddress], patience: Duration
    ) throws(ServiceClientError.Cause) {
        socket = try Self.connect(to: addresses, patience: patience)
        unsafe memory = .allocate(byteCount: Self.memoryBytes, alignment: 64)
    }

    deinit {
        tls?.close(on: socket.number)
        unsafe memory.deallocate()
    }

    private static func connect(
        to addresses: [SocketAddress], patience: Duration
    ) throws(ServiceClientError.Cause) -> Descriptor {
        var failure = SystemError("connect", code: EADDRNOTAVAIL)
        for address in addresses {
            do throws(SystemError) {
                let socket = Descriptor(owning: try Socket.connect(to: address))
                let isSettled = waitWritable(socket.number, for: patience)
                let code = isSettled ? Socket.error(of: socket.number) : ETIMEDOUT
                if code == 0 { return socket }
                failure = SystemError("connect to \(address)", code: code)
            } catch {
                failure = error
            }
        }
        throw .unreachable(failure)
    }

    /// Secures the connection.
    func secure(
        _ session: TLSSession, until deadline: Instant
    ) throws(ServiceClientError.Cause) {
        let tls = TLSSocket(session, scratch: TLSScratch())
        while true {
            switch tls.handshake(on: socket.number) {
            case .done:
                self.tls = tls
                return
            case .failed(let error): throw .unsecured(error)
            case .wantsMore: break
            }
            guard deadline > Clock.now() else { throw .unsecured(TLSError(.handshakeTimeout)) }
            _ = waitReadable([socket.number], for: deadline - Clock.now())
        }
    }

    /// Sends all of it.
    /// - Returns: false: the peer takes no more; it may have answered all the same.
    func send(_ bytes: Bytes, until deadline: Instant) throws(ServiceClientError.Cause) -> Bool {
        var rest = bytes
        while rest.count > 0 {
            switch tls?.send(rest, to: socket.number) ?? Socket.send(socket.number, rest) {
            case .bytes(let count): rest = rest[count..<rest.count]
            case .wouldBlock:
                guard deadline > Clock.now() else { throw .timedOut }
                _ = waitWritable(socket.number, for: deadline - Clock.now())
            case .closed, .failed: return false
            }
        }
        return true
    }

    /// Waits for more.
    /// - Parameter stop: a descriptor whose readability ends the wait; negative: none.
    func receive(
        until deadline: Instant, stop: Int32 = -1
    ) throws(ServiceClientError.Cause) -> Arrival {
        // Whoever says much is not to keep from stopping.
        if stop >= 0, waitReadable([stop], for: .zero)[0] { return .stopped }
        while true {
            let transfer =
                unsafe tls?.receive(from: socket.number, into: memory, ended: false)
                ?? Socket.receive(socket.number, into: memory)
            switch transfer {
            case .bytes(let count):
                return unsafe .bytes(Bytes(UnsafeRawBufferPointer(rebasing: memory[..<count])))
            case .closed: return .ended
            case .failed(let code):
                guard let failure = tls?.failure else {
                    throw code == ECONNRESET ? .cut : .broken(SystemError("receive", code: code))
                }
                throw failure == .truncated ? .cut : .unsecured(TLSError(failure))
            case .wouldBlock: break
            }
            let left = deadline - Clock.now()
            guard left > .zero else { throw .timedOut }
            if waitReadable([socket.number, stop], for: left)[1] { return .stopped }
        }
    }
}
