import Base
import Model
import Posix
import Report

extension RunResult {
    /// Joins findings, surroundings and the course of the run.
    init(
        _ order: RunOrder, _ findings: Findings, _ fingerprint: Fingerprint, started: ClockPair,
        ended: ClockPair, ending: RunEnding
    ) {
        let experiment = order.experiment
        let failure = ending.failure
        let expectations = findings.judgements.map(\.result)
        let controls = findings.controls
        let validity = findings.trust.validity
        let verdict = Verdict(
            validity: validity, expectations: expectations, controls: controls,
            hasFailed: failure != nil)
        let hashes = findings.records.first?.samples.first?.scheduleHash
        self.init(
            scenario: .init(
                name: experiment.name, about: experiment.about, file: order.file,
                seed: experiment.seed, hash: order.hash, scheduleHash: hashes ?? "none"),
            startedAt: isoTime(started.wall),
            durationSeconds: (ended.monotonic - started.monotonic).seconds,
            partial: ending.isInterrupted || failure != nil,
            failure: failure?.message, command: order.command, environment: fingerprint.facts,
            configuration: order.configuration, arms: findings.arms, phases: findings.phases,
            rounds: findings.rounds,
            overheads: findings.overheads, steps: findings.steps, fits: findings.fits,
            timelines: findings.timelines, changes: findings.changes, faults: findings.faults,
            expectations: expectations, controls: controls.isEmpty ? nil : controls,
            timeScale: experiment.mesh.timeScale == 1 ? nil : experiment.mesh.timeScale,
            validity: validity, verdict: verdict,
            exit: Exit(
                validity: validity, expectations: expectations, controls: controls,
                failure: failure,
                isInterrupted: ending.isInterrupted, onInconclusive: experiment.onInconclusive))
    }
}

extension RunResult.Verdict {
    /// The verdict of a whole run: invalid before fail, fail before inconclusive. A run that failed
    /// does not pass, whatever its whole rounds say: a proxy that dies is a finding too.
    init(
        validity: RunResult.Validity, expectations: [RunResult.ExpectationResult],
        controls: [RunResult.Control] = [], hasFailed: Bool
    ) {
        let all = Set(expectations.map(\.verdict) + controls.map(\.verdict))
        if !validity.valid {
            self = .invalid
        } else if hasFailed || all.contains(.fail) {
            self = .fail
        } else {
            self = all.contains(.inconclusive) ? .inconclusive : .pass
        }
    }
}

extension RunResult.Exit {
    /// The exit code and all that led to it, the gravest first.
    init(
        validity: RunResult.Validity, expectations: [RunResult.ExpectationResult],
        controls: [RunResult.Control] = [], failure: RigError?, isInterrupted: Bool,
        onInconclusive: Experiment.OnInconclusive
    ) {
        var causes: [(code: ExitCode, reason: String)] = []
        if isInterrupted { causes.append((.interrupted, "stopped by the user")) }
        if let failure { causes.append((.failed, "the run failed: \(failure.message)")) }
        if !validity.valid { causes.append((.invalid, "the measurement is invalid")) }
        let failed = expectations.count { $0.verdict == .fail }
        if failed > 0 {
            let text = "\(failed) of \(expectations.count) expectations failed"
            causes.append((.expectationFailed, text))
        }
        // Whatever they said, it was not of the protection that they are about.
        for control in controls where control.verdict == .fail {
            causes.append((.expectationFailed, control.complaint))
        }
        let undecided: ExitCode = onInconclusive == .fail ? .inconclusive : .success
        let open = expectations.count { $0.verdict == .inconclusive }
        if open > 0 {
            let text = "\(open) of \(expectations.count) expectations are inconclusive"
            causes.append((undecided, text))
        }
        let openControls = controls.count { $0.verdict == .inconclusive }
        if openControls > 0 {
            let text = "\(openControls) of \(controls.count) controls are inconclusive"
            causes.append((undecided, text))
        }
        self.init(
            code: ExitCode.gravest(of: causes.map(\.code)).rawValue, reasons: causes.map(\.reason))
    }
}
