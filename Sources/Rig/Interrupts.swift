import Glibc
import Posix

/// The user's wish to stop. The first Ctrl-C asks for a quick and clean end with a report marked
/// partial, the second for an end at once.
public final class Interrupts {
    private let signals: Signals
    private var count = 0

    /// Takes SIGINT, SIGTERM and SIGHUP for this process. Call it before any thread is started.
    public init() throws(RigError) {
        Signals.ignoreBrokenPipes()
        // Whoever started this process may have let it ignore the end of its children; they would
        // then be gone before it is seen how they ended.
        Signals.standard(SIGCHLD)
        do throws(SystemError) {
            signals = try Signals([SIGINT, SIGTERM, SIGHUP])
        } catch {
            throw RigError(.start, "signals cannot be taken: \(error)")
        }
    }

    /// Readable when a signal has come.
    var descriptor: Int32 { signals.descriptor }

    /// Whether the run is to end.
    var isStopping: Bool {
        take()
        return count > 0
    }

    /// Whether it is to end without a report.
    var isAborting: Bool {
        take()
        return count > 1
    }

    /// - Throws: `.interrupted` where the run is to end: for the parts of a run that have nothing
    ///   to report.
    func check() throws(RigError) {
        if isStopping { throw RigError(.interrupted, "stopped by the user") }
    }

    private func take() {
        while signals.next() != nil { count += 1 }
    }
}
