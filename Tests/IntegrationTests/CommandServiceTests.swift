import Base
import FoundationEssentials
import Glibc
import Posix
import Report
import Support
import Testing

/// Services that are programs of the user's, and what they leave behind: nothing may outlive the
/// run, whichever way it ends.
@Suite(.serialized) struct CommandServiceTests: RigTesting {
    let scratch: Scratch
    let program: String

    init() throws {
        scratch = try Scratch()
        program = try Program.meshbench()
    }

    /// Serves as it should.
    private var server: String { "exec \(program) app --listen 127.0.0.1:{port}" }

    private func command(_ marker: String, _ server: String, readyWithin: String = "30s") -> String
    {
        RigScenario.command(
            "\(RigScenario.orphans(marker)) & \(server)", readyWithin: readyWithin)
    }

    /// Looks at once: what descends from a command is dead when the rig has ended, not soon after.
    private func expectNothingLeftAtOnce(
        _ marker: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(processes(naming: "sleep \(marker)") == [], sourceLocation: sourceLocation)
        expectNothingLeft(scratch.root, sourceLocation: sourceLocation)
    }

    @Test func itsWorkersAreMeteredAndEndWithTheRun() throws {
        let marker = self.marker()
        #expect(
            try end(of: try start(command(marker, server), RigScenario.oneTurn)) == .exited(0),
            "\(text("stderr"))")
        let front = try result().phases.first?.processes.first { $0.name == "front/0" }
        #expect((front?.userNs ?? 0) + (front?.systemNs ?? 0) > 0)
        #expect((front?.proportionalBytes ?? 0) > 0)
        expectNothingLeftAtOnce(marker)
    }

    @Test func anIgnoredSIGCHLDIsNotInherited() throws {
        // Whoever starts the rig may ignore the end of children: it would then see no end of any.
        let file = scratch.path("scenario.yaml")
        try Data(RigScenario.command(server).utf8).write(to: URL(filePath: file))
        let line =
            "trap '' CHLD; exec \(program) run \(file) --rounds 1 --set 'arms=[mesh]' "
            + "--out \(scratch.path("out"))"
        let process = try Process(
            ProcessCommand(
                name: "run", program: "sh", arguments: ["-c", line],
                output: .file(scratch.path("stdout")), errorLog: scratch.path("stderr")))
        #expect(try end(of: process) == .exited(0), "\(text("stderr"))")
        expectNothingLeft(scratch.root)
    }

    @Test func oneThatDoesNotStartIsNamedWithItsLastWords() throws {
        let marker = self.marker()
        let scenario = command(marker, "echo no such luck >&2; exit 7")
        #expect(try end(of: try start(scenario)) == .exited(1))
        let told = text("stderr")
        #expect(told.contains("front/0 exited with 7"), "\(told)")
        #expect(told.contains("no such luck"), "\(told)")
        #expect(folder() == nil, "nothing was measured, so nothing is reported")
        let kept = try #require(told.split(separator: "what there was by then: ").last)
        let log = String(kept.prefix { $0 != "\n" }) + "/logs/direct-front-0.log"
        let log2 = log.replacing("direct", with: "mesh")
        #expect(
            [log, log2].contains { FileManager.default.fileExists(atPath: $0) }, "\(told)")
        expectNothingLeftAtOnce(marker)
    }

    @Test func oneThatIsNeverReadyLeavesNothing() throws {
        let marker = self.marker()
        let process = try start(command(marker, "sleep \(marker)", readyWithin: "1s"))
        #expect(try end(of: process) == .exited(1))
        #expect(text("stderr").contains("was not ready within 1"), "\(text("stderr"))")
        expectNothingLeftAtOnce(marker)
    }

    @Test func oneThatIgnoresBeingAskedToEndLeavesNothing() throws {
        let marker = self.marker()
        // What the shell ignores its children ignore too, but for the server, which sees to it
        // itself; the shell then goes on with a sleep.
        let script = """
            trap '' TERM; \(RigScenario.orphans(marker)) & \
            \(program) app --listen 127.0.0.1:{port}; sleep \(marker)
            """
        let process = try start(RigScenario.command(script), RigScenario.oneTurn)
        #expect(try end(of: process) == .exited(0), "\(text("stderr"))")
        expectNothingLeftAtOnce(marker)
    }

    @Test func anInterruptWhileItStartsLeavesNothing() throws {
        let marker = self.marker()
        let process = try start(command(marker, "exec sleep \(marker)", readyWithin: "600s"))
        try self.await("three sleeps", of: process) {
            processes(naming: "sleep \(marker)").count { !$0.contains("sh -c") } == 3
        }
        kill(process.pid, SIGINT)
        #expect(try end(of: process) == .exited(130), "\(text("stderr"))")
        expectNothingLeftAtOnce(marker)
        #expect(folder() == nil, "no round was complete")
    }

    @Test func oneThatDiesFailsTheRun() throws {
        let marker = self.marker()
        let scenario = command(
            marker, "(sleep 1; kill $$) & exec \(program) app --listen 127.0.0.1:{port}"
        ).replacing("for: 400ms", with: "for: 60s")
        #expect(try end(of: try start(scenario)) == .exited(1), "\(text("stderr"))")
        #expect(text("stderr").contains("front/0"), "\(text("stderr"))")
        #expect(!text("stdout").contains("PASS"))
        expectNothingLeftAtOnce(marker)
    }

    @Test func oneThatDiesInALaterRoundIsNoPass() throws {
        // It dies where its scratch folder has been used by two turns before: in the second round.
        let count = scratch.path("count")
        let script = """
            echo x >> \(count); if [ $(wc -l < \(count)) -ge 3 ]; then \
            (sleep 0.3; kill $$) & fi; exec \(program) app --listen 127.0.0.1:{port}
            """
        // Undecided for want of samples, so that the run goes on after the first round.
        let scenario = RigScenario.command(script).replacing(
            "expect:", with: "expect:\n  - p99.99(response) < 1s")
        #expect(
            try end(of: try start(scenario, ["--set", "rounds={min: 1, max: 500}"]))
                == .exited(1), "\(text("stderr"))")
        let result = try self.result()
        #expect(result.verdict == .fail)
        #expect(result.partial)
        #expect(result.failure?.contains("front/0") == true, "\(result.failure ?? "none")")
        #expect(result.rounds.count == 2, "one whole round of two arms")
        let told = text("stdout")
        #expect(told.contains("FAIL (partial: the run failed)"), "\(told)")
        #expect(!told.contains("interrupted"), "\(told)")
    }

    @Test func nothingOutlivesARigThatIsKilled() throws {
        let marker = self.marker()
        // The one turn goes on for as long as anybody looks.
        let process = try start(
            command(marker, server), ["--set", "arms=[mesh]", "--set", "phases.base.for=60s"])
        try awaitProgress("mesh  base", of: process)
        // The keeper's and the shell's command lines name them too.
        let orphans = processes(naming: "sleep \(marker)").filter { !$0.contains("sh -c") }
        #expect(orphans.count == 2, "two sleeps in the arm that runs")
        // The rig itself and two proxies; loads and services name no file of the run.
        #expect(processes(naming: scratch.root).count >= 3)
        kill(process.pid, SIGKILL)
        #expect(process.wait(until: Clock.now() + .seconds(20)) == .killed(SIGKILL))
        expectNothingLeft(scratch.root)
        expectNothingLeft("sleep \(marker)")
        #expect(folder() == nil)
    }
}
