import Base
import Fault

/// What the workload remembers of a request beside what it is to answer: when it came, as which
/// attempt, what faults have in store for it. A plain value in a slab, by exchange.
struct AppTrace: BitwiseCopyable {
    /// When its head had come; `zero`: there is no request.
    var arrived = Instant.zero
    /// When its turn came.
    var began = Instant.zero
    /// Requests at work when it came, itself included.
    var inFlight: Int32 = 0
    /// The value of `x-envoy-attempt-count`; 0: there was none.
    var attempt: Int32 = 0
    /// Bytes of its `x-request-id` that are kept.
    var idCount: UInt8 = 0
    /// Its client had gone before it was answered.
    var isAbandoned = false
    /// It has its turn.
    var hasTurn = false
    /// The number of its ticket; 0: it neither waits nor has its turn.
    var ticket: UInt32 = 0
    /// The serials of the faults that are to abort it, or have it hang; 0: none.
    var aborter: UInt32 = 0
    var hanger: UInt32 = 0
    var abort = FaultEffect.Abort.none

    /// Bytes of an identifier that are kept.
    static let idBytes = 64
}

/// One line of the log of requests.
struct AppRequestLine {
    /// Names and numbers, and an identifier with every byte escaped.
    static let most = 1024

    var trace: AppTrace
    var id: Bytes
    /// 0: it was not answered.
    var status: Int
    var now: Instant
    /// The time of day now, nanoseconds.
    var wall: Int64

    func write(to out: inout ByteWriter) {
        func number(_ value: Int64) { out.append(decimal: UInt64(max(0, value))) }
        out.append("{\"time_ns\":")
        number(wall - (now - trace.arrived).nanoseconds)
        out.append(",\"request\":\"")
        out.append(escaped: id)
        out.append("\",\"attempt\":")
        number(Int64(trace.attempt))
        out.append(",\"in_flight\":")
        number(Int64(trace.inFlight))
        out.append(",\"queued_ns\":")
        number(((trace.began == .zero ? now : trace.began) - trace.arrived).nanoseconds)
        out.append(",\"duration_ns\":")
        number((now - trace.arrived).nanoseconds)
        out.append(",\"status\":")
        number(Int64(status))
        out.append("}\n")
    }
}
