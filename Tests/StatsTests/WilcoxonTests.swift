import Stats
import Testing

@Suite struct WilcoxonTests {
    /// p by enumerating all sign assignments in Python; without ties also scipy.stats.wilcoxon
    /// (1.17.1, method = "exact").
    @Test(
        arguments: [
            ([1, 2, 3, 4, 5, 6], 21.0, 0.03125), ([-1, 2, 3, 4, 5, 6], 20.0, 0.0625),
            ([1, -2, 3, -4, 5, -6, 7, 8], 24.0, 0.4609375),
            ([1.5, -0.3, 2.2, 0.8, -1.1, 3.0, 0.4, -0.2, 1.9, 2.7], 47.0, 0.048828125),
            ([1, 1, 1, -1, 2, 2, -3], 18.5, 0.46875), ([0, 0, 1, 2, -3, 4], 7.0, 0.625),
            ([5, 5, 5, 5, 5, 5, 5, 5], 36.0, 0.0078125), ([], 0, 1), ([0, 0], 0, 1),
        ] as [([Double], Double, Double)])
    func exact(differences: [Double], rankSum: Double, p: Double) {
        let test = WilcoxonSignedRank(differences: differences)
        #expect(test.positiveRankSum == rankSum)
        #expect(close(test.twoSidedP, p, within: 1e-12))
        let mirrored = WilcoxonSignedRank(differences: differences.map { -$0 })
        #expect(mirrored.twoSidedP == test.twoSidedP)
    }

    @Test func fortyPairs() {
        let differences = (1...40).map { Double($0 % 3 == 0 ? -$0 : $0) }
        let test = WilcoxonSignedRank(differences: differences)
        #expect(test.positiveRankSum == 547)
        #expect(close(test.twoSidedP, 0.06616061626664305, within: 1e-10))
    }
}
