// Expectations of what theory says. Whether a measured value is the predicted one is not told by
// how far it is from it, but by whether a sample of this size would be so far if theory were right.
//
// Within the interval that holds 99 % of such samples it passes. It fails where fewer than one of
// 10,000 would be so far; in between, the sample cannot decide, and more rounds are run. So a set
// of a hundred such expectations does not fail by chance at every second run.

import Base
import Model
import Report
import Stats

extension Evaluation {
    static let confidence = 0.99
    /// Outside of the interval with this confidence theory is not right.
    static let certainty = 0.9999

    func judgeByTheory(_ expectation: Expectation) -> Judgement {
        let left = statistic(expectation.left, expectation)
        let observed = left.estimate(
            rounds: rounds.count, random: random.split(expectation.source))
        // A quotient of counts that is held against a share is one.
        let unit = expectation.right.unit == .share ? Unit.share : expectation.left.unit
        var result = RunResult.ExpectationResult(
            source: expectation.source, verdict: .inconclusive, observed: "none",
            expected: expectation.source, samples: left.samples, reason: "",
            name: expectation.name)
        if let problem = left.problem {
            result.reason = problem
            return Judgement(result: result, isOpen: true)
        }
        guard observed.value.isFinite,
            let usual = range(expectation, left.samples, Self.confidence),
            let possible = range(expectation, left.samples, Self.certainty)
        else {
            result.reason = "there is no such value in what was measured"
            return Judgement(result: result, isOpen: false)
        }
        func text(_ value: Double) -> String { figure(value, unit: unit.figureUnit) }
        func text(_ low: Double, _ high: Double) -> String {
            figureInterval(low: low, high: high, unit: unit.figureUnit)
        }
        result.observed = text(observed.value)
        result.interval = observed.interval.map { text($0.low, $0.high) }
        result.confidence = observed.confidence
        result.expected =
            "= \(text(usual.value)) by theory, \(text(usual.low, usual.high)) in 99 % of such "
            + "samples"
        let need =
            switch expectation.need {
            case nil: Expectation.standardNeed(usual.value, unit)
            case .absolute(let value): value
            case .relative(let share): share * usual.value.magnitude
            }
        if max(usual.high - usual.value, usual.value - usual.low) > need {
            result.reason =
                "so few samples allow \(text(usual.low, usual.high)), and no more than "
                + "\(text(need)) to either side is asked for: more rounds would tell"
            return Judgement(result: result, isOpen: true)
        }
        if usual.holds(observed.value) {
            result.verdict = .pass
        } else if possible.holds(observed.value) {
            result.reason =
                "outside of what 99 % of such samples show, yet not of what 99.99 % do: more "
                + "rounds would tell"
            return Judgement(result: result, isOpen: true)
        } else {
            result.verdict = .fail
        }
        return Judgement(result: result, isOpen: false)
    }

    /// A predicted value, and the ends between which a sample shows it.
    private struct Range {
        var value: Double
        var low: Double
        var high: Double

        init(_ value: Double) { (self.value, low, high) = (value, value, value) }

        /// Of all combinations of ends.
        init?(_ a: Range, _ b: Range, _ join: (Double, Double) -> Double) {
            value = join(a.value, b.value)
            let ends = [
                value, join(a.low, b.low), join(a.low, b.high), join(a.high, b.low),
                join(a.high, b.high),
            ]
            guard ends.allSatisfy(\.isFinite), let low = ends.min(), let high = ends.max() else {
                return nil
            }
            (self.low, self.high) = (low, high)
        }

        init(_ prediction: Prediction, _ interval: Interval) {
            (value, low, high) = (prediction.value, interval.low, interval.high)
        }

        /// But for rounding: a share of all or none is met exactly or not.
        func holds(_ observed: Double) -> Bool {
            let slack = 1e-9 * max(1, value.magnitude)
            return observed >= low - slack && observed <= high + slack
        }
    }

