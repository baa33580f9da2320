import Base
import Fault
import FoundationEssentials
import Model
import Posix

/// Where leases on faults are taken: what `/faults` answers, in proxies and in the workload.
/// docs/FAULTS.md describes it.
struct FaultDesk {
    private(set) var leases: LeaseTable
    private let isProxy: Bool

    /// Bytes that an order has at most.
    static let bodyBytes = 32 * 1024

    /// - Parameter standing: what the process was started with.
    init(isProxy: Bool, standing: [FaultRule] = [], now: Instant) {
        self.isProxy = isProxy
        leases = LeaseTable(isProxy: isProxy, standing: standing, now: now)
    }

    /// Answers a request, if it is about faults.
    /// - Parameters:
    ///   - ledger: what of it has been written; nil: there is none.
    ///   - isChanged: is set where what is held has changed.
    /// - Returns: nil: it is about something else.
    mutating func answer(
        _ request: ServiceRequest, ledger: FaultReport.Ledger?, isChanged: inout Bool
    ) -> ServiceAnswer? {
        let segments = request.target.segments
        guard segments.first == "faults", segments.count <= 2 else { return nil }
        // Whoever can reach an address that others can reach too must not break what is served.
        guard request.peer.address.isLoopback else {
            return .text(403, "faults are taken from this machine only")
        }
        guard segments.count == 2 else {
            guard request.method == "GET" else { return .notAllowed(["GET"]) }
            return .json(200, Array(JSONText.of(report(request.now, ledger)).utf8))
        }
        // What has ended is cleared away by whoever comes next; that it has must not be lost.
        if leases.expire(request.now) { isChanged = true }
        let name = segments[1]
        switch request.method {
        case "PUT":
            let order: FaultOrder
            do {
                order = try JSONDecoder().decode(FaultOrder.self, from: Data(request.body))
            } catch {
                return .text(400, Self.text(of: error))
            }
            do throws(LeaseRefusal) {
                if try leases.hold(name, order, now: request.now) { isChanged = true }
                return .whole(status: 204, fields: [], body: [])
            } catch {
                return Self.answer(to: error)
            }
        case "DELETE":
            guard leases.drop(name, now: request.now) else {
                return .text(404, "there is no such lease")
            }
            isChanged = true
            return .whole(status: 204, fields: [], body: [])
        default: return .notAllowed(["PUT", "DELETE"])
        }
    }

    /// Clears away what has ended.
    /// - Returns: whether anything had.
    mutating func expire(_ now: Instant) -> Bool { leases.expire(now) }

    /// Has others stand in place of those that the process was started with.
    mutating func replace(standing rules: [FaultRule], now: Instant) {
        leases.replace(standing: rules, now: now)
    }

    private func report(_ now: Instant, _ ledger: FaultReport.Ledger?) -> FaultReport {
        let offset = Clock.wallNanoseconds() - now.nanoseconds
        let held = leases.held.filter { $0.holds(at: now) }
        return FaultReport(faults: held.map { $0.report(wallOffset: offset) }, ledger: ledger)
    }

    private static func answer(to refusal: LeaseRefusal) -> ServiceAnswer {
        switch refusal {
        case .problem(let text): .text(400, text)
        case .tooMany: .text(409, "\(LeaseTable.most) faults are held already")
        case .standing: .text(409, "the process was started with a fault of this name")
        }
    }

    /// What the decoder complains of.
    private static func text(of error: any Error) -> String {
        let context: DecodingError.Context
        switch error {
        case DecodingError.keyNotFound(let key, let found):
            return "'\(place(found.codingPath + [key]))' is missing"
        case DecodingError.typeMismatch(_, let found), DecodingError.valueNotFound(_, let found),
            DecodingError.dataCorrupted(let found):
            context = found
        default: return "this is no order"
        }
        let place = place(context.codingPath)
        return place.isEmpty ? context.debugDescription : "\(place): \(context.debugDescription)"
    }

    private static func place(_ path: [any CodingKey]) -> String {
        path.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
    }
}
