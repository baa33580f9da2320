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
    /// The program whose roles are started.
    public var program: Program
    public var version: String
    /// At most so long before each intended instant is spent spinning by the load generators.
    public var spin: Duration

    /// Four times that of `meshbench load`: beside the processes of an arm, wake-ups come later.
    public static let standardSpin = Duration.microseconds(200)

    public init(
        experiment: Experiment, file: String, source: String, resolved: String, hash: String,
        configuration: [RunResult.Fact], warnings: [String], command: [String], parent: String,
        program: Program, version: String, spin: Duration
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
///   where the user wants no report either. What was written by then is kept where the error says,
///   unless the user stopped the run before anything was measured.
public func run(
    _ order: RunOrder, progress: Progress, interrupts: Interrupts
) throws(RigError) -> RunOutcome {
    let lineup = try Lineup(order.experiment)
    // Before anything is written or started: an arm may come after minutes of another.
    for program in ForeignProgram.allCases where lineup.programs.contains(program) {
        _ = try program.path()
    }
    let started = ClockPair.now()
    var fingerprint = Fingerprint.take(program: order.program.path, version: order.version)
    fingerprint.facts += ForeignProgram.allCases.filter(lineup.programs.contains)
        .compactMap(\.fact)
    let folder = try ResultsFolder(
        parent: order.parent, name: order.experiment.name, moment: started.wall,
        commit: fingerprint.commit)
    do throws(RigError) {
        return try run(
            order, lineup, in: folder, fingerprint, started: started, progress, interrupts)
    } catch {
        guard error.kind != .interrupted || folder.hasMeasured else { throw error }
        var error = error
        error.kept = folder.keepUnfinished()
        throw error
    }
}

private func run(
    _ order: RunOrder, _ lineup: Lineup, in folder: ResultsFolder, _ fingerprint: Fingerprint,
    started: ClockPair, _ progress: Progress, _ interrupts: Interrupts
) throws(RigError) -> RunOutcome {
    var place = try Workplace(program: order.program, folder: folder, interrupts: interrupts)
    try folder.write(order.source, to: "scenario.yaml")
    try folder.write(order.resolved, to: "scenario-as-run.yaml")

    try place.issue(lineup.identities)
    let (records, ending) = try measure(
        order, lineup, place, progress, warnings: fingerprint.warnings)
    progress.finish()
    if interrupts.isAborting {
        throw RigError(.interrupted, "stopped by the user, without a report")
    }
    place.journal.note("judging")

    let findings = Findings(
        order.experiment, records, warnings: order.warnings + fingerprint.warnings)
    let result = RunResult(
        order, findings, fingerprint, started: started, ended: .now(),
        ending: ending)
    try folder.write(result, findings, started: started)
    place.journal.note(
        "judged", ["verdict": result.verdict.rawValue, "exit": "\(result.exit.code)"])
    return RunOutcome(result: result, folder: try folder.publish())
}

/// Why there are no more rounds.
enum RunEnding {
    /// There are enough of them.
    case complete
    /// The user stopped the run. Whoever does so while it is judged stops nothing: it is complete.
    case interrupted
    case failed(RigError)

    var failure: RigError? {
        if case .failed(let error) = self { error } else { nil }
    }

    var isInterrupted: Bool {
        if case .interrupted = self { true } else { false }
    }
}

/// Runs rounds until there are enough of them.
/// - Returns: the records of complete rounds, and why there are no more.
/// - Throws: what ended the run before a round was complete: there is nothing to report.
private func measure(
    _ order: RunOrder, _ lineup: Lineup, _ place: Workplace, _ progress: Progress,
    warnings: [String]
) throws(RigError) -> ([ArmRecord], RunEnding) {
    let experiment = order.experiment
    progress.begin(experiment)
    var pacing = Pacing(experiment, warnings: order.warnings + warnings)
    var records: [ArmRecord] = []
    do throws(RigError) {
        for round in 0..<experiment.rounds.max {
            var turns: [ArmRecord] = []
            for (position, arm) in experiment.turns(ofRound: round).enumerated() {
                turns.append(
                    try lineup.turn(
                        of: arm.name, round: round, position: position, in: place, progress,
                        spin: order.spin))
                progress.finishTurn()
            }
            try compareSchedules(turns, round: round)
            // A round counts as a whole or not at all.
            records += turns
            if pacing.isEnough(records) { break }
        }
        return (records, .complete)
    } catch {
        place.journal.note("ended early", ["why": error.message])
        if records.isEmpty { throw error }
        return (records, error.kind == .interrupted ? .interrupted : .failed(error))
    }
}

/// - Throws: where the arms of a round were not offered the same requests: their difference would
///   be
///   no cost of the mesh.
func compareSchedules(_ turns: [ArmRecord], round: Int) throws(RigError) {
    let hashes = Set(turns.compactMap { $0.samples.first?.scheduleHash })
    guard hashes.count > 1 else { return }
    throw RigError(
        .speech,
        "round \(round + 1): the arms were offered different schedules: "
            + hashes.sorted().joined(separator: ", "))
}

/// When a run has rounds enough.
struct Pacing {
    let experiment: Experiment
    let warnings: [String]
    /// Rounds that counted when it was last looked.
    private var seen = 0

    init(_ experiment: Experiment, warnings: [String]) {
        self.experiment = experiment
        self.warnings = warnings
    }

    /// Whether no further round is to be run.
    /// - Parameter records: of all complete rounds.
    mutating func isEnough(_ records: [ArmRecord]) -> Bool {
        let rounds = Set(records.map(\.round)).count
        guard rounds >= experiment.rounds.min else { return false }
        if rounds >= experiment.rounds.max { return true }
        let findings = Findings(experiment, records, warnings: warnings)
        let counted = findings.trust.counted.count
        // What sets every round aside, and what was asked for and not done, is no chance
        // disturbance: more rounds would not be better.
        if counted == 0 || !findings.trust.isDelivered { return true }
        defer { seen = counted }
        // Between the looks no expectation is looked at, settled as it may seem: see `looks`.
        guard counted > seen, experiment.rounds.looks.contains(counted) else { return false }
        return !(findings.judgements + findings.teeth.flatMap(\.judgements)).contains(
            where: \.isOpen)
    }
}
