// What one arm costs more than another, with the interval over rounds. Both arms of a difference
// are resampled by the same rounds: what a round did to both of them falls away.

import Base
import Model
import Posix
import Report
import Stats

extension Findings {
    var arms: [RunResult.ArmSummary] {
        experiment.arms.map {
            .init(name: $0.name, via: $0.via, speech: experiment.speech(in: $0))
        }
    }

    /// Every arm less the baseline. None where the measurement is invalid.
    var overheads: [RunResult.Overhead] {
        let names = experiment.armNames
        guard let baseline = names.baseline else { return [] }
        return differences(
            names.filter { $0 != baseline }.map { ($0, baseline) }, of: Self.overheadMetrics)
    }

    /// Every arm less the one before it, where there are more than two; of two the overhead says
    /// it.
    var steps: [RunResult.Overhead] {
        let names = experiment.armNames
        guard names.count > 2 else { return [] }
        return differences(
            zip(names.dropFirst(), names).map { ($0, $1) }, of: Self.stepMetrics)
    }

    private struct Compared: Sendable {
        var name: String
        var unit: String
        var statistic: @Sendable (Pool) -> Statistic

        static func latency(_ kind: LatencyKind, _ quantile: Double) -> Compared {
            Compared(name: "\(kind.rawValue) \(percentileName(quantile))", unit: "ns") {
                $0.statistic(.percentile(quantile, kind))
            }
        }

        static let responseMean = Compared(name: "response mean", unit: "ns") {
            $0.statistic(.mean(.response))
        }
        /// The generator's own CPU is not the mesh's cost: it spins while it waits.
        static let servingCost = Compared(name: "cpu per 1000 rps", unit: "cores") {
            $0.servingCost
        }
        static let proxyCost = Compared(name: "proxy cpu per 1000 rps", unit: "cores") {
            $0.statistic(.cpuPer1000(.proxies))
        }
        static let memory = Compared(name: "memory", unit: "bytes") { $0.servingMemory }
    }

    private static let overheadMetrics: [Compared] =
        [0.5, 0.9, 0.99, 0.999].map { .latency(.response, $0) }
        + [.responseMean, .servingCost, .memory]

    private static let stepMetrics: [Compared] =
        [0.5, 0.9, 0.99].map { .latency(.response, $0) }
        + [0.5, 0.9, 0.99].map { .latency(.service, $0) }
        + [.proxyCost, .servingCost, .memory]

    private func differences(
        _ pairs: [(arm: ArmName, other: ArmName)], of metrics: [Compared]
    ) -> [RunResult.Overhead] {
        guard trust.validity.valid else { return [] }
        return measured.flatMap { phase in
            // Those of one metric stand together: a ladder is read metric by metric.
            metrics.flatMap { metric in
                pairs.compactMap { difference(of: metric, $0.arm, less: $0.other, phase.name) }
            }
        }
    }

    /// Nil where one of the arms has no such value, or too few samples for it.
    private func difference(
        of metric: Compared, _ arm: ArmName, less other: ArmName, _ phase: String
    ) -> RunResult.Overhead? {
        let pool = evaluation.pool(arm, phase)
        let (a, b) = (metric.statistic(pool), metric.statistic(evaluation.pool(other, phase)))
        let label = "\(phase) \(metric.name)"
        guard a.problem == nil, b.problem == nil,
            let value = estimate(a, pool, label: "\(label) \(arm.rawValue)"),
            let otherValue = estimate(b, pool, label: "\(label) \(other.rawValue)"),
            let difference = estimate(
                a.combined(with: b, -), pool, label: "\(label) \(arm.rawValue) \(other.rawValue)")
        else { return nil }
        return RunResult.Overhead(
            phase: phase, metric: metric.name, unit: metric.unit, arm: arm, baseline: other,
            value: value, baselineValue: otherValue, difference: difference,
            rounds: pool.rounds.count)
    }

    /// Nil where there is no such value: an idle phase has no cost for each request.
    func estimate(
        _ statistic: Statistic, _ pool: Pool, label: String
    ) -> RunResult.Estimate? {
        let random = SeededRandom(seed: experiment.seed).split("bootstrap").split(label)
        let estimated = statistic.estimate(rounds: pool.rounds.count, random: random)
        return estimated.value.isFinite ? RunResult.Estimate(estimated) : nil
    }
}

extension Pool {
    /// CPU of applications and proxies for each 1000 requests/s.
    fileprivate var servingCost: Statistic {
        ratio(
            sums { ($0.cpuSeconds(of: .apps) + $0.cpuSeconds(of: .proxies)) * 1000 },
            sums { Double($0.tally.completed) },
            samples: all.reduce(0) { $0 + $1.tally.completed })
    }

    /// Proportional memory of applications and proxies, the mean of the rounds.
    fileprivate var servingMemory: Statistic {
        ratio(
            sums { sample in
                guard let apps = sample.proportionalBytes(of: .apps),
                    let proxies = sample.proportionalBytes(of: .proxies)
                else { return .nan }
                return Double(apps + proxies)
            }, sums { _ in 1 }, samples: UInt64(all.count))
    }
}
