// DNS over TCP (RFC 7766): questions one behind the other on a connection, answers as they come.

import Base
import Glibc
import Posix
import Wire

/// The connections of a DNS server.
@safe
final class DNSStreams {
    /// Connections at once. Past it the one that has been idle longest makes room.
    static let limit = 128
    /// Bytes of a question at most: one with all options that there are has a few hundred.
    static let questionLimit = 4096
    /// Questions of one connection that are being asked elsewhere. Past it nothing is read.
    static let pendingLimit = 8
    /// Bytes that wait for one client. Past it nothing is read. Bound: with the answers to what is
    /// pending, 768 KiB.
    static let outputLimit = 256 * 1024
    /// How long a connection may have no question, and a question or an answer may take to pass
    /// (RFC 7766, 6.2.3).
    static let idle = Duration.seconds(10)
    /// Reads of one connection before others have their turn.
    private static let turnBudget = 8

    private final class Client {
        let socket: Int32
        let generation: UInt64
        var input: [UInt8] = []
        var output: [UInt8] = []
        /// Asked elsewhere, and not yet answered.
        var pending = 0
        var canRead = false
        /// It sends no more.
        var hasEnded = false
        var since: Instant

        init(_ socket: Int32, generation: UInt64, now: Instant) {
            self.socket = socket
            self.generation = generation
            since = now
        }
    }

    private let listener: Descriptor
    private let reactor: Reactor
    private let mark: UInt64
    private let listenerToken: UInt64
    private var clients = [Client?](repeating: nil, count: DNSStreams.limit)
    private var deadlines = DeadlineHeap(capacity: DNSStreams.limit)
    private var generation: UInt64 = 0
    /// Those that have more to read, or something to send, at the end of the turn.
    private var marked: Set<Int> = []
    private var now: Instant
    // Safety: owned from `init` to `deinit`; views of it live within one call.
    private let memory = UnsafeMutableRawBufferPointer.allocate(
        byteCount: 16 * 1024, alignment: 64)
    /// A question has come: who asked hears by `answer`.
    /// - Returns: whether the answer is yet to come.
    var onQuestion: ((DNSAsker, [UInt8]) -> Bool)?

    /// - Parameter mark: in the tokens of all sockets here; the listener's has `listenerMark` too.
    init(
        _ listener: consuming Descriptor, on reactor: Reactor, mark: UInt64, listenerMark: UInt64,
        now: Instant
    ) throws(SystemError) {
        self.reactor = reactor
        self.mark = mark
        listenerToken = mark | listenerMark
        self.now = now
        let number = listener.number
        self.listener = consume listener
        try reactor.add(reading: number, token: listenerToken)
    }

    deinit {
        for case let client? in clients { Socket.close(client.socket) }
        unsafe memory.deallocate()
    }

    var deadline: Instant? { marked.isEmpty ? deadlines.earliest : now }

    func begin(_ now: Instant) { self.now = now }

    /// - Precondition: the token has the mark.
    func handle(_ readiness: Readiness) {
        if readiness.token == listenerToken { return accept() }
        let slot = Int(UInt32(truncatingIfNeeded: readiness.token))
        guard let client = clients[slot], token(client, slot) == readiness.token else { return }
        if readiness.broken { return close(slot) }
        if readiness.readable, !client.hasEnded { client.canRead = true }
        marked.insert(slot)
    }

    func end() {
        while let slot = deadlines.popExpired(now) { close(slot) }
        let slots = marked
        marked = []
        for slot in slots { step(slot) }
    }

