// A run that could have happened, from a seed: log-normal latencies with a heavier tail through the
// mesh, six rounds that differ a little, three rates for the fit. Numbers are rounded, so that the
// last bit of libm does not show in golden files.

import Base
import Glibc
import Model
import Report

/// Makes results for tests.
struct SampleResult {
    var seed: UInt64 = 42
    var rounds = 6
    var arms: [ArmName] = [.direct, .mesh]
    /// Measured phases, by name and rate; a warm phase of 3 s stands before them.
    var phases: [(name: String, rate: Double)] = [("base", 1000), ("surge", 1500)]
    var secondsPerPhase = 10

    /// Whether there is anything to expect of a mesh.
    private var hasMesh: Bool { arms != [.direct] }

    /// tcp → http1 → http2 → mutual TLS.
    static let ladder: [ArmName] = ["tcp", "http1", "http2", "mutual-tls"].map {
        ArmName(rawValue: $0)
    }

    func result() -> RunResult {
        var facts = Facts()
        facts.measure(self)
        return RunResult(
            scenario: .init(
                name: "istio-reference-point",
                about: "Istio's published operating point on the reference mesh: HTTP/1.1, 1 KiB, "
                    + "1000/s, 16 connections, 2 workers.",
                file: "scenarios/istio-reference-point.yaml", seed: seed,
                hash: "9f3a1c5be07d2468", scheduleHash: "51c0ffee12345678"),
            startedAt: "2026-03-14T09:26:53Z", durationSeconds: 412.7, partial: false,
            command: [
                "scripts/meshbench", "run", "scenarios/istio-reference-point.yaml", "--set",
                "seed=\(seed)",
            ],
            environment: sampleEnvironment, configuration: sampleConfiguration,
            arms: arms.map { sampleArm($0) },
            phases: facts.phases, rounds: facts.rounds, overheads: facts.overheads,
            steps: facts.steps,
            fits: hasMesh ? sampleFits() : [], timelines: facts.timelines,
            expectations: hasMesh ? sampleExpectations : [],
            validity: .init(
                valid: true, reasons: [],
                warnings: ["The generator and the proxies share all 8 cores: none was pinned."],
                checks: sampleChecks),
            verdict: hasMesh ? .fail : .pass,
            exit: hasMesh
                ? .init(code: 99, reasons: ["1 of 5 expectations failed"])
                : .init(code: 0, reasons: []))
    }

    /// Cores against rate for each proxy: a line with a little noise.
    private func sampleFits() -> [RunResult.CostFit] {
        var random = SeededRandom(seed: seed).split("fits")
        return [("client-proxy", 0.0021, 0.0312), ("server-proxy echo/0", 0.0018, 0.0267)].map {
            name, idle, marginal in
            var points: [RunResult.CostFit.Point] = []
            for rate in [250.0, 500, 1000, 2000, 4000] {
                for round in 0..<rounds {
                    let noise = 1 + 0.04 * random.gaussian()
                    let cores = (idle + marginal * rate / 1000) * noise
                    points.append(
                        .init(ratePerSecond: rate, cores: rounded(cores, 6), round: round))
                }
            }
            return .init(
                arm: .mesh, process: name,
                idleCores: .init(
                    idle, low: rounded(idle * 0.6, 6), high: rounded(idle * 1.5, 6),
                    confidence: 0.95),
                marginalPer1000rpsCores: .init(
                    marginal, low: rounded(marginal * 0.97, 6), high: rounded(marginal * 1.03, 6),
                    confidence: 0.95),
                points: points)
        }
    }
}

/// The measured parts, gathered arm by arm.
private struct Facts {
    var phases: [RunResult.PhaseResult] = []
    var rounds: [RunResult.RoundResult] = []
    var overheads: [RunResult.Overhead] = []
    var steps: [RunResult.Overhead] = []
    var timelines: [RunResult.Timeline] = []

    mutating func measure(_ sample: SampleResult) {
        for phase in sample.phases {
            for arm in sample.arms { measure(sample, phase.name, phase.rate, arm) }
            for arm in sample.arms where arm != sample.arms.baseline {
                guard let baseline = sample.arms.baseline else { continue }
                overheads += compare(sample, phase.name, arm, less: baseline)
            }
            if sample.arms.count > 2 { overheads = byMetric(overheads) }
            for (before, arm) in zip(sample.arms, sample.arms.dropFirst())
            where sample.arms.count > 2 {
                steps += compare(sample, phase.name, arm, less: before)
            }
            steps = byMetric(steps)
        }
        for arm in sample.arms {
            for round in 0..<sample.rounds { timelines.append(timeline(sample, arm, round)) }
        }
    }

