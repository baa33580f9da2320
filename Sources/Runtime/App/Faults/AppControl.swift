import Base
import Fault
import Model
import Posix

/// What the workload's control listener answers: faults, and the counters, on a thread of its own,
/// so that a process that hangs or is overloaded can still be told to stop that.
final class AppControl: ServiceHandler {
    private var desk: FaultDesk
    private let commons: AppCommons
    private let name: String
    private let hasLedger: Bool

    init(_ configuration: AppConfiguration, _ commons: AppCommons) {
        desk = FaultDesk(isProxy: false, now: Clock.now())
        self.commons = commons
        name = configuration.name
        hasLedger = configuration.ledger != nil
    }

    static var limits: ServiceLimits {
        var limits = ServiceLimits()
        limits.connections = 8
        limits.streams = 8
        limits.headBytes = 8 * 1024
        limits.bodyBytes = FaultDesk.bodyBytes
        limits.bodiesBytes = 4 * FaultDesk.bodyBytes
        limits.arrival = .seconds(1)
        limits.drain = .zero
        return limits
    }

    func respond(to request: ServiceRequest) -> ServiceAnswer {
        var isChanged = false
        let ledger = FaultReport.Ledger(
            written: commons.ledger.written, lost: commons.ledger.lost)
        let answer = desk.answer(request, ledger: hasLedger ? ledger : nil, isChanged: &isChanged)
        if isChanged { show() }
        if let answer { return answer }
        guard request.method == "GET" else { return .notAllowed(["GET"]) }
        switch request.target.path {
        case "/app/stats":
            return .json(
                200, Array(commons.counters.json(name: name, capacity: commons.gate.json).utf8))
        case "/healthz": return .text(200, "ok")
        default: return .text(404, "there are /faults, /app/stats and /healthz")
        }
    }

    func turnEnds(_ now: Instant) -> Instant? {
        if desk.expire(now) { show() }
        return desk.leases.nextEnd
    }

    private func show() {
        let held = desk.leases.held
        commons.board.show(held)
        // Of several the last one holds.
        let capacity = held.last { $0.rule.capacity != nil }?.rule.capacity
        for ticket in commons.gate.change(capacity) { commons.post(ticket) }
        commons.wake()
    }
}
