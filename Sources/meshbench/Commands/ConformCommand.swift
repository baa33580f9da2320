import Base
import FoundationEssentials
import Glibc
import Model
import Posix
import Report
import Rig
import Scenario

extension Command {
    static let conform = Command(
        name: "conform",
        about: "Run the scenarios of resilience and print which features hold",
        detail: """
            Runs every scenario of a folder, each with its control: the same again without the \
            protection that it is about, where its expectations must fail. Prints the matrix of \
            features (docs/SEMANTICS.md), and leaves all results in one folder.

            As many are run at once as --jobs says, each with processes of its own. What then is \
            not to be believed, as the machine was late, is run again by itself.

            Ends as 'run' does, with the gravest of all scenarios.
            """,
        flags: [.only, .jobs, .dataPlane, .scenarios, .set, .out, .conformFormat, .quiet],
        run: runConform)
}

extension Flag {
    static let only = Flag(
        "--only", "NAME", repeats: true, about: "run this scenario, by the name of its file")
    static let jobs = Flag(
        "--jobs", "N", standard: "usable cores", about: "scenarios to run at once")
    static let dataPlane = Flag(
        "--data-plane", "NAME", standard: "reference", about: "whose proxies")
    static let scenarios = Flag(
        "--scenarios", "DIR", standard: "scenarios/resilience", about: "the folder with scenarios")
    static let conformFormat = Flag(
        "--format", "FORMAT", standard: "text", about: "what to print: text, json or markdown")
}

private enum ConformFormat: String, CaseIterable {
    case text
    case json
    case markdown
}

private func runConform(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    let format: ConformFormat = try word(arguments, .conformFormat) ?? .text
    // For others later.
    let planes = ["reference"]
    let plane = arguments.value(.dataPlane) ?? planes[0]
    guard planes.contains(plane) else {
        throw arguments.usage(
            "unknown data plane '\(plane)'\(suggestion(for: plane, in: planes)) "
                + "(known: \(planes.joined(separator: ", ")))")
    }
    let most = ConformOrder.mostJobs
    let jobs =
        try arguments.integer(.jobs, in: 1...most) ?? min(max(usableCores()?.count ?? 1, 1), most)
    let paths = try scenarioPaths(arguments)
    // Every error of every file, before anything is run.
    var orders: [RunOrder] = []
    var failure: CommandFailure?
    for path in paths {
        do throws(CommandFailure) {
            orders.append(
                try runOrder(path, overrides: arguments.values(.set), out: arguments.value(.out)))
        } catch {
            // What is wrong with `--set` is so for all of them, and is said once.
            guard failure?.message.contains(error.message) != true else { continue }
            failure = CommandFailure(
                code: error.code,
                message: (failure.map { $0.message + "\n" } ?? "") + error.message)
        }
    }
    if let failure { throw failure }
    let order = ConformOrder(
        dataPlane: plane, orders: orders, parent: arguments.value(.out) ?? "results", jobs: jobs)
    if let name = order.clash {
        throw CommandFailure(
            code: .badScenario, message: "meshbench conform: several scenarios are named '\(name)'")
    }
    let progress = Progress(.suited(quiet: arguments.has(.quiet)))
    do throws(RigError) {
        let outcome = try conform(order, progress: progress, interrupts: try Interrupts())
        let result = outcome.conformance
        switch format {
        case .json: put(result.json())
        case .markdown: put(Array(result.markdown.utf8))
        case .text:
            let colour = isatty(STDOUT_FILENO) == 1 && !Progress.isColourUnwanted
            put(Array((result.text(colour: colour) + "\nresults: \(outcome.folder)\n").utf8))
        }
        return ExitCode(rawValue: result.exit.code) ?? .failed
    } catch {
        progress.finish()
        let code: ExitCode = error.kind == .interrupted ? .interrupted : .failed
        throw CommandFailure(code: code, message: "meshbench conform: \(error)")
    }
}

private func word<Word: RawRepresentable & CaseIterable>(
    _ arguments: Arguments, _ flag: Flag
) throws(CommandFailure) -> Word? where Word.RawValue == String {
    guard let text = arguments.value(flag) else { return nil }
    if let word = Word(rawValue: text) { return word }
    let known = Word.allCases.map(\.rawValue)
    let hint = suggestion(for: text, in: known)
    throw arguments.usage(
        "'\(flag.name) \(text)': \(known.joined(separator: ", ")) are known\(hint)")
}

/// The files to run, by name.
private func scenarioPaths(_ arguments: Arguments) throws(CommandFailure) -> [String] {
    let folder = arguments.value(.scenarios) ?? "scenarios/resilience"
    let files: [String]
    do {
        files = try FileManager.default.contentsOfDirectory(atPath: folder)
    } catch {
        throw arguments.usage(
            "the folder '\(folder)' cannot be read: run from the root of the project, or say "
                + "--scenarios DIR")
    }
    let names = files.filter { $0.hasSuffix(".yaml") }.map { String($0.dropLast(5)) }.sorted()
    guard !names.isEmpty else { throw arguments.usage("there is no scenario in '\(folder)'") }
    var wanted: [String] = []
    for name in arguments.values(.only) {
        guard names.contains(name) else {
            let hint = suggestion(for: name, in: names)
            throw arguments.usage("there is no scenario '\(name)' in '\(folder)'\(hint)")
        }
        if !wanted.contains(name) { wanted.append(name) }
    }
    return (wanted.isEmpty ? names : wanted).map { "\(folder)/\($0).yaml" }
}
