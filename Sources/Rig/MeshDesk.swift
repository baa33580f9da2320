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
        let call = ServiceCall("POST", "/v1/apply", body: Array(Self.body(declarations).utf8))
        return try read(try ask(call), of: call, as: Revision.self).revision
    }

    /// The body of an apply, with a declaration on each line.
    static func body(_ declarations: [MeshDeclaration]) -> String {
        "{\"declarations\":[\n" + declarations.map(\.json).joined(separator: ",\n") + "\n]}\n"
    }

    /// What lets one proxy of a service in.
    func token(for service: MeshName, singleUse: Bool) throws(DeskError) -> String {
        struct Answer: Decodable { var token: String }
        let body = Array(
            "{\"service\":\"\(service.text)\",\"single_use\":\(singleUse)}".utf8)
        let call = ServiceCall("POST", "/v1/tokens", body: body)
        return try read(try ask(call), of: call, as: Answer.self).token
    }

    /// Declares endpoints that no proxy does.
    func register(_ endpoints: [MeshEndpoint]) throws(DeskError) {
        guard !endpoints.isEmpty else { return }
        _ = try apply(endpoints.map(MeshDeclaration.endpoint))
    }

    /// Takes an endpoint out of the turns of all clients, or lets it have them again.
    /// - Parameter name: its own, and that of the proxy beside it.
    /// - Returns: the revision that says so.
    func declare(_ name: String, _ health: MeshEndpoint.Health) throws(DeskError) -> UInt64 {
        let path = "/v1/endpoints/\(MeshName.standardNamespace)/\(name)"
        let reply = try ask(ServiceCall("GET", path))
        guard case .endpoint(var endpoint)? = try? MeshCodec.json.declaration(reply.body),
            let tag = reply["etag"]
        else { throw .refused("GET \(path): what nobody understands") }
        endpoint.health = health
        // Only as it was read: its proxy may come back with another address in between.
        let body = Array(MeshDeclaration.endpoint(endpoint).json.utf8)
        let put = ServiceCall("PUT", path, body: body, ifMatch: tag)
        return try read(try ask(put), of: put, as: Revision.self).revision
    }

    /// Begins to change the authority for a new one.
    /// - Parameter before: the roots that were trusted before the first call. Where there is
    ///   another since, a call has done it whose answer was lost.
    func rotate(from before: Set<String>) throws(DeskError) {
        guard try roots().isSubset(of: before) else { return }
        _ = try ask(ServiceCall("POST", "/v1/authority/rotate"))
    }

    /// The roots that all trust, by what tells them apart.
    func roots() throws(DeskError) -> Set<String> {
        struct Answer: Decodable {
            struct Authority: Decodable { var roots: Set<String> }
            var authority: Authority
        }
        let call = ServiceCall("GET", "/v1/certificates?limit=1")
        return try read(try ask(call), of: call, as: Answer.self).authority.roots
    }

    /// How long all replicas together may take to say how far their proxies are.
    static let standingLimit = Duration.seconds(5)

    /// What the proxies have been told, and have taken up. Each is connected to some replica.
    /// - Parameter patience: for all together. One that does not answer leaves the others theirs.
    func standing(
        within patience: Duration = Self.standingLimit
    ) throws(DeskError) -> MeshStanding {
        let deadline = Clock.now() + patience
        var all: [MeshStanding] = []
        var failure: DeskError?
        for (place, client) in clients.enumerated() {
            let now = Clock.now()
            let share = (deadline - now) / Int64(clients.count - place)
            do throws(DeskError) {
                all.append(try standing(client, until: now + share))
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
        _ = try standing(
            try Self.client(address, token), until: Clock.now() + Self.standingLimit)
    }

    /// What one of them says.
    private func standing(
        _ client: ServiceClient, until deadline: Instant
    ) throws(DeskError) -> MeshStanding {
        let call = ServiceCall("GET", "/v1/proxies")
        let replies: [ServiceReply]
        do throws(ServiceClientError) {
            replies = try client.pages(call.target, until: deadline)
        } catch {
            throw .unreachable("\(error)")
        }
        let pages = try replies.map { reply throws(DeskError) in
            try read(try Self.succeeded(reply, call), of: call, as: MeshStanding.self)
        }
        var standing = pages[0]
        standing.proxies = pages.flatMap(\.proxies)
        return standing
    }

    // MARK: Asking

    private struct Revision: Decodable { var revision: UInt64 }

    private func read<Answer: Decodable>(
        _ reply: ServiceReply, of call: ServiceCall, as type: Answer.Type
    ) throws(DeskError) -> Answer {
        guard let answer = try? JSONDecoder().decode(type, from: Data(reply.body)) else {
            let text = String(decoding: reply.body.prefix(200), as: UTF8.self)
            throw .refused("\(call.method) \(call.target): what nobody understands: \(text)")
        }
        return answer
    }

    /// Asks one replica after the other, until one can answer.
    private func ask(_ call: ServiceCall) throws(DeskError) -> ServiceReply {
        var failure: DeskError?
        for client in clients {
            do throws(DeskError) {
                return try ask(client, call)
            } catch {
                guard case .unreachable = error else { throw error }
                failure = error
            }
        }
        throw failure ?? .unreachable("there is no control plane")
    }

    private func ask(
        _ client: ServiceClient, _ call: ServiceCall
    ) throws(DeskError) -> ServiceReply {
        let reply: ServiceReply
        do throws(ServiceClientError) { reply = try client.ask(call) } catch {
            throw .unreachable("\(error)")
        }
        return try Self.succeeded(reply, call)
    }

    private static func succeeded(
        _ reply: ServiceReply, _ call: ServiceCall
    ) throws(DeskError) -> ServiceReply {
        guard !(200...299).contains(reply.status) else { return reply }
        let text = String(decoding: reply.body.prefix(1000), as: UTF8.self)
        let message = "\(call.method) \(call.target): \(reply.status) \(text)"
        // Not now: its store cannot be written, a proxy or its endpoint has not come back, or
        // somebody was quicker.
        throw [404, 409, 412, 503].contains(reply.status)
            ? .unreachable(message) : .refused(message)
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
