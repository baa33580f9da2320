import Base
import Glibc
import Posix

/// The access log's file, opened for appending, so that workers may share it line by line.
struct LogFile: ~Copyable {
    private let descriptor: Int32
    private let isOwned: Bool
    private let isFile: Bool

    /// - Parameter path: `-` is standard output; nil: no log, so no file.
    init?(_ path: String?) throws(SystemError) {
        guard let path else { return nil }
        if path == "-" {
            // Opened anew, so that not to wait concerns this use alone and not whoever shares the
            // pipe or the terminal. A socket cannot be opened: it is written to as it is.
            let number = unsafe open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC)
            descriptor = number >= 0 ? number : STDOUT_FILENO
            isOwned = number >= 0
            isFile = false
            return
        }
        let number = unsafe open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard number >= 0 else { throw SystemError("open \(path)") }
        descriptor = number
        isOwned = true
        isFile = true
    }

    deinit { if isOwned { close(descriptor) } }

    /// Writes `bytes`, which are whole lines. What a full disk does not hold, or a reader of the
    /// pipe does not take in time, is lost: serving goes on.
    ///
    /// A file takes any amount in one piece (O_APPEND), a pipe only so much (pipe(7)): lines go
    /// there in groups that fit, so that those of several workers do not mix.
    /// - Returns: how many lines were lost, whole or in part.
    borrowing func write(_ bytes: Bytes) -> Int {
        guard !isFile else { return writeAll(bytes) }
        var lost = 0
        var start = 0
        var end = 0
        for i in 0..<bytes.count where bytes[i] == UInt8(ascii: "\n") {
            if i + 1 - start > Int(PIPE_BUF), end > start {
                lost += writeAll(bytes[start..<end])
                start = end
            }
            end = i + 1
        }
        return lost + writeAll(bytes[start..<bytes.count])
    }

    private borrowing func writeAll(_ bytes: Bytes) -> Int {
        var rest = bytes
        while rest.count > 0 {
            let n = unsafe Glibc.write(descriptor, rest.raw.baseAddress, rest.count)
            if n > 0 {
                rest = rest[n..<rest.count]
            } else if n < 0 && errno != EINTR {
                return (0..<rest.count).count { rest[$0] == UInt8(ascii: "\n") }
            }
        }
        return 0
    }
}

/// A line for the operator, on standard error.
func standardError(_ line: String) {
    let bytes = Array("meshbench: \(line)\n".utf8)
    unsafe _ = bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
