// Measured values over rounds. A value is always taken from what several rounds gave together:
// counts and CPU are added up before they are divided, percentiles come from merged histograms. Its
// interval comes from a bootstrap that draws whole rounds, so every value is a function of the
// rounds drawn.

import Base
import Model
import Posix
import Stats

/// A quantile of the histograms of several rounds together, for any choice of rounds.
///
/// Merging dense histograms for each of some thousand resamples would take minutes; here each round
/// is a row of counts over the few values that occur at all.
struct PooledQuantile {
    /// The greatest value of each bucket that occurs in any round, rising.
    private let values: [UInt64]
    /// The least value of each round.
    private let least: [UInt64]
    /// For each round its count in each bucket.
    private let counts: [[UInt64]]
    private let totals: [UInt64]

    init(_ histograms: [Histogram]) {
        var all: Set<UInt64> = []
        for histogram in histograms {
            for bucket in histogram.buckets { all.insert(bucket.highest) }
        }
        values = all.sorted()
        least = histograms.map(\.min)
        var places: [UInt64: Int] = [:]
        for (place, value) in values.enumerated() { places[value] = place }
        counts = histograms.map { histogram in
            var row = [UInt64](repeating: 0, count: all.count)
            for bucket in histogram.buckets {
                if let place = places[bucket.highest] { row[place] = bucket.count }
            }
            return row
        }
        totals = histograms.map(\.count)
    }

    /// The quantile of the rounds with these indices, each as often as it is named; NaN of no
    /// samples.
    ///
    /// The same rank as `Histogram.value(atQuantile:)` of all of them merged.
    func value(_ quantile: Double, of rounds: [Int]) -> Double {
        var times = [UInt64](repeating: 0, count: counts.count)
        for round in rounds { times[round] += 1 }
        let chosen = times.indices.filter { times[$0] > 0 }
        let total = chosen.reduce(UInt64(0)) { $0 + totals[$1] * times[$1] }
        guard total > 0 else { return .nan }
        if quantile == 0 {
            return Double(chosen.filter { totals[$0] > 0 }.map { least[$0] }.min() ?? 0)
        }
        let rank = max(1, UInt64((quantile.nextDown * Double(total)).rounded(.up)))
        var seen: UInt64 = 0
        for place in values.indices {
            for round in chosen { seen += counts[round][place] * times[round] }
            if seen >= rank { return Double(values[place]) }
        }
        return .nan
    }
}

/// A value of several rounds, and the interval in which it lies.
struct Estimated {
    var value: Double
    var interval: Interval?
    /// With which confidence it lies there, 0 to 1; nil where there is no interval.
    var confidence: Double?

    /// A value without an interval.
    init(value: Double) { self.value = value }

    /// The interval from the least to the greatest of `range`; none where one of them is no number.
    init(value: Double, range: [Double], confidence: Double) {
        self.value = value
        guard let low = range.min(), let high = range.max(), range.allSatisfy(\.isFinite) else {
            return
        }
        interval = Interval(low: low, high: high)
        self.confidence = confidence
    }
}

/// From so many rounds on an interval of 95 % confidence can be had.
let leastRoundsFor95 = 6

/// The confidence of the intervals of so many rounds, 0 to 1; nil where there is none.
///
/// The range of n independent values misses their median where all lie on one side of it: with
/// probability 2^(1 - n). No interval that is made of n rounds alone covers more than
/// 1 - 2^(1 - n), a percentile interval of a bootstrap neither: 50 % for two rounds, 93.8 % for
/// five. So below six rounds the interval is the range over the rounds, and is called what it is;
/// from six on it is a bootstrap's, of 95 %, widened for so few.
func reachableConfidence(rounds: Int) -> Double? {
    guard rounds > 1 else { return nil }
    if rounds >= leastRoundsFor95 { return 0.95 }
    return 1 - 2 / Double(1 << rounds)
}

/// A value that is known for any choice of rounds.
struct Statistic {
    /// The value of the rounds with these indices; NaN where there is none.
    var value: ([Int]) -> Double
    /// Samples that it rests on.
    var samples: UInt64
    /// Why it is not to be quoted; nil where it is.
    var problem: String?

    static func constant(_ value: Double) -> Statistic {
        Statistic(value: { _ in value }, samples: 0, problem: nil)
    }

    /// Joins two statistics of the same rounds.
    func combined(
        with other: Statistic, _ join: @escaping (Double, Double) -> Double
    ) -> Statistic {
        let (a, b) = (value, other.value)
        let counts = [samples, other.samples].filter { $0 > 0 }
        return Statistic(
            value: { join(a($0), b($0)) }, samples: counts.min() ?? 0,
            problem: problem ?? other.problem)
    }

