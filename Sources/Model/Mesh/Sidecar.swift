// What a proxy of a mesh serves, beside a service's process or as a gateway, made of what the mesh
// says and what only the proxy knows. A function of both and nothing else: every proxy of a service
// makes the same of the same.

import Base

/// How far a service has come from one way of being spoken to, TLS or cleartext, to the other.
public enum MeshModeChange: Equatable, Sendable {
    /// Clients go on as before; servers take both.
    case announced
    /// Clients go the new way; servers still take both.
    case followed
}

/// What a proxy of a service knows by itself.
public struct SidecarFacts: Equatable, Sendable {
    /// A gateway, which stands before the mesh: requests come in from outside.
    public struct Gateway: Equatable, Sendable {
        /// What those outside are shown; nil: they speak cleartext.
        public var tls: ServerTLS?

        public init(tls: ServerTLS? = nil) { self.tls = tls }
    }

    /// Where bytes come in that go to a service of `tcp`, which has no host to be told by.
    public struct TCPListener: Equatable, Sendable {
        public var service: MeshName
        /// Port 0: any free one.
        public var address: String

        public init(_ service: MeshName, address: String) {
            self.service = service
            self.address = address
        }
    }

    /// Where it stands, and where requests come to it. Port 0: any free one.
    public enum Place: Equatable, Sendable {
        /// Beside a process of the service that answers at `app`. Requests to it come in at
        /// `inbound`; it sends those to others to `outbound`.
        case server(app: String, inbound: String, outbound: String)
        /// Beside a process of the service that only calls others.
        case client(outbound: String)
        /// Before the mesh. Requests from outside come in at `inbound`.
        case gateway(Gateway, inbound: String)
    }

    public var service: MeshName
    public var place: Place
    /// Each of a service of its own.
    public var tcp: [TCPListener]
    /// PEM files: the own certificate with its key, and whom to trust.
    public var identity: String
    public var authorities: String
    public var admin: String?
    public var accessLog: String?
    public var ledger: String?
    public var workers: Int
    /// Where it runs; nil: nobody knows.
    public var zone: String?

    public init(
        service: MeshName, _ place: Place, tcp: [TCPListener] = [], identity: String,
        authorities: String, admin: String? = nil, accessLog: String? = nil, workers: Int = 1,
        ledger: String? = nil, zone: String? = nil
    ) {
        self.service = service
        self.place = place
        self.tcp = tcp
        self.identity = identity
        self.authorities = authorities
        self.admin = admin
        self.accessLog = accessLog
        self.ledger = ledger
        self.workers = workers
        self.zone = zone
    }
}

extension SidecarFacts {
    /// What the mesh asks of the proxy and it cannot do, for people; nil: nothing. All else goes
    /// on: the policy may be that of all services, of which a gateway's is only one.
    public func remark(in mesh: MeshState) -> String? {
        guard case .gateway = place, let policy = mesh.policy(for: service),
            policy.inbound.admission != nil
        else { return nil }
        return "the policy '\(policy.meshName.text)' has `inbound.admission`: a gateway has no "
            + "process of its own that could fail, and turns nothing away"
    }
}

/// Why nothing can be made of what a mesh says.
public enum SidecarError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The proxy's own service is not declared.
    case noService(MeshName)
    /// A service has no identity that a certificate could carry.
    case noIdentity(MeshName)
    /// Bytes are to go to a service that takes requests.
    case notTCP(MeshName)

    public var description: String {
        switch self {
        case .noService(let name): "there is no service \(name.text)"
        case .noIdentity(let name): "the service \(name.text) can have no identity"
        case .notTCP(let name):
            "the service \(name.text) is not of tcp, and there is a listener whose bytes go to it"
        }
    }
}

extension ProxyConfiguration {
    /// The names of listeners. One whose bytes go to a service has its name, `shop/db`.
    public static let inboundName = "inbound"
    public static let outboundName = "outbound"
    /// The cluster that is the service's own process. Those of services have a `/`.
    public static let appName = "app"

