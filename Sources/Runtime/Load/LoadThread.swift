// Binds one generator to its sockets: carries out its actions, tells it what happened and when. All
// decisions are the generator's.
//
// Instants: `sending` is read from the clock right before the write, `received` right after the
// read that brought the bytes. What was ready together is handled one by one, each with its own
// reading.

import Base
import Glibc
import LoadCore
import Model
import Posix
import Secure

/// The socket of a connection.
struct LoadSocket: BitwiseCopyable {
    /// -1: none.
    var descriptor: Int32 = -1
    /// Raised when the socket is closed: events of the old one are told by it.
    var generation: UInt32 = 0
    var target: Int32 = 0
    /// The place among its target's addresses of the one that is tried.
    var address: Int32 = 0
    var connected = false
    /// Whether its handshake has begun.
    var isShaking = false
    /// Whether anything has come since it was connected.
    var hasReceived = false
    /// Whether it has taken no more: there is something to write when it does.
    var writing = false
}

/// One thread of the load generator, on its own reactor.
@safe
struct LoadThread: ~Copyable {
    private var generator: Generator
    private let reactor: Reactor
    private let inbox: LoadInbox
    private let number: Int
    /// By target: its addresses, in the order in which to try them, and the one that worked last.
    let addresses: [[SocketAddress]]
    private var preferred: [Int32]
    let sockets: Slab<LoadSocket>
    /// By target; and the TLS of each connection. Empty where they are not secured.
    let contexts: [TLSContext]
    var secured: [TLSSocket?]
    let scratch: TLSScratch?
    /// What arrives is looked at and forgotten, so one buffer serves all connections.
    // Safety: allocated in `init`, freed in `deinit`, and lent to nobody beyond a call.
    private let buffer: UnsafeMutableRawBufferPointer
    private var policy: WaitPolicy
    /// Where the job's phases begin, and where the last ends, from the start.
    private let boundaries: [Duration]
    /// The last reading of the clock.
    private var now: Instant
    private var spun = Duration.zero
    /// When the look at all sockets began that is still going on, and how many waits it has taken.
    private var lookBegan = Instant.zero
    private var looks = 0
    /// All that had arrived by then has been told to the generator.
    private var heard = Instant.zero
    /// Tokens of the connections on which more may lie than one turn reads.
    // Bound: each connection once in a turn.
    private var unread: [UInt64] = []
    /// Whether the connections before the start are being opened, and what came of it.
    var settlement: LoadInbox.Settlement? = LoadInbox.Settlement()
    var openFailures = OpenFailures()
    /// A long run that was stopped early has no hash of its schedule.
    private let hashesWhenPartial: Bool
    private let outcomesFile: String?
    private let seed: UInt64

    /// Bytes taken from a socket in one call.
    private static let bufferSize = 256 * 1024
    /// Reads of one connection before others have their turn: 8 MiB, more than a socket's buffer
    /// holds, so that one turn tells all that had arrived before it.
    private static let readsPerTurn = 32
    /// Requests whose part in the hash is made up at the end though they were never sent: a third
    /// of a second.
    private static let hashedAtEnd = 1e7
    private static let inboxToken = UInt64.max

    init(
        job: LoadJob, thread: Int, addresses: [[SocketAddress]], contexts: [TLSContext],
        messages: LoadMessages, inbox: LoadInbox
    ) throws(SystemError) {
        let reactor = try Reactor()
        try reactor.add(reading: inbox.descriptor(of: thread), token: Self.inboxToken)
        self.reactor = reactor
        generator = Generator(job: job, thread: thread, messages: messages)
        self.inbox = inbox
        number = thread
        self.addresses = addresses
        preferred = addresses.map { _ in 0 }
        self.contexts = contexts
        scratch = contexts.isEmpty ? nil : TLSScratch()
        secured = contexts.isEmpty ? [] : Array(repeating: nil, count: generator.connectionCount)
        sockets = Slab(count: generator.connectionCount, repeating: LoadSocket())
        unsafe buffer = .allocate(byteCount: Self.bufferSize, alignment: 4096)
        policy = WaitPolicy(limit: job.spin)
        boundaries = job.phases.reduce(into: [.zero]) { sums, phase in
            sums.append(sums[sums.count - 1] + phase.duration)
        }
        now = Clock.now()
        let schedule = Schedule(plan: job.plan, phases: job.phases, rotation: [0], seed: job.seed)
        outcomesFile = job.outcomes.map { "\($0).\(thread)" }
        seed = job.seed
        hashesWhenPartial = schedule.expectedRequests <= Self.hashedAtEnd
    }

