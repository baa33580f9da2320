import Base

/// Bytes that wait to be sent, in the order in which they came. Small pieces are put together, so
/// that many of them go out in one call; large ones stay as they came.
struct ServiceOutput {
    private var pieces: [[UInt8]] = []
    /// How much of the first piece is gone.
    private var offset = 0
    private(set) var count = 0

    private static let pieceBytes = 16 * 1024

    var isEmpty: Bool { count == 0 }

    mutating func append(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        count += bytes.count
        let last = pieces.count - 1
        if last >= 0, pieces[last].count + bytes.count <= Self.pieceBytes {
            pieces[last] += bytes
        } else {
            pieces.append(bytes)
        }
    }

    mutating func append(_ bytes: Bytes) { append(unsafe Array(bytes.raw)) }
    mutating func append(_ text: String) { append(Array(text.utf8)) }

    /// Calls `body` with the first bytes that stand together; none where there are none.
    func withFirst<R>(_ body: (Bytes) -> R) -> R {
        guard let first = pieces.first else { return body(Bytes("")) }
        return first.withBytes { body($0[offset..<$0.count]) }
    }

    /// Forgets the first bytes.
    mutating func drop(_ n: Int) {
        precondition(n >= 0 && n <= count, "more was dropped than there was")
        count -= n
        offset += n
        var gone = 0
        while gone < pieces.count, offset >= pieces[gone].count {
            offset -= pieces[gone].count
            gone += 1
        }
        pieces.removeFirst(gone)
    }

    /// Moves the first bytes, `n` at most, to the end of `other`.
    mutating func move(_ n: Int, to other: inout ServiceOutput) {
        var left = min(n, count)
        while left > 0 {
            let taken = withFirst { first in
                let size = min(first.count, left)
                other.append(first[0..<size])
                return size
            }
            drop(taken)
            left -= taken
        }
    }

    mutating func removeAll() { self = ServiceOutput() }
}
