import Base
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
        ("rates", ["warm", "idle", "rate-500", "rate-1000", "rate-2000", "rate-4000"]),
    ])
    func comesToAJudgement(name: String, phases: [String]) throws {
        let lengths = phases.flatMap { ["--set", "phases.\($0).for=500ms"] }
        // A relative folder for the results, as the default is.
        let process = try Process(
            ProcessCommand(
                name: "run", program: program,
                arguments: [
                    "run", "\(Self.root)/scenarios/\(name).yaml", "--out", "out", "--rounds", "1",
                    "--set", Self.wide,
                ] + lengths, directory: scratch.root, output: .file(scratch.path("stdout")),
                errorLog: scratch.path("stderr")))
        let end = try self.end(of: process)
        #expect([.exited(0), .exited(99)].contains(end), "\(end): \(text("stderr"))")
        let result = try self.result(name)
        #expect(result.validity.valid, "\(result.validity.reasons)")
        #expect(!result.partial)
        for expectation in result.expectations {
            #expect([.pass, .fail].contains(expectation.verdict), "\(expectation)")
        }
        for phase in result.phases {
            #expect(phase.outcomes["ok"] ?? 0 == phase.planned, "\(phase.outcomes)")
        }
        if name == "rates" {
            #expect(result.phases.contains { $0.phase == "idle" && $0.planned == 0 })
            #expect(!result.fits.isEmpty)
        }
        expectNothingLeft(scratch.root)
    }

    /// The root of the package, from the place of this file.
    private static let root = #filePath.split(separator: "/").dropLast(3)
        .reduce("") { "\($0)/\($1)" }
}
