// `summary.csv`: one row for each arm and phase.
//
// The first columns bear the names, units and roundings of istio/tools
// (perf/benchmark/runner/fortio.py): seconds, requests per second and microseconds as whole
// numbers, CPU in thousandths of a core, memory in MiB. Scripts that plot Istio's files read these.
// The columns after them are exact and name their unit.

import Model

extension RunResult {
    /// The text of `summary.csv`.
    public func summaryCSV() -> String {
        let processes = processNames()
        var table = CSV(
            header: ["StartTime", "ActualDuration", "Labels", "NumThreads", "ActualQPS"]
                + istioQuantiles.map { percentileName($0).filter { $0 != "." } }
                + processes.map { "cpu_mili_avg_" + columnName($0) }
                + processes.map { "mem_Mi_avg_" + columnName($0) }
                + ownColumns)
        for phase in phases {
            table.append(
                istioFields(phase, processes: processes) + ownFields(phase))
        }
        return table.text
    }

    /// Every process of every row, in order of appearance.
    private func processNames() -> [String] {
        var names: [String] = []
        for phase in phases {
            for process in phase.processes where !names.contains(process.name) {
                names.append(process.name)
            }
        }
        return names
    }

    private func istioFields(_ phase: PhaseResult, processes: [String]) -> [String] {
        let usage = processes.map { name in phase.processes.first { $0.name == name } }
        return [
            startedAt,
            phase.measuredSeconds.map { exact($0.rounded()) } ?? "",
            "\(scenario.name)_\(phase.arm.rawValue)_\(phase.phase)",
            phase.connections.map(String.init) ?? "",
            exact(phase.achievedPerSecond.rounded()),
        ]
            + istioQuantiles.map { quantile in
                exact(stated(phase.response[quantile]).map { ($0 / 1e3).rounded() })
            }
            + usage.map { exact($0.map { thousandths($0.cores * 1e3) }) }
            + usage.map { process in
                exact(process?.proportionalBytes.map { thousandths(Double($0) / 1_048_576) })
            }
    }

    /// A percentile that may be quoted, in nanoseconds: none of an invalid run, and none with too
    /// few samples beyond it. A table gives no room for a warning.
    private func stated(_ percentile: Latency.Percentile?) -> Double? {
        guard validity.valid, let percentile, percentile.supported else { return nil }
        return percentile.valueNs
    }

    private var ownColumns: [String] {
        ["arm", "phase", "valid", "offered_per_second", "achieved_per_second", "planned", "sent"]
            + ["completed"] + Outcome.allCases.map { "outcome_" + $0.rawValue }
            + LatencyKind.ofRequests.flatMap { kind in
                [kind.rawValue + "_count"]
                    + ownQuantiles.map {
                        "\(kind.rawValue)_\(percentileName($0).filter { $0 != "." })_ns"
                    }
                    + [kind.rawValue + "_max_ns"]
            } + ["proxies_cpu_per_1000rps_cores", "machine_busy_share", "machine_steal_share"]
            + ["rounds", "interval_confidence"]
    }

    private func ownFields(_ phase: PhaseResult) -> [String] {
        var fields = [
            phase.arm.rawValue, phase.phase, String(validity.valid), exact(phase.offeredPerSecond),
            exact(phase.achievedPerSecond), String(phase.planned), String(phase.sent),
            String(phase.completed),
        ]
        fields += Outcome.allCases.map { String(phase.outcomes[$0.rawValue] ?? 0) }
        for kind in LatencyKind.ofRequests {
            let latency = phase.latency(kind)
            fields.append(String(latency.count))
            fields += ownQuantiles.map { exact(stated(latency[$0])) }
            fields.append(latency.count > 0 ? String(latency.maxNs) : "")
        }
        let proxies = phase.processes.filter { $0.group == .proxies }
        let costs = proxies.compactMap { $0.cpuPer1000rpsCores?.value }
        fields.append(
            costs.isEmpty || costs.count < proxies.count ? "" : exact(costs.reduce(0, +)))
        return fields + [
            exact(phase.machineBusy), exact(phase.machineSteal), String(countedRounds),
            exact(intervalConfidence),
        ]
    }
}

private let istioQuantiles = [0.5, 0.9, 0.99, 0.999]
private let ownQuantiles = [0.5, 0.9, 0.99, 0.999, 0.9999]

/// To three decimals: more would feign a precision that an average over a run does not have.
private func thousandths(_ value: Double) -> Double { (value * 1e3).rounded() / 1e3 }

/// A process's name as the end of a column's: `server-proxy echo/0` as `server_proxy_echo_0`.
private func columnName(_ name: String) -> String {
    String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
}

extension RunResult.PhaseResult {
    /// The latency by one of the clocks; of what has none, one without samples.
    func latency(_ kind: LatencyKind) -> RunResult.Latency {
        switch kind {
        case .response: response
        case .service: service
        case .lag: lag
        case .connect: connect
        case .firstByte: firstByte
        case .configPush: configPush ?? .none
        }
    }
}

extension RunResult.Latency {
    fileprivate static let none = RunResult.Latency(
        count: 0, minNs: 0, maxNs: 0, meanNs: 0, percentiles: [], curve: [])

    /// The percentile at `quantile`; nil where the result does not state it or nothing was
    /// recorded.
    subscript(quantile: Double) -> Percentile? {
        count == 0 ? nil : percentiles.first { ($0.quantile - quantile).magnitude < 1e-9 }
    }
}

extension RunResult.ProcessUsage {
    /// Cores used on average over the window.
    var cores: Double { windowNs > 0 ? Double(userNs + systemNs) / Double(windowNs) : 0 }
    var userCores: Double { windowNs > 0 ? Double(userNs) / Double(windowNs) : 0 }
    var systemCores: Double { windowNs > 0 ? Double(systemNs) / Double(windowNs) : 0 }
}
