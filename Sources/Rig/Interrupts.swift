import Glibc
import Posix
import Synchronization

/// The user's wish to stop. The first Ctrl-C asks for a quick and clean end with a report marked
/// partial, the second for an end at once.
///
/// One for each thread that runs something: only one reads the signals, and passes them on by
/// relays.
public final class Interrupts {
    private enum Source: ~Copyable {
        case signals(Signals)
        case relay(InterruptRelay)
    }

    private let source: Source
    private var count = 0

    /// Takes SIGINT, SIGTERM and SIGHUP for this process. Call it before any thread is started.
    public init() throws(RigError) {
        Signals.ignoreBrokenPipes()
        // Whoever started this process may have let it ignore the end of its children; they would
        // then be gone before it is seen how they ended.
        Signals.standard(SIGCHLD)
        do throws(SystemError) {
            source = .signals(try Signals([SIGINT, SIGTERM, SIGHUP]))
        } catch {
            throw RigError(.start, "signals cannot be taken: \(error)")
        }
    }

    /// What another thread passes on.
    init(_ relay: InterruptRelay) { source = .relay(relay) }

    /// Readable when a signal has come.
    var descriptor: Int32 {
        switch source {
        case .signals(let signals): signals.descriptor
        case .relay(let relay): relay.descriptor
        }
    }

    /// How often the user has said so.
    var wishes: Int {
        switch source {
        case .signals(let signals): while signals.next() != nil { count += 1 }
        case .relay(let relay): count = relay.take()
        }
        return count
    }

    /// Whether the run is to end.
    var isStopping: Bool { wishes > 0 }

    /// Whether it is to end without a report.
    var isAborting: Bool { wishes > 1 }

    /// - Throws: `.interrupted` where the run is to end: for the parts of a run that have nothing
    ///   to report.
    func check() throws(RigError) {
        if isStopping { throw RigError(.interrupted, "stopped by the user") }
    }
}

/// Passes the user's wish to stop from the thread that reads the signals to another.
final class InterruptRelay: Sendable {
    private let wakeup: Wakeup
    private let count = Atomic(0)

    init() throws(RigError) {
        do throws(SystemError) {
            wakeup = try Wakeup()
        } catch {
            throw RigError(.start, "threads cannot be told to stop: \(error)")
        }
    }

    /// Readable when something was passed on that has not been taken.
    var descriptor: Int32 { wakeup.descriptor }

    /// The user has said so `wishes` times by now.
    func pass(_ wishes: Int) {
        count.store(wishes, ordering: .releasing)
        wakeup.wake()
    }

    func take() -> Int {
        wakeup.clear()
        return count.load(ordering: .acquiring)
    }
}
