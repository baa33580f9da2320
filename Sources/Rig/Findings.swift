// From samples to the result: everything that `result.json` states of a run is made here, from the
// samples of the rounds that count, and from nothing else.

import Base
import Model
import Posix
import Report
import Stats

/// What was measured, being turned into a result.
struct Findings {
    let experiment: Experiment
    let records: [ArmRecord]
    let trust: Trust
    /// Numbers of the rounds of which figures are made.
    let used: [Int]
    let evaluation: Evaluation

    /// - Parameter records: of complete rounds only.
    init(_ experiment: Experiment, _ records: [ArmRecord], warnings: [String]) {
        self.experiment = experiment
        self.records = records
        let samples = records.flatMap(\.samples)
        let rounds = Set(records.map(\.round)).sorted()
        trust = Trust(
            samples, rounds: rounds, experiment: experiment,
            faults: records.flatMap(\.faults), changes: records.flatMap(\.changes),
            warnings: warnings)
        // Where nothing can be trusted, the figures of all rounds are kept for finding out why.
        used = trust.validity.valid ? trust.counted : rounds
        let used = used
        evaluation = Evaluation(
            samples: samples.filter { used.contains($0.round) }, rounds: used,
            arms: experiment.armNames, minTailSamples: experiment.limits.minTailSamples,
            random: SeededRandom(seed: experiment.seed).split("bootstrap"),
            isPoisson: experiment.loads.contains { $0.arrivals == .poisson },
            courses: records.map { Course($0, experiment.phases) })
    }

    var measured: [PhasePlan] { experiment.phases.filter(\.measure) }
    private var samples: [Sample] { records.flatMap(\.samples) }

    /// The samples of each arm in each measured phase.
    var pools: [(arm: ArmName, phase: String, pool: Pool)] {
        measured.flatMap { phase in
            experiment.turnNames.map { ($0, phase.name, evaluation.pool($0, phase.name)) }
        }
    }

    /// Every expectation held against the samples.
    var judgements: [Judgement] {
        experiment.expectations.map { judgement(of: $0) }
    }

    func judgement(of expectation: Expectation) -> Judgement {
        guard trust.validity.valid else {
            return Judgement(
                result: .init(
                    source: expectation.source, verdict: .invalid, observed: "not stated",
                    expected: expectation.source, samples: 0,
                    reason: "the measurement is invalid", name: expectation.name), isOpen: true)
        }
        return evaluation.judge(expectation)
    }

    // MARK: Per arm and phase

    var phases: [RunResult.PhaseResult] {
        measured.flatMap { phase in experiment.turnNames.map { phaseResult($0, phase) } }
    }

    private func phaseResult(_ arm: ArmName, _ phase: PhasePlan) -> RunResult.PhaseResult {
        let pool = evaluation.pool(arm, phase.name)
        let tally = pool.all.reduce(into: Tally()) { $0.merge($1.tally) }
        let seconds = pool.all.reduce(0) { $0 + $1.span.seconds }
        let machines = pool.all.compactMap(\.machine)
        func mean(_ part: (MachineUsage.Shares) -> Double) -> Double? {
            machines.isEmpty ? nil : machines.reduce(0) { $0 + part($1) } / Double(machines.count)
        }
        func latency(_ kind: LatencyKind) -> RunResult.Latency {
            RunResult.Latency(
                tally.histogram(kind), minTailSamples: experiment.limits.minTailSamples,
                isTrusted: trust.validity.valid)
        }
        return RunResult.PhaseResult(
            arm: arm, phase: phase.name,
            offeredPerSecond: seconds > 0 ? Double(tally.planned) / seconds : 0,
            achievedPerSecond: seconds > 0 ? Double(tally.completed) / seconds : 0,
            planned: tally.planned, sent: tally.sent, completed: tally.completed,
            outcomes: tally.outcomes, statuses: tally.statuses, flags: tally.flags,
            response: latency(.response), service: latency(.service), lag: latency(.lag),
            connect: latency(.connect), firstByte: latency(.firstByte),
            processes: processes(pool), machineBusy: mean(\.busy), machineSteal: mean(\.stolen),
            measuredSeconds: seconds, connections: pool.all.map(\.tally.connections).max(),
            machineSoftirq: mean(\.softInterrupts), grpc: tally.grpc.isEmpty ? nil : tally.grpc,
            configPush: tally.configPush.count == 0 ? nil : latency(.configPush))
    }

