import Base
import Model
import Support
import Testing

@testable import ProxyCore

/// Clients and servers of a `tcp` listener that write, read, end, leave and reset as they please.
/// One client a step.
@Suite struct ForwardingFuzz {
    @Test func everyByteArrivesOnceAndInOrder() {
        let budget = FuzzBudget.current(seed: 11, steps: 100)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("ForwardingFuzz"))")
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func theSameSeedGivesTheSameTrace(_ seed: UInt64) {
        let trace = TunnelTraffic(seed: seed).run(clients: 3).trace
        #expect(TunnelTraffic(seed: seed).run(clients: 3).trace == trace)
        #expect(TunnelTraffic(seed: seed + 100).run(clients: 3).trace != trace)
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        var done = 0
        while done < steps {
            let count = 1 + random.below(6)
            let own = random.next()
            if let failure = TunnelTraffic(seed: own).run(clients: count).failure {
                return "TunnelTraffic(seed: \(own)).run(clients: \(count)): \(failure)"
            }
            done += count
        }
        return nil
    }
}

/// One end of a tunnel: sends a pattern of its own, and holds what it gets against the other's.
private final class TunnelEnd: SimulatedPeer {
    struct Manner {
        var size = 0
        var writeLimit = 1 << 20
        var readLimit = 1 << 20
        /// Goes away after so many bytes sent.
        var leavesAfter: Int?
        var isSilent = false
    }

    let socket: SimulatedSocket
    /// Of the pattern that it sends.
    let tag: Int
    let manner: Manner
    let pattern: [UInt8]
    private var sending = ByteQueue()
    private(set) var sent = 0
    private(set) var received: [UInt8] = []
    private(set) var wasReset = false
    private(set) var left = false
    private(set) var foundEnd = false
    private(set) var isDone = false
    let wakeAt: Instant? = nil

    init(_ socket: SimulatedSocket, tag: Int, _ manner: Manner) {
        self.socket = socket
        self.tag = tag
        self.manner = manner
        pattern = SimulatedExchange.pattern(tag, manner.size)
        sending.append(pattern)
    }

    func act(_ simulation: ProxySimulation) -> Bool {
        if isDone { return false }
        if socket.wasNeverOpened || socket.proxyReset {
            wasReset = true
            isDone = true
            return true
        }
        guard socket.opening == .open, !manner.isSilent else { return false }
        if let limit = manner.leavesAfter, sent >= limit {
            left = true
            socket.peerClose(reset: simulation.chance(50))
            isDone = true
            return true
        }
        return read(simulation) || write(simulation)
    }

    private func read(_ simulation: ProxySimulation) -> Bool {
        let piece = socket.peerRead(1 + simulation.random.below(manner.readLimit))
        received += piece
        if !piece.isEmpty { return true }
        guard socket.peerFindsEnd, !foundEnd else { return false }
        foundEnd = true
        return finishIfBothEnded()
    }

    private func finishIfBothEnded() -> Bool {
        if foundEnd, socket.peerEnded {
            socket.peerClose(reset: false)
            isDone = true
        }
        return true
    }

    private func write(_ simulation: ProxySimulation) -> Bool {
        if sending.isEmpty {
            guard !socket.peerEnded else { return false }
            socket.peerEnd()
            return finishIfBothEnded()
        }
        let room = socket.peerRoom
        guard room > 0 else { return false }
        var limit = min(room, 1 + simulation.random.below(manner.writeLimit))
        if let leaves = manner.leavesAfter { limit = min(limit, max(1, leaves - sent)) }
        let piece = sending.take(limit)
        sent += piece.count
        socket.peerWrite(piece)
        return true
    }
}

/// A few tunnels through one proxy, everything drawn from a seed, and the judgement on them.
private final class TunnelTraffic {
    private var random: SeededRandom
    private let seed: UInt64
    private let isSound: Bool
    private var servers: [TunnelEnd] = []

    init(seed: UInt64) {
        self.seed = seed
        random = SeededRandom(seed: seed)
        isSound = random.below(2) == 0
    }

    private func chance(_ percent: Int) -> Bool { random.below(100) < percent }

