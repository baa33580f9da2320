import Base
import Model
import Posix
import Report

extension RunResult {
    /// Joins findings, surroundings and the course of the run.
    init(
        _ order: RunOrder, _ findings: Findings, _ fingerprint: Fingerprint, started: ClockPair,
        ended: ClockPair, isPartial: Bool, failure: RigError?, isInterrupted: Bool
    ) {
        let experiment = order.experiment
        let expectations = findings.judgements.map(\.result)
        var validity = findings.trust.validity
        if let failure { validity.warnings.append("The run ended early: \(failure.message)") }
        let verdict = Verdict(validity: validity, expectations: expectations)
        let hashes = findings.records.first?.samples.first?.scheduleHash
        self.init(
            scenario: .init(
                name: experiment.name, about: experiment.about, file: order.file,
                seed: experiment.seed, hash: order.hash, scheduleHash: hashes ?? "none"),
            startedAt: isoTime(started.wall),
            durationSeconds: (ended.monotonic - started.monotonic).seconds, partial: isPartial,
            command: order.command, environment: fingerprint.facts,
            configuration: order.configuration, phases: findings.phases, rounds: findings.rounds,
            overheads: findings.overheads, fits: findings.fits, timelines: findings.timelines,
            expectations: expectations, validity: validity, verdict: verdict,
            exit: Exit(
                validity: validity, expectations: expectations, failure: failure,
                isInterrupted: isInterrupted))
    }
}

extension RunResult.Verdict {
    /// The verdict of a whole run: invalid before fail, fail before inconclusive.
    init(validity: RunResult.Validity, expectations: [RunResult.ExpectationResult]) {
        let all = Set(expectations.map(\.verdict))
        if !validity.valid {
            self = .invalid
        } else if all.contains(.fail) {
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
        failure: RigError?, isInterrupted: Bool
    ) {
        var causes: [(code: ExitCode, reason: String)] = []
        if isInterrupted { causes.append((.interrupted, "stopped by the user")) }
        if let failure { causes.append((.failed, failure.message)) }
        if !validity.valid { causes.append((.invalid, "the measurement is invalid")) }
        let failed = expectations.count { $0.verdict == .fail }
        if failed > 0 {
            let text = "\(failed) of \(expectations.count) expectations failed"
            causes.append((.expectationFailed, text))
        }
        // No setting makes an inconclusive expectation fail a run yet: it is told, and the code is
        // 0.
        let open = expectations.count { $0.verdict == .inconclusive }
        var reasons = causes.map(\.reason)
        if open > 0 {
            reasons.append("\(open) of \(expectations.count) expectations are inconclusive")
        }
        self.init(code: ExitCode.gravest(of: causes.map(\.code)).rawValue, reasons: reasons)
    }
}