    /// The configuration of a proxy of a service.
    ///
    /// - Parameters:
    ///   - changes: services that are between two ways of being spoken to.
    ///   - mesh: what the proxy needs of it, or all of it.
    /// - Throws: where the mesh says nothing that could be served.
    public init(
        sidecar facts: SidecarFacts, in mesh: MeshState,
        changes: [MeshName: MeshModeChange] = [:]
    ) throws(SidecarError) {
        guard let own = mesh.services[facts.service] else { throw .noService(facts.service) }
        // A service of bytes has neither host nor path to be told by.
        let services = mesh.services.values
            .filter { $0.speech != .tcp }.sorted { $0.meshName < $1.meshName }
        var listeners: [Listener] = []
        var clusters: [Cluster] = []
        for service in services {
            clusters.append(
                try Self.cluster(service, facts, in: mesh, changes[service.meshName]))
        }
        // What goes by the names of services: the own process may ask any of them.
        var named = services
        // Bytes from outside come in as requests do; those of the own process are its own.
        var entrance: Listener?
        switch facts.place {
        case .server(let app, let inbound, let outbound):
            listeners = [
                Self.inbound(own, inbound, facts, in: mesh, changes[own.meshName]),
                Listener(name: Self.outboundName, address: outbound),
            ]
            clusters.append(Self.app(own, at: app, in: mesh))
        case .client(let outbound):
            listeners = [Listener(name: Self.outboundName, address: outbound)]
        case .gateway(let gateway, let inbound):
            named = []
            // Those outside have no identity of the mesh.
            var outside = Listener(
                name: Self.inboundName, address: inbound, tls: gateway.tls,
                authorization: Self.authorization(of: facts.service, in: mesh))
            outside.take(mesh.policy(for: facts.service)?.inbound)
            entrance = outside
            listeners = [outside]
        }
        for entry in facts.tcp {
            let name = entry.service
            listeners.append(
                Listener(
                    name: name.text, address: entry.address, speech: .tcp, cluster: name.text,
                    tls: entrance?.tls, authorization: entrance?.authorization))
            // Its listener is there from the start, whatever is declared by then.
            guard let service = mesh.services[name] else {
                clusters.append(Cluster(name: name.text, endpoints: []))
                continue
            }
            guard service.speech == .tcp else { throw .notTCP(name) }
            clusters.append(try Self.cluster(service, facts, in: mesh, changes[name]))
        }
        self.init(
            listeners: listeners,
            routes: Self.routes(named, of: own, in: mesh), clusters: clusters,
            admin: facts.admin, accessLog: facts.accessLog, workers: facts.workers)
        ledger = facts.ledger
        zone = facts.zone
        // Whoever is asked knows how often, and for how long it is waited for.
        headers.attemptCount = true
        headers.expectedTimeout = true
    }

    // MARK: Requests to the service

    private static func inbound(
        _ own: MeshService, _ address: String, _ facts: SidecarFacts, in mesh: MeshState,
        _ change: MeshModeChange?
    ) -> Listener {
        let mode = change == nil ? own.mtls : .permissive
        let tls = ServerTLS(
            certificate: facts.identity, key: facts.identity, authorities: facts.authorities,
            clientCertificate: .required, minimumVersion: .v13)
        let control = SPIFFEID(rawValue: SPIFFEID.control(of: mesh.trustDomain))
        var authorization = authorization(of: own.meshName, in: mesh)
        authorization?.exempt = control
        var listener = Listener(
            name: inboundName, address: address,
            speech: own.speech == .tcp ? .tcp : .auto, cluster: appName,
            tls: mode == .off ? nil : tls, isPermissive: mode == .permissive,
            authorization: authorization)
        listener.take(mesh.policy(for: own.meshName)?.inbound)
        listener.unlimited = control
        return listener
    }

