import Base
import FoundationEssentials
import Glibc
import Model
import Posix
import Rig

extension Command {
    static let selftest = Command(
        name: "selftest",
        about: "Prove the instrument against theory",
        detail: """
            Plants a stall, a delay, a CPU burn and errors in a real server under real load and \
            looks whether each comes back as theory says, and starves the load generator to see \
            that the measurement is called invalid. Takes some 40 seconds.

            Ends with 0 if every proof holds, else with 99.
            """,
        flags: [.quiet],
        run: runSelftest)
}

private func runSelftest(_ arguments: Arguments) throws(CommandFailure) -> ExitCode {
    let progress = Progress(.suited(quiet: arguments.has(.quiet)))
    do throws(RigError) {
        let folder = try privateFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let proofs = try selftest(
            program: try ownProgram(), parent: folder, spin: RunOrder.standardSpin,
            progress: progress, interrupts: try Interrupts())
        for line in table(proofs) { print(line) }
        let failed = proofs.count { !$0.holds }
        print(failed == 0 ? "all hold" : "\(failed) of \(proofs.count) do not hold")
        return failed == 0 ? .success : .expectationFailed
    } catch {
        progress.finish()
        let code: ExitCode = error.kind == .interrupted ? .interrupted : .failed
        throw CommandFailure(code: code, message: "meshbench selftest: \(error)")
    }
}

private func table(_ proofs: [Proof]) -> [String] {
    let rows =
        [["", "proof", "expected", "observed"]]
        + proofs.map { [$0.holds ? "✓" : "✗", $0.name, $0.expected, $0.observed] }
    let widths = (0..<4).map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
        let cells = row.enumerated().map { column, text in
            column == 3 ? text : text + String(repeating: " ", count: widths[column] - text.count)
        }
        return cells.joined(separator: "  ")
    }
}

/// A new folder that is nobody else's: one of a fixed name could be another user's, or a link.
private func privateFolder() throws(RigError) -> String {
    let parent = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
    var path = Array("\(parent)/meshbench-selftest-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&path) != nil else {
        throw RigError(.file, "no folder can be made in \(parent): \(SystemError("mkdtemp"))")
    }
    return String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
