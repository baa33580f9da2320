import Base
import Model
import Support

@testable import ProxyCore

/// A proxy whose clients and servers are played by hand, line by line.
final class Scene {
    let simulation: ProxySimulation
    /// The servers' ends of the connections that the proxy opened, in order.
    private(set) var servers: [SimulatedSocket] = []
    /// The address each was opened to.
    private(set) var addresses: [String] = []
    /// What becomes of connections that the proxy opens from now on.
    var opening = SimulatedSocket.Opening.open

    var proxy: Proxy { simulation.proxy }

    init(
        _ configuration: ProxyConfiguration = Scene.configuration(),
        commons: ProxyCommons = ProxyCommons()
    ) {
        simulation = ProxySimulation(configuration, seed: 1, commons: commons)
        simulation.serve = { [unowned self] socket, address in
            servers.append(socket)
            addresses.append(address)
            socket.opening = opening
            socket.writable = opening != .never
            return opening == .refused ? nil : Bystander()
        }
    }

    static func configuration(
        endpoints: [String] = ["127.0.0.1:1"], maxConnections: Int = 8, maxPending: Int = 8,
        connections: Int = 64, accessLog: Bool = false, timeouts: ProxyTimeouts = .init(),
        headers: HeaderPolicy = .init(), speech: ProxyConfiguration.Listener.Speech = .auto
    ) -> ProxyConfiguration {
        ProxyConfiguration(
            listeners: [
                .init(name: "in", address: "", speech: speech, cluster: speech == .tcp ? "c" : nil)
            ], routes: [.init(cluster: "c")],
            clusters: [
                .init(
                    name: "c", endpoints: endpoints.map { .init($0) },
                    breaker: .init(
                        standard: .init(connections: maxConnections, pending: maxPending)))
            ],
            accessLog: accessLog ? "-" : nil, limits: ProxyLimits(connections: connections),
            timeouts: timeouts, headers: headers)
    }

    /// A new client.
    func client() -> SimulatedSocket {
        guard let socket = simulation.connect() else { preconditionFailure("a client was refused") }
        return socket
    }

    /// Has a peer send, and lets the proxy do all it can at once.
    func send(_ bytes: some Sequence<UInt8>, by peer: SimulatedSocket) {
        peer.peerWrite(Array(bytes)[...])
        pass(.zero)
    }

    func send(_ text: String, by peer: SimulatedSocket) { send(text.utf8, by: peer) }

    /// What a peer has received since it last looked.
    func received(_ peer: SimulatedSocket) -> String { text(Array(peer.peerRead(.max))) }

    func end(_ peer: SimulatedSocket) {
        peer.peerEnd()
        pass(.zero)
    }

    func close(_ peer: SimulatedSocket, reset: Bool = false) {
        // Without a reset the peer has read everything: to close over unread bytes is one.
        if !reset { _ = peer.peerRead(.max) }
        peer.peerClose(reset: reset)
        pass(.zero)
    }

    /// Lets time pass.
    func pass(_ duration: Duration) { simulation.run(until: simulation.now + duration) }

    /// A GET by a new client, as far as the server that gets it.
    func get(_ path: String = "/") -> (client: SimulatedSocket, server: SimulatedSocket) {
        let client = client()
        send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        return (client, servers[servers.count - 1])
    }
}

let okAnswer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

/// The other end of a connection, of which the test does everything itself.
final class Bystander: SimulatedPeer {
    func act(_ simulation: ProxySimulation) -> Bool { false }
    let wakeAt: Instant? = nil
    let isDone = true
}

/// A proxy between ends that are played by hand, on which answers may come in several pieces.
protocol PlayedByHand: AnyObject {
    var simulation: ProxySimulation { get }
}

extension PlayedByHand {
    var proxy: Proxy { simulation.proxy }

    /// A new client of HTTP/1.1.
    func rawClient() -> SimulatedSocket {
        guard let socket = simulation.connect() else { preconditionFailure("a client was refused") }
        return socket
    }

    /// Lets time pass, after everything has been done that can be done at once.
    func pass(_ duration: Duration = .zero) {
        simulation.run(until: simulation.now + .milliseconds(1) + duration)
    }

    func send(_ text: String, by socket: SimulatedSocket) {
        socket.peerWrite(Array(text.utf8)[...])
        pass()
    }

    func received(_ socket: SimulatedSocket) -> String { text(drain(socket)) }

    /// Everything that comes, as long as something comes.
    func drain(_ socket: SimulatedSocket) -> [UInt8] {
        var all: [UInt8] = []
        while true {
            pass()
            let piece = socket.peerRead(.max)
            guard !piece.isEmpty else { return all }
            all += piece
        }
    }
}
