// The reference proxy without its sockets: HTTP/1.1 or HTTP/2 in and out, for one worker. Whoever
// owns the sockets tells it what happened (`accept`, `received`, `ended`, `failed`, `connected`,
// `sent`, `expire`) and does what it asks (`nextEffect`). Time and randomness are arguments, so one
// seed replays everything, and the fuzzers and the simulation drive the very same code as the
// reactor.
//
//      client ──received──▶ input ─▶ head parsed ─▶ route ─▶ endpoint ─▶ upstream.output
//      ──output/sent──▶ service client ◀──sent────── output ◀──────────── body pieces ◀────────────
//      upstream.input ◀──received─── service
//
// Memory: a connection without an exchange holds its slot and no buffer. Bytes that arrive in one
// buffer leave in the same buffer where they are many; a connection whose other side cannot take
// more is not read.

public import Base
public import Fault
public import Model
import Wire

/// One worker's proxy. For one thread; only its `counters` are read by others.
public final class Proxy {
    var configuration: ProxyConfiguration
    var doors: [Door]
    var router: Router
    var authorizer: Authorizer
    var limits: LocalLimits
    var questions: GlobalLimits
    /// The rules that clients' requests are held against, by `Connection.standing`. Bound: one for
    /// each client.
    var conditions = NumberedTable<Conditions>()
    var upstreams: Upstreams
    var writer: HeadWriter
    var upgradePolicy: UpgradePolicy
    /// What is said of attempts, and what counts and limits them; by the places of clusters.
    var plans: TrafficPlans
    var breakers: [Breaker] = []
    /// Those that all workers share; nil: the cluster's limits are not strict.
    var sharedBreakers: [SharedBreaker?] = []
    /// Queues under limits that all workers share.
    var queues: SharedQueues
    /// By clients' slots: the attempts of a request that has a policy.
    let tries: Slab<Tries>
    var head: Head
    var random: SeededRandom
    let connections: Slab<Connection>
    let pool: BufferPool
    var deadlines: DeadlineHeap
    /// For sessions, while a header block of theirs comes.
    private var assemblers: [HeadAssembler] = []
    let fields: FieldList
    var sessions = NumberedTable<ProxySession>()
    /// Sessions with something to send. Bound: each stands in it once.
    var marked: [Int32] = []
    var flushing: [Int32] = []
    /// The instant of the call in hand, for what sessions tell.
    var turn = Instant.zero
    var heldFaults: [HeldFault]
    var faults: FaultFilter
    /// What a gRPC client is told by the reply in hand; nil: what its status means.
    var forcedCall: GRPCStatus?
    /// With what an upstream has reset the stream of the exchange whose reply is in hand; nil: that
    /// is not why. Others may be served, and refused, as the stream is let go: it is not theirs.
    var failedCode: HTTP2Code?
    public let counters = Counters()
    /// What is counted by name, and of routes and listeners by their places.
    public let counts = TrafficCounts()
    var routeCounts: [CountHandle<RouteCount>?] = []
    var listenerCounts: [CountHandle<ListenerCount>] = []
    let commons: ProxyCommons
    /// Finished access log lines; the owner of the worker writes them out.
    public let log: AccessLog
    /// Finished lines of what faults have done, likewise.
    public let ledger: AccessLog

    private(set) var freeSlots: Int32 = -1
    private(set) var touchedSlots = 0
    private var openSlots = 0
    private(set) var draining = false
    var openMirrors = 0
    /// Requests that are held back since their own fields ask for that.
    var heldByFields = 0
    /// Clients' addresses as text, 48 bytes a slot, the length first.
    private let clients: Slab<UInt8>
    /// What was agreed on with clients whose connections are secured. Bound: one each.
    var agreements: [Int: TLSAgreement] = [:]
    static let clientBytes = 48
    /// Connections that found no buffer. Bound: each slot stands in it at most once.
    var starved: [Int] = []
    private let effects: Slab<Effect>
    /// Lines of the head of an answer that is given from here, while they are made.
    let replyFields: Slab<UInt8>
    /// CLOCK_REALTIME less CLOCK_MONOTONIC, nanoseconds: makes instants into times of day. nil:
    /// there is no such clock, so no date is given to answers that lack one.
    public var wallOffset: Int64? {
        didSet { dateLine.forget() }
    }
    var dateLine = DateLine()
    private var effectHead = 0
    private var effectCount = 0

