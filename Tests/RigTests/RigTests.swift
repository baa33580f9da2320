import Base
import FoundationEssentials
import Glibc
import Model
import Posix
import Testing

@testable import Rig

/// What a run holds against itself.
@Suite struct ScheduleTests {
    private func records(_ hashes: [String]) -> [ArmRecord] {
        zip([ArmName.direct, .mesh], hashes).map { arm, hash in
            var sample = Made.sample(arm: arm)
            sample.scheduleHash = hash
            return Made.record(sample)
        }
    }

    @Test func theArmsOfARoundAreOfferedTheSame() throws {
        try compareSchedules(records(["a", "a"]), round: 0)
        try compareSchedules(records(["a"]), round: 0)
        let error = #expect(throws: RigError.self) {
            try compareSchedules(records(["a", "b"]), round: 2)
        }
        #expect(error?.message.hasPrefix("round 3: ") == true)
    }
}

@Suite struct ReadinessTests {
    @Test(
        arguments: [
            ("HTTP/1.1 200 OK\r\n", 200), ("HTTP/1.1 200\r\nserver: x\r\n", 200),
            ("HTTP/1.1 204 \r\n", 204), ("HTTP/1.0 503", 503), ("HTTP/1.1 \r\n", nil),
            ("SSH-2.0 200", nil), ("", nil),
        ] as [(String, Int?)])
    func theStatusEndsAtWhatIsNoDigit(answer: String, expected: Int?) {
        #expect(status(Array(answer.utf8)) == expected)
    }
}

@Suite struct HeldPortTests {
    /// Binds as a server does that does not set SO_REUSEADDR; 0 or `errno`.
    private func bindPlainly(_ port: UInt16) -> Int32 {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = port.bigEndian
        let result = unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return result == 0 ? 0 : errno
    }

    /// Whoever is told of the port listens there, several threads too, ends, and does so again;
    /// nobody else is given it at any time.
    @Test func itIsThereForWhoeverIsToldOfIt() throws {
        let port = try HeldPort()
        for sharing in [false, true, false] {
            #expect(bindPlainly(port.number) == EADDRINUSE)
            #expect(!CommandPlan.Readiness.tcp.holds(port: port.number), "nobody answers")
            let address = SocketAddress.loopback(port: port.number)
            let first = try Socket.listen(on: address, sharing: sharing)
            if sharing { _ = try Socket.listen(on: address, sharing: true) }
            #expect(CommandPlan.Readiness.tcp.holds(port: port.number))
            #expect(first.number >= 0)
        }
    }

    @Test func itGoesWithItsHolder() throws {
        let number = try HeldPort().number
        #expect(bindPlainly(number) == 0)
    }
}

@Suite struct FirstLineTests {
    private func firstLine(_ script: String) -> (line: String?, took: Duration) {
        let start = Clock.now()
        let line = Rig.firstLine(
            of: ProcessCommand(
                name: "sh", program: "sh", arguments: ["-c", script], output: .pipe,
                errorLog: "/dev/null"))
        return (line, Clock.now() - start)
    }

    @Test func aProgramThatHasEndedIsNotWaitedFor() {
        let (line, took) = firstLine("true")
        #expect(line == nil && took < .seconds(4), "\(took.seconds) s")
    }

    @Test func emptyLinesSayNothing() {
        #expect(firstLine("echo; echo; echo a b; sleep 60").line == "a b")
    }

    @Test(arguments: [
        ("etcd Version: 3.4.30\\nGit SHA: 1", "3.4.30"),
        ("\\nenvoy  version: sha/1.40.0/Clean\\n", "sha/1.40.0/Clean"), ("1.2.3", "1.2.3"),
    ])
    func versionsAreTold(output: String, version: String) throws {
        let path = FileManager.default.temporaryDirectory.path + "/version-\(UUID())"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try writeFile(Array("#!/bin/sh\nprintf '\(output)'\n".utf8), to: path)
        unsafe chmod(path, 0o755)
        #expect(programVersion(of: path) == version)
        #expect(programVersion(of: path + "-missing") == nil)
    }
}

/// The commit that a result names.
@Suite struct CommitTests {
    private func git(_ words: String, in folder: String) throws {
        let process = try Process(
            ProcessCommand(
                name: "git", program: "git",
                arguments: ["-C", folder, "-c", "user.name=x", "-c", "user.email=x@y"]
                    + words.split(separator: " ").map(String.init)))
        #expect(process.wait(until: Clock.now() + .seconds(60)) == .exited(0), "git \(words)")
    }

    @Test func filesThatDifferFromItMakeItDirty() throws {
        let folder = FileManager.default.temporaryDirectory.path + "/meshbench-\(UUID())"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try makeFolder(folder + "/build")
        #expect(checkedOut(above: folder + "/build/program")?.hasSuffix("-dirty") != true)
        try git("init --quiet", in: folder)
        try writeFile(Array("one".utf8), to: folder + "/file")
        try git("add file", in: folder)
        try git("commit --quiet --message=one", in: folder)
        let began = Clock.now()
        let clean = try #require(checkedOut(above: folder + "/build/program"))
        #expect(clean.count == 7)
        // Git has said all: nobody waits for more of it until time is up, which is 5 s.
        #expect(Clock.now() - began < .seconds(5))
        try writeFile([], to: folder + "/new")
        #expect(checkedOut(above: folder + "/build/program") == clean, "unknown to git")
        try writeFile(Array("two".utf8), to: folder + "/file")
        #expect(checkedOut(above: folder + "/build/program") == clean + "-dirty")
    }
}
