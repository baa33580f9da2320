// A rate limit service on the network: gRPC over HTTP/2 for proxies, and pages for people.

import Base
import ControlCore
public import Model
public import Posix
import Wire

/// A running rate limit service.
public final class RateLimitServer: Sendable {
    private let service: Service

    /// Where it listens, with the port that was chosen.
    public var address: SocketAddress { service.address }

    /// Binds, and starts the thread. When it returns, connections are accepted.
    /// - Parameters:
    ///   - counters: see `RateLimitCore`.
    ///   - wallOffset: CLOCK_REALTIME less CLOCK_MONOTONIC, nanoseconds.
    /// - Throws: where the address cannot be bound.
    public init(
        _ rules: RateLimitRules, listen: SocketAddress, counters: Int, wallOffset: Int64
    ) throws(ServiceError) {
        var limits = ServiceLimits()
        // Each worker of each proxy has one.
        limits.connections = 4096
        limits.streams = 512
        // A prefix and a message. Whoever asks for more is answered 413.
        limits.bodyBytes = RateLimitCall.messageBytes + GRPCFraming.prefixBytes
        limits.arrival = .seconds(10)
        // Proxies keep their connections.
        limits.idle = .seconds(3600)
        service = try Service(
            ServiceConfiguration(listen: listen, limits: limits), name: "ratelimit",
            handler: RateLimitHandler(
                RateLimitCore(rules, counters: counters), wallOffset: wallOffset))
    }

    /// Answers what has come, and returns when the thread has ended.
    public func stop() { service.stop() }
}

/// What is answered.
private final class RateLimitHandler: ServiceHandler {
    private var core: RateLimitCore
    private let wallOffset: Int64
    /// Calls that were none.
    private var refused: UInt64 = 0

    init(_ core: RateLimitCore, wallOffset: Int64) {
        self.core = core
        self.wallOffset = wallOffset
    }

    func respond(to request: ServiceRequest) -> ServiceAnswer {
        guard !isCall(request) else { return answer(request) }
        switch request.target.path {
        case "/stats":
            return request.method == "GET"
                ? .whole(
                    status: 200,
                    fields: [ServiceField("content-type", "text/plain; version=0.0.4")],
                    body: Array(statistics.utf8)) : .notAllowed(["GET"])
        case "/ready": return .text(200, "ready")
        default: return .text(404, "there are /stats and /ready, and the service for proxies")
        }
    }

    private func isCall(_ request: ServiceRequest) -> Bool {
        guard request.speech == .http2, let type = request["content-type"] else { return false }
        return Array(type.utf8).withBytes { isGRPC(contentType: $0) }
    }

    private func answer(_ request: ServiceRequest) -> ServiceAnswer {
        guard request.target.path == "\(RateLimitCall.path)" else {
            return refuse(CallEnding(.unimplemented, "there is \(RateLimitCall.path)"))
        }
        do throws(CallEnding) {
            let question = try request.body.withBytes { Self.question(in: $0) }.get()
            let seconds = (request.now.nanoseconds + wallOffset) / 1_000_000_000
            return .call(CallEnding(core.answer(question, seconds: seconds).bytes))
        } catch {
            return refuse(error)
        }
    }

    private func refuse(_ call: CallEnding) -> ServiceAnswer {
        refused += 1
        return .call(call)
    }

    private static func question(in body: Bytes) -> Result<RateLimitRequest, CallEnding> {
        var framing = GRPCFraming(limit: RateLimitCall.messageBytes)
        do throws(GRPCFramingError) {
            let piece = try framing.next(body)
            guard piece.ends, piece.used == body.count else { throw .truncated }
            guard !framing.isCompressed else {
                return .failure(CallEnding(.unimplemented, "messages are not compressed here"))
            }
            do throws(RateLimitMessageError) {
                return .success(try RateLimitRequest(body[piece.payload]))
            } catch {
                return .failure(
                    CallEnding(.invalidArgument, "the message is no question: \(error)"))
            }
        } catch {
            return .failure(CallEnding(error.status, "the body is not one message"))
        }
    }

    private var statistics: String {
        let counts = core.counts
        let lines: [(String, UInt64)] = [
            ("questions_total", counts.questions), ("ok_total", counts.ok),
            ("over_limit_total", counts.overLimit), ("shadowed_total", counts.shadowed),
            ("unlimited_total", counts.unlimited), ("evictions_total", counts.evictions),
            ("shared_total", counts.shared), ("refused_total", refused),
            ("counters", UInt64(core.counterCount)),
        ]
        return lines.map { "meshbench_ratelimit_\($0) \($1)\n" }.joined()
    }
}
