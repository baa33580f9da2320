// Active health checks on a service's thread: connections on one side, the book of what they have
// shown on the other.

import Base
import ControlCore
import Glibc
import Model
import Posix
import Secure

/// Checks the endpoints of a mesh.
@safe
final class HealthLoop: ServicePart {
    /// Checks of a control plane under way at once, however many endpoints there are. Bound: each
    /// has a descriptor, of those that proxies and clients need too, and up to some 100 KiB; a mesh
    /// whose endpoints all hang must not take the control plane from them. A check that finds no
    /// place waits for the end of another, one timeout at most, and comes later than an interval
    /// after the one before.
    static let limit = 256
    /// The mesh is looked at again so often at most, however often it changes.
    private static let pause = Duration.milliseconds(100)
    /// How long it may take until those are told that an endpoint is well who were told that it is
    /// not known: after a start all are found to be in the course of an interval, and each is no
    /// push of its own.
    private static let patience = Duration.seconds(1)
    /// Reads of one connection before others have their turn.
    private static let turnBudget = 16

    private final class Check {
        let probe: HealthBook.Probe
        let exchange: HealthExchange
        let socket: Int32
        let generation: UInt64
        /// nil: in cleartext.
        let tls: TLSSocket?
        var isOpen = false
        var output: [UInt8] = []

        init(
            _ probe: HealthBook.Probe, _ socket: Int32, _ tls: TLSSocket?, generation: UInt64
        ) {
            self.probe = probe
            exchange = HealthExchange(probe, isSecured: tls != nil)
            self.socket = socket
            self.tls = tls
            self.generation = generation
        }
    }

    private let mesh: () -> MeshState
    /// What the control plane shows to those that take mutual TLS, and whom it believes: a client's
    /// side without a name, as each session asks for another. Nil: it has no identity.
    var context: TLSContext?
    private let scratch = TLSScratch()
    private var book: HealthBook
    private var reactor: Reactor?
    private var now = Instant.zero
    /// When the mesh is to be looked at; nil: it has not changed.
    private var lookAt: Instant?
    private var lookedAt = Instant.zero
    private var checks: [Check?]
    private var free: [Int]
    private var timeouts: DeadlineHeap
    private var generation: UInt64 = 0
    private(set) var passes: UInt64 = 0
    private(set) var failures: UInt64 = 0
    // Safety: owned from `init` to `deinit`; views of it live within one call.
    private let memory = UnsafeMutableRawBufferPointer.allocate(
        byteCount: 16 * 1024, alignment: 64)
    /// What is said to be something else since `onChange` was called.
    private var changed: [MeshName] = []
    /// When that is to be told; nil: nothing is.
    private var tellAt: Instant?
    /// Called with the endpoints of which something else is said than before, and those that begin
    /// anew: at the end of the turn in which one becomes healthy or unhealthy, and a moment later
    /// where all that is new is that some were found to be as they were taken to be.
    var onChange: [([MeshName]) -> Void] = []
    /// Called with each check that has passed.
    var onPass: ((HealthBook.Probe) -> Void)?

    /// - Parameter places: checks under way at once.
    init(
        random: SeededRandom, places: Int = HealthLoop.limit, mesh: @escaping () -> MeshState
    ) {
        self.mesh = mesh
        checks = .init(repeating: nil, count: places)
        free = (0..<places).reversed()
        timeouts = DeadlineHeap(capacity: places)
        book = HealthBook(random: random)
    }

    deinit {
        for case let check? in checks { Socket.close(check.socket) }
        unsafe memory.deallocate()
    }

    /// What checks say of an endpoint.
    func verdict(on endpoint: MeshName) -> HealthVerdict { book.verdict(on: endpoint) }

    /// What is known of the endpoints that are checked, in the order of their names.
    var records: [(endpoint: MeshName, record: HealthBook.Record)] {
        book.records.sorted { $0.endpoint < $1.endpoint }
    }

    /// The mesh has changed.
    func meshChanged() {
        if lookAt == nil { lookAt = max(now, lookedAt + Self.pause) }
    }

    /// Prometheus' text format.
    var prometheus: String {
        let lines: [(String, String, UInt64)] = [
            ("checked_endpoints", "gauge", UInt64(book.count)),
            ("unhealthy_endpoints", "gauge", UInt64(book.unhealthyCount)),
            ("checks_passed_total", "counter", passes),
            ("checks_failed_total", "counter", failures),
        ]
        return lines.map { name, type, value in
            "# TYPE meshbench_control_\(name) \(type)\nmeshbench_control_\(name) \(value)\n"
        }
        .joined()
    }

    // MARK: ServicePart

    func attach(to reactor: Reactor, now: Instant) throws(SystemError) {
        self.reactor = reactor
        self.now = now
        // Before anybody asks: what has not been looked at counts as healthy.
        follow()
        tell()
    }

    var deadline: Instant? {
        // Without a free place whoever is due waits for the end of another.
        let due = free.isEmpty ? nil : book.deadline
        return [lookAt, due, timeouts.earliest, tellAt].compactMap { $0 }.min()
    }

    func begin(_ now: Instant) { self.now = now }

    func handle(_ readiness: Readiness) -> Bool {
        let token = readiness.token
        guard token >> 61 == 0, token & ServicePartMark.health != 0 else { return false }
        let slot = Int(UInt32(truncatingIfNeeded: token))
        guard let check = checks[slot], self.token(check, slot) == token else { return true }
        if let outcome = step(check, readiness) { finish(slot, outcome) }
        return true
    }

