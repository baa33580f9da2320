import Base

/// Why bytes are not a histogram that this program can hold.
public enum HistogramError: Error, Equatable, Sendable {
    /// The bytes end before the histogram does.
    case truncated
    /// The first four bytes are not those of the V2 encoding.
    case unknownCookie(UInt32)
    /// The header promises another number of bytes than there are.
    case length(promised: Int, present: Int)
    /// Another lowest discernible value or number of digits than `Histogram.Scale` has, a shifted
    /// array, or values that are not whole numbers.
    case otherScale(lowest: UInt64, digits: Int)
    /// Counts beyond the greatest value that any scale can track.
    case tooManySlots
    /// More than `Histogram.countLimit` values.
    case countTooLarge
    /// Text that is not base64.
    case notBase64
}

/// The HdrHistogram V2 encoding, uncompressed: a header of 40 bytes, big-endian, and packed counts.
///
/// Source: HdrHistogram, `AbstractHistogram.encodeIntoByteBuffer` and `decodeFromByteBuffer`.
extension Histogram {
    /// The most values that a histogram is decoded with: whole numbers up to here are exact as
    /// `Double`, and a thousand such histograms merge without overflow.
    public static let countLimit: UInt64 = 1 << 53

    static let cookie: UInt32 = 0x1C84_9303 | 0x10
    private static let headerSize = 40
    /// The slots of a scale with the highest trackable value that a header can state, 2⁶³ - 1.
    private static let foreignSlots = 54 * Scale.subBuckets / 2

    /// The histogram in the V2 encoding, uncompressed.
    public func encodedV2() -> [UInt8] {
        let counts = packedCounts()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.headerSize + counts.count)
        Self.append(Self.cookie, to: &bytes)
        Self.append(UInt32(counts.count), to: &bytes)
        // The normalizing index offset: the array is not shifted.
        Self.append(UInt32(0), to: &bytes)
        Self.append(UInt32(Scale.digits), to: &bytes)
        Self.append(Scale.lowest, to: &bytes)
        Self.append(Scale.highest, to: &bytes)
        // The ratio of values to the numbers stored.
        Self.append((1.0).bitPattern, to: &bytes)
        bytes += counts
        return bytes
    }

    /// The histogram that V2 bytes stand for, packed.
    ///
    /// Any highest trackable value is taken; values above `Scale.highest` are counted as clipped,
    /// as if they had been recorded here.
    public init(decodingV2 bytes: [UInt8]) throws(HistogramError) {
        var header = BigEndian(bytes)
        // The high half of the word-size byte differs between writers.
        let cookie = UInt32(try header.next(4))
        if cookie & ~0xF0 != Self.cookie & ~0xF0 { throw .unknownCookie(cookie) }
        let length = Int(try header.next(4))
        let offset = try header.next(4)
        let digits = Int(try header.next(4))
        let lowest = try header.next(8)
        _ = try header.next(8)
        let ratio = Double(bitPattern: try header.next(8))
        if lowest != Scale.lowest || digits != Scale.digits || offset != 0 || ratio != 1 {
            throw .otherScale(lowest: lowest, digits: digits)
        }
        let present = bytes.count - Self.headerSize
        if length != present { throw .length(promised: length, present: present) }
        try self.init(checking: Array(bytes[Self.headerSize...]))
    }

    /// The histogram that packed counts of unknown origin stand for.
    private init(checking bytes: [UInt8]) throws(HistogramError) {
        var occupied: [(slot: Int, times: UInt64)] = []
        var clipped: UInt64 = 0
        var total: UInt64 = 0
        var slot = 0
        var position = 0
        let highest = Scale.slot(of: Scale.highest)
        while position < bytes.count {
            guard let number = ZigZag.read(bytes, at: &position) else { throw .truncated }
            if number > 0 {
                let times = UInt64(number)
                if times > Self.countLimit - total { throw .countTooLarge }
                total += times
                if slot <= highest { occupied.append((slot, times)) } else { clipped += times }
            }
            // Compared before negating: the least Int64 has no positive counterpart.
            if number < -Int64(Self.foreignSlots) { throw .tooManySlots }
            slot += number < 0 ? Int(-number) : 1
            if slot > Self.foreignSlots { throw .tooManySlots }
        }
        if clipped > 0 { occupied.append((Scale.clippedSlot, clipped)) }
        self.init()
        (packed, self.total) = Self.pack(occupied)
    }

    private static func append(_ number: some FixedWidthInteger, to bytes: inout [UInt8]) {
        for shift in stride(from: number.bitWidth - 8, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }

    private struct BigEndian {
        private let bytes: [UInt8]
        private var position = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        mutating func next(_ size: Int) throws(HistogramError) -> UInt64 {
            if bytes.count - position < size { throw .truncated }
            defer { position += size }
            return bytes[position..<position + size].reduce(0) { $0 << 8 | UInt64($1) }
        }
    }
}

extension Histogram: Codable {
    /// Base64 of `encodedV2()`.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(Base64.encode(encodedV2()))
    }

    /// Throws `DecodingError`, with a `HistogramError` underneath, for text that is not a
    /// histogram.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        do throws(HistogramError) {
            guard let bytes = Base64.decode(text.utf8) else { throw .notBase64 }
            try self.init(decodingV2: bytes)
        } catch {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: container.codingPath, debugDescription: "no histogram: \(error)",
                    underlyingError: error))
        }
    }
}
