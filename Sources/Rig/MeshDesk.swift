// What the rig asks of an arm's control plane, through the API that is there for everybody
// (docs/CONTROL.md). A call waits for its answer: at the start of an arm the rig has nothing else
// to do, and while it measures, a thread of its own calls (`Conductor`).

import Base
import FoundationEssentials
import Model
import Posix
import Runtime
import Scenario

/// A control plane, as whoever may change it. Of its replicas the first that can answers.
struct MeshDesk: Sendable {
    private var clients: [ServiceClient]
    private let token: String
    /// Proxies that are to join, and how many of these are Envoys.
    let proxies: Int
    let envoys: Int
    /// Endpoints that no proxy declares, by name.
    private var endpoints: [String: MeshEndpoint] = [:]

    /// - Parameter address: of its API, `host:port`.
    init(
        _ address: String, token: String, proxies: Int, envoys: Int = 0
    ) throws(DeskError) {
        clients = [try Self.client(address, token)]
        self.token = token
        self.proxies = proxies
        self.envoys = envoys
    }

    /// With another replica, which has the same token.
    func with(_ address: String) throws(DeskError) -> MeshDesk {
        var desk = self
        desk.clients.append(try Self.client(address, token))
        return desk
    }

    private static func client(
        _ address: String, _ token: String
    ) throws(DeskError) -> ServiceClient {
        var limits = ServiceClientLimits()
        limits.connect = .seconds(2)
        limits.answer = .seconds(5)
        do throws(ServiceClientError) {
            return try ServiceClient(address, token: token, limits: limits)
        } catch {
            throw .unreachable("\(error)")
        }
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

    /// Declares endpoints that no proxy does.
    mutating func register(_ new: [MeshEndpoint]) throws(DeskError) {
        guard !new.isEmpty else { return }
        _ = try apply(new.map(MeshDeclaration.endpoint))
        for endpoint in new { endpoints[endpoint.name] = endpoint }
    }

    /// Takes an endpoint out of the turns of all clients.
    /// - Parameter name: its own, and that of the proxy which has declared it.
    /// - Returns: the revision that says so.
    func drain(_ name: String) throws(DeskError) -> UInt64 {
        if var endpoint = endpoints[name] {
            endpoint.health = .draining
            return try apply([.endpoint(endpoint)])
        }
        return try ask(
            "POST", "/v1/proxies/\(name)/drain", nil, as: Revision.self
        ).revision
    }

    /// Lets a drained proxy's endpoint have its turns again.
    /// - Returns: the revision that says so.
    func undrain(_ proxy: String) throws(DeskError) -> UInt64 {
        let path = "/v1/endpoints/\(MeshName.standardNamespace)/\(proxy)"
        let bytes = try ask("GET", path, nil)
        guard case .endpoint(var endpoint)? = try? MeshCodec.json.declaration(bytes) else {
            throw .refused("GET \(path): what nobody understands")
        }
        endpoint.health = .healthy
        return try apply([.endpoint(endpoint)])
    }

    /// Begins to change the authority for a new one.
    func rotate() throws(DeskError) { _ = try ask("POST", "/v1/authority/rotate", nil) }

    /// What the proxies have been told, and have taken up. Each is connected to some replica.
    func standing() throws(DeskError) -> MeshStanding {
        var all: [MeshStanding] = []
        var failure: DeskError?
        for client in clients {
            do throws(DeskError) {
                all.append(try standing(client))
            } catch {
                guard case .unreachable = error else { throw error }
                failure = error
            }
        }
        guard let whole = MeshStanding(all) else {
            throw failure ?? .unreachable("there is no control plane")
        }
        return whole
    }

    /// Asks one replica whether it serves.
    func look(at address: String) throws(DeskError) {
        _ = try standing(try Self.client(address, token))
    }

    /// What one of them says, page by page.
    private func standing(_ client: ServiceClient) throws(DeskError) -> MeshStanding {
        func page(_ query: String) throws(DeskError) -> MeshStanding {
            let bytes = try ask(client, "GET", "/v1/proxies\(query)", nil)
            return try read(bytes, "GET /v1/proxies", as: MeshStanding.self)
        }
        var standing = try page("")
        // Bound: names only grow, so that each page has others.
        while let after = standing.next {
            let more = try page("?after=\(after)")
            guard more.next.map({ $0 > after }) ?? true else {
                throw .refused("GET /v1/proxies: pages without end")
            }
            standing.proxies += more.proxies
            standing.next = more.next
        }
        return standing
    }

    private struct Revision: Decodable { var revision: UInt64 }

    private func ask<Answer: Decodable>(
        _ method: String, _ target: String, _ body: String?, as type: Answer.Type
    ) throws(DeskError) -> Answer {
        try read(try ask(method, target, body), "\(method) \(target)", as: type)
    }

    private func read<Answer: Decodable>(
        _ bytes: [UInt8], _ call: String, as type: Answer.Type
    ) throws(DeskError) -> Answer {
        guard let answer = try? JSONDecoder().decode(type, from: Data(bytes)) else {
            let text = String(decoding: bytes.prefix(200), as: UTF8.self)
            throw .refused("\(call): what nobody understands: \(text)")
        }
        return answer
    }

    /// Asks one replica after the other, until one can answer.
    private func ask(
        _ method: String, _ target: String, _ body: String?
    ) throws(DeskError) -> [UInt8] {
        var failure: DeskError?
        for client in clients {
            do throws(DeskError) {
                return try ask(client, method, target, body)
            } catch {
                guard case .unreachable = error else { throw error }
                failure = error
            }
        }
        throw failure ?? .unreachable("there is no control plane")
    }

    private func ask(
        _ client: ServiceClient, _ method: String, _ target: String, _ body: String?
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
        /// `envoy`: it is what an Envoy has in force, and not what the agent has that joined for
        /// it. Nil: of all others.
        var dataplane: String?

        enum CodingKeys: String, CodingKey {
            case proxy, sent, acknowledged, refused, dataplane
            case acknowledgedNs = "acknowledged_ns"
        }
    }

    /// Up to which it is settled who is to be told what.
    var revision: UInt64
    /// The last one that any replica knows of.
    private(set) var newest: UInt64
    var proxies: [Proxy]
    /// After whom there are more; nil: there are none.
    var next: String?

    enum CodingKeys: String, CodingKey { case revision, proxies, next }

    init(revision: UInt64, proxies: [Proxy], newest: UInt64? = nil) {
        self.revision = revision
        self.proxies = proxies
        self.newest = newest ?? revision
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        revision = try container.decode(UInt64.self, forKey: .revision)
        proxies = try container.decode([Proxy].self, forKey: .proxies)
        next = try container.decodeIfPresent(String.self, forKey: .next)
        newest = revision
    }

    /// What several replicas say together; nil: none says anything. One that has no proxy tells
    /// nobody, so it does not matter how far it is.
    init?(_ replicas: [MeshStanding]) {
        let telling = replicas.filter { !$0.proxies.isEmpty }
        let all = telling.isEmpty ? replicas : telling
        guard let least = all.map(\.revision).min() else { return nil }
        self.init(
            revision: least, proxies: all.flatMap(\.proxies),
            newest: replicas.map(\.newest).max())
    }

    /// When a revision came into force everywhere; nil: it has not yet.
    /// - Parameters:
    ///   - count: the proxies that there must be: after a start, some have not come back.
    ///   - envoys: how many of these must be Envoys that have asked.
    ///   - answered: when the control plane said that it holds the revision. What no proxy needs to
    ///     know is in force by then.
    func inForce(
        _ wanted: UInt64, proxies count: Int, envoys: Int = 0, answered: Instant
    ) -> Instant? {
        // Who has moved to another replica may still stand in the list of the one before.
        guard revision >= wanted, Set(proxies.map(\.proxy)).count >= count,
            Set(proxies.filter { $0.dataplane == "envoy" }.map(\.proxy)).count >= envoys,
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