    /// Bytes of one buffer: an answer of 16 KiB comes in one read, a loopback segment too.
    public static let bufferSize = 64 * 1024
    /// Bodies up to here are copied behind their head rather than handed over as a buffer: one
    /// region to send instead of two, and the upstream's buffer is free at once.
    static let copyLimit = 20 * 1024
    /// Fields that a head may gain on its way: pseudo-fields, and what `HeadWriter` adds.
    static let addedFields = 24 + 3 * HeaderChanges.most
    /// 1xx answers of one exchange that are passed on. Bound: an upstream cannot hold a client with
    /// them.
    static let interimLimit = 16

    /// A worker's proxy.
    /// - Parameters:
    ///   - random: for request identifiers, and whatever is drawn.
    ///   - commons: what the workers of the proxy share.
    ///   - faults: what requests meet, those of the configuration too.
    public init(
        _ configuration: ProxyConfiguration, random: SeededRandom,
        commons: ProxyCommons = ProxyCommons(), faults: [HeldFault] = []
    ) {
        self.commons = commons
        let slots = configuration.limits.connections
        self.configuration = configuration
        self.random = random
        doors = Self.doors(configuration)
        router = Router(configuration)
        authorizer = Authorizer(
            configuration, longestPath: configuration.limits.targetBytes)
        self.limits = LocalLimits(configuration, commons)
        questions = GlobalLimits(configuration)
        upstreams = Upstreams(configuration, commons)
        writer = HeadWriter(configuration.headers)
        upgradePolicy = UpgradePolicy(configuration.upgrades)
        let limits = Self.headLimits(configuration.limits)
        head = Head(limits: limits)
        fields = FieldList(
            capacity: limits.fieldCount + Self.addedFields, made: limits.headBytes + 1024)
        connections = Slab(zeroed: slots)
        tries = Slab(zeroed: slots)
        plans = TrafficPlans(configuration)
        queues = SharedQueues(workers: configuration.workers)
        // Input and output of every connection at once would be twice the slots and more; half of
        // them busy at one moment is what a worker is sized for. Past it, `space` says no and
        // reading waits. Half as many again for requests that are kept until their answer begins:
        // each has a client's slot and an upstream's.
        pool = BufferPool(size: Self.bufferSize, limit: max(64, slots) + slots / 2)
        deadlines = DeadlineHeap(capacity: slots)
        log = AccessLog(enabled: configuration.accessLog != nil)
        ledger = AccessLog(enabled: configuration.ledger != nil)
        heldFaults = faults
        self.faults = FaultFilter(faults, configuration)
        // Bound: at most a flush, a read, a connect or an end, and a close are outstanding for each
        // slot.
        effects = Slab(zeroed: slots * 5 + 1)
        clients = Slab(zeroed: slots * Self.clientBytes)
        replyFields = Slab(zeroed: Self.bufferSize / 2)
        renewCounts()
        renewBreakers(configuration)
    }

    deinit {
        upstreams.leave()
        leaveQueues()
        leaveShared()
        connections.deallocate()
        tries.deallocate()
        effects.deallocate()
        clients.deallocate()
        replyFields.deallocate()
    }

    static func headLimits(_ limits: ProxyLimits) -> HeadLimits {
        HeadLimits(
            headBytes: limits.headBytes, fieldCount: limits.headerCount,
            targetBytes: limits.targetBytes)
    }

    // MARK: What the owner asks

    /// Whether something is outstanding.
    @inline(__always)
    public var hasEffects: Bool { effectCount > 0 }

