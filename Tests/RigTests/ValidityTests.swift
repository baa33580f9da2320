import Base
import Model
import Posix
import Report
import Stats
import Testing

@testable import Rig

@Suite struct ValidityTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var broken: Finding.Rule?
        var change: @Sendable (inout Sample) -> Void
    }

    private static let cases = [
        Case(testDescription: "all is well", broken: nil) { _ in },
        Case(testDescription: "just enough was sent", broken: nil) { $0.loads[0].sent = 9_900 },
        Case(testDescription: "too little was sent", broken: .achieved) {
            $0.loads[0].sent = 9_899
        },
        Case(testDescription: "late within the limit", broken: nil) {
            $0.loads[0].lagP99 = .milliseconds(1)
        },
        Case(testDescription: "late", broken: .lag) { $0.loads[0].lagP99 = .microseconds(1_001) },
        Case(testDescription: "one of two is late", broken: .lag) {
            $0.loads.append(Made.load(sample: "second"))
            $0.loads[1].lagP99 = .milliseconds(2)
        },
        Case(testDescription: "a closed loop has no schedule to miss", broken: nil) {
            $0.loads[0].isOpen = false
            $0.loads[0].sent = 1
            $0.loads[0].lagP99 = .milliseconds(2)
        },
        Case(testDescription: "generator saturated", broken: .generator) {
            $0.loads[0].busy = 0.81
        },
        Case(testDescription: "generator without descriptors", broken: .connections) {
            $0.loads[0].localFailures = 1
        },
        Case(testDescription: "machine saturated", broken: .machine) {
            $0.machine = .init(busy: 0.91, stolen: 0, softInterrupts: 0)
        },
        Case(testDescription: "steal", broken: .steal) {
            $0.machine = .init(busy: 0.3, stolen: 0.021, softInterrupts: 0)
        },
        Case(testDescription: "held back by a quota", broken: .throttled) {
            $0.machine = .init(busy: 0.3, stolen: 0, softInterrupts: 0, throttled: 0.021)
        },
        Case(testDescription: "clock set", broken: .clock) { $0.clockStepped = true },
        Case(testDescription: "a worker was replaced", broken: .workers) {
            $0.lostWorkers = ["web/0"]
        },
        Case(testDescription: "no answers", broken: .samples) { $0.tally.completed = 0 },
    ]

    @Test(arguments: cases)
    func rules(_ test: Case) {
        var sample = Made.sample()
        test.change(&sample)
        let broken = Made.limits.findings(sample).filter { !$0.holds }
        #expect(broken.map(\.rule) == (test.broken.map { [$0] } ?? []))
        for finding in broken { #expect(!finding.sentence.isEmpty && !finding.observed.isEmpty) }
    }

    @Test func anIdlePhaseMissesNothing() {
        #expect(Made.limits.findings(Made.idle()).filter { !$0.holds } == [])
        var closed = Made.idle()
        closed.loads[0].isOpen = false
        let broken = Made.limits.findings(closed).filter { !$0.holds }
        #expect(broken.map(\.rule) == [.samples], "a closed loop that asked nothing is stuck")
    }

    @Test func aBusyGeneratorWithClosedArrivalsIsACautionAndNoFault() {
        let samples = (0..<3).map { round in
            var sample = Made.sample(round: round)
            sample.loads[0].isOpen = false
            sample.loads[0].busy = 0.99
            return sample
        }
        #expect(Made.limits.findings(samples[0]).filter { !$0.holds } == [])
        let trust = Trust(
            samples, rounds: [0, 1, 2], experiment: Made.experiment(), warnings: [])
        #expect(trust.validity.valid)
        #expect(trust.validity.warnings.count == 1, "\(trust.validity.warnings)")
        #expect(trust.validity.warnings[0].hasPrefix("mesh, base: with closed arrivals"))
    }

    @Test func whatIsNotKnownDoesNotHold() {
        var sample = Made.sample()
        sample.machine = nil
        let broken = Made.limits.findings(sample).filter { !$0.holds }
        #expect(broken.map(\.rule) == [.machine, .steal, .throttled])
        #expect(broken.allSatisfy { $0.observed == "not known" })
    }

    @Test func oneRuleIsOneReasonHoweverOftenItIsBroken() throws {
        var samples: [Sample] = []
        for round in 0..<4 {
            for arm in [ArmName.direct, .mesh] {
                var sample = Made.sample(round: round, arm: arm)
                sample.loads[0].lagP99 = .milliseconds(Int64(2 + round))
                samples.append(sample)
            }
        }
        let trust = Trust(
            samples, rounds: [0, 1, 2, 3], experiment: Made.experiment(), warnings: [])
        #expect(trust.validity.reasons.count == 2)
        let reason = try #require(trust.validity.reasons.last)
        #expect(reason.hasPrefix("round 4, ") && reason.contains("5.00 ms"), "the worst: \(reason)")
        #expect(reason.hasSuffix("; also in round 1, 2, 3"), "\(reason)")
    }

    private func trust(rounds: Int, bad: Set<Int>, min: Int, max: Int) -> Trust {
        var samples: [Sample] = []
        for round in 0..<rounds {
            samples.append(Made.sample(round: round, arm: .direct))
            var mesh = Made.sample(round: round, arm: .mesh)
            if bad.contains(round) { mesh.clockStepped = true }
            samples.append(mesh)
        }
        return Trust(
            samples, rounds: Array(0..<rounds),
            experiment: Made.experiment(rounds: RoundsPlan(min: min, max: max)), warnings: ["w"])
    }

    @Test func aDisturbedRoundDoesNotCountAndIsReplaced() {
        let trust = trust(rounds: 4, bad: [1], min: 3, max: 5)
        #expect(trust.counted == [0, 2, 3])
        #expect(trust.validity.valid)
        #expect(trust.validity.reasons.isEmpty)
        #expect(trust.validity.warnings.first == "w")
        #expect(trust.validity.warnings.contains { $0.contains("round 2, mesh, base") })
        #expect(trust.validity.checks.filter { !$0.held } == [], "of the rounds that count")
    }

    @Test func tooFewCountedRoundsAreInvalidWithEveryReason() {
        let trust = trust(rounds: 4, bad: [0, 3], min: 3, max: 4)
        #expect(!trust.validity.valid)
        #expect(trust.validity.reasons.count == 2)
        #expect(trust.validity.checks.contains { !$0.held && $0.name == "clock steps, mesh, base" })
    }

    @Test func nothingMeasuredIsInvalid() {
        #expect(!trust(rounds: 0, bad: [], min: 1, max: 1).validity.valid)
    }

    @Test func anInvalidRunClaimsNothing() throws {
        var samples: [Sample] = []
        for round in 0..<2 {
            for arm in [ArmName.direct, .mesh] {
                var sample = Made.sample(round: round, arm: arm)
                sample.clockStepped = true
                samples.append(sample)
            }
        }
        let expectation = Model.Expectation(
            source: "p50(response) < 1s", left: .metric(.percentile(0.5, .response)),
            comparison: .less, right: .literal(1e9, .time), tolerance: nil, phase: nil, arm: nil)
        let findings = Findings(
            Made.experiment(expectations: [expectation]), samples.map(Made.record), warnings: [])
        #expect(!findings.trust.validity.valid)
        #expect(findings.overheads.isEmpty)
        #expect(findings.judgements.map(\.result.verdict) == [.invalid])
        for phase in findings.phases {
            #expect(phase.response.percentiles.filter { $0.supported } == [])
        }
        #expect(findings.rounds.filter { $0.invalid.isEmpty } == [])
    }
}

