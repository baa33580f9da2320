import FoundationEssentials
import Secure
import Support

/// A folder in which the command `openssl` works: a reader and writer of certificates that shares
/// no code of ours.
final class Workbench {
    private let folder: Scratch

    init() throws { folder = try Scratch() }

    func path(_ name: String) -> String { folder.path(name) }

    func write(_ text: [UInt8], _ name: String) throws {
        try Data(text).write(to: URL(filePath: path(name)))
    }

    func read(_ name: String) throws -> [UInt8] {
        try Array(Data(contentsOf: URL(filePath: path(name))))
    }

    /// What a script prints on both outputs, and `ok` at its end where it ended well.
    func sh(_ script: String) throws -> [String] {
        try Program.run("sh", ["-c", "cd \(folder.root) && (\(script)) 2>&1 && echo ok"]).lines
    }

    func succeeds(_ script: String) throws -> Bool { try sh(script).last == "ok" }
}
