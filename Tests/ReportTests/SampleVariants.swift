// The run of `SampleResult` as it looks when something is missing or went wrong, and the parts of
// it that are only words.

import Model
import Report

/// The cases that every output has to cope with.
enum SampleVariant: String, CaseIterable, Sendable {
    case whole
    case invalid
    case partial
    case oneRound
    case oneArm
    case nothingRecorded
    case inconclusive
    case hostile
    case manyPhases
    case ladder

    var result: RunResult {
        guard let result = Self.results[self] else { preconditionFailure("no \(self)") }
        return result
    }

    /// Made once: every test looks at them.
    private static let results = Dictionary(
        uniqueKeysWithValues: allCases.map { ($0, $0.make()) })

    private func make() -> RunResult {
        switch self {
        case .whole: return SampleResult().result()
        case .invalid: return Self.invalidated()
        case .partial: return Self.interrupted()
        case .oneRound: return Self.single()
        case .oneArm: return SampleResult(arms: [.mesh], phases: [("base", 1000)]).result().passing
        case .nothingRecorded: return Self.empty()
        case .inconclusive:
            var result = SampleResult(phases: [("base", 1000)]).result()
            result.verdict = .inconclusive
            result.exit = .init(code: 0, reasons: ["1 expectation is undecided after 6 rounds"])
            result.expectations.removeAll { $0.verdict == .fail }
            return result
        case .hostile: return Self.hostileWords()
        case .ladder:
            return SampleResult(arms: SampleResult.ladder, phases: [("base", 1000)]).result()
                .passing
        case .manyPhases:
            return SampleResult(
                rounds: 12,
                phases: [250.0, 500, 1000, 2000, 4000].map { ("rate-\(Int($0))", $0) },
                secondsPerPhase: 2
            ).result()
        }
    }

    private static func invalidated() -> RunResult {
        var result = SampleResult().result()
        let reasons = [
            "mesh, base: 91.2 % of the offered rate was sent; at least 99.5 % is needed.",
            "mesh, base: the 99th percentile of lag was 4.31 ms; at most 200 µs is allowed.",
        ]
        result.validity = .init(
            valid: false, reasons: reasons, warnings: [],
            checks: [
                .init(
                    name: "offered rate sent, mesh, base", observed: "91.2 %",
                    limit: "at least 99.5 %", held: false),
                .init(
                    name: "lag p99, mesh, base", observed: "4.31 ms", limit: "at most 200 µs",
                    held: false),
                .init(
                    name: "steal, mesh, base", observed: "0.03 %", limit: "at most 1 %",
                    held: true),
            ])
        result.verdict = .invalid
        result.exit = .init(code: 4, reasons: reasons)
        for index in result.expectations.indices {
            result.expectations[index].verdict = .invalid
            result.expectations[index].reason = ""
        }
        for index in result.rounds.indices where result.rounds[index].arm == .mesh {
            result.rounds[index].invalid = ["lag"]
        }
        return result
    }

    private static func interrupted() -> RunResult {
        var result = SampleResult(rounds: 2).result()
        result.partial = true
        result.exit = .init(code: 130, reasons: ["stopped by the user"])
        result.verdict = .inconclusive
        return result
    }

    private static func single() -> RunResult {
        var result = SampleResult(rounds: 1, phases: [("base", 1000)]).result().passing
        for phase in result.phases.indices {
            for process in result.phases[phase].processes.indices {
                let cost = result.phases[phase].processes[process].cpuPer1000rpsCores?.value ?? 0
                result.phases[phase].processes[process].cpuPer1000rpsCores = .init(cost)
            }
        }
        result.fits = []
        result.validity.warnings = ["One round: no interval can be given."]
        return result
    }

    /// Every request failed before it could be timed, and no process was measured.
    private static func empty() -> RunResult {
        var result = SampleResult(rounds: 1, phases: [("base", 1000)]).result()
        for index in result.phases.indices {
            let planned = result.phases[index].planned
            result.phases[index].sent = 0
            result.phases[index].completed = 0
            result.phases[index].achievedPerSecond = 0
            result.phases[index].outcomes = ["dropped": planned]
            result.phases[index].statuses = [:]
            result.phases[index].flags = [:]
            result.phases[index].response = emptyLatency
            result.phases[index].service = emptyLatency
            result.phases[index].lag = emptyLatency
            result.phases[index].connect = emptyLatency
            result.phases[index].firstByte = emptyLatency
            result.phases[index].processes = []
            result.phases[index].measuredSeconds = nil
            result.phases[index].connections = nil
        }
        for index in result.rounds.indices {
            result.rounds[index].responseP50Ns = nil
            result.rounds[index].responseP90Ns = nil
            result.rounds[index].responseP99Ns = nil
            result.rounds[index].responseP999Ns = nil
            result.rounds[index].lagP99Ns = nil
            result.rounds[index].achievedPerSecond = 0
            result.rounds[index].cpuPer1000rpsCores = [:]
        }
        for index in result.timelines.indices {
            for point in result.timelines[index].points.indices {
                result.timelines[index].points[point].p50Ns = nil
                result.timelines[index].points[point].p99Ns = nil
                result.timelines[index].points[point].achievedPerSecond = 0
            }
        }
        result.overheads = []
        result.fits = []
        result.expectations = []
        result.validity = .init(
            valid: false, reasons: ["mesh, base: nothing was sent."], warnings: [])
        result.verdict = .invalid
        result.exit = .init(code: 4, reasons: ["mesh, base: nothing was sent."])
        return result
    }

