import Base
import FoundationEssentials
import Glibc
import Testing

@testable import Posix

@Suite struct AccountingTests {
    private func shell(_ script: String) throws -> Process {
        try Process(
            ProcessCommand(
                name: "shell", program: "sh", arguments: ["-c", script], pipesInput: true,
                output: .pipe))
    }

    private func awaitLine(_ process: Process) throws -> String {
        while true {
            if let line = try process.nextLine() { return String(decoding: line, as: UTF8.self) }
            _ = waitReadable([process.outputDescriptor], for: .seconds(20))
        }
    }

    private func reading(of meter: inout UsageMeter) throws -> Usage {
        let usage = meter.read()
        return try #require(usage)
    }

    @Test func cpuOfAChildIsWhatTheKernelChargesItInTheEnd() throws {
        // The child burns CPU and then says by `times` what it has used; both come from the kernel,
        // by ways that have nothing in common but the scheduler.
        let process = try shell(
            """
            i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; times; read wait
            """)
        var meter = UsageMeter(root: process.pid, scope: .process)
        let own = try awaitLine(process)
        let seconds = own.split(separator: " ").compactMap { word -> Double? in
            let parts = word.dropLast().split(separator: "m")
            guard parts.count == 2, let m = Double(parts[0]), let s = Double(parts[1]) else {
                return nil
            }
            return m * 60 + s
        }
        #expect(seconds.count == 2)
        let used = try reading(of: &meter)
        // `times` rounds user and system each to 10 ms.
        #expect(abs(used.cpu.seconds - seconds.reduce(0, +)) < 0.025, "\(own) \(used)")
        #expect(used.cpu > .milliseconds(10))
    }

    @Test func aProcessThatWasLetGoLeavesWhatItUsedToItsSuccessor() throws {
        let burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; read wait"
        let first = try shell(burn)
        _ = try awaitLine(first)
        var meter = UsageMeter(root: first.pid, scope: .process)
        let before = try reading(of: &meter)
        #expect(before.cpu > .milliseconds(1))
        meter.release()
        first.send(SIGKILL)
        _ = first.wait(until: Clock.now() + .seconds(20))
        meter.refresh()
        let between = try reading(of: &meter)
        #expect(between.cpu >= before.cpu, "what is gone has used what it has")
        #expect(meter.memory() == nil)
        let second = try shell(burn)
        _ = try awaitLine(second)
        meter.succeed(second.pid)
        let after = try reading(of: &meter)
        #expect(after.cpu > between.cpu + .milliseconds(1))
        #expect(meter.memory() != nil)
        #expect(meter.endedCount == 0, "it was not lost")
        try second.write(Array("go\n".utf8))
    }

    @Test func aWindowCountsOnlyWhatLiesWithinIt() throws {
        let process = try shell(
            """
            read go; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; read wait
            """)
        var meter = UsageMeter(root: process.pid, scope: .process)
        let first = try reading(of: &meter)
        let second = try reading(of: &meter)
        #expect((second.cpu - first.cpu) < .milliseconds(5), "waiting uses no CPU")
        try process.write(Array("go\n".utf8))
        _ = try awaitLine(process)
        let third = try reading(of: &meter)
        let window = Usage.window(from: second, to: third)
        #expect(window.cpu > .milliseconds(5))
        #expect(window.cpu.nanoseconds == third.cpu.nanoseconds - second.cpu.nanoseconds)
        let after = try reading(of: &meter)
        #expect((after.cpu - third.cpu) < .milliseconds(5))
    }

    @Test func cpuOfDescendantsThatHaveEndedIsKept() throws {
        // A keeper's place is taken by the outer shell; the worker below the service ends within
        // the window.
        let burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
        let process = try shell("sh -c '(\(burn)) & wait; echo done; read wait'; exit 0")
        var meter = UsageMeter(root: process.pid, scope: .descendants)
        let before = try reading(of: &meter)
        _ = try awaitLine(process)
        meter.refresh()
        let after = try reading(of: &meter)
        #expect(after.cpu - before.cpu > .milliseconds(20), "\(before) \(after)")
    }

    @Test func readingsNeverFall() throws {
        let process = try shell("while :; do (:); done")
        var meter = UsageMeter(root: process.pid, scope: .descendants)
        var last = try reading(of: &meter)
        for _ in 0..<50 {
            meter.refresh()
            let now = try reading(of: &meter)
            #expect(now.cpu >= last.cpu)
            last = now
        }
        _ = process.terminate(grace: .zero)
        meter.refresh()
        let end = try reading(of: &meter)
        #expect(end.cpu >= last.cpu)
    }

    @Test func theSplitAddsUpAndFollowsTheTicks() {
        var start = Usage()
        start.cpu = .milliseconds(100)
        start.userTicks = 5
        start.systemTicks = 5
        var end = start
        end.cpu = .milliseconds(137)
        end.userTicks = 8
        end.systemTicks = 6
        let window = Usage.window(from: start, to: end)
        #expect(window.user == Duration(nanoseconds: 27_750_000))
        #expect(window.cpu == .milliseconds(37))
        // No tick in the window: the proportion of the whole life.
        end.userTicks = 5
        end.systemTicks = 5
        #expect(Usage.window(from: start, to: end).user == Duration(nanoseconds: 18_500_000))
    }

