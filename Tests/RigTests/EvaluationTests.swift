import Base
import Model
import Report
import Stats
import Testing

@testable import Rig

@Suite struct EvaluationTests {
    /// Two rounds; through the mesh 2 ms and 2.2 ms, direct 1 ms and 1.1 ms.
    private func evaluation(rounds: Int = 2, minTailSamples: Int = 10) -> Evaluation {
        var samples: [Sample] = []
        for round in 0..<rounds {
            let factor = Int64(10 + round)
            samples.append(
                Made.sample(round: round, arm: .mesh, latency: .microseconds(200 * factor)))
            samples.append(
                Made.sample(
                    round: round, arm: .direct, latency: .microseconds(100 * factor),
                    cpu: [.apps: .milliseconds(200)]))
        }
        return Evaluation(
            samples: samples, rounds: Array(0..<rounds), arms: [.direct, .mesh],
            minTailSamples: minTailSamples, random: SeededRandom(seed: 1))
    }

    private func expectation(
        _ left: Term, _ comparison: Model.Expectation.Comparison, _ right: Term,
        tolerance: Model.Expectation.Tolerance? = nil, phase: String? = nil, arm: ArmName? = nil
    ) -> Model.Expectation {
        Model.Expectation(
            source: "\(left) \(comparison) \(right)", left: left, comparison: comparison,
            right: right, tolerance: tolerance, phase: phase, arm: arm)
    }

    /// 748, 249 and 1 of 998 come to 0.9999999999999999 of all.
    @Test(arguments: [
        (Model.Expectation.Comparison.equal, RunResult.Verdict.pass), (.greaterOrEqual, .pass),
        (.lessOrEqual, .pass), (.less, .fail), (.greater, .fail),
    ])
    func roundingDecidesNothing(
        comparison: Model.Expectation.Comparison, verdict: RunResult.Verdict
    ) {
        var sample = Made.sample()
        sample.tally.planned = 998
        sample.tally.outcomes = ["ok": 748]
        sample.tally.flags = ["UF": 249, "UC": 1]
        let parts = Term.sum(
            .sum(Self.ok, .metric(.shareOfFlag(.UF))), .metric(.shareOfFlag(.UC)))
        for rounds in 1...6 {
            let samples = (0..<rounds).map { round in
                var sample = sample
                sample.round = round
                return sample
            }
            let judgement = Evaluation(
                samples: samples, rounds: Array(0..<rounds), arms: [.mesh], minTailSamples: 10,
                random: SeededRandom(seed: 1)
            ).judge(expectation(parts, comparison, .literal(1, .share)))
            #expect(judgement.result.verdict == verdict, "\(judgement.result)")
        }
    }

    private static let ms = 1e6
    private static func time(_ milliseconds: Double) -> Term {
        .literal(milliseconds * ms, .time)
    }
    private static let p50 = Term.metric(.percentile(0.5, .response))
    private static let ok = Term.metric(.shareOfOutcome(.ok))

    @Test(arguments: [
        (p50, Model.Expectation.Comparison.less, time(5), RunResult.Verdict.pass),
        (p50, .less, time(1), .fail),
        (p50, .greater, time(1), .pass),
        (.metric(.percentile(0.99, .response)), .less, time(50), .pass),
        (.metric(.percentile(0.99, .response)), .less, time(5), .fail),
        (.metric(.overhead(.percentile(0.5, .response))), .less, time(1.5), .pass),
        (.metric(.overhead(.percentile(0.5, .response))), .less, time(0.5), .fail),
        (.metric(.achievedRate), .greaterOrEqual, .literal(999.9, .rate), .pass),
        (
            .quotient(.metric(.achievedRate), .metric(.offeredRate)), .greaterOrEqual,
            .literal(1, .share), .pass
        ),
        // 0.5 s of CPU for 10 000 requests: 50 µs each, 50 m per 1000/s.
        (.metric(.cpuPer1000(.proxies)), .lessOrEqual, .literal(0.05, .cores), .pass),
        (.metric(.cpuPer1000(.proxies)), .less, .literal(0.049, .cores), .fail),
        (.metric(.cpu(.all)), .less, .literal(0.0701, .cores), .pass),
        (.metric(.overhead(.cpu(.apps))), .less, .literal(0.001, .cores), .pass),
        (.metric(.memory(.proxies)), .lessOrEqual, .literal(8 * 1_048_576, .bytes), .pass),
        (ok, .greaterOrEqual, .literal(1, .share), .pass),
        (.metric(.shareOfStatus(503)), .greater, .literal(0, .share), .fail),
        (
            .erlangB(servers: .literal(1, .one), load: .literal(1, .one)), .less,
            .literal(0.51, .share), .pass
        ),
        (.sum(p50, time(10)), .greater, time(12), .pass),
        (.product(p50, .literal(2, .one)), .greater, time(3.9), .pass),
    ])
    func verdicts(
        left: Term, comparison: Model.Expectation.Comparison, right: Term,
        verdict: RunResult.Verdict
    ) {
        let judgement = evaluation().judge(expectation(left, comparison, right))
        #expect(judgement.result.verdict == verdict, "\(judgement.result)")
        #expect(!judgement.result.observed.isEmpty)
    }

