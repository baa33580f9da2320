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
@Suite(.serialized) struct RunTests {
    private static let tiny = """
        name: tiny
        about: A scenario that is over in a moment
        seed: 42
        mesh: {dataplane: reference, mode: sidecar, workers: 1}
        services:
          - {name: front, calls: [back], respond: {size: 1KiB}}
          - {name: back, replicas: 2, respond: {size: 100B, delay: 1ms}}
        load:
          - {name: main, to: front, rate: 100/s, arrivals: poisson, connections: 4, timeout: 3s}
        arms: [direct, mesh]
        rounds: {min: 2, max: 2}
        phases:
          - {name: warm, for: 200ms, measure: false}
          - {name: base, for: 1s}
        expect:
          - share(outcome = ok) >= 99% on mesh
          - p50(response) < 3s during base
        validity:
          max_lag_p99: 60s
          max_steal: 100%
          max_machine_cpu: 100%
          max_generator_cpu: 100%
          min_tail_samples: 10

        """

    /// Rounds that nobody waits for the end of.
    private static let endless = tiny.replacing("{min: 2, max: 2}", with: "{min: 500, max: 500}")

    private let scratch: Scratch
    private let program: String

    init() throws {
        scratch = try Scratch()
        program = try Program.meshbench()
    }

    private func start(
        _ scenario: String, _ flags: [String] = [], log: String = "stderr"
    ) throws -> Process {
        let file = scratch.path("scenario.yaml")
        try Data(scenario.utf8).write(to: URL(filePath: file))
        return try Process(
            ProcessCommand(
                name: "run", program: program,
                arguments: ["run", file, "--out", scratch.path("out")] + flags,
                output: .file(scratch.path("stdout")), errorLog: scratch.path(log)))
    }

    private func end(of process: Process) throws -> ProcessEnd {
        try #require(process.wait(until: Clock.now() + .seconds(120)), "it did not end")
    }

    private func text(_ name: String) -> String {
        let data = FileManager.default.contents(atPath: scratch.path(name)) ?? Data()
        return String(decoding: data, as: UTF8.self)
    }

    /// The one finished folder of results; nil if there is none.
    private func folder() -> String? {
        let parent = scratch.path("out/tiny")
        let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
        let whole = names.filter { !$0.hasPrefix(".") }
        return whole.count == 1 ? parent + "/" + whole[0] : nil
    }

    private func result() throws -> RunResult {
        let path = try #require(self.folder(), "no results: \(text("stderr"))")
        let data = try Data(contentsOf: URL(filePath: path + "/result.json"))
        return try RunResult(json: [UInt8](data))
    }

    /// Waits until what the process writes to standard error holds `words`.
    private func awaitProgress(_ words: String, of process: Process) throws {
        let deadline = Clock.now() + .seconds(60)
        while !text("stderr").contains(words) {
            if let end = process.poll() {
                Issue.record("it \(end) before '\(words)': \(text("stderr"))")
                return
            }
            try #require(Clock.now() < deadline, "never came to '\(words)': \(text("stderr"))")
            Clock.sleep(until: Clock.now() + .milliseconds(10))
        }
    }

    /// Processes of this machine whose command line holds `words`, zombies apart.
    private func processes(naming words: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { Int32($0) }.compactMap { pid in
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"),
                let stat = ProcessStat(pid: pid), stat.state != UInt8(ascii: "Z")
            else { return nil }
            let line = String(decoding: data.map { $0 == 0 ? 32 : $0 }, as: UTF8.self)
            return line.contains(words) ? "\(pid) \(line)" : nil
        }
    }

    private func expectNothingLeft(
        _ words: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let deadline = Clock.now() + .seconds(20)
        while !processes(naming: words).isEmpty && Clock.now() < deadline {
            Clock.sleep(until: Clock.now() + .milliseconds(10))
        }
        #expect(processes(naming: words) == [], sourceLocation: sourceLocation)
    }

    // MARK: A whole run

