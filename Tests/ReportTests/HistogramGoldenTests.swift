import Base
import Report
import Stats
import Testing

/// Against files that the original HdrHistogram wrote: Tests/Fixtures/histograms/Golden.java.
@Suite struct HistogramGoldenTests {
    /// The values of Golden.java.
    static func latencies(_ range: Range<UInt64>) -> Histogram {
        var histogram = Histogram()
        for i in range {
            let spread = (i * i * 7919 + i * 104_729) % 1_000_003
            histogram.record(100_000 + spread)
            if i % 100 == 0 { histogram.record(20_000_000 + 13 * spread) }
            if i % 5000 == 0 { histogram.record(3_000_000_000 + i) }
        }
        return histogram
    }

    @Test func thePercentileTextIsThatOfTheOriginal() throws {
        let golden = try textOfFile(fixture("latency.hgrm"))
        #expect(HistogramText.percentiles(of: Self.latencies(0..<20_000), scale: 1e6) == golden)
    }

    @Test func anEmptyDistributionHasNoLines() {
        let lines = HistogramText.percentiles(of: Histogram()).split(separator: "\n")
        #expect(
            lines == [
                "       Value     Percentile TotalCount 1/(1-Percentile)",
                "#[Mean    =        0.000, StdDeviation   =        0.000]",
                "#[Max     =        0.000, Total count    =            0]",
                "#[Buckets =           32, SubBuckets     =         2048]",
            ])
    }

    @Test func theLogOfTheOriginalIsRead() throws {
        let log = try HistogramLog(reading: textOfFile(fixture("latency.hlog")))
        #expect(log.startTime == 1_700_000_000)
        #expect(log.intervals.count == 4)
        for (second, interval) in log.intervals.enumerated() {
            let first = UInt64(second) * 5000
            #expect(interval.start == Double(second))
            #expect(interval.length == 1)
            #expect(interval.tag == (second % 2 == 1 ? "mesh.base" : nil))
            let expected = second == 3 ? Histogram() : Self.latencies(first..<first + 5000)
            #expect(interval.histogram == expected)
        }
    }

    /// The uncompressed part, byte for byte: zlib may compress as it likes.
    @Test func theEncodingIsThatOfTheOriginal() throws {
        let text = try textOfFile(fixture("latency.hlog"))
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("0.000") })
        let field = try #require(line.split(separator: ",").last)
        let bytes = try #require(Base64.decode(field.utf8))
        let plain = Self.latencies(0..<5000).encodedV2()
        #expect(try Histogram(decompressingV2: bytes).encodedV2() == plain)
        // Cookie, normalizing index offset, digits, lowest, highest, ratio 1.0.
        #expect(plain[0..<4] == [0x1C, 0x84, 0x93, 0x13])
        #expect(plain[8..<24] == [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1])
        #expect(plain[24..<40] == [0, 0, 3, 70, 48, 184, 160, 0, 0x3F, 0xF0, 0, 0, 0, 0, 0, 0])
        #expect(Self.latencies(0..<5000).compressedV2()[..<4] == [0x1C, 0x84, 0x93, 0x14])
    }
}
