// A proxy in a simulated world: the owner's part of `Runtime`'s worker played step by step over
// simulated sockets, clients and servers, on a virtual clock, everything drawn from one seed. After
// every step the proxy's invariants are checked.

import Base
import Model
import Support

@testable import ProxyCore

/// A client or a server's end of a connection: does a little whenever its turn comes.
protocol SimulatedPeer: AnyObject {
    /// Does something if it can; false: there is nothing to do now.
    func act(_ simulation: ProxySimulation) -> Bool
    /// When it wants a turn although nothing happens; nil: never.
    var wakeAt: Instant? { get }
    var isDone: Bool { get }
}

final class ProxySimulation {
    let proxy: Proxy
    var now = Instant(nanoseconds: 1_000_000_000)
    var random: SeededRandom
    /// A hash of everything the owner did and saw.
    private(set) var trace: UInt64 = 0xCBF2_9CE4_8422_2325
    private(set) var logLines: [String] = []
    private var sockets: [SimulatedSocket?]
    var peers: [any SimulatedPeer] = []
    /// Makes the server's end of a connection; nil: nobody listens.
    var serve: (SimulatedSocket, String) -> (any SimulatedPeer)? = { _, _ in nil }
    /// Bytes that one direction of a connection holds in the kernel.
    var socketCapacity = 1 << 16
    /// Reads of one connection before others have their turn, as in the worker.
    private static let readsPerTurn = 16
    var checksInvariants = true
    /// What a test looks at after every step.
    var onStep: () -> Void = {}
    /// Reads that the worker would put off to its next turn.
    private var postponed: [Int] = []
    /// What the kernel holds of bodies that pass unseen, by the slot they come from.
    private var pipes: [Int: ByteQueue] = [:]
    private static let pipeSize = 64 * 1024
    /// Whether bodies may pass unseen at all.
    var hasPipes = true

    /// - Parameter commons: what the proxy shares with other workers.
    init(
        _ configuration: ProxyConfiguration, seed: UInt64, commons: ProxyCommons = ProxyCommons()
    ) {
        random = SeededRandom(seed: seed)
        proxy = Proxy(configuration, random: random.split("proxy"), commons: commons)
        sockets = Array(repeating: nil, count: configuration.limits.connections)
    }

    func chance(_ percent: Int) -> Bool { random.below(100) < percent }

    private func note(_ kind: StaticString, _ slot: Int, _ count: Int = 0) {
        for value in [UInt64(Bytes(kind)[0]), UInt64(slot), UInt64(count)] {
            trace = (trace ^ value) &* 0x100_0000_01B3
        }
    }

    // MARK: The world

    /// Connects a client; nil: refused.
    func connect(capacity: Int? = nil) -> SimulatedSocket? {
        let client = Array("192.0.2.1".utf8)
        let slot = client.withBytes { proxy.accept(client: $0, now: now) }
        note("a", slot ?? 0xFFFF)
        guard let slot else { return nil }
        let capacity = capacity ?? socketCapacity
        let socket = SimulatedSocket(inboundCapacity: capacity, outboundCapacity: capacity)
        bind(socket, to: slot)
        socket.writable = true
        settle()
        return socket
    }

    private func bind(_ socket: SimulatedSocket, to slot: Int) {
        precondition(sockets[slot] == nil, "a slot with a socket was given out")
        socket.slot = slot
        socket.generation = proxy.generation(of: slot)
        sockets[slot] = socket
    }

    /// Runs until nothing is left to do, or `end` comes.
    func run(until end: Instant = .distantFuture, steps: Int = 5_000_000) {
        var idle = 0
        // What was asked of the proxy from outside (a reload, a drain) takes effect first.
        settle()
        for _ in 0..<steps {
            let actors = peers.count + 1
            let choice = random.below(actors)
            let acted = choice == peers.count ? deliverAny() : peers[choice].act(self)
            if peers.count > 40 { peers.removeAll { $0.isDone } }
            if acted {
                idle = 0
                continue
            }
            idle += 1
            // Nobody drawn had anything to do: ask all, then let time pass.
            if idle > actors {
                idle = 0
                if sweep() { continue }
                guard passTime(until: end) else { return }
            }
        }
        preconditionFailure("the simulation does not come to rest")
    }

