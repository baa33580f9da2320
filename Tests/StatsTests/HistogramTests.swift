import Base
import Stats
import Testing

@Suite struct HistogramTests {
    @Test(
        arguments: [
            // (value, slot, lowest of the slot, width), as Python hdrhistogram 0.10.8 has them.
            (0, 0, 0, 1), (1, 1, 1, 1), (2047, 2047, 2047, 1), (2048, 2048, 2048, 2),
            (2049, 2048, 2048, 2), (4095, 3071, 4094, 2), (4096, 3072, 4096, 4),
            (1_000_000, 11169, 999_936, 512),
            (3_600_000_000_000, 33420, 3_599_182_594_048, 1 << 31),
        ] as [(UInt64, Int, UInt64, UInt64)])
    func scale(value: UInt64, slot: Int, lowest: UInt64, width: UInt64) {
        #expect(Histogram.Scale.slot(of: value) == slot)
        #expect(Histogram.Scale.lowest(ofSlot: slot) == lowest)
        #expect(Histogram.Scale.width(ofSlot: slot) == width)
    }

    @Test func everySlotBeginsWhereTheOneBeforeEnds() {
        for slot in 0..<Histogram.Scale.slots {
            let lowest = Histogram.Scale.lowest(ofSlot: slot)
            let highest = Histogram.Scale.highest(ofSlot: slot)
            let before = slot == 0 ? 0 : Histogram.Scale.highest(ofSlot: slot - 1) + 1
            #expect(lowest == before)
            #expect(Histogram.Scale.slot(of: lowest) == slot)
            #expect(Histogram.Scale.slot(of: highest) == slot)
            // 3 significant digits.
            #expect(Double(highest - lowest) <= Double(lowest) / 1000)
        }
        #expect(Histogram.Scale.slots * 8 == 264 * 1024)
        #expect(Histogram.Scale.slot(of: Histogram.Scale.highest) < Histogram.Scale.clippedSlot)
    }

    @Test func anEmptyHistogramAnswersZero() {
        let empty = Histogram()
        #expect(empty.count == 0)
        #expect(empty.min == 0)
        #expect(empty.max == 0)
        #expect(empty.mean == 0)
        #expect(empty.standardDeviation == 0)
        #expect(empty.value(atQuantile: 0.5) == 0)
        #expect(empty.percentiles().isEmpty)
        #expect(Array(empty.buckets).isEmpty)
    }

    /// The ranks of HdrHistogram 2.2: the least whole number of values that is at least q · n.
    @Test(
        arguments: [
            (0, 1), (0.001, 1), (0.01, 1), (0.0101, 2), (0.5, 50), (0.505, 51), (0.99, 99),
            (0.991, 100), (1, 100),
        ] as [(Double, UInt64)])
    func quantilesOfOneToHundred(quantile: Double, expected: UInt64) {
        var histogram = Histogram()
        for value in 1...100 { histogram.record(UInt64(value)) }
        #expect(histogram.value(atQuantile: quantile) == expected)
        #expect(histogram.compacted().value(atQuantile: quantile) == expected)
    }

    @Test func momentsOfOneToHundred() {
        var histogram = Histogram()
        for value in 1...100 { histogram.record(UInt64(value)) }
        #expect(histogram.mean == 50.5)
        #expect(abs(histogram.standardDeviation - 28.866_070_047_722_12) < 1e-12)
        #expect(histogram.min == 1)
        #expect(histogram.max == 100)
        #expect(histogram.count(above: 99) == 1)
        #expect(histogram.count(above: 100) == 0)
        #expect(histogram.count(from: 10, through: 19) == 10)
    }

    @Test(arguments: [3_600_000_000_001, 1 << 62, UInt64.max])
    func valuesAboveAnHourAreClipped(value: UInt64) {
        var histogram = Histogram()
        histogram.record(Histogram.Scale.highest)
        #expect(histogram.clipped == 0)
        histogram.record(value, count: 2)
        #expect(histogram.clipped == 2)
        #expect(histogram.count == 3)
        #expect(histogram.count(above: Histogram.Scale.highest) == 2)
        var other = Histogram()
        other.merge(histogram.compacted())
        #expect(other.clipped == 2)
        #expect(other.max == Histogram.Scale.highest(ofSlot: Histogram.Scale.clippedSlot))
    }

    @Test func copiesAreIndependent() {
        var first = Histogram()
        first.record(5)
        var second = first
        second.record(7)
        var third = second.compacted()
        third.record(9)
        #expect(first.count == 1)
        #expect(first.max == 5)
        #expect(second.max == 7)
        #expect(third.count == 3)
        #expect(third.max == 9)
        first.reset()
        #expect(first.count == 0)
        #expect(first == Histogram())
        #expect(second.count == 2)
        second.prepare()
        #expect(second.take().count == 2)
        #expect(second == Histogram())
        #expect(second.max == 0)
    }
}

@Suite struct HistogramRecorderTests {
    @Test func aRecorderCountsWhatAHistogramCounts() {
        let recorder = HistogramRecorder()
        var histogram = Histogram()
        var random = SeededRandom(seed: 7)
        for _ in 0..<2 {
            for _ in 0..<10_000 {
                let value = random.next() >> UInt64(random.below(64))
                recorder.record(value)
                histogram.record(value)
            }
            #expect(recorder.histogram() == histogram)
            #expect(recorder.take() == histogram.take())
            #expect(recorder.histogram() == Histogram())
        }
    }
}
