// The control plane's process: the store of a folder, and the API on a service's thread.

import Base
import ControlCore
public import Model
public import Posix

/// What a control plane is started with.
public struct ControlConfiguration: Sendable {
    /// The folder of the store and the token. Made if its parent is there.
    public var data: String
    /// Port 0 takes any free one.
    public var listen: SocketAddress
    /// nil: cleartext. Where certificates of clients are required, they count as the token does.
    public var tls: ServerTLS?
    /// Where proxies connect; nil: nowhere. Port 0 takes any free one.
    public var proxies: SocketAddress?
    public var identity: IdentityConfiguration
    /// Where the store is that several control planes share; nil: in the folder.
    public var etcd: EtcdConfiguration?
    /// Where it answers DNS; nil: nowhere.
    public var dns: ControlDNS?
    /// What it says of itself.
    public var version: String

    public init(
        data: String, listen: SocketAddress, tls: ServerTLS? = nil, proxies: SocketAddress? = nil,
        identity: IdentityConfiguration = IdentityConfiguration(),
        etcd: EtcdConfiguration? = nil, dns: ControlDNS? = nil, version: String
    ) {
        self.data = data
        self.listen = listen
        self.tls = tls
        self.proxies = proxies
        self.identity = identity
        self.etcd = etcd
        self.dns = dns
        self.version = version
    }
}

/// How a control plane answers DNS.
public struct ControlDNS: Equatable, Sendable {
    /// Over UDP and TCP. Port 0 takes any that is free for both.
    public var listen: SocketAddress
    /// The server that is asked of other zones than the mesh's; nil: they are refused.
    public var forward: SocketAddress?

    public init(listen: SocketAddress, forward: SocketAddress? = nil) {
        self.listen = listen
        self.forward = forward
    }
}

/// Why a control plane cannot begin.
public enum ControlStartError: Error, Equatable, CustomStringConvertible {
    case store(StoreFault)
    case token(ControlTokenError)
    /// There can be no authority, or not the one that was handed in.
    case identity(String)
    case service(ServiceError)

    public var description: String {
        switch self {
        case .store(let fault): "\(fault)"
        case .token(let error): "\(error)"
        case .identity(let reason): reason
        case .service(let error): "\(error)"
        }
    }
}

/// A running control plane.
public final class ControlServer: Sendable {
    private let service: Service

    /// Where it listens, with the port that was chosen.
    public var address: SocketAddress { service.addresses[0] }
    /// Where proxies connect; nil: nowhere.
    public var proxiesAddress: SocketAddress? {
        service.addresses.count > 1 ? service.addresses[1] : nil
    }
    /// Where it answers DNS, with the port that was chosen; nil: nowhere.
    public let dnsAddress: SocketAddress?

    /// Opens the store, or makes it, and serves. When it returns, connections are accepted.
    /// - Parameter codec: how declarations stand in the store and in requests.
    public init(
        _ configuration: ControlConfiguration, codec: MeshCodec
    ) throws(ControlStartError) {
        let opened = try OpenedStore(configuration)
        let store = opened.store
        let token = opened.token
        let inbox = opened.inbox
        let center = ControlCenter(store, codec: codec, version: configuration.version)
        let health = HealthLoop(random: Self.random) { center.mesh }
        center.health = health
        center.verdict = { health.verdict(on: $0) }
        center.afterCommit.append { health.meshChanged() }
        center.collectors.append { health.prometheus }
        let dns = try Self.dns(configuration.dns, center)
        dnsAddress = dns?.address
        let security: ServiceSecurity
        do throws(ServiceError) {
            security = ServiceSecurity(try Service.context(configuration.tls))
        } catch {
            throw .service(error)
        }
        let listeners: [ServiceListener]
        do throws(ControlFailure) {
            listeners = try Self.listeners(center, token, configuration, security)
        } catch {
            throw .identity(error.message)
        }
        do throws(ServiceError) {
            var parts: [any ServicePart] = [health]
            if let dns { parts.append(dns) }
            service = try Service(ServiceSetup(listeners: listeners, parts: parts), name: "control")
        } catch {
            throw .service(error)
        }
        // The service's turn takes them in.
        inbox?.onNews { [weak service] in _ = service?.perform {} }
    }

    private static func listeners(
        _ center: ControlCenter, _ token: ControlToken,
        _ configuration: ControlConfiguration, _ security: ServiceSecurity
    ) throws(ControlFailure) -> [ServiceListener] {
        let identity = ControlIdentity(center, configuration.identity)
        let pushes = ControlPushes(center)
        let envoys = ControlEnvoys(center)
        center.health?.onChange.append { endpoints in
            pushes.take(checksOf: endpoints)
            envoys.take(checksOf: endpoints, Clock.now())
        }
        let handler = ControlHandler(
            center, identity: identity, pushes: pushes, envoys: envoys, token: token,
            trustsCertificates: configuration.tls?.clientCertificate == .required,
            dismiss: { lineage in
                pushes.dismiss(lineage: lineage)
                envoys.dismiss(lineage: lineage)
            })
        var listeners = [
            ServiceListener(
                address: configuration.listen, limits: limits, handler: handler,
                security: security)
        ]
        if let address = configuration.proxies {
            let handler = try ControlProxyHandler(
                center, identity, proxies: pushes, envoys: envoys, address: address,
                now: Clock.now())
            listeners.append(
                ServiceListener(
                    address: address, limits: proxiesLimits, handler: handler,
                    security: handler.security))
        }
        return listeners
    }

    /// Each proxy has a connection with a watch, and each Envoy a question that waits for each of
    /// its clusters; what they ask is small.
    private static var proxiesLimits: ServiceLimits {
        var limits = ServiceLimits()
        limits.connections = 2048
        limits.watches = 16_384
        limits.bodyBytes = 256 << 10
        // Whoever has no certificate has only a token and a request for one to say: however many
        // come, they take no room from members.
        limits.strangersBytes = 8 << 20
        return limits
    }

    /// The DNS server of a mesh, which answers with what the mesh is at that moment.
    private static func dns(
        _ configuration: ControlDNS?, _ center: ControlCenter
    ) throws(ControlStartError) -> DNSLoop? {
        guard let configuration else { return nil }
        let source = DNSSource(
            mesh: { center.mesh },
            serial: { UInt32(truncatingIfNeeded: center.plane.lastChange) },
            isWell: { center.isWell($0) })
        do throws(SystemError) {
            let dns = try DNSLoop(
                on: configuration.listen, forwardTo: configuration.forward, source: source,
                random: Self.random)
            center.afterCommit.append { dns.forget() }
            center.health?.onChange.append { _ in dns.forget() }
            center.collectors.append { dns.prometheus }
            return dns
        } catch {
            throw .service(.system(error))
        }
    }

    private static var random: SeededRandom { SeededRandom(seed: .random(in: 0...UInt64.max)) }

    /// Each proxy holds a watch, so there may be as many of these as there are connections.
    private static var limits: ServiceLimits {
        var limits = ServiceLimits()
        limits.connections = 1024
        limits.watches = 1024
        limits.bodyBytes = 8 << 20
        return limits
    }

    /// Reads certificates and keys anew; see `Service.renew`.
    public func renew(_ tls: ServerTLS) throws(ServiceError) { try service.renew(tls) }

    /// Ends watches, lets requests under way end, and returns when all is done.
    public func stop() { service.stop() }
}
