// What `meshbench conform` found: which features of a mesh do what they must, each by a scenario
// that is held against theory, and run again without the feature, where it must fail.

public import Model

/// The verdicts of a set of scenarios.
public struct Conformance: Codable, Equatable, Sendable {
    /// The one schema that this program writes.
    public static let currentSchema = "meshbench/conform/1"

    public var schema: String
    /// Whose proxies.
    public var dataPlane: String
    /// ISO 8601, UTC.
    public var startedAt: String
    public var durationSeconds: Double
    /// In the order in which they were run.
    public var scenarios: [Entry]
    /// Names of those that were not run, or of which nothing was measured, since the user stopped.
    public var notBegun: [String]
    public var exit: RunResult.Exit

    /// One scenario.
    public struct Entry: Codable, Equatable, Sendable {
        public var name: String
        public var about: String
        /// Numbers of the features that it proves.
        public var proves: [Int]
        public var verdict: RunResult.Verdict
        /// Whether its expectations fail where they must; nil: it has no control.
        public var control: RunResult.Verdict?
        public var exitCode: Int32
        /// Why it is no plain pass.
        public var reasons: [String]
        public var durationSeconds: Double
        /// Where its results are, from the folder of all; nil: there are none.
        public var folder: String?

        public init(
            name: String, about: String, proves: [Int], verdict: RunResult.Verdict,
            control: RunResult.Verdict?, exitCode: Int32, reasons: [String],
            durationSeconds: Double, folder: String?
        ) {
            self.name = name
            self.about = about
            self.proves = proves
            self.verdict = verdict
            self.control = control
            self.exitCode = exitCode
            self.reasons = reasons
            self.durationSeconds = durationSeconds
            self.folder = folder
        }

        /// Whether there is nothing else to say: what was stopped may pass as far as it came.
        var isPlainPass: Bool { verdict == .pass && exitCode == ExitCode.success.rawValue }

        /// Of a finished run.
        public init(_ result: RunResult, proves: [Int], folder: String) {
            let controls = result.controls ?? []
            self.init(
                name: result.scenario.name, about: result.scenario.about, proves: proves,
                verdict: result.verdict,
                control: controls.isEmpty ? nil : .worst(of: controls.map(\.verdict)),
                exitCode: result.exit.code,
                reasons: result.validity.valid ? result.exit.reasons : result.validity.reasons,
                durationSeconds: result.durationSeconds, folder: folder)
        }
    }

    public init(
        dataPlane: String, startedAt: String, durationSeconds: Double, scenarios: [Entry],
        notBegun: [String] = []
    ) {
        schema = Self.currentSchema
        self.dataPlane = dataPlane
        self.startedAt = startedAt
        self.durationSeconds = durationSeconds
        self.scenarios = scenarios
        self.notBegun = notBegun
        var codes = scenarios.compactMap { ExitCode(rawValue: $0.exitCode) }
        var reasons = scenarios.filter { !$0.isPlainPass }.map {
            "\($0.name): \($0.reasons.first ?? $0.verdict.rawValue)"
        }
        if !notBegun.isEmpty {
            codes.append(.interrupted)
            reasons.append("stopped by the user: \(notBegun.count) not run")
        }
        exit = .init(code: ExitCode.gravest(of: codes).rawValue, reasons: reasons)
    }

    /// A feature that at least one of the scenarios proves.
    public struct Row: Equatable, Sendable {
        public var feature: MeshFeature
        public var scenarios: [String]
        public var verdict: RunResult.Verdict
        /// Nil where none of them has a control.
        public var control: RunResult.Verdict?
    }

    /// The matrix: what the scenarios say of each feature; the worst of several.
    public var rows: [Row] {
        MeshFeature.all.compactMap { feature in
            let proofs = scenarios.filter { $0.proves.contains(feature.number) }
            guard !proofs.isEmpty else { return nil }
            let controls = proofs.compactMap(\.control)
            return Row(
                feature: feature, scenarios: proofs.map(\.name),
                verdict: .worst(of: proofs.map(\.verdict)),
                control: controls.isEmpty ? nil : .worst(of: controls))
        }
    }
}

extension RunResult.Verdict {
    /// Fail before invalid, that before inconclusive; pass of nothing.
    static func worst(of verdicts: [RunResult.Verdict]) -> RunResult.Verdict {
        for verdict in [RunResult.Verdict.fail, .invalid, .inconclusive]
        where verdicts.contains(verdict) { return verdict }
        return .pass
    }
}