    /// What each process used: CPU and switches added up over rounds, memory as the mean of the
    /// rounds.
    private func processes(_ pool: Pool) -> [RunResult.ProcessUsage] {
        guard let first = pool.all.first else { return [] }
        return first.processes.map { process in
            let parts = pool.all.map { sample in
                (sample, sample.processes.first { $0.name == process.name })
            }
            let uses = parts.compactMap(\.1)
            func mean(_ part: (MemoryUse) -> Int64) -> Int64? {
                let read = uses.compactMap(\.memory)
                return read.isEmpty ? nil : read.reduce(0) { $0 + part($1) } / Int64(read.count)
            }
            let cost = pool.ratio(
                pool.sums { $0.cpuSeconds(ofProcess: process.name) * 1000 },
                pool.sums { Double($0.tally.completed) },
                samples: pool.all.reduce(0) { $0 + $1.tally.completed })
            return RunResult.ProcessUsage(
                name: process.name, group: process.group,
                windowNs: parts.reduce(0) { $0 + $1.0.window.nanoseconds },
                userNs: uses.reduce(0) { $0 + $1.usage.user.nanoseconds },
                systemNs: uses.reduce(0) { $0 + $1.usage.system.nanoseconds },
                residentBytes: mean(\.resident), proportionalBytes: mean(\.proportional),
                voluntarySwitches: uses.reduce(0) { $0 + $1.usage.voluntarySwitches },
                involuntarySwitches: uses.reduce(0) { $0 + $1.usage.involuntarySwitches },
                cpuPer1000rpsCores: estimate(cost, pool, label: "cost \(process.name)"))
        }
    }

    // MARK: Per round

    var rounds: [RunResult.RoundResult] {
        samples.map { sample in
            let complaints = (trust.complaints[sample.round] ?? []).map { complaint in
                complaint.arm == sample.arm && complaint.phase == sample.phase
                    ? complaint.sentence
                    : "\(complaint.arm.rawValue), \(complaint.phase): \(complaint.sentence)"
            }
            func quantile(_ kind: LatencyKind, _ quantile: Double) -> Double? {
                let histogram = sample.tally.histogram(kind)
                return histogram.count == 0 ? nil : Double(histogram.value(atQuantile: quantile))
            }
            var costs: [String: Double] = [:]
            if sample.tally.completed > 0 {
                for group in ProcessGroup.allCases
                where sample.processes.contains(where: { $0.group == group }) {
                    costs[group.rawValue] =
                        sample.cpuSeconds(of: group) * 1000 / Double(sample.tally.completed)
                }
            }
            return RunResult.RoundResult(
                round: sample.round + 1, position: sample.position, arm: sample.arm,
                phase: sample.phase,
                achievedPerSecond: Double(sample.tally.completed) / sample.span.seconds,
                errors: sample.tally.errors, responseP50Ns: quantile(.response, 0.5),
                responseP90Ns: quantile(.response, 0.9), responseP99Ns: quantile(.response, 0.99),
                responseP999Ns: quantile(.response, 0.999), lagP99Ns: quantile(.lag, 0.99),
                cpuPer1000rpsCores: costs, invalid: complaints)
        }
    }

    var timelines: [RunResult.Timeline] {
        records.map { record in
            RunResult.Timeline(
                arm: record.arm, round: record.round + 1,
                points: record.seconds.compactMap(moment))
        }
    }

    /// Every change of every turn; nil where there was none.
    var changes: [RunResult.Change]? {
        let all = records.flatMap(\.changes)
        return all.isEmpty ? nil : all
    }

    /// Every fault of every turn; nil where there was none.
    var faults: [RunResult.Fault]? {
        let all = records.flatMap(\.faults)
        return all.isEmpty ? nil : all
    }

