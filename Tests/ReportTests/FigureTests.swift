import Testing

@testable import Report

@Suite("Figures for people")
struct FigureTests {
    @Test(
        arguments: [
            (Quantity.time, 0, "0 ns"), (.time, 412, "412 ns"), (.time, 41_234, "41.2 µs"),
            (.time, 999_400, "999 µs"), (.time, 999_600, "1.00 ms"), (.time, 1_214_000, "1.21 ms"),
            (.time, 12_345_678, "12.3 ms"), (.time, 3e9, "3.00 s"), (.time, 412.7e9, "413 s"),
            (.time, -243_000, "−243 µs"), (.cores, 0.0314, "31.4 mCPU"), (.cores, 1.2, "1.20 CPU"),
            (.cores, 0.00021, "0.210 mCPU"), (.bytes, 512, "512 B"), (.bytes, 1024, "1 KiB"),
            (.bytes, 8_514_437, "8.12 MiB"), (.rate, 1000, "1,000/s"), (.rate, 999.6, "999.6/s"),
            (.rate, 12_345.6, "12,346/s"), (.share, 0.0125, "1.25 %"), (.share, 1, "100 %"),
            (.count, 60_000, "60,000"), (.plain("apples"), 2.5, "2.50 apples"),
            (.plain(""), 7, "7"),
        ] as [(Quantity, Double, String)])
    func text(quantity: Quantity, value: Double, expected: String) {
        #expect(quantity.text(value) == expected)
    }

    @Test("Value and interval share unit and decimals")
    func estimates() {
        let wide = RunResult.Estimate(243_000, low: -90_000, high: 1_249_000)
        #expect(Quantity.time.text(wide, signed: true) == "+0.24 ms (−0.09 to 1.25)")
        let tight = RunResult.Estimate(0.0612, low: 0.0604, high: 0.0623)
        #expect(Quantity.cores.text(tight) == "61.2 mCPU (60.4 to 62.3)")
        #expect(Quantity.bytes.text(RunResult.Estimate(1024)) == "1 KiB")
        #expect(Quantity.time.text(RunResult.Estimate(0, low: 0, high: 0)) == "0 ns (0 to 0)")
    }

    @Test(
        arguments: [
            (0.0, 0), (0.012, 4), (0.5, 3), (1, 2), (9.99, 2), (9.996, 1), (99.9, 1), (99.96, 0),
            (1e9, 0), (1e-12, 6),
        ])
    func decimals(value: Double, expected: Int) {
        #expect(decimalsForThreeDigits(value) == expected)
    }

    @Test(
        arguments: [
            (0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99"),
            (1, "p100"), (0, "p0"),
        ])
    func percentiles(quantile: Double, expected: String) {
        #expect(percentileName(quantile) == expected)
    }

    @Test(
        arguments: [
            (0 as UInt64, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567"),
            (.max, "18,446,744,073,709,551,615"),
        ])
    func grouping(value: UInt64, expected: String) { #expect(grouped(value) == expected) }

    @Test(
        arguments: [
            (0.0, "0.0 s"), (41.23, "41.2 s"), (59.96, "1 min 0 s"), (412.7, "6 min 53 s"),
            (3599.6, "1 h 0 min"), (3900, "1 h 5 min"),
        ])
    func spans(seconds: Double, expected: String) { #expect(span(seconds: seconds) == expected) }

    @Test("Lines keep to their width and lose nothing", arguments: [5, 11, 40])
    func wrapping(width: Int) {
        let text = "the quick brown fox jumps over averyveryverylongword and on"
        let lines = wrapped(text, width)
        for line in lines { #expect(line.count <= width) }
        #expect(lines.joined().filter { $0 != " " } == text.filter { $0 != " " })
    }
}