    func end() {
        while let slot = timeouts.popExpired(now) {
            guard let check = checks[slot] else { continue }
            finish(slot, .failed("no answer within \(check.probe.check.timeout.exactText)"))
        }
        if let lookAt, lookAt <= now { follow() }
        while !free.isEmpty, let probe = book.next(now) { start(probe) }
        if let tellAt, tellAt <= now { tell() }
    }

    private func follow() {
        lookAt = nil
        lookedAt = now
        let news = book.follow(mesh(), now: now)
        guard !news.isEmpty else { return }
        changed += news
        tellAt = now
    }

    private func tell() {
        tellAt = nil
        guard !changed.isEmpty else { return }
        let endpoints = changed
        changed = []
        for tell in onChange { tell(endpoints) }
    }

    // MARK: Checks

    private func token(_ check: Check, _ slot: Int) -> UInt64 {
        ServicePartMark.health | check.generation << 32 | UInt64(slot)
    }

    private func start(_ probe: HealthBook.Probe) {
        guard let reactor, let slot = free.popLast() else { return }
        guard let address = SocketAddress(probe.address) else {
            free.append(slot)
            return note(probe, .failed("'\(probe.address)' is no address"))
        }
        do throws(SystemError) {
            generation = (generation + 1) & 0xFF_FFFF
            let socket = try Socket.connect(to: address)
            let check = Check(probe, socket, tls(for: probe), generation: generation)
            checks[slot] = check
            timeouts.set(slot, at: now + probe.check.timeout)
            try reactor.add(socket, token: token(check, slot))
        } catch {
            guard checks[slot] != nil else {
                free.append(slot)
                return note(probe, .failed("\(error)"))
            }
            finish(slot, .failed("\(error)"))
        }
    }

    private func tls(for probe: HealthBook.Probe) -> TLSSocket? {
        guard let context, let identity = probe.identity?.rawValue else { return nil }
        let session = TLSSession(
            client: context, endpoint: "\(identity) \(probe.address)", address: identity)
        return TLSSocket(session, scratch: scratch)
    }

    /// Does what can be done without waiting.
    /// - Returns: nil: it goes on.
    private func step(_ check: Check, _ readiness: Readiness) -> HealthOutcome? {
        if !check.isOpen {
            guard readiness.writable else { return nil }
            let code = Socket.error(of: check.socket)
            guard code == 0 else {
                return .failed(
                    code == ECONNREFUSED
                        ? "the connection was refused" : "\(SystemError("connect", code: code))")
            }
            check.isOpen = true
        }
        if let tls = check.tls, !tls.isEstablished {
            switch tls.handshake(on: check.socket) {
            case .done: break
            case .wantsMore: return nil
            case .failed(let error): return .failed("no mutual TLS: \(error)")
            }
        }
        // Bound: an answer of more than that in one turn is read to its end in the next, as its
        // sender goes on, or not at all.
        for _ in 0..<Self.turnBudget {
            if let outcome = check.exchange.outcome { return outcome }
            guard send(check) else { return .failed(Self.cut(check)) }
            switch receive(check) {
            case .bytes(let count): check.exchange.receive(unsafe Array(memory[..<count]))
            case .wouldBlock: return nil
            case .closed: check.exchange.ended()
            case .failed: return .failed(Self.cut(check))
            }
        }
        return check.exchange.outcome
    }

    private static func cut(_ check: Check) -> String {
        check.tls?.failure.map { "no mutual TLS: \(TLSError($0))" } ?? "the connection failed"
    }

    private func receive(_ check: Check) -> Transfer {
        guard let tls = check.tls else { return unsafe Socket.receive(check.socket, into: memory) }
        return unsafe tls.receive(from: check.socket, into: memory, ended: true)
    }

    /// - Returns: false: the connection has failed.
    private func send(_ check: Check) -> Bool {
        check.output += check.exchange.takeOutput()
        guard check.tls?.flush(to: check.socket) ?? true else { return false }
        while !check.output.isEmpty {
            let sent = check.output.withBytes { bytes in
                check.tls?.send(bytes, to: check.socket) ?? Socket.send(check.socket, bytes)
            }
            switch sent {
            case .bytes(let count): check.output.removeFirst(count)
            case .wouldBlock: return true
            case .closed, .failed: return false
            }
        }
        return true
    }

    private func finish(_ slot: Int, _ outcome: HealthOutcome) {
        guard let check = checks[slot] else { return }
        // A reset: what it may still have to say is not wanted, and no socket is left waiting.
        Socket.close(check.socket, reset: true)
        checks[slot] = nil
        free.append(slot)
        timeouts.clear(slot)
        note(check.probe, outcome)
    }

    private func note(_ probe: HealthBook.Probe, _ outcome: HealthOutcome) {
        var failure: String?
        if case .failed(let reason) = outcome { failure = reason }
        if failure == nil { passes += 1 } else { failures += 1 }
        if failure == nil { onPass?(probe) }
        let before = book.verdict(on: probe.endpoint)
        guard book.report(probe, failure: failure) else { return }
        changed.append(probe.endpoint)
        let canWait = before == .undecided && book.verdict(on: probe.endpoint) == .healthy
        tellAt = min(tellAt ?? .distantFuture, canWait ? now + Self.patience : now)
    }
}
