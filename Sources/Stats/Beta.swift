import Glibc

/// The beta distribution, for exact intervals of proportions.
enum Beta {
    /// The regularized incomplete beta function: the probability of a value up to `x`.
    ///
    /// By the continued fraction of NIST's Digital Library of Mathematical Functions, 8.17.22, with
    /// the modified method of Lentz (Thompson and Barnett, 1986). Good to 12 digits up to a million
    /// trials, to 8 at a billion.
    static func cumulative(_ x: Double, _ a: Double, _ b: Double) -> Double {
        precondition(a > 0 && b > 0, "beta(\(a), \(b))")
        if x <= 0 { return 0 }
        if x >= 1 { return 1 }
        return cumulative(x, 1 - x, a, b)
    }

    /// With `rest` for 1 - `x`: the smaller of the two keeps all its digits when they change
    /// places.
    private static func cumulative(
        _ x: Double, _ rest: Double, _ a: Double, _ b: Double
    ) -> Double {
        // The fraction converges quickly below the mean only.
        if x > (a + 1) / (a + b + 2) {
            return 1 - density(rest, x, b, a) * fraction(rest, b, a) / b
        }
        return density(x, rest, a, b) * fraction(x, a, b) / a
    }

    /// x^a · (1 - x)^b / B(a, b), to about 13 digits also where a or b is a billion: the
    /// differences of large logarithms are taken before they are large.
    ///
    /// Source: Loader, "Fast and accurate computation of binomial probabilities", 2000 (the
    /// saddle-point expansion that R's dbinom uses).
    private static func density(
        _ x: Double, _ rest: Double, _ a: Double, _ b: Double
    ) -> Double {
        let n = a + b
        let distance = x < rest ? a - n * x : n * rest - b
        let deviance = deviance(distance, from: n * x) + deviance(-distance, from: n * rest)
        let stirling = stirlingError(n) - stirlingError(a) - stirlingError(b)
        return (a * b / (2 * .pi * n)).squareRoot() * exp(stirling - deviance)
    }

    /// mean · ((1 + t) · ln(1 + t) - t), where t is `distance` / `mean`.
    private static func deviance(_ distance: Double, from mean: Double) -> Double {
        let t = distance / mean
        if abs(t) > 0.1 { return mean * ((1 + t) * log1p(t) - t) }
        // The series t²/2 - t³/6 + t⁴/12 - ...: term k is (-t)^k / (k · (k - 1)).
        var sum = 0.0
        var power = t * t
        for k in 2...20 {
            sum += power / Double(k * (k - 1))
            power *= -t
        }
        return mean * sum
    }

    /// ln Γ(z) less Stirling's √(2π / z) · (z / e)^z.
    private static func stirlingError(_ z: Double) -> Double {
        if z < 16 { return lgamma(z).0 - ((z - 0.5) * log(z) - z + 0.5 * log(2 * .pi)) }
        let square = z * z
        return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * square)) / square) / square) / z
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
}