    private func sweep() -> Bool {
        var acted = deliverAny()
        for peer in peers where peer.act(self) { acted = true }
        peers.removeAll { $0.isDone }
        return acted
    }

    private func passTime(until end: Instant) -> Bool {
        var next = proxy.nextDeadline ?? .distantFuture
        for peer in peers { if let wake = peer.wakeAt { next = min(next, wake) } }
        for socket in sockets {
            if let socket, socket.opening == .pending { next = min(next, socket.openAt) }
        }
        guard next < .distantFuture, next <= end else {
            if end < .distantFuture { now = max(now, end) }
            return false
        }
        now = max(now, next)
        note("t", 0, Int(now.nanoseconds))
        for socket in sockets {
            guard let socket, socket.opening == .pending, socket.openAt <= now else { continue }
            socket.opening = .open
            socket.writable = true
        }
        if let deadline = proxy.nextDeadline, deadline <= now { proxy.expire(now: now) }
        settle()
        return true
    }

    // MARK: The owner's part

    private func deliverAny() -> Bool {
        if resumeReading() { return true }
        if proxy.hasMarkedSessions {
            proxy.flushSessions(now: now)
            settle()
            return true
        }
        let count = sockets.count
        let start = random.below(count)
        for i in 0..<count {
            let slot = (start + i) % count
            guard let socket = sockets[slot] else { continue }
            guard socket.opening != .pending, socket.opening != .never else { continue }
            if socket.readable || socket.writable {
                handle(slot, socket)
                settle()
                return true
            }
        }
        return false
    }

    private func resumeReading() -> Bool {
        guard !postponed.isEmpty else { return false }
        let slots = postponed
        postponed = []
        for slot in slots where proxy.isOpen(slot) { proxy.readLater(slot) }
        settle()
        return true
    }

    private func stillOpen(_ slot: Int, _ socket: SimulatedSocket) -> Bool {
        proxy.isOpen(slot) && proxy.generation(of: slot) == socket.generation
    }

    private func handle(_ slot: Int, _ socket: SimulatedSocket) {
        let (readable, writable) = (socket.readable, socket.writable)
        let failed = socket.peerReset || socket.opening == .refused
        socket.readable = false
        socket.writable = false
        note("h", slot, (readable ? 1 : 0) + (writable ? 2 : 0) + (failed ? 4 : 0))
        guard stillOpen(slot, socket) else { return }
        if proxy.isConnecting(slot) {
            guard writable || failed else { return }
            if failed { return proxy.failed(slot, now: now) }
            proxy.connected(slot, now: now)
        } else if writable {
            if proxy.outputCount(slot) > 0 {
                flush(slot)
            } else if let source = proxy.directSource(for: slot) {
                moveDirectly(source)
            }
        }
        if readable, stillOpen(slot, socket) {
            read(slot, ended: socket.peerEnded || socket.peerReset)
            if failed, stillOpen(slot, socket), proxy.isPaused(slot), !proxy.isUpstream(slot) {
                proxy.failed(slot, now: now)
            }
        }
    }

    /// Does what the proxy asks, and checks it.
    func settle() {
        carryOut()
        // The worker flushes once a turn, in which much may have happened.
        while proxy.hasMarkedSessions, !chance(30) {
            proxy.flushSessions(now: now)
            carryOut()
        }
        proxy.log.drain { lines in
            logLines += lines.text.split(separator: "\n").map(String.init)
            return lines.count
        }
        check()
    }

    private func check() {
        if checksInvariants { proxy.checkInvariants() }
        onStep()
    }

    private func carryOut() {
        while let effect = proxy.nextEffect() {
            switch effect {
            case .flush(let slot): flush(slot)
            case .read(let slot):
                guard proxy.isOpen(slot) else { continue }
                guard !chance(5) else {
                    postponed.append(slot)
                    continue
                }
                proxy.advance(slot, now: now)
                // A stream has no socket.
                guard let socket = sockets[slot] else { continue }
                if stillOpen(slot, socket), proxy.isPaused(slot) { read(slot, ended: true) }
            case .connect(let slot, let endpoint): open(slot, endpoint)
            case .endSending(let slot):
                note("e", slot)
                sockets[slot]?.proxyEnded = true
            case .close(let slot, let reset):
                note("c", slot, reset ? 1 : 0)
                sockets[slot]?.close(reset: reset)
                sockets[slot] = nil
                pipes[slot] = nil
            }
            check()
        }
    }