    /// The next thing to do; nil: nothing is outstanding.
    @inline(__always)
    public func nextEffect() -> Effect? {
        guard effectCount > 0 else { return nil }
        let effect = effects[effectHead]
        effectCount &-= 1
        // An empty ring begins at its start again, so that only as much of it is touched as is ever
        // used.
        effectHead = effectCount == 0 || effectHead &+ 1 == effects.count ? 0 : effectHead &+ 1
        switch effect {
        case .flush(let slot): connections[slot].flushQueued = false
        case .read(let slot): connections[slot].readQueued = false
        case .close(let slot, _):
            if connections[slot].session >= 0, connections[slot].carrier < 0 {
                sessions.remove(connections[slot].session)
            }
            // Only now may the slot be used again: until here it had the old connection's socket.
            connections[slot].next = freeSlots
            freeSlots = Int32(slot)
            openSlots -= 1
            feedStarved()
        default: break
        }
        return effect
    }

    /// What the owner has not yet taken, first come first.
    var waitingEffects: [Effect] {
        (0..<effectCount).map { effects[(effectHead + $0) % effects.count] }
    }

    func ask(_ effect: Effect) {
        precondition(effectCount < effects.count, "more effects than connections can cause")
        var place = effectHead + effectCount
        if place >= effects.count { place -= effects.count }
        effects[place] = effect
        effectCount &+= 1
    }

    func askFlush(_ slot: Int) {
        if connections[slot].isStream {
            let session = session(of: slot)
            session.resume(connections[slot].stream)
            return mark(session)
        }
        guard !connections[slot].isMirror else { return connections[slot].output.clear(to: pool) }
        guard !connections[slot].flushQueued else { return }
        connections[slot].flushQueued = true
        ask(.flush(slot: slot))
    }

    func askRead(_ slot: Int) {
        guard !connections[slot].readQueued else { return }
        connections[slot].readQueued = true
        ask(.read(slot: slot))
    }

    /// The use count of a slot: whoever keeps a slot's number keeps this with it.
    @inline(__always)
    public func generation(of slot: Int) -> UInt32 { connections[slot].generation }

    /// Whether the slot is in use.
    @inline(__always)
    public func isOpen(_ slot: Int) -> Bool { connections[slot].role != .free }

    /// Whether reading stopped while more may be there.
    @inline(__always)
    public func isPaused(_ slot: Int) -> Bool {
        connections[slot].readPaused && connections[slot].hasSocket
    }

    /// Whether the slot's connection is still being opened.
    @inline(__always)
    public func isConnecting(_ slot: Int) -> Bool { connections[slot].stage == .connecting }

    /// Whether the slot's connection leads to an upstream.
    public func isUpstream(_ slot: Int) -> Bool { connections[slot].role == .upstream }

    /// Open connections of both sides.
    public var openConnections: Int { openSlots }

    /// Open connections of clients.
    public var openClients: Int {
        Int(counters[.downstreamConnectionsTotal] - counters[.downstreamConnectionsClosed])
    }

    /// Buffers that hold bytes at this moment.
    public var buffersInUse: Int { pool.inUse }

    /// The address that an effect's endpoint stands for, as the configuration wrote it.
    public func address(ofEndpoint endpoint: Int) -> String { upstreams.addresses[endpoint] }

    /// How long requests in flight may take to end after `drain`.
    public var drainTime: Duration { configuration.timeouts.drain }

    /// Gives memory back that was not needed of late. Call it about once a second.
    public func trim() { pool.trim(spare: 32) }

    // MARK: Assemblers

    /// How many are kept for the next heads: most heads come in one piece, one at a time.
    private static let spareAssemblers = 4

    func takeAssembler() -> HeadAssembler { assemblers.popLast() ?? HeadAssembler(head.limits) }

    func give(_ assembler: HeadAssembler) {
        if assemblers.count < Self.spareAssemblers { assemblers.append(assembler) }
    }

    // MARK: Slots

