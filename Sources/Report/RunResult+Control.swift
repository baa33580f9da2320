// What became of the controls: whether the expectations fail without what they are about.

public import Model

extension RunResult {
    /// One control: an arm that was rerun with something taken away.
    public struct Control: Codable, Equatable, Sendable {
        /// The rerun, which has its phases, rounds and timelines among the others'.
        public var arm: ArmName
        /// The arm that it reran.
        public var of: ArmName
        /// `without policies.echo.breaker`.
        public var changes: [String]
        /// Those that must fail, as they came out in the rerun.
        public var expectations: [ExpectationResult]
        /// `pass` where all of them failed, `fail` where one held: it has no teeth.
        public var verdict: Verdict

        public init(
            arm: ArmName, of: ArmName, changes: [String], expectations: [ExpectationResult],
            verdict: Verdict
        ) {
            self.arm = arm
            self.of = of
            self.changes = changes
            self.expectations = expectations
            self.verdict = verdict
        }

        /// Why it fails, as a sentence.
        public var complaint: String {
            let held = expectations.filter { $0.verdict == .pass }.map { "'\($0.title)'" }
            return "no teeth: \(held.joined(separator: ", ")) "
                + (held.count == 1 ? "holds" : "hold") + " in the control too, "
                + changes.joined(separator: ", ")
        }
    }
}

extension RunResult.ExpectationResult {
    /// Its name, else the line itself.
    public var title: String { name ?? source }
}

extension RunResult.Verdict {
    /// Of a control whose expectations came out like this in the rerun: what fails there passes
    /// here.
    public init(ofControl expectations: [RunResult.Verdict]) {
        if expectations.contains(.invalid) {
            self = .invalid
        } else if expectations.contains(.pass) {
            self = .fail
        } else {
            self = expectations.contains(.inconclusive) ? .inconclusive : .pass
        }
    }

    /// What it says of an expectation in a rerun that must fail it.
    public var teeth: String {
        switch self {
        case .fail: "fails, as it must"
        case .pass: "holds, and must not: no teeth"
        case .inconclusive: "cannot be told"
        case .invalid: "not judged"
        }
    }
}
