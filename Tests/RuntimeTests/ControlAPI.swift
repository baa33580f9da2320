import Base
import ControlCore
import FoundationEssentials
import Model
import Posix
import Scenario
import Secure
import Support
import Testing

@testable import Runtime

/// An API over a store in memory, without sockets.
final class ControlAPI {
    struct Answer {
        var status: Int
        var fields: [ServiceField]
        var text: String
        var watch: ServiceWatch?

        /// Itself.
        /// - Throws: where it is of another status.
        func expect(_ status: Int) throws -> Answer {
            guard self.status == status else {
                throw WireFailure.unexpected("\(self.status): \(text)")
            }
            return self
        }

        subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }

        /// What the text says.
        func read<Value: Decodable>(_ type: Value.Type) throws -> Value {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            return try decoder.decode(type, from: Data(text.utf8))
        }
    }

    let folder = MemoryFolder(random: SeededRandom(seed: 1))
    let store: Store<MemoryFolder>
    /// `store`, as everybody else sees it.
    let bent: BentStore
    let center: ControlCenter
    let identity: ControlIdentity
    let handler: ControlHandler
    let pushes: ControlPushes
    let proxies = FakeProxies()
    /// Proxies are really told what they need, and not noted in `proxies`.
    var hasPushes = false
    let envoys: ControlEnvoys
    /// Made when first asked, as it makes an authority.
    private var proxyHandler: ControlProxyHandler?
    var token: String? = "secret"
    /// Whom the certificate of whoever asks names.
    var certificate: PeerIdentity?
    let clock = FakeClock()

    init(
        _ limits: StoreLimits = StoreLimits(), trustsCertificates: Bool = false,
        life: Duration? = nil
    ) throws {
        store = try Store(in: folder, limits: limits, now: .zero)
        bent = BentStore(store)
        center = ControlCenter(bent, codec: .json, version: "1.2.3")
        identity = ControlIdentity(
            center, IdentityConfiguration(life: life), clock: { [clock] in clock.nanoseconds })
        envoys = ControlEnvoys(center) { [clock] in clock.now }
        pushes = ControlPushes(center)
        handler = ControlHandler(
            center, identity: identity, pushes: pushes, envoys: envoys,
            token: ControlToken("secret"), trustsCertificates: trustsCertificates,
            dismiss: { [proxies, envoys] in
                proxies.dismissed.append($0)
                envoys.dismiss(lineage: $0)
            })
    }

    /// What somebody writes to the store past the control plane.
    /// - Parameter path: of the API.
    func putBehind(_ path: String, _ value: String) throws {
        let key = StoreKey(String(path.dropFirst("/v1/".count)))
        try center.commit(StoreTransaction(changes: [.put(key, value: Array(value.utf8))]))
    }

    func ask(
        _ method: String, _ target: String, _ body: String = "", _ fields: [String: String] = [:],
        isSecure: Bool = false
    ) throws -> Answer {
        var all = fields.map { ServiceField($0.key, $0.value) }
        if let token { all.append(ServiceField("authorization", "Bearer \(token)")) }
        return answer(
            handler.respond(to: try request(method, target, body, all, isSecure: isSecure)))
    }

    /// The proxies' listener.
    func proxyListener() throws -> ControlProxyHandler {
        if let proxyHandler { return proxyHandler }
        let made = try ControlProxyHandler(
            center, identity, proxies: hasPushes ? pushes : proxies, envoys: envoys,
            address: .loopback(port: 7071), now: clock.now)
        proxyHandler = made
        return made
    }

    /// One that is started on the same store, as after a restart.
    static func listener(_ api: ControlAPI) throws -> ControlProxyHandler {
        try ControlProxyHandler(
            api.center, api.identity, proxies: api.proxies, envoys: api.envoys,
            address: .loopback(port: 7071), now: api.clock.now)
    }

    /// Asks the proxies' listener.
    func askProxies(_ method: String, _ target: String, _ body: String = "") throws -> Answer {
        let request = try request(method, target, body, [], isSecure: true)
        return answer(try proxyListener().respond(to: request))
    }

    private func request(
        _ method: String, _ target: String, _ body: String, _ fields: [ServiceField],
        isSecure: Bool
    ) throws -> ServiceRequest {
        ServiceRequest(
            method: method, target: try #require(ServiceTarget(target)), fields: fields,
            body: Array(body.utf8),
            peer: ServicePeer(
                address: .loopback(port: 1), isSecure: isSecure, certificate: certificate),
            speech: .http1, now: clock.now)
    }

    private func answer(_ answer: ServiceAnswer) -> Answer {
        switch answer {
        case .whole(let status, let fields, let body):
            Answer(status: status, fields: fields, text: String(decoding: body, as: UTF8.self))
        case .watch(let watch):
            Answer(status: watch.status, fields: [], text: "", watch: watch)
        case .call: preconditionFailure("a control plane ends no calls")
        }
    }
}

extension ControlAPI {
    typealias Way = @Sendable (ControlAPI) throws -> Answer

    /// One with the service `echo`.
    static func withEcho(_ limits: StoreLimits = StoreLimits()) throws -> ControlAPI {
        let api = try ControlAPI(limits)
        let echo = "{\"kind\":\"service\",\"name\":\"echo\"}"
        _ = try api.ask("PUT", "/v1/services/default/echo", echo).expect(201)
        return api
    }
}

/// A clock that stands until it is told.
final class FakeClock {
    /// CLOCK_REALTIME.
    var nanoseconds: Int64 = 1_800_000_000_000_000_000
    var now = Instant.zero

    var seconds: Int64 { nanoseconds / 1_000_000_000 }

    func pass(_ seconds: Int64) {
        nanoseconds += seconds * 1_000_000_000
        now = now + .seconds(seconds)
    }
}

/// What proxies would be told.
final class FakeProxies: ControlProxies {
    var peers: [ControlPeer] = []
    var bundles: [String] = []
    var acknowledged: Set<String> = []
    var dismissed: [String] = []

    func respond(
        to request: ServiceRequest, _ operation: ControlOperation, from peer: ControlPeer
    ) -> ServiceAnswer {
        peers.append(peer)
        return operation == .watchPushes ? .text(200, "watch") : .text(204, "")
    }

    func trust(_ bundle: String) {
        bundles.append(bundle)
        acknowledged = []
    }

    func hasAcknowledgedTrust(lineage: String) -> Bool { acknowledged.contains(lineage) }
    func dismiss(lineage: String) { dismissed.append(lineage) }
    /// Those that are held against what a member is.
    var members: [ControlPeer] = []
    /// What came of that.
    var isMember: [Bool] = []
    func sift(_ isMember: (ControlPeer) -> Bool) { self.isMember = members.map(isMember) }
    func turnEnds(_ now: Instant) -> Instant? { nil }
}