    func takeSlot(_ role: Role, now: Instant) -> Int? {
        let slot: Int
        if freeSlots >= 0 {
            slot = Int(freeSlots)
            freeSlots = connections[slot].next
        } else if touchedSlots < connections.count {
            slot = touchedSlots
            touchedSlots += 1
        } else {
            return nil
        }
        let generation = connections[slot].generation &+ 1
        connections[slot] = Connection()
        connections[slot].generation = generation
        connections[slot].role = role
        connections[slot].since = now
        connections[slot].active = now
        connections[slot].opened = now
        openSlots += 1
        return slot
    }

    /// Frees the slot and has the connection closed.
    func close(_ slot: Int, reset: Bool = false) {
        precondition(connections[slot].role != .free, "a connection was closed twice")
        endAttempt(slot, .cancelled, now: connections[slot].active)
        if connections[slot].session >= 0, connections[slot].isStream { detach(slot) }
        releaseInput(slot)
        connections[slot].output.clear(to: pool)
        dropReceived(slot)
        dropTail(slot)
        dropTrailers(slot)
        if connections[slot].role == .downstream {
            if connections[slot].isMirror { endMirror(slot) } else { cutMirrors(of: slot) }
            forgetQuestion(of: slot, now: connections[slot].active)
            dropNote(slot)
            // Its client may go before it is sent again in a new configuration.
            giveRetry(slot)
            if connections[slot].isSecured { agreements[slot] = nil }
            forgetStanding(slot)
            if connections[slot].hasSocket { counters.add(.downstreamConnectionsClosed) }
        } else if !connections[slot].isStream {
            let endpoint = Int(connections[slot].endpoint)
            upstreams.count(-1, at: endpoint)
            giveConnection(slot)
            count(.upstreamConnectionsClosed, .connectionsEnded, cluster(ofEndpoint: endpoint))
        }
        if connections[slot].isStarved { starved.removeAll { $0 == slot } }
        deadlines.clear(slot)
        connections[slot].role = .free
        ask(.close(slot: slot, reset: reset))
    }

    func releaseInput(_ slot: Int) {
        let buffer = connections[slot].input
        guard buffer >= 0 else { return }
        pool.give(buffer)
        connections[slot].input = -1
        connections[slot].inputStart = 0
        connections[slot].inputEnd = 0
    }

    func input(_ slot: Int) -> Bytes {
        let connection = connections[slot]
        guard connection.input >= 0 else { return Bytes("") }
        return pool.bytes(connection.input, Int(connection.inputStart)..<Int(connection.inputEnd))
    }

    func consumeInput(_ slot: Int, _ count: Int) {
        connections[slot].inputStart += UInt32(count)
        if connections[slot].inputStart == connections[slot].inputEnd { releaseInput(slot) }
    }

    // MARK: Clients' addresses

    func remember(client: Bytes, _ slot: Int) {
        let count = min(client.count, Self.clientBytes - 1)
        clients[slot * Self.clientBytes] = UInt8(count)
        for i in 0..<count { clients[slot * Self.clientBytes + 1 + i] = client[i] }
    }

    /// The client's address as text; empty where it was not told.
    func client(of slot: Int) -> Bytes {
        let owner = connections[slot].isStream ? Int(connections[slot].carrier) : slot
        let start = owner * Self.clientBytes
        return clients.bytes(start + 1..<start + 1 + Int(clients[start]))
    }

    // MARK: Configuration and drain

