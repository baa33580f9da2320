import Base
import FoundationEssentials
import Glibc
import Model
import Posix
import Report
import Support
import Testing

/// `meshbench run` with real processes. What it measures is no matter here: limits are so wide that
/// a busy machine does not make it invalid.
@Suite(.serialized) struct RunTests: RigTesting {
    let scratch: Scratch
    let program: String

    init() throws {
        scratch = try Scratch()
        program = try Program.meshbench()
    }

    // MARK: A whole run

    @Test(arguments: ["sidecar", "gateway"])
    func aRunLeavesAWholeFolder(mode: String) throws {
        let scenario = RigScenario.tiny.replacing("mode: sidecar", with: "mode: \(mode)")
        #expect(try end(of: try start(scenario)) == .exited(0), "\(text("stderr"))")
        let result = try self.result()
        #expect(result.verdict == .pass)
        #expect(result.validity.valid)
        #expect(!result.partial)
        #expect(result.rounds.count == 4)
        #expect(result.phases.count == 2)
        for phase in result.phases {
            #expect(phase.outcomes.values.reduce(0, +) == phase.planned)
            #expect(phase.response.count == phase.planned)
            #expect(
                phase.processes.allSatisfy { ($0.proportionalBytes ?? 0) > 0 },
                "\(phase.processes)")
            let cpu = phase.processes.reduce(0) { $0 + $1.userNs + $1.systemNs }
            #expect(cpu > 0)
        }
        let names = result.phases.first { $0.arm == .mesh }?.processes.map(\.name)
        let apps = ["back/0", "back/1", "front/0", "load main"]
        let proxies =
            mode == "gateway"
            ? ["gateway"]
            : [
                "client-proxy", "server-proxy back/0", "server-proxy back/1",
                "server-proxy front/0",
            ]
        #expect(Set(names ?? []) == Set(apps + proxies + ["control"]))
        // Calls went the arm's own way, so every proxy worked.
        let mesh = try #require(result.phases.first { $0.arm == .mesh })
        for process in mesh.processes where process.group == .proxies {
            #expect(process.userNs + process.systemNs > 0, "\(process.name) did nothing")
        }
        let folder = try #require(self.folder())
        let files = Set(try FileManager.default.contentsOfDirectory(atPath: folder))
        #expect(
            files.isSuperset(of: [
                "result.json", "summary.csv", "rounds.csv", "report.html", "journal.jsonl",
                "logs", "configuration", "scenario.yaml", "scenario-as-run.yaml",
                "raw.jsonl", "mesh.base.hlog", "mesh.base.response.hgrm",
                "direct.base.service.hgrm",
            ]))
        #expect(text("stdout").contains("PASS"))
        #expect(text("stdout").contains(folder))
        #expect(!files.contains("scratch"))
        // The words that repeat the run are all of them.
        #expect(
            result.command == [
                program, "run", scratch.path("scenario.yaml"), "--out", scratch.path("out"),
            ])
        let raw = try String(contentsOfFile: folder + "/raw.jsonl", encoding: .utf8)
        #expect(raw.split(separator: "\n").count == 4, "a line for each turn")
        expectNothingLeft(scratch.root)
    }

    /// Two proxies with files know each other by certificates, and no key is left behind.
    @Test func certificatesGoWithTheRun() throws {
        let filed = RigScenario.oneTurn + ["--set", "mesh.control=false"]
        #expect(try end(of: try start(RigScenario.tiny, filed)) == .exited(0))
        let folder = try #require(self.folder())
        let client = try String(
            contentsOfFile: folder + "/configuration/mesh-client-proxy.json", encoding: .utf8)
        #expect(client.contains("spiffe://meshbench.test/ns/default/sa/front"))
        let server = try String(
            contentsOfFile: folder + "/configuration/mesh-server-proxy-front-0.json",
            encoding: .utf8)
        #expect(server.contains("required"), "every client shows a certificate")
        let files = try FileManager.default.subpathsOfDirectory(atPath: folder)
        #expect(!files.contains { $0.hasSuffix(".key") || $0.hasSuffix(".crt") })
        for file in files {
            let text = try? String(contentsOfFile: folder + "/" + file, encoding: .utf8)
            #expect(!(text ?? "").contains("PRIVATE KEY"), "\(file)")
        }
    }

    @Test func sameSeedSameScheduleForBothArms() throws {
        #expect(try end(of: try start(RigScenario.tiny, ["--rounds", "1"])) == .exited(0))
        let first = try result()
        try FileManager.default.removeItem(atPath: scratch.path("out"))
        #expect(try end(of: try start(RigScenario.tiny, ["--rounds", "1"])) == .exited(0))
        let second = try result()
        #expect(first.scenario.scheduleHash == second.scenario.scheduleHash)
        #expect(first.phases.map(\.planned) == second.phases.map(\.planned))
        #expect(Set(first.phases.map(\.planned)).count == 1, "both arms are offered the same")
        #expect(first.rounds.map(\.position) == second.rounds.map(\.position))
    }

    @Test(arguments: [
        ("p50(response) < 3s during base", "p50(response) < 1us during base", Int32(99)),
        ("max_lag_p99: 60s", "max_lag_p99: 1ns", 4),
        ("rate: 200/s", "rat: 200/s", 65),
    ])
    func exitCodes(words: String, other: String, code: Int32) throws {
        let scenario = RigScenario.tiny.replacing(words, with: other)
        #expect(
            try end(of: try start(scenario, RigScenario.oneTurn)) == .exited(code),
            "\(text("stderr"))")
        if code != 65 { #expect(try result().exit.code == code) }
    }

    @Test func jsonOnStandardOutput() throws {
        #expect(
            try end(
                of: try start(RigScenario.tiny, ["--rounds", "1", "--format", "json", "--quiet"]))
                == .exited(0))
        #expect(try RunResult(json: Array(text("stdout").utf8)).rounds.count == 2)
        #expect(text("stderr") == "")
    }

    // MARK: Being stopped

    @Test func theFirstInterruptReportsWhatWasComplete() throws {
        let process = try start(RigScenario.endless)
        try awaitProgress("round 2/", of: process)
        kill(process.pid, SIGINT)
        #expect(try end(of: process) == .exited(130), "\(text("stderr"))")
        let result = try self.result()
        #expect(result.partial)
        #expect(result.exit.code == 130)
        // One round, or more on a machine that is slow to read that the second has begun.
        #expect(!result.rounds.isEmpty && result.rounds.count.isMultiple(of: 2), "two arms each")
        expectNothingLeft(scratch.root)
    }

    @Test func theSecondInterruptEndsAtOnce() throws {
        let process = try start(RigScenario.endless)
        try awaitProgress("round 1/", of: process)
        kill(process.pid, SIGINT)
        kill(process.pid, SIGTERM)
        #expect(try end(of: process) == .exited(130))
        #expect(folder() == nil)
        expectNothingLeft(scratch.root)
    }
}
