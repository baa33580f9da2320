import Base
import FoundationEssentials
import Glibc
import Model
import Posix
import Report
import Support
import Testing

/// Controls, and `meshbench conform`, with real processes.
@Suite(.serialized) struct ConformTests: RigTesting {
    let scratch: Scratch
    let program: String

    init() throws {
        scratch = try Scratch()
        program = try Program.meshbench()
    }

    /// A workload that fails one request in three; the control's never does.
    private static func scenario(_ name: String, limit: String = "> 10%") -> String {
        """
        name: \(name)
        proves: [breaker-requests, 42]
        services:
          - {name: echo, respond: {size: 100B, status: {503: 33%}}}
        load:
          - {name: main, to: echo, rate: 400/s, connections: 8, timeout: 3s}
        arms: [mesh]
        rounds: {min: 1, max: 1}
        phases:
          - {name: warm, for: 100ms, measure: false}
          - {name: base, for: 600ms}
        expect:
          - failing: share(status = 503) \(limit)
          - requests(echo) > 100
          - counter(requests_total, load-main) > 100
          - concurrency(echo) >= 1
        control: {set: {services.echo.respond.status: {503: 1%}}, fails: [failing]}
        validity:
          {max_lag_p99: 60s, max_steal: 100%, max_machine_cpu: 100%, max_generator_cpu: 100%}

        """
    }

    @Test func aControlThatFailsIsAsItMustBe() throws {
        let process = try start(Self.scenario("teeth"))
        #expect(try end(of: process) == .exited(0), "\(text("stdout"))\(text("stderr"))")
        let result = try self.result("teeth")
        #expect(result.verdict == .pass)
        let control = try #require(result.controls?.first)
        #expect(control.verdict == .pass)
        #expect(control.expectations.map(\.verdict) == [.fail])
        #expect(result.phases.map(\.arm.rawValue) == ["mesh", "control"])
        // The same requests: the schedule is compared by its hash, and both have all of it.
        #expect(Set(result.phases.map(\.planned)).count == 1)
        #expect(text("stdout").contains("fails, as it must"))
        let folder = try #require(self.folder("teeth"))
        let raw = try String(contentsOfFile: folder + "/raw.jsonl", encoding: .utf8)
        #expect(raw.contains("\"evidence\":[{"))
        let junit = try String(contentsOfFile: folder + "/junit.xml", encoding: .utf8)
        #expect(junit.contains("tests=\"6\" failures=\"0\""))
    }

    @Test func anExpectationWithoutTeethFailsTheRun() throws {
        let process = try start(Self.scenario("blunt", limit: ">= 0%"))
        #expect(try end(of: process) == .exited(99), "\(text("stderr"))")
        let result = try self.result("blunt")
        #expect(result.expectations.allSatisfy { $0.verdict == .pass })
        #expect(result.controls?.first?.verdict == .fail)
        #expect(result.exit.reasons.first?.hasPrefix("no teeth: 'failing' holds") == true)
    }

    private func startConform(_ flags: [String]) throws -> Process {
        try Process(
            ProcessCommand(
                name: "conform", program: program,
                arguments: ["conform", "--scenarios", scratch.path("set")] + flags,
                output: .file(scratch.path("stdout")), errorLog: scratch.path("stderr")))
    }

    private func conform(_ flags: [String]) throws -> ProcessEnd {
        try end(of: try startConform(flags))
    }

    private func write(_ scenarios: [String: String]) throws {
        try FileManager.default.createDirectory(
            atPath: scratch.path("set"), withIntermediateDirectories: true)
        for (name, text) in scenarios {
            try Data(text.utf8).write(to: URL(filePath: scratch.path("set/\(name).yaml")))
        }
    }

