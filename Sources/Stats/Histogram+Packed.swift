// The counts of HdrHistogram's V2 encoding: each count as a ZigZag LEB128 number, each run of two
// or more zeros as one negative number. A histogram of a second of traffic takes a byte or two for
// each bucket.

/// ZigZag LEB128 in at most 9 bytes: seven bits in each of the first eight, all of the ninth.
///
/// Source: HdrHistogram, `ZigZagEncoding`.
enum ZigZag {
    static func append(_ number: Int64, to bytes: inout [UInt8]) {
        var rest = UInt64(bitPattern: (number << 1) ^ (number >> 63))
        for _ in 0..<8 {
            if rest < 0x80 { break }
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    /// The number that begins at `position`, which moves behind it; nil: the bytes end within it.
    static func read(_ bytes: [UInt8], at position: inout Int) -> Int64? {
        var value: UInt64 = 0
        for index in 0..<9 {
            guard position < bytes.count else { return nil }
            let byte = UInt64(bytes[position])
            position += 1
            let last = index == 8
            value |= (last ? byte : byte & 0x7F) << UInt64(7 * index)
            if last || byte < 0x80 { break }
        }
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }
}

/// A walk along packed counts that this module has written or checked.
struct PackedCounts {
    private let bytes: [UInt8]
    private var position = 0
    private var slot = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func nextOccupied() -> (slot: Int, times: UInt64)? {
        while let number = ZigZag.read(bytes, at: &position) {
            if number > 0 {
                slot += 1
                return (slot - 1, UInt64(number))
            }
            // A single zero is written as 0, a run as its negated length.
            slot += number == 0 ? 1 : Int(-number)
        }
        return nil
    }
}

extension Histogram {
    /// The counts up to the last occupied slot, packed. One form for each content.
    func packedCounts() -> [UInt8] { dense == nil ? packed : Self.pack(occupiedSlots).bytes }

    static func pack(
        _ occupied: some Sequence<(slot: Int, times: UInt64)>
    ) -> (bytes: [UInt8], total: UInt64) {
        var bytes: [UInt8] = []
        var total: UInt64 = 0
        var next = 0
        for (slot, times) in occupied {
            let zeros = slot - next
            if zeros > 0 { ZigZag.append(zeros == 1 ? 0 : Int64(-zeros), to: &bytes) }
            precondition(times <= UInt64(Int64.max), "\(times) values in one slot")
            ZigZag.append(Int64(times), to: &bytes)
            total &+= times
            next = slot + 1
        }
        return (bytes, total)
    }
}
