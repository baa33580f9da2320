// Questions that are asked elsewhere. Each goes out from a socket of its own, and so from a port
// that the kernel draws, with an id of its own: whoever would slip in an answer has to guess both
// (RFC 5452). One that came over UDP goes by UDP, and one over TCP by TCP, so that what is cut
// short is asked for anew by who asked.

import Base
import Glibc
import Posix
import Wire

/// Who waits for an answer.
enum DNSAsker: Equatable {
    case datagram(SocketAddress)
    /// A connection, by its slot and generation.
    case stream(Int, generation: UInt64)

    var isDatagram: Bool {
        if case .datagram = self { true } else { false }
    }
}

/// Asks one other server.
@safe
final class DNSForwarder {
    /// Under way, over UDP and TCP together. Bound: each has a descriptor, and at most 4 KiB of
    /// question and 64 KiB of answer.
    static let limit = 512
    /// How long an answer over UDP may take until the question is sent again, from another port.
    static let patience = Duration.seconds(2)
    /// How often it is sent over UDP.
    static let attempts = 2

    private final class Forward {
        let asker: DNSAsker
        let query: [UInt8]
        let question: DNSQuestion
        /// Bytes of an answer at most.
        let limit: Int
        /// What the other server sees in place of the asker's.
        var id: UInt16 = 0
        var socket: Int32 = -1
        var generation: UInt64 = 0
        var attemptsLeft = DNSForwarder.attempts
        /// Over TCP: what is yet to be sent, and what has come.
        var output: [UInt8] = []
        var input: [UInt8] = []

        init(_ asker: DNSAsker, _ query: [UInt8], _ question: DNSQuestion, limit: Int) {
            self.asker = asker
            self.query = query
            self.question = question
            self.limit = limit
        }
    }

    private let server: SocketAddress
    private let reactor: Reactor
    /// In the tokens of all sockets here; they have the generation from bit 32 and the slot in the
    /// low half.
    private let mark: UInt64
    private var forwards: [Forward?]
    private var free: [Int]
    private var generation: UInt64 = 0
    private var deadlines = DeadlineHeap(capacity: DNSForwarder.limit)
    private(set) var statistics = DNSForwardStatistics()
    // Safety: owned from `init` to `deinit`; views of it live within one call.
    private let memory = UnsafeMutableRawBufferPointer.allocate(
        byteCount: DNSMessage.byteLimit, alignment: 64)
    /// An answer has come: as it is to be passed on.
    var onAnswer: ((DNSAsker, [UInt8]) -> Void)?
    /// None has: with the question.
    var onFailure: ((DNSAsker, [UInt8]) -> Void)?

    init(to server: SocketAddress, on reactor: Reactor, mark: UInt64) {
        self.server = server
        self.reactor = reactor
        self.mark = mark
        forwards = Array(repeating: nil, count: Self.limit)
        free = Array((0..<Self.limit).reversed())
    }

    deinit {
        for case let forward? in forwards where forward.socket >= 0 {
            Socket.close(forward.socket)
        }
        unsafe memory.deallocate()
    }

    var deadline: Instant? { deadlines.earliest }
    var count: Int { forwards.count - free.count }

    /// Asks.
    /// - Returns: false: not now, and nobody will be called.
    func ask(
        _ query: [UInt8], _ question: DNSQuestion, for asker: DNSAsker, limit: Int, now: Instant
    ) -> Bool {
        guard let slot = free.popLast() else {
            statistics.refusals += 1
            return false
        }
        let forward = Forward(asker, query, question, limit: limit)
        forwards[slot] = forward
        guard send(forward, slot, now) else {
            release(slot)
            statistics.failures += 1
            return false
        }
        statistics.sent += 1
        return true
    }

    /// - Returns: false: it cannot be asked from here.
    private func send(_ forward: Forward, _ slot: Int, _ now: Instant) -> Bool {
        forward.id = UInt16.random(in: 0...UInt16.max)
        forward.attemptsLeft -= 1
        generation = (generation + 1) & 0xFF_FFFF
        forward.generation = generation
        var message = forward.query
        message[0] = UInt8(forward.id >> 8)
        message[1] = UInt8(forward.id & 0xFF)
        do throws(SystemError) {
            if forward.asker.isDatagram {
                forward.socket = try Datagram.connect(to: server)
                try reactor.add(reading: forward.socket, token: token(forward, slot))
                let sent = message.withBytes { Socket.send(forward.socket, $0) }
                guard case .bytes = sent else { return false }
            } else {
                forward.attemptsLeft = 0
                forward.socket = try Socket.connect(to: server)
                forward.output =
                    [UInt8(message.count >> 8), UInt8(message.count & 0xFF)] + message
                try reactor.add(forward.socket, token: token(forward, slot))
            }
        } catch {
            return false
        }
        let patience = forward.asker.isDatagram ? Self.patience : Self.patience * 2
        deadlines.set(slot, at: now + patience)
        return true
    }

