internal import CShims
import Glibc

/// A pipe through which bytes pass from socket to socket within the kernel (splice(2)). A plain
/// value: whoever has it closes it.
public struct TransferPipe: Sendable, BitwiseCopyable {
    /// Where bytes come out; -1: not open.
    public private(set) var exit: Int32 = -1
    /// Where bytes go in; -1: not open.
    public private(set) var entry: Int32 = -1

    /// One that is not open.
    public init() {}

    /// Opens one that takes `size` bytes, or fewer if the system says so; nil: there is none to be
    /// had.
    public init?(size: Int) {
        guard unsafe mb_sized_pipe(&exit, &entry, Int32(clamping: size)) == 0 else { return nil }
    }

    public var isOpen: Bool { entry >= 0 }

    public func close() {
        _ = Glibc.close(exit)
        _ = Glibc.close(entry)
    }

    /// Moves up to `count` bytes from a socket into the pipe. That would block when the socket is
    /// empty, and when the pipe is full.
    public func take(_ count: Int, from socket: Int32) -> Transfer {
        Socket.move(from: socket, to: entry, count)
    }

    /// Moves up to `count` bytes from the pipe into a socket.
    public func give(_ count: Int, to socket: Int32) -> Transfer {
        Socket.move(from: exit, to: socket, count)
    }
}
