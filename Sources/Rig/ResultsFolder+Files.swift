import Base
import Model
import Posix
import Report
import Stats

extension ResultsFolder {
    /// Writes everything that is made from the result and the samples.
    func write(_ result: RunResult, _ findings: Findings, started: ClockPair) throws(RigError) {
        try write(result.json(), to: "result.json")
        try write(result.summaryCSV(), to: "summary.csv")
        try write(result.roundsCSV(), to: "rounds.csv")
        try write(result.reportHTML(), to: "report.html")
        try write(result.junitXML(), to: "junit.xml")
        try writeHistograms(findings)
        try writeLogs(findings, started: started)
        try removeScratch()
    }

    /// `<arm>.<phase>.<clock>.hgrm`, in milliseconds as HdrHistogram's plotter expects, over the
    /// rounds that count.
    private func writeHistograms(_ findings: Findings) throws(RigError) {
        for (arm, phase, pool) in findings.pools {
            for kind in [LatencyKind.response, .service, .lag] {
                let text = HistogramText.percentiles(of: pool.histogram(kind), scale: 1e6)
                try write(text, to: "\(arm.rawValue).\(fileName(phase)).\(kind.rawValue).hgrm")
            }
        }
    }

    /// `<arm>.<phase>.hlog`: response latency of each second of the rounds that count, tagged with
    /// the round. Times run from the start of each arm's turn, the rounds one after another.
    private func writeLogs(_ findings: Findings, started: ClockPair) throws(RigError) {
        for (arm, phase, _) in findings.pools {
            var intervals: [HistogramLog.Interval] = []
            var offset = 0.0
            let whole = findings.experiment.armDuration.seconds
            for record in findings.records
            where record.arm == arm && findings.used.contains(record.round) {
                for second in record.seconds where second.phase == phase {
                    intervals.append(
                        .init(
                            tag: "round-\(record.round + 1)", start: offset + second.offset,
                            // The last second may be short; what comes after the end is late
                            // answers, and may be as long as any.
                            length: second.offset < whole ? min(1, whole - second.offset) : 1,
                            histogram: second.response))
                }
                offset += whole
            }
            let log = HistogramLog(startTime: Double(started.wall) / 1e9, intervals: intervals)
            var text = ""
            do {
                try log.write(date: isoTime(started.wall)) { text += $0 }
            } catch {
                preconditionFailure("a tag that a histogram log cannot hold: \(error)")
            }
            try write(text, to: "\(arm.rawValue).\(fileName(phase)).hlog")
        }
    }
}
