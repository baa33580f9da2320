// What a person sees while a run goes on, on standard error: one line that is written over where
// someone looks, a plain line for each phase where nobody does.

import Base
import Glibc
import LoadCore
import Model
import Posix
import Report

/// Tells how far a run is.
public final class Progress {
    public enum Style: Sendable {
        case silent
        /// One line for each phase.
        case plain
        /// One line, renewed; with or without colour.
        case live(colour: Bool)

        /// What suits this process's standard error. `NO_COLOR` (no-color.org) is respected.
        public static func suited(quiet: Bool) -> Style {
            if quiet { return .silent }
            guard isatty(STDERR_FILENO) == 1, variable("TERM") != "dumb" else { return .plain }
            return .live(colour: !isColourUnwanted)
        }
    }

    /// Whether `NO_COLOR` is set to anything.
    public static var isColourUnwanted: Bool { !(variable("NO_COLOR") ?? "").isEmpty }

    private let style: Style
    private var rounds = RoundsPlan(min: 1, max: 1)
    private var armDuration = Duration.zero
    private var armCount = 1
    private var turnsDone = 0
    private var lastPhase = ""
    private var hasOpenLine = false

    public init(_ style: Style) { self.style = style }

    func begin(_ experiment: Experiment) {
        rounds = experiment.rounds
        armDuration = experiment.armDuration
        armCount = experiment.turnNames.count
    }

    func finishTurn() { turnsDone += 1 }

    /// One finding or step that is worth a line of its own.
    func say(_ text: String) {
        switch style {
        case .silent: return
        case .plain: put(text + "\n")
        case .live:
            clear()
            put(text + "\n")
        }
    }

    /// Where the run is now.
    func show(
        round: Int, arm: ArmName, phase: String, left: Duration, seconds: [LoadEvent.Second]
    ) {
        let total = "\(round + 1)/\(rounds.min)\(rounds.max > rounds.min ? "-\(rounds.max)" : "")"
        let place = "round \(total)  \(arm.rawValue)  \(phase)"
        switch style {
        case .silent: return
        case .plain:
            guard place != lastPhase else { return }
            lastPhase = place
            put(place + "\n")
        case .live(let colour):
            let rate = seconds.reduce(0.0) { $0 + Double($1.completed) }
            let errors = seconds.reduce(UInt64(0)) { $0 + $1.errors }
            let p99 = seconds.map(\.p99Ns).max() ?? 0
            var line = place
            if !seconds.isEmpty {
                line += "  \(figure(rate.rounded(), unit: "per_second"))"
                line += "  p99 \(figure(Double(p99), unit: "ns"))"
                let text = "  errors \(errors)"
                line += colour && errors > 0 ? "\u{1B}[31m\(text)\u{1B}[0m" : text
            }
            let planned = max(rounds.min, round + 1) * armCount
            let turns = max(planned - turnsDone - 1, 0)
            let rest = max(.zero, left) + armDuration * Int64(turns)
            line += "  \(Int(rest.seconds.rounded(.up))) s left"
            clear()
            put(line)
            hasOpenLine = true
        }
    }

    /// Leaves the terminal as it was.
    public func finish() { clear() }

    private func clear() {
        if hasOpenLine { put("\r\u{1B}[K") }
        hasOpenLine = false
    }

    private func put(_ text: String) {
        let bytes = Array(text.utf8)
        _ = unsafe bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}

/// A variable of the environment.
func variable(_ name: String) -> String? {
    unsafe getenv(name).map { unsafe String(cString: $0) }
}