    /// Goes over to a new configuration. Requests in hand end as they began. The worker's
    /// connection limit and head limits stay as they were at the start, and so do which listeners
    /// there are, where, and what they speak.
    public func adopt(_ new: ProxyConfiguration, now: Instant) {
        if !Authorizer.isSame(configuration, new) {
            for slot in 0..<touchedSlots { forgetStanding(slot) }
            authorizer = Authorizer(new, longestPath: head.limits.targetBytes)
        }
        let oldRoutes = configuration.routes + router.kept
        configuration = new
        doors = Self.doors(new)
        router = Router(new, kept: renumberRoutes(from: oldRoutes))
        // Made before those they follow are gone, so that buckets are handed on.
        limits = LocalLimits(new, commons)
        questions = GlobalLimits(new)
        writer = HeadWriter(new.headers)
        upgradePolicy = UpgradePolicy(new.upgrades)
        // Waiting requests are routed anew by the new configuration, and have no retry then that a
        // fault's answer brought them.
        var waiting: [Int] = []
        for c in upstreams.clusters.indices {
            for priority in 0..<2 as Range<UInt8> {
                while let slot = popPending(c, priority) {
                    // Counted no more among those that wait.
                    connections[slot].stage = .awaitingRequest
                    if !connections[slot].exchange.isAgain { giveRetry(slot) }
                    waiting.append(slot)
                }
            }
        }
        // Those between two filters wait on, and are routed anew when they go on. Those that have
        // been sent before go to their cluster.
        for slot in 0..<touchedSlots
        where connections[slot].stage == .waiting && !connections[slot].exchange.isAgain {
            connections[slot].isRerouted = true
            giveRetry(slot)
        }
        let oldNames = upstreams.clusterNames
        upstreams.adopt(new, known: endpointsInHand(), now: now)
        renumberClusters(oldNames)
        adoptPlans(new)
        log.adopt(enabled: new.accessLog != nil)
        ledger.adopt(enabled: new.ledger != nil)
        faults = FaultFilter(heldFaults, new)
        for e in upstreams.endpoints.indices where upstreams.endpoints[e].removed {
            while let slot = popPooled(e) { retire(slot) }
        }
        for slot in waiting {
            connections[slot].isRerouted = true
            askRead(slot)
        }
        dismissUnfit(now: now)
    }

    /// A connection to an endpoint that is no longer wanted. Streams that it carries end first.
    private func retire(_ slot: Int) {
        guard connections[slot].isPooled else { return close(slot) }
        connections[slot].isPooled = false
        let session = session(of: slot)
        session.isClosing = true
        session.submitGoaway(.noError)
        mark(session)
    }

    /// Lets exchanges in hand know their cluster by its new number; -1: it is gone.
    private func renumberClusters(_ oldNames: [String]) {
        let numbers = oldNames.map { name in
            Int32(upstreams.clusterNames.firstIndex(of: name) ?? -1)
        }
        for slot in 0..<touchedSlots where connections[slot].role == .downstream {
            let old = Int(connections[slot].exchange.cluster)
            if old >= 0 { connections[slot].exchange.cluster = numbers[old] }
        }
    }

    /// Stops keeping connections: each closes as soon as its exchange has ended, idle ones as soon
    /// as a look at their socket has shown that no request has come. A client that has connected
    /// and not yet asked gets a moment to do so.
    public func drain(now: Instant) {
        draining = true
        for slot in 0..<touchedSlots {
            let connection = connections[slot]
            switch (connection.role, connection.stage) {
            case (.upstream, .pooled):
                unpool(slot)
                close(slot)
            case (.downstream, .session): drainSession(slot, now: now)
            case (.upstream, .session) where session(of: slot).streams.isEmpty:
                drainSession(slot, now: now)
            case (.downstream, .awaitingRequest) where !connection.hasSocket: break
            case (.downstream, .awaitingRequest):
                leaveSoon(slot, now: now)
            default: break
            }
        }
    }

    /// Whether a client's connection closes as soon as its exchange has ended.
    @inline(__always)
    func isLeaving(_ slot: Int) -> Bool { draining || connections[slot].isLeaving }

    /// Whether a client's connection has been answered and asks for nothing more, as far as is
    /// known.
    func isIdle(_ slot: Int) -> Bool {
        let connection = connections[slot]
        return connection.role == .downstream && connection.stage == .awaitingRequest
            && connection.exchange.started > .zero && !connection.hasInput
            && !connection.hasReceived && connection.output.isEmpty
    }
}
