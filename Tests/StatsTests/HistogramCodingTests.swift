import Base
import FoundationEssentials
import Stats
import Testing

@Suite struct HistogramCodingTests {
    private let header: [UInt8] = Histogram().encodedV2()

    /// A V2 encoding with these bytes for its counts.
    private func payload(_ counts: [UInt8]) -> [UInt8] {
        var bytes = header + counts
        bytes[6] = UInt8(counts.count >> 8)
        bytes[7] = UInt8(counts.count & 255)
        return bytes
    }

    @Test func jsonIsLossless() throws {
        var histogram = Histogram()
        for value: UInt64 in [0, 1, 999, 5_000_000, 3_600_000_000_000, .max] {
            histogram.record(value, count: value % 7 + 1)
        }
        let json = try JSONEncoder().encode([histogram, Histogram()])
        let decoded = try JSONDecoder().decode([Histogram].self, from: json)
        #expect(decoded == [histogram, Histogram()])
        #expect(decoded[0].clipped == histogram.clipped)
        // A histogram that has been read is recorded into as any other.
        var more = decoded[0]
        more.record(999)
        histogram.record(999)
        #expect(more == histogram)
    }

    @Test(arguments: ["\"\"", "\"AAAA\"", "\"?\"", "1", "\"HISTFAAA\""])
    func jsonThatIsNoHistogram(json: String) {
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(Histogram.self, from: Data(json.utf8))
        }
    }

    @Test(
        arguments: [
            // Runs of zeros in pieces, single zeros within a run, zeros behind the last count.
            [0x01, 0x01, 0x02], [0, 0, 0, 0x02], [0x03, 0, 0x02], [0x05, 0x02, 0, 0],
        ] as [[UInt8]])
    func otherWaysToWriteZerosAreTheSameHistogram(counts: [UInt8]) throws {
        let read = try Histogram(decodingV2: payload(counts))
        var expected = Histogram()
        for bucket in read.buckets { expected.record(bucket.lowest, count: bucket.count) }
        #expect(read.count == 1)
        #expect(read == expected)
    }

    @Test func badPayloads() throws {
        // 2⁶³ - 1 and -2⁶³ in ZigZag LEB128.
        let greatest: [UInt8] = [0xFE] + [UInt8](repeating: 0xFF, count: 8)
        let least = [UInt8](repeating: 0xFF, count: 9)
        var cookie = payload([])
        cookie[3] = 0x14
        var digits = payload([])
        digits[15] = 2
        var lowest = payload([])
        lowest[22] = 3
        var long = payload([0x02])
        long[7] = 9
        let table: [([UInt8], HistogramError)] = [
            ([], .truncated), (Array(header[..<39]), .truncated), (payload([0x80]), .truncated),
            (cookie, .unknownCookie(0x1C84_9314)), (digits, .otherScale(lowest: 1, digits: 2)),
            (lowest, .otherScale(lowest: 769, digits: 3)),
            (long, .length(promised: 9, present: 1)), (payload(greatest), .countTooLarge),
            (payload(least), .tooManySlots),
            // 40 000 zeros, twice.
            (payload([0xFF, 0xF0, 0x04, 0xFF, 0xF0, 0x04]), .tooManySlots),
            // 2⁵³ values, and one more.
            (
                payload([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 0x02]), .countTooLarge
            ),
        ]
        for (bytes, error) in table {
            #expect(throws: error) { try Histogram(decodingV2: bytes) }
        }
        #expect(
            try Histogram(
                decodingV2: payload([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20])
            ).count == Histogram.countLimit)
    }

    /// A count in a slot beyond an hour, as another tool with a longer scale may write it.
    @Test func valuesBeyondTheScaleAreClipped() throws {
        // 40 000 zeros, then 3.
        let read = try Histogram(decodingV2: payload([0xFF, 0xF0, 0x04, 0x06]))
        #expect(read.count == 3)
        #expect(read.clipped == 3)
    }

    @Test func base64() {
        // RFC 4648, section 10.
        let table = [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
        ]
        for (plain, text) in table {
            #expect(Base64.encode(Array(plain.utf8)) == text)
            #expect(Base64.decode(text.utf8) == Array(plain.utf8))
        }
        for text in ["Z", "Zg", "Zg=", "Zg=a", "=g==", "Zm9v\n", "Zh==", "Zm9=", "Zm 9", "===="] {
            #expect(Base64.decode(text.utf8) == nil, "\(text)")
        }
        let every = (0...255).map { UInt8($0) }
        #expect(Base64.decode(Base64.encode(every).utf8) == every)
    }
}