    /// The value over all of `count` rounds, and where it lies; no interval for fewer than two
    /// rounds, nor where a choice of rounds has no value.
    func estimate(rounds count: Int, random: SeededRandom) -> Estimated {
        guard let confidence = reachableConfidence(rounds: count) else {
            return Estimated(value: count == 0 ? .nan : value([0]))
        }
        guard count >= leastRoundsFor95 else {
            let whole = value(Array(0..<count))
            return Estimated(
                value: whole, range: (0..<count).map { value([$0]) } + [whole],
                confidence: confidence)
        }
        // Percentiles jump from bucket to bucket, so an interval of percentiles is used
        // throughout.
        let bootstrap = Bootstrap(
            count: count, resamples: Self.resamples, random: random, statistic: value)
        guard let interval = bootstrap.expandedInterval(confidence: confidence) else {
            return Estimated(value: bootstrap.estimate)
        }
        return Estimated(
            value: bootstrap.estimate, range: [interval.low, interval.high],
            confidence: confidence)
    }

    /// The ends of a 95 % interval are then good to about 3 % of its width.
    private static let resamples = 2_000
}

extension [Statistic] {
    /// Joins several statistics of the same rounds.
    func joined(_ join: @escaping ([Double]) -> Double) -> Statistic {
        let values = map(\.value)
        return Statistic(
            value: { rounds in join(values.map { $0(rounds) }) },
            samples: map(\.samples).filter { $0 > 0 }.min() ?? 0,
            problem: compactMap(\.problem).first)
    }
}

/// The samples of one arm in chosen phases, round by round.
struct Pool {
    /// For each round its samples; the same rounds for all arms.
    let rounds: [[Sample]]
    let minTailSamples: Int

    init(_ samples: [Sample], rounds: [Int], minTailSamples: Int) {
        self.rounds = rounds.map { round in samples.filter { $0.round == round } }
        self.minTailSamples = minTailSamples
    }

    private init(_ rounds: [[Sample]], _ minTailSamples: Int) {
        (self.rounds, self.minTailSamples) = (rounds, minTailSamples)
    }

    var all: [Sample] { rounds.flatMap(\.self) }

    /// All samples of a round as one tally.
    func tally(_ round: Int) -> Tally {
        rounds[round].reduce(into: Tally()) { $0.merge($1.tally) }
    }

    /// One histogram of everything.
    func histogram(_ kind: LatencyKind) -> Histogram {
        all.reduce(into: Histogram()) { $0.merge($1.tally.histogram(kind)) }
    }

    /// The value of a metric that concerns this arm alone.
    /// - Precondition: it is no difference.
    func statistic(_ metric: Metric) -> Statistic {
        switch metric {
        case .percentile(let quantile, let kind): return percentile(quantile, kind)
        case .mean(let kind):
            let histograms = rounds.indices.map { tally($0).histogram(kind) }
            return ratio(
                histograms.map { $0.count == 0 ? 0 : $0.mean * Double($0.count) },
                histograms.map { Double($0.count) },
                samples: histograms.reduce(0) { $0 + $1.count })
        case .achievedRate: return perSecond { Double($0.tally.completed) }
        case .offeredRate: return perSecond { Double($0.tally.planned) }
        case .shareOfOutcome(let outcome):
            return share { $0.outcomes[outcome.rawValue] ?? 0 }
        case .shareOfStatus(let status): return share { $0.statuses[String(status)] ?? 0 }
        case .shareOfFlag(let flag): return share { $0.flags[flag.rawValue] ?? 0 }
        case .cpuPer1000(let group):
            return ratio(
                sums { $0.cpuSeconds(of: group) * 1000 }, sums { Double($0.tally.completed) },
                samples: completed)
        case .cpu(let group):
            return ratio(
                sums { $0.cpuSeconds(of: group) }, sums { $0.window.seconds }, samples: windows)
        case .memory(let group):
            return ratio(
                sums { $0.proportionalBytes(of: group).map(Double.init) ?? .nan }, sums { _ in 1 },
                samples: windows)
        case .count(let part):
            let shares = statistic(part)
            let planned = ratio(
                sums { Double($0.tally.planned) }, sums(ofRounds: 1), samples: shares.samples)
            return shares.combined(with: planned, *)
        case .goodput:
            return perSecond { Double($0.tally.outcomes[Outcome.ok.rawValue] ?? 0) }
        case .requests(let service, let replica):
            // Of one replica the sample is that of all: each request goes to it or not.
            let all = rounds.joined().reduce(0.0) {
                $0 + ($1.ofWorkloads("requests", service) ?? 0)
            }
            return counted(all) { $0.ofWorkloads("requests", service, replica: replica) }
        case .retries(let service):
            // So that those that are none rest on as many requests as they are.
            let all = rounds.joined().reduce(0.0) {
                $0 + ($1.ofWorkloads("retries", service) ?? 0)
            }
            return counted(all) { $0.ofWorkloads("retries", service) }
        case .concurrency(let service):
            let peaks = rounds.map { samples in
                samples.compactMap { $0.peak("concurrency", service) }.max() ?? .nan
            }
            return Statistic(
                value: { rounds in rounds.map { peaks[$0] }.max() ?? .nan },
                samples: windows, problem: windows == 0 ? "nothing was recorded" : nil)
        case .counter(let name, let service): return counted { $0.ofProxies(name, service) }
        case .workload(let counter, let service):
            return counted { $0.ofWorkloads(counter.rawValue, service) }
        case .ofLoad(let inner, let load):
            return Pool(rounds.map { $0.map { $0.of(load: load) } }, minTailSamples).statistic(
                inner)
        case .edge(let from, let to): return counted { $0.sent(from, to) }
        case .attempts:
            // What a cluster is sent comes of mirrors and questions too; and both of these are
            // counted as a request ends, so that none is in one and not in the other.
            let sent = sums { $0.ofLoadProxies("route_attempts_total") ?? .nan }
            let ended = sums {
                $0.ofLoadProxies("route_upstream_rq_completed_total", "route_unanswered_total")
                    ?? .nan
            }
            return ratio(sent, ended, samples: completed)
        case .ejections(let service, let replica):
            return counted { $0.ejections(service, replica) }
        case .timeTo, .worstSecond:
            preconditionFailure("a course is no value of a phase")
        case .overhead, .step: preconditionFailure("a difference is no value of one arm")
        }
    }

