import CZlib
public import Stats

/// Why bytes are not a compressed histogram.
public enum HistogramCompressionError: Error, Equatable, Sendable {
    /// Fewer bytes than the header has, or another number than it promises.
    case length
    /// The first four bytes are not those of the compressed V2 encoding.
    case unknownCookie(UInt32)
    /// The compressed part is damaged, or too long for a histogram when inflated.
    case damaged
    case histogram(HistogramError)
}

/// HdrHistogram's compressed V2 encoding: a cookie, a length, and the V2 encoding through zlib.
///
/// Source: HdrHistogram, `encodeIntoCompressedByteBuffer` and `decodeFromCompressedByteBuffer`.
extension Histogram {
    static let compressedCookie: UInt32 = 0x1C84_9304 | 0x10
    private static let envelopeSize = 8
    /// Bound: no V2 encoding is longer. A header and 9 bytes for each slot of the largest scale;
    /// what would inflate to more is refused unread.
    static let inflatedLimit = 512 * 1024

    /// The histogram in the compressed V2 encoding.
    public func compressedV2() -> [UInt8] {
        let plain = encodedV2()
        var size = compressBound(uLong(plain.count))
        var deflated = [UInt8](repeating: 0, count: Int(size))
        let status = unsafe compress2(
            &deflated, &size, plain, uLong(plain.count), Z_BEST_COMPRESSION)
        // compressBound is enough for any input: what is left is a lack of memory.
        precondition(status == Z_OK, "zlib: \(status)")
        var bytes = Self.bigEndian(Self.compressedCookie) + Self.bigEndian(UInt32(size))
        bytes += deflated[..<Int(size)]
        return bytes
    }

    /// The histogram that compressed V2 bytes stand for.
    public init(decompressingV2 bytes: [UInt8]) throws(HistogramCompressionError) {
        if bytes.count < Self.envelopeSize { throw .length }
        let cookie = Self.number(bytes[0..<4])
        if cookie & ~0xF0 != Self.compressedCookie & ~0xF0 { throw .unknownCookie(cookie) }
        if Int(Self.number(bytes[4..<8])) != bytes.count - Self.envelopeSize { throw .length }
        let deflated = Array(bytes[Self.envelopeSize...])
        var plain = [UInt8](repeating: 0, count: Self.inflatedLimit)
        var size = uLong(plain.count)
        var read = uLong(deflated.count)
        let status = unsafe uncompress2(&plain, &size, deflated, &read)
        if status != Z_OK || read != deflated.count { throw .damaged }
        do throws(HistogramError) {
            try self.init(decodingV2: Array(plain[..<Int(size)]))
        } catch {
            throw .histogram(error)
        }
    }

    private static func bigEndian(_ number: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }
}