    /// One point of a timeline; nil after the end of the last phase, when nothing is offered any
    /// more and the last answers come in: they would look like a collapse.
    private func moment(_ second: ArmRecord.Second) -> RunResult.Timeline.Point? {
        // The last second may be a short one; rates are for the time that it really lasted.
        let length = min(1, experiment.armDuration.seconds - second.offset)
        guard length > 1e-3 else { return nil }
        func quantile(_ quantile: Double) -> Double? {
            second.response.count == 0
                ? nil : Double(second.response.value(atQuantile: quantile))
        }
        return .init(
            seconds: second.offset, phase: second.phase,
            offeredPerSecond: Double(second.planned) / length,
            achievedPerSecond: Double(second.completed) / length,
            errorsPerSecond: Double(second.errors) / length, p50Ns: quantile(0.5),
            p99Ns: quantile(0.99))
    }

    // MARK: Fitting

    /// A line through CPU against rate for every process, where at least three rates were measured.
    var fits: [RunResult.CostFit] {
        let rates = Set(measured.map { offeredRate($0) })
        guard trust.validity.valid, rates.count >= 3 else { return [] }
        return experiment.armNames.flatMap { arm in
            let pool = evaluation.pool(arm, nil)
            let names = pool.all.first?.processes.filter { $0.group != .load }.map(\.name) ?? []
            return names.compactMap { fit(arm, $0, pool) }
        }
    }

    private func fit(_ arm: ArmName, _ process: String, _ pool: Pool) -> RunResult.CostFit? {
        var points: [RunResult.CostFit.Point] = []
        let rounds = pool.rounds.map { samples in
            samples.map { sample in
                let rate = Double(sample.tally.completed) / sample.span.seconds
                let cores = sample.cpuSeconds(ofProcess: process) / sample.window.seconds
                points.append(.init(ratePerSecond: rate, cores: cores, round: sample.round + 1))
                return LineFit.Point(x: rate / 1000, y: cores)
            }
        }
        let random = SeededRandom(seed: experiment.seed).split("fit").split(arm.rawValue + process)
        guard let line = LineFit(rounds: rounds, resamples: 2_000, random: random) else {
            return nil
        }
        let (idle, marginal) = estimates(of: line, rounds)
        return RunResult.CostFit(
            arm: arm, process: process, idleCores: idle, marginalPer1000rpsCores: marginal,
            points: points)
    }

    /// Intercept and slope with their intervals, by the same rule as all others.
    private func estimates(
        of line: LineFit, _ rounds: [[LineFit.Point]]
    ) -> (idle: RunResult.Estimate, marginal: RunResult.Estimate) {
        guard let confidence = reachableConfidence(rounds: rounds.count) else {
            return (.init(line.intercept), .init(line.slope))
        }
        func estimate(
            _ value: Double, _ interval: Interval?, _ each: [Double]
        ) -> RunResult.Estimate {
            let range = interval.map { [$0.low, $0.high] } ?? []
            let isRange = rounds.count < leastRoundsFor95
            return RunResult.Estimate(
                Estimated(
                    value: value, range: isRange ? each + [value] : range, confidence: confidence))
        }
        let lines = rounds.map {
            // Two rounds at least are asked for above; a round has every rate.
            LineFit(rounds: [$0], random: SeededRandom(seed: 0))
        }
        return (
            estimate(
                line.intercept, line.interceptInterval, lines.map { $0?.intercept ?? .nan }),
            estimate(line.slope, line.slopeInterval, lines.map { $0?.slope ?? .nan })
        )
    }

    private func offeredRate(_ phase: PhasePlan) -> Double {
        experiment.loads.reduce(0) { $0 + ($1.meanRate(in: phase) ?? 0) }
    }
}

extension RunResult.Estimate {
    init(_ estimated: Estimated) {
        self.init(
            estimated.value, low: estimated.interval?.low, high: estimated.interval?.high,
            confidence: estimated.confidence)
    }
}

extension Sample {
    func cpuSeconds(ofProcess name: String) -> Double {
        processes.reduce(0) { $0 + ($1.name == name ? $1.usage.cpu.seconds : 0) }
    }
}