@Suite struct PacingTests {
    /// p50 of every round is 2 ms, a little more in later ones; the limit lies among them, or not.
    private func rounds(_ count: Int, limit: Duration, bad: Set<Int> = [], plan: RoundsPlan) -> Bool
    {
        let expectation = Model.Expectation(
            source: "p50", left: .metric(.percentile(0.5, .response)), comparison: .less,
            right: .literal(Double(limit.nanoseconds), .time), tolerance: nil, phase: nil, arm: nil)
        let experiment = Made.experiment(
            arms: [.mesh], rounds: plan, expectations: [expectation])
        var pacing = Pacing(experiment, warnings: [])
        var records: [ArmRecord] = []
        for round in 0..<count {
            var sample = Made.sample(
                round: round, latency: .microseconds(1_900 + 50 * Int64(round)))
            sample.clockStepped = bad.contains(round)
            records.append(Made.record(sample))
            if pacing.isEnough(records) { return round == count - 1 }
        }
        return false
    }

    @Test func theLooksAreFewAndFixed() {
        #expect(RoundsPlan(min: 6, max: 12).looks == [6, 9])
        #expect(RoundsPlan(min: 6, max: 7).looks == [6])
        #expect(RoundsPlan(min: 6, max: 6).looks == [])
    }

    @Test func aSettledRunEndsAtItsLeastRounds() {
        #expect(rounds(6, limit: .milliseconds(9), plan: RoundsPlan(min: 6, max: 12)))
    }

