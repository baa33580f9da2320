// Rate limits as requests meet them.

import Base
import Wire

extension Proxy {
    /// Whether the request in hand goes on; else it has been answered.
    func passesListenerLimits(_ slot: Int, _ bytes: Bytes, now: Instant) -> Bool { true }
}
