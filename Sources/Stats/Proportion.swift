/// Intervals for a share of which `successes` of `trials` independent trials were seen.
public enum Proportion {
    /// The interval of Wilson: near its confidence on average, and short.
    ///
    /// Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA
    /// 22, 1927.
    /// - Precondition: 0 ≤ `successes` ≤ `trials`, `trials` > 0, `confidence` between 0 and 1.
    public static func wilson(
        successes: UInt64, trials: UInt64, confidence: Double = 0.95
    ) -> Interval {
        check(successes, trials)
        let z = Normal.quantile(1 - tail(confidence: confidence))
        let n = Double(trials)
        let share = Double(successes) / n
        let centre = share + z * z / (2 * n)
        let margin = z * (share * (1 - share) / n + z * z / (4 * n * n)).squareRoot()
        let scale = 1 + z * z / n
        // At the ends the formula gives 0 and 1 but for rounding.
        return Interval(
            low: successes == 0 ? 0 : max((centre - margin) / scale, 0),
            high: successes == trials ? 1 : min((centre + margin) / scale, 1))
    }

    /// The exact interval: holds the true share with at least its confidence, always.
    ///
    /// Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the
    /// case of the binomial", Biometrika 26, 1934.
    /// - Precondition: 0 ≤ `successes` ≤ `trials`, `trials` > 0, `confidence` between 0 and 1.
    public static func clopperPearson(
        successes: UInt64, trials: UInt64, confidence: Double = 0.95
    ) -> Interval {
        check(successes, trials)
        let tail = tail(confidence: confidence)
        let k = Double(successes)
        let n = Double(trials)
        return Interval(
            low: successes == 0 ? 0 : Beta.quantile(tail, k, n - k + 1),
            high: successes == trials ? 1 : Beta.quantile(1 - tail, k + 1, n - k))
    }

    private static func check(_ successes: UInt64, _ trials: UInt64) {
        precondition(trials > 0 && successes <= trials, "\(successes) of \(trials)")
    }
}
