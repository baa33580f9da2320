// Protocol buffers by hand, as far as the workload's own messages need them: numbers, bytes and
// messages within messages (protobuf.dev, "Encoding").

public import Base

/// One field of a message.
@frozen
public struct ProtobufField: Equatable, Sendable {
    @frozen
    public enum Value: Equatable, Sendable {
        /// A number, whatever it was coded as.
        case number(UInt64)
        /// A string, bytes, or a message: where they stand.
        case bytes(Range<Int>)
    }

    /// 1 or more.
    public var number: Int
    public var value: Value
}

/// Reads the fields of a message in place, in the order in which they stand.
@frozen
public struct ProtobufReader {
    private let bytes: Bytes
    private var position = 0
    private var failed = false

    public init(_ bytes: Bytes) { self.bytes = bytes }

    /// Whether all that was read so far was as it should be.
    public var isWellFormed: Bool { !failed }

    /// The next field; nil at the end, or where something is no field.
    public mutating func next() -> ProtobufField? {
        guard !failed, position < bytes.count else { return nil }
        guard let key = varint(), key >> 3 > 0, key >> 3 < 1 << 29 else { return fail() }
        let number = Int(key >> 3)
        switch key & 7 {
        case 0:
            guard let value = varint() else { return fail() }
            return ProtobufField(number: number, value: .number(value))
        case 1: return fixed(number, 8)
        case 5: return fixed(number, 4)
        case 2:
            guard let count = varint(), count <= UInt64(bytes.count - position) else {
                return fail()
            }
            let start = position
            position += Int(count)
            return ProtobufField(number: number, value: .bytes(start..<position))
        // Groups have long been gone.
        default: return fail()
        }
    }

    private mutating func fixed(_ number: Int, _ count: Int) -> ProtobufField? {
        guard bytes.count - position >= count else { return fail() }
        var value: UInt64 = 0
        for index in (0..<count).reversed() { value = value << 8 | UInt64(bytes[position + index]) }
        position += count
        return ProtobufField(number: number, value: .number(value))
    }

    private mutating func fail() -> ProtobufField? {
        failed = true
        return nil
    }

    /// Seven bits a byte, the lowest first; ten bytes at most, of the last one bit.
    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), through: 63, by: 7) {
            guard position < bytes.count else { return nil }
            let byte = bytes[position]
            position += 1
            if shift == 63, byte > 1 { return nil }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        return nil
    }
}

/// Makes a message. Allocates: for what is made once, or seldom.
public struct ProtobufWriter {
    public private(set) var bytes: [UInt8] = []

    public init() {}

    /// Appends a number.
    public mutating func append(_ number: Int, _ value: Int) {
        varint(UInt64(number) << 3)
        varint(UInt64(bitPattern: Int64(value)))
    }

    /// Appends a string, bytes, or a message that was made.
    public mutating func append(_ number: Int, bytes value: [UInt8]) {
        varint(UInt64(number) << 3 | 2)
        varint(UInt64(value.count))
        bytes += value
    }

    public mutating func append(_ number: Int, text: String) {
        append(number, bytes: Array(text.utf8))
    }

    /// Appends a message that `write` makes.
    public mutating func append(_ number: Int, _ write: (inout ProtobufWriter) -> Void) {
        var inner = ProtobufWriter()
        write(&inner)
        append(number, bytes: inner.bytes)
    }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}

/// How long things get, for whoever says a length before what it is the length of.
public enum ProtobufSize {
    /// Bytes of a number.
    public static func varint(_ value: Int) -> Int {
        (max(1, UInt64.bitWidth - UInt64(value).leadingZeroBitCount) + 6) / 7
    }

    /// Bytes of a field that holds so many bytes.
    /// - Precondition: `number` is less than 2²⁸.
    public static func field(_ number: Int, _ count: Int) -> Int {
        varint(number << 3) + varint(count) + count
    }
}

extension ByteWriter {
    /// Appends what stands in front of a field of so many bytes.
    public mutating func append(protobuf number: Int, count: Int) {
        append(varint: UInt64(number) << 3 | 2)
        append(varint: UInt64(count))
    }

    /// Appends a field of bytes.
    public mutating func append(protobuf number: Int, _ bytes: Bytes) {
        append(protobuf: number, count: bytes.count)
        append(bytes)
    }

    /// Appends a number as protocol buffers code it.
    public mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(rest))
    }
}
