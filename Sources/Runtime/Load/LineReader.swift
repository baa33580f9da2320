import Glibc

/// Lines from a descriptor, one at a time.
public struct LineReader {
    private let descriptor: Int32
    private var buffer: [UInt8] = []
    /// Whether the descriptor has ended.
    public private(set) var ended = false

    /// Bytes in one line; a longer one is treated as the end.
    public static let limit = 16 << 20

    public init(_ descriptor: Int32) { self.descriptor = descriptor }

    /// Whether a whole line is here already.
    public var hasLine: Bool { buffer.contains(UInt8(ascii: "\n")) }

    /// The next line without its end, waiting for it; nil at the end. A last line needs no line
    /// break.
    public mutating func next() -> String? {
        while true {
            if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: buffer[..<end], as: UTF8.self)
                buffer.removeFirst(end + 1)
                return line
            }
            if ended {
                defer { buffer = [] }
                return buffer.isEmpty ? nil : String(decoding: buffer, as: UTF8.self)
            }
            fill()
        }
    }

    private mutating func fill() {
        var piece = [UInt8](repeating: 0, count: 64 * 1024)
        let count = unsafe piece.withUnsafeMutableBytes {
            unsafe read(descriptor, $0.baseAddress, $0.count)
        }
        if count > 0 {
            buffer += piece[..<count]
            if buffer.count > Self.limit { (buffer, ended) = ([], true) }
        } else if count == 0 || errno != EINTR {
            ended = true
        }
    }
}
