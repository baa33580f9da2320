import FoundationEssentials
import Glibc
import Testing

@testable import Rig

@Suite struct ResultsFolderTests {
    private let moment: Int64 = 1_795_423_963_000_000_000

    private func scratch() -> String {
        FileManager.default.temporaryDirectory.path + "/meshbench-\(getpid())-\(UUID())"
    }

    private func names(_ path: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
    }

    @Test func aFolderIsAbsentUntilItIsWhole() throws {
        let parent = scratch()
        defer { try? FileManager.default.removeItem(atPath: parent) }
        let folder = try ResultsFolder(
            parent: parent, name: "quick start", moment: moment, commit: "abc1234")
        try folder.write("{}", to: "result.json")
        let before = names(parent + "/quick-start")
        #expect(before.allSatisfy { $0.hasPrefix(".") }, "\(before)")
        let final = try folder.publish()
        #expect(final == parent + "/quick-start/20261123T085243Z-abc1234")
        #expect(names(final) == ["result.json"])
        #expect(names(parent + "/quick-start").count == 1)
    }

    @Test func anUnfinishedFolderIsRemoved() throws {
        let parent = scratch()
        defer { try? FileManager.default.removeItem(atPath: parent) }
        var folder: ResultsFolder? = try ResultsFolder(
            parent: parent, name: "x", moment: moment, commit: "c")
        try folder?.write("half", to: "result.json")
        folder = nil
        #expect(names(parent + "/x").isEmpty)
    }

    @Test func whatAFailedRunHasWrittenIsKept() throws {
        let parent = scratch()
        defer { try? FileManager.default.removeItem(atPath: parent) }
        var folder: ResultsFolder? = try ResultsFolder(
            parent: parent, name: "x", moment: moment, commit: "c")
        try folder?.write("why", to: "journal.jsonl")
        #expect(folder?.hasMeasured == false)
        try folder?.append([], to: ResultsFolder.rawFile)
        #expect(folder?.hasMeasured == true)
        let kept = folder?.keepUnfinished()
        folder = nil
        #expect(kept == parent + "/x/20261123T085243Z-c-\(getpid())-unfinished")
        #expect(names(kept ?? "") == ["journal.jsonl", "raw.jsonl"])
        #expect(names(parent + "/x").count == 1)
    }

    @Test func twoRunsNeverShareAFolder() throws {
        let parent = scratch()
        defer { try? FileManager.default.removeItem(atPath: parent) }
        let folders = try (0..<3).map { _ in try makeNewFolder(parent + "/conform/now") }
        #expect(folders == ["now", "now-2", "now-3"].map { "\(parent)/conform/\($0)" })
        #expect(throws: RigError.self) { try makeNewFolder("/proc/self/now") }
    }

    @Test func resultsAreNeverOverwritten() throws {
        let parent = scratch()
        defer { try? FileManager.default.removeItem(atPath: parent) }
        var finals: [String] = []
        for number in 1...3 {
            let folder = try ResultsFolder(parent: parent, name: "x", moment: moment, commit: "c")
            try folder.write("\(number)", to: "result.json")
            finals.append(try folder.publish())
        }
        #expect(
            finals.map { $0.split(separator: "/").last.map(String.init) } == [
                "20261123T085243Z-c", "20261123T085243Z-c-2", "20261123T085243Z-c-3",
            ])
    }

    @Test func whatAKilledRunLeftIsRemovedByTheNext() throws {
        let parent = scratch()
        defer { try? FileManager.default.removeItem(atPath: parent) }
        // No process has this number: the kernel's limit is 2²².
        try makeFolder(parent + "/x/.20260101T000000Z-c.99999999")
        try makeFolder(parent + "/x/.20260101T000000Z-c.\(getpid())")
        let folder = try ResultsFolder(parent: parent, name: "x", moment: moment, commit: "c")
        try folder.write("", to: "result.json")
        _ = try folder.publish()
        #expect(
            names(parent + "/x") == [
                ".20260101T000000Z-c.\(getpid())", "20261123T085243Z-c",
            ])
    }

    @Test func whatAKilledRunHadMeasuredIsKept() throws {
        let parent = scratch()
        defer { try? FileManager.default.removeItem(atPath: parent) }
        let left = parent + "/x/.20260101T000000Z-c.99999999"
        try makeFolder(left + "/scratch/program")
        try writeFile(Array("{}\n".utf8), to: left + "/raw.jsonl")
        _ = try ResultsFolder(parent: parent, name: "x", moment: moment, commit: "c")
        #expect(names(parent + "/x").contains("20260101T000000Z-c-99999999-unfinished"))
        #expect(names(parent + "/x/20260101T000000Z-c-99999999-unfinished") == ["raw.jsonl"])
    }

    @Test func linesAreAdded() throws {
        let parent = scratch()
        defer { try? FileManager.default.removeItem(atPath: parent) }
        let folder = try ResultsFolder(parent: parent, name: "x", moment: moment, commit: "c")
        try folder.append(Array("one".utf8), to: "raw.jsonl")
        try folder.append(Array("two".utf8), to: "raw.jsonl")
        let text = try String(contentsOfFile: folder.path + "/raw.jsonl", encoding: .utf8)
        #expect(text == "one\ntwo\n")
    }

    @Test(arguments: [
        ("/dev/null", "/dev/null/x: Not a directory"), ("/proc/x", "/proc/x: No such file"),
    ])
    func aFolderThatCannotBeMadeIsNamedWithTheReason(parent: String, words: String) {
        let error = #expect(throws: RigError.self) {
            _ = try ResultsFolder(parent: parent, name: "x", moment: moment, commit: "c")
        }
        #expect(error?.kind == .file)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }

    @Test(arguments: [
        ("echo/0", "echo-0"), ("server-proxy echo/0", "server-proxy-echo-0"), ("..", "_.."),
        ("", "_"), ("a\u{0}b\nc", "a-b-c"), ("p99.9_x", "p99.9_x"), ("\u{e9}", "-"),
    ])
    func fileNames(name: String, file: String) {
        #expect(fileName(name) == file)
    }
}
