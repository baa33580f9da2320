// One thread of the workload: a reactor, a listener, and the connections it accepted. The backend
// under measurement must cost less than what is measured in front of it: a plain request is one
// read, one parse in place, one write, and allocates nothing.

import Base
import Fault
import Glibc
import Model
import Posix
import Secure
import Synchronization
import Wire

@safe
final class AppWorker: @unchecked Sendable {
    // Safety: after `init` only its own thread touches it, but for `drain`, which is made for
    // others.

    /// Bound: clients at once, in each worker. Past it, connections wait in the listener's queue.
    static let connectionLimit = 8192
    /// Bound: calls to other services under way or pooled, in each worker. Past it, answers are
    /// 502.
    static let callLimit = 4096
    /// Bound: streams of HTTP/2 at once, in each worker. Past it, they are refused.
    static let streamLimit = 32 * 1024
    static let exchangeLimit = connectionLimit + streamLimit
    /// Also the longest head: a head that does not fit is refused.
    static let bufferBytes = 32 * 1024
    /// Reads and writes for one connection before others have their turn.
    static let turnBudget = 32
    static let lingerTime = Duration.seconds(1)
    static let drainTime = Duration.seconds(10)
    static let acceptPause = Duration.milliseconds(100)

    /// What the descriptors that are no connections are known by; and timers that belong to none.
    static let listenerToken = UInt64(UInt32.max)
    static let wakeupToken = UInt64(UInt32.max) - 1
    static let acceptTimer = exchangeLimit + callLimit
    static let drainTimer = exchangeLimit + callLimit + 1
    static let trimTimer = exchangeLimit + callLimit + 2
    static let hungTimer = exchangeLimit + callLimit + 3
    /// Buffers that keep their memory though nobody needs them, 512 KiB.
    static let spareBuffers = 16
    static let trimPause = Duration.seconds(1)

    let name: String
    let speech: AppConfiguration.Speech
    let reactor: Reactor
    var listener: Descriptor?
    let drainRequested = Atomic<Bool>(false)
    var isDraining = false
    var isAccepting = false

    let context: TLSContext?
    /// The TLS of each connection, by slot; empty where connections are not secured.
    var secured: [TLSSocket?]
    private(set) lazy var scratch = TLSScratch()

    let connections: Slab<AppConnection>
    var freeConnection: Int32 = 0
    var openConnections = 0
    /// In memory that the kernel provides as it is used.
    let exchanges: Slab<AppExchange> = Slab(zeroed: exchangeLimit)
    /// What an exchange that is a stream has beyond others, from `connectionLimit` on.
    let streams: Slab<AppStream> = Slab(zeroed: streamLimit)
    var freeStream: Int32 = -1
    /// Streams from here on were never taken.
    var untouchedStreams = 0
    let calls: Slab<AppCall>
    var freeCall: Int32 = 0
    var services: AppServices
    /// nil: no service is called by name.
    let resolver: AppResolver?

    /// Bound: an input and an output for each connection, an input for each call.
    let buffers = BufferPool(size: bufferBytes, limit: 2 * connectionLimit + callLimit)
    var deadlines = DeadlineHeap(capacity: exchangeLimit + callLimit + 4)
    var head = Head(limits: HeadLimits(headBytes: bufferBytes))
    let decider: AppDecider
    /// Whether requests are given up when their time is over.
    let keepsDeadlines: Bool
    /// Whether they are when their clients have left.
    let abandons: Bool
    var random: SeededRandom
    /// Its place among the process's workers.
    let index: Int32
    let commons: AppCommons
    var counters: AppCounters { commons.counters }
    var filler: AppFiller { commons.filler }
    let composer = AppComposer()
    /// The HTTP/2 of each connection that speaks it.
    var sessions = [AppSession?](repeating: nil, count: connectionLimit)
    let assembler = HeadAssembler(HeadLimits(headBytes: bufferBytes))
    /// Bound: fields of an answer; what is made of them: the longest `grpc-message`.
    let fields = FieldList(capacity: 16, made: 8 * 1024)
    /// Connections that have something to send at the end of the turn.
    var dirty: [Int32] = []