    private mutating func measure(
        _ sample: SampleResult, _ phase: String, _ rate: Double, _ arm: ArmName
    ) {
        var random = SeededRandom(seed: sample.seed).split("\(phase)/\(arm.rawValue)")
        var pooled: [Double] = []
        // Fewer draws than requests: a debug build has to make this in the blink of an eye.
        let perRound = min(Int(rate) * sample.secondsPerPhase, 2000)
        for round in 0..<sample.rounds {
            let drift = 1 + 0.03 * random.gaussian()
            let samples = (0..<perRound).map { _ in random.latency(arm, load: rate) * drift }
            pooled += samples
            let sorted = samples.sorted()
            let isMeshFirst = (sample.seed >> UInt64(round % 8)) & 1 == 1
            rounds.append(
                .init(
                    round: round,
                    position: sample.arms.count > 2
                        ? ((sample.arms.firstIndex(of: arm) ?? 0) + round) % sample.arms.count
                        : (arm == .mesh) == isMeshFirst ? 0 : 1, arm: arm,
                    phase: phase,
                    achievedPerSecond: rounded(rate * (1 - 0.0004 * random.unit()), 2),
                    errors: UInt64(random.below(3)), responseP50Ns: sorted.quantile(0.5),
                    responseP90Ns: sorted.quantile(0.9), responseP99Ns: sorted.quantile(0.99),
                    responseP999Ns: sorted.quantile(0.999),
                    lagP99Ns: rounded(41_000 + 6_000 * random.gaussian(), 0),
                    cpuPer1000rpsCores: costs(arm, 1 + 0.02 * random.gaussian()), invalid: []))
        }
        phases.append(phaseResult(sample, phase, rate, arm, pooled.sorted(), &random))
    }

    private func costs(_ arm: ArmName, _ noise: Double) -> [String: Double] {
        let fixed = ["apps": rounded(0.021 * noise, 6), "load": rounded(0.032 * noise, 6)]
        return arm == .direct
            ? fixed : fixed.merging(["proxies": rounded(0.0612 * noise, 6)]) { $1 }
    }

    private func phaseResult(
        _ sample: SampleResult, _ phase: String, _ rate: Double, _ arm: ArmName, _ sorted: [Double],
        _ random: inout SeededRandom
    ) -> RunResult.PhaseResult {
        let lag = sorted.map { _ in (18_000 * exp(0.35 * random.gaussian())).rounded() }.sorted()
        let connect = (0..<(16 * sample.rounds)).map { _ in
            (90_000 * exp(0.3 * random.gaussian())).rounded()
        }.sorted()
        let planned = UInt64(Int(rate) * sample.secondsPerPhase * sample.rounds)
        let failed = arm == .mesh ? planned / 10_000 : 0
        return RunResult.PhaseResult(
            arm: arm, phase: phase, offeredPerSecond: rate,
            achievedPerSecond: rounded(rate * 0.9996, 2), planned: planned, sent: planned,
            completed: planned - failed,
            outcomes: arm == .mesh
                ? ["ok": planned - failed, "error": failed - failed / 3, "timeout": failed / 3]
                : ["ok": planned],
            statuses: arm == .mesh
                ? ["200": planned - failed, "503": failed - failed / 3] : ["200": planned],
            flags: arm == .mesh ? ["UF": failed - failed / 3] : [:],
            response: latency(sorted, of: planned),
            service: latency(sorted.map { max(60_000, $0 - 15_000) }, of: planned),
            lag: latency(lag, of: planned),
            connect: latency(connect, of: UInt64(connect.count)),
            firstByte: latency(sorted.map { ($0 * 0.9).rounded() }, of: planned),
            processes: processes(arm, rate, sample), machineBusy: arm == .mesh ? 0.21 : 0.12,
            machineSteal: 0.0003,
            measuredSeconds: Double(sample.secondsPerPhase * sample.rounds), connections: 16)
    }

