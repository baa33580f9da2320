/// Wilcoxon's signed-rank test of paired differences: whether they lie around 0.
///
/// Exact for any number of pairs and with ties: the distribution of the rank sum over all 2ⁿ
/// assignments of signs is counted, not approximated. Differences of 0 are left out, as Wilcoxon
/// did.
///
/// Source: Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945; ties
/// by midranks (Pratt and Gibbons, "Concepts of Nonparametric Theory", 1981).
public struct WilcoxonSignedRank: Equatable, Sendable {
    /// Differences other than 0.
    public let pairs: Int
    /// The sum of the ranks of the positive differences.
    public let positiveRankSum: Double
    /// The probability, were every sign as likely as the other, of a rank sum at least as far from
    /// its mean. 1 where there are no pairs. At best 2 / 2ⁿ: below 0.05 from 6 pairs on.
    public let twoSidedP: Double

    /// Bound: the count of rank sums takes `pairs`² + `pairs` numbers, each added to `pairs` times.
    public static let pairLimit = 500

    /// - Precondition: at most `pairLimit` differences, none of them NaN.
    public init(differences: [Double]) {
        precondition(differences.count <= Self.pairLimit, "\(differences.count) pairs")
        precondition(!differences.contains(where: \.isNaN), "a difference that is not a number")
        let signed = differences.filter { $0 != 0 }.sorted { abs($0) < abs($1) }
        let ranks = Self.doubledRanks(signed.map(abs))
        var positive = 0
        for (difference, rank) in zip(signed, ranks) where difference > 0 { positive += rank }
        pairs = signed.count
        positiveRankSum = Double(positive) / 2
        twoSidedP = Self.twoSidedP(ranks, positive)
    }

    /// Twice the rank of each of these sorted values; equal values share the mean of their ranks.
    private static func doubledRanks(_ sorted: [Double]) -> [Int] {
        var ranks: [Int] = []
        while ranks.count < sorted.count {
            let first = ranks.count
            let end = sorted[first...].firstIndex { $0 != sorted[first] } ?? sorted.count
            // The mean of first + 1 ... end, doubled.
            ranks += [Int](repeating: first + 1 + end, count: end - first)
        }
        return ranks
    }

    /// By the distribution of the sum of a random half of the ranks, rank by rank.
    private static func twoSidedP(_ ranks: [Int], _ observed: Int) -> Double {
        let greatest = ranks.reduce(0, +)
        var probability = [Double](repeating: 0, count: greatest + 1)
        probability[0] = 1
        var reach = 0
        for rank in ranks {
            reach += rank
            for sum in stride(from: reach, through: 0, by: -1) {
                let without = probability[sum]
                let with = sum >= rank ? probability[sum - rank] : 0
                probability[sum] = (without + with) / 2
            }
        }
        // Symmetric about half the greatest: both tails hold the same.
        let nearest = min(observed, greatest - observed)
        return min(1, 2 * probability[...nearest].reduce(0, +))
    }
}
