// What a proxy that joins a mesh is started with, and why it cannot.

import Base
import ControlCore
public import Model
public import Posix

/// What a proxy that joins a mesh is started with. All else it learns from the mesh.
public struct JoinConfiguration: Sendable {
    /// The control planes, 1 or more; each knows the same.
    public var servers: [SocketAddress]
    /// What lets it in; nil: it has joined before, and `state` has what came of it.
    public var token: String?
    /// The proxy's name, unlike any other's in the namespace; nil: one is made of the service's.
    public var name: String?
    /// Where the service's process answers; nil: the proxy takes no requests for it.
    public var app: SocketAddress?
    /// Nil: the proxy stands beside a process of its service. A gateway has no `app`.
    public var gateway: SidecarFacts.Gateway?
    /// Where requests to the service come in, or to a gateway those from outside.
    public var inbound: SocketAddress
    /// Where the service's process sends its requests to others; not of a gateway.
    public var outbound: SocketAddress
    /// Where bytes come in that go to services of `tcp`; each service once.
    public var tcp: [SidecarFacts.TCPListener]
    /// A folder for what was learnt, so that the proxy can start without a control plane; nil: it
    /// is forgotten with the process.
    public var state: String?
    /// Where it runs, as endpoints say it.
    public var zone: String?
    /// Its share of requests against the service's other endpoints.
    public var weight: Int
    /// When it serves, and what requests may choose it by, as endpoints say it.
    public var level = 0
    public var labels: [String: String] = [:]
    public var admin: SocketAddress?
    public var accessLog: String?
    public var ledger: String?
    public var workers: Int

    public init(
        servers: [SocketAddress], token: String?, inbound: SocketAddress, outbound: SocketAddress,
        app: SocketAddress? = nil, gateway: SidecarFacts.Gateway? = nil,
        tcp: [SidecarFacts.TCPListener] = [], state: String? = nil, name: String? = nil,
        zone: String? = nil,
        weight: Int = 1, admin: SocketAddress? = nil, accessLog: String? = nil, workers: Int = 1,
        ledger: String? = nil
    ) {
        self.gateway = gateway
        self.tcp = tcp
        self.servers = servers
        self.token = token
        self.inbound = inbound
        self.outbound = outbound
        self.app = app
        self.state = state
        self.name = name
        self.zone = zone
        self.weight = weight
        self.admin = admin
        self.accessLog = accessLog
        self.ledger = ledger
        self.workers = workers
    }

    /// Where it stands.
    var place: SidecarFacts.Place {
        if let gateway { return .gateway(gateway, inbound: "\(inbound)") }
        guard let app else { return .client(outbound: "\(outbound)") }
        return .server(app: "\(app)", inbound: "\(inbound)", outbound: "\(outbound)")
    }
}

/// Why a proxy cannot join, or not serve what it has learnt.
public enum JoinError: Error, CustomStringConvertible {
    /// The token is none.
    case malformedToken
    /// Neither a token nor a folder of a proxy that has joined.
    case noToken
    /// The folder is of a proxy of another service, or of another name.
    case otherProxy(folder: String, String)
    case folder(StoreFault)
    /// A file of the folder cannot be used.
    case file(String, reason: String)
    /// The mesh does not let it in.
    case refused(String)
    case start(ProxyStartError)
    case system(SystemError)

    public var description: String {
        switch self {
        case .malformedToken: "the token is malformed"
        case .noToken: "neither a token nor a folder of a proxy that has joined before"
        case .otherProxy(let folder, let whose): "\(folder) is of \(whose)"
        case .folder(let fault): "\(fault)"
        case .file(let file, let reason): "\(file): \(reason)"
        case .refused(let reason): "not let in: \(reason)"
        case .start(let error): "\(error)"
        case .system(let error): "\(error)"
        }
    }
}

/// Who a proxy is, once it has joined.
struct JoinIdentity: Codable, Equatable, Sendable {
    /// A label, which is also its endpoint's name.
    var proxy: String
    /// `shop/cart`
    var service: String
    var trustDomain: String

    enum CodingKeys: String, CodingKey {
        case proxy, service
        case trustDomain = "trust_domain"
    }

    var serviceName: MeshName? {
        MeshKey(path: "\(MeshKind.service.plural)/\(service)")?.name
    }
}
