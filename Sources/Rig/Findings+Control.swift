import Model
import Report

extension Findings {
    /// Of each control the expectations that must fail, judged in the rerun.
    var teeth: [(control: NegativeControl, judgements: [Judgement])] {
        experiment.controls.map { control in
            let judgements = control.mustFail.map { index in
                var expectation = experiment.expectations[index]
                expectation.arm = control.arm.name
                return judgement(of: expectation)
            }
            return (control, judgements)
        }
    }

    var controls: [RunResult.Control] {
        teeth.map { control, judgements in
            let results = judgements.map(\.result)
            return RunResult.Control(
                arm: control.arm.name, of: control.of, changes: control.changes,
                expectations: results, verdict: .init(ofControl: results.map(\.verdict)))
        }
    }
}