    func run(clients count: Int) -> (failure: String?, trace: UInt64) {
        let simulation = ProxySimulation(configuration(), seed: seed)
        simulation.socketCapacity = [700, 1 << 12, 1 << 16, 1 << 18][random.below(4)]
        simulation.hasPipes = chance(70)
        simulation.serve = { [unowned self] socket, _ in
            if !isSound, chance(10) { return nil }
            let end = TunnelEnd(socket, tag: 1_000_000 + servers.count, manner())
            servers.append(end)
            return end
        }
        var clients: [TunnelEnd] = []
        for number in 0..<count {
            guard let socket = simulation.connect() else { continue }
            let end = TunnelEnd(socket, tag: number, manner())
            clients.append(end)
            simulation.peers.append(end)
        }
        if !isSound, chance(20) {
            simulation.run(until: simulation.now + .milliseconds(Int64(random.below(3))))
            chance(50)
                ? simulation.proxy.adopt(configuration(), now: simulation.now)
                : simulation.proxy.drain(now: simulation.now)
            simulation.settle()
        }
        simulation.run()
        return (judge(simulation, clients), simulation.trace)
    }

    private func manner() -> TunnelEnd.Manner {
        var manner = TunnelEnd.Manner()
        manner.size = [0, 10, 5000, 100_000, 400_000][random.below(5)]
        if chance(20), manner.size < 10_000 { manner.writeLimit = 1 + random.below(300) }
        if chance(20) { manner.readLimit = 1000 + random.below(20_000) }
        if !isSound, chance(20) { manner.leavesAfter = random.below(manner.size + 1) }
        if !isSound, chance(10) { manner.isSilent = true }
        return manner
    }

    private func configuration() -> ProxyConfiguration {
        let endpoints = (0...random.below(3)).map { "127.0.0.1:\(1000 + $0)" }
        return ProxyConfiguration(
            listeners: [.init(name: "in", address: "", speech: .tcp, cluster: "c")], routes: [],
            clusters: [
                .init(
                    name: "c", endpoints: endpoints.map { .init($0) }, connectTimeout: .seconds(30),
                    breaker: .init(standard: .init(connections: 1 + random.below(6))))
            ],
            accessLog: chance(50) ? "-" : nil, limits: ProxyLimits(connections: 64),
            timeouts: ProxyTimeouts(streamIdle: .seconds(60)))
    }

    private func judge(_ simulation: ProxySimulation, _ clients: [TunnelEnd]) -> String? {
        for server in servers where !server.received.isEmpty {
            // The first byte of a pattern does not tell whose it is; the whole does.
            guard clients.contains(where: { isPrefix(server.received, of: $0) }) else {
                return "a server got what no client sent"
            }
        }
        for client in clients where !client.received.isEmpty {
            guard servers.contains(where: { isPrefix(client.received, of: $0) }) else {
                return "client \(client.tag) got what no server sent"
            }
        }
        if isSound {
            for client in clients {
                if client.wasReset { return "client \(client.tag) was reset" }
                guard
                    servers.contains(where: {
                        $0.received.count == client.pattern.count
                            && client.received.count == $0.pattern.count
                            && isPrefix($0.received, of: client)
                            && isPrefix(client.received, of: $0)
                    })
                else { return "client \(client.tag) is not whole" }
            }
            let sent = clients.reduce(0) { $0 + $1.sent }
            let counted = simulation.proxy.counters[.requestBytes]
            if counted != UInt64(sent) { return "\(counted) bytes counted of \(sent)" }
        }
        let proxy = simulation.proxy
        if proxy.openConnections != 0 { return "\(proxy.openConnections) connections left open" }
        if proxy.buffersInUse != 0 { return "\(proxy.buffersInUse) buffers left in use" }
        if proxy.nextDeadline != nil { return "a deadline is left" }
        return nil
    }

    private func isPrefix(_ bytes: [UInt8], of end: TunnelEnd) -> Bool {
        bytes.count <= end.pattern.count
            && bytes.withBytes { bytes in
                end.pattern.withBytes { bytes == $0[0..<bytes.count] }
            }
    }
}
