// One thread of the proxy: its listeners, its epoll instance, its `Proxy`. It shares nothing with
// the other workers; the kernel spreads connections over them (SO_REUSEPORT).

import Base
import Fault
import Glibc
import Model
import Posix
import ProxyCore
import Secure
import Synchronization

/// A worker's loop. Owned by its thread; other threads use only `Mailbox`.
final class ProxyWorker {
    let proxy: Proxy
    private let reactor: Reactor
    private let mailbox: Mailbox
    /// A slot's descriptor plus 1; 0: none.
    let sockets: Slab<Int32>
    /// Which of them are secured, by contexts that may be replaced.
    var secured = SecuredSockets()
    private(set) var contexts: ProxyContexts
    private(set) lazy var scratch = TLSScratch()
    private var listeners: [Int32]
    var log: LogFile?
    var ledger: LogFile?
    private var listening = true
    private var turn: UInt64 = 0
    private var lastAcceptTurn: UInt64 = 0
    private var acceptsNow = 1
    private var resumeAccepting: Instant?
    private var drainDeadline: Instant?
    private var nextTrim: Instant
    private(set) var now: Instant
    var bytesThisTurn = 0
    /// Connections whose reading waits for the next turn.
    private var postponed: [Int] = []
    private var resuming: [Int] = []
    private var pipes: PipePool

    /// Reads of one connection before others have their turn. Bound: no peer can hold the worker.
    static let readsPerTurn = 16
    /// Bytes read in one turn before connections that could go on reading wait for the next one,
    /// behind whatever became ready meanwhile. On loopback a body may come as fast as it is passed
    /// on: without this bound it would never let the worker go.
    private static let bytesPerTurn = 1 << 20
    /// Accepts of one listener in one turn, likewise.
    private static let acceptsPerTurn = 64
    /// Rounds of accepts of one listener before it closes: twice the queue that it asked for.
    private static let acceptsAtDrain = 128
    /// How long accepting pauses when descriptors have run out.
    static let acceptPause = Duration.milliseconds(50)
    /// How long lines of the access log wait for their reader before they are offered again.
    private static let logPause = Duration.milliseconds(5)
    /// Clients at once. Bound: leaves a descriptor for each one's upstream connection.
    private let clients: Int

    private enum Token {
        static let listener: UInt64 = 1 << 63
        static let mailbox: UInt64 = 1 << 62
    }

    /// - Parameters:
    ///   - listeners: listening sockets, which the worker owns from here on.
    ///   - clients: how many may be connected at once; more wait in the kernel's queue.
    ///   - pipes: how many bodies may pass through the kernel at once; more are copied.
    init(
        _ configuration: ProxyConfiguration, contexts: ProxyContexts, listeners: [Int32],
        clients: Int, pipes: Int, mailbox: Mailbox, commons: ProxyCommons, faults: [HeldFault],
        seed: UInt64
    ) throws(SystemError) {
        now = Clock.now()
        nextTrim = now + .seconds(1)
        proxy = Proxy(
            configuration, random: SeededRandom(seed: seed), commons: commons, faults: faults)
        proxy.wallOffset = Clock.wallNanoseconds() - now.nanoseconds
        reactor = try Reactor()
        self.mailbox = mailbox
        self.contexts = contexts
        self.clients = clients
        self.listeners = listeners
        sockets = Slab(zeroed: configuration.limits.connections)
        self.pipes = PipePool(slots: configuration.limits.connections, limit: pipes)
        log = try LogFile(configuration.accessLog)
        ledger = try LogFile(configuration.ledger)
        mailbox.publish(proxy.counters, proxy.counts)
        try reactor.add(reading: mailbox.descriptor, token: Token.mailbox)
        try watchListeners()
    }

    deinit {
        for listener in listeners { Glibc.close(listener) }
        sockets.deallocate()
        pipes.deallocate()
    }

    private func watchListeners() throws(SystemError) {
        for (i, listener) in listeners.enumerated() {
            try reactor.add(reading: listener, token: Token.listener | UInt64(i))
        }
    }

    /// Serves until drained.
    func run() {
        ProgramMemory.release()
        while true {
            let ready = reactor.wait(until: postponed.isEmpty ? wakeInstant : now, now: now)
            now = Clock.now()
            turn &+= 1
            bytesThisTurn = 0
            for i in 0..<ready {
                handle(reactor.ready(i))
                drainEffects()
            }
            resumeReading()
            if let deadline = proxy.nextDeadline, deadline <= now { proxy.expire(now: now) }
            drainEffects()
            flushSessions()
            writeLogs()
            housekeep()
            if let deadline = drainDeadline, proxy.openConnections == 0 || deadline <= now {
                proxy.closeTunnels(now: now)
                drainEffects()
                return finishLogs()
            }
        }
    }

