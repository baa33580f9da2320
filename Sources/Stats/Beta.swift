import Glibc

/// The beta distribution, for exact intervals of proportions.
enum Beta {
    /// The regularized incomplete beta function: the probability of a value up to `x`.
    ///
    /// By the continued fraction of NIST's Digital Library of Mathematical Functions, 8.17.22, with the
    /// modified method of Lentz (Thompson and Barnett, 1986).
    static func cumulative(_ x: Double, _ a: Double, _ b: Double) -> Double {
        precondition(a > 0 && b > 0, "beta(\(a), \(b))")
        if x <= 0 { return 0 }
        if x >= 1 { return 1 }
        // The fraction converges quickly below the mean only.
        if x > (a + 1) / (a + b + 2) { return 1 - cumulative(1 - x, b, a) }
        let scale = logGamma(a + b) - logGamma(a) - logGamma(b)
        return exp(scale + a * log(x) + b * log1p(-x)) * fraction(x, a, b) / a
    }

    /// The value that is not exceeded with this probability.
    ///
    /// By halving: 0 to 1 in 64 steps is as far as a `Double` goes, and no start can mislead it.
    static func quantile(_ probability: Double, _ a: Double, _ b: Double) -> Double {
        var low = 0.0
        var high = 1.0
        for _ in 0..<1100 {
            let middle = low + (high - low) / 2
            if middle <= low || middle >= high { break }
            if cumulative(middle, a, b) < probability { low = middle } else { high = middle }
        }
        return high
    }

    private static func fraction(_ x: Double, _ a: Double, _ b: Double) -> Double {
        let tiny = 1e-300
        func nonZero(_ value: Double) -> Double { abs(value) < tiny ? tiny : value }
        var c = 1.0
        var d = 1 / nonZero(1 - (a + b) * x / (a + 1))
        var result = d
        // Bound: some √max(a, b) terms are needed.
        let limit = 200 + 20 * Int((a + b).squareRoot())
        for term in 1...limit {
            let m = Double(term)
            let even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
            d = 1 / nonZero(1 + even * d)
            c = nonZero(1 + even / c)
            result *= d * c
            let odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
            d = 1 / nonZero(1 + odd * d)
            c = nonZero(1 + odd / c)
            let factor = d * c
            result *= factor
            if abs(factor - 1) < 1e-15 { break }
        }
        return result
    }

    private static func logGamma(_ x: Double) -> Double { lgamma(x).0 }
}
