import FoundationEssentials
import Glibc

/// The tree that these tests were built from.
struct Tree {
    /// Text files by path from the root.
    var files: [String: SourceText]
    /// Folders that hold any of them.
    var folders: Set<String>

    static let root = String(#filePath.dropLast("/Tests/TidyTests/Tree.swift".count))

    /// The tree as it was when it was first asked for: all tests look at the same.
    static let current = Result { try load() }

    /// Files that a person edits: not what a build or a run made, nor fixtures, which are as they
    /// are.
    private static func load() throws -> Tree {
        let kinds = [
            ".swift", ".md", ".c", ".h", ".yaml", ".yml", ".sh", ".py", ".proto", ".modulemap",
            ".txt",
        ]
        var files: [String: SourceText] = [:]
        for top in try FileManager.default.contentsOfDirectory(atPath: root) {
            if top == ".git" || top.hasPrefix(".build") || top == "results" { continue }
            var isFolder = false
            _ = FileManager.default.fileExists(atPath: root + "/" + top, isDirectory: &isFolder)
            let paths =
                isFolder
                ? try FileManager.default.subpathsOfDirectory(atPath: root + "/" + top)
                    .map { top + "/" + $0 } : [top]
            for path in paths where !path.hasPrefix("Tests/Fixtures/") {
                let isScript = path.hasPrefix("scripts/") || path.hasPrefix(".ci/")
                guard isScript || kinds.contains(where: { path.hasSuffix($0) }) else { continue }
                guard let bytes = FileManager.default.contents(atPath: root + "/" + path) else {
                    continue
                }
                files[path] = SourceText(path: path, text: String(decoding: bytes, as: UTF8.self))
            }
        }
        var folders: Set<String> = []
        for path in files.keys {
            var parts = path.split(separator: "/").dropLast()
            while !parts.isEmpty {
                folders.insert(parts.joined(separator: "/"))
                parts.removeLast()
            }
        }
        return Tree(files: files, folders: folders)
    }

    func files(_ suffix: String, under prefix: String = "") -> [SourceText] {
        files.values.filter { $0.path.hasPrefix(prefix) && $0.path.hasSuffix(suffix) }
            .sorted { $0.path < $1.path }
    }

    /// Whether this is a clone, rather than an unpacked archive.
    static let isClone = unsafe access(root + "/.git", F_OK) == 0

    /// Paths under version control; nil where git fails.
    static func tracked() -> [String]? {
        // Quoted for the shell: a path may hold spaces.
        let quoted = root.split(separator: "'", omittingEmptySubsequences: false)
            .joined(separator: "'\\''")
        guard let pipe = unsafe popen("git -C '\(quoted)' ls-files", "r") else { return nil }
        var bytes: [UInt8] = []
        var byte = unsafe getc(pipe)
        while byte != EOF {
            bytes.append(UInt8(truncatingIfNeeded: byte))
            byte = unsafe getc(pipe)
        }
        guard unsafe pclose(pipe) == 0 else { return nil }
        return bytes.split(separator: UInt8(ascii: "\n")).map {
            String(decoding: $0, as: UTF8.self)
        }
    }
}
