// The proxy's side of the control plane's protocol, without sockets: which server to connect to and
// when, what to ask for, what to make of answers and silence. Its owner tells it what has happened
// and carries out what `take` hands it:
//
//     unknown ─authorities─► trusting ─join─► member ─watch─► pushes, acks, heartbeats, renewals
//
// Each arrow to the right needs a connection that is secured in another way, so it begins with a
// new one. Whatever goes wrong ends the connection; what is held stays, and another connection
// goes on from there.

public import Base
public import Model

/// One proxy as a subscriber of its mesh.
public struct Subscriber: Sendable {
    private enum Phase: Equatable {
        /// Until then nothing is tried.
        case waiting(Instant)
        case connecting(until: Instant)
        case open
        case ended
    }

    /// A certificate that the proxy has.
    private struct Membership: Equatable {
        /// When to ask for the next.
        var renewal: Instant
        /// Before when none is asked for, whatever the reason.
        var earliest = Instant.zero
        var expiry: Instant
    }

    public let limits: SubscriberLimits
    private let servers: Int
    /// It can join anew, with a token.
    private let canJoin: Bool
    private var random: SeededRandom

    /// What is held of the mesh. It follows pushes whatever becomes of them: what is in force is
    /// the owner's.
    public private(set) var view: ProxyView
    private var trusts: Bool
    /// Besides the token's authorities, which are asked for first, some are held of before. They
    /// are gone by where nobody has the token's: a token may be older than they are.
    private let hasOthers: Bool
    private var membership: Membership?
    /// A watch was refused to the certificate, and a new one was asked for on that account: once
    /// only.
    private var hasRenewedToWatch = false
    /// It has an address at which it takes requests.
    private var registers: Bool

    private var phase: Phase
    /// Which of the servers is next, or is connected to.
    public private(set) var server: Int
    /// Connections that have failed, or did not last, one after another.
    private var attempts = 0
    /// Renewals that were refused, one after another.
    private var renewals = 0
    /// Requests to be let in that were refused for good, one after another.
    private var refusals = 0
    /// Calls under way, with when their answers are due. Bound: one of each kind.
    private var calls: [SubscriberCall: Instant] = [:]
    /// What is to be acknowledged once the acknowledgement under way is answered.
    private var nextAck: SubscriberCall?
    /// When the watch began; nil: there is none.
    private var watching: Instant?
    private var nextHeartbeat = Instant.distantFuture
    private var heard = Instant.zero
    /// When the sign of life is due; nil: none was asked for.
    private var probed: Instant?
    /// When the end of the registration is not waited for any longer.
    private var leaving: Instant?
    private var commands: [SubscriberCommand] = []
    /// Why the last connection ended, for people; nil: there is one that is well.
    public private(set) var trouble: String?

    /// - Parameters:
    ///   - servers: how many there are, 1 or more.
    ///   - trusts: the mesh's authorities are known.
    ///   - hasOthers: where `trusts` is false: some are held of before, to go by where nobody has
    ///     those that the token names.
    ///   - membership: of a certificate that there is: when to renew it, and when it ends.
    ///   - canJoin: there is a token.
    ///   - registers: it takes requests already.
    /// - Precondition: with neither certificate nor token nobody can be a member.
    public init(
        servers: Int, view: ProxyView, trusts: Bool, hasOthers: Bool = false,
        membership: (Instant, Instant)?, canJoin: Bool, registers: Bool,
        limits: SubscriberLimits = .init(), now: Instant,
        random: SeededRandom
    ) {
        precondition(servers > 0, "a subscriber without a server")
        precondition(canJoin || membership != nil, "neither certificate nor token")
        self.servers = servers
        self.view = view
        self.trusts = trusts
        self.hasOthers = hasOthers
        self.membership = membership.map { Membership(renewal: $0.0, expiry: $0.1) }
        self.canJoin = canJoin
        self.registers = registers
        self.limits = limits
        self.random = random
        // Spreads proxies over servers.
        server = self.random.below(servers)
        phase = .waiting(now)
    }

    /// What is to be done now, in this order.
    public mutating func take() -> [SubscriberCommand] {
        defer { commands = [] }
        return commands
    }

    /// The certificate has ended, and nothing is there to join anew with.
    public func hasEnded(_ now: Instant) -> Bool {
        !canJoin && membership.map { $0.expiry <= now } ?? true
    }

    /// Pushes come.
    public var isWatching: Bool { watching != nil }

    // MARK: Time

    /// When `tick` has something to do.
    public var deadline: Instant {
        switch phase {
        case .ended: return .distantFuture
        case .waiting(let until), .connecting(let until):
            return min(until, leaving ?? .distantFuture)
        case .open: break
        }
        var deadline = min(calls.values.min() ?? .distantFuture, leaving ?? .distantFuture)
        if watching != nil { deadline = min(deadline, nextHeartbeat, nextRenewal) }
        if servers > 1 { deadline = min(deadline, probed ?? heard + limits.probe) }
        return deadline
    }

