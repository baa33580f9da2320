// The DNS server on a service's thread: sockets on one side, the zone and whoever knows of others
// on the other.

import Base
import ControlCore
import Glibc
import Model
import Posix
import Wire

/// What a DNS server answers from, at the moment it is asked.
struct DNSSource {
    let mesh: () -> MeshState
    /// Rises with the mesh.
    let serial: () -> UInt32
    /// Whether checks find an endpoint healthy.
    let isWell: (MeshName) -> Bool
}

/// A DNS server of the mesh's zone.
@safe
final class DNSLoop: ServicePart {
    /// With the port that was chosen.
    let address: SocketAddress
    private var zone: DNSZone
    private let source: DNSSource
    private let forwardTo: SocketAddress?
    private let datagrams: Descriptor
    /// Until `attach`.
    private var listener: Descriptor?
    private var streams: DNSStreams?
    private var forwarder: DNSForwarder?
    private var counts = DNSStatistics()
    private var now = Instant.zero
    // Safety: owned from `init` to `deinit`; views of it live within one call. A byte more than a
    // question may have tells that one is longer.
    private let memory = UnsafeMutableRawBufferPointer.allocate(
        byteCount: DNSStreams.questionLimit + 1, alignment: 64)

    private static let streamMark = ServicePartMark.dns | 1 << 56
    private static let forwardMark = ServicePartMark.dns | 1 << 57
    private static let listenerMark: UInt64 = 1 << 58
    private static let datagramToken = ServicePartMark.dns
    /// Datagrams taken before others have their turn.
    private static let turnBudget = 64

    /// Binds over UDP and TCP.
    /// - Parameters:
    ///   - wanted: port 0 takes any that is free for both.
    ///   - forwardTo: who is asked of other zones; nil: they are refused.
    /// - Throws: where the address cannot be bound.
    init(
        on wanted: SocketAddress, forwardTo: SocketAddress?, source: DNSSource,
        random: SeededRandom
    ) throws(SystemError) {
        self.forwardTo = forwardTo
        self.source = source
        zone = DNSZone(canForward: forwardTo != nil, random: random)
        // Bound: a port that is free for UDP is seldom taken for TCP, and hardly ever ten times.
        var attemptsLeft = wanted.port == 0 ? 10 : 1
        while true {
            attemptsLeft -= 1
            let datagrams = try Datagram.bind(to: wanted)
            let address = try Socket.localAddress(of: datagrams.number)
            do throws(SystemError) {
                listener = try Socket.listen(on: address, sharing: false)
            } catch {
                guard attemptsLeft > 0 else { throw error }
                continue
            }
            self.address = address
            self.datagrams = datagrams
            return
        }
    }

    deinit { unsafe memory.deallocate() }

    /// The mesh has changed, or the health of its endpoints.
    func forget() { zone.forget() }

    /// Prometheus' text format.
    var prometheus: String {
        var counts = counts
        if let forwarder { counts.forwards = forwarder.statistics }
        return counts.prometheus(pending: forwarder?.count ?? 0)
    }

    // MARK: ServicePart

    func attach(to reactor: Reactor, now: Instant) throws(SystemError) {
        guard let listener = listener.take() else { preconditionFailure("attached twice") }
        try reactor.add(reading: datagrams.number, token: Self.datagramToken)
        let streams = try DNSStreams(
            listener, on: reactor, mark: Self.streamMark, listenerMark: Self.listenerMark, now: now)
        streams.onQuestion = { [weak self] asker, bytes in
            self?.ask(asker, bytes, over: .tcp) ?? false
        }
        self.streams = streams
        guard let forwardTo else { return }
        let forwarder = DNSForwarder(to: forwardTo, on: reactor, mark: Self.forwardMark)
        forwarder.onAnswer = { [weak self] asker, bytes in
            self?.tell(asker, bytes, wasPending: true)
        }
        forwarder.onFailure = { [weak self] asker, query in
            self?.fail(asker, query, wasPending: true)
        }
        self.forwarder = forwarder
    }

    var deadline: Instant? {
        [streams?.deadline, forwarder?.deadline].compactMap { $0 }.min()
    }

    func begin(_ now: Instant) {
        self.now = now
        streams?.begin(now)
    }

    func handle(_ readiness: Readiness) -> Bool {
        let token = readiness.token
        // Listeners have bit 63 or the one below it.
        guard token >> 62 == 0, token & ServicePartMark.dns != 0 else { return false }
        if token == Self.datagramToken {
            receiveDatagrams()
        } else if token & Self.streamMark == Self.streamMark {
            streams?.handle(readiness)
        } else {
            forwarder?.handle(readiness)
        }
        return true
    }

    func end() {
        forwarder?.expire(now)
        streams?.end()
    }

    // MARK: Questions

    private func receiveDatagrams() {
        for _ in 0..<Self.turnBudget {
            switch unsafe Datagram.receive(datagrams.number, into: memory) {
            case .wouldBlock, .failed: return
            case .bytes(let count, let sender):
                let bytes = unsafe Array(memory[..<count])
                _ = ask(.datagram(sender), bytes, over: .udp)
            }
        }
    }

    /// - Returns: whether the answer is yet to come.
    private func ask(
        _ asker: DNSAsker, _ bytes: [UInt8], over transport: DNSZone.Transport
    ) -> Bool {
        counts.queries[transport, default: 0] += 1
        let reply = zone.reply(
            to: bytes, over: transport, in: source.mesh(), serial: source.serial(),
            isWell: source.isWell)
        if case .forward(let question, let limit) = reply {
            if let forwarder,
                forwarder.ask(bytes, question, for: asker, limit: limit, now: now)
            {
                return true
            }
            fail(asker, bytes, wasPending: false)
            return false
        }
        give(asker, reply, wasPending: false)
        return false
    }

    private func fail(_ asker: DNSAsker, _ query: [UInt8], wasPending: Bool) {
        give(asker, zone.failure(for: query), wasPending: wasPending)
    }

    private func give(_ asker: DNSAsker, _ reply: DNSZone.Reply, wasPending: Bool) {
        guard case .answer(let bytes, let code, let isTruncated) = reply else {
            counts.dropped += 1
            return
        }
        counts.answers[code, default: 0] += 1
        if isTruncated { counts.truncated += 1 }
        tell(asker, bytes, wasPending: wasPending)
    }

    private func tell(_ asker: DNSAsker, _ bytes: [UInt8], wasPending: Bool) {
        switch asker {
        case .datagram(let sender):
            let sent = bytes.withBytes { Datagram.send(datagrams.number, $0, to: sender) }
            if case .bytes = sent { return }
            counts.dropped += 1
        case .stream(let slot, let generation):
            streams?.answer(slot, generation: generation, bytes, wasPending: wasPending)
        }
    }
}
