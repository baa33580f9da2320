import Base
import Glibc
import Posix

/// The access log's file, opened for appending, so that workers may share it line by line.
struct LogFile: ~Copyable {
    private let descriptor: Int32
    private let isOwned: Bool
    /// A file on a disk, which takes any amount in one piece.
    private let isFile: Bool

    /// - Parameter path: `-` is standard output; nil: no log, so no file.
    /// - Throws: what `open(2)` says of the path; that of a pipe nobody reads is among it.
    init?(_ path: String?) throws(SystemError) {
        guard let path else { return nil }
        // Standard output is opened anew, so that not to wait, and to append, concern this use
        // alone and not whoever shares it. A socket cannot be opened: it is written to as it is.
        let isOutput = path == "-"
        let flags = O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC
        let number =
            isOutput
            ? unsafe open("/proc/self/fd/1", flags) : unsafe open(path, flags | O_CREAT, 0o644)
        guard number >= 0 || isOutput else { throw SystemError("open \(path)") }
        descriptor = number >= 0 ? number : STDOUT_FILENO
        isOwned = number >= 0
        var status = stat()
        unsafe isFile = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    deinit { if isOwned { close(descriptor) } }

    /// What came of a write.
    struct Written {
        /// Bytes that need not be offered again.
        var taken = 0
        /// Lines among them that could not be written, whole or in part.
        var lost = 0
    }

    /// Writes `bytes`, which are whole lines, as far as they are taken at once. What a full disk
    /// does not hold is lost: serving goes on.
    ///
    /// A file takes any amount in one piece (O_APPEND), a pipe only so much (pipe(7)): lines go
    /// there in groups that fit, so that those of several workers do not mix.
    borrowing func write(_ bytes: Bytes) -> Written {
        var written = Written()
        while written.taken < bytes.count {
            let rest = bytes[written.taken..<bytes.count]
            let group = isFile ? rest : rest[0..<Self.atomic(rest)]
            let n = unsafe Glibc.write(descriptor, group.raw.baseAddress, group.count)
            if n > 0 {
                written.taken += n
            } else if n < 0, errno == EAGAIN {
                break
            } else if n < 0, errno != EINTR {
                written.lost = (0..<rest.count).count { rest[$0] == UInt8(ascii: "\n") }
                written.taken = bytes.count
            }
        }
        return written
    }

    /// How many bytes of whole lines go into a pipe in one piece; at least one line.
    private static func atomic(_ bytes: Bytes) -> Int {
        var end = 0
        while let line = bytes.firstIndex(of: UInt8(ascii: "\n"), from: end) {
            if line + 1 > Int(PIPE_BUF), end > 0 { break }
            end = line + 1
        }
        return end > 0 ? end : bytes.count
    }

    /// Waits until more is taken, a second at most.
    borrowing func waitUntilWritable() -> Bool {
        var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        while true {
            let count = unsafe poll(&state, 1, 1000)
            if count >= 0 || errno != EINTR { return count == 1 }
        }
    }
}

/// A line for the operator, on standard error.
func standardError(_ line: String) {
    let bytes = Array("meshbench: \(line)\n".utf8)
    unsafe _ = bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