    private var nextRenewal: Instant {
        guard let membership, calls[.certificate] == nil else { return .distantFuture }
        return membership.renewal
    }

    /// Does what is due.
    public mutating func tick(_ now: Instant) {
        if let leaving, leaving <= now { return end() }
        switch phase {
        case .ended: return
        case .waiting(let until): if until <= now { connect(now) }
        case .connecting(let until):
            if until <= now { lose("no connection within the time for it", now) }
        case .open: tickOpen(now)
        }
    }

    private mutating func tickOpen(_ now: Instant) {
        if let late = calls.first(where: { $0.value <= now }) {
            return lose("no answer to \(late.key.title)", now)
        }
        if servers > 1 {
            if let probed, probed <= now { return lose("no sign of life", now) }
            if probed == nil, heard + limits.probe <= now {
                probed = now + limits.probe
                commands.append(.probe)
            }
        }
        guard watching != nil else { return }
        if nextHeartbeat <= now {
            nextHeartbeat = now + limits.heartbeat
            // One that is not answered in time ends the connection: no other may put that off.
            if calls[.heartbeat] == nil { call(.heartbeat, now) }
        }
        if nextRenewal <= now { call(.certificate, now) }
    }

    // MARK: Connections

    private func trust(_ now: Instant) -> SubscriberTrust {
        guard trusts else { return .anybody }
        guard let membership, now < membership.expiry || !canJoin else { return .authorities }
        return .mutual
    }

    private mutating func connect(_ now: Instant) {
        // Bound: 2 to the 10th is above `connectMost` in any case.
        let patience = limits.connect * (1 << Int64(min(attempts / servers, 10)))
        phase = .connecting(until: now + min(patience, limits.connectMost))
        commands.append(.connect(server: server, trust(now)))
    }

    /// The connection has opened, secured as it was asked for.
    public mutating func connected(_ now: Instant) {
        guard case .connecting = phase else { return }
        phase = .open
        heard = now
        probed = nil
        switch trust(now) {
        case .anybody: call(.authorities, now)
        case .authorities: call(.join, now)
        case .mutual: call(.watch(held: view.version, registers: registers), now)
        }
    }

    /// The connection has ended, or did not open.
    public mutating func disconnected(_ reason: String, _ now: Instant) {
        switch phase {
        case .connecting, .open: note(loss: reason, now)
        case .waiting, .ended: break
        }
    }

    private mutating func lose(_ reason: String, _ now: Instant) {
        commands.append(.disconnect)
        note(loss: reason, now)
    }

    private mutating func note(loss reason: String, _ now: Instant) {
        trouble = reason
        if let watching, watching + limits.stable <= now { attempts = 0 }
        forgetConnection()
        if leaving != nil { return end() }
        attempts += 1
        // All servers are tried, with no more than a moment between them, before a wait that grows.
        let isRound = attempts % servers == 0
        let delay = limits.backoff.delay(isRound ? attempts / servers - 1 : 0, &random)
        server = (server + 1) % servers
        phase = .waiting(now + delay)
    }

    private mutating func forgetConnection() {
        calls = [:]
        nextAck = nil
        watching = nil
        probed = nil
        nextHeartbeat = .distantFuture
    }

    /// Goes on with the same server, over a connection that is secured in another way.
    private mutating func reconnect(_ now: Instant) {
        commands.append(.disconnect)
        forgetConnection()
        connect(now)
    }

    // MARK: Calls

    private mutating func call(_ call: SubscriberCall, _ now: Instant) {
        calls[call] = now + limits.answer
        commands.append(.call(call))
    }

    private mutating func finish(_ call: SubscriberCall, _ now: Instant) -> Bool {
        heard = now
        probed = nil
        return calls.removeValue(forKey: call) != nil
    }

    /// Something has come of the server: an answer to `probe` too.
    public mutating func heard(_ now: Instant) {
        heard = now
        probed = nil
    }

    /// The authorities are known: they are those that the token names.
    public mutating func trusted(_ now: Instant) {
        guard finish(.authorities, now) else { return }
        trusts = true
        reconnect(now)
    }

    /// There is a certificate, the first or a new one.
    /// - Parameters:
    ///   - renewal: when to ask for the next.
    ///   - expiry: when it ends.
    public mutating func certified(renewal: Instant, expiry: Instant, _ now: Instant) {
        let isFirst = finish(.join, now)
        guard isFirst || finish(.certificate, now) else { return }
        // Bound: with whatever clocks, a proxy asks for no more than one in such a time.
        let earliest = now + limits.renewalLeast
        membership = Membership(
            renewal: max(renewal, earliest), earliest: earliest, expiry: expiry)
        renewals = 0
        refusals = 0
        // A watch that was refused to the one before is begun with this one.
        if isFirst || watching == nil { reconnect(now) }
    }

