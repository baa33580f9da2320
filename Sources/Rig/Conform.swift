// Runs scenarios into one folder, several at once where that is asked for, and tells of each what
// it says of the features that it proves.

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
    /// How many are run at once: each has processes, ports and folders of its own, and shares the
    /// machine only.
    public var jobs: Int

    /// At most so many at once: each starts up to some fifty processes.
    public static let mostJobs = 64

    /// A name that several scenarios have, whose results would stand in one folder; nil: none.
    public var clash: String? {
        var seen: Set<String> = []
        return orders.map(\.experiment.name).first { !seen.insert(fileName($0)).inserted }
    }

    public init(dataPlane: String, orders: [RunOrder], parent: String, jobs: Int) {
        precondition((1...Self.mostJobs).contains(jobs), "\(jobs) scenarios at once")
        self.dataPlane = dataPlane
        self.orders = orders
        self.parent = parent
        self.jobs = jobs
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
/// One that cannot be run fails by itself and lets the others go on. What was measured beside
/// others and is not to be believed is run again by itself: the others may have been what disturbed
/// it. When the user stops a run, the others are not begun.
/// - Throws: `RigError` where nothing can be written, `.interrupted` where the user wants no
///   report.
public func conform(
    _ order: ConformOrder, progress: Progress, interrupts: Interrupts
) throws(RigError) -> ConformOutcome {
    let started = ClockPair.now()
    let folder = try makeNewFolder(order.parent + "/conform/" + compactTime(started.wall))
    // One by itself has nobody beside it.
    let count = order.orders.count
    let jobs = max(1, min(order.jobs, count))
    let atOnce = jobs > 1 ? ", \(jobs) at once" : ""
    progress.say(
        "\(count) \(count == 1 ? "scenario" : "scenarios")\(atOnce), at least "
            + "\(Int(order.leastDuration.seconds) / jobs) s and the time to start and stop "
            + "processes")
    var set = ConformSet(order.orders, in: folder, progress, interrupts)
    if jobs > 1 { try set.runTogether(jobs) }
    try set.runAlone()
    let ended = ClockPair.now()
    let conformance = Conformance(
        dataPlane: order.dataPlane, startedAt: isoTime(started.wall),
        durationSeconds: (ended.monotonic - started.monotonic).seconds,
        scenarios: set.entries.compactMap(\.self), notBegun: set.notBegun)
    try writeFile(conformance.json(), to: folder + "/conform.json")
    try writeFile(Array(conformance.markdown.utf8), to: folder + "/conform.md")
    try writeFile(Array(conformance.text(colour: false).utf8), to: folder + "/conform.txt")
    return ConformOutcome(conformance: conformance, folder: folder)
}

/// How far the scenarios are.
private struct ConformSet {
    let orders: [RunOrder]
    let progress: Progress
    let interrupts: Interrupts
    /// What came of each, in their order; nil: it has not been begun.
    private(set) var entries: [Conformance.Entry?]
    private var begun = 0

    init(
        _ orders: [RunOrder], in folder: String, _ progress: Progress, _ interrupts: Interrupts
    ) {
        self.orders = orders.map {
            var order = $0
            order.parent = folder
            return order
        }
        self.progress = progress
        self.interrupts = interrupts
        entries = orders.map { _ in nil }
    }

    var notBegun: [String] {
        zip(orders, entries).filter { $1 == nil }.map { order, _ in order.experiment.name }
    }

    private var isStopped: Bool {
        interrupts.isStopping
            || entries.contains { $0?.exitCode == ExitCode.interrupted.rawValue }
    }

    /// Runs those that have not been begun one after the other, and those again that are not to be
    /// believed.
    mutating func runAlone() throws(RigError) {
        let wasTogether = begun > 0
        for (index, order) in orders.enumerated() where !isStopped {
            if let entry = entries[index] {
                guard wasTogether, entry.verdict == .invalid else { continue }
                progress.say("again, by itself: \(order.experiment.name)")
            } else {
                tell(order)
            }
            // One that is stopped in its second run has the first.
            entries[index] = try conformEntry(order, progress, interrupts) ?? entries[index]
        }
    }

    /// Runs all, `jobs` at once.
    mutating func runTogether(_ jobs: Int) throws(RigError) {
        var waiting = Array(orders.indices.reversed())
        var running: [ConformJob] = []
        var failure: RigError?
        while true {
            while running.count < jobs, failure == nil, !isStopped, let next = waiting.popLast() {
                tell(orders[next])
                do throws(RigError) {
                    running.append(try ConformJob(next, orders[next]))
                } catch {
                    failure = error
                }
            }
            guard !running.isEmpty else { break }
            let wishes = interrupts.wishes
            if wishes > 0 { for job in running { job.relay.pass(wishes) } }
            _ = waitReadable(running.map(\.ending) + [interrupts.descriptor], for: .seconds(60))
            // Looked at once: one may end while others are told of.
            let ended = running.compactMap { job in job.end.map { (job, $0) } }
            running.removeAll { job in ended.contains { $0.0 === job } }
            for (job, end) in ended {
                job.join()
                switch end {
                case .success(let entry):
                    entries[job.index] = entry
                    guard let entry else { continue }
                    let time = Int(entry.durationSeconds.rounded())
                    progress.say("\(entry.name): \(entry.verdict.rawValue), \(time) s")
                case .failure(let error): failure = failure ?? error
                }
            }
        }
        if let failure { throw failure }
    }

    private mutating func tell(_ order: RunOrder) {
        begun += 1
        progress.say("\(begun) of \(orders.count): \(order.experiment.name)")
    }
}

/// Runs one.
/// - Returns: what came of it; nil where the user stopped it before anything was measured.
/// - Throws: `.interrupted` where the user wants no report.
func conformEntry(
    _ order: RunOrder, _ progress: Progress, _ interrupts: Interrupts
) throws(RigError) -> Conformance.Entry? {
    let begun = Clock.now()
    let experiment = order.experiment
    do throws(RigError) {
        let outcome = try run(order, progress: progress, interrupts: interrupts)
        let place =
            outcome.folder.hasPrefix(order.parent + "/")
            ? String(outcome.folder.dropFirst(order.parent.count + 1)) : outcome.folder
        return Conformance.Entry(outcome.result, proves: experiment.proves, folder: place)
    } catch {
        progress.finish()
        if error.kind == .interrupted {
            if interrupts.isAborting { throw error }
            return nil
        }
        return Conformance.Entry(
            name: experiment.name, about: experiment.about, proves: experiment.proves,
            verdict: .fail, control: nil, exitCode: ExitCode.failed.rawValue,
            reasons: ["the run failed: \(error.message)"],
            durationSeconds: (Clock.now() - begun).seconds, folder: nil)
    }
}