    @Test(arguments: [
        (Model.Expectation.Tolerance.absolute(0.3e6), RunResult.Verdict.pass),
        (.absolute(0.05e6), .inconclusive),
        (.relative(0.15), .pass), (.relative(0.01), .inconclusive),
    ])
    func tolerances(tolerance: Model.Expectation.Tolerance, verdict: RunResult.Verdict) {
        // A little less than half of all samples took 2 ms, as many 2.2 ms: that is the median. One
        // round lies on the value, the other beyond a small tolerance.
        let judgement = evaluation().judge(
            expectation(Self.p50, .equal, Self.time(2), tolerance: tolerance))
        #expect(judgement.result.verdict == verdict, "\(judgement.result)")
    }

    @Test func anIntervalOverTheLimitIsInconclusive() {
        let judgement = evaluation(rounds: 4).judge(
            expectation(Self.p50, .less, Self.time(2.5)))
        #expect(judgement.result.verdict == .inconclusive)
        #expect(judgement.isOpen)
        #expect(judgement.result.reason.hasPrefix("the interval reaches over the limit"))
        #expect(judgement.result.interval != nil)
    }

    @Test func oneRoundHasNoIntervalAndSaysSo() {
        let judgement = evaluation(rounds: 1).judge(expectation(Self.p50, .less, Self.time(5)))
        #expect(judgement.result.verdict == .pass)
        #expect(judgement.result.interval == nil)
        #expect(judgement.result.confidence == nil)
        #expect(judgement.result.reason.contains("one round"))
        #expect(!judgement.isOpen)
    }

    /// For every number of rounds below six the range of them, called by what it covers.
    @Test(
        arguments: [
            (1, nil), (2, 0.5), (3, 0.75), (4, 0.875), (5, 0.9375), (6, 0.95), (40, 0.95),
        ] as [(Int, Double?)])
    func noIntervalClaimsMoreThanItsRoundsAllow(rounds: Int, confidence: Double?) throws {
        #expect(reachableConfidence(rounds: rounds) == confidence)
        let judgement = evaluation(rounds: rounds).judge(
            expectation(Self.p50, .less, Self.time(500)))
        #expect(judgement.result.confidence == confidence)
        guard rounds > 1, rounds < leastRoundsFor95 else { return }
        let values = (0..<rounds).map { Double($0) * 10 }
        let statistic = Statistic(
            value: { chosen in chosen.reduce(0) { $0 + values[$1] } / Double(chosen.count) },
            samples: 1, problem: nil)
        let estimate = statistic.estimate(rounds: rounds, random: SeededRandom(seed: 1))
        #expect(estimate.interval == Interval(low: 0, high: Double(rounds - 1) * 10))
    }

    @Test(arguments: [2, 8])
    func aQuotientByZeroIsNoValueAndNoCrash(rounds: Int) {
        // No request ended in a timeout: p50 / 0 is infinite, in some resamples or in all.
        let none = Term.metric(.shareOfOutcome(.timeout))
        let judgement = evaluation(rounds: rounds).judge(
            expectation(.quotient(Self.ok, none), .greater, .literal(1, .one)))
        #expect(judgement.result.verdict == .inconclusive)
        let infinite = Statistic(
            value: { $0.contains(0) ? .infinity : 1 }, samples: 1, problem: nil)
        let estimate = infinite.estimate(rounds: rounds, random: SeededRandom(seed: 1))
        #expect(estimate.interval?.high.isFinite != false)
    }

    @Test(arguments: [1e300, -1.0, Double.nan, 99_999.4])
    func serversMayBeAnyNumber(servers: Double) {
        let judgement = evaluation().judge(
            expectation(
                .erlangB(servers: .literal(servers, .one), load: .literal(20, .one)), .less,
                .literal(1, .share)))
        #expect(judgement.result.verdict == (servers == 99_999.4 ? .pass : .inconclusive))
    }

    @Test func whatAnIdlePhaseUsesCanBeJudged() {
        let samples = (0..<6).map { Made.idle(round: $0) }
        let evaluation = Evaluation(
            samples: samples, rounds: Array(0..<6), arms: [.mesh], minTailSamples: 10,
            random: SeededRandom(seed: 1))
        // 500 ms of 10 s.
        for (limit, verdict) in [(0.06, RunResult.Verdict.pass), (0.04, .fail)] {
            let judgement = evaluation.judge(
                expectation(
                    .metric(.cpu(.proxies)), .less, .literal(limit, .cores), phase: "idle"))
            #expect(judgement.result.verdict == verdict, "\(judgement.result)")
        }
        let memory = expectation(
            .metric(.memory(.proxies)), .less, .literal(1e9, .bytes), phase: "idle")
        #expect(evaluation.judge(memory).result.verdict == .pass)
        let cost = expectation(
            .metric(.cpuPer1000(.proxies)), .less, .literal(1, .cores), phase: "idle")
        #expect(evaluation.judge(cost).result.verdict == .inconclusive, "there were no requests")
    }