    private var wakeInstant: Instant? {
        var instant = proxy.nextDeadline ?? .distantFuture
        if let resumeAccepting { instant = min(instant, resumeAccepting) }
        if let drainDeadline { instant = min(instant, drainDeadline) }
        // Lines that a pipe did not take: its reader does not tell when there is room again.
        if hasLines { instant = min(instant, now + Self.logPause) }
        if proxy.openConnections > 0 { instant = min(instant, nextTrim) }
        return instant == .distantFuture ? nil : instant
    }

    private func housekeep() {
        if let resume = resumeAccepting, resume <= now, listening {
            resumeAccepting = nil
            // A failure here means that descriptors are still short: try again later.
            do { try watchListeners() } catch { pauseAccepting() }
        }
        if nextTrim <= now {
            proxy.trim()
            proxy.wallOffset = Clock.wallNanoseconds() - Clock.now().nanoseconds
            nextTrim = now + .seconds(1)
        }
    }

    // MARK: Events

    @inline(__always)
    private func handle(_ readiness: Readiness) {
        if readiness.token & (Token.listener | Token.mailbox) != 0 {
            return handleOwn(readiness.token)
        }
        let slot = Int(UInt32(truncatingIfNeeded: readiness.token))
        let generation = UInt32(truncatingIfNeeded: readiness.token >> 32) & 0x3FFF_FFFF
        guard proxy.isOpen(slot), proxy.generation(of: slot) & 0x3FFF_FFFF == generation else {
            return
        }
        if secured.session(of: slot) != nil {
            return handleSecured(slot, generation, readiness)
        }
        if proxy.isHandshaking(slot) { return tellApart(slot, ended: readiness.ended) }
        if proxy.isConnecting(slot) {
            guard readiness.writable || readiness.failed else { return }
            let code = Socket.error(of: sockets[slot] - 1)
            if code != 0 { return proxy.failed(slot, now: now) }
            proxy.connected(slot, now: now)
        } else if readiness.writable {
            if proxy.outputCount(slot) > 0 {
                flush(slot)
            } else if let source = proxy.directSource(for: slot) {
                moveDirectly(source)
            }
        }
        if readiness.readable, stillOpen(slot, generation) {
            read(slot, ended: readiness.ended)
            if readiness.broken { letGoIfBroken(slot, generation) }
        }
    }

    /// A client that has reset its connection is let go although nothing is read from it now. An
    /// upstream's last bytes may still wait in the kernel for room on the client's side: its
    /// failure is found behind them.
    func letGoIfBroken(_ slot: Int, _ generation: UInt32) {
        guard stillOpen(slot, generation), proxy.isPaused(slot), !proxy.isUpstream(slot) else {
            return
        }
        proxy.failed(slot, now: now)
    }

    func stillOpen(_ slot: Int, _ generation: UInt32) -> Bool {
        proxy.isOpen(slot) && proxy.generation(of: slot) & 0x3FFF_FFFF == generation
    }

    private func handleOwn(_ token: UInt64) {
        if token & Token.mailbox != 0 { return readMail() }
        // A drain earlier in this very turn has closed them.
        guard listening else { return }
        acceptReady(by: Int(token & 0xFFFF))
    }

    /// Lets in whoever waits. Asking whether another one does costs a call, which is in vain as
    /// a rule: more than one are taken only if the last turn, too, has found clients waiting.
    private func acceptReady(by listener: Int) {
        if turn != lastAcceptTurn {
            let again = turn == lastAcceptTurn &+ 1
            acceptsNow = again ? min(acceptsNow * 2, Self.acceptsPerTurn) : 1
            lastAcceptTurn = turn
        }
        accept(by: listener, most: acceptsNow)
    }

    /// Lets clients in.
    /// - Returns: whether more may wait.
    @discardableResult
    private func accept(by listener: Int, most: Int) -> Bool {
        for _ in 0..<most {
            guard proxy.openClients < clients else {
                pauseAccepting()
                return false
            }
            switch Socket.accept(listeners[listener]) {
            case .connection(let socket, let client): admit(socket, from: client, by: listener)
            case .none: return false
            case .exhausted:
                pauseAccepting()
                return false
            }
        }
        return true
    }

