import Base
import FoundationEssentials
import Glibc
import Posix
import Testing

@Suite struct ProcessTests {
    private func shell(
        _ script: String, name: String = "test", input: Bool = false, output: Bool = true,
        environment: [String: String] = [:], directory: String? = nil, log: String? = nil
    ) throws -> Process {
        try Process(
            ProcessCommand(
                name: name, program: "sh", arguments: ["-c", script], environment: environment,
                directory: directory, pipesInput: input, output: output ? .pipe : .discard,
                errorLog: log))
    }

    private func lines(of process: Process) throws -> [String] {
        var found: [String] = []
        while true {
            while let line = try process.nextLine() {
                found.append(String(decoding: line, as: UTF8.self))
            }
            if process.outputDescriptor < 0 { return found }
            _ = waitReadable([process.outputDescriptor], for: .seconds(10))
        }
    }

    @Test(arguments: [
        ("exit 0", ProcessEnd.exited(0)), ("exit 7", .exited(7)), ("kill -9 $$", .killed(SIGKILL)),
        ("kill -TERM $$", .killed(SIGTERM)),
    ])
    func exitStatus(script: String, status: ProcessEnd) throws {
        let process = try shell(script)
        #expect(process.wait(until: Clock.now() + .seconds(20)) == status)
        #expect(process.status == status)
    }

    @Test func outputComesLineByLineAndAnUnendedLineAtTheEnd() throws {
        let process = try shell("echo one; echo; printf two")
        #expect(try lines(of: process) == ["one", "", "two"])
    }

    @Test func inputEnvironmentAndDirectory() throws {
        let process = try shell(
            "read line; echo \"$line $WORD\"; pwd", input: true, environment: ["WORD": "here"],
            directory: "/usr")
        try process.write(Array("hello\n".utf8))
        process.closeInput()
        #expect(try lines(of: process) == ["hello here", "/usr"])
    }

    @Test func aChildHasNoDescriptorsButItsOwn() throws {
        let extra = unsafe open("/dev/null", O_RDONLY)
        defer { close(extra) }
        let process = try shell("ls /proc/$$/fd")
        // The shell may hold a copy of its own above 9; the test's descriptor must not be there.
        let open = try lines(of: process).compactMap { Int32($0) }
        #expect(Set(open).isSuperset(of: [0, 1, 2]))
        #expect(!open.contains { (3..<10).contains($0) || $0 == extra })
    }

    @Test func signalsAreDefaultAndUnblockedInTheChild() throws {
        // A process that blocks SIGTERM starts a child that must not: else nothing would end it but
        // SIGKILL.
        let signals = try Signals([SIGUSR2])
        defer { _ = signals.descriptor }
        let process = try shell("kill -USR2 $$; echo survived")
        #expect(process.wait(until: Clock.now() + .seconds(20)) == .killed(SIGUSR2))
    }