    @Test func memoryThatCouldNotBeReadIsNotNothing() {
        var samples = (0..<6).map { Made.sample(round: $0) }
        for index in samples[3].processes.indices { samples[3].processes[index].memory = nil }
        let evaluation = Evaluation(
            samples: samples, rounds: Array(0..<6), arms: [.mesh], minTailSamples: 10,
            random: SeededRandom(seed: 1))
        let memory = expectation(.metric(.memory(.proxies)), .less, .literal(1e9, .bytes))
        #expect(evaluation.judge(memory).result.verdict == .inconclusive)
    }

    @Test func aPercentileWithTooFewSamplesBeyondItIsNotStated() {
        let far = Term.metric(.percentile(0.9999, .response))
        let judgement = evaluation().judge(expectation(far, .less, Self.time(500)))
        #expect(judgement.result.verdict == .inconclusive)
        #expect(judgement.result.observed == "none")
        #expect(judgement.result.reason.contains("only 2 samples"))
        let stated = evaluation(minTailSamples: 2).judge(expectation(far, .less, Self.time(500)))
        #expect(stated.result.verdict == .pass)
    }

    @Test func theDefaultArmIsTheMesh() {
        let limit = Self.time(1.5)
        #expect(evaluation().judge(expectation(Self.p50, .less, limit)).result.verdict == .fail)
        let direct = expectation(Self.p50, .less, limit, arm: .direct)
        #expect(evaluation().judge(direct).result.verdict == .pass)
    }

    /// Three arms of 1, 2 and 4 ms: the third is 3 ms over the first and 2 ms over the second.
    @Test func aStepIsOverTheArmBeforeAndAnOverheadOverTheBaseline() {
        let arms = ["one", "two", "three"].map { ArmName(rawValue: $0) }
        let samples = zip(arms, [1, 2, 4]).flatMap { arm, latency in
            (0..<6).map { round in
                Made.sample(round: round, arm: arm, latency: .milliseconds(latency))
            }
        }
        let evaluation = Evaluation(
            samples: samples, rounds: Array(0..<6), arms: arms, minTailSamples: 10,
            random: SeededRandom(seed: 1))
        func verdict(_ metric: Metric, _ limit: Double) -> RunResult.Verdict {
            evaluation.judge(
                expectation(
                    .metric(metric), .equal, Self.time(limit), tolerance: .relative(0.01),
                    arm: arms[2])
            ).result.verdict
        }
        let p50 = Metric.percentile(0.5, .response)
        #expect(verdict(.step(p50), 2) == .pass)
        #expect(verdict(.step(p50), 3) == .fail)
        #expect(verdict(.overhead(p50), 3) == .pass)
        #expect(verdict(.overhead(p50), 2) == .fail)
    }

    @Test func whatWasNotMeasuredIsInconclusive() {
        let judgement = evaluation().judge(
            expectation(Self.p50, .less, Self.time(5), phase: "absent"))
        #expect(judgement.result.verdict == .inconclusive)
    }
}

@Suite struct PoolTests {
    @Test(arguments: [UInt64(1), 2, 3, 4, 5])
    func aPooledQuantileIsTheQuantileOfTheMergedHistogram(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let histograms = (0..<5).map { _ in
            var histogram = Histogram()
            for _ in 0..<random.below(2000) { histogram.record(UInt64(random.below(50_000_000))) }
            return histogram
        }
        let table = PooledQuantile(histograms)
        for _ in 0..<20 {
            let rounds = (0..<5).map { _ in random.below(5) }
            let merged = rounds.reduce(into: Histogram()) { $0.merge(histograms[$1]) }
            for quantile in [0, 0.001, 0.5, 0.9, 0.99, 0.999, 1, random.unit()] {
                let value = table.value(quantile, of: rounds)
                if merged.count == 0 {
                    #expect(value.isNaN)
                } else {
                    #expect(value == Double(merged.value(atQuantile: quantile)))
                }
            }
        }
    }

    @Test(arguments: [
        (0.5, UInt64(20), UInt64(10)), (0.99, 1000, 10), (0.99, 999, 9), (0.999, 1000, 1),
        (1.0, 5, 0), (0.5, 0, 0),
    ])
    func samplesBeyondAQuantile(quantile: Double, count: UInt64, beyond: UInt64) {
        #expect(samplesBeyond(quantile, count: count) == beyond)
    }
}
