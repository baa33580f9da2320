// The sockets of a service, on a reactor that somebody else waits on: a service's own thread, or
// the main thread of a proxy for its admin listener. A turn is
//
//     begin ─► handle, for each event that is its own ─► end
//
// and its owner then waits until `deadline` at the latest.

import Base
import Posix
import Secure

/// What new connections of a listener are secured with. For the thread of its loop.
final class ServiceSecurity {
    /// nil: nothing. Connections that there are keep what they began with.
    var context: TLSContext?

    init(_ context: TLSContext? = nil) { self.context = context }
}

/// All connections of one listener.
@safe
final class ServiceLoop {
    /// A connection with its socket.
    private final class Client {
        enum Phase {
            case handshake
            case open
            /// The last answer is out and the sending side ended; reads and drops until the client
            /// ends too, so that no reset overtakes the answer (RFC 9112, 9.6).
            case lingering
        }

        let socket: Int32
        let generation: UInt64
        let address: SocketAddress
        let tls: TLSSocket?
        var phase: Phase
        /// Something may be readable: set by an event, cleared by a read that came back short.
        var canRead = false
        /// The client has ended its side: a short read is not the last.
        var sawEnd = false
        /// All that it sent has been read.
        var isReadToEnd = false
        /// When the phase is over in any case; not for `open`.
        var until = Instant.distantFuture
        var connection: ServiceConnection?

        init(
            _ socket: Int32, generation: UInt64, address: SocketAddress, tls: TLSSocket?
        ) {
            self.socket = socket
            self.generation = generation
            self.address = address
            self.tls = tls
            phase = tls == nil ? .open : .handshake
        }
    }

    let scope: ServiceScope
    private let reactor: Reactor
    private var listener: Descriptor?
    private var isAccepting = false
    let security: ServiceSecurity
    private lazy var scratch = TLSScratch()
    private var clients: [Client?]
    private var free: [Int]
    private var generation: UInt64 = 0
    private var deadlines: DeadlineHeap
    // Safety: owned from `init` to `deinit`; views of it live within one call.
    private let memory = UnsafeMutableRawBufferPointer.allocate(
        byteCount: ServiceLoop.readBytes, alignment: 64)

    /// What one read takes at most.
    private static let readBytes = 64 * 1024
    /// Reads and writes for one connection before others have their turn.
    private static let turnBudget = 32
    private static let lingerTime = Duration.seconds(1)
    /// Who has come, or has been answered, only just now is not sent away to make room: its request
    /// may be on its way, or the answer.
    private static let grace = Duration.milliseconds(100)
    /// How long whoever has not ended the handshake of TLS is not sent away to make room. Were he
    /// never, those who say nothing would keep everybody out for as long as a request may take.
    private static let handshakeTime = Duration.seconds(2)
    private static let acceptPause = Duration.milliseconds(100)
    /// Tells the tokens of loops from others of the same reactor.
    private static let mark: UInt64 = 1 << 63
    /// Tells those of two loops of the same reactor.
    private static let placeShift: UInt64 = 62
    private let mark: UInt64
    private var listenerToken: UInt64 { mark | UInt64(UInt32.max) }

    private var acceptTimer: Int { clients.count }
    private var drainTimer: Int { clients.count + 1 }
    private var applicationTimer: Int { clients.count + 2 }

    /// - Parameter place: which of the loops of `reactor` it is, 0 or 1.
    /// - Throws: where the listener cannot be watched.
    init(
        _ limits: ServiceLimits, handler: any ServiceHandler, on reactor: Reactor, place: Int = 0,
        listener: consuming Descriptor, security: ServiceSecurity, now: Instant
    ) throws(SystemError) {
        precondition(place == 0 || place == 1, "a third loop of a reactor")
        mark = Self.mark | UInt64(place) << Self.placeShift
        scope = ServiceScope(limits, handler: handler, now: now)
        self.reactor = reactor
        self.security = security
        clients = Array(repeating: nil, count: limits.connections)
        free = Array((0..<limits.connections).reversed())
        deadlines = DeadlineHeap(capacity: limits.connections + 3)
        let number = listener.number
        self.listener = consume listener
        try reactor.add(reading: number, token: listenerToken)
        isAccepting = true
    }

    deinit {
        for case let client? in clients { Socket.close(client.socket) }
        unsafe memory.deallocate()
    }

    // MARK: Turns

    /// When the next turn is due at the latest; nil: when something comes.
    var deadline: Instant? { scope.hasMore ? scope.now : deadlines.earliest }

    /// It has been told to drain, and nobody is left.
    var isDrained: Bool { scope.isDraining && free.count == clients.count }

    /// - Parameter wall: CLOCK_REALTIME, nanoseconds.
    func begin(_ now: Instant, wall: Int64) {
        scope.now = now
        scope.wallOffset = wall - now.nanoseconds
    }