    /// Says what the answer to a question is, now or later.
    /// - Parameter wasPending: `onQuestion` has said that it is yet to come.
    func answer(_ slot: Int, generation: UInt64, _ bytes: [UInt8], wasPending: Bool) {
        // The client may have left meanwhile.
        guard let client = clients[slot], client.generation == generation else { return }
        if wasPending { client.pending -= 1 }
        client.output += [UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)]
        client.output += bytes
        marked.insert(slot)
    }

    // MARK: Connections

    private func token(_ client: Client, _ slot: Int) -> UInt64 {
        mark | client.generation << 32 | UInt64(slot)
    }

    private func accept() {
        // Bound: so many before others have their turn; the listener stays readable.
        for _ in 0..<16 {
            guard case .connection(let socket, _) = Socket.accept(listener.number) else { return }
            guard let slot = room() else {
                Socket.close(socket, reset: true)
                continue
            }
            generation = (generation + 1) & 0xFF_FFFF
            let client = Client(socket, generation: generation, now: now)
            do throws(SystemError) {
                try reactor.add(socket, token: token(client, slot))
            } catch {
                Socket.close(socket, reset: true)
                continue
            }
            clients[slot] = client
            deadlines.set(slot, at: now + Self.idle)
        }
    }

    /// A free slot; nil: everybody waits for answers.
    private func room() -> Int? {
        if let slot = clients.firstIndex(where: { $0 == nil }) { return slot }
        var idlest: (slot: Int, since: Instant)?
        for case let (slot, client?) in clients.enumerated()
        where client.pending == 0 && client.since < idlest?.since ?? .distantFuture {
            idlest = (slot, client.since)
        }
        if let idlest { close(idlest.slot) }
        return idlest?.slot
    }

    private func close(_ slot: Int) {
        guard let client = clients[slot] else { return }
        Socket.close(client.socket)
        clients[slot] = nil
        marked.remove(slot)
        deadlines.clear(slot)
    }

    private func note(_ client: Client, _ slot: Int) {
        client.since = now
        deadlines.set(slot, at: now + Self.idle)
    }

    /// Does what can be done without waiting.
    private func step(_ slot: Int) {
        guard let client = clients[slot] else { return }
        for _ in 0..<Self.turnBudget {
            guard use(client, slot), send(client, slot) else { return close(slot) }
            // What makes room, an answer or the client's reading, brings it back here.
            guard client.output.isEmpty, client.pending < Self.pendingLimit else { return }
            if hasQuestion(client) { continue }
            guard client.canRead else { break }
            switch unsafe Socket.receive(client.socket, into: memory) {
            case .bytes(let count): unsafe client.input += memory[..<count]
            case .wouldBlock: client.canRead = false
            case .closed:
                client.canRead = false
                client.hasEnded = true
            case .failed: return close(slot)
            }
        }
        if client.canRead || hasQuestion(client) {
            marked.insert(slot)
        } else if client.hasEnded, client.pending == 0 {
            close(slot)
        }
    }

    /// Whether one has come whole, or what can be none.
    private func hasQuestion(_ client: Client) -> Bool {
        guard client.input.count >= 2 else { return false }
        let length = Int(client.input[0]) << 8 | Int(client.input[1])
        return client.input.count >= 2 + length || length > Self.questionLimit
    }

    /// Asks what has come whole.
    /// - Returns: false: it is no DNS.
    private func use(_ client: Client, _ slot: Int) -> Bool {
        var start = 0
        // Bound: what one read has brought, and what was left of the one before.
        while client.input.count - start >= 2, client.pending < Self.pendingLimit,
            client.output.count < Self.outputLimit
        {
            let length = Int(client.input[start]) << 8 | Int(client.input[start + 1])
            guard (DNSHeader.size...Self.questionLimit).contains(length) else { return false }
            guard client.input.count - start - 2 >= length else { break }
            let bytes = Array(client.input[start + 2..<start + 2 + length])
            start += 2 + length
            note(client, slot)
            let asker = DNSAsker.stream(slot, generation: client.generation)
            if onQuestion?(asker, bytes) == true { client.pending += 1 }
        }
        client.input.removeFirst(start)
        return true
    }

    /// - Returns: false: the connection has failed.
    private func send(_ client: Client, _ slot: Int) -> Bool {
        while !client.output.isEmpty {
            switch client.output.withBytes({ Socket.send(client.socket, $0) }) {
            case .bytes(let count):
                client.output.removeFirst(count)
                note(client, slot)
            case .wouldBlock: return true
            case .closed, .failed: return false
            }
        }
        return true
    }
}
