// The seconds of all rounds of one arm laid over one another: what the timeline draws.

import Model

/// One arm over time.
struct TimelineData {
    /// More points than this are merged: a drawing has no more columns to show them.
    static let pointLimit = 400

    let arm: ArmLook
    /// Seconds that each point spans.
    let step: Int
    /// Medians over rounds, for the seconds that any round has.
    let points: [Moment]
    /// The 99th percentile of each round, second by second.
    let rounds: [[(seconds: Double, p99Ns: Double?)]]

    struct Moment {
        var seconds: Double
        var phase: String
        var offered: Double
        var achieved: Double
        /// The mean over rounds: a median would hide an error in one round of six.
        var errors: Double
        var p50Ns: Double?
        var p99Ns: Double?
    }

    /// - Parameter timelines: The rounds of one arm; empty gives nil.
    init?(arm: ArmLook, timelines: [RunResult.Timeline]) {
        let mine = timelines.filter { $0.arm == arm.name && !$0.points.isEmpty }
        guard let last = mine.flatMap(\.points).map(\.seconds).max() else { return nil }
        let step = Int(last) / Self.pointLimit + 1
        self.arm = arm
        self.step = step
        let merged = mine.map { Self.merged($0.points, step: step) }
        var slots: [Int: [Moment]] = [:]
        for round in merged {
            for (slot, moment) in round { slots[slot, default: []].append(moment) }
        }
        points = slots.sorted { $0.key < $1.key }.map { slot, moments in
            Self.summary(moments, seconds: Double(slot * step))
        }
        rounds = merged.map { round in
            round.sorted { $0.key < $1.key }.map { (Double($0.key * step), $0.value.p99Ns) }
        }
    }

    /// One round by slot. Within a slot the worst 99th percentile stands: merging must not hide a
    /// spike.
    private static func merged(
        _ points: [RunResult.Timeline.Point], step: Int
    ) -> [Int: Moment] {
        Dictionary(grouping: points) { Int($0.seconds) / step }.mapValues { group in
            let count = Double(group.count)
            return Moment(
                seconds: group[0].seconds, phase: group[0].phase,
                offered: group.map(\.offeredPerSecond).reduce(0, +) / count,
                achieved: group.map(\.achievedPerSecond).reduce(0, +) / count,
                errors: group.map(\.errorsPerSecond).reduce(0, +) / count,
                p50Ns: median(group.compactMap(\.p50Ns)), p99Ns: group.compactMap(\.p99Ns).max())
        }
    }

    private static func summary(_ moments: [Moment], seconds: Double) -> Moment {
        Moment(
            seconds: seconds, phase: moments[0].phase,
            offered: median(moments.map(\.offered)) ?? 0,
            achieved: median(moments.map(\.achieved)) ?? 0,
            errors: moments.map(\.errors).reduce(0, +) / Double(moments.count),
            p50Ns: median(moments.compactMap(\.p50Ns)), p99Ns: median(moments.compactMap(\.p99Ns)))
    }
}

/// The middle value, or the mean of the two in the middle; nil of nothing.
func median(_ values: [Double]) -> Double? {
    guard !values.isEmpty else { return nil }
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
