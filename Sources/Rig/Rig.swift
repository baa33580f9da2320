// A run from beginning to end, as a table of contents: lay out, start, rounds, judge, report.

public import Base
public import Model
import Posix
public import Report

/// What to run and where to leave what it gives.
public struct RunOrder: Sendable {
    public var experiment: Experiment
    /// The path of the scenario, as given.
    public var file: String
    /// The scenario as written, and as run: with overrides and variables put in.
    public var source: String
    public var resolved: String
    /// FNV-1a 64 of `resolved`, in hex.
    public var hash: String
    /// Every setting in force.
    public var configuration: [RunResult.Fact]
    /// What a reader should know about the scenario.
    public var warnings: [String]
    /// The words that repeat the run.
    public var command: [String]
    /// The folder under which the results go, `results` by default.
    public var parent: String
    /// The program whose roles are started; absolute.
    public var program: String
    public var version: String
    /// At most so long before each intended instant is spent spinning by the load generators.
    public var spin: Duration

    public init(
        experiment: Experiment, file: String, source: String, resolved: String, hash: String,
        configuration: [RunResult.Fact], warnings: [String], command: [String], parent: String,
        program: String, version: String, spin: Duration
    ) {
        self.experiment = experiment
        self.file = file
        self.source = source
        self.resolved = resolved
        self.hash = hash
        self.configuration = configuration
        self.warnings = warnings
        self.command = command
        self.parent = parent
        self.program = program
        self.version = version
        self.spin = spin
    }
}

/// A finished run.
public struct RunOutcome: Sendable {
    public var result: RunResult
    /// Where the results are.
    public var folder: String
}

/// Runs an experiment, start to finish.
///
/// Call it from the thread that lives as long as the process: the roles die with the thread that
/// started them. When this returns or throws, no process is left.
/// - Throws: `RigError` where the run itself failed and there is nothing to report, `.interrupted`
///   where the user wants no report either.
public func run(
    _ order: RunOrder, progress: Progress, interrupts: Interrupts
) throws(RigError) -> RunOutcome {
    let started = ClockPair.now()
    let fingerprint = Fingerprint.take(program: order.program, version: order.version)
    let folder = try ResultsFolder(
        parent: order.parent, name: order.experiment.name, moment: started.wall,
        commit: fingerprint.commit)
    let place = try Workplace(program: order.program, folder: folder, interrupts: interrupts)
    try folder.write(order.source, to: "scenario.yaml")
    try folder.write(order.resolved, to: "scenario-as-run.yaml")

    let (records, failure) = try measure(order, place, progress, warnings: fingerprint.warnings)
    progress.finish()
    if interrupts.isAborting {
        throw RigError(.interrupted, "stopped by the user, without a report")
    }

    let findings = Findings(
        order.experiment, records, warnings: order.warnings + fingerprint.warnings)
    let result = RunResult(
        order, findings, fingerprint, started: started, ended: .now(),
        isPartial: interrupts.isStopping || failure != nil, failure: failure,
        isInterrupted: interrupts.isStopping)
    try folder.write(result, findings, started: started)
    place.journal.note(
        "judged", ["verdict": result.verdict.rawValue, "exit": "\(result.exit.code)"])
    return RunOutcome(result: result, folder: try folder.publish())
}

/// Starts all arms and runs rounds until there are enough of them.
/// - Returns: the records of complete rounds, and what ended the run early, if anything but the
///   user did.
private func measure(
    _ order: RunOrder, _ place: Workplace, _ progress: Progress, warnings: [String]
) throws(RigError) -> ([ArmRecord], RigError?) {
    let experiment = order.experiment
    progress.begin(experiment)
    var rosters: [Arm: Roster] = [:]
    defer {
        place.journal.note("stop")
        for roster in rosters.values { roster.stop() }
    }
    do throws(RigError) {
        for arm in experiment.arms {
            rosters[arm] = try Roster(try Topology(arm, of: experiment), in: place)
        }
    } catch {
        // Before the first round nothing is lost: the user's stop and a failed start have no
        // report.
        throw error
    }
    var records: [ArmRecord] = []
    do throws(RigError) {
        var round = 0
        while round < experiment.rounds.max {
            var turns: [ArmRecord] = []
            for (position, arm) in experiment.order(ofRound: round).enumerated() {
                guard let roster = rosters[arm] else { preconditionFailure("an arm not started") }
                let turn = Turn(
                    experiment: experiment, roster: roster, round: round, position: position,
                    place: place, progress: progress, spin: order.spin)
                turns.append(try turn.run())
                progress.finishTurn()
            }
            // A round counts as a whole or not at all.
            records += turns
            round += 1
            if isEnough(experiment, records, rounds: round, warnings: warnings) { break }
        }
        return (records, nil)
    } catch {
        place.journal.note("ended early", ["why": error.message])
        // A failure before the first whole round leaves nothing to report, the user's stop does.
        if error.kind != .interrupted && records.isEmpty { throw error }
        return (records, error.kind == .interrupted ? nil : error)
    }
}

/// Whether there are enough rounds that count, and every expectation is settled.
private func isEnough(
    _ experiment: Experiment, _ records: [ArmRecord], rounds: Int, warnings: [String]
) -> Bool {
    guard rounds >= experiment.rounds.min else { return false }
    if rounds >= experiment.rounds.max { return true }
    let findings = Findings(experiment, records, warnings: warnings)
    return findings.trust.validity.valid && !findings.judgements.contains(where: \.isOpen)
}
