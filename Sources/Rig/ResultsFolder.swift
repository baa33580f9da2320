// A folder of results is whole or absent: it grows under a name that begins with a dot and carries
// this process's number, and is renamed when the last file is in it. What a run that failed has
// written is kept as `...-unfinished`. What a killed run left under its name with a dot is removed
// by the next run of the same scenario, or kept in the same way where it had measured something.

import FoundationEssentials
import Glibc
import Posix

/// The folder in which one run leaves all that it knows.
public final class ResultsFolder {
    /// Where the run writes until `publish()`.
    public let path: String
    /// Where the finished folder will be, unless something is there already.
    private let finalPath: String
    /// Folders that were not there before.
    private let made: [String]
    private let unfinishedPath: String
    /// Whether it has the name that it is to keep.
    private var isPublished = false

    /// Creates the folder for a run under `parent`.
    /// - Parameter name: of the scenario; characters that have no place in a file name become `-`.
    /// - Parameter moment: of the start, nanoseconds since 1970.
    /// - Parameter commit: a short one, or what stands for it.
    public init(parent: String, name: String, moment: Int64, commit: String) throws(RigError) {
        let scenario = parent + "/" + fileName(name)
        let stamp = compactTime(moment) + "-" + fileName(commit)
        finalPath = scenario + "/" + stamp
        path = scenario + "/.\(stamp).\(getpid())"
        unfinishedPath = "\(finalPath)-\(getpid())-unfinished"
        // Outer ones first.
        made = [parent, scenario].filter { !FileManager.default.fileExists(atPath: $0) } + [path]
        try makeFolder(path)
        removeLeftovers(in: scenario)
    }

    deinit {
        if !isPublished { try? FileManager.default.removeItem(atPath: path) }
    }

    /// A folder within, created if need be.
    public func folder(_ name: String) throws(RigError) -> String {
        let folder = path + "/" + name
        try makeFolder(folder)
        return folder
    }

    /// Writes one file within.
    public func write(_ bytes: [UInt8], to name: String) throws(RigError) {
        try writeFile(bytes, to: path + "/" + name)
    }

    public func write(_ text: String, to name: String) throws(RigError) {
        try write(Array(text.utf8), to: name)
    }

    /// Writes one line more at the end of a file within.
    func append(_ line: [UInt8], to name: String) throws(RigError) {
        try Rig.write(line + [UInt8(ascii: "\n")], to: path + "/" + name, flags: O_APPEND)
    }

    /// Removes a folder within, whatever is in it. What cannot be removed now is, at the end.
    func discard(_ name: String) {
        try? FileManager.default.removeItem(atPath: path + "/" + name)
    }

    /// The file of what was measured, one line for each turn.
    static let rawFile = "raw.jsonl"

    /// Removes what services needed while they ran and nobody needs to read.
    func removeScratch() throws(RigError) {
        let scratch = path + "/scratch"
        guard FileManager.default.fileExists(atPath: scratch) else { return }
        do {
            try FileManager.default.removeItem(atPath: scratch)
        } catch {
            throw RigError(.file, "\(scratch) cannot be removed: \(error)")
        }
    }

    /// Gives the folder its final name; nothing is written after that.
    /// - Returns: where it is.
    public func publish() throws(RigError) -> String {
        precondition(!isPublished, "results are published once")
        giveBack()
        // A second run within the same second gets a number. Bound: some run fails before the
        // hundredth.
        for attempt in 1...100 {
            let target = attempt == 1 ? finalPath : "\(finalPath)-\(attempt)"
            // Renaming onto a folder with files in it fails, so no result is ever overwritten.
            if unsafe rename(path, target) == 0 {
                isPublished = true
                return target
            }
            guard errno == ENOTEMPTY || errno == EEXIST else { break }
        }
        throw RigError(.file, "\(SystemError("rename \(path) to \(finalPath)"))")
    }

    /// Whether a turn has been measured to its end.
    var hasMeasured: Bool { FileManager.default.fileExists(atPath: path + "/" + Self.rawFile) }

    /// Keeps what a run that failed has left, under a name that says so: logs, journal and what was
    /// measured tell why. Nothing is written after that.
    /// - Returns: where it is.
    func keepUnfinished() -> String {
        precondition(!isPublished, "results are published once")
        try? FileManager.default.removeItem(atPath: path + "/scratch")
        giveBack()
        isPublished = true
        // The next run of the scenario looks after what cannot be renamed.
        return unsafe rename(path, unfinishedPath) == 0 ? unfinishedPath : path
    }

