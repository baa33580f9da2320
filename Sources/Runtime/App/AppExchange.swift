import Base

/// One request to the workload and its answer, whatever it came over. A plain value in a slab.
///
/// The exchanges below `AppWorker.connectionLimit` are those of the connections with the same
/// numbers, which over HTTP/1.1 have one at a time; those behind are streams of HTTP/2.
///
///     admitted ─► calling ─► delayed ─► burning ─► answered
struct AppExchange: BitwiseCopyable {
    var plan = AppPlan.none
    var isHead = false
    /// Counted as one of the requests at work.
    var isCounted = false
    /// Counted as ended because a call offers its last byte; taken back if the kernel takes less.
    var isEndOffered = false
    /// When nobody waits for the answer any longer, where the service keeps deadlines.
    var expires = Instant.distantFuture
    /// That has passed, and the work has ended there.
    var isLate = false
    /// Whether the request is kept for an echo, in the worker's `echoes`.
    var keepsBody = false
    /// Whether the answer, or what it repeats, stands in the worker's `pages`.
    var hasPage = false
    /// The place in the list of calls; and the slot of the one under way, -1: none.
    var nextCall = 0
    var call: Int32 = -1
}

extension AppPlan {
    static let none = AppPlan(
        page: .body, status: 200, size: 0, delay: .zero, burn: .zero, chunked: false, close: false,
        attempt: 0, left: .zero)
}
