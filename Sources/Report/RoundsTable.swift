// `rounds.csv`: tidy data, one value a row, for whoever wants to test the statistics of this
// program with their own.

import Model

extension RunResult {
    /// The text of `rounds.csv`: arm, round, phase, metric, value, unit.
    public func roundsCSV() -> String {
        var table = CSV(header: ["arm", "round", "phase", "metric", "value", "unit"])
        for round in rounds {
            for (metric, value, unit) in Self.metrics(of: round) {
                table.append([
                    round.arm.rawValue, String(round.round), round.phase, metric, value, unit,
                ])
            }
        }
        return table.text
    }

    private static func metrics(
        of round: RoundResult
    ) -> [(metric: String, value: String, unit: String)] {
        var rows = [
            ("position", String(round.position), ""),
            ("valid", round.invalid.isEmpty ? "1" : "0", ""),
            ("achieved", exact(round.achievedPerSecond), "per_second"),
            ("errors", String(round.errors), "requests"),
        ]
        let latencies = [
            ("response_p50", round.responseP50Ns), ("response_p90", round.responseP90Ns),
            ("response_p99", round.responseP99Ns), ("response_p999", round.responseP999Ns),
            ("lag_p99", round.lagP99Ns),
        ]
        // A row without a value would not be tidy: what was not recorded has no row.
        for case (let metric, let value?) in latencies {
            rows.append((metric, exact(value), "ns"))
        }
        for (group, cores) in round.cpuPer1000rpsCores.sorted(by: { $0.key < $1.key }) {
            rows.append(("cpu_per_1000rps_" + group, exact(cores), "cores"))
        }
        return rows
    }
}
