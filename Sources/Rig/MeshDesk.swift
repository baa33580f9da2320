// What the rig asks of an arm's control plane, through the API that is there for everybody
// (docs/CONTROL.md). A call waits for its answer: at the start of an arm the rig has nothing else
// to do, and while it measures, a thread of its own calls (`Conductor`).

import Base
import FoundationEssentials
import Model
import Posix
import Runtime
import Scenario

/// A control plane, as whoever may change it.
struct MeshDesk: Sendable {
    private let client: ServiceClient
    /// Proxies that are to join.
    let proxies: Int

    /// - Parameter address: of its API, `host:port`.
    init(_ address: String, token: String, proxies: Int) throws(DeskError) {
        var limits = ServiceClientLimits()
        limits.connect = .seconds(2)
        limits.answer = .seconds(5)
        do throws(ServiceClientError) {
            client = try ServiceClient(address, token: token, limits: limits)
        } catch {
            throw .unreachable("\(error)")
        }
        self.proxies = proxies
    }

    /// Declares all of it or nothing.
    /// - Returns: the revision that says so.
    func apply(_ declarations: [MeshDeclaration]) throws(DeskError) -> UInt64 {
        try ask("POST", "/v1/apply", Self.body(declarations), as: Revision.self).revision
    }

    /// The body of an apply, with a declaration on each line.
    static func body(_ declarations: [MeshDeclaration]) -> String {
        "{\"declarations\":[\n" + declarations.map(\.json).joined(separator: ",\n") + "\n]}\n"
    }

    /// What lets one proxy of a service in.
    func token(for service: MeshName) throws(DeskError) -> String {
        struct Answer: Decodable { var token: String }
        return try ask(
            "POST", "/v1/tokens", "{\"service\":\"\(service.text)\"}", as: Answer.self
        ).token
    }

    /// Takes a proxy's endpoint out of the turns of all clients.
    /// - Returns: the revision that says so.
    func drain(_ proxy: String) throws(DeskError) -> UInt64 {
        try ask("POST", "/v1/proxies/\(proxy)/drain", nil, as: Revision.self).revision
    }

    /// Begins to change the authority for a new one.
    func rotate() throws(DeskError) { _ = try ask("POST", "/v1/authority/rotate", nil) }

    /// What the proxies have been told, and have taken up.
    func standing() throws(DeskError) -> MeshStanding {
        try ask("GET", "/v1/proxies", nil, as: MeshStanding.self)
    }

    private struct Revision: Decodable { var revision: UInt64 }

    private func ask<Answer: Decodable>(
        _ method: String, _ target: String, _ body: String?, as type: Answer.Type
    ) throws(DeskError) -> Answer {
        let bytes = try ask(method, target, body)
        guard let answer = try? JSONDecoder().decode(type, from: Data(bytes)) else {
            let text = String(decoding: bytes.prefix(200), as: UTF8.self)
            throw .refused("\(method) \(target): what nobody understands: \(text)")
        }
        return answer
    }

    private func ask(
        _ method: String, _ target: String, _ body: String?
    ) throws(DeskError) -> [UInt8] {
        let reply: ServiceReply
        do throws(ServiceClientError) {
            reply = try client.ask(ServiceCall(method, target, body: body.map { Array($0.utf8) }))
        } catch {
            throw .unreachable("\(error)")
        }
        guard (200...299).contains(reply.status) else {
            let text = String(decoding: reply.body.prefix(1000), as: UTF8.self)
            let message = "\(method) \(target): \(reply.status) \(text)"
            // Not now: its store cannot be written, or a proxy or its endpoint has not come back.
            throw [404, 409, 503].contains(reply.status) ? .unreachable(message) : .refused(message)
        }
        return reply.body
    }
}

/// A call that came to nothing.
enum DeskError: Error, Equatable, CustomStringConvertible {
    /// It may be better later.
    case unreachable(String)
    /// It will not.
    case refused(String)

    var description: String {
        switch self {
        case .unreachable(let message), .refused(let message): message
        }
    }
}

/// What the proxies of a mesh have been told, and have taken up: the answer to `GET /v1/proxies`.
struct MeshStanding: Decodable, Equatable {
    struct Proxy: Decodable, Equatable {
        struct Refusal: Decodable, Equatable {
            var version: UInt64
            var error: String
        }

        var proxy: String
        /// The last version that it was told of, and that it has in force.
        var sent: UInt64
        var acknowledged: UInt64
        /// When it said so, on CLOCK_MONOTONIC; nil: not yet.
        var acknowledgedNs: Int64?
        var refused: Refusal?

        enum CodingKeys: String, CodingKey {
            case proxy, sent, acknowledged, refused
            case acknowledgedNs = "acknowledged_ns"
        }
    }

    /// Up to which it is settled who is to be told what.
    var revision: UInt64
    var proxies: [Proxy]

    /// When a revision came into force everywhere; nil: it has not yet.
    /// - Parameters:
    ///   - count: the proxies that there must be: after a start, some have not come back.
    ///   - answered: when the control plane said that it holds the revision. What no proxy needs to
    ///     know is in force by then.
    func inForce(_ wanted: UInt64, proxies count: Int, answered: Instant) -> Instant? {
        guard revision >= wanted, proxies.count >= count,
            proxies.allSatisfy({ $0.acknowledged >= $0.sent })
        else { return nil }
        let last = proxies.filter { $0.acknowledged >= wanted }.compactMap(\.acknowledgedNs).max()
        return last.map(Instant.init(nanoseconds:)) ?? answered
    }

    /// What a proxy has against a version, for people; nil: nothing.
    var complaint: String? {
        for proxy in proxies {
            guard let refused = proxy.refused else { continue }
            return "\(proxy.proxy) refuses version \(refused.version): \(refused.error)"
        }
        return nil
    }
}
