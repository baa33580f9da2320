import Base
import Wire

/// The `date` field of the present second, made once and copied into every answer that needs one
/// (RFC 9110, 6.6.1).
struct DateLine {
    private var line: [UInt8] = []
    private var second: Int64 = -1

    /// Bytes of the line, CR LF included.
    static let count = 37

    /// Makes the line anew if a second has passed.
    /// - Parameter wallOffset: CLOCK_REALTIME less the clock of `now`, nanoseconds; nil: the time
    ///   of day is not known, and the line stays empty.
    mutating func refresh(now: Instant, wallOffset: Int64?) {
        guard let wallOffset else { return }
        let present = max(0, now.nanoseconds + wallOffset) / 1_000_000_000
        guard present != second else { return }
        second = present
        if line.isEmpty { line = [UInt8](repeating: 0, count: Self.count) }
        unsafe line.withUnsafeMutableBytes {
            var writer = unsafe ByteWriter($0)
            writer.append("date: ")
            writer.append(httpDate: present)
            writer.append("\r\n")
        }
    }

    /// The clock was set: the line is of no use any more.
    mutating func forget() { second = -1 }

    /// There is no date to give.
    var isEmpty: Bool { line.isEmpty }

    /// The date alone, without the field's name.
    func appendValue(to writer: inout ByteWriter) {
        line.withBytes { if $0.count == Self.count { writer.append($0[6..<Self.count - 2]) } }
    }

    func append(to writer: inout ByteWriter) { line.withBytes { writer.append($0) } }
}
