import Glibc

/// Bytes of a child's standard output, cut into lines.
struct LineBuffer {
    /// What a reading came to.
    enum Reading {
        case filled
        case nothing
        case ended
    }

    // Bound: the longest line that a role of ours writes is a load generator's result: a histogram
    // for each phase and each second, a few KiB each. 256 MiB is a day of them.
    private static let capacity = 256 << 20
    private static let chunk = 64 * 1024

    private var bytes: [UInt8] = []
    /// Where the next line begins.
    private var start = 0
    /// Up to where no line feed was found.
    private var searched = 0

    /// The next whole line, without its line feed.
    mutating func take() -> [UInt8]? {
        guard let end = bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) else {
            searched = bytes.count
            return nil
        }
        let line = Array(bytes[start..<end])
        start = end + 1
        searched = start
        return line
    }

    /// What is left after the last line feed; nil if nothing is.
    mutating func takeRest() -> [UInt8]? {
        guard start < bytes.count else { return nil }
        defer { self = LineBuffer() }
        return Array(bytes[start...])
    }

    /// Reads what has come, at most one chunk.
    mutating func fill(from descriptor: Int32) throws(SystemError) -> Reading {
        if start > 0 {
            bytes.removeFirst(start)
            searched -= start
            start = 0
        }
        guard bytes.count < Self.capacity else {
            throw SystemError("read a line of more than \(Self.capacity) bytes", code: EMSGSIZE)
        }
        var buffer = [UInt8](repeating: 0, count: Self.chunk)
        while true {
            let count = unsafe read(descriptor, &buffer, buffer.count)
            if count > 0 {
                bytes += buffer[..<count]
                return .filled
            }
            if count == 0 { return .ended }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .nothing
            case let code: throw SystemError("read from a child", code: code)
            }
        }
    }
}

/// The last `lines` lines of a log, for an error message; none where it cannot be read.
public func tail(of path: String, lines: Int) -> [String] {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return [] }
    defer { close(file) }
    // Bound: the last 16 KiB hold more lines than anyone wants in an error message.
    let size = lseek(file, 0, SEEK_END)
    lseek(file, max(0, size - 16 * 1024), SEEK_SET)
    var buffer = [UInt8](repeating: 0, count: 16 * 1024)
    let count = unsafe read(file, &buffer, buffer.count)
    guard count > 0 else { return [] }
    return buffer[..<count].split(separator: UInt8(ascii: "\n")).suffix(lines)
        .map { String(decoding: $0, as: UTF8.self) }
}