    private func range(
        _ expectation: Expectation, _ samples: UInt64, _ confidence: Double
    ) -> Range? {
        func range(_ term: Term) -> Range? {
            func joined(
                _ a: Term, _ b: Term, _ join: (Double, Double) -> Double
            ) -> Range? {
                guard let a = range(a), let b = range(b) else { return nil }
                return Range(a, b, join)
            }
            switch term {
            case .literal(let value, _): return Range(value)
            case .metric:
                let statistic = statistic(term, expectation)
                let value = statistic.value(Array(rounds.indices))
                return statistic.problem == nil && value.isFinite ? Range(value) : nil
            case .sum(let a, let b): return joined(a, b, +)
            case .difference(let a, let b): return joined(a, b, -)
            case .product(let a, let b): return joined(a, b, *)
            case .quotient(let a, let b): return joined(a, b, /)
            case .theory(let theory, let arguments):
                let values = arguments.compactMap { range($0)?.value }
                guard values.count == arguments.count,
                    let prediction = theory.prediction(values, isPoisson: isPoisson),
                    let interval = prediction.interval(
                        samples: samples, rounds: rounds.count, confidence: confidence)
                else { return nil }
                return Range(prediction, interval)
            }
        }
        return range(expectation.right)
    }
}

extension Theory {
    /// What it says of these arguments, in their base units; nil where one is out of range, which
    /// what was measured may be.
    /// - Parameter isPoisson: whether requests come at random; else evenly.
    func prediction(_ values: [Double], isPoisson: Bool) -> Prediction? {
        var values = values
        for (index, parameter) in parameters.enumerated() {
            if case .count = parameter.kind { values[index] = values[index].rounded() }
            guard values[index].isFinite, parameter.kind.complaint(values[index]) == nil else {
                return nil
            }
        }
        func count(_ index: Int) -> Int { Int(values[index]) }
        func time(_ index: Int) -> Duration? { Duration(theory: values[index]) }
        switch self {
        case .erlangB:
            return Queueing.prediction(
                servers: count(0), capacity: count(0), load: values[1])
        case .mmck:
            guard values[1] >= values[0] else { return nil }
            return Queueing.prediction(servers: count(0), capacity: count(1), load: values[2])
        case .binomial: return Prediction(values[0], .share(dispersion: 1))
        case .tokenBucket: return bucket(values, isPoisson: isPoisson)
        case .retrySuccess: return RetryTheory.success(failure: values[0], retries: count(1))
        case .retryAttempts: return RetryTheory.attempts(failure: values[0], retries: count(1))
        case .ejectionErrors:
            guard let duration = time(1), let base = time(3), let most = time(4),
                let sweep = time(5)
            else { return nil }
            return EjectionTheory(
                threshold: count(0), proxies: count(2), base: base, most: most, sweep: sweep
            ).errors(in: duration)
        case .backoff:
            return RetryTheory.backoff(
                retries: count(0), quantile: values[1], base: values[2], most: values[3])
        }
    }

    /// - Parameter values: rate, fill, burst, duration and interval.
    private func bucket(_ values: [Double], isPoisson: Bool) -> Prediction? {
        guard let time = Duration(theory: values[3]), let step = Duration(theory: values[4])
        else { return nil }
        // Steps as they are said; without them so short ones that they do not matter.
        let isStepped = step > .zero
        let interval = isStepped ? step : .seconds(1000)
        let tokens = (values[1] * interval.seconds).rounded()
        guard tokens < 1e15 else { return nil }
        return TokenBucket(burst: Int(values[2]), tokens: Int(tokens), per: interval)
            .refusedShare(
                offered: values[0], time: time, isPoisson: isPoisson, isStepped: isStepped)
    }
}

extension Duration {
    /// So many nanoseconds, what is less than one as one; nil from about 30 years on, of which the
    /// sums that theory makes would leave the range.
    fileprivate init?(theory nanoseconds: Double) {
        guard nanoseconds < 1e18 else { return nil }
        self = .nanoseconds(Int64(nanoseconds.rounded(.up)))
    }
}