    @Test(arguments: [1, 2])
    func theMatrixIsOfAllScenariosAndEndsAsTheWorst(jobs: Int) throws {
        try write([
            "good": Self.scenario("good"), "blunt": Self.scenario("blunt", limit: ">= 0%"),
        ])
        let out = scratch.path("out")
        let all = try conform(["--out", out, "--quiet", "--jobs", "\(jobs)"])
        #expect(all == .exited(99), "\(text("stderr"))")
        let shown = text("stdout")
        #expect(shown.contains("1 of 2 scenarios passed"))
        #expect(shown.contains("Breaker: requests"))
        #expect(shown.contains("no teeth: 'failing' holds"))
        let folders = try FileManager.default.contentsOfDirectory(atPath: out + "/conform")
        #expect(folders.count == 1)
        let folder = out + "/conform/" + (folders.first ?? "")
        let files = Set(try FileManager.default.contentsOfDirectory(atPath: folder))
        #expect(files == ["conform.json", "conform.md", "conform.txt", "good", "blunt"])

        let more = ["--out", out, "--quiet", "--only", "good", "--format", "json"]
        #expect(try conform(more) == .exited(0))
        #expect(text("stdout").contains("\"schema\" : \"meshbench/conform/1\""))
    }

    /// Both that run end with what they have, and the third is not begun.
    @Test func scenariosAtOnceAreStoppedTogether() throws {
        let long = { name in
            Self.scenario(name).replacing("600ms", with: "60s")
        }
        try write(["a": long("a"), "b": long("b"), "c": long("c")])
        let out = scratch.path("out")
        let process = try startConform(["--out", out, "--jobs", "2"])
        try awaitProgress("2 of 3: b", of: process)
        process.send(SIGINT)
        #expect(try end(of: process) == .exited(130), "\(text("stderr"))")
        #expect(text("stdout").contains("0 of 3 scenarios passed"))
        #expect(text("stdout").contains("not begun: "))
    }

    @Test func whatIsNotToBeBelievedIsRunAgainByItself() throws {
        let late = Self.scenario("late").replacing(
            "max_lag_p99: 60s", with: "max_lag_p99: 1ns")
        try write(["good": Self.scenario("good"), "late": late])
        let out = scratch.path("out")
        #expect(try conform(["--out", out, "--jobs", "2"]) == .exited(4), "\(text("stderr"))")
        #expect(text("stderr").contains("again, by itself: late"))
        #expect(!text("stderr").contains("again, by itself: good"))
        // One that ran by itself anyway is not run again. What both have said stands in one file.
        let alone = ["--out", out, "--jobs", "2", "--only", "late"]
        #expect(try conform(alone) == .exited(4))
        #expect(text("stderr").ranges(of: "again, by itself").count == 1, "\(text("stderr"))")
    }

    @Test(arguments: [
        (["--only", "goood"], Int32(64), "there is no scenario 'goood' in"),
        (["--only", "goood"], 64, "did you mean 'good'?"),
        (["--data-plane", "refrence"], 64, "did you mean 'reference'?"),
        (["--format", "jsn"], 64, "did you mean 'json'?"),
        (["--jobs", "0"], 64, "a whole number from 1 to 64"),
        (["--set", "rounds.min=0"], 65, "'0' is less than 1"),
    ])
    func whatIsWrongIsSaidBeforeAnythingIsRun(flags: [String], code: Int32, words: String) throws {
        try write(["good": Self.scenario("good"), "other": Self.scenario("other")])
        #expect(try conform(["--out", scratch.path("out")] + flags) == .exited(code))
        // Once, though it is so for both.
        #expect(text("stderr").ranges(of: words).count == 1, "\(text("stderr"))")
        #expect(!FileManager.default.fileExists(atPath: scratch.path("out")))
    }

    /// Their results would stand in one folder.
    @Test func noNameStandsTwice() throws {
        try write(["one": Self.scenario("good"), "two": Self.scenario("good")])
        #expect(try conform(["--out", scratch.path("out")]) == .exited(65))
        #expect(text("stderr").contains("several scenarios are named 'good'"))
    }

    @Test func withoutScenariosThereIsNothingToSay() throws {
        #expect(try conform([]) == .exited(64))
        #expect(text("stderr").contains("cannot be read"))
        try write([:])
        #expect(try conform([]) == .exited(64))
        #expect(text("stderr").contains("there is no scenario in"))
    }
}
