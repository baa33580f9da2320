import Base

/// CRC-32C (Castagnoli): finds every burst of up to 32 bits and, in frames up to some hundred
/// megabytes, every double error.
///
/// Source: RFC 3720, section 12.1 and appendix B.4; eight bytes at a time as in Kounavis and Berry,
/// "Novel table lookup-based algorithms for high-performance CRC generation", 2008.
struct Checksum {
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var value = UInt32(byte)
            for _ in 0..<8 { value = value & 1 == 0 ? value >> 1 : value >> 1 ^ 0x82F6_3B78 }
            tables[byte] = value
        }
        for index in 256..<tables.count {
            let before = tables[index - 256]
            tables[index] = before >> 8 ^ tables[Int(before & 0xFF)]
        }
        return tables
    }()

    private var state = UInt32.max

    /// The sum of what was added.
    var value: UInt32 { ~state }

    mutating func add(_ bytes: Bytes) {
        var state = state
        var index = 0
        unsafe Self.tables.withUnsafeBufferPointer { tables in
            while index &+ 8 <= bytes.count {
                var word = bytes.word(at: index) ^ UInt64(state)
                state = 0
                for table in stride(from: 7 * 256, through: 0, by: -256) {
                    unsafe state ^= tables[table &+ Int(word & 0xFF)]
                    word >>= 8
                }
                index &+= 8
            }
            while index < bytes.count {
                let place = Int(UInt8(truncatingIfNeeded: state) ^ bytes[index])
                unsafe state = state >> 8 ^ tables[place]
                index &+= 1
            }
        }
        self.state = state
    }

    mutating func add(_ bytes: [UInt8]) { bytes.withBytes { add($0) } }

    /// The sum of `bytes`.
    static func of(_ bytes: Bytes) -> UInt32 {
        var sum = Checksum()
        sum.add(bytes)
        return sum.value
    }
}