    /// - Returns: false: it is not one of this loop's.
    func handle(_ readiness: Readiness) -> Bool {
        guard readiness.token & (Self.mark | 1 << Self.placeShift) == mark else { return false }
        if readiness.token == listenerToken {
            accept()
            return true
        }
        let slot = Int(UInt32(truncatingIfNeeded: readiness.token))
        // An event left over for whoever had the slot before has another generation.
        guard let client = clients[slot], token(client, slot) == readiness.token else {
            return true
        }
        if readiness.failed {
            close(slot)
            return true
        }
        if readiness.readable { client.canRead = true }
        if readiness.ended { client.sawEnd = true }
        // Of its own accord TLS says little: what the socket has not taken of that goes now.
        if readiness.writable { client.tls?.flush(to: client.socket) }
        scope.mark(slot)
        return true
    }

    func end() {
        while let timer = deadlines.popExpired(scope.now) { expire(timer) }
        stepMarked()
        if let wake = scope.endTurn() {
            deadlines.set(applicationTimer, at: wake)
        } else {
            deadlines.clear(applicationTimer)
        }
        // What the application had said. What that leads to is for the next turn.
        stepMarked()
    }

    private func stepMarked() {
        for slot in scope.takeMarked() { step(slot) }
    }

    private func expire(_ timer: Int) {
        switch timer {
        case acceptTimer: resumeAccepting()
        case drainTimer: closeAll()
        // `endTurn` calls the application in any case.
        case applicationTimer: break
        default:
            guard let client = clients[timer] else { return }
            guard client.phase == .open else { return close(timer) }
            client.connection?.expire()
            scope.mark(timer)
        }
    }

    // MARK: Listening

    private func accept() {
        // Bound: so many before events of others have their turn; the listener stays readable.
        for round in 0..<16 {
            guard let number = listener?.number, isAccepting else { return }
            // The first one is there: the event has said so.
            if free.isEmpty, round > 0 { return }
            if free.isEmpty, !closeIdlest() { return }
            switch Socket.accept(number) {
            case .none: return
            case .exhausted:
                pauseAccepting()
                deadlines.set(acceptTimer, at: scope.now + Self.acceptPause)
                return
            case .connection(let socket, let address): open(socket, from: address)
            }
        }
    }

    private func open(_ socket: Int32, from address: SocketAddress) {
        guard let slot = free.last else { preconditionFailure("a connection without a slot") }
        generation = (generation + 1) & 0x3FFF_FFFF
        do throws(SystemError) {
            let tls = security.context.map { TLSSocket(TLSSession(server: $0), scratch: scratch) }
            let client = Client(socket, generation: generation, address: address, tls: tls)
            try reactor.add(socket, token: token(client, slot))
            free.removeLast()
            clients[slot] = client
            if tls == nil { begin(client, slot) }
            client.until = scope.now + scope.limits.arrival
            setDeadline(slot)
        } catch {
            // It has left already, or the kernel is out of memory.
            Socket.close(socket, reset: true)
        }
    }

    private func begin(_ client: Client, _ slot: Int) {
        let peer = ServicePeer(
            address: client.address, isSecure: client.tls != nil,
            certificate: client.tls?.peerIdentity)
        client.phase = .open
        client.connection = ServiceConnection(
            scope, slot: slot, peer: peer, agreed: client.tls?.agreedProtocol)
        if scope.isDraining { client.connection?.speech.drain() }
    }

    private func token(_ client: Client, _ slot: Int) -> UInt64 {
        mark | client.generation << 32 | UInt64(slot)
    }

    /// Makes room: ends the connection that has had no request for the longest time.
    /// - Returns: false: nobody can be sent away now, and nobody is let in until somebody can, or
    ///   leaves.
    private func closeIdlest() -> Bool {
        var idlest: (slot: Int, since: Instant)?
        for case let (slot, client?) in clients.enumerated() {
            let since: Instant?
            switch client.phase {
            case .handshake: since = client.until - scope.limits.arrival + Self.handshakeTime
            case .lingering: since = client.until - Self.lingerTime
            case .open: since = client.connection?.speech.idleSince
            }
            if let since, since < idlest?.since ?? .distantFuture { idlest = (slot, since) }
        }
        if let idlest, idlest.since + Self.grace <= scope.now {
            close(idlest.slot)
            return true
        }
        pauseAccepting()
        if let idlest { deadlines.set(acceptTimer, at: idlest.since + Self.grace) }
        return false
    }

    private func pauseAccepting() {
        guard isAccepting, let number = listener?.number else { return }
        reactor.remove(number)
        isAccepting = false
    }

    private func resumeAccepting() {
        guard !isAccepting, let number = listener?.number else { return }
        do throws(SystemError) {
            try reactor.add(reading: number, token: listenerToken)
            isAccepting = true
        } catch {
            deadlines.set(acceptTimer, at: scope.now + Self.acceptPause)
        }
    }

    // MARK: Connections

