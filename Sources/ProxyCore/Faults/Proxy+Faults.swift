// Faults that are injected before a request meets retries.

import Base
import Model
import Wire

extension Proxy {
    /// Whether the request in hand goes on; else it has been answered, or waits.
    func passesFaults(_ slot: Int, _ bytes: Bytes, now: Instant) -> Bool {
        guard !configuration.faults.isEmpty, meets(.faults, slot) else { return true }
        return true
    }
}
