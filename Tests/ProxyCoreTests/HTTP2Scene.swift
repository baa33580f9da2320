import Base
import Model
import Support
import Wire

@testable import ProxyCore

/// A proxy between clients and servers of HTTP/2 or HTTP/1.1 that are played by hand.
final class HTTP2Scene: PlayedByHand {
    let simulation: ProxySimulation
    /// The servers' ends of connections, in order: of HTTP/2, and of HTTP/1.1.
    private(set) var servers: [HTTP2End] = []
    private(set) var rawServers: [SimulatedSocket] = []
    /// The address of each that was taken.
    private(set) var addresses: [String] = []
    /// What servers of HTTP/2 do, and how many streams they take.
    var onHead: ((HTTP2Peer, HTTP2Peer.Stream) -> Void)?
    var onEnd: ((HTTP2Peer, HTTP2Peer.Stream) -> Void)?
    var serverStreams = 1000
    /// Servers to come neither read nor write until they are told to.
    var pausesServers = false
    var serverWindow = 65_535
    var opening = SimulatedSocket.Opening.open
    /// Addresses that refuse connections, or never take them.
    var openings: [String: SimulatedSocket.Opening] = [:]

    /// - Parameter upstream: what the servers speak.
    init(
        _ upstream: ProxyConfiguration.Cluster.Speech,
        _ configuration: ProxyConfiguration = Scene.configuration(),
        commons: ProxyCommons = ProxyCommons()
    ) {
        simulation = ProxySimulation(
            Self.speaking(upstream, configuration), seed: 1, commons: commons)
        simulation.serve = { [unowned self] socket, address in
            let opening = openings[address] ?? self.opening
            socket.opening = opening
            socket.writable = opening != .never
            guard opening != .refused else { return nil }
            addresses.append(address)
            guard upstream == .http2 else {
                rawServers.append(socket)
                return Bystander()
            }
            let end = server(socket)
            servers.append(end)
            return end
        }
    }

    static func speaking(
        _ upstream: ProxyConfiguration.Cluster.Speech, _ configuration: ProxyConfiguration
    ) -> ProxyConfiguration {
        var configuration = configuration
        configuration.clusters[0].speech = upstream
        return configuration
    }

    private func server(_ socket: SimulatedSocket) -> HTTP2End {
        let peer = HTTP2Peer(server: true, streams: serverStreams, window: serverWindow)
        peer.onHead = { [unowned self, unowned peer] in onHead?(peer, $0) }
        peer.onEnd = { [unowned self, unowned peer] in onEnd?(peer, $0) }
        let end = HTTP2End(peer, socket)
        end.isPaused = pausesServers
        return end
    }

    /// A new client of HTTP/2.
    func client(window: Int = 65_535) -> HTTP2End {
        guard let socket = simulation.connect() else { preconditionFailure("a client was refused") }
        let end = HTTP2End(HTTP2Peer(server: false, window: window), socket)
        simulation.peers.append(end)
        pass()
        return end
    }

    /// What is left behind when everybody has gone; nil: nothing.
    func remains() -> String? {
        for end in servers where !end.isDone {
            end.socket.peerClose(reset: true)
            end.isDone = true
        }
        for socket in rawServers where !socket.peerClosed { socket.peerClose(reset: true) }
        simulation.run()
        if proxy.openConnections != 0 { return "\(proxy.openConnections) connections are open" }
        if proxy.buffersInUse != 0 { return "\(proxy.buffersInUse) buffers are in use" }
        return proxy.nextDeadline == nil ? nil : "a deadline is left"
    }
}

/// The fields of a request of HTTP/2.
func requestFields(_ method: String = "GET", _ path: String = "/", _ more: Fields = []) -> Fields {
    [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)] + more
}

/// The fields of an answer.
func answerFields(_ status: Int = 200, _ more: Fields = []) -> Fields {
    [(":status", "\(status)")] + more
}

/// Those that a test has put in: without pseudo-fields and `date`.
func ownFields(_ fields: Fields?) -> [String] {
    (fields ?? []).filter { !$0.name.hasPrefix(":") && $0.name != "date" }
        .map { "\($0.name): \($0.value)" }
}