    deinit {
        for connection in 0..<sockets.count where sockets[connection].descriptor >= 0 {
            Socket.close(sockets[connection].descriptor)
        }
        sockets.deallocate()
        unsafe buffer.deallocate()
    }

    /// Who misses a file that could not be written says so.
    private func writeOutcomes(to path: String) {
        guard let file = unsafe fopen(path, "w") else { return }
        defer { unsafe fclose(file) }
        for end in generator.requestOutcomes { unsafe fputs(end.text(seed: seed) + "\n", file) }
    }

    /// Opens the connections, waits for the start, and runs to the end.
    mutating func run() {
        TimerSlack.minimize()
        guard let start = prepare() else { return }
        rest(until: start - .milliseconds(1))
        let meter = ThreadMeter(begun: now, cpu: Clock.threadCPU())
        var marks = PhaseMarks(boundaries, from: start)
        while !generator.isFinished {
            now = Clock.now()
            // The account of a phase ends where the thread first comes by after its end.
            while marks.isDue(at: now) { marks.add(meter.usage(at: now, spun: spun)) }
            generator.advance(to: now, heard: heard)
            perform()
            if generator.hasClosedSeconds { inbox.post(generator.takeSeconds(), from: number) }
            if !generator.isFinished { handle(wait()) }
        }
        if let outcomesFile { writeOutcomes(to: outcomesFile) }
        generator.finishSeconds()
        inbox.post(generator.takeSeconds(), from: number)
        var usage = meter.usage(at: Clock.now(), spun: spun)
        usage.phases = marks.phases(until: usage)
        let partial = generator.isPartial
        let hashes = number == 0 && (!partial || hashesWhenPartial)
        inbox.finish(
            LoadInbox.ThreadEnd(
                tallies: generator.tallies(), due: generator.dueTallies, usage: usage,
                partial: partial,
                hashes: hashes ? generator.scheduleHashes() : nil, openFailures: openFailures))
    }

    /// Opens the connections and waits for the order to start; nil if it never comes.
    private mutating func prepare() -> Instant? {
        generator.prepare(at: now)
        perform()
        while true {
            if generator.isSettled, var settlement {
                settlement.unreached = generator.firstUnreachedTarget
                inbox.settled(settlement)
                self.settlement = nil
            }
            let order = inbox.order
            if let start = order.start {
                now = Clock.now()
                generator.begin(at: start)
                if order.isStopped { generator.stop(at: now) }
                return start
            }
            if order.isStopped { return nil }
            turn(until: generator.nextInstant)
        }
    }

    /// Sleeps towards the start, so that the accounts begin with the run.
    private mutating func rest(until instant: Instant) {
        while now < instant, !generator.isFinished {
            turn(until: min(instant, generator.nextInstant))
        }
    }

    private mutating func turn(until instant: Instant) {
        handle(look(until: instant))
        now = Clock.now()
        generator.advance(to: now, heard: heard)
        perform()
    }

    // MARK: Waiting

    /// Waits for the next instant or for sockets; returns how many are ready.
    private mutating func wait() -> Int {
        now = Clock.now()
        let due = generator.nextInstant
        guard let arrival = generator.nextArrival, arrival <= due else {
            // A timeout or the end of a second: nothing that must be exact.
            return look(until: due)
        }
        switch policy.wait(for: arrival, now: now) {
        case .none: return look(until: now)
        case .spin: return spin(until: arrival)
        case .sleep(let until):
            let ready = look(until: until)
            if ready == 0 {
                now = Clock.now()
                if now >= until { policy.woke(at: now, requested: until) }
            }
            return ready
        }
    }

