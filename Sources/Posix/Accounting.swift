// CPU and memory of other processes, read from the kernel from outside, at instants that the caller
// chooses. What the readings rest on:
//
// - Total CPU: the process's CPU clock (`clock_getcpuclockid`), in nanoseconds. It adds up all
//   threads, those that have ended included, and counts the running slice up to the call. It costs
//   one system call.
// - User and system: /proc/PID/stat counts them in ticks of 10 ms, sampled by the timer interrupt.
//   The nanoseconds of the CPU clock are split in the proportion of the ticks of the same window;
//   where a window has no tick, in that of the process's whole life. The sum is exact, the split is
//   an estimate: a process that works in bursts shorter than a tick may fall between the samples.
// - Context switches: the sum over living threads; those of ended threads are lost.
// - Members of a family that ended within the window: the larger of what was last read of them and
//   what their parents' count of reaped children (ticks) says.

public import Base
import CShims
import Glibc

/// What a process, or a process with all its descendants, has used since it started.
public struct Usage: Equatable, Sendable {
    public var cpu: Duration = .zero
    /// Clock ticks, for the split of `cpu`.
    public var userTicks: Int64 = 0
    public var systemTicks: Int64 = 0
    public var voluntarySwitches: Int64 = 0
    public var involuntarySwitches: Int64 = 0

    public init() {}

    /// What was used between two readings, split into user and system time.
    public static func window(from start: Usage, to end: Usage) -> Window {
        let cpu = max(end.cpu.nanoseconds - start.cpu.nanoseconds, 0)
        var user = end.userTicks - start.userTicks
        var system = end.systemTicks - start.systemTicks
        if user + system <= 0 || user < 0 || system < 0 {
            (user, system) = (end.userTicks, end.systemTicks)
        }
        let share = user + system > 0 ? Double(user) / Double(user + system) : 1
        let userTime = Int64((Double(cpu) * share).rounded())
        return Window(
            user: Duration(nanoseconds: userTime), system: Duration(nanoseconds: cpu - userTime),
            voluntarySwitches: max(end.voluntarySwitches - start.voluntarySwitches, 0),
            involuntarySwitches: max(end.involuntarySwitches - start.involuntarySwitches, 0))
    }

    /// What was used between two instants.
    public struct Window: Equatable, Sendable {
        public var user: Duration
        public var system: Duration
        public var voluntarySwitches: Int64
        public var involuntarySwitches: Int64

        public var cpu: Duration { user + system }
    }
}

/// Memory of one process, or of several, added up.
public struct MemoryUse: Equatable, Sendable {
    /// Pages in memory, shared ones in full.
    public var resident: Int64 = 0
    /// Pages in memory, shared ones divided by the number of their users.
    public var proportional: Int64 = 0

    public init() {}

    /// The memory of `pid`; nil where it has ended or may not be looked at.
    public init?(pid: Int32) {
        guard let text = readProcFile("/proc/\(pid)/smaps_rollup"),
            let resident = field("Rss:", of: text), let proportional = field("Pss:", of: text)
        else { return nil }
        self.resident = resident * 1024
        self.proportional = proportional * 1024
    }

    public static func + (a: MemoryUse, b: MemoryUse) -> MemoryUse {
        var sum = a
        sum.resident += b.resident
        sum.proportional += b.proportional
        return sum
    }
}

/// Reads what a process, or its descendants, use.
///
/// Usage: `refresh()` shortly before an instant that matters, so that the members are known;
/// `read()` at the instant itself. Readings never fall. For a family, `refresh()` now and then
/// within the window too: CPU of members that both start and end between two refreshes is known
/// only to the tick.
public struct UsageMeter: Sendable {
    /// What is metered.
    public enum Scope: Sendable, Equatable {
        /// One process with its threads.
        case process
        /// All that descends from the process, itself not included: a keeper's command.
        case descendants
    }

    private struct Member {
        var identity: Int64
        var usage: Usage
        var reaped: Duration
    }

    public private(set) var root: Int32
    public let scope: Scope
    /// Whether the one process that is metered has been let go, and none has taken its place yet.
    private var isVacant = false
    private var members: [Int32: Member] = [:]
    /// The last readings of members that have ended.
    private var ended = Usage()
    private var endedReaped: Duration = .zero
    /// Members that were seen at one refresh and gone at a later one.
    public private(set) var endedCount = 0
    private var highest: Usage

    public init(root: Int32, scope: Scope) {
        self.root = root
        self.scope = scope
        highest = Usage()
        refresh()
    }

    /// Takes leave of the one process that is metered, right before it is ended on purpose: what it
    /// has used up to now stays, and readings go on without it.
    /// - Precondition: the scope is one process.
    public mutating func release() {
        precondition(scope == .process, "a family is followed by itself")
        _ = read()
        for member in members.values { ended = ended + member.usage }
        members = [:]
        isVacant = true
    }

    /// Goes on with the process that was started in place of the one that was let go.
    public mutating func succeed(_ pid: Int32) {
        precondition(isVacant, "somebody is metered already")
        root = pid
        isVacant = false
        refresh()
    }

