// What stands beside an Envoy of a mesh: it joins in its place, keeps its key and renews its
// certificate, registers its endpoint as long as it answers, and leaves with it. What Envoy serves,
// it asks the control plane for itself (docs/ENVOY.md).

import Base
import ControlCore
public import Model
public import Posix

/// A member of a mesh whose requests an Envoy carries.
public final class EnvoyAgent {
    private enum Token {
        static let signals: UInt64 = 0
    }

    private let configuration: JoinConfiguration
    private let reactor: Reactor
    private let agent: JoinAgent
    private let folder: EnvoyFolder

    /// Between looks at whether Envoy answers.
    private static var pause: Duration { .milliseconds(500) }
    /// Looks in a row that found it gone before it is.
    private static var patience: Int { 4 }

    /// - Parameters:
    ///   - configuration: as of a proxy that joins; `state` is where the files are put, absolute;
    ///     `admin` is Envoy's own listener for operators.
    ///   - codec: how declarations stand in pushes.
    /// - Throws: where the token or the folder is of no use.
    public init(
        _ configuration: JoinConfiguration, codec: MeshCodec
    ) throws(JoinError) {
        Signals.ignoreBrokenPipes()
        self.configuration = configuration
        do throws(SystemError) {
            reactor = try Reactor()
        } catch {
            throw .system(error)
        }
        agent = try JoinAgent(configuration, codec: codec, on: reactor, now: Clock.now())
        guard let kept = agent.folder, kept.path.hasPrefix("/") else {
            preconditionFailure("an Envoy without a folder")
        }
        folder = EnvoyFolder(kept)
    }

    /// Its name in the mesh.
    public var name: String { agent.identity.proxy }
    /// The service's, `shop/cart`.
    public var service: String { agent.identity.service }
    /// What Envoy is to be started with.
    public var bootstrap: String { folder.bootstrapPath }

    /// Lets a signal end it, from now on.
    public func listen(to signals: borrowing Signals) throws(JoinError) {
        do throws(SystemError) {
            try reactor.add(reading: signals.descriptor, token: Token.signals)
        } catch {
            throw .system(error)
        }
    }

    /// Joins, if it has not, and writes the files.
    /// - Returns: false: a signal came first.
    /// - Throws: where the mesh does not let it in, or the files cannot be written.
    public func join() throws(JoinError) -> Bool {
        while agent.current == nil {
            if let refusal = agent.refusal { throw .refused(refusal) }
            if turn(until: agent.deadline) { return false }
        }
        guard let current = agent.current, let service = agent.identity.serviceName else {
            preconditionFailure("joined as nobody")
        }
        let facts = EnvoyFacts(
            service: service, app: configuration.app?.numeric,
            inbound: configuration.app == nil ? nil : configuration.inbound.numeric,
            outbound: configuration.outbound.numeric, workers: configuration.workers,
            identityFile: folder.identityPath)
        do throws(SystemError) {
            try folder.write(current.material)
            try folder.write(
                EnvoyBootstrap(
                    proxy: name, facts: facts,
                    servers: configuration.servers.compactMap(\.numeric),
                    authoritiesFile: folder.authoritiesPath,
                    trustDomain: agent.identity.trustDomain, admin: configuration.admin?.numeric))
        } catch {
            throw .system(error)
        }
        return true
    }

    /// Goes on until a signal comes: then the endpoint is taken back, and clients are given a
    /// moment to hear of it.
    /// - Returns: false: Envoy had answered, and does so no longer.
    public func run(until signals: borrowing Signals) throws(JoinError) -> Bool {
        var isServing = false
        var isLeaving = false
        var misses = 0
        var next = Clock.now()
        while !folder.isDrained {
            let now = Clock.now()
            if configuration.app != nil, !isLeaving, now >= next {
                next = now + Self.pause
                let answers = Self.answers(configuration.inbound)
                misses = answers ? 0 : misses + 1
                if answers, !isServing {
                    isServing = true
                    agent.serve(by: folder, inbound: configuration.inbound)
                } else if isServing, misses == Self.patience {
                    isLeaving = true
                    agent.leave()
                }
            } else if configuration.app == nil, !isServing {
                isServing = true
                agent.serve(by: folder, inbound: nil)
            }
            let wait = configuration.app == nil ? agent.deadline : min(agent.deadline, next)
            if turn(until: wait) {
                while signals.next() != nil {
                    // Whoever asks a second time does not wait.
                    if isLeaving || !isServing { return true }
                    isLeaving = true
                    agent.leave()
                }
            }
        }
        return misses < Self.patience
    }

    /// - Returns: whether a signal has come.
    private func turn(until deadline: Instant) -> Bool {
        var isSignalled = false
        let count = reactor.wait(until: deadline, now: Clock.now())
        for index in 0..<count {
            let readiness = reactor.ready(index)
            if readiness.token == Token.signals {
                isSignalled = true
            } else {
                _ = agent.handle(readiness)
            }
        }
        agent.turnEnds(Clock.now())
        return isSignalled
    }

    /// Whether somebody listens at an address, of this machine.
    private static func answers(_ address: SocketAddress) -> Bool {
        do throws(SystemError) {
            let socket = Descriptor(owning: try Socket.connect(to: address))
            return waitWritable(socket.number, for: .milliseconds(100))
                && Socket.error(of: socket.number) == 0
        } catch {
            return false
        }
    }
}

extension SocketAddress {
    /// As declarations have it.
    var numeric: NumericAddress? { NumericAddress("\(self)") }
}