    /// Waits for sockets until `instant`; returns how many are ready.
    ///
    /// A look is over when a wait has brought less than it could have, or after as many waits as
    /// all sockets need: the kernel tells those first that have been ready longest. Once the
    /// sockets that it brought have been read, `heard` is when it began.
    private mutating func look(until instant: Instant) -> Int {
        if looks == 0 { lookBegan = now }
        let ready = reactor.wait(until: unread.isEmpty ? instant : now, now: now)
        looks += 1
        if ready < Reactor.batch || looks > sockets.count / Reactor.batch { looks = 0 }
        return ready
    }

    /// Looks at the sockets until one is ready or `instant` has come.
    private mutating func spin(until instant: Instant) -> Int {
        var ready = 0
        repeat {
            let before = now
            ready = look(until: now)
            now = Clock.now()
            // What took longer was no spinning: the core was elsewhere, and cost no CPU time.
            spun = spun + min(now - before, Self.longestTurn)
        } while ready == 0 && now < instant
        return ready
    }

    /// A turn of the spin is one system call that does not wait; some microseconds at most.
    private static let longestTurn = Duration.microseconds(5)

    // MARK: Events

    private mutating func handle(_ ready: Int) {
        // Before the first request goes out: none on a connection of which an end lies in the
        // batch.
        for i in 0..<ready where reactor.ready(i).ended { noteEnd(reactor.ready(i)) }
        for i in 0..<ready {
            let readiness = reactor.ready(i)
            if readiness.token == Self.inboxToken {
                obey()
            } else if let connection = connection(readiness.token) {
                handle(readiness, connection)
            }
            takeUpDue()
        }
        if !unread.isEmpty { readOn() }
        if looks == 0 { heard = lookBegan }
    }

    /// A long batch must not make what is due wait for its end.
    private mutating func takeUpDue() {
        guard let arrival = generator.nextArrival, arrival <= now else { return }
        generator.takeUpDue(at: now)
        perform()
    }

    private mutating func obey() {
        inbox.clear(number)
        guard inbox.order.isStopped else { return }
        now = Clock.now()
        generator.stop(at: now)
        perform()
    }

    /// The connection that a token means; nil where its socket has been closed since.
    private func connection(_ token: UInt64) -> Int? {
        let connection = Int(truncatingIfNeeded: token & 0xFFFF_FFFF)
        return sockets[connection].generation == UInt32(truncatingIfNeeded: token >> 32)
            ? connection : nil
    }

    private func token(_ connection: Int) -> UInt64 {
        UInt64(sockets[connection].generation) << 32 | UInt64(connection)
    }

    private mutating func noteEnd(_ readiness: Readiness) {
        guard readiness.token != Self.inboxToken, let connection = connection(readiness.token),
            sockets[connection].connected
        else { return }
        now = Clock.now()
        generator.peerEnded(connection, at: now)
        perform()
    }

    private mutating func handle(_ readiness: Readiness, _ connection: Int) {
        let generation = sockets[connection].generation
        if !sockets[connection].connected {
            guard readiness.writable || sockets[connection].isShaking else { return }
            now = Clock.now()
            if readiness.failed, !sockets[connection].isShaking {
                return failedToOpen(connection, Socket.error(of: sockets[connection].descriptor))
            }
            if !contexts.isEmpty, !shakeHands(connection) { return }
            sockets[connection].connected = true
            preferred[Int(sockets[connection].target)] = sockets[connection].address
            generator.opened(connection, at: now)
            perform()
            if sockets[connection].generation != generation { return }
        }
        if readiness.writable, sockets[connection].writing {
            write(connection)
            perform()
            if sockets[connection].generation != generation { return }
        }
        // What came along with the end of a handshake is with TLS: no event tells of it.
        if readiness.readable || sockets[connection].isShaking {
            sockets[connection].isShaking = false
            read(connection, toEnd: readiness.ended)
        }
    }

