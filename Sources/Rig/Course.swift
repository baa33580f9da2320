// How an arm went on after something had ended: the time until it was again as good as before.

import Base
import LoadCore
import Model
import Stats

/// One arm in one round, second by second.
struct Course {
    var round: Int
    var arm: ArmName
    var seconds: [ArmRecord.Second]
    private let phases: [PhasePlan]

    init(_ record: ArmRecord, _ phases: [PhasePlan]) {
        round = record.round
        arm = record.arm
        seconds = record.seconds
        self.phases = phases
    }

    /// So many seconds together must be good again: one may be so by chance.
    private static let window = 3

    /// Seconds from the end of a phase to the first second that is good again, with those behind
    /// it, and all of the rest together: what is good for a while and then fails has not come back.
    /// Where there is none, to the end: it took that long at least. Nil where `base` had nothing
    /// good.
    ///
    /// Good is the share of the requests due in three seconds that was answered without error,
    /// whenever that was, held against the share of the whole of `base`: the number of requests
    /// varies, and says nothing; and late answers to requests of the seconds before make none of
    /// these good.
    func seconds(to share: Double, of base: String, after phase: String) -> Double? {
        let goal = goodness(seconds.filter { $0.phase == base })
        guard let goal, goal > 0, let end = end(of: phase) else { return nil }
        let rest = seconds.filter { $0.offset >= end - 1e-6 && $0.offset < whole - 1e-6 }
        for place in rest.indices where place + Self.window <= rest.count {
            let parts = [rest[place..<place + Self.window], rest[place...]]
            if parts.allSatisfy({ goodness(Array($0)).map { $0 >= share * goal } ?? false }) {
                return rest[place].offset - end
            }
        }
        return whole - end
    }

    /// The value of the worst whole second of a phase, or of all measured ones; nil: none has one.
    func worst(_ metric: Metric, during phase: String?) -> Double? {
        guard let isMost = metric.worstIsMost else { return nil }
        var start = 0.0
        var values: [Double] = []
        for plan in phases {
            let end = start + plan.duration.seconds
            if phase == nil ? plan.measure : plan.name == phase {
                let whole = seconds.filter {
                    $0.offset >= start - 1e-6 && $0.offset + 1 <= end + 1e-6
                }
                values += whole.compactMap { $0.value(metric) }
            }
            start = end
        }
        return isMost ? values.max() : values.min()
    }

    private func goodness(_ seconds: [ArmRecord.Second]) -> Double? {
        let planned = seconds.reduce(0) { $0 + $1.due.planned }
        guard planned > 0 else { return nil }
        return Double(seconds.reduce(0) { $0 + $1.due.good }) / Double(planned)
    }

    private var whole: Double { phases.reduce(0) { $0 + $1.duration.seconds } }

    private func end(of phase: String) -> Double? {
        var end = 0.0
        for plan in phases {
            end += plan.duration.seconds
            if plan.name == phase { return end }
        }
        return nil
    }
}

extension ArmRecord.Second {
    /// In base units; nil: nothing that it could be of happened in the second.
    fileprivate func value(_ metric: Metric) -> Double? {
        switch metric {
        case .goodput: return Double(good)
        case .achievedRate: return Double(completed)
        case .shareOfOutcome(.ok):
            return due.planned > 0 ? Double(due.good) / Double(due.planned) : nil
        case .shareOfOutcome(.error):
            return due.planned > 0 ? Double(due.errors) / Double(due.planned) : nil
        case .percentile(let quantile, .response):
            return response.count > 0 ? Double(response.value(atQuantile: quantile)) : nil
        case .mean(.response): return response.count > 0 ? response.mean : nil
        default: return nil
        }
    }
}

extension Evaluation {
    /// The mean of the rounds, in the metric's unit.
    func worstSecond(_ metric: Metric, during phase: String?, _ arm: ArmName) -> Statistic {
        let worst = rounds.map { round in
            courses.first { $0.round == round && $0.arm == arm }?.worst(metric, during: phase)
                ?? .nan
        }
        return Statistic(
            value: { rounds in
                rounds.reduce(0) { $0 + worst[$1] } / Double(max(rounds.count, 1))
            }, samples: pool(arm, phase).all.reduce(0) { $0 + $1.tally.planned },
            problem: worst.isEmpty ? "nothing was recorded" : nil)
    }

    /// The mean of the rounds, in nanoseconds.
    func timeTo(_ share: Double, of base: String, after phase: String?, _ arm: ArmName)
        -> Statistic
    {
        guard let phase else { preconditionFailure("a time after nothing") }
        let times = rounds.map { round in
            courses.first { $0.round == round && $0.arm == arm }?
                .seconds(to: share, of: base, after: phase) ?? .nan
        }
        return Statistic(
            value: { rounds in
                rounds.reduce(0) { $0 + times[$1] } / Double(max(rounds.count, 1)) * 1e9
            }, samples: UInt64(times.count),
            problem: times.isEmpty ? "nothing was recorded" : nil)
    }
}
