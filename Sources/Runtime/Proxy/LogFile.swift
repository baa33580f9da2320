import Base
import Glibc
import Posix

/// The access log's file, opened for appending, so that workers may share it line by line.
struct LogFile: ~Copyable {
    private let descriptor: Int32
    private let isOwned: Bool

    /// - Parameter path: `-` is standard output; nil: no log, so no file.
    init?(_ path: String?) throws(SystemError) {
        guard let path else { return nil }
        if path == "-" {
            descriptor = STDOUT_FILENO
            isOwned = false
            return
        }
        let number = unsafe open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
        guard number >= 0 else { throw SystemError("open \(path)") }
        descriptor = number
        isOwned = true
    }

    deinit { if isOwned { close(descriptor) } }

    /// Writes all of `bytes`, which are whole lines. A full disk loses them: serving goes on.
    ///
    /// A file takes any amount in one piece (O_APPEND), a pipe only so much (pipe(7)): lines go
    /// there in groups that fit, so that those of several workers do not mix.
    borrowing func write(_ bytes: Bytes) {
        guard !isOwned else { return writeAll(bytes) }
        var start = 0
        var end = 0
        for i in 0..<bytes.count where bytes[i] == UInt8(ascii: "\n") {
            if i + 1 - start > Int(PIPE_BUF), end > start {
                writeAll(bytes[start..<end])
                start = end
            }
            end = i + 1
        }
        writeAll(bytes[start..<bytes.count])
    }

    private borrowing func writeAll(_ bytes: Bytes) {
        var rest = bytes
        while rest.count > 0 {
            let n = unsafe Glibc.write(descriptor, rest.raw.baseAddress, rest.count)
            if n > 0 { rest = rest[n..<rest.count] } else if n < 0 && errno != EINTR { return }
        }
    }
}

/// A line for the operator, on standard error.
func standardError(_ line: String) {
    let bytes = Array("meshbench: \(line)\n".utf8)
    unsafe _ = bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
