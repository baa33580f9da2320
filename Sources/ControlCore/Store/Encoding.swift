// Whole numbers in the store's files are of fixed size and little-endian; lengths stand before what
// they measure.

import Base

extension [UInt8] {
    mutating func append<Number: FixedWidthInteger>(number: Number) {
        unsafe Swift.withUnsafeBytes(of: number.littleEndian) { unsafe append(contentsOf: $0) }
    }
}

/// Reads what stands in memory, front to back. What is not there is nil, and never read.
struct ByteReader {
    private let bytes: Bytes
    /// How far it has read.
    private(set) var offset: Int

    init(_ bytes: Bytes, from offset: Int = 0) {
        self.bytes = bytes
        self.offset = offset
    }

    var isAtEnd: Bool { offset == bytes.count }

    mutating func number<Number: FixedWidthInteger>(_: Number.Type = Number.self) -> Number? {
        guard let field = view(MemoryLayout<Number>.size) else { return nil }
        return unsafe Number(littleEndian: field.raw.loadUnaligned(as: Number.self))
    }

    mutating func array(_ count: Int) -> [UInt8]? {
        guard let field = view(count) else { return nil }
        return unsafe Array(field.raw)
    }

    mutating func view(_ count: Int) -> Bytes? {
        guard count <= bytes.count - offset else { return nil }
        defer { offset += count }
        return bytes[offset..<offset + count]
    }
}
