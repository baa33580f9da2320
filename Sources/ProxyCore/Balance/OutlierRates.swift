// Which endpoints stand out among all by their rates in one interval: no sockets, no threads, no
// clock.

import Model

/// The answers of one endpoint in one interval.
struct AnswerCount: Equatable, BitwiseCopyable {
    var all: Int
    var good: Int

    /// Percent.
    var success: Double { Double(good) * 100 / Double(all) }
}

/// What one interval shows of all endpoints that are not ejected.
///
/// Source: Envoy, `DetectorImpl::processSuccessRateEjections`.
struct OutlierRates: Equatable {
    /// By place in what was given.
    private(set) var belowMean: [Int] = []
    private(set) var aboveFailures: [Int] = []
    /// Of the success rates; nil: too few endpoints had enough answers.
    private(set) var mean: Double?
    private(set) var threshold: Double?

    /// - Parameters:
    ///   - counts: nil: the endpoint is ejected.
    ///   - policy: how many endpoints there must be, and of how many answers.
    init(_ counts: [AnswerCount?], _ policy: OutlierPolicy) {
        let (byMean, byShare) = (policy.successRate, policy.failurePercentage)
        guard counts.count >= byMean.hosts || counts.count >= byShare.hosts else { return }
        var rates: [(place: Int, success: Double)] = []
        var shares = rates
        for (i, count) in counts.enumerated() {
            guard let count, count.all > 0 else { continue }
            if count.all >= byMean.volume { rates.append((i, count.success)) }
            if count.all >= byShare.volume { shares.append((i, count.success)) }
        }
        if !rates.isEmpty, rates.count >= byMean.hosts { judge(rates, byMean.threshold) }
        if !shares.isEmpty, shares.count >= byShare.hosts {
            aboveFailures = shares.filter { 100 - $0.success >= byShare.threshold }.map(\.place)
        }
    }

    private mutating func judge(_ rates: [(place: Int, success: Double)], _ factor: Double) {
        let mean = rates.reduce(0) { $0 + $1.success } / Double(rates.count)
        let variance =
            rates.reduce(0) { $0 + ($1.success - mean) * ($1.success - mean) } / Double(rates.count)
        let threshold = mean - factor * variance.squareRoot()
        self.mean = mean
        self.threshold = threshold
        belowMean = rates.filter { $0.success < threshold }.map(\.place)
    }
}
