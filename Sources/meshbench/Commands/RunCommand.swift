import Base
import Glibc
import Model
import Posix
import Report
import Rig
import Scenario

extension Command {
    static let run = Command(
        name: "run",
        about: "Run a scenario and report what the mesh costs",
        detail: """
            Starts everything that the scenario names as child processes, runs its rounds, \
            judges, and leaves a folder of results (docs/RESULTS.md). The summary goes to \
            standard output, progress to standard error.

            The first Ctrl-C ends the run and reports the rounds that were complete, marked \
            partial; the second ends it at once. Either way no process is left.

            Ends with 0 if all held, 1 if the rig itself failed, 3 if an expectation could not be \
            decided and the scenario says that this fails, 4 if the measurement is not to \
            be believed, 65 if the scenario is wrong, 99 if an expectation failed, 130 if it was \
            stopped.
            """,
        positionals: [.scenario],
        flags: [.set, .rounds, .seed, .arms, .out, .format, .quiet],
        run: runScenario)
}

extension Flag {
    static let rounds = Flag("--rounds", "N", about: "run exactly so many rounds")
    static let seed = Flag("--seed", "N", about: "derive every schedule and order from this number")
    static let arms = Flag("--arms", "LIST", about: "run only these arms, by name: direct,mesh")
    static let out = Flag("--out", "DIR", standard: "results", about: "the folder for results")
    static let format = Flag(
        "--format", "FORMAT", standard: "text", about: "what to print: text or json")
    static let quiet = Flag("--quiet", about: "show no progress")
}

private func runScenario(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    let asJSON = try wantsJSON(arguments)
    let order = try runOrder(arguments)
    let progress = Progress(.suited(quiet: arguments.has(.quiet)))
    do throws(RigError) {
        let outcome = try run(order, progress: progress, interrupts: try Interrupts())
        if asJSON {
            put(outcome.result.json())
        } else {
            let colour = isatty(STDOUT_FILENO) == 1 && !Progress.isColourUnwanted
            put(Array(outcome.result.summaryText(colour: colour).utf8))
            put(Array("\nresults: \(outcome.folder)\n".utf8))
        }
        return ExitCode(rawValue: outcome.result.exit.code) ?? .failed
    } catch {
        progress.finish()
        let code: ExitCode = error.kind == .interrupted ? .interrupted : .failed
        throw CommandFailure(code: code, message: "meshbench run: \(error)")
    }
}

private func wantsJSON(_ arguments: Arguments) throws(CommandFailure) -> Bool {
    switch arguments.value(.format) ?? "text" {
    case "text": return false
    case "json": return true
    case let other: throw arguments.usage("'--format \(other)': text or json is needed")
    }
}

/// This very program.
func ownProgram() throws(RigError) -> Program {
    do throws(SystemError) { return try Program() } catch { throw RigError(.start, "\(error)") }
}

/// The words that repeat a run from the folder in which it was started.
private func commandLine(_ path: String, _ overrides: [String], out: String?) -> [String] {
    // `scripts/meshbench` says how it was called itself: the program behind it may be out of date
    // by then.
    let script = unsafe getenv("MESHBENCH_COMMAND").map { unsafe String(cString: $0) }
    return [script ?? CommandLine.arguments[0], "run", path]
        + overrides.flatMap { ["--set", $0] } + (out.map { ["--out", $0] } ?? [])
}

/// A setting under the key at the top of the file to which it belongs.
private func fact(_ setting: Setting) -> RunResult.Fact {
    let steps = setting.path.split(separator: ".", maxSplits: 1).map(String.init)
    return steps.count == 2
        ? .init(group: steps[0], name: steps[1], value: setting.value)
        : .init(group: "scenario", name: setting.path, value: setting.value)
}

private func runOrder(_ arguments: Arguments) throws(CommandFailure) -> RunOrder {
    // The flags are short forms of --set, so that what they change stands in the scenario as run.
    var overrides = arguments.values(.set)
    if let rounds = try arguments.integer(.rounds, in: 1...1000) {
        overrides.append("rounds={min: \(rounds), max: \(rounds)}")
    }
    if let seed = try arguments.integer(.seed, in: 0...Int.max) { overrides.append("seed=\(seed)") }
    if let arms = arguments.value(.arms) { overrides.append("arms=[\(arms)]") }
    return try runOrder(
        arguments.positionals[0], overrides: overrides, out: arguments.value(.out))
}

/// A run of the scenario in a file.
func runOrder(
    _ path: String, overrides: [String], out: String?
) throws(CommandFailure) -> RunOrder {
    let scenario: ScenarioFile
    do throws(ScenarioError) {
        scenario = try ScenarioFile(path: path, overrides: overrides)
    } catch {
        throw CommandFailure(error)
    }
    let program: Program
    do throws(RigError) { program = try ownProgram() } catch {
        throw .failed("meshbench run: \(error)")
    }
    return RunOrder(
        experiment: scenario.experiment, file: path, source: scenario.source,
        resolved: scenario.resolved, hash: scenario.hash,
        configuration: scenario.settings.map(fact),
        warnings: scenario.experiment.warnings.map { "\($0)" },
        command: commandLine(path, overrides, out: out), parent: out ?? "results",
        program: program, version: programVersion,
        spin: RunOrder.standardSpin)
}

/// Writes to standard output. What nobody reads is not worth an error.
func put(_ bytes: [UInt8]) {
    var sent = 0
    while sent < bytes.count {
        let count = unsafe bytes.withUnsafeBytes {
            unsafe write(STDOUT_FILENO, $0.baseAddress?.advanced(by: sent), bytes.count - sent)
        }
        if count < 0 && errno == EINTR { continue }
        if count <= 0 { return }
        sent += count
    }
}