    private func admit(_ socket: Int32, from client: SocketAddress, by listener: Int) {
        let slot = unsafe withUnsafeTemporaryAllocation(
            byteCount: SocketAddress.hostBytesMost, alignment: 1
        ) {
            var writer = unsafe ByteWriter($0)
            client.write(hostTo: &writer)
            let host = unsafe Bytes(UnsafeRawBufferPointer(rebasing: $0[..<writer.count]))
            return proxy.accept(client: host, listener: listener, now: now)
        }
        guard let slot else { return Socket.close(socket, reset: true) }
        sockets[slot] = socket + 1
        // Where both are taken the first byte tells.
        if let context = contexts.listener(listener), !proxy.takesCleartext(slot) {
            beginSecured(slot, TLSSession(server: context), isConnected: true)
        }
        do {
            try reactor.add(socket, token: token(slot))
        } catch {
            proxy.failed(slot, now: now)
        }
    }

    private func token(_ slot: Int) -> UInt64 {
        UInt64(proxy.generation(of: slot) & 0x3FFF_FFFF) << 32 | UInt64(slot)
    }

    /// Descriptors have run out: those in use go on, new clients wait in the kernel's queue.
    private func pauseAccepting() {
        guard resumeAccepting == nil else { return }
        proxy.counters.notePause()
        for listener in listeners { reactor.remove(listener) }
        resumeAccepting = now + Self.acceptPause
    }

    // MARK: Effects

    private func drainEffects() {
        while let effect = proxy.nextEffect() {
            switch effect {
            case .flush(let slot): flush(slot)
            case .read(let slot):
                guard proxy.isOpen(slot) else { continue }
                guard bytesThisTurn < Self.bytesPerTurn else {
                    postponed.append(slot)
                    continue
                }
                let generation = proxy.generation(of: slot) & 0x3FFF_FFFF
                proxy.advance(slot, now: now)
                if stillOpen(slot, generation), proxy.isPaused(slot) { read(slot, ended: true) }
            case .connect(let slot, let endpoint): connect(slot, endpoint)
            case .endSending(let slot):
                if secured.session(of: slot) != nil {
                    endSendingSecured(slot)
                } else {
                    Socket.endSending(sockets[slot] - 1)
                }
            case .close(let slot, let reset):
                closeSecured(slot, reset: reset)
                let socket = sockets[slot] - 1
                sockets[slot] = 0
                pipes.give(of: slot, isEmpty: false)
                if socket >= 0 { Socket.close(socket, reset: reset) }
                // A descriptor is free for whoever waits.
                if resumeAccepting != nil { resumeAccepting = now }
            }
        }
    }

    /// Goes on with what the last turn put off. A slot that has changed hands meanwhile is asked
    /// for bytes once too often, which harms nobody.
    private func resumeReading() {
        guard !postponed.isEmpty else { return }
        // Bound: as many as reads were asked for in one turn.
        swap(&postponed, &resuming)
        for slot in resuming where proxy.isOpen(slot) { proxy.readLater(slot) }
        resuming.removeAll(keepingCapacity: true)
        drainEffects()
    }

    /// Sends what the turn has given HTTP/2 connections to send, each in one piece. It ends when
    /// nothing more is caused by it; what is read meanwhile counts against the turn's bytes.
    private func flushSessions() {
        while proxy.hasMarkedSessions {
            proxy.flushSessions(now: now)
            drainEffects()
        }
    }

    private func connect(_ slot: Int, _ endpoint: Int) {
        guard proxy.isOpen(slot) else { return }
        do throws(SystemError) {
            let name = proxy.address(ofEndpoint: endpoint)
            guard let address = SocketAddress(name) else {
                throw SystemError("connect", code: EADDRNOTAVAIL)
            }
            if let cluster = proxy.securedCluster(of: slot) {
                guard let context = contexts.cluster(cluster) else {
                    throw SystemError("connect", code: EADDRNOTAVAIL)
                }
                let session = TLSSession(client: context, endpoint: name, address: address.host)
                beginSecured(slot, session, isConnected: false)
            }
            let socket = try Socket.connect(to: address)
            sockets[slot] = socket + 1
            try reactor.add(socket, token: token(slot))
        } catch {
            proxy.failed(slot, now: now)
        }
    }

