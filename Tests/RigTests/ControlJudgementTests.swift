import Base
import Model
import Posix
import Report
import Testing

@testable import Rig

/// What becomes of controls: expectations that must fail in a rerun.
@Suite struct ControlJudgementTests {
    private static let rerun = ArmName(rawValue: "control")

    private func experiment(_ limit: Double) -> Experiment {
        let expectation = Expectation(
            source: "p50(response) < limit", left: .metric(.percentile(0.5, .response)),
            comparison: .less, right: .literal(limit, .time), tolerance: nil, phase: nil,
            arm: .mesh, name: "quick")
        var experiment = Made.experiment(
            rounds: RoundsPlan(min: 1, max: 1), expectations: [expectation])
        experiment.controls = [
            NegativeControl(
                arm: ArmPlan(name: Self.rerun, via: .mesh), of: .mesh,
                changes: ["without policies.echo"], mustFail: [0], experiment: experiment)
        ]
        return experiment
    }

    /// 2 ms through the mesh, 4 ms without what makes it quick.
    private func findings(limit milliseconds: Double, steal: Double = 0) -> Findings {
        var samples = [
            Made.sample(arm: .direct, latency: .milliseconds(1)),
            Made.sample(arm: .mesh, latency: .milliseconds(2)),
            Made.sample(arm: Self.rerun, latency: .milliseconds(4)),
        ]
        samples[2].machine?.stolen = steal
        return Findings(
            experiment(milliseconds * 1e6), samples.map(Made.record), warnings: [])
    }

    @Test(
        arguments: [
            (3, .pass, .fail, .pass, 0), (5, .pass, .pass, .fail, 99),
            (1, .fail, .fail, .pass, 99),
        ]
            as [(
                Double, RunResult.Verdict, RunResult.Verdict, RunResult.Verdict, Int32
            )])
    func anExpectationThatHoldsWithoutItHasNoTeeth(
        limit: Double, own: RunResult.Verdict, rerun: RunResult.Verdict,
        control: RunResult.Verdict, code: Int32
    ) throws {
        let found = findings(limit: limit)
        let expectations = found.judgements.map(\.result)
        #expect(expectations.map(\.verdict) == [own])
        let result = try #require(found.controls.first)
        #expect(result.expectations.map(\.verdict) == [rerun])
        #expect(result.expectations.first?.name == "quick")
        #expect(result.verdict == control)
        let exit = RunResult.Exit(
            validity: found.trust.validity, expectations: expectations, controls: found.controls,
            failure: nil, isInterrupted: false, onInconclusive: .warn)
        #expect(exit.code == code)
        if control == .fail {
            #expect(
                exit.reasons == [
                    "no teeth: 'quick' holds in the control too, without policies.echo"
                ])
        }
        let verdict = RunResult.Verdict(
            validity: found.trust.validity, expectations: expectations, controls: found.controls,
            hasFailed: false)
        #expect(verdict == (code == 0 ? .pass : .fail))
    }

    /// What was disturbed proves nothing, neither way.
    @Test func anInvalidRerunIsNotJudged() {
        let found = findings(limit: 3, steal: 0.5)
        #expect(!found.trust.validity.valid)
        #expect(found.controls.map(\.verdict) == [.invalid])
    }

    /// It is an arm of its own in everything that was measured, and compared with nothing.
    @Test func itsFiguresAreKept() {
        let found = findings(limit: 3)
        #expect(found.phases.map(\.arm) == [.direct, .mesh, Self.rerun])
        #expect(Set(found.overheads.map(\.arm)) == [.mesh])
        #expect(found.steps.isEmpty)
    }

    @Test(
        arguments: [
            ([.fail, .fail], .pass), ([.fail, .pass], .fail),
            ([.inconclusive, .fail], .inconclusive),
            ([.pass, .inconclusive], .fail), ([.invalid, .pass], .invalid),
        ] as [([RunResult.Verdict], RunResult.Verdict)])
    func oneThatHoldsIsEnough(all: [RunResult.Verdict], verdict: RunResult.Verdict) {
        #expect(RunResult.Verdict(ofControl: all) == verdict)
    }
}
