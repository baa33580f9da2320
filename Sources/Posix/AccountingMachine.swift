public import Base
import Glibc

/// CPU time since boot of the cores that this process may run on, in ticks: a container or a job
/// under `taskset` has some of the machine's cores, and may fill them while the others idle.
public struct MachineUsage: Equatable, Sendable {
    public var user: Int64
    public var system: Int64
    public var idle: Int64
    public var hardInterrupts: Int64
    public var softInterrupts: Int64
    /// Taken by the hypervisor.
    public var stolen: Int64

    /// Time for which runnable threads were held back by a CPU quota of a control group of this
    /// process, over all cores; zero where there is no quota, nil where that cannot be read.
    public var throttled: Duration?
    /// The cores that are counted.
    public var cores: Int

    /// What the usable cores have used up to now; nil without /proc/stat.
    public init?() {
        guard let text = readProcFile("/proc/stat") else { return nil }
        self.init(text, cores: usableCores())
        throttled = throttledTime()
    }

    /// Parses the text of /proc/stat, proc(5).
    /// - Parameter cores: the numbers of those that count; nil: all.
    public init?(_ text: [UInt8], cores: Set<Int>? = nil) {
        var sums = [Int64](repeating: 0, count: 8)
        var found = 0
        for line in text.split(separator: UInt8(ascii: "\n")) {
            let words = line.split(separator: UInt8(ascii: " "))
            guard let name = words.first, name.starts(with: Array("cpu".utf8)),
                let core = number(name.dropFirst(3)), cores?.contains(Int(core)) != false
            else { continue }
            let fields = words.dropFirst().map { number($0) ?? 0 }
            guard fields.count >= 8 else { return nil }
            for index in sums.indices { sums[index] += fields[index] }
            found += 1
        }
        guard found > 0 else { return nil }
        user = sums[0] + sums[1]
        system = sums[2]
        idle = sums[3] + sums[4]
        hardInterrupts = sums[5]
        softInterrupts = sums[6]
        stolen = sums[7]
        throttled = .zero
        self.cores = found
    }

    private var total: Int64 {
        user + system + idle + hardInterrupts + softInterrupts + stolen
    }

    /// What shares of the usable cores went where between two readings, each 0 to 1.
    public static func shares(from start: MachineUsage, to end: MachineUsage) -> Shares {
        let total = Double(max(end.total - start.total, 1))
        func share(_ part: (MachineUsage) -> Int64) -> Double {
            Double(max(part(end) - part(start), 0)) / total
        }
        // Ticks as time: what the same cores could have given between the two readings.
        let available = total / Double(sysconf(Int32(_SC_CLK_TCK)))
        let held = start.throttled.flatMap { start in end.throttled.map { $0 - start } }
        return Shares(
            busy: share { $0.total - $0.idle - $0.stolen }, stolen: share(\.stolen),
            softInterrupts: share(\.softInterrupts),
            throttled: held.map { max(0, $0.seconds) / available })
    }

    /// Shares of the usable cores, 0 to 1.
    public struct Shares: Equatable, Sendable {
        public var busy: Double
        public var stolen: Double
        public var softInterrupts: Double
        /// Held back by a CPU quota; nil where it could not be read.
        public var throttled: Double?

        public init(busy: Double, stolen: Double, softInterrupts: Double, throttled: Double? = 0) {
            self.busy = busy
            self.stolen = stolen
            self.softInterrupts = softInterrupts
            self.throttled = throttled
        }
    }
}

/// The numbers of the cores that this process may run on; nil where they are not told.
public func usableCores() -> Set<Int>? {
    guard let text = readProcFile("/proc/self/status"),
        let name = text.firstRange(of: Array("Cpus_allowed_list:".utf8))
    else { return nil }
    let rest = text[name.upperBound...].prefix { $0 != UInt8(ascii: "\n") }
    return coreNumbers(String(decoding: rest.filter { $0 > 0x20 }, as: UTF8.self))
}

/// The numbers in a list such as `0-3,8`; nil where it is none.
public func coreNumbers(_ list: String) -> Set<Int>? {
    var found: Set<Int> = []
    for part in list.split(separator: ",", omittingEmptySubsequences: false) {
        let ends = part.split(separator: "-").map { Int($0) }
        // Bound: more cores than Linux can be built for (CONFIG_NR_CPUS).
        guard let first = ends.first ?? nil, let last = ends.last ?? nil, ends.count <= 2,
            first <= last, last < 65_536
        else { return nil }
        found.formUnion(first...last)
    }
    return found
}

/// `throttled_usec` of this process's control group and of all above it: a quota of any of them
/// holds back what is below, and shows only in its own account. Zero where no group of version 2
/// has an account (docs/METHOD.md says so), nil where there is one that cannot be read.
private func throttledTime() -> Duration? {
    guard let text = readProcFile("/proc/self/cgroup") else { return nil }
    return throttledTime(groups: text, root: "/sys/fs/cgroup")
}

/// - Parameters:
///   - groups: the text of /proc/self/cgroup, cgroups(7).
///   - root: where the control groups of version 2 are.
func throttledTime(groups: [UInt8], root: String) -> Duration? {
    let lines = String(decoding: groups, as: UTF8.self).split(separator: "\n")
    guard let line = lines.first(where: { $0.hasPrefix("0::/") }) else { return .zero }
    var path = line.dropFirst("0::".count)
    var sum = Duration.zero
    // Bound: the path is one step shorter each time.
    while true {
        let file = "\(root)\(path == "/" ? "" : path)/cpu.stat"
        if let stat = readProcFile(file) {
            sum = sum + .microseconds(field("throttled_usec", of: stat) ?? 0)
        } else if unsafe access(file, F_OK) == 0 || errno != ENOENT {
            return nil
        }
        guard path.count > 1, let slash = path.lastIndex(of: "/") else { return sum }
        path = slash == path.startIndex ? "/" : path[..<slash]
    }
}

/// Both of the machine's clocks at one moment, to notice a step between two.
public struct ClockPair: Equatable, Sendable {
    public var monotonic: Instant
    /// Nanoseconds since 1970.
    public var wall: Int64

    public init(monotonic: Instant, wall: Int64) {
        self.monotonic = monotonic
        self.wall = wall
    }

    public static func now() -> ClockPair {
        // Of several tries the one with the least time between the two readings.
        var best = (gap: Int64.max, pair: ClockPair(monotonic: .zero, wall: 0))
        for _ in 0..<3 {
            let before = Clock.now()
            let wall = Clock.wallNanoseconds()
            let gap = (Clock.now() - before).nanoseconds
            let middle = Instant(nanoseconds: before.nanoseconds + gap / 2)
            if gap < best.gap { best = (gap, ClockPair(monotonic: middle, wall: wall)) }
        }
        return best.pair
    }

    /// How far the wall clock moved against the monotonic clock from `start` to `end`.
    public static func drift(from start: ClockPair, to end: ClockPair) -> Duration {
        Duration(nanoseconds: (end.wall - start.wall)) - (end.monotonic - start.monotonic)
    }

    /// Whether the drift is more than slewing can explain: the kernel slews by at most 500 ppm
    /// (adjtimex(2)); twice that and 5 ms are allowed.
    public static func stepped(from start: ClockPair, to end: ClockPair) -> Bool {
        let allowed = (end.monotonic - start.monotonic) / 1000 + .milliseconds(5)
        let drift = drift(from: start, to: end)
        return drift > allowed || drift < .zero - allowed
    }
}
