import Base
import FoundationEssentials
import LoadCore
import Model
import Report
import Stats

/// The files that `meshbench load` writes on demand.
struct LoadFiles {
    let job: LoadJob
    let result: LoadResult
    /// Nanoseconds since 1970 at the start.
    let began: Int64

    /// The distribution of response latency over the measured phases, as HdrHistogram prints it.
    func writeDistribution(to path: String) throws(CommandFailure) {
        var response = Histogram()
        for (i, phase) in job.phases.enumerated() where phase.measure {
            response.merge(result.phases[i].response)
        }
        try write(HistogramText.percentiles(of: response, scale: 1e6), to: path)
    }

    /// Response latency second by second, as a HdrHistogram log tagged with the phase.
    func writeLog(to path: String) throws(CommandFailure) {
        let log = HistogramLog(
            startTime: Double(began) / 1e9,
            intervals: result.seconds.map {
                .init(tag: $0.phase, start: $0.offset, length: 1, histogram: $0.response)
            })
        var text = ""
        do {
            let date = Date(timeIntervalSince1970: Double(began) / 1e9).formatted(.iso8601)
            try log.write(date: date) { text += $0 }
        } catch {
            throw .failed("meshbench load: \(path): \(error)")
        }
        try write(text, to: path)
    }

    /// All of the result.
    func writeJSON(to path: String) throws(CommandFailure) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            try encoder.encode(result).write(to: URL(filePath: path))
        } catch {
            throw .failed("meshbench load: \(path): \(error)")
        }
    }

    private func write(_ text: String, to path: String) throws(CommandFailure) {
        do { try Data(text.utf8).write(to: URL(filePath: path)) } catch {
            throw .failed("meshbench load: \(path): \(error)")
        }
    }
}