    /// Looks for new members and takes leave of ended ones.
    public mutating func refresh() {
        let found: [ProcessStat] =
            isVacant
            ? []
            : scope == .process
                ? ProcessStat(pid: root).map { [$0] } ?? [] : descendants(of: root)
        let living = Set(found.map(\.pid))
        for (pid, member) in members where !living.contains(pid) { retire(pid, member) }
        for stat in found {
            if let known = members[stat.pid], known.identity != stat.startTicks {
                retire(stat.pid, known)
            }
            update(stat.pid, with: stat, cpu: processCPU(stat.pid))
        }
    }

    /// Usage up to now; nil where the one process that is metered has ended.
    public mutating func read() -> Usage? {
        // The clocks of all members first, close together; then the files, which take longer.
        var clocks: [Int32: Duration] = [:]
        for pid in members.keys { clocks[pid] = processCPU(pid) }
        // What was last known of it is not what it used up to now.
        if scope == .process && !isVacant && clocks[root] == nil { return nil }
        for pid in members.keys {
            guard let clock = clocks[pid], let stat = ProcessStat(pid: pid) else { continue }
            update(pid, with: stat, cpu: clock)
        }
        var sum = ended
        for member in members.values { sum = sum + member.usage }
        sum.cpu = sum.cpu + unseen()
        highest = highest.raised(to: sum)
        return highest
    }

    /// Memory of all members now; nil where one that lives cannot be looked at, or none lives.
    /// Slower than `read()`: a page-table walk for each.
    public func memory() -> MemoryUse? {
        var sum: MemoryUse?
        for pid in members.keys {
            if let use = MemoryUse(pid: pid) {
                sum = (sum ?? MemoryUse()) + use
            } else if let stat = ProcessStat(pid: pid), stat.state != UInt8(ascii: "Z") {
                // Without it the sum would be too small, and would not look so.
                return nil
            }
        }
        return sum
    }

    /// CPU of ended members beyond what was last read of them, by the count of those that reaped
    /// them.
    private func unseen() -> Duration {
        guard scope == .descendants else { return .zero }
        var reaped = members.values.reduce(Duration.zero) { $0 + $1.reaped }
        if let keeper = ProcessStat(pid: root) { reaped = reaped + ticks(keeper.reapedTicks) }
        return max(.zero, reaped - (ended.cpu + endedReaped))
    }

    private mutating func retire(_ pid: Int32, _ member: Member) {
        members[pid] = nil
        ended = ended + member.usage
        endedReaped = endedReaped + member.reaped
        endedCount += 1
    }

    private mutating func update(_ pid: Int32, with stat: ProcessStat, cpu: Duration?) {
        var usage = Usage()
        usage.cpu = cpu ?? members[pid]?.usage.cpu ?? .zero
        usage.userTicks = stat.userTicks
        usage.systemTicks = stat.systemTicks
        (usage.voluntarySwitches, usage.involuntarySwitches) = switches(pid)
        members[pid] = Member(
            identity: stat.startTicks, usage: usage, reaped: ticks(stat.reapedTicks))
    }
}

extension Usage {
    fileprivate static func + (a: Usage, b: Usage) -> Usage {
        var sum = a
        sum.cpu = a.cpu + b.cpu
        sum.userTicks += b.userTicks
        sum.systemTicks += b.systemTicks
        sum.voluntarySwitches += b.voluntarySwitches
        sum.involuntarySwitches += b.involuntarySwitches
        return sum
    }

    fileprivate func raised(to other: Usage) -> Usage {
        var result = Usage()
        result.cpu = max(cpu, other.cpu)
        result.userTicks = max(userTicks, other.userTicks)
        result.systemTicks = max(systemTicks, other.systemTicks)
        result.voluntarySwitches = max(voluntarySwitches, other.voluntarySwitches)
        result.involuntarySwitches = max(involuntarySwitches, other.involuntarySwitches)
        return result
    }
}

/// CPU time of all threads of `pid` since it started; nil if it has ended.
public func processCPU(_ pid: Int32) -> Duration? {
    var nanoseconds: Int64 = 0
    guard unsafe mb_process_cpu(pid, &nanoseconds) == 0 else { return nil }
    return Duration(nanoseconds: nanoseconds)
}

private func ticks(_ count: Int64) -> Duration {
    Duration(nanoseconds: count * (1_000_000_000 / Int64(sysconf(Int32(_SC_CLK_TCK)))))
}

private func switches(_ pid: Int32) -> (voluntary: Int64, involuntary: Int64) {
    var voluntary: Int64 = 0
    var involuntary: Int64 = 0
    for thread in numberedEntries(of: "/proc/\(pid)/task") {
        guard let text = readProcFile("/proc/\(pid)/task/\(thread)/status") else { continue }
        voluntary += field("\nvoluntary_ctxt_switches:", of: text) ?? 0
        involuntary += field("nonvoluntary_ctxt_switches:", of: text) ?? 0
    }
    return (voluntary, involuntary)
}

/// The number that follows `name` in a file of `name value` lines.
func field(_ name: String, of text: [UInt8]) -> Int64? {
    let name = Array(name.utf8)
    guard let range = text.firstRange(of: name) else { return nil }
    let rest = text[range.upperBound...].drop {
        $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t")
    }
    return number(rest.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") })
}