    @Test func anOpenOneEndsAtTheMost() {
        #expect(rounds(12, limit: .microseconds(2_150), plan: RoundsPlan(min: 6, max: 12)))
    }

    @Test func aRoundThatDoesNotCountIsNoLook() {
        // After seven rounds six count: the first look, and all is settled.
        #expect(rounds(7, limit: .milliseconds(9), bad: [2], plan: RoundsPlan(min: 6, max: 12)))
    }

    @Test func whereNoRoundCountsMoreAreNoBetter() {
        #expect(
            rounds(
                6, limit: .milliseconds(9), bad: Set(0..<12), plan: RoundsPlan(min: 6, max: 12)))
    }
}

@Suite struct VerdictTests {
    private func expectation(_ verdict: RunResult.Verdict) -> RunResult.ExpectationResult {
        .init(source: "x", verdict: verdict, observed: "", expected: "", samples: 1, reason: "")
    }

    @Test(
        arguments: [
            (true, [], false, false, Int32(0), RunResult.Verdict.pass),
            (true, [.pass, .pass], false, false, 0, .pass),
            (true, [.pass, .inconclusive], false, false, 0, .inconclusive),
            (true, [.pass, .inconclusive, .fail], false, false, 99, .fail),
            (false, [.invalid], false, false, 4, .invalid),
            (false, [.fail], false, false, 4, .invalid),
            (true, [.pass], true, false, 1, .fail),
            (true, [.fail], true, false, 1, .fail),
            (false, [.fail], true, false, 1, .invalid),
            (true, [.fail], false, true, 130, .fail),
            (false, [.fail], true, true, 130, .invalid),
        ] as [(Bool, [RunResult.Verdict], Bool, Bool, Int32, RunResult.Verdict)])
    func theGravestCauseDecides(
        valid: Bool, verdicts: [RunResult.Verdict], failed: Bool, interrupted: Bool, code: Int32,
        verdict: RunResult.Verdict
    ) {
        let validity = RunResult.Validity(valid: valid, reasons: [], warnings: [])
        let results = verdicts.map(expectation)
        let exit = RunResult.Exit(
            validity: validity, expectations: results,
            failure: failed ? RigError(.died, "echo/0 exited with 3") : nil,
            isInterrupted: interrupted, onInconclusive: .warn)
        #expect(exit.code == code)
        #expect(exit.code == 0 || !exit.reasons.isEmpty)
        #expect(
            RunResult.Verdict(validity: validity, expectations: results, hasFailed: failed)
                == verdict)
    }

    @Test(
        arguments: [
            (Experiment.OnInconclusive.warn, [.inconclusive], Int32(0)),
            (.fail, [.inconclusive], 3),
            (.fail, [.inconclusive, .fail], 99), (.fail, [.pass], 0),
        ] as [(Experiment.OnInconclusive, [RunResult.Verdict], Int32)])
    func undecidedExpectationsFailWhereTheScenarioSaysSo(
        choice: Experiment.OnInconclusive, verdicts: [RunResult.Verdict], code: Int32
    ) {
        let exit = RunResult.Exit(
            validity: .init(valid: true, reasons: [], warnings: []),
            expectations: verdicts.map(expectation), failure: nil, isInterrupted: false,
            onInconclusive: choice)
        #expect(exit.code == code)
        #expect(exit.reasons.isEmpty == (verdicts == [.pass]))
    }
}