    /// Reads what has come. A read that did not fill the buffer has emptied the socket, and the
    /// next bytes will be a new event; only where the end was announced is it read up to.
    private mutating func read(_ connection: Int, toEnd: Bool) {
        let generation = sockets[connection].generation
        for _ in 0..<Self.readsPerTurn {
            switch unsafe receive(connection, into: buffer, toEnd: toEnd) {
            case .bytes(let count):
                sockets[connection].hasReceived = true
                now = Clock.now()
                let bytes = unsafe Bytes(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                generator.received(connection, bytes, at: now)
                perform()
                if sockets[connection].generation != generation { return }
                if count < Self.bufferSize, !toEnd { return }
                takeUpDue()
                if sockets[connection].generation != generation { return }
            case .wouldBlock: return
            case .closed: return closed(connection, clean: true)
            case .failed:
                noteRefusal(connection)
                return closed(connection, clean: false)
            }
        }
        unread.append(token(connection))
    }

    /// Goes on with the connections that had more than one turn reads.
    private mutating func readOn() {
        let tokens = unread
        unread.removeAll(keepingCapacity: true)
        // Reading up to the end costs one call more where none was announced.
        for token in tokens {
            if let connection = connection(token) { read(connection, toEnd: true) }
        }
    }

    private mutating func closed(_ connection: Int, clean: Bool) {
        now = Clock.now()
        generator.closed(connection, at: now, clean: clean)
        perform()
    }

    // MARK: Actions

    private mutating func perform() {
        while let action = generator.nextAction() {
            switch action {
            case .write(let connection): write(connection)
            case .open(let connection, let target):
                sockets[connection].target = Int32(target)
                sockets[connection].address = preferred[target]
                open(connection)
            case .close(let connection):
                // An attempt that the generator gives up took too long.
                if sockets[connection].descriptor >= 0, !sockets[connection].connected {
                    count(ETIMEDOUT)
                }
                closeSocket(connection)
            case .refuse(let connection, let refusal):
                openFailures.add(refusal)
                settlement?.refusal = refusal
                settlement?.failed += 1
                settlement?.code = EPROTO
                closeSocket(connection)
            }
        }
    }

    private mutating func open(_ connection: Int) {
        let target = Int(sockets[connection].target)
        sockets[connection].connected = false
        sockets[connection].isShaking = false
        sockets[connection].hasReceived = false
        sockets[connection].writing = false
        do throws(SystemError) {
            let address = addresses[target][Int(sockets[connection].address)]
            let descriptor = try Socket.connect(to: address)
            sockets[connection].descriptor = descriptor
            try reactor.add(descriptor, token: token(connection))
        } catch {
            failedToOpen(connection, error.code)
        }
    }

    /// Tries the next address of the target, from the one that worked last round to it again; after
    /// the last of them the connection has failed.
    mutating func failedToOpen(
        _ connection: Int, _ code: Int32, _ failure: TLSFailure? = nil
    ) {
        closeSocket(connection)
        let target = Int(sockets[connection].target)
        let local = OpenFailures.isLocal(code)
        let next = (sockets[connection].address + 1) % Int32(addresses[target].count)
        if !local, failure == nil, next != preferred[target] {
            sockets[connection].address = next
            return open(connection)
        }
        count(code, failure)
        generator.failedToOpen(connection, at: now, local: local)
        perform()
    }

    private mutating func count(_ code: Int32, _ failure: TLSFailure? = nil) {
        if let failure { openFailures.add(failure) } else { openFailures.add(code) }
        settlement?.failure = failure
        settlement?.failed += 1
        settlement?.code = code
    }

    private mutating func closeSocket(_ connection: Int) {
        endSecured(connection)
        if sockets[connection].descriptor >= 0 { Socket.close(sockets[connection].descriptor) }
        sockets[connection].descriptor = -1
        sockets[connection].generation &+= 1
    }

    /// Writes what there is to write, as far as the kernel takes it.
    private mutating func write(_ connection: Int) {
        repeat {
            now = Clock.now()
            let bytes = generator.output(connection, at: now)
            sockets[connection].writing = bytes.count > 0
            if bytes.count == 0 { return }
            var isMore = true
            switch send(connection, bytes) {
            case .bytes(let count): isMore = generator.wrote(connection, count)
            case .wouldBlock: return
            case .closed, .failed:
                now = Clock.now()
                return generator.closed(connection, at: now, clean: false)
            }
            sockets[connection].writing = isMore
        } while sockets[connection].writing
    }
}