    private func processes(
        _ arm: ArmName, _ rate: Double, _ sample: SampleResult
    ) -> [RunResult.ProcessUsage] {
        let window = Int64(sample.secondsPerPhase * sample.rounds) * 1_000_000_000
        func usage(
            _ name: String, _ group: ProcessGroup, _ cost: Double, _ userShare: Double,
            _ mebibytes: Double
        ) -> RunResult.ProcessUsage {
            let busy = Double(window) * cost * rate / 1000
            return .init(
                name: name, group: group, windowNs: window, userNs: Int64(busy * userShare),
                systemNs: Int64(busy * (1 - userShare)),
                residentBytes: Int64((mebibytes + 1.5) * 1_048_576),
                proportionalBytes: Int64(mebibytes * 1_048_576),
                voluntarySwitches: Int64(Double(window) / 1e9 * rate * 0.8),
                involuntarySwitches: 214,
                cpuPer1000rpsCores: .init(
                    cost, low: rounded(cost * 0.98, 6), high: rounded(cost * 1.025, 6),
                    confidence: 0.95))
        }
        let proxies =
            arm != .direct
            ? [
                usage("client-proxy", .proxies, 0.0328, 0.31, 6.4),
                usage("server-proxy echo/0", .proxies, 0.0143, 0.29, 5.9),
                usage("server-proxy echo/1", .proxies, 0.0141, 0.29, 5.9),
            ] : []
        return proxies + [
            usage("echo/0", .apps, 0.0105, 0.34, 4.1), usage("echo/1", .apps, 0.0104, 0.35, 4.1),
            usage("load main", .load, 0.0322, 0.52, 9.7),
        ]
    }

    private func byMetric(_ all: [RunResult.Overhead]) -> [RunResult.Overhead] {
        let metrics = all.map(\.metric)
        return all.enumerated().sorted { a, b in
            let places = [a, b].map { metrics.firstIndex(of: $0.element.metric) ?? 0 }
            return (places[0], a.offset) < (places[1], b.offset)
        }.map(\.element)
    }

    private func compare(
        _ sample: SampleResult, _ phase: String, _ arm: ArmName, less baseline: ArmName
    ) -> [RunResult.Overhead] {
        guard let before = phases.last(where: { $0.phase == phase && $0.arm == baseline }),
            let after = phases.last(where: { $0.phase == phase && $0.arm == arm })
        else { return [] }
        let spread = sample.rounds > 1
        let reachable: Double? = sample.rounds < 2 ? nil : sample.rounds < 6 ? 0.5 : 0.95
        var found: [RunResult.Overhead] = []
        for (index, name) in ["p50", "p90", "p99", "p99.9"].enumerated() {
            let a = before.response.percentiles[index].valueNs
            let b = after.response.percentiles[index].valueNs
            let half = (b - a).magnitude * 0.02 * Double(1 + 2 * index)
            found.append(
                .init(
                    phase: phase, metric: "response " + name, unit: "ns", arm: arm,
                    baseline: baseline, value: .init(b), baselineValue: .init(a),
                    difference: .init(
                        b - a, low: spread ? (b - a - half).rounded() : nil,
                        high: spread ? (b - a + half * 1.2).rounded() : nil,
                        confidence: reachable),
                    rounds: sample.rounds))
        }
        if sample.arms.count > 2 {
            let a = before.service.percentiles[0].valueNs
            let b = after.service.percentiles[0].valueNs
            found.append(
                .init(
                    phase: phase, metric: "service p50", unit: "ns", arm: arm, baseline: baseline,
                    value: .init(b), baselineValue: .init(a),
                    difference: .init(
                        b - a, low: b - a - 4_000, high: b - a + 5_000, confidence: reachable),
                    rounds: sample.rounds))
            found.append(
                .init(
                    phase: phase, metric: "proxy cpu per 1000 rps", unit: "cores", arm: arm,
                    baseline: baseline, value: .init(0.0712), baselineValue: .init(0.0612),
                    difference: .init(0.01, low: 0.0085, high: 0.0118, confidence: reachable),
                    rounds: sample.rounds))
        }
        found.append(
            .init(
                phase: phase, metric: "cpu per 1000 rps", unit: "cores", arm: arm,
                baseline: baseline, value: .init(0.1143), baselineValue: .init(0.0531),
                difference: .init(
                    0.0612, low: spread ? 0.0604 : nil, high: spread ? 0.0623 : nil,
                    confidence: reachable),
                rounds: sample.rounds))
        found.append(
            .init(
                phase: phase, metric: "memory", unit: "bytes", arm: arm, baseline: baseline,
                value: .init(37_853_594), baselineValue: .init(18_769_510),
                difference: .init(19_084_084), rounds: sample.rounds))
        return found
    }

