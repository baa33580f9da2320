// Connections to the product's own services as a client, on a reactor that somebody else waits on:
// HTTP/2 over TLS, many connections on one thread. It keeps no time: who opens a connection says
// when it has taken too long, by closing it.

import Base
import Glibc
import Posix
import Secure
import Wire

/// Who is told what happens on a connection. Called at the end of a turn, never within a call of
/// the connection's; `closed` is the last.
protocol CallOwner: AnyObject {
    func happened(_ event: CallEvent, on connection: CallConnection)
}

/// A connection as its owner sees it.
final class CallConnection {
    fileprivate enum Phase {
        case connecting
        case handshake
        case open
        case closed
    }

    fileprivate let socket: Int32
    fileprivate let slot: Int
    fileprivate let token: UInt64
    fileprivate let tls: TLSSocket
    fileprivate weak var owner: (any CallOwner)?
    fileprivate var phase = Phase.connecting
    /// Something may be readable: set by an event, cleared by a read that came back short.
    fileprivate var canRead = false
    /// The server has ended its side: a short read is not the last.
    fileprivate var sawEnd = false
    fileprivate let session: CallSession
    /// What has happened and was not told.
    fileprivate var events: [CallEvent] = []
    private unowned let loop: CallLoop

    fileprivate init(
        _ socket: Int32, slot: Int, token: UInt64, tls: TLSSocket, authority: String,
        owner: any CallOwner, loop: CallLoop
    ) {
        self.socket = socket
        self.slot = slot
        self.token = token
        self.tls = tls
        self.owner = owner
        self.loop = loop
        session = CallSession(authority: authority)
    }

    /// Whom the server's certificate names; nil: it has not been shown yet.
    var peer: PeerIdentity? { tls.peerIdentity }

    /// Asks.
    /// - Parameter number: comes back with what is told of it.
    /// - Returns: false: the connection takes no more, or is not open.
    func ask(_ request: CallRequest, number: Int) -> Bool {
        guard phase == .open, session.ask(request, number: number, loop.fields) else {
            return false
        }
        loop.mark(slot)
        return true
    }

    /// Asks for a sign of life.
    func probe() {
        guard phase == .open else { return }
        session.submitPing(0)
        loop.mark(slot)
    }

    /// Ends it. Nothing more is told of it.
    func close() {
        owner = nil
        loop.close(self)
    }
}

/// All connections of a thread.
@safe
final class CallLoop {
    private let reactor: Reactor
    private let scratch = TLSScratch()
    fileprivate let fields = FieldList(capacity: 8, made: 8 * 1024)
    private var connections: [CallConnection?]
    private var free: [Int]
    private var generation: UInt64 = 0
    private var marked: [Int] = []
    /// Which connections are in `marked`.
    private var isMarked: [Bool]
    // Safety: owned from `init` to `deinit`; views of it live within one call.
    private let memory = UnsafeMutableRawBufferPointer.allocate(
        byteCount: CallLoop.readBytes, alignment: 64)

    private static let readBytes = 64 * 1024
    /// Reads and writes for one connection before others have their turn.
    private static let turnBudget = 32
    /// Tells its tokens from others of the same reactor.
    private static let mark: UInt64 = 1 << 61

    /// - Parameter capacity: connections at once.
    init(on reactor: Reactor, capacity: Int) {
        self.reactor = reactor
        connections = Array(repeating: nil, count: capacity)
        isMarked = Array(repeating: false, count: capacity)
        free = Array((0..<capacity).reversed())
    }

    deinit {
        for case let connection? in connections where connection.phase != .closed {
            Socket.close(connection.socket)
        }
        unsafe memory.deallocate()
    }

    /// Begins to connect. What comes of it, `owner` is told.
    /// - Parameter name: what TLS sessions are kept under.
    /// - Throws: where the process lacks what it needs.
    func open(
        to address: SocketAddress, _ context: TLSContext, owner: any CallOwner
    ) throws(SystemError) -> CallConnection {
        guard let slot = free.last else {
            throw SystemError("connect to \(address)", code: EMFILE)
        }
        let socket = try Socket.connect(to: address)
        generation = (generation + 1) & 0x1FFF_FFFF
        let token = Self.mark | generation << 32 | UInt64(slot)
        do throws(SystemError) {
            try reactor.add(socket, token: token)
        } catch {
            Socket.close(socket)
            throw error
        }
        let session = TLSSession(
            client: context, endpoint: "\(address)", address: address.host)
        let connection = CallConnection(
            socket, slot: slot, token: token, tls: TLSSocket(session, scratch: scratch),
            authority: "\(address)", owner: owner, loop: self)
        free.removeLast()
        connections[slot] = connection
        return connection
    }

    // MARK: Turns

    /// Whether something is left to do without waiting.
    var hasMore: Bool { !marked.isEmpty }