    /// The service's own process.
    private static func app(
        _ own: MeshService, at address: String, in mesh: MeshState
    ) -> Cluster {
        // How long a request may take is for its client's proxy to say.
        var app = Cluster(
            name: appName, endpoints: [Endpoint(address)], speech: own.clusterSpeech,
            requestTimeout: .zero)
        // What its clients wait for, its own proxies do not cut short.
        app.streamIdleTimeout = mesh.policy(for: own.meshName)?.timeouts.streamIdle
        app.admission = mesh.policy(for: own.meshName)?.inbound.admission
        return app
    }

    private static func authorization(
        of service: MeshName, in mesh: MeshState
    ) -> Authorization? {
        let all = mesh.authorizations.values
            .filter { $0.targets.contains { $0.covers(service) } }
            .sorted { $0.meshName < $1.meshName }
        guard !all.isEmpty else { return nil }
        let allows = all.filter { $0.action == .allow }
        return Authorization(
            deny: all.filter { $0.action == .deny }.flatMap(\.rules),
            allow: allows.isEmpty ? nil : allows.flatMap(\.rules))
    }

    // MARK: Requests to others

    private static func cluster(
        _ service: MeshService, _ facts: SidecarFacts, in mesh: MeshState,
        _ change: MeshModeChange?
    ) throws(SidecarError) -> Cluster {
        let name = service.meshName
        let policy = mesh.policy(for: name)
        var cluster = Cluster(
            name: name.text, endpoints: mesh.endpointsTold(of: name, policy).map(Endpoint.init),
            speech: service.clusterSpeech)
        if let policy { cluster.take(policy) }
        // Until clients follow a change, they go the other way than the mode says.
        guard (service.mtls != .off) != (change == .announced) else { return cluster }
        guard let identity = mesh.identity(of: service) else { throw .noIdentity(name) }
        cluster.tls = ClientTLS(
            authorities: facts.authorities, certificate: facts.identity, key: facts.identity,
            serverName: name.host, names: [identity.rawValue], minimumVersion: .v13)
        // Whoever speaks TLS for a service is a proxy, and these share connections. Bytes pass as
        // they are.
        if service.speech != .tcp { cluster.speech = .http2 }
        return cluster
    }

    /// Those that are declared, and for each of the services one by its own name. All stand in the
    /// order of `MeshRoute.Condition`; of two alike, the one that is declared comes first.
    private static func routes(
        _ services: [MeshService], of own: MeshService, in mesh: MeshState
    ) -> [Route] {
        var all: [(condition: MeshRoute.Condition, isNamed: Bool, route: Route)] = []
        for (condition, name) in mesh.conditions {
            guard let declared = mesh.routes[name] else { continue }
            let asked = declared.isAnsweredHere ? [] : declared.destinations
            var route = Route(condition, shares: asked.filter { $0.weight > 0 }.map(Share.init))
            route.take(declared)
            route.declared = name.text
            route.mirrors = declared.mirrors.map(RequestMirror.init)
            all.append((condition, false, route))
        }
        for service in services {
            let name = service.meshName
            var hosts = ["\(name.name).\(name.namespace)", name.host]
            if name.namespace == own.namespace { hosts.append(name.name) }
            for host in hosts {
                let condition = MeshRoute.Condition(host: host, match: .init())
                all.append((condition, true, Route(condition, shares: [Share(name.text)])))
            }
        }
        return all.sorted { a, b in
            a.condition == b.condition ? !a.isNamed && b.isNamed : a.condition < b.condition
        }.map(\.route)
    }
}

extension MeshService {
    /// What its own process speaks; bytes are passed on without a look at them.
    fileprivate var clusterSpeech: ProxyConfiguration.Cluster.Speech {
        speech == .http2 ? .http2 : .http1
    }
}

extension MeshName {
    /// The host that means a service in the whole mesh.
    public var host: String { "\(name).\(namespace).mesh" }
}
