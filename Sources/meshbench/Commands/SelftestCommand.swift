import Base
import Glibc
import Model
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
        let proofs = try selftest(
            program: ownProgram(), parent: temporaryFolder(), spin: .microseconds(200),
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

private func temporaryFolder() -> String {
    guard let path = unsafe getenv("TMPDIR") else { return "/tmp" }
    return unsafe String(cString: path)
}
