import Testing

@testable import Report

@Suite struct FixedDecimalTests {
    /// As `String.format("%.nf")` of Java 17 prints them, but for the sign of -0.0004.
    @Test(
        arguments: [
            (0, 3, "0.000"), (1, 0, "1"), (0.5, 0, "1"), (0.0005, 3, "0.001"), (0.0004, 3, "0.000"),
            (9.9995, 3, "10.000"), (99.9994, 3, "99.999"), (0.9997802734375, 12, "0.999780273438"),
            (1.25e20, 2, "125000000000000000000.00"), (1e-300, 3, "0.000"), (1e-5, 5, "0.00001"),
            (9.5e-6, 5, "0.00001"), (-0.0004, 3, "0.000"), (-1.5, 3, "-1.500"),
            (4_398_046.511103, 3, "4398046.511"), (1_700_000_000.25, 3, "1700000000.250"),
        ] as [(Double, Int, String)])
    func fixed(value: Double, decimals: Int, expected: String) {
        #expect(fixedDecimal(value, decimals: decimals) == expected)
    }

    @Test func padding() {
        #expect(fixedDecimal(1.5, decimals: 1, width: 6) == "   1.5")
        #expect(fixedDecimal(123.5, decimals: 1, width: 2) == "123.5")
    }
}