    /// Answers that were made whole: echoes and counters; and what is to be sent back of a call.
    /// Only while they are being sent.
    var pages: [Int: [UInt8]] = [:]
    /// Requests that will be sent back. Only while they are read. Bound: `AppEcho.bodyLimit` each.
    var echoes: [Int: AppEcho] = [:]
    /// Of calls of gRPC: requests that have come in part; what came while a call, or a WebSocket on
    /// a stream, was busy; and the text that goes with a status. Bound: 4 MiB, the window of a
    /// stream, and a request.
    var messages: [Int: [UInt8]] = [:]
    var inboxes: [Int: [UInt8]] = [:]
    var texts: [Int: String] = [:]
    /// Messages of WebSockets on their way back. Bound: `messageLimit` each.
    var webSocketMessages: [Int: AppMessage] = [:]
    /// By exchange. Zeroed: an exchange becomes a WebSocket before it is read as one.
    let frames = Slab<WebSocketReader>(zeroed: exchangeLimit)
    /// Fields to pass on to the services that a request calls. Only while it calls.
    var tracing: [Int: [UInt8]] = [:]

    /// By exchange; and what is kept of identifiers, `AppTrace.idBytes` each.
    let traces = Slab<AppTrace>(zeroed: exchangeLimit)
    let ids = Slab<UInt8>(zeroed: exchangeLimit * AppTrace.idBytes)
    /// The faults that requests meet, as of `faultVersion`.
    var faults: [AppFaultMatch] = []
    var faultVersion: UInt64 = 0
    /// Requests that are not answered while their fault is there.
    var hung: [Int: HeldFault] = [:]
    /// Requests of this worker's whose turn has come. Bound: as many as wait.
    var called: [AppTicket] = []
    let inbox: AppInbox
    var nextTicket: UInt32 = 0
    let ledger: AppLines?
    let requestLog: AppLines?

    /// The clock, read once each turn.
    var now = Clock.now()
    var alarm = AppAlarm()
    var budget = 0
    /// Something has happened since the buffers were last trimmed.
    private var wasBusy = false

    init(
        configuration: AppConfiguration, services: AppServices, resolver: AppResolver?,
        context: TLSContext?,
        listener: consuming Descriptor,
        random: SeededRandom, index: Int, commons: AppCommons
    ) throws(SystemError) {
        name = configuration.name
        speech = configuration.speech
        reactor = try Reactor()
        inbox = try AppInbox()
        self.listener = consume listener
        self.services = services
        self.resolver = resolver
        self.context = context
        secured = context == nil ? [] : Array(repeating: nil, count: Self.connectionLimit)
        self.random = random
        self.index = Int32(index)
        self.commons = commons
        ledger = try AppLines(configuration.ledger, commons.ledger)
        requestLog = try AppLines(configuration.requestLog, commons.requestLog)
        decider = AppDecider(configuration.behaviour)
        keepsDeadlines = configuration.behaviour.keepsDeadlines
        abandons = configuration.behaviour.abandons
        connections = Slab(count: Self.connectionLimit, repeating: AppConnection())
        for index in 0..<Self.connectionLimit {
            connections[index].nextFree = index + 1 < Self.connectionLimit ? Int32(index + 1) : -1
        }
        calls = Slab(count: Self.callLimit, repeating: AppCall())
        for index in 0..<Self.callLimit {
            calls[index].next = index + 1 < Self.callLimit ? Int32(index + 1) : -1
        }
        commons.register(inbox)
        try reactor.add(reading: inbox.descriptor, token: Self.wakeupToken)
        resumeAccepting()
    }

    deinit {
        connections.deallocate()
        frames.deallocate()
        calls.deallocate()
        exchanges.deallocate()
        streams.deallocate()
        traces.deallocate()
        ids.deallocate()
    }

    /// Makes the worker end its requests and return from `run`. From any thread.
    func drain() {
        drainRequested.store(true, ordering: .releasing)
        inbox.wake()
    }

    /// Serves until drained.
    func run() {
        TimerSlack.minimize()
        while !isDraining || openConnections > 0 {
            let count = wait()
            if count > 0 { noteWork() }
            for index in 0..<count { handle(reactor.ready(index)) }
            while let timer = deadlines.popExpired(now) { expire(timer) }
            attendFaults()
            // Behind the events: a request that has arrived is answered, not cut off.
            if !isDraining, drainRequested.load(ordering: .acquiring) { beginDraining() }
            flushDirty()
            ledger?.flush()
            requestLog?.flush()
        }
        ledger?.finish()
        requestLog?.finish()
    }

