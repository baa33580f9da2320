import Base
import Model
import Report
import Stats
import Testing

@testable import Rig

/// Expectations of what theory says.
@Suite struct TheoryTests {
    /// One round of 10,000 requests, of which so many were refused.
    private func judge(
        refused: UInt64, of planned: UInt64 = 10_000, _ right: Term,
        need: Model.Expectation.Tolerance? = nil, left: Term = .metric(.shareOfFlag(.UO)),
        isPoisson: Bool = true
    ) -> Judgement {
        var sample = Made.sample()
        sample.tally.planned = planned
        sample.tally.flags = ["UO": refused]
        let evaluation = Evaluation(
            samples: [sample], rounds: [0], arms: [.mesh], minTailSamples: 10,
            random: SeededRandom(seed: 1), isPoisson: isPoisson)
        return evaluation.judge(
            Expectation(
                source: "made", left: left, comparison: .equal, right: right, tolerance: nil,
                need: need, phase: nil, arm: nil))
    }

    private static let tenth = Term.theory(.binomial, [.literal(0.1, .share)])

    /// Of 10,000 requests 10 %: 922 to 1078 are what 99 % of samples show, 884 to 1118 what 99.99 %
    /// do.
    @Test(
        arguments: [
            (1000, .pass), (923, .pass), (1077, .pass), (900, .inconclusive),
            (1100, .inconclusive), (870, .fail), (1130, .fail), (0, .fail),
        ] as [(UInt64, RunResult.Verdict)])
    func aShareOfIndependentRequests(refused: UInt64, verdict: RunResult.Verdict) {
        let judgement = judge(refused: refused, Self.tenth)
        #expect(judgement.result.verdict == verdict, "\(judgement.result)")
        #expect(judgement.isOpen == (verdict == .inconclusive))
        #expect(judgement.result.expected.contains("by theory"))
    }

    @Test func whatTheSampleCannotTellIsInconclusive() {
        // 40 requests: 0 to 23 % are possible.
        let few = judge(refused: 4, of: 40, Self.tenth)
        #expect(few.result.verdict == .inconclusive && few.isOpen)
        #expect(few.result.reason.contains("so few samples"))
        // 10,000 tell to 0.8 points, not to 0.5.
        #expect(judge(refused: 1000, Self.tenth, need: .absolute(0.005)).isOpen)
        let enough = judge(refused: 1000, Self.tenth, need: .absolute(0.009))
        #expect(enough.result.verdict == .pass)
    }

    /// What was answered well and what was not are the same requests, and not twice as many.
    @Test func partsOfTheSameRequestsCountOnce() {
        let ended = Term.sum(
            .metric(.count(.shareOfOutcome(.ok))), .metric(.count(.shareOfOutcome(.error))))
        let share = Term.quotient(.metric(.count(.shareOfFlag(.UO))), ended)
        // Of 20,000 it would be a failure.
        let judgement = judge(refused: 900, Self.tenth, left: share)
        #expect(judgement.result.verdict == .inconclusive, "\(judgement.result)")
        #expect(judgement.result.samples == 10_000)
    }

    /// A share of counts rests on what it is a share of, not on all requests: of 200 errors 41 to
    /// 59 % may be of one of two kinds, of 10,000 requests 49 to 51 %.
    @Test(arguments: [1, 2])
    func aShareOfCountsRestsOnTheWhole(rounds: Int) {
        let samples = (0..<rounds).map { round in
            var sample = Made.sample(round: round)
            sample.tally.planned = 10_000
            sample.tally.outcomes = ["ok": 9800, "error": 200]
            sample.tally.statuses = ["503": 110]
            return sample
        }
        let evaluation = Evaluation(
            samples: samples, rounds: Array(0..<rounds), arms: [.mesh], minTailSamples: 10,
            random: SeededRandom(seed: 1))
        let judgement = evaluation.judge(
            Expectation(
                source: "made",
                left: .quotient(
                    .metric(.count(.shareOfStatus(503))),
                    .metric(.count(.shareOfOutcome(.error)))),
                comparison: .equal, right: .theory(.binomial, [.literal(0.5, .share)]),
                tolerance: nil, need: .absolute(0.2), phase: nil, arm: nil))
        #expect(judgement.result.samples == UInt64(200 * rounds))
        // 55 % of 200 are usual, of 400 not quite.
        #expect(judgement.result.verdict == .pass, "\(judgement.result)")
    }

