// A blocking TCP connection for tests: what is on the wire, byte by byte, and nothing in between
// that could hide a mistake. Every wait ends at a deadline, so a test fails and does not hang.

public import Base
import Glibc
public import Posix

/// Why a test did not get what it waited for.
public enum WireFailure: Error, Equatable, Sendable {
    /// The peer ended its sending side too early.
    case ended
    /// The connection was reset.
    case reset
    /// Nothing came in time.
    case timedOut
    /// Something else came, or a system call failed.
    case unexpected(String)
}

/// A connected socket. For one thread.
public final class RawConnection {
    public let socket: Int32
    /// Bytes received and not yet taken.
    private var waiting: [UInt8] = []
    private var isOpen = true

    /// How long any single wait lasts at most. Far beyond what a busy machine needs.
    public static let patience = Duration.seconds(20)

    /// Takes over a connected, blocking socket.
    public init(owning socket: Int32) {
        self.socket = socket
        var time = timeval(tv_sec: Int(Self.patience.seconds), tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        unsafe setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, size)
        unsafe setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, size)
    }

    /// Connects.
    public convenience init(to address: SocketAddress) throws(WireFailure) {
        do throws(SystemError) {
            let socket = try Socket.connect(to: address)
            var state = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
            let wait = Int32(Self.patience.milliseconds)
            let settled = unsafe poll(&state, 1, wait) == 1
            let code = settled ? Socket.error(of: socket) : ETIMEDOUT
            // Who accepts and resets at once has accepted: reading finds the end.
            guard code == 0 || code == ECONNRESET else {
                Socket.close(socket)
                throw SystemError("connect to \(address)", code: code)
            }
            _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) & ~O_NONBLOCK)
            self.init(owning: socket)
        } catch {
            throw .unexpected("\(error)")
        }
    }

    deinit { close() }

    /// Sends all of `text`.
    public func send(_ text: String) throws(WireFailure) { try send(Array(text.utf8)) }

    /// Sends all of `bytes`.
    public func send(_ bytes: [UInt8]) throws(WireFailure) {
        var sent = 0
        while sent < bytes.count {
            let n = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.send(
                    socket, $0.baseAddress?.advanced(by: sent), bytes.count - sent,
                    Int32(MSG_NOSIGNAL))
            }
            guard n > 0 else { throw Self.failure(errno) }
            sent += n
        }
    }

    /// Takes everything up to and with `marker`.
    public func read(through marker: String) throws(WireFailure) -> String {
        let pattern = Array(marker.utf8)
        var searched = 0
        while true {
            if waiting.count >= pattern.count {
                for i in searched...(waiting.count - pattern.count)
                where waiting[i..<i + pattern.count].elementsEqual(pattern) {
                    return String(decoding: take(i + pattern.count), as: UTF8.self)
                }
                searched = waiting.count - pattern.count + 1
            }
            guard try receive() else { throw .ended }
        }
    }

    /// Takes exactly `count` bytes.
    public func read(_ count: Int) throws(WireFailure) -> [UInt8] {
        while waiting.count < count { guard try receive() else { throw .ended } }
        return take(count)
    }

    /// Takes everything up to a proper end.
    public func readToEnd() throws(WireFailure) -> [UInt8] {
        while try receive() {}
        return take(waiting.count)
    }

    /// Whether the peer ends, or resets, without sending more.
    public func endsWithoutMore() -> Bool {
        do throws(WireFailure) {
            guard waiting.isEmpty else { return false }
            return try !receive()
        } catch {
            return error == .reset
        }
    }

    /// Takes and forgets `count` bytes, or all up to the end; at constant memory.
    /// - Returns: how many there were.
    public func discard(_ count: Int = .max) throws(WireFailure) -> Int {
        var gone = take(min(count, waiting.count)).count
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while gone < count {
            let n = unsafe recv(socket, &buffer, min(buffer.count, count - gone), 0)
            if n == 0 { break }
            guard n > 0 else { throw Self.failure(errno) }
            gone += n
        }
        return gone
    }

    /// Whether something to read is there already or comes within `time`.
    public func isReadable(within time: Duration) -> Bool {
        !waiting.isEmpty || waitReadable([socket], for: time)[0]
    }

    /// Ends the sending side; the peer reads an end.
    public func endSending() { Socket.endSending(socket) }

    /// Closes; with `reset` the peer's next call fails.
    public func close(reset: Bool = false) {
        guard isOpen else { return }
        isOpen = false
        Socket.close(socket, reset: reset)
    }

    private func take(_ count: Int) -> [UInt8] {
        let taken = Array(waiting[..<count])
        waiting.removeFirst(count)
        return taken
    }

    /// False: the peer has ended its side.
    private func receive() throws(WireFailure) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        let n = unsafe recv(socket, &buffer, buffer.count, 0)
        guard n >= 0 else { throw Self.failure(errno) }
        waiting += buffer[..<n]
        return n > 0
    }

    private static func failure(_ code: Int32) -> WireFailure {
        switch code {
        case EAGAIN: .timedOut
        case ECONNRESET, EPIPE: .reset
        default: .unexpected("\(SystemError("socket", code: code))")
        }
    }
}
