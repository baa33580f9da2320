import Base
import ProxyCore

/// What the admin listener answers: a service on the proxy's main thread, apart from the workers.
final class ProxyAdmin: ServiceHandler {
    private unowned let server: ProxyServer

    init(_ server: ProxyServer) { self.server = server }

    /// A few people and programs that look at it now and then. Their descriptors are set aside
    /// (`ProxyServer.clients`).
    static var limits: ServiceLimits {
        var limits = ServiceLimits()
        limits.connections = 8
        limits.streams = 8
        limits.headBytes = 8 * 1024
        limits.bodyBytes = FaultDesk.bodyBytes
        limits.bodiesBytes = 4 * FaultDesk.bodyBytes
        limits.arrival = .seconds(1)
        return limits
    }

    func respond(to request: ServiceRequest) -> ServiceAnswer {
        if let answer = server.answerOfFaults(request) { return answer }
        guard request.method == "GET" else { return .notAllowed(["GET"]) }
        switch request.target.path {
        case "/stats", "/metrics":
            let filter = request.target.query.first { $0.name == "filter" }?.value ?? ""
            return .whole(
                status: 200,
                fields: [ServiceField("content-type", "text/plain; version=0.0.4")],
                body: Array(statistics(filter).utf8))
        case "/ready":
            return server.draining ? .text(503, "draining") : .text(200, "ready")
        case "/config": return .json(200, Array(JSONText.of(server.configuration).utf8))
        case "/events":
            return .json(200, Array(JSONText.of(ProxyHostEvents(server.hostBoards)).utf8))
        default:
            return .text(404, "there are /stats, /ready, /config, /events and /faults")
        }
    }

    /// - Parameter filter: only lines with this text are told; empty: all are.
    private func statistics(_ filter: String) -> String {
        let boards = server.hostBoards
        let text =
            ProxyStatistics(server.counters).prometheus + ProxyStatistics.hosts(boards)
            + TrafficStatistics(server.counts, boards, filter: filter).prometheus
            + server.companionStatistics
        return filter.isEmpty ? text : TrafficStatistics.lines(of: text, with: filter)
    }
}
