// A proxy that joins a mesh: it learns what to serve, serves it, and goes on learning.

import Base
import ControlCore
public import Model
import Posix

extension ProxyServer: JoinServer {}

extension JoinAgent: ProxyCompanion {
    var prometheus: String { statistics.prometheus }
}

/// A proxy of a mesh.
public final class JoinedProxy {
    private let reactor: Reactor
    private let agent: JoinAgent

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
        do throws(SystemError) {
            reactor = try Reactor()
        } catch {
            throw .system(error)
        }
        agent = try JoinAgent(configuration, codec: codec, on: reactor, now: Clock.now())
    }

    /// Joins, and serves until SIGTERM or SIGINT; then it leaves, and lets requests in flight end.
    /// With what it has kept it serves at once, whether there is a control plane or not.
    /// - Parameter ready: is called when it serves.
    /// - Throws: where the mesh does not let it in, or the process lacks what it needs.
    public func run(_ ready: (ProxyServer) -> Void) throws(JoinError) {
        let (configuration, material) = try join()
        let server: ProxyServer
        do throws(ProxyStartError) {
            server = try ProxyServer(configuration, material) { nil }
        } catch {
            throw .start(error)
        }
        do throws(SystemError) {
            try server.start()
            let inbound = server.addresses.first {
                $0.name == ProxyConfiguration.inboundName
            }
            agent.serve(by: server, inbound: inbound?.address)
            ready(server)
            try server.run(on: reactor, with: agent)
        } catch {
            throw .system(error)
        }
    }

    /// Waits until there is something to serve.
    private func join() throws(JoinError) -> (ProxyConfiguration, TLSMaterial) {
        while true {
            if let current = agent.current {
                return (current.configuration, current.material)
            }
            if let refusal = agent.refusal { throw .refused(refusal) }
            let count = reactor.wait(until: agent.deadline, now: Clock.now())
            for index in 0..<count { _ = agent.handle(reactor.ready(index)) }
            agent.turnEnds(Clock.now())
        }
    }
}
