// A scenario that runs beside others: on a thread of its own, as its processes die with the thread
// that has started them.

import Model
import Posix
import Report
import Runtime
import Synchronization

/// One that is run on a thread of its own, which lives as long as its processes.
final class ConformJob {
    let index: Int
    let relay: InterruptRelay
    private let outcome: ConformPromise
    private let thread: JoinableThread

    init(_ index: Int, _ order: RunOrder) throws(RigError) {
        self.index = index
        let relay = try InterruptRelay()
        self.relay = relay
        do throws(SystemError) {
            let outcome = try ConformPromise()
            self.outcome = outcome
            thread = JoinableThread(
                try Thread(name: "conform \(index + 1)") {
                    outcome.keep(
                        Result { () throws(RigError) in
                            try conformEntry(order, Progress(.silent), Interrupts(relay))
                        })
                })
        } catch {
            throw RigError(.start, "no thread for \(order.experiment.name): \(error)")
        }
    }

    /// Readable when it has ended.
    var ending: Int32 { outcome.descriptor }

    /// What came of it; nil while it runs.
    var end: Result<Conformance.Entry?, RigError>? { outcome.value }

    func join() { thread.join() }
}

/// What a thread leaves to the one that waits for it.
private final class ConformPromise: Sendable {
    private let held = Mutex<Result<Conformance.Entry?, RigError>?>(nil)
    private let wakeup: Wakeup

    init() throws(SystemError) { wakeup = try Wakeup() }

    var descriptor: Int32 { wakeup.descriptor }

    var value: Result<Conformance.Entry?, RigError>? { held.withLock { $0 } }

    func keep(_ value: Result<Conformance.Entry?, RigError>) {
        held.withLock { $0 = value }
        wakeup.wake()
    }
}