    /// Words that try to be something else.
    private static func hostileWords() -> RunResult {
        var result = single()
        let words =
            "</script><script>alert(1)</script>&amp;\"'<b onclick='x'>\u{1B}[31m\u{0}é, \"q\"\n"
        result.scenario.name = words
        result.scenario.about = words
        result.command = ["meshbench", "run", words, "it's"]
        result.environment = [.init(group: words, name: words, value: words)]
        result.configuration = [.init(group: words, name: words, value: words)]
        result.validity.warnings = [words]
        result.exit.reasons = [words]
        result.expectations = [
            .init(
                source: words, verdict: .inconclusive, observed: words, expected: words,
                interval: words, samples: 1, reason: words)
        ]
        for index in result.phases.indices {
            result.phases[index].phase = words
            result.phases[index].processes[0].name = words
            result.phases[index].outcomes[words] = 3
            result.phases[index].statuses[words] = 3
            result.phases[index].flags[words] = 3
        }
        for index in result.overheads.indices {
            result.overheads[index].phase = words
            result.overheads[index].metric = words
            result.overheads[index].unit = words
        }
        for index in result.rounds.indices { result.rounds[index].phase = words }
        for timeline in result.timelines.indices {
            for point in result.timelines[timeline].points.indices {
                result.timelines[timeline].points[point].phase = words
            }
        }
        return result
    }
}

extension RunResult {
    /// The same with every expectation met.
    fileprivate var passing: RunResult {
        var result = self
        result.expectations.removeAll { $0.verdict != .pass }
        result.verdict = .pass
        result.exit = .init(code: 0, reasons: [])
        return result
    }
}

let sampleExpectations: [RunResult.ExpectationResult] = [
    .init(
        source: "p99(response) < 5ms during base on mesh", verdict: .pass, observed: "2.18 ms",
        expected: "< 5 ms", interval: "2.07 ms to 2.30 ms", confidence: 0.95, samples: 60_000,
        reason: ""),
    .init(
        source: "overhead(p99(response)) < 1ms during base", verdict: .fail, observed: "1.36 ms",
        expected: "< 1 ms", interval: "1.22 ms to 1.52 ms", confidence: 0.95, samples: 6,
        reason: "the whole interval lies above the limit"),
    .init(
        source: "cpu_per_1000rps(proxies) < 65m", verdict: .pass, observed: "61.2 mCPU",
        expected: "< 65 mCPU", interval: "60.4 mCPU to 62.3 mCPU", confidence: 0.95, samples: 6,
        reason: ""),
    .init(
        source: "share(outcome = ok) >= 99.99%", verdict: .inconclusive, observed: "99.99 %",
        expected: ">= 99.99 %", interval: "99.98 % to 99.995 %", confidence: 0.95, samples: 150_000,
        reason: "the interval holds the limit"),
    .init(
        source: "memory(proxies) < 40MiB", verdict: .pass, observed: "18.2 MiB",
        expected: "< 40 MiB", samples: 6, reason: ""),
]

let sampleChecks: [RunResult.Validity.Check] = [
    .init(
        name: "offered rate sent, mesh, base", observed: "100.0 %", limit: "at least 99.5 %",
        held: true),
    .init(name: "lag p99, mesh, base", observed: "41.2 µs", limit: "at most 200 µs", held: true),
    .init(
        name: "generator's busiest thread, mesh, base", observed: "12 % of a core",
        limit: "at most 80 %", held: true),
    .init(name: "machine busy, mesh, base", observed: "21 %", limit: "at most 90 %", held: true),
    .init(name: "steal, mesh, base", observed: "0.03 %", limit: "at most 1 %", held: true),
]

let sampleEnvironment: [RunResult.Fact] = [
    .init(group: "machine", name: "cpu", value: "AMD EPYC 7B13, 8 cores, one thread each"),
    .init(group: "machine", name: "governor", value: "performance"),
    .init(group: "machine", name: "memory", value: "31.3 GiB"),
    .init(group: "machine", name: "kernel", value: "Linux 6.1.0-40-cloud-amd64"),
    .init(
        group: "machine", name: "mitigations",
        value: "spectre_v2: retpolines, IBPB, STIBP; mds: not affected; retbleed: untrained return "
            + "thunk"),
    .init(group: "meshbench", name: "commit", value: "3fa9c1d20b"),
    .init(group: "meshbench", name: "build", value: "release, Swift 6.3.1"),
]

let sampleConfiguration: [RunResult.Fact] = [
    .init(group: "mesh", name: "dataplane", value: "reference"),
    .init(group: "mesh", name: "mode", value: "sidecar"),
    .init(group: "mesh", name: "workers", value: "2"),
    .init(group: "load main", name: "rate", value: "1,000/s"),
    .init(group: "load main", name: "arrivals", value: "poisson"),
    .init(group: "load main", name: "connections", value: "16"),
    .init(group: "load main", name: "timeout", value: "3 s"),
    .init(group: "load main", name: "request", value: "GET /"),
    .init(group: "service echo", name: "replicas", value: "2"),
    .init(group: "service echo", name: "size", value: "1 KiB"),
]
