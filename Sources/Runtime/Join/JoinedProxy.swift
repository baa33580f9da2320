// A proxy that joins a mesh: it learns what to serve, serves it, and goes on learning.

import Base
import ControlCore
import Glibc
public import Model
import Posix

extension ProxyServer: JoinServer {}

extension JoinAgent: ProxyCompanion {
    var prometheus: String { statistics.prometheus }
}

/// A proxy of a mesh.
public final class JoinedProxy {
    private let reactor: Reactor
    /// Those that come before there is a server, which reads them itself.
    private let signals: Signals
    private let agent: JoinAgent
    /// Whether it is an endpoint of its service.
    private let isEndpoint: Bool

    private static let signalsToken: UInt64 = 0

    /// Its name in the mesh.
    public var name: String { agent.identity.proxy }
    /// The service's, `shop/cart`.
    public var service: String { agent.identity.service }

    /// - Parameter codec: how declarations stand in pushes.
    /// - Throws: where the token or the folder is of no use.
    public init(
        _ configuration: JoinConfiguration, codec: MeshCodec
    ) throws(JoinError) {
        Signals.ignoreBrokenPipes()
        isEndpoint = configuration.app != nil
        do throws(SystemError) {
            // Before the first thread, and before anything that a signal could cut short.
            signals = try Signals([SIGTERM, SIGINT, SIGHUP])
            reactor = try Reactor()
            try reactor.add(reading: signals.descriptor, token: Self.signalsToken)
        } catch {
            throw .system(error)
        }
        agent = try JoinAgent(configuration, codec: codec, on: reactor, now: Clock.now())
    }

    /// Joins, and serves until SIGTERM or SIGINT; then it leaves, and lets requests in flight end.
    /// SIGHUP reads a gateway's certificate again; all else is as the mesh says.
    /// With what it has kept it serves at once, whether there is a control plane or not.
    /// - Parameter ready: is called when it serves.
    /// - Throws: where the mesh does not let it in, or the process lacks what it needs.
    public func run(_ ready: (ProxyServer) -> Void) throws(JoinError) {
        guard let (configuration, material) = try join() else { return }
        let server: ProxyServer
        do throws(ProxyStartError) {
            // What is in files, such as a gateway's certificate, is read again at SIGHUP.
            server = try ProxyServer(configuration, material) { [agent] in
                agent.current?.configuration
            }
        } catch {
            throw .start(error)
        }
        do throws(SystemError) {
            try server.start()
            let inbound = server.addresses.first {
                isEndpoint && $0.name == ProxyConfiguration.inboundName
            }
            agent.serve(by: server, inbound: inbound?.address)
            ready(server)
            try server.run(on: reactor, with: agent)
        } catch {
            throw .system(error)
        }
    }

    /// Waits until there is something to serve.
    /// - Returns: nil: SIGTERM or SIGINT has come before.
    private func join() throws(JoinError) -> (ProxyConfiguration, TLSMaterial)? {
        defer { reactor.remove(signals.descriptor) }
        while true {
            if let current = agent.current {
                return (current.configuration, current.material)
            }
            if let refusal = agent.refusal { throw .refused(refusal) }
            let count = reactor.wait(until: agent.deadline, now: Clock.now())
            for index in 0..<count where !agent.handle(reactor.ready(index)) {
                while let signal = signals.next() {
                    if signal != SIGHUP { return nil }
                }
            }
            agent.turnEnds(Clock.now())
        }
    }
}