    private func timeline(_ sample: SampleResult, _ arm: ArmName, _ round: Int)
        -> RunResult.Timeline
    {
        var random = SeededRandom(seed: sample.seed).split("time/\(arm.rawValue)").split(round)
        var points: [RunResult.Timeline.Point] = []
        let spans =
            [("warm", sample.phases.first?.rate ?? 1000, 3)]
            + sample.phases.map { ($0.name, $0.rate, sample.secondsPerPhase) }
        for (phase, rate, seconds) in spans {
            for _ in 0..<seconds {
                let samples = (0..<150).map { _ in random.latency(arm, load: rate) }.sorted()
                let isCold = points.isEmpty
                points.append(
                    .init(
                        seconds: Double(points.count), phase: phase, offeredPerSecond: rate,
                        achievedPerSecond: rounded(rate + 12 * random.gaussian(), 0),
                        errorsPerSecond: arm == .mesh && random.below(9) == 0 ? 1 : 0,
                        p50Ns: samples.quantile(0.5),
                        p99Ns: samples.quantile(0.99).map {
                            isCold ? $0 * 3 : $0
                        }))
            }
        }
        return .init(arm: arm, round: round, points: points)
    }
}

extension SeededRandom {
    /// A standard normal draw (Box and Muller, 1958).
    fileprivate mutating func gaussian() -> Double {
        (-2 * log(1 - unit())).squareRoot() * cos(2 * Double.pi * unit())
    }

    /// A response latency in whole nanoseconds.
    fileprivate mutating func latency(_ arm: ArmName, load: Double) -> Double {
        let busy = 1 + load / 8000
        let others = ["direct": 310_000.0, "tcp": 420_000, "http2": 520_000, "mutual-tls": 640_000]
        let least = others[arm.rawValue] ?? 545_000
        let body = least * busy * exp(0.24 * gaussian())
        // Now and then a request waits for a core.
        let wait = unit() < (arm == .direct ? 0.004 : 0.012) ? -log(1 - unit()) * 2_200_000 : 0
        return (body + wait).rounded()
    }
}

extension [Double] {
    /// The order statistic at `quantile` of a sorted array; nil where it is empty.
    func quantile(_ quantile: Double) -> Double? {
        isEmpty
            ? nil
            : self[Swift.min(count - 1, Int((Double(count) * quantile).rounded(.up)))]
                .rounded()
    }
}

/// What an arm of a sample says of itself.
func sampleArm(_ arm: ArmName) -> RunResult.ArmSummary {
    let speech =
        [
            "direct": "HTTP/1.1", "tcp": "TCP; between proxies the same, cleartext",
            "http2": "HTTP/1.1; between proxies HTTP/2, cleartext",
            "mutual-tls": "HTTP/1.1; between proxies HTTP/2, mutual TLS",
        ][arm.rawValue] ?? "HTTP/1.1; between proxies HTTP/1.1, cleartext"
    return .init(name: arm, via: arm == .direct ? .direct : .mesh, speech: speech)
}

/// The summary of sorted samples that stand for `recorded` ones, with order-statistic intervals by
/// the normal approximation.
func latency(_ sorted: [Double], of recorded: UInt64) -> RunResult.Latency {
    guard let least = sorted.first, let most = sorted.last else { return emptyLatency }
    let count = Double(recorded)
    let percentiles = [0.5, 0.9, 0.99, 0.999, 0.9999].map { q in
        let half = 1.96 * (q * (1 - q) / count).squareRoot()
        let beyond = UInt64(count * (1 - q) + 1e-6)
        return RunResult.Latency.Percentile(
            quantile: q, valueNs: sorted.quantile(q) ?? 0, lowNs: sorted.quantile(q - half),
            highNs: sorted.quantile(Swift.min(q + half, 1)), beyond: beyond,
            supported: beyond >= 10)
    }
    var curve: [RunResult.Latency.Point] = []
    var tail = 1.0
    while 1 / tail <= count && curve.count < 200 {
        curve.append(.init(quantile: 1 - tail, valueNs: sorted.quantile(1 - tail) ?? 0))
        tail *= 0.93
    }
    return .init(
        count: recorded, minNs: UInt64(least), maxNs: UInt64(most),
        meanNs: rounded(sorted.reduce(0, +) / Double(sorted.count), 1), percentiles: percentiles,
        curve: curve)
}

/// Nothing was recorded.
let emptyLatency = RunResult.Latency(
    count: 0, minNs: 0, maxNs: 0, meanNs: 0, percentiles: [], curve: [])

/// `value` to so many decimals.
func rounded(_ value: Double, _ decimals: Int) -> Double {
    let power = pow(10, Double(decimals))
    return (value * power).rounded() / power
}
