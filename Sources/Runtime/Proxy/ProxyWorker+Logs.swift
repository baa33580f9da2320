// What a worker writes down: the access log, and the ledger of faults.

import Base
import Model
import Posix
import ProxyCore

extension ProxyWorker {
    /// Whether lines wait for somebody to take them.
    var hasLines: Bool { !proxy.log.isEmpty || !proxy.ledger.isEmpty }

    func writeLogs() {
        if !proxy.log.isEmpty {
            proxy.log.drain { lines in
                guard let written = log?.write(lines) else { return lines.count }
                if written.lost > 0 { proxy.counters.noteLogLoss(written.lost) }
                return written.taken
            }
        }
        if !proxy.ledger.isEmpty {
            proxy.ledger.drain { lines in
                guard let written = ledger?.write(lines) else { return lines.count }
                if written.lost > 0 { proxy.counters.noteLedgerLoss(written.lost) }
                return written.taken
            }
        }
    }

    /// The last lines. Bound: whoever reads none for a second gets no more.
    func finishLogs() {
        while !proxy.log.isEmpty, log?.waitUntilWritable() == true { writeLogs() }
        while !proxy.ledger.isEmpty, ledger?.waitUntilWritable() == true { writeLogs() }
    }

    /// Opens the files anew, which may have been moved away.
    func reopenLogs(_ configuration: ProxyConfiguration) {
        do {
            log = try LogFile(configuration.accessLog)
            ledger = try LogFile(configuration.ledger)
        } catch {
            standardError("access log or ledger not reopened: \(error)")
        }
    }
}