    @Test func memoryIsThere() throws {
        let own = try #require(MemoryUse(pid: getpid()))
        #expect(own.resident >= own.proportional)
        #expect(own.proportional > 100 * 1024)
        #expect(MemoryUse(pid: -1) == nil)
    }

    @Test func aProcessThatHasEndedIsNotRead() throws {
        let process = try shell("read wait")
        var meter = UsageMeter(root: process.pid, scope: .process)
        let (first, memory) = (meter.read(), meter.memory())
        #expect(first != nil && memory != nil)
        _ = process.terminate(grace: .zero)
        let last = meter.read()
        #expect(last == nil, "what was last known is not what it used up to now")
        #expect(meter.memory() == nil, "no memory is not 0 B")
    }

    /// Two cores: one busy, of which a part was stolen, the other idle.
    private static let before = Array(
        "cpu  0 0 0 0 0 0 0 0\ncpu0 100 0 50 800 40 4 6 0 0 0\ncpu1 0 0 0 500 0 0 0 0 0 0\n".utf8)
    private static let after = Array(
        "cpu  9 9 9 9 9 9 9 9\ncpu0 130 10 60 820 50 5 10 15 0 0\ncpu1 0 0 0 600 0 0 0 0 0 0\n".utf8
    )

    @Test func machineSharesAreThoseOfTheUsableCores() throws {
        let before = try #require(MachineUsage(Self.before, cores: [0]))
        let after = try #require(MachineUsage(Self.after, cores: [0]))
        let shares = MachineUsage.shares(from: before, to: after)
        #expect(shares.busy == 0.55)
        #expect(shares.stolen == 0.15)
        #expect(shares.softInterrupts == 0.04)
        #expect(after.cores == 1)
        let all = MachineUsage.shares(
            from: try #require(MachineUsage(Self.before)),
            to: try #require(MachineUsage(Self.after)))
        #expect(all.busy == 0.275, "all of the machine's cores where none is named")
        #expect(MachineUsage(Self.before, cores: [7]) == nil)
        #expect(MachineUsage(Array("intr 1 2\n".utf8)) == nil)
        #expect(MachineUsage() != nil)
    }

    @Test func throttledTimeIsAShareOfWhatTheCoresCouldGive() throws {
        let before = try #require(MachineUsage(Self.before))
        var after = try #require(MachineUsage(Self.after))
        // 200 ticks of 10 ms went by on the two cores together.
        after.throttled = .milliseconds(100)
        #expect(MachineUsage.shares(from: before, to: after).throttled == 0.05)
    }

    @Test func aQuotaThatCannotBeReadIsNoneOnlyWhereThereIsNoAccount() throws {
        let root = FileManager.default.temporaryDirectory.path + "/meshbench-\(UUID())"
        defer { try? FileManager.default.removeItem(atPath: root) }
        let folders = FileManager.default
        try folders.createDirectory(atPath: root + "/a/b", withIntermediateDirectories: true)
        func time(_ groups: String) -> Base.Duration? {
            throttledTime(groups: Array(groups.utf8), root: root)
        }
        #expect(time("0::/a/b\n") == .zero, "no account")
        #expect(time("3:cpu:/a\n") == .zero, "version 1")
        for (path, count) in [("/a/b", 5), ("/a", 7)] {
            try Data("usage_usec 1\nthrottled_usec \(count)\n".utf8).write(
                to: URL(filePath: root + path + "/cpu.stat"))
        }
        #expect(time("0::/a/b\n") == .microseconds(12), "of all above")
        // A folder can be opened and not read.
        try folders.createDirectory(
            atPath: root + "/cpu.stat", withIntermediateDirectories: false)
        #expect(time("0::/a/b\n") == nil)
    }

    @Test(
        arguments: [
            ("0", [0]), ("0-3,8", [0, 1, 2, 3, 8]), ("5,7", [5, 7]), ("", nil), ("3-1", nil),
            ("x", nil), ("0-99999999", nil), ("1-2-3", nil),
        ] as [(String, Set<Int>?)])
    func listsOfCores(list: String, cores: Set<Int>?) {
        #expect(coreNumbers(list) == cores)
    }

    @Test(arguments: [
        (0, false), (4_000_000, false), (14_000_000, false), (16_000_000, true),
        (-16_000_000, true), (3_600_000_000_000, true),
    ])
    func clockSteps(drift: Int64, stepped: Bool) {
        // 10 s apart: 10 ms of slewing and 5 ms of slack are allowed.
        let start = ClockPair(monotonic: Instant(nanoseconds: 7), wall: 1_000_000)
        let end = ClockPair(
            monotonic: Instant(nanoseconds: 10_000_000_007), wall: 10_001_000_000 + drift)
        #expect(ClockPair.drift(from: start, to: end).nanoseconds == drift)
        #expect(ClockPair.stepped(from: start, to: end) == stepped)
        #expect(!ClockPair.stepped(from: .now(), to: .now()))
    }
}