    /// Gives what a run through sudo has made to whoever called sudo: else they could not remove
    /// it.
    private func giveBack() {
        guard geteuid() == 0, let user = variable("SUDO_UID").flatMap({ UInt32($0) }) else {
            return
        }
        let group = variable("SUDO_GID").flatMap { UInt32($0) } ?? user
        for made in made { _ = unsafe lchown(made, user, group) }
        let names = (try? FileManager.default.subpathsOfDirectory(atPath: path)) ?? []
        for name in names { _ = unsafe lchown(path + "/" + name, user, group) }
    }

    private func removeLeftovers(in scenario: String) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: scenario)) ?? []
        for name in names where name.hasPrefix(".") {
            guard let owner = name.split(separator: ".").last.flatMap({ Int32($0) }) else {
                continue
            }
            guard kill(owner, 0) != 0 && errno == ESRCH else { continue }
            let left = scenario + "/" + name
            if FileManager.default.fileExists(atPath: left + "/" + Self.rawFile) {
                try? FileManager.default.removeItem(atPath: left + "/scratch")
                let stamp = name.dropFirst().split(separator: ".").first ?? "run"
                if unsafe rename(left, "\(scenario)/\(stamp)-\(owner)-unfinished") == 0 { continue }
            }
            try? FileManager.default.removeItem(atPath: left)
        }
    }
}

/// `path` from the root, as seen from this process's working directory.
func absolutePath(_ path: String) -> String {
    path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
}

/// A folder with all above it.
func makeFolder(_ path: String) throws(RigError) {
    var folder = path.hasPrefix("/") ? "/" : ""
    for step in path.split(separator: "/") {
        folder += (folder.isEmpty || folder.hasSuffix("/") ? "" : "/") + step
        if unsafe mkdir(folder, 0o755) == 0 || errno == EEXIST { continue }
        throw RigError(.file, "\(SystemError("make the folder \(folder)"))")
    }
    var isFolder = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder else {
        throw RigError(.file, "\(SystemError("make the folder \(path)", code: ENOTDIR))")
    }
}

/// A folder that nobody had before: where `path` is taken, with the first number behind it that is
/// free. Bound: a hundred, of which whoever starts so many in a second hears.
func makeNewFolder(_ path: String) throws(RigError) -> String {
    if let parent = path.lastIndex(of: "/") { try makeFolder(String(path[..<parent])) }
    for attempt in 1...100 {
        let folder = attempt == 1 ? path : "\(path)-\(attempt)"
        if unsafe mkdir(folder, 0o755) == 0 { return folder }
        guard errno == EEXIST else { break }
    }
    throw RigError(.file, "\(SystemError("make the folder \(path)"))")
}

func writeFile(_ bytes: [UInt8], to path: String) throws(RigError) {
    try write(bytes, to: path, flags: O_TRUNC)
}

/// For this user alone, and new: nobody has it open already.
func writePrivate(_ bytes: [UInt8], to path: String) throws(RigError) {
    try write(bytes, to: path, flags: O_EXCL, mode: 0o600)
}

/// - Parameters:
///   - flags: what else is to be when the file is opened: O_TRUNC, O_APPEND.
///   - mode: of a file that is new.
func write(
    _ bytes: [UInt8], to path: String, flags: Int32, mode: mode_t = 0o644
) throws(RigError) {
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, mode)
    guard file >= 0 else { throw RigError(.file, "\(SystemError("open \(path)"))") }
    defer { close(file) }
    var sent = 0
    while sent < bytes.count {
        let count = unsafe bytes.withUnsafeBytes {
            unsafe Glibc.write(file, $0.baseAddress?.advanced(by: sent), bytes.count - sent)
        }
        if count < 0 && errno != EINTR {
            throw RigError(.file, "\(SystemError("write \(path)"))")
        }
        sent += max(count, 0)
    }
}

/// `name` with everything but letters, digits, `.`, `_` and `-` replaced; never empty or hidden.
func fileName(_ name: String) -> String {
    let kept = name.unicodeScalars.map { scalar -> Character in
        let isPlain =
            scalar.isASCII
            && (scalar.properties.isAlphabetic || ("0"..."9").contains(Character(scalar))
                || scalar == "." || scalar == "_" || scalar == "-")
        return isPlain ? Character(scalar) : "-"
    }
    let text = String(kept)
    return text.isEmpty || text.hasPrefix(".") ? "_" + text : text
}

/// `20261123T081243Z`.
func compactTime(_ nanoseconds: Int64) -> String {
    isoTime(nanoseconds).filter { $0 != "-" && $0 != ":" }
}

/// `2026-11-23T08:12:43Z`.
func isoTime(_ nanoseconds: Int64) -> String {
    Date(timeIntervalSince1970: Double(nanoseconds / 1_000_000_000)).ISO8601Format()
}