    /// Does what can be done for a connection without waiting.
    private func step(_ slot: Int) {
        guard let client = clients[slot] else { return }
        if client.phase == .handshake, let tls = client.tls {
            switch tls.handshake(on: client.socket) {
            case .wantsMore: return
            case .failed: return close(slot)
            case .done:
                // What came along with its end is with TLS already: no event will tell of it.
                client.canRead = true
                begin(client, slot)
            }
        }
        if client.phase == .lingering { return linger(client, slot) }
        guard let speech = client.connection?.speech else { return }
        var speaking = speech
        for _ in 0..<Self.turnBudget {
            // HTTP/2 may take the place of what it was.
            speaking = client.connection?.speech ?? speaking
            speaking.advance()
            if speaking.ending == .reset { return close(slot, reset: true) }
            if !speaking.output.isEmpty {
                guard let isAllOut = send(client, speaking) else { return close(slot) }
                if isAllOut { continue }
                return setDeadline(slot)
            }
            if speaking.ending != nil { return beginLingering(client, slot) }
            guard speaking.wantsInput, client.canRead else { return setDeadline(slot) }
            guard receive(client) else { return close(slot) }
        }
        scope.mark(slot)
        setDeadline(slot)
    }

    private func setDeadline(_ slot: Int) {
        guard let client = clients[slot] else { return }
        let deadline =
            client.phase == .open
            ? client.connection?.speech.deadline ?? .distantFuture : client.until
        if deadline == .distantFuture {
            deadlines.clear(slot)
        } else {
            deadlines.set(slot, at: deadline)
        }
    }

    /// Reads once.
    /// - Returns: false: the connection has failed.
    private func receive(_ client: Client) -> Bool {
        switch transfer(client) {
        case .bytes(let count):
            if count < Self.readBytes, !client.sawEnd { client.canRead = false }
            let bytes = unsafe Bytes(UnsafeRawBufferPointer(rebasing: memory[..<count]))
            client.connection?.receive(bytes)
        case .wouldBlock: client.canRead = false
        case .closed:
            client.canRead = false
            client.isReadToEnd = true
            client.connection?.inputEnded()
        case .failed: return false
        }
        return true
    }

    private func transfer(_ client: Client) -> Transfer {
        guard let tls = client.tls else {
            return unsafe Socket.receive(client.socket, into: memory)
        }
        return unsafe tls.receive(from: client.socket, into: memory, ended: client.sawEnd)
    }

    /// Hands the kernel as much as it takes.
    /// - Returns: whether that was all; nil: the connection has failed.
    private func send(_ client: Client, _ speech: ServiceSpeech) -> Bool? {
        // Bound: a client that reads as fast as it is written to goes on in the next turn.
        for _ in 0..<Self.turnBudget {
            let transfer = speech.output.withFirst { bytes in
                client.tls?.send(bytes, to: client.socket) ?? Socket.send(client.socket, bytes)
            }
            switch transfer {
            case .bytes(let count): speech.sent(count)
            case .wouldBlock: return false
            case .closed, .failed: return nil
            }
            if speech.output.isEmpty { return true }
        }
        scope.mark(speech.slot)
        return false
    }

    // MARK: Ends

    private func beginLingering(_ client: Client, _ slot: Int) {
        client.connection?.speech.abandon(.left)
        client.connection = nil
        guard !client.isReadToEnd else { return close(slot) }
        client.tls?.close(on: client.socket)
        Socket.endSending(client.socket)
        client.phase = .lingering
        client.until = scope.now + Self.lingerTime
        client.canRead = true
        linger(client, slot)
    }

    /// Drops what comes. Bound: whoever goes on sending is cut off, by the budget or by the timer.
    private func linger(_ client: Client, _ slot: Int) {
        for _ in 0..<Self.turnBudget {
            switch unsafe Socket.receive(client.socket, into: memory) {
            case .bytes: continue
            case .wouldBlock: return setDeadline(slot)
            case .closed, .failed: return close(slot)
            }
        }
        close(slot)
    }

    private func close(
        _ slot: Int, reset: Bool = false, _ reason: ServiceWatch.Ending = .left
    ) {
        guard let client = clients[slot] else { return }
        client.connection?.speech.abandon(reason)
        if !reset, client.phase == .open { client.tls?.close(on: client.socket) }
        Socket.close(client.socket, reset: reset)
        clients[slot] = nil
        free.append(slot)
        deadlines.clear(slot)
        // If it was the lack of slots that stopped it; after a lack of descriptors a timer runs.
        if deadlines.deadline(of: acceptTimer) == nil { resumeAccepting() }
    }

    /// Lets nobody else in, ends idle connections and watches, and lets requests under way end.
    func drain() {
        guard !scope.isDraining else { return }
        // With the listener, connections that wait in its queue would be reset. Bound: the slots.
        while free.count > 0, let number = listener?.number,
            case .connection(let socket, let address) = Socket.accept(number)
        { open(socket, from: address) }
        pauseAccepting()
        listener = nil
        deadlines.clear(acceptTimer)
        scope.isDraining = true
        for case let (slot, client?) in clients.enumerated() {
            guard client.phase == .open else {
                if client.phase == .handshake { close(slot) }
                continue
            }
            // A request may have come that nobody has looked at.
            client.canRead = true
            step(slot)
            client.connection?.speech.drain()
            scope.mark(slot)
        }
        deadlines.set(drainTimer, at: scope.now + scope.limits.drain)
    }

    /// Ends whatever is left.
    private func closeAll() {
        for slot in clients.indices { close(slot, .stopped) }
    }
}
