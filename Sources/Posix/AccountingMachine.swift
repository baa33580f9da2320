public import Base
import Glibc

/// CPU time of the whole machine since boot, in ticks over all its cores.
public struct MachineUsage: Equatable, Sendable {
    public var user: Int64
    public var system: Int64
    public var idle: Int64
    public var hardInterrupts: Int64
    public var softInterrupts: Int64
    /// Taken by the hypervisor.
    public var stolen: Int64

    /// What the machine has used up to now; nil without /proc/stat.
    public init?() {
        guard let text = readProcFile("/proc/stat") else { return nil }
        self.init(text)
    }

    /// Parses the text of /proc/stat, proc(5).
    public init?(_ text: [UInt8]) {
        guard let line = text.split(separator: UInt8(ascii: "\n")).first else { return nil }
        let words = line.split(separator: UInt8(ascii: " "))
        let fields = words.dropFirst().map { number($0) ?? 0 }
        guard words.first.map({ Array($0) == Array("cpu".utf8) }) == true, fields.count >= 8 else {
            return nil
        }
        user = fields[0] + fields[1]
        system = fields[2]
        idle = fields[3] + fields[4]
        hardInterrupts = fields[5]
        softInterrupts = fields[6]
        stolen = fields[7]
    }

    private var total: Int64 {
        user + system + idle + hardInterrupts + softInterrupts + stolen
    }

    /// What shares of all cores went where between two readings, each 0 to 1.
    public static func shares(from start: MachineUsage, to end: MachineUsage) -> Shares {
        let total = Double(max(end.total - start.total, 1))
        func share(_ part: (MachineUsage) -> Int64) -> Double {
            Double(max(part(end) - part(start), 0)) / total
        }
        return Shares(
            busy: share { $0.total - $0.idle - $0.stolen }, stolen: share(\.stolen),
            softInterrupts: share(\.softInterrupts))
    }

    /// Shares of all cores of the machine, 0 to 1.
    public struct Shares: Equatable, Sendable {
        public var busy: Double
        public var stolen: Double
        public var softInterrupts: Double

        public init(busy: Double, stolen: Double, softInterrupts: Double) {
            self.busy = busy
            self.stolen = stolen
            self.softInterrupts = softInterrupts
        }
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
