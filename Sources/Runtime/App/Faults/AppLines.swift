import Base
import Posix

/// The lines that one worker writes to a file, which it shares with the others.
final class AppLines {
    // Bound: what may wait for the end of the turn, or for a reader that is slow. A line that does
    // not fit is counted and lost.
    private static let capacity = 256 * 1024
    private let file: LogFile
    private let counts: AppLineCounts
    private var waiting: [UInt8] = []

    /// - Returns: nil: there is no file to write.
    init?(_ path: String?, _ counts: AppLineCounts) throws(SystemError) {
        guard let path, let file = try LogFile(path) else { return nil }
        self.file = file
        self.counts = counts
        waiting.reserveCapacity(Self.capacity)
    }

    var isEmpty: Bool { waiting.isEmpty }

    /// Takes a line of up to `size` bytes, its end included.
    func append(atMost size: Int, _ write: (inout ByteWriter) -> Void) {
        guard waiting.count + size <= Self.capacity else { return counts.noteLost(1) }
        unsafe withUnsafeTemporaryAllocation(byteCount: size, alignment: 1) { memory in
            var out = unsafe ByteWriter(memory)
            write(&out)
            precondition(!out.overflowed, "a line outgrew its bound")
            unsafe waiting.append(contentsOf: memory[..<out.count])
        }
        counts.noteWritten()
    }

    /// Writes what waits, as far as it is taken at once.
    func flush() {
        guard !waiting.isEmpty else { return }
        let written = waiting.withBytes { file.write($0) }
        if written.lost > 0 { counts.noteLost(written.lost) }
        waiting.removeFirst(written.taken)
    }

    /// Writes the last lines. Bound: whoever reads none for a second gets no more.
    func finish() {
        while !waiting.isEmpty, file.waitUntilWritable() { flush() }
    }
}
