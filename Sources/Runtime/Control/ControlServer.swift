// The control plane's process: the store of a folder, and the API on a service's thread.

public import ControlCore
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
    /// What it says of itself.
    public var version: String

    public init(data: String, listen: SocketAddress, tls: ServerTLS? = nil, version: String) {
        self.data = data
        self.listen = listen
        self.tls = tls
        self.version = version
    }
}

/// Why a control plane cannot begin.
public enum ControlStartError: Error, Equatable, CustomStringConvertible {
    case store(StoreFault)
    case token(ControlTokenError)
    case damaged(ControlDamage)
    case service(ServiceError)

    public var description: String {
        switch self {
        case .store(let fault): "\(fault)"
        case .token(let error): "\(error)"
        case .damaged(let damage): "\(damage)"
        case .service(let error): "\(error)"
        }
    }
}

/// A running control plane.
public final class ControlServer: Sendable {
    private let service: Service

    /// Where it listens, with the port that was chosen.
    public var address: SocketAddress { service.address }

    /// Opens the store, or makes it, and serves. When it returns, connections are accepted.
    /// - Parameter codec: how declarations stand in the store and in requests.
    public init(
        _ configuration: ControlConfiguration, codec: MeshCodec
    ) throws(ControlStartError) {
        let store: Store<DiskFolder>
        do throws(StoreFault) {
            store = try Store(in: try DiskFolder(configuration.data), now: Clock.now())
        } catch {
            throw .store(error)
        }
        let token: ControlToken
        do throws(ControlTokenError) {
            token = try ControlToken(folder: configuration.data)
        } catch {
            throw .token(error)
        }
        let handler: ControlHandler<DiskFolder>
        do throws(ControlDamage) {
            handler = try ControlHandler(
                store, codec: codec, token: token,
                trustsCertificates: configuration.tls?.clientCertificate == .required,
                version: configuration.version)
        } catch {
            throw .damaged(error)
        }
        do throws(ServiceError) {
            service = try Service(
                ServiceConfiguration(
                    listen: configuration.listen, tls: configuration.tls, limits: Self.limits),
                name: "control", handler: handler)
        } catch {
            throw .service(error)
        }
    }

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
