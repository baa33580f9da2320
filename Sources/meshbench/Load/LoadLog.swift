// The HdrHistogram log of a run, written as its seconds close: memory does not grow with the run,
// and what was measured is there even if the run is killed.

import Base
import FoundationEssentials
import Glibc
import LoadCore
import Report
import Stats

/// A HdrHistogram log that is being written.
final class LoadLog {
    private let path: String
    private let descriptor: Int32
    /// What went wrong first; later lines are not written.
    private var failure: String?

    init(path: String) throws(CommandFailure) {
        self.path = path
        descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        if descriptor < 0 {
            throw .failed("meshbench load: \(path): \(unsafe String(cString: strerror(errno)))")
        }
    }

    deinit { close(descriptor) }

    /// - Parameter wall: the start of the run, nanoseconds since 1970.
    func begin(at wall: Int64) {
        let seconds = Double(wall) / 1e9
        let date = Date(timeIntervalSince1970: seconds).formatted(.iso8601)
        put(HistogramLog.head(startTime: seconds, date: date))
    }

    /// Response latency of one second, tagged with the phase.
    func add(_ second: LoadResult.SecondTally) {
        add(.init(tag: second.phase, start: second.offset, length: 1, histogram: second.response))
    }

    /// Service latency and lag of each phase as a whole, tagged `phase.service` and `phase.lag`.
    /// - Throws: where any of the log could not be written.
    func finish(_ result: LoadResult) throws(CommandFailure) {
        let start = result.phases.first?.start ?? .zero
        for phase in result.phases {
            for kind in [LatencyKind.service, .lag] where phase[keyPath: kind.histogram].count > 0 {
                add(
                    .init(
                        tag: "\(phase.name).\(kind.rawValue)",
                        start: (phase.start - start).seconds,
                        length: (phase.end - phase.start).seconds,
                        histogram: phase[keyPath: kind.histogram]))
            }
        }
        if let failure { throw .failed("meshbench load: \(path): \(failure)") }
    }

    private func add(_ interval: HistogramLog.Interval) {
        do throws(HistogramLogError) { put(try HistogramLog.line(interval)) } catch {
            failure = failure ?? "\(error)"
        }
    }

    private func put(_ text: String) {
        guard failure == nil else { return }
        if !writeAll(text, to: descriptor) {
            failure = unsafe String(cString: strerror(errno))
        }
    }
}