    @Test func aMissingProgramIsAnErrorWithItsErrno() {
        let error = #expect(throws: SystemError.self) {
            _ = try Process(ProcessCommand(name: "x", program: "/no/such/program", arguments: []))
        }
        #expect(error?.code == ENOENT)
        #expect(throws: SystemError.self) {
            _ = try Process(ProcessCommand(name: "x", program: "no-such-program", arguments: []))
        }
    }

    @Test func standardErrorGoesToTheLog() throws {
        let log = "/tmp/meshbench-process-\(getpid())-\(Clock.now().nanoseconds).log"
        defer { unsafe unlink(log) }
        let process = try shell("echo first >&2; echo second >&2", log: log)
        #expect(process.wait(until: Clock.now() + .seconds(20)) == .exited(0))
        #expect(tail(of: log, lines: 1) == ["second"])
        #expect(tail(of: log, lines: 10) == ["first", "second"])
        #expect(tail(of: log + ".absent", lines: 10) == [])
    }

    @Test func terminateWaitsForAGracefulEnd() throws {
        let process = try shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done")
        _ = waitReadable([process.outputDescriptor], for: .seconds(20))
        #expect(process.terminate(grace: .seconds(20)) == .exited(3))
    }

    @Test func terminateKillsTheWholeGroupOfAProcessThatWillNot() throws {
        let process = try shell("trap '' TERM; sleep 1000 & echo $!; while :; do sleep 0.01; done")
        _ = waitReadable([process.outputDescriptor], for: .seconds(20))
        let grandchild = try #require(
            try process.nextLine().flatMap { Int32(String(decoding: $0, as: UTF8.self)) })
        #expect(process.terminate(grace: .milliseconds(50)) == .killed(SIGKILL))
        #expect(isGone(grandchild))
    }

    @Test func serversAreFoundWithoutTheSystemFoldersInPath() throws {
        // `sbin` is where Debian has nginx; an ordinary user's PATH does not name it.
        let names = try FileManager.default.contentsOfDirectory(atPath: "/usr/sbin")
        let elsewhere = ["/usr/local/bin", "/usr/bin", "/bin"]
        func isProgram(_ path: String) -> Bool { unsafe access(path, X_OK) == 0 }
        let name = try #require(
            names.sorted().first { name in
                isProgram("/usr/sbin/\(name)")
                    && !elsewhere.contains { isProgram("\($0)/\(name)") }
            })
        let path = unsafe getenv("PATH").map { unsafe String(cString: $0) } ?? ""
        unsafe setenv("PATH", elsewhere.joined(separator: ":"), 1)
        defer { unsafe setenv("PATH", path, 1) }
        #expect(throws: Never.self) {
            _ = try Process(ProcessCommand(name: name, program: name, arguments: ["--version"]))
        }
    }

    @Test func aProcessWithALifelineIsLetGoBeforeItIsKilled() throws {
        // In place of a keeper: it ignores SIGTERM and ends by itself when its lifeline closes.
        func keeper() throws -> Process {
            let process = try Process(
                ProcessCommand(
                    name: "keeper", program: "sh",
                    arguments: ["-c", "trap '' TERM; echo ready; read line <&3; exit 7"],
                    output: .pipe, diesWithParent: false, hasLifeline: true))
            _ = waitReadable([process.outputDescriptor], for: .seconds(20))
            return process
        }
        #expect(try keeper().terminate(grace: .milliseconds(50)) == .exited(7))
        #expect(try keeper().terminate(grace: .zero) == .exited(7))
        let stopped = try keeper()
        stopped.send(SIGSTOP)
        #expect(stopped.terminate(grace: .zero) == .exited(7))
    }

    @Test func theGroupDiesWithItsLeader() throws {
        let process = try shell("sleep 1000 & echo $!; exit 0")
        let found = try #require(try lines(of: process, upTo: 1).first.flatMap { Int32($0) })
        #expect(process.wait(until: Clock.now() + .seconds(20)) == .exited(0))
        #expect(isGone(found))
    }

    @Test func lettingGoOfAProcessEndsIt() throws {
        var process: Process? = try shell("exec sleep 1000")
        let pid = try #require(process?.pid)
        #expect(kill(pid, 0) == 0)
        process = nil
        #expect(isGone(pid))
    }

    @Test func aChildDiesWithTheThreadThatStartedIt() throws {
        let pipe = try shell("exec sleep 1000", output: false)
        #expect(pipe.poll() == nil)
        let pid = PidBox()
        let thread = try Thread(name: "short") {
            guard
                let child = try? Process(
                    ProcessCommand(name: "sleep", program: "sleep", arguments: ["1000"]))
            else { return }
            pid.value = child.pid
            pid.keep = child
        }
        thread.join()
        let child = try #require(pid.keep)
        #expect(child.wait(until: Clock.now() + .seconds(20)) == .killed(SIGKILL))
        #expect(pipe.poll() == nil, "a child of a living thread lives on")
    }

    private func lines(of process: Process, upTo count: Int) throws -> [String] {
        var found: [String] = []
        while found.count < count {
            if let line = try process.nextLine() {
                found.append(String(decoding: line, as: UTF8.self))
            } else {
                _ = waitReadable([process.outputDescriptor], for: .seconds(10))
            }
        }
        return found
    }

    /// Whether `pid` has ended, within a time that is no matter of speed.
    private func isGone(_ pid: Int32) -> Bool {
        let deadline = Clock.now() + .seconds(20)
        while Clock.now() < deadline {
            guard let stat = ProcessStat(pid: pid) else { return true }
            // An orphan is a zombie until init reaps it.
            if stat.state == UInt8(ascii: "Z") || stat.state == UInt8(ascii: "X") { return true }
            Clock.sleep(until: Clock.now() + .milliseconds(1))
        }
        return false
    }

    // Safety: written by one thread that is joined before it is read.
    private final class PidBox: @unchecked Sendable {
        var value: Int32 = 0
        var keep: Process?
    }
}

@Suite struct ProcessStatTests {
    @Test func theProgramsNameMayHoldAnything() throws {
        let text =
            "42 (a) b (c)) S 7 42 42 0 -1 4194304 1 0 0 0 11 12 13 14 20 0 1 0 555 1 1 1 1 1 1"
        let stat = try #require(ProcessStat(Array(text.utf8)))
        #expect(stat.pid == 42)
        #expect(stat.parent == 7)
        #expect(stat.state == UInt8(ascii: "S"))
        #expect(stat.userTicks == 11)
        #expect(stat.systemTicks == 12)
        #expect(stat.reapedTicks == 27)
        #expect(stat.startTicks == 555)
    }

    @Test(arguments: [
        "", "42", "42 (x", "42 (x) S 1 2 3", "x (y) S 7 42 42 0 -1 1 1 0 0 0 1 1 1 1",
    ])
    func brokenTextIsNothing(text: String) {
        #expect(ProcessStat(Array(text.utf8)) == nil)
    }

    @Test func descendantsAreFoundAcrossGenerations() throws {
        let process = try Process(
            ProcessCommand(
                name: "tree", program: "sh",
                arguments: ["-c", "sh -c 'sleep 1000 & echo $!; wait' & wait"], output: .pipe))
        defer { _ = process.terminate(grace: .zero) }
        _ = waitReadable([process.outputDescriptor], for: .seconds(20))
        let leaf = try #require(
            try process.nextLine().flatMap { Int32(String(decoding: $0, as: UTF8.self)) })
        let found = descendants(of: process.pid)
        #expect(found.contains { $0.pid == leaf })
        #expect(!found.contains { $0.pid == process.pid })
        #expect(descendants(of: getpid()).contains { $0.pid == leaf })
    }
}