    private func wait() -> Int {
        var deadline = deadlines.earliest
        // Lines that a pipe did not take: its reader does not tell when there is room again.
        if ledger?.isEmpty == false || requestLog?.isEmpty == false {
            deadline = min(deadline ?? .distantFuture, now + .milliseconds(5))
        }
        let wake = deadline.map { alarm.wake(for: $0) }
        let count = reactor.wait(until: wake, now: now)
        let before = now
        now = Clock.now()
        if count == 0, let wake, wake > before { alarm.woke(at: now, planned: wake) }
        return count
    }

    /// An idle worker is not woken for its buffers: the timer runs from work on, and ends with the
    /// first second without any.
    private func noteWork() {
        wasBusy = true
        if deadlines.deadline(of: Self.trimTimer) == nil {
            deadlines.set(Self.trimTimer, at: now + Self.trimPause)
        }
    }

    private func trim() {
        buffers.trim(spare: Self.spareBuffers)
        if wasBusy { deadlines.set(Self.trimTimer, at: now + Self.trimPause) }
        wasBusy = false
    }

    private func handle(_ readiness: Readiness) {
        switch readiness.token {
        case Self.listenerToken: accept()
        case Self.wakeupToken: inbox.clear()
        default:
            let slot = Int(UInt32(truncatingIfNeeded: readiness.token))
            let generation = UInt32(truncatingIfNeeded: readiness.token >> 32)
            if slot >= Self.connectionLimit {
                handleCall(slot - Self.connectionLimit, generation, readiness)
            } else {
                handleConnection(slot, generation, readiness)
            }
        }
    }

    private func handleConnection(_ slot: Int, _ generation: UInt32, _ readiness: Readiness) {
        // An event left over for whoever had the slot before.
        guard connections[slot].generation == generation else { return }
        if readiness.failed {
            // Most servers of HTTP/1.1 do not look at a connection while they work for it.
            let isUnseen = connections[slot].kind == .http && connections[slot].state == .working
            guard isUnseen, !abandons else { return close(slot) }
            connections[slot].isGone = true
            return
        }
        if readiness.readable { connections[slot].canRead = true }
        if readiness.ended { connections[slot].sawEnd = true }
        if readiness.writable, connections[slot].state == .streams { markDirty(slot) }
        // Of its own accord TLS says little: what the socket has not taken of that goes now.
        if readiness.writable { tls(slot)?.flush(to: connections[slot].socket) }
        advance(slot)
    }

    private func expire(_ timer: Int) {
        switch timer {
        case Self.acceptTimer: resumeAccepting()
        case Self.drainTimer: closeAll()
        case Self.trimTimer: trim()
        case Self.hungTimer: releaseHung()
        case Self.exchangeLimit...: callTimedOut(timer - Self.exchangeLimit)
        case Self.connectionLimit...: streamTimer(timer)
        default:
            switch connections[timer].state {
            case .working: answer(timer)
            case .streams: markDirty(timer)
            case .lingering, .handshake: return close(timer)
            default: break
            }
            advance(timer)
        }
    }

    /// Does all that can be done for a connection without waiting.
    func advance(_ slot: Int) {
        budget = Self.turnBudget
        var goesOn = true
        while goesOn {
            switch connections[slot].state {
            case .free, .working: goesOn = false
            case .handshake: goesOn = shakeHands(slot)
            case .head: goesOn = readHead(slot)
            case .body: goesOn = readBody(slot)
            case .message: goesOn = readMessage(slot)
            case .writing: goesOn = write(slot)
            case .streams: goesOn = readStreams(slot)
            case .lingering: goesOn = linger(slot)
            }
        }
    }

    /// Takes one from the turn's budget.
    /// - Returns: false where none is left: the connection then goes on in the next turn.
    func spendBudget(_ slot: Int) -> Bool {
        if budget > 0 {
            budget -= 1
            return true
        }
        deadlines.set(slot, at: now + .nanoseconds(1))
        return false
    }
}

/// When to wake for a deadline. The kernel wakes a sleeper late, by some tens of microseconds on
/// most machines, which would be added to every delay that the workload promises. So it asks to be
/// woken earlier by as much as it has lately been late, and polls for what is left.
struct AppAlarm {
    /// Bound: what may be polled away before each deadline.
    static let limit = Duration.microseconds(150)
    private(set) var lateness = Duration.zero

    func wake(for deadline: Instant) -> Instant { deadline - lateness }

    /// An eighth of each new reading goes into the mean, as in TCP's round-trip estimate (RFC
    /// 6298).
    mutating func woke(at now: Instant, planned: Instant) {
        let late = min(max(now - planned, .zero), Self.limit)
        lateness = lateness + (late - lateness) / 8
    }
}
