// What a load thread used in each phase: a generator that is saturated in one phase and idles in
// all others must not pass for one that is half busy.

import Base
import LoadCore
import Posix

/// The accounts of one thread from its start.
struct ThreadMeter {
    let begun: Instant
    /// CPU time of the thread when it began.
    let cpu: Duration

    /// What the calling thread has used up to `now`.
    func usage(at now: Instant, spun: Duration) -> LoadResult.ThreadUsage {
        LoadResult.ThreadUsage(
            wallNs: (now - begun).nanoseconds, cpuNs: (Clock.threadCPU() - cpu).nanoseconds,
            spinNs: spun.nanoseconds)
    }
}

/// The accounts at the boundaries of phases, as far as a thread has come.
struct PhaseMarks {
    private let boundaries: [Instant]
    // Bound: one for each boundary, `LoadLimits.phases` and one.
    private var marks: [LoadResult.ThreadUsage] = []

    /// - Parameter boundaries: the start of each phase and the end of the last, from `start`.
    init(_ boundaries: [Duration], from start: Instant) {
        self.boundaries = boundaries.map { start + $0 }
    }

    /// Whether a boundary without an account has come.
    func isDue(at now: Instant) -> Bool {
        marks.count < boundaries.count && boundaries[marks.count] <= now
    }

    /// Takes the account at the next boundary.
    mutating func add(_ usage: LoadResult.ThreadUsage) { marks.append(usage) }

    /// One for each phase; those that a stopped run did not come to are empty.
    func phases(until end: LoadResult.ThreadUsage) -> [LoadResult.ThreadUsage] {
        let all = marks + Array(repeating: end, count: boundaries.count - marks.count)
        return zip(all, all.dropFirst()).map { LoadResult.ThreadUsage.between($0, $1) }
    }
}