    @Test(arguments: ["sidecar", "gateway"])
    func aRunLeavesAWholeFolder(mode: String) throws {
        let scenario = Self.tiny.replacing("mode: sidecar", with: "mode: \(mode)")
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
            #expect(phase.processes.allSatisfy { $0.proportionalBytes > 0 }, "\(phase.processes)")
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
        #expect(Set(names ?? []) == Set(apps + proxies))
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
                "mesh.base.hlog", "mesh.base.response.hgrm", "direct.base.service.hgrm",
            ]))
        #expect(text("stdout").contains("PASS"))
        #expect(text("stdout").contains(folder))
        expectNothingLeft(scratch.root)
    }

    @Test func sameSeedSameScheduleForBothArms() throws {
        #expect(try end(of: try start(Self.tiny, ["--rounds", "1"])) == .exited(0))
        let first = try result()
        try FileManager.default.removeItem(atPath: scratch.path("out"))
        #expect(try end(of: try start(Self.tiny, ["--rounds", "1"])) == .exited(0))
        let second = try result()
        #expect(first.scenario.scheduleHash == second.scenario.scheduleHash)
        #expect(first.phases.map(\.planned) == second.phases.map(\.planned))
        #expect(Set(first.phases.map(\.planned)).count == 1, "both arms are offered the same")
        #expect(first.rounds.map(\.position) == second.rounds.map(\.position))
    }

    @Test(arguments: [
        ("p50(response) < 3s during base", "p50(response) < 1us during base", Int32(99)),
        ("max_lag_p99: 60s", "max_lag_p99: 1ns", 4),
        ("rate: 100/s", "rat: 100/s", 65),
    ])
    func exitCodes(words: String, other: String, code: Int32) throws {
        let scenario = Self.tiny.replacing(words, with: other).replacing("min: 2", with: "min: 1")
        #expect(try end(of: try start(scenario)) == .exited(code), "\(text("stderr"))")
        if code != 65 { #expect(try result().exit.code == code) }
    }

    @Test func jsonOnStandardOutput() throws {
        #expect(
            try end(of: try start(Self.tiny, ["--rounds", "1", "--format", "json", "--quiet"]))
                == .exited(0))
        #expect(try RunResult(json: Array(text("stdout").utf8)).rounds.count == 2)
        #expect(text("stderr") == "")
    }

    // MARK: Programs of the user's

    /// A service that leaves children behind: one in a session of its own, which no signal to the
    /// group reaches and whose parent is gone.
    private func command(marker: String, server: String) -> String {
        let orphans = "setsid sh -c 'sleep \(marker) & sleep \(marker)'"
        let line = Self.endless.split(separator: "\n", omittingEmptySubsequences: false)
            .filter { !$0.contains("name: back") }
            .map { $0.contains("name: front") ? "SERVICE" : String($0) }.joined(separator: "\n")
        return line.replacing(
            "SERVICE",
            with: """
                  - name: front
                    command: [sh, -c, "\(orphans) & \(server)"]
                    ready: {http: /healthz}
                    ready_within: 30s
                """)
    }

    /// A number of seconds that no other process sleeps.
    private func marker() -> String { "7\(getpid()).\(Clock.now().nanoseconds)" }

    @Test func aCommandsWorkersAreMeteredAndEndWithTheRun() throws {
        let marker = self.marker()
        let server = "exec \(program) app --listen 127.0.0.1:{port}"
        let scenario = command(marker: marker, server: server)
        #expect(
            try end(of: try start(scenario, ["--rounds", "1"])) == .exited(0),
            "\(text("stderr"))")
        let front = try result().phases.first?.processes.first { $0.name == "front/0" }
        #expect((front?.userNs ?? 0) + (front?.systemNs ?? 0) > 0)
        #expect((front?.proportionalBytes ?? 0) > 0)
        expectNothingLeft(scratch.root)
        expectNothingLeft("sleep \(marker)")
    }

    @Test func aServiceThatDoesNotStartIsNamedWithItsLastWords() throws {
        let scenario = command(marker: marker(), server: "echo no such luck >&2; exit 7")
        #expect(try end(of: try start(scenario)) == .exited(1))
        let told = text("stderr")
        #expect(told.contains("front/0 exited with 7"), "\(told)")
        #expect(told.contains("no such luck"), "\(told)")
        #expect(folder() == nil, "nothing was measured, so nothing is reported")
        expectNothingLeft(scratch.root)
    }

    @Test func aServiceThatDiesFailsTheRun() throws {
        let marker = self.marker()
        let scenario = command(
            marker: marker,
            server: "(sleep 4; kill $$) & exec \(program) app --listen 127.0.0.1:{port}")
        let process = try start(scenario)
        #expect(try end(of: process) == .exited(1), "\(text("stderr"))")
        #expect(text("stderr").contains("front/0") || text("stdout").contains("front/0"))
        expectNothingLeft("sleep \(marker)")
    }

    // MARK: Being stopped

    @Test func nothingOutlivesARigThatIsKilled() throws {
        let marker = self.marker()
        let server = "exec \(program) app --listen 127.0.0.1:{port}"
        let process = try start(command(marker: marker, server: server))
        try awaitProgress("mesh  base", of: process)
        // The keeper's and the shell's command lines name them too.
        let orphans = processes(naming: "sleep \(marker)").filter { !$0.contains("sh -c") }
        #expect(orphans.count == 2 * 2, "two sleeps in each arm")
        // The rig itself and two proxies; loads and services name no file of the run.
        #expect(processes(naming: scratch.root).count >= 3)
        kill(process.pid, SIGKILL)
        #expect(process.wait(until: Clock.now() + .seconds(20)) == .killed(SIGKILL))
        expectNothingLeft(scratch.root)
        expectNothingLeft("sleep \(marker)")
        #expect(folder() == nil)
    }

    @Test func theFirstInterruptReportsWhatWasComplete() throws {
        let process = try start(Self.endless)
        try awaitProgress("round 2/", of: process)
        kill(process.pid, SIGINT)
        #expect(try end(of: process) == .exited(130), "\(text("stderr"))")
        let result = try self.result()
        #expect(result.partial)
        #expect(result.exit.code == 130)
        #expect(result.rounds.count == 2, "one whole round of two arms")
        expectNothingLeft(scratch.root)
    }

    @Test func theSecondInterruptEndsAtOnce() throws {
        let process = try start(Self.endless)
        try awaitProgress("round 1/", of: process)
        kill(process.pid, SIGINT)
        kill(process.pid, SIGTERM)
        #expect(try end(of: process) == .exited(130))
        #expect(folder() == nil)
        expectNothingLeft(scratch.root)
    }
}
