// Who descends from whom, from /proc. A walk reads one small file for each process of the machine;
// it is for moments when nothing is measured.

import Glibc

/// One line of /proc/PID/stat: what the rest of the program needs of it.
public struct ProcessStat: Equatable, Sendable {
    public var pid: Int32
    public var parent: Int32
    /// The state letter: `R`, `S`, `D`, `T`, `Z` …
    public var state: UInt8
    /// CPU time in clock ticks (`sysconf(_SC_CLK_TCK)`), of all threads.
    public var userTicks: Int64
    public var systemTicks: Int64
    /// CPU time in clock ticks of children that have ended and were waited for, with theirs.
    public var reapedTicks: Int64
    /// When it started, in ticks since boot: with `pid`, an identity that is not used twice.
    public var startTicks: Int64

    /// Nil where there is no such process.
    public init?(pid: Int32) {
        guard let text = readProcFile("/proc/\(pid)/stat") else { return nil }
        self.init(text)
    }

    /// Parses the file's text. The second field, the program's name in parentheses, may hold
    /// anything.
    public init?(_ text: [UInt8]) {
        guard let open = text.firstIndex(of: UInt8(ascii: "(")),
            let close = text.lastIndex(of: UInt8(ascii: ")")), open < close,
            let pid = number(text[..<open].filter { $0 != UInt8(ascii: " ") })
        else { return nil }
        let fields = text[(close + 1)...].split(separator: UInt8(ascii: " "))
        // Field 3 of proc(5), the state, comes first here; field N is at N - 3.
        guard fields.count > 22 - 3, let state = fields[0].first,
            let parent = number(fields[4 - 3]), let user = number(fields[14 - 3]),
            let system = number(fields[15 - 3]), let reapedUser = number(fields[16 - 3]),
            let reapedSystem = number(fields[17 - 3]), let start = number(fields[22 - 3])
        else { return nil }
        self.pid = Int32(truncatingIfNeeded: pid)
        self.parent = Int32(truncatingIfNeeded: parent)
        self.state = state
        userTicks = user
        systemTicks = system
        reapedTicks = reapedUser + reapedSystem
        startTicks = start
    }
}

/// All processes that descend from `root`, parents before children, `root` itself not among them.
public func descendants(of root: Int32) -> [ProcessStat] {
    var children: [Int32: [ProcessStat]] = [:]
    for pid in numberedEntries(of: "/proc") {
        if let stat = ProcessStat(pid: pid) { children[stat.parent, default: []].append(stat) }
    }
    var found: [ProcessStat] = []
    var next = [root]
    // Bound: each process has one parent, so each is visited at most once.
    while let parent = next.popLast() {
        for child in children.removeValue(forKey: parent) ?? [] {
            found.append(child)
            next.append(child.pid)
        }
    }
    return found
}

/// The entries of a folder whose names are numbers.
func numberedEntries(of path: String) -> [Int32] {
    guard let directory = unsafe opendir(path) else { return [] }
    defer { unsafe closedir(directory) }
    var found: [Int32] = []
    while let entry = unsafe readdir(directory) {
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
            unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                unsafe String(cString: $0)
            }
        }
        if let pid = Int32(name) { found.append(pid) }
    }
    return found
}

/// The whole text of a small file that the kernel makes; nil where it cannot be read.
func readProcFile(_ path: String) -> [UInt8]? {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = unsafe read(file, &buffer, buffer.count)
        if count == 0 { return text }
        if count < 0 {
            if errno == EINTR { continue }
            return nil
        }
        text += buffer[..<count]
    }
}

/// A decimal number, all of `text`.
func number(_ text: some Sequence<UInt8>) -> Int64? {
    Int64(String(decoding: Array(text), as: UTF8.self))
}