    /// Another certificate is wanted as soon as one may be asked for: a clock has jumped, and the
    /// end is nearer than it seemed, or the certificate is of another identity.
    public mutating func renewSoon(_ now: Instant) {
        guard let membership else { return }
        self.membership?.renewal = min(membership.renewal, max(now, membership.earliest))
    }

    /// The watch has begun.
    public mutating func watchBegan(_ now: Instant) {
        guard let watch = calls.keys.first(where: \.isWatch), finish(watch, now) else { return }
        watching = now
        hasRenewedToWatch = false
        trouble = nil
        nextHeartbeat = now + limits.heartbeat
        // Of what was asked before, `serves` may have changed.
        if watch != .watch(held: view.version, registers: registers) { watchAnew(now) }
    }

    private mutating func watchAnew(_ now: Instant) {
        guard phase == .open, watching != nil else { return }
        reconnect(now)
    }

    /// An answer that needs nothing further has come.
    public mutating func answered(_ call: SubscriberCall, _ now: Instant) {
        guard finish(call, now) else { return }
        switch call {
        case .leave: end()
        case .ack:
            guard let next = nextAck else { return }
            nextAck = nil
            self.call(next, now)
        default: break
        }
    }

    /// A call was answered that it will not be done.
    public mutating func refused(
        _ call: SubscriberCall, _ reason: String, _ refusal: SubscriberRefusal, _ now: Instant
    ) {
        guard finish(call, now) else { return }
        let reason = "\(call.title): \(reason)"
        switch call {
        case .certificate:
            guard watching != nil else { return lose(reason, now) }
            // The one that there is still holds.
            trouble = reason
            let next = now + limits.renewal.delay(renewals, &random)
            membership?.renewal = next
            membership?.earliest = next
            renewals += 1
        case .authorities where refusal != .passing && hasOthers && !trusts:
            trusts = true
            lose(reason, now)
        case .authorities, .join:
            if refusal != .passing { refusals += 1 }
            if refusal != .passing, view.isEmpty, refusals >= max(limits.refusals, servers) {
                commands += [.disconnect, .giveUp(reason)]
                phase = .ended
            } else {
                lose(reason, now)
            }
        case .watch where refusal == .forbidden && !hasRenewedToWatch:
            // The certificate may be of what the service was called before.
            hasRenewedToWatch = true
            trouble = reason
            self.call(.certificate, now)
        // A heartbeat or acknowledgement that is refused: the server does not know of the watch.
        case .watch, .heartbeat, .ack: lose(reason, now)
        case .leave: end()
        }
    }

    // MARK: Pushes

    /// A push has come.
    public mutating func pushed(_ push: MeshPush, _ now: Instant) {
        guard phase == .open, watching != nil else { return }
        heard(now)
        do throws(ProxyViewError) {
            try view.apply(push)
            commands.append(.adopt)
        } catch {
            // What is held stays in force, and is replaced by a snapshot.
            view.forgetVersion()
            lose("\(error)", now)
        }
    }

    /// What came of the view's version.
    /// - Parameter error: why it was refused; nil: it is in force.
    public mutating func adopted(error: String?, _ now: Instant) {
        guard let version = view.version, watching != nil else { return }
        let ack = SubscriberCall.ack(version: version, error: error)
        if calls.keys.contains(where: \.isAck) { nextAck = ack } else { call(ack, now) }
    }

    // MARK: Registration

    /// The proxy takes requests now: says so, and where.
    public mutating func serves(_ now: Instant) {
        guard !registers else { return }
        registers = true
        watchAnew(now)
    }

    /// The proxy is about to stop: ends its registration. `left` tells when.
    public mutating func leave(_ now: Instant) {
        guard leaving == nil, phase != .ended else { return }
        guard phase == .open, watching != nil else { return end() }
        leaving = now + limits.leave
        call(.leave, now)
    }

    private mutating func end() {
        if phase != .ended { commands += [.disconnect, .left] }
        phase = .ended
        forgetConnection()
    }
}

extension SubscriberCall {
    fileprivate var isWatch: Bool { if case .watch = self { true } else { false } }
    fileprivate var isAck: Bool { if case .ack = self { true } else { false } }

    /// For people.
    public var title: String {
        switch self {
        case .authorities: "the request for the authorities"
        case .join: "the request to join"
        case .certificate: "the request for a certificate"
        case .watch: "the watch"
        case .ack: "an acknowledgement"
        case .heartbeat: "a heartbeat"
        case .leave: "the end of the registration"
        }
    }
}