    private func token(_ forward: Forward, _ slot: Int) -> UInt64 {
        mark | forward.generation << 32 | UInt64(slot)
    }

    /// - Precondition: the token has the mark.
    func handle(_ readiness: Readiness) {
        let slot = Int(UInt32(truncatingIfNeeded: readiness.token))
        guard let forward = forwards[slot], token(forward, slot) == readiness.token else { return }
        if forward.asker.isDatagram {
            receiveDatagram(forward, slot)
        } else {
            step(forward, slot, readiness)
        }
    }

    /// Sends again, or gives up, what has waited long enough.
    func expire(_ now: Instant) {
        while let slot = deadlines.popExpired(now) {
            guard let forward = forwards[slot] else { continue }
            guard forward.attemptsLeft > 0 else {
                fail(forward, slot)
                continue
            }
            Socket.close(forward.socket)
            forward.socket = -1
            if !send(forward, slot, now) { fail(forward, slot) }
        }
    }

    // MARK: UDP

    private func receiveDatagram(_ forward: Forward, _ slot: Int) {
        switch unsafe Socket.receive(forward.socket, into: memory) {
        case .wouldBlock, .closed: return  // An empty datagram looks like an end.
        case .failed: fail(forward, slot)
        case .bytes(let count):
            let bytes = unsafe Array(memory[..<count])
            guard isAnswer(bytes, to: forward) else {
                statistics.strangers += 1
                return
            }
            succeed(forward, slot, bytes)
        }
    }

    private func isAnswer(_ bytes: [UInt8], to forward: Forward) -> Bool {
        guard let header = DNSHeader(bytes), header.isResponse, header.id == forward.id else {
            return false
        }
        return DNSQuestion(of: bytes) == forward.question
    }

    // MARK: TCP

    private func step(_ forward: Forward, _ slot: Int, _ readiness: Readiness) {
        if readiness.broken { return fail(forward, slot) }
        if readiness.writable, !forward.output.isEmpty {
            switch forward.output.withBytes({ Socket.send(forward.socket, $0) }) {
            case .bytes(let count): forward.output.removeFirst(count)
            case .wouldBlock: break
            case .closed, .failed: return fail(forward, slot)
            }
        }
        guard readiness.readable else { return }
        // Bound: an answer, behind its length.
        while forward.input.count < 2 + DNSMessage.byteLimit {
            switch unsafe Socket.receive(forward.socket, into: memory) {
            case .bytes(let count): unsafe forward.input += memory[..<count]
            case .wouldBlock: return
            case .closed, .failed: return fail(forward, slot)
            }
            guard forward.input.count >= 2 else { continue }
            let length = Int(forward.input[0]) << 8 | Int(forward.input[1])
            guard forward.input.count >= 2 + length else { continue }
            let bytes = Array(forward.input[2..<2 + length])
            guard isAnswer(bytes, to: forward) else { break }
            return succeed(forward, slot, bytes)
        }
        fail(forward, slot)
    }

    // MARK: Ends

    private func succeed(_ forward: Forward, _ slot: Int, _ bytes: [UInt8]) {
        release(slot)
        var answer = bytes
        if answer.count > forward.limit {
            // More than the asker takes: that it is cut short makes it ask over TCP.
            guard var header = DNSHeader(bytes) else { return }
            header.isTruncated = true
            var message = DNSMessage(header)
            message.questions = [forward.question]
            answer = message.encoded()
        }
        // The asker's own id.
        answer[0] = forward.query[0]
        answer[1] = forward.query[1]
        onAnswer?(forward.asker, answer)
    }

    private func fail(_ forward: Forward, _ slot: Int) {
        release(slot)
        statistics.failures += 1
        onFailure?(forward.asker, forward.query)
    }

    private func release(_ slot: Int) {
        guard let forward = forwards[slot] else { return }
        if forward.socket >= 0 { Socket.close(forward.socket) }
        forwards[slot] = nil
        free.append(slot)
        deadlines.clear(slot)
    }
}