    /// Reads until there is no more, or no room.
    /// - Parameter ended: an end or a failure may be behind the bytes, so a short read is not the
    ///   last.
    private func read(_ slot: Int, ended: Bool) {
        if secured.session(of: slot) != nil { return readSecured(slot, ended: ended) }
        let socket = sockets[slot] - 1
        let generation = proxy.generation(of: slot) & 0x3FFF_FFFF
        for _ in 0..<Self.readsPerTurn {
            if proxy.directBytes(slot) > 0 || proxy.heldBytes(slot) > 0 {
                return moveDirectly(slot)
            }
            guard let space = unsafe proxy.space(slot) else { return }
            switch unsafe Socket.receive(socket, into: space) {
            case .bytes(let count):
                let room = space.count
                bytesThisTurn += count
                proxy.received(slot, count, now: now)
                guard stillOpen(slot, generation) else { return }
                if count < room && !ended { return }
                // What was read goes on before more is: the same memory serves again, still warm.
                if proxy.hasEffects { return proxy.readLater(slot) }
            case .wouldBlock: return proxy.nothingRead(slot)
            case .closed: return proxy.ended(slot, now: now)
            case .failed: return proxy.failed(slot, now: now)
            }
        }
        proxy.readLater(slot)
    }

    /// Moves bytes of a body from socket to socket as far as both go along. Whichever does not is
    /// ready again with an event of its own, which leads here.
    private func moveDirectly(_ slot: Int) {
        guard let sink = proxy.peer(of: slot) else { return }
        guard let pipe = pipes.take(for: slot) else { return proxy.refuseDirect(slot) }
        let generation = proxy.generation(of: slot) & 0x3FFF_FFFF
        let (from, to) = (sockets[slot] - 1, sockets[sink] - 1)
        while bytesThisTurn < Self.bytesPerTurn {
            let held = proxy.heldBytes(slot)
            let wanted = min(proxy.directBytes(slot), PipePool.size - held)
            if wanted > 0 {
                switch pipe.take(wanted, from: from) {
                case .bytes(let count):
                    bytesThisTurn += count
                    proxy.movedIn(slot, count, now: now)
                // With bytes in the pipe it may be the pipe that is full.
                case .wouldBlock: break
                case .closed: proxy.ended(slot, now: now)
                case .failed: return proxy.failed(slot, now: now)
                }
            }
            // Where the connection is gone, its pipe goes with it.
            guard stillOpen(slot, generation) else { return }
            guard proxy.heldBytes(slot) > 0 else { return pipes.give(of: slot, isEmpty: true) }
            switch pipe.give(proxy.heldBytes(slot), to: to) {
            case .bytes(let count): proxy.movedOut(slot, count, now: now)
            case .wouldBlock: return
            case .closed, .failed:
                pipes.give(of: slot, isEmpty: false)
                proxy.dropHeld(slot)
                return proxy.sendingFailed(sink, now: now)
            }
        }
        proxy.readLater(slot)
    }

    private func flush(_ slot: Int) {
        if secured.session(of: slot) != nil { return flushSecured(slot) }
        while proxy.isOpen(slot), !proxy.isConnecting(slot) {
            let count = proxy.outputCount(slot)
            guard count > 0 else { return proxy.nothingToSend(slot, now: now) }
            let socket = sockets[slot] - 1
            let transfer: Transfer
            let offered: Int
            if count == 1 {
                let bytes = proxy.output(slot, 0)
                offered = bytes.count
                transfer = Socket.send(socket, bytes)
            } else {
                (transfer, offered) = Socket.send(socket, regions: count) { proxy.output(slot, $0) }
            }
            switch transfer {
            case .bytes(let sent):
                proxy.sent(slot, sent, now: now)
                if sent < offered { return }
            case .wouldBlock: return
            case .closed, .failed: return proxy.sendingFailed(slot, now: now)
            }
        }
    }

    // MARK: Mail

    private func readMail() {
        for message in mailbox.take() {
            switch message {
            case .reload(let configuration, let contexts):
                self.contexts = contexts
                proxy.adopt(configuration, now: now)
                reopenLogs(configuration)
            case .faults(let held): proxy.adopt(faults: held)
            case .drain: beginDrain()
            }
        }
    }

    private func beginDrain() {
        guard drainDeadline == nil else { return }
        // Whoever has connected already is served; only then the doors close. Bound: the kernel's
        // queues, which nobody can fill faster than they are emptied for long.
        for listener in listeners.indices {
            var rounds = 0
            while rounds < Self.acceptsAtDrain,
                accept(by: listener, most: Self.acceptsPerTurn)
            { rounds += 1 }
        }
        for listener in listeners { Glibc.close(listener) }
        listeners = []
        listening = false
        resumeAccepting = nil
        proxy.drain(now: now)
        drainDeadline = now + proxy.drainTime
    }
}