    /// - Returns: false: it is not one of this loop's.
    func handle(_ readiness: Readiness) -> Bool {
        guard readiness.token >> 61 == 1 else { return false }
        let slot = Int(UInt32(truncatingIfNeeded: readiness.token))
        // An event left over for whoever had the slot before has another generation.
        guard let connection = connections[slot], connection.token == readiness.token else {
            return true
        }
        if readiness.readable { connection.canRead = true }
        if readiness.ended { connection.sawEnd = true }
        if readiness.writable {
            settle(connection)
            connection.tls.flush(to: connection.socket)
        }
        mark(slot)
        return true
    }

    /// Does what can be done, and tells the owners. What they ask goes out at once.
    func end() {
        // Bound: what is left then has its turn after other events.
        for _ in 0..<4 where hasMore {
            let slots = marked
            marked = []
            for slot in slots {
                isMarked[slot] = false
                guard let connection = connections[slot] else { continue }
                step(connection)
                tell(connection)
                guard connection.phase == .closed, connections[slot] === connection else {
                    continue
                }
                connections[slot] = nil
                free.append(slot)
            }
        }
    }

    fileprivate func mark(_ slot: Int) {
        guard !isMarked[slot] else { return }
        isMarked[slot] = true
        marked.append(slot)
    }

    private func tell(_ connection: CallConnection) {
        let events = connection.events
        connection.events = []
        for event in events { connection.owner?.happened(event, on: connection) }
    }

    // MARK: Connections

    private func settle(_ connection: CallConnection) {
        guard connection.phase == .connecting else { return }
        let code = Socket.error(of: connection.socket)
        if code == 0 {
            connection.phase = .handshake
        } else {
            fail(connection, unsafe String(cString: strerror(code)))
        }
    }

    private func step(_ connection: CallConnection) {
        if connection.phase == .handshake { shakeHands(connection) }
        guard connection.phase == .open else { return }
        for _ in 0..<Self.turnBudget {
            guard connection.session.pull() else { return fail(connection, "HTTP/2 failed") }
            connection.events += connection.session.takeEvents()
            if !connection.session.output.isEmpty {
                guard let isAllOut = send(connection) else { return }
                if !isAllOut { return }
                continue
            }
            if connection.session.isDone { return fail(connection, "the server has ended it") }
            guard connection.canRead else { return }
            guard receive(connection) else { return }
        }
        mark(connection.slot)
    }

    private func shakeHands(_ connection: CallConnection) {
        switch connection.tls.handshake(on: connection.socket) {
        case .wantsMore: return
        case .failed(let error): return fail(connection, "TLS: \(error)")
        case .done: break
        }
        guard connection.tls.agreedProtocol == "h2" else {
            return fail(connection, "it does not speak HTTP/2")
        }
        connection.phase = .open
        // What came along with its end is with TLS already: no event will tell of it.
        connection.canRead = true
        connection.events.append(.opened)
    }

    /// - Returns: whether all is out; nil: the connection has failed.
    private func send(_ connection: CallConnection) -> Bool? {
        let transfer = connection.session.output.withFirst {
            connection.tls.send($0, to: connection.socket)
        }
        switch transfer {
        case .bytes(let count): connection.session.sent(count)
        case .wouldBlock: return false
        case .closed, .failed:
            fail(connection, reason(connection, transfer))
            return nil
        }
        return true
    }

    /// - Returns: false: the connection has failed.
    private func receive(_ connection: CallConnection) -> Bool {
        let transfer = unsafe connection.tls.receive(
            from: connection.socket, into: memory, ended: connection.sawEnd)
        switch transfer {
        case .bytes(let count):
            if count < Self.readBytes, !connection.sawEnd { connection.canRead = false }
            let bytes = unsafe Bytes(UnsafeRawBufferPointer(rebasing: memory[..<count]))
            let failure = connection.session.receive(bytes)
            connection.events += connection.session.takeEvents()
            guard let failure else { return true }
            // Why is told as far as the socket takes it at once.
            if connection.session.pull() { _ = send(connection) }
            fail(connection, "HTTP/2: \(failure)")
            return false
        case .wouldBlock:
            connection.canRead = false
            return true
        case .closed, .failed:
            fail(connection, reason(connection, transfer))
            return false
        }
    }

    private func reason(_ connection: CallConnection, _ transfer: Transfer) -> String {
        guard case .failed(let code) = transfer else { return "the server has ended it" }
        switch connection.tls.failure {
        case .truncated: return "it was cut"
        case let failure?: return "TLS: \(TLSError(failure))"
        case nil: return unsafe String(cString: strerror(code))
        }
    }

    /// Its owner is told at the end of the turn, as of everything.
    private func fail(_ connection: CallConnection, _ reason: String) {
        guard connection.phase != .closed else { return }
        connection.events.append(.closed(reason))
        shut(connection)
        mark(connection.slot)
    }

    private func shut(_ connection: CallConnection) {
        connection.phase = .closed
        Socket.close(connection.socket)
    }

    fileprivate func close(_ connection: CallConnection) {
        guard connection.phase != .closed else { return }
        if connection.phase == .open { connection.tls.close(on: connection.socket) }
        connection.events = []
        shut(connection)
        mark(connection.slot)
    }
}
