import Base
import Stats
import Support
import Testing

/// Fuzz twins: a histogram against a sorted array of the same values, and its decoder against
/// damage.
@Suite struct HistogramFuzz {
    @Test func aHistogramAgreesWithASortedArray() {
        againstASortedArray(.current(steps: 200))
    }

    @Test func damagedEncodingsAreRefusedOrRead() throws {
        try damagedEncodings(.current(steps: 5000))
    }

    /// Values of every magnitude, or close together, or few: what a latency distribution may be.
    private func values(_ random: inout SeededRandom) -> [UInt64] {
        let shape = random.below(4)
        return (0..<random.below(400)).map { _ in
            switch shape {
            case 0: random.next() >> UInt64(22 + random.below(42))
            case 1: 1_000_000 + UInt64(random.below(50_000))
            case 2: UInt64(random.below(4))
            default: Histogram.Scale.highest - UInt64(random.below(1_000_000_000))
            }
        }.map { min($0, Histogram.Scale.highest) }
    }

    private func againstASortedArray(_ budget: FuzzBudget) {
        let repeated = budget.rerun("HistogramFuzz")
        var random = SeededRandom(seed: budget.seed)
        for step in 0..<budget.steps {
            let parts = (0..<random.below(4)).map { _ in values(&random) }
            let sorted = parts.joined().sorted()
            var merged = Histogram()
            var plain = Histogram()
            let recorder = HistogramRecorder()
            for part in parts {
                var histogram = Histogram()
                for value in part {
                    histogram.record(value)
                    plain.record(value)
                    recorder.record(value)
                }
                merged.merge(random.below(2) == 0 ? histogram : histogram.compacted())
            }
            // Merging loses nothing.
            #expect(merged == plain, "step \(step): \(repeated)")
            #expect(recorder.histogram() == plain, "step \(step): \(repeated)")
            #expect(
                agrees(random.below(2) == 0 ? merged : merged.compacted(), sorted, &random),
                "step \(step): \(repeated)")
        }
    }

    private func agrees(
        _ histogram: Histogram, _ sorted: [UInt64], _ random: inout SeededRandom
    ) -> Bool {
        guard histogram.count == UInt64(sorted.count) else { return false }
        guard let first = sorted.first, let last = sorted.last else { return histogram.max == 0 }
        // A bucket holds its value, and is at most a thousandth of it wide.
        func rounded(_ value: UInt64, up bound: UInt64) -> Bool {
            bound >= value && bound - value <= value / 1000
        }
        func rounded(_ value: UInt64, down bound: UInt64) -> Bool {
            bound <= value && value - bound <= value / 1000
        }
        guard rounded(first, down: histogram.min), rounded(last, up: histogram.max) else {
            return false
        }
        for quantile in [0.5, 0.9, 0.99, 0.999, 1, random.unit()] where quantile > 0 {
            let exact = quantile.nextDown * Double(sorted.count)
            let rank = max(Int(exact.rounded(.up)), 1)
            guard rounded(sorted[rank - 1], up: histogram.value(atQuantile: quantile)) else {
                return false
            }
        }
        let mean = sorted.reduce(0) { $0 + Double($1) } / Double(sorted.count)
        guard abs(histogram.mean - mean) <= mean / 1000 else { return false }
        let limit = sorted[random.below(sorted.count)]
        let ceiling = Histogram.Scale.highest(ofSlot: Histogram.Scale.slot(of: limit))
        let above = sorted.count { $0 > ceiling }
        let between = sorted.count { $0 <= ceiling && $0 >= histogram.min }
        return histogram.count(above: limit) == UInt64(above)
            && histogram.count(from: first, through: limit) == UInt64(between)
            && levelsHold(histogram)
    }

    /// Each level of the percentile walk is reached at its value and not before it.
    private func levelsHold(_ histogram: Histogram) -> Bool {
        let points = histogram.percentiles()
        let count = Double(histogram.count)
        let rising = zip(points, points.dropFirst()).allSatisfy {
            $0.level < $1.level && $0.value <= $1.value && $0.countToValue <= $1.countToValue
        }
        return rising && points.last?.level == 1 && points.last?.value == histogram.max
            && points.last?.countToValue == histogram.count
            && points.allSatisfy { Double($0.countToValue) / count >= $0.level - 1e-12 }
    }

    /// Damage is an error or another histogram, never a crash; what is read encodes to what is
    /// read.
    private func damagedEncodings(_ budget: FuzzBudget) throws {
        var random = SeededRandom(seed: budget.seed)
        for step in 0..<budget.steps {
            var histogram = Histogram()
            for value in values(&random).prefix(20) {
                histogram.record(value, count: 1 + random.next() >> UInt64(12 + random.below(52)))
            }
            let whole = histogram.encodedV2()
            let place = "step \(step): \(budget.rerun("HistogramFuzz"))"
            if histogram.count <= Histogram.countLimit {
                #expect(try Histogram(decodingV2: whole) == histogram, "\(place)")
            }
            var bytes = whole
            switch random.below(4) {
            case 0: bytes.removeLast(1 + random.below(bytes.count))
            case 1: bytes += (0...random.below(9)).map { _ in UInt8(random.below(256)) }
            case 2: bytes[random.below(bytes.count)] = UInt8(random.below(256))
            default:
                // A well-formed header over counts of any kind.
                bytes = Array(bytes[..<40])
                bytes += (0..<random.below(60)).map { _ in UInt8(random.below(256)) }
                bytes[6] = 0
                bytes[7] = UInt8(bytes.count - 40)
            }
            guard let read = try? Histogram(decodingV2: bytes) else { continue }
            #expect(try Histogram(decodingV2: read.encodedV2()) == read, "\(place)")
            #expect(read.buckets.reduce(0) { $0 + $1.count } == read.count, "\(place)")
            #expect(read.count <= Histogram.countLimit, "\(place)")
        }
    }
}