    /// Σ `numerators` / Σ `denominators` over the rounds drawn.
    func ratio(_ numerators: [Double], _ denominators: [Double], samples: UInt64) -> Statistic {
        Statistic(
            value: { rounds in
                let above = rounds.reduce(0) { $0 + numerators[$1] }
                let below = rounds.reduce(0) { $0 + denominators[$1] }
                return below > 0 ? above / below : .nan
            }, samples: samples, problem: samples == 0 ? "nothing was recorded" : nil)
    }

    /// For each round the sum over its samples.
    func sums(_ part: (Sample) -> Double) -> [Double] {
        rounds.map { $0.reduce(0) { $0 + part($1) } }
    }

    /// Of each round the same.
    private func sums(ofRounds value: Double) -> [Double] { rounds.map { _ in value } }

    /// A count of each round, the mean of the rounds.
    /// - Parameter samples: what it rests on; nil: the requests of the load.
    private func counted(_ samples: Double? = nil, _ part: (Sample) -> Double?) -> Statistic {
        var counted = ratio(
            sums { part($0) ?? .nan }, sums(ofRounds: 1),
            samples: samples.map { UInt64($0) } ?? all.reduce(0) { $0 + $1.tally.planned })
        // That there was none is known too.
        if windows > 0 { counted.problem = nil }
        return counted
    }

    /// What values rest on that are read at the ends of a window and not counted by request: an
    /// idle phase has them too.
    private var windows: UInt64 { UInt64(all.count) }

    private var completed: UInt64 { all.reduce(0) { $0 + $1.tally.completed } }

    private func percentile(_ quantile: Double, _ kind: LatencyKind) -> Statistic {
        let histograms = rounds.indices.map { tally($0).histogram(kind) }
        let table = PooledQuantile(histograms)
        let count = histograms.reduce(0) { $0 + $1.count }
        return Statistic(
            value: { table.value(quantile, of: $0) }, samples: count,
            problem: tailProblem(quantile, count: count, least: minTailSamples))
    }

    private func perSecond(_ part: (Sample) -> Double) -> Statistic {
        ratio(
            sums(part), sums { $0.span.seconds }, samples: all.reduce(0) { $0 + $1.tally.planned })
    }

    private func share(_ part: (Tally) -> UInt64) -> Statistic {
        ratio(
            sums { Double(part($0.tally)) }, sums { Double($0.tally.planned) },
            samples: all.reduce(0) { $0 + $1.tally.planned })
    }
}

/// Samples that lie beyond a quantile of `count`.
func samplesBeyond(_ quantile: Double, count: UInt64) -> UInt64 {
    count - min(count, UInt64((quantile.nextDown * Double(count)).rounded(.up)))
}

/// Why a quantile of `count` samples is not to be quoted; nil where it is. The least and the
/// greatest value are what they are: nothing can lie beyond them.
func tailProblem(_ quantile: Double, count: UInt64, least: Int) -> String? {
    if count == 0 { return "nothing was recorded" }
    if quantile <= 0 || quantile >= 1 { return nil }
    let beyond = samplesBeyond(quantile, count: count)
    return beyond >= UInt64(least)
        ? nil : "only \(beyond) samples lie beyond it, \(least) are needed to state it"
}

extension Sample {
    func isPart(_ process: ProcessSample, of group: ProcessGroup) -> Bool {
        group == .all || process.group == group
    }

    /// CPU of a group of processes in this window.
    func cpuSeconds(of group: ProcessGroup) -> Double {
        processes.reduce(0) { $0 + (isPart($1, of: group) ? $1.usage.cpu.seconds : 0) }
    }

    /// Memory of a group of processes; nil where one of them could not be read.
    func proportionalBytes(of group: ProcessGroup) -> Int64? {
        var sum: Int64 = 0
        for process in processes where isPart(process, of: group) {
            guard let memory = process.memory else { return nil }
            sum += memory.proportional
        }
        return sum
    }
}