    private func open(_ slot: Int, _ endpoint: Int) {
        guard proxy.isOpen(slot) else { return }
        note("o", slot, endpoint)
        let socket = SimulatedSocket(
            inboundCapacity: socketCapacity, outboundCapacity: socketCapacity)
        socket.opening = .pending
        socket.openAt = now + .microseconds(Int64(random.below(300)))
        bind(socket, to: slot)
        if let peer = serve(socket, proxy.address(ofEndpoint: endpoint)) {
            peers.append(peer)
        } else if socket.opening == .pending {
            socket.opening = .refused
            socket.writable = true
        }
    }

    private func read(_ slot: Int, ended: Bool) {
        guard let socket = sockets[slot] else { return }
        for _ in 0..<Self.readsPerTurn {
            if proxy.directBytes(slot) > 0 || proxy.heldBytes(slot) > 0 {
                return moveDirectly(slot)
            }
            guard let space = unsafe proxy.space(slot) else { return }
            if !socket.inbound.isEmpty {
                let piece = socket.inbound.take(space.count)
                let room = space.count
                unsafe space.copyBytes(from: piece)
                note("r", slot, piece.count)
                proxy.received(slot, piece.count, now: now)
                guard stillOpen(slot, socket) else { return }
                if piece.count < room && !ended { return }
                if proxy.hasEffects { return proxy.readLater(slot) }
            } else if socket.peerReset {
                return proxy.failed(slot, now: now)
            } else if socket.peerEnded {
                note("E", slot)
                return proxy.ended(slot, now: now)
            } else {
                return proxy.nothingRead(slot)
            }
        }
        proxy.readLater(slot)
    }

    /// As the worker does, with a queue for the pipe.
    private func moveDirectly(_ slot: Int) {
        guard let sinkSlot = proxy.peer(of: slot), let socket = sockets[slot],
            let sink = sockets[sinkSlot]
        else { return }
        if !hasPipes || (pipes[slot] == nil && chance(10)) { return proxy.refuseDirect(slot) }
        while true {
            if chance(5) { return proxy.readLater(slot) }
            let held = proxy.heldBytes(slot)
            let wanted = min(proxy.directBytes(slot), Self.pipeSize - held)
            if wanted > 0 {
                if !socket.inbound.isEmpty {
                    let piece = socket.inbound.take(wanted)
                    pipes[slot, default: ByteQueue()].append(piece)
                    note("m", slot, piece.count)
                    proxy.movedIn(slot, piece.count, now: now)
                } else if socket.peerReset {
                    return proxy.failed(slot, now: now)
                } else if socket.peerEnded {
                    proxy.ended(slot, now: now)
                }
            }
            guard stillOpen(slot, socket) else { return }
            guard var pipe = pipes[slot], proxy.heldBytes(slot) > 0 else { return }
            precondition(pipe.count == proxy.heldBytes(slot), "the pipe holds something else")
            let piece = Array(pipe.take(1 + random.below(pipe.count)))
            guard let sent = piece.withBytes({ sink.send([$0]) }) else {
                pipes[slot] = nil
                proxy.dropHeld(slot)
                return proxy.sendingFailed(sinkSlot, now: now)
            }
            pipes[slot]?.drop(sent)
            note("M", slot, sent)
            guard sent > 0 else { return }
            proxy.movedOut(slot, sent, now: now)
            if pipes[slot]?.isEmpty == true { pipes[slot] = nil }
        }
    }

    private func flush(_ slot: Int) {
        while proxy.isOpen(slot), !proxy.isConnecting(slot), let socket = sockets[slot] {
            let count = proxy.outputCount(slot)
            guard count > 0 else { return proxy.nothingToSend(slot, now: now) }
            let regions = (0..<count).map { proxy.output(slot, $0) }
            guard let sent = socket.send(regions) else {
                return proxy.sendingFailed(slot, now: now)
            }
            note("s", slot, sent)
            guard sent > 0 else { return }
            let offered = regions.reduce(0) { $0 + $1.count }
            proxy.sent(slot, sent, now: now)
            if sent < offered { return }
        }
    }
}
