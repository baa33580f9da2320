import Base
import Glibc
import LoadCore
import Model

/// The run as it goes, second by second, on standard error. On a terminal one line that is written
/// over, and nothing elsewhere: the summary says it all.
struct LoadProgress {
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let total: Double

    init(_ job: LoadJob) { total = job.phases.reduce(0) { $0 + $1.duration.seconds } }

    func show(_ second: LoadEvent.Second) {
        guard isTerminal else { return }
        let p99 = second.p99Ns == 0 ? "-" : latencyText(Double(second.p99Ns))
        put(
            "\r\u{1B}[K\(second.phase) \(Int(second.offset) + 1)/\(figureText(total)) s  "
                + "offered \(second.planned)  answered \(second.completed)  "
                + "errors \(second.errors)  p99 \(p99)")
    }

    /// Takes the line away.
    func clear() { if isTerminal { put("\r\u{1B}[K") } }

    private func put(_ text: String) {
        let bytes = Array(text.utf8)
        _ = unsafe bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
