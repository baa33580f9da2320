import Base
import FoundationEssentials
import LoadCore
import Model
import Report
import Stats

/// The files that `meshbench load` writes on demand when the run is over.
struct LoadFiles {
    let job: LoadJob
    let result: LoadResult

    /// The distributions of response and service latency and of lag over the measured phases, as
    /// HdrHistogram prints them: response as `path`, the others beside it.
    func writeDistributions(to path: String) throws(CommandFailure) {
        for kind in LatencyKind.allCases {
            var sum = Histogram()
            for (i, phase) in job.phases.enumerated() where phase.measure {
                sum.merge(result.phases[i][keyPath: kind.histogram])
            }
            // With closed arrivals there is no lag.
            if kind != .response, sum.count == 0 { continue }
            try write(
                Data(HistogramText.percentiles(of: sum, scale: 1e6).utf8),
                to: kind.path(beside: path))
        }
    }

    /// All of the result as JSON; `-` is standard output.
    func writeJSON(to path: String) throws(CommandFailure) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let data: Data
        do { data = try encoder.encode(result) } catch {
            throw .failed("meshbench load: \(path): \(error)")
        }
        if path == "-" {
            announce(String(decoding: data, as: UTF8.self))
        } else {
            try write(data, to: path)
        }
    }

    private func write(_ data: Data, to path: String) throws(CommandFailure) {
        do { try data.write(to: URL(filePath: path)) } catch {
            throw .failed("meshbench load: \(path): \(error)")
        }
    }
}

/// The latencies of which each has a histogram (docs/METHOD.md).
enum LatencyKind: String, CaseIterable {
    case response, service, lag

    var histogram: KeyPath<LoadResult.PhaseTally, Histogram> {
        switch self {
        case .response: \.response
        case .service: \.service
        case .lag: \.lag
        }
    }

    /// `path` itself for response; `run.hgrm` becomes `run.lag.hgrm` for the others.
    func path(beside path: String) -> String {
        if self == .response { return path }
        let name = path.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
        guard let dot = name.lastIndex(of: "."), dot > name.startIndex else {
            return "\(path).\(rawValue)"
        }
        return "\(path[..<dot]).\(rawValue)\(path[dot...])"
    }
}
