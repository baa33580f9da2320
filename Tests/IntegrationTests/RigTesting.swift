// What tests of `meshbench run` share: starting it, waiting for it, reading what it left, and
// looking for what it should not have left.

import Base
import FoundationEssentials
import Glibc
import Posix
import Report
import Support
import Testing

enum RigScenario {
    static let tiny = """
        name: tiny
        about: A scenario that is over in a moment
        seed: 42
        mesh: {dataplane: reference, mode: sidecar, workers: 1}
        services:
          - {name: front, calls: [back], respond: {size: 1KiB}}
          - {name: back, replicas: 2, respond: {size: 100B, delay: 1ms}}
        load:
          - {name: main, to: front, rate: 200/s, arrivals: poisson, connections: 4, timeout: 3s}
        arms: [direct, mesh]
        rounds: {min: 2, max: 2}
        phases:
          - {name: warm, for: 100ms, measure: false}
          - {name: base, for: 400ms}
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

    /// Flags for one turn, where one shows it.
    static let oneTurn = ["--rounds", "1", "--set", "arms=[mesh]"]

    /// Rounds that nobody waits for the end of.
    static let endless = tiny.replacing("{min: 2, max: 2}", with: "{min: 500, max: 500}")

    /// One whose service is a command: `script`, run by a shell.
    static func command(_ script: String, readyWithin: String = "30s") -> String {
        let lines = endless.split(separator: "\n", omittingEmptySubsequences: false)
            .filter { !$0.contains("name: back") }
            .map { $0.contains("name: front") ? "SERVICE" : String($0) }
        return lines.joined(separator: "\n").replacing(
            "SERVICE",
            with: """
                  - name: front
                    command: [sh, -c, "\(script)"]
                    ready: {http: /healthz}
                    ready_within: \(readyWithin)
                """)
    }

    /// A script that leaves children behind: in a session of their own, which no signal to the
    /// group reaches and whose parent is gone.
    static func orphans(_ marker: String) -> String {
        "setsid sh -c 'sleep \(marker) & sleep \(marker)'"
    }
}

/// A test of `meshbench run`, which lasts as long as its folder.
protocol RigTesting {
    var scratch: Scratch { get }
    var program: String { get }
}

extension RigTesting {
    func start(
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

    func end(of process: Process) throws -> ProcessEnd {
        try #require(process.wait(until: Clock.now() + .seconds(120)), "it did not end")
    }

    func text(_ name: String) -> String {
        let data = FileManager.default.contents(atPath: scratch.path(name)) ?? Data()
        return String(decoding: data, as: UTF8.self)
    }

    /// The one finished folder of results; nil if there is none.
    func folder(_ scenario: String = "tiny") -> String? {
        let parent = scratch.path("out/\(scenario)")
        let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
        let whole = names.filter { !$0.hasPrefix(".") && !$0.hasSuffix("-unfinished") }
        return whole.count == 1 ? parent + "/" + whole[0] : nil
    }

    func result(_ scenario: String = "tiny") throws -> RunResult {
        let path = try #require(folder(scenario), "no results: \(text("stderr"))")
        let data = try Data(contentsOf: URL(filePath: path + "/result.json"))
        return try RunResult(json: [UInt8](data))
    }

    /// Waits until `holds`, as long as the process lives and a minute at most.
    func await(_ what: String, of process: Process, _ holds: () -> Bool) throws {
        let deadline = Clock.now() + .seconds(60)
        while !holds() {
            if let end = process.poll() {
                Issue.record("it \(end) before '\(what)': \(text("stderr"))")
                return
            }
            try #require(Clock.now() < deadline, "never came to '\(what)': \(text("stderr"))")
            Clock.sleep(until: Clock.now() + .milliseconds(10))
        }
    }

    /// Waits until what the process writes to standard error holds `words`.
    func awaitProgress(_ words: String, of process: Process) throws {
        try self.await(words, of: process) { text("stderr").contains(words) }
    }

    /// Processes of this machine whose command line holds `words`, zombies apart.
    func processes(naming words: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { Int32($0) }.compactMap { pid in
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"),
                let stat = ProcessStat(pid: pid), stat.state != UInt8(ascii: "Z")
            else { return nil }
            let line = String(decoding: data.map { $0 == 0 ? 32 : $0 }, as: UTF8.self)
            return line.contains(words) ? "\(pid) \(line)" : nil
        }
    }

    func expectNothingLeft(_ words: String, sourceLocation: SourceLocation = #_sourceLocation) {
        let deadline = Clock.now() + .seconds(20)
        while !processes(naming: words).isEmpty && Clock.now() < deadline {
            Clock.sleep(until: Clock.now() + .milliseconds(10))
        }
        #expect(processes(naming: words) == [], sourceLocation: sourceLocation)
    }

    /// A number of seconds that no other process sleeps.
    func marker() -> String { "7\(getpid()).\(Clock.now().nanoseconds)" }
}
