// Runs scenarios one after the other into one folder, and tells of each what it says of the
// features that it proves.

public import Base
import Model
import Posix
public import Report

/// A set of scenarios to be run on one data plane.
public struct ConformOrder: Sendable {
    public var dataPlane: String
    /// Each with its own experiment; the folder of results is replaced.
    public var orders: [RunOrder]
    /// The folder under which a folder for all of them is made.
    public var parent: String

    public init(dataPlane: String, orders: [RunOrder], parent: String) {
        self.dataPlane = dataPlane
        self.orders = orders
        self.parent = parent
    }

    /// How long all phases of the least number of rounds take, without starting and stopping.
    public var leastDuration: Duration {
        orders.reduce(.zero) { $0 + $1.experiment.duration(rounds: $1.experiment.rounds.min) }
    }
}

/// What came of it.
public struct ConformOutcome: Sendable {
    public var conformance: Conformance
    /// Where the results are.
    public var folder: String
}

/// Runs all of them.
///
/// One that cannot be run fails by itself and lets the others go on. When the user stops a run,
/// the others are not begun.
/// - Throws: `RigError` where nothing can be written, `.interrupted` where the user wants no
///   report.
public func conform(
    _ order: ConformOrder, progress: Progress, interrupts: Interrupts
) throws(RigError) -> ConformOutcome {
    let started = ClockPair.now()
    let folder = try makeNewFolder(order.parent + "/conform/" + compactTime(started.wall))
    progress.say(
        "\(order.orders.count) scenarios, at least \(Int(order.leastDuration.seconds)) s and the "
            + "time to start and stop processes")
    var entries: [Conformance.Entry] = []
    for (index, one) in order.orders.enumerated() {
        progress.say("\(index + 1) of \(order.orders.count): \(one.experiment.name)")
        let entry = try run(one, in: folder, progress, interrupts)
        entries.append(entry)
        if entry.exitCode == ExitCode.interrupted.rawValue { break }
    }
    let ended = ClockPair.now()
    let conformance = Conformance(
        dataPlane: order.dataPlane, startedAt: isoTime(started.wall),
        durationSeconds: (ended.monotonic - started.monotonic).seconds, scenarios: entries,
        notBegun: order.orders.dropFirst(entries.count).map(\.experiment.name))
    try writeFile(conformance.json(), to: folder + "/conform.json")
    try writeFile(Array(conformance.markdown.utf8), to: folder + "/conform.md")
    try writeFile(Array(conformance.text(colour: false).utf8), to: folder + "/conform.txt")
    return ConformOutcome(conformance: conformance, folder: folder)
}

private func run(
    _ order: RunOrder, in folder: String, _ progress: Progress, _ interrupts: Interrupts
) throws(RigError) -> Conformance.Entry {
    var order = order
    order.parent = folder
    let begun = Clock.now()
    let experiment = order.experiment
    do throws(RigError) {
        let outcome = try run(order, progress: progress, interrupts: interrupts)
        let place =
            outcome.folder.hasPrefix(folder + "/")
            ? String(outcome.folder.dropFirst(folder.count + 1)) : outcome.folder
        return Conformance.Entry(outcome.result, proves: experiment.proves, folder: place)
    } catch {
        if error.kind == .interrupted { throw error }
        progress.finish()
        return Conformance.Entry(
            name: experiment.name, about: experiment.about, proves: experiment.proves,
            verdict: .fail, control: nil, exitCode: ExitCode.failed.rawValue,
            reasons: ["the run failed: \(error.message)"],
            durationSeconds: (Clock.now() - begun).seconds, folder: nil)
    }
}