    @Test func refusalsOfAQueueMayBeFurtherOff() {
        let erlang = Term.erlangB(servers: .literal(10, .one), load: .literal(20, .one))
        // 53.8 %; of independent requests 5,509 would be too many.
        #expect(judge(refused: 5560, erlang).result.verdict == .pass)
        #expect(judge(refused: 5000, erlang).result.verdict == .fail)
    }

    @Test func theArithmeticTakesTheIntervalAlong() {
        let rest = Term.difference(.literal(1, .share), Self.tenth)
        #expect(judge(refused: 9000, rest).result.verdict == .pass)
        #expect(judge(refused: 9200, rest).result.verdict == .fail)
    }

    @Test func argumentsMayBeMeasured() {
        // As many tokens come as requests do: none is refused.
        let bucket = Term.theory(
            .tokenBucket,
            [
                .metric(.offeredRate), .metric(.offeredRate), .literal(10, .one),
                .literal(10e9, .time), .literal(0, .time),
            ])
        #expect(judge(refused: 0, bucket).result.verdict == .pass)
        #expect(judge(refused: 100, bucket).result.verdict == .fail)
        // Out of range: no load is below zero.
        let wrong = Term.erlangB(
            servers: .literal(10, .one),
            load: .difference(.literal(0, .one), .metric(.shareOfFlag(.UO))))
        let judgement = judge(refused: 100, wrong)
        #expect(judgement.result.verdict == .inconclusive && !judgement.isOpen)
    }

    @Test func evenRequestsAreRefusedToTheRequest() {
        let bucket = Term.theory(
            .tokenBucket,
            [
                .literal(1000, .rate), .literal(500, .rate), .literal(100, .one),
                .literal(10e9, .time), .literal(0, .time),
            ])
        // 5,100 of 10,000 are let in.
        #expect(judge(refused: 4900, bucket, isPoisson: false).result.verdict == .pass)
        #expect(judge(refused: 4905, bucket, isPoisson: false).result.verdict == .fail)
        #expect(judge(refused: 4905, bucket, isPoisson: true).result.verdict == .pass)
    }

    /// A bucket that is filled in steps lets in up to a step's tokens less or more, in every round
    /// anew: more rounds do not tell more.
    @Test(arguments: [1, 3, 6])
    func eachRoundHasItsOwnBucket(rounds: Int) {
        let bucket = Term.theory(
            .tokenBucket,
            [
                .literal(300, .rate), .literal(100, .rate), .literal(100, .one),
                .literal(10.5e9, .time), .literal(1e9, .time),
            ])
        let samples = (0..<rounds).map { round in
            var sample = Made.sample(round: round)
            sample.tally.planned = 3150
            // 1,100 are let in, of 1,150 on average.
            sample.tally.flags = ["RL": 2050]
            return sample
        }
        let judgement = Evaluation(
            samples: samples, rounds: Array(0..<rounds), arms: [.mesh], minTailSamples: 10,
            random: SeededRandom(seed: 1), isPoisson: false
        ).judge(
            Expectation(
                source: "made", left: .metric(.shareOfFlag(.RL)), comparison: .equal,
                right: bucket, tolerance: nil, need: .absolute(0.05), phase: nil, arm: nil))
        #expect(judgement.result.verdict == .pass, "\(judgement.result)")
    }

    /// Times that no run has end in no value, or in one: in no case in none of the program.
    @Test(arguments: [0.1, 0.9e18, 1e18, 8.9e18, 1e300])
    func timesMayBeAnything(time: Double) {
        for theory in [Theory.tokenBucket, .ejectionErrors] {
            let values = theory.parameters.map { parameter -> Double in
                switch parameter.kind {
                case .time, .span: time
                default: 10
                }
            }
            let prediction = theory.prediction(values, isPoisson: false)
            #expect((prediction == nil) == (time >= 1e18), "\(theory)")
        }
    }

    @Test func everyFunctionTakesItsDefaults() {
        for theory in Theory.allCases {
            let values = theory.parameters.map { parameter -> Double in
                if let standard = parameter.standard { return standard }
                return switch parameter.kind {
                case .count, .number: 10
                case .share: 0.5
                case .rate: 100
                case .time, .span: 1e9
                }
            }
            let prediction = theory.prediction(values, isPoisson: true)
            #expect(prediction?.value.isFinite == true, "\(theory)")
            let none = values.map { _ in Double.nan }
            #expect(theory.prediction(none, isPoisson: true) == nil)
            let huge = values.map { _ in 1e300 }
            #expect(theory.prediction(huge, isPoisson: true) == nil)
        }
    }
}
