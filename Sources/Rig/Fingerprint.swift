// What a result depends on beyond the scenario: the machine, its kernel, and the program itself.
// Results of different fingerprints are not comparable.

import Base
import FoundationEssentials
import Glibc
import Posix
public import Report

/// The surroundings of a run, as facts for the report.
public struct Fingerprint: Sendable {
    public var facts: [RunResult.Fact]
    /// Short; `unknown` outside of a repository.
    public var commit: String
    /// What a reader should know about these surroundings.
    public var warnings: [String]

    /// Whether this program was built without optimization: its costs are then not those of a
    /// release.
    public static var isDebugBuild: Bool {
        #if DEBUG
            true
        #else
            false
        #endif
    }

    /// - Parameter program: the path of this program.
    public static func take(program: String, version: String) -> Fingerprint {
        var facts: [RunResult.Fact] = []
        var warnings: [String] = []
        func add(_ group: String, _ name: String, _ value: String?) {
            if let value, !value.isEmpty {
                facts.append(.init(group: group, name: name, value: value))
            }
        }
        let cores = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        add("machine", "CPU", cpuModel())
        add("machine", "cores", "\(cores)")
        add("machine", "usable cores", usableCores().map { "\($0.count)" })
        add("machine", "memory", memory())
        add("machine", "governor", governor())
        add("machine", "clock source", firstLine("\(clocks)/current_clocksource"))
        add("machine", "virtual", firstLine("/sys/class/dmi/id/product_name"))
        add("machine", "CPU quota of the cgroup", firstLine("/sys/fs/cgroup/cpu.max"))
        add("machine", "mitigations", mitigations())
        add("system", "kernel", firstLine("/proc/sys/kernel/osrelease"))
        add("system", "distribution", distribution())
        let load = firstLine("/proc/loadavg")
        add("system", "load average at the start", load)
        add("program", "version", version)
        add("program", "build", isDebugBuild ? "debug" : "release")
        add("program", "working folder", FileManager.default.currentDirectoryPath)
        let commit = checkedOut(above: program) ?? "unknown"
        add("program", "commit", commit)
        add("program", "hash (FNV-1a 64)", fileHash("/proc/self/exe").map(hexadecimal))

        if isDebugBuild {
            warnings.append(
                "This is a debug build: costs and latencies are several times those of a release.")
        }
        if let governor = governor(), governor != "performance" {
            warnings.append("The CPU frequency governor is '\(governor)', not 'performance'.")
        }
        if let average = load?.split(separator: " ").first.flatMap({ Double($0) }),
            average > Double(cores) / 2
        {
            warnings.append(
                "The machine was busy before the start: its load average was \(average).")
        }
        return Fingerprint(facts: facts, commit: commit, warnings: warnings)
    }

    private static let clocks = "/sys/devices/system/clocksource/clocksource0"
}

/// FNV-1a 64 of bytes.
func hash(_ bytes: [UInt8]) -> UInt64 {
    bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}

/// 16 digits.
func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

private func text(_ path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
}

private func firstLine(_ path: String) -> String? {
    text(path)?.split(separator: "\n").first.map { trimmed($0) }
}

private func trimmed(_ text: Substring) -> String {
    var text = text.drop { $0.isWhitespace }
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
}

/// The value of `name: value` in a file of such lines.
private func entry(_ name: String, of path: String, separator: Character = ":") -> String? {
    for line in (text(path) ?? "").split(separator: "\n") {
        let words = line.split(separator: separator, maxSplits: 1)
        if words.count == 2, trimmed(words[0]) == name { return trimmed(words[1]) }
    }
    return nil
}

private func cpuModel() -> String? { entry("model name", of: "/proc/cpuinfo") }

private func memory() -> String? {
    let words = entry("MemTotal", of: "/proc/meminfo")?.split(separator: " ")
    return words?.first.flatMap { Double($0) }.map { figure($0 * 1024, unit: "bytes") }
}

private func governor() -> String? {
    firstLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
}

private func distribution() -> String? {
    entry("PRETTY_NAME", of: "/etc/os-release", separator: "=")?.filter { $0 != "\"" }
}

private func mitigations() -> String? {
    let folder = "/sys/devices/system/cpu/vulnerabilities"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    let active = names.sorted().filter {
        firstLine("\(folder)/\($0)")?.hasPrefix("Mitigation") == true
    }
    return names.isEmpty ? nil : active.isEmpty ? "none active" : active.joined(separator: ", ")
}

/// The commit in the repository around `path`, with `-dirty` where files differ from it.
func checkedOut(above path: String) -> String? {
    guard let (commit, folder) = repositoryCommit(above: path) else { return nil }
    return hasChanges(folder) ? commit + "-dirty" : commit
}

/// Whether files that git knows differ from the commit; false where git cannot be asked. Only git
/// knows: what differs in content may be the same by its attributes.
private func hasChanges(_ repository: String) -> Bool {
    let command = ProcessCommand(
        name: "git", program: "git",
        arguments: [
            "--no-optional-locks", "-C", repository, "status", "--porcelain",
            "--untracked-files=no",
        ], output: .pipe, errorLog: "/dev/null")
    return firstLine(of: command) != nil
}

/// The first line that a program writes which is not empty; nil: none within 5 s. It is ended where
/// it has more to say.
func firstLine(of command: ProcessCommand) -> String? {
    guard let process = try? Process(command) else { return nil }
    let deadline = Clock.now() + .seconds(5)
    while Clock.now() < deadline {
        if let line = try? process.nextLine() {
            if line.isEmpty { continue }
            return String(decoding: line, as: UTF8.self)
        }
        // It is over: nothing would ever be readable.
        guard process.outputDescriptor >= 0 else { return nil }
        _ = waitReadable([process.outputDescriptor], for: deadline - Clock.now())
    }
    return nil
}

/// The commit that is checked out in the repository around `path`, without asking git, and where
/// the repository is.
private func repositoryCommit(above path: String) -> (commit: String, folder: String)? {
    var folder = path
    while let slash = folder.lastIndex(of: "/"), slash > folder.startIndex {
        folder = String(folder[..<slash])
        guard let git = gitFolder(folder + "/.git"), let head = firstLine(git + "/HEAD") else {
            continue
        }
        guard head.hasPrefix("ref: ") else { return (String(head.prefix(7)), folder) }
        let name = String(head.dropFirst(5))
        let common =
            firstLine(git + "/commondir").map { $0.hasPrefix("/") ? $0 : git + "/" + $0 } ?? git
        if let commit = firstLine(common + "/" + name) {
            return (String(commit.prefix(7)), folder)
        }
        let packed = (text(common + "/packed-refs") ?? "").split(separator: "\n")
        return packed.first { $0.hasSuffix(" " + name) }.map { (String($0.prefix(7)), folder) }
    }
    return nil
}

/// `.git` itself, or where the file of a worktree points to.
private func gitFolder(_ path: String) -> String? {
    var isFolder = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { return nil }
    if isFolder { return path }
    return firstLine(path).map { String($0.dropFirst("gitdir: ".count)) }
}
