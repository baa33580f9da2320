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

/// The socket of a connection slot.
private struct SlotSocket: BitwiseCopyable {
    /// -1: none.
    var descriptor: Int32 = -1
    /// Raised when the socket is closed: events of the old one are told by it.
    var generation: UInt32 = 0
    var target: Int32 = 0
    var connected = false
    /// Bytes of the request that are with the kernel; all of them while nothing is to be sent.
    var written = 0
    var writing = false
}

/// One thread of the load generator, on its own reactor.
@safe
struct LoadThread: ~Copyable {
    private var generator: Generator
    private let reactor: Reactor
    private let inbox: LoadInbox
    private let number: Int
    private let addresses: [SocketAddress]
    private let requests: [Bytes]
    private let sockets: Slab<SlotSocket>
    /// What arrives is looked at and forgotten, so one buffer serves all connections.
    // Safety: allocated in `init`, freed in `deinit`, and lent to nobody beyond a call.
    private let buffer: UnsafeMutableRawBufferPointer
    private var policy: WaitPolicy
    /// Where the job's phases begin, and where the last ends, from the start.
    private let boundaries: [Duration]
    /// The last reading of the clock.
    private var now: Instant
    private var spun = Duration.zero

    /// Bytes taken from a socket in one call.
    private static let bufferSize = 256 * 1024
    private static let inboxToken = UInt64.max

    init(job: LoadJob, thread: Int, addresses: [SocketAddress], inbox: LoadInbox)
        throws(SystemError)
    {
        let reactor = try Reactor()
        try reactor.add(reading: inbox.descriptor(of: thread), token: Self.inboxToken)
        self.reactor = reactor
        generator = Generator(job: job, thread: thread)
        self.inbox = inbox
        number = thread
        self.addresses = addresses
        requests = job.targets.map { Bytes(immortal: job.requestBytes(for: $0)) }
        sockets = Slab(count: generator.connectionCount, repeating: SlotSocket())
        unsafe buffer = .allocate(byteCount: Self.bufferSize, alignment: 4096)
        policy = WaitPolicy(limit: job.spin)
        boundaries = job.phases.reduce(into: [.zero]) { sums, phase in
            sums.append(sums[sums.count - 1] + phase.duration)
        }
        now = Clock.now()
    }

    deinit {
        for slot in 0..<sockets.count where sockets[slot].descriptor >= 0 {
            Socket.close(sockets[slot].descriptor)
        }
        sockets.deallocate()
        unsafe buffer.deallocate()
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
            generator.advance(to: now)
            perform()
            if generator.hasClosedSeconds { inbox.post(generator.takeSeconds(), from: number) }
            if !generator.isFinished { handle(wait()) }
        }
        generator.finishSeconds()
        inbox.post(generator.takeSeconds(), from: number)
        var usage = meter.usage(at: Clock.now(), spun: spun)
        usage.phases = marks.phases(until: usage)
        inbox.finish(
            LoadInbox.ThreadEnd(
                tallies: generator.tallies(), usage: usage, partial: generator.isPartial,
                hashes: number == 0 ? generator.scheduleHashes() : nil))
    }

    /// Opens the connections and waits for the order to start; nil if it never comes.
    private mutating func prepare() -> Instant? {
        generator.prepare(at: now)
        perform()
        var told = false
        while true {
            if generator.isSettled, !told {
                told = true
                inbox.settled(unreached: generator.firstUnreachedTarget)
            }
            switch inbox.order {
            case .wait: break
            case .begin(let start):
                now = Clock.now()
                generator.begin(at: start)
                return start
            case .stop: return nil
            }
            turn(until: generator.nextInstant)
        }
    }

    /// Sleeps towards the start, so that the accounts begin with the run.
    private mutating func rest(until instant: Instant) {
        while now < instant { turn(until: min(instant, generator.nextInstant)) }
    }

    private mutating func turn(until instant: Instant) {
        handle(reactor.wait(until: instant, now: now))
        now = Clock.now()
        generator.advance(to: now)
        perform()
    }

    // MARK: Waiting

    /// Waits for the next instant or for sockets; returns how many are ready.
    private mutating func wait() -> Int {
        now = Clock.now()
        let due = generator.nextInstant
        guard let arrival = generator.nextArrival, arrival <= due else {
            // A timeout or the end of a second: nothing that must be exact.
            return reactor.wait(until: due, now: now)
        }
        switch policy.wait(for: arrival, now: now) {
        case .none: return reactor.wait(until: now, now: now)
        case .spin: return spin(until: arrival)
        case .sleep(let until):
            let ready = reactor.wait(until: until, now: now)
            if ready == 0 {
                now = Clock.now()
                if now >= until { policy.woke(at: now, requested: until) }
            }
            return ready
        }
    }

    /// Looks at the sockets until one is ready or `instant` has come.
    private mutating func spin(until instant: Instant) -> Int {
        let begun = now
        var ready = 0
        repeat {
            ready = reactor.wait(until: now, now: now)
            now = Clock.now()
        } while ready == 0 && now < instant
        spun = spun + (now - begun)
        return ready
    }

    // MARK: Events

    private mutating func handle(_ ready: Int) {
        for i in 0..<ready {
            let readiness = reactor.ready(i)
            if readiness.token == Self.inboxToken {
                inbox.clear(number)
                if case .stop = inbox.order {
                    now = Clock.now()
                    generator.stop(at: now)
                    perform()
                }
                continue
            }
            let slot = Int(truncatingIfNeeded: readiness.token & 0xFFFF_FFFF)
            let generation = UInt32(truncatingIfNeeded: readiness.token >> 32)
            if sockets[slot].generation == generation { handle(readiness, slot, generation) }
            // A long batch must not make what is due wait for its end.
            if let arrival = generator.nextArrival, arrival <= now {
                generator.advance(to: now)
                perform()
            }
        }
    }

    private mutating func handle(_ readiness: Readiness, _ slot: Int, _ generation: UInt32) {
        if !sockets[slot].connected {
            guard readiness.writable else { return }
            now = Clock.now()
            if readiness.failed {
                inbox.note(connectError: Socket.error(of: sockets[slot].descriptor))
                closeSocket(slot)
                generator.failedToOpen(slot, at: now)
                return perform()
            }
            sockets[slot].connected = true
            generator.opened(slot, at: now)
            perform()
            if sockets[slot].generation != generation { return }
        }
        if readiness.writable, sockets[slot].writing {
            write(slot)
            perform()
            if sockets[slot].generation != generation { return }
        }
        if readiness.readable { read(slot, generation, toEnd: readiness.ended) }
    }

    /// Reads what has come. A read that did not fill the buffer has emptied the socket, and the
    /// next bytes will be a new event; only where the end was announced is it read up to.
    private mutating func read(_ slot: Int, _ generation: UInt32, toEnd: Bool) {
        while true {
            switch unsafe Socket.receive(sockets[slot].descriptor, into: buffer) {
            case .bytes(let count):
                now = Clock.now()
                let bytes = unsafe Bytes(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                generator.received(slot, bytes, at: now)
                perform()
                if sockets[slot].generation != generation { return }
                if count < Self.bufferSize, !toEnd { return }
            case .wouldBlock: return
            case .closed, .failed:
                now = Clock.now()
                generator.closed(slot, at: now)
                return perform()
            }
        }
    }

    // MARK: Actions

    private mutating func perform() {
        while let action = generator.nextAction() {
            switch action {
            case .send(let slot, _):
                now = Clock.now()
                generator.sending(slot, at: now)
                sockets[slot].written = 0
                write(slot)
            case .open(let slot, let target): open(slot, target)
            case .close(let slot): closeSocket(slot)
            }
        }
    }

    private mutating func open(_ slot: Int, _ target: Int) {
        do throws(SystemError) {
            let descriptor = try Socket.connect(to: addresses[target])
            sockets[slot].descriptor = descriptor
            sockets[slot].target = Int32(target)
            sockets[slot].connected = false
            sockets[slot].writing = false
            let token = UInt64(sockets[slot].generation) << 32 | UInt64(slot)
            try reactor.add(descriptor, token: token)
        } catch {
            inbox.note(connectError: error.code)
            closeSocket(slot)
            generator.failedToOpen(slot, at: now)
        }
    }

    private func closeSocket(_ slot: Int) {
        if sockets[slot].descriptor >= 0 { Socket.close(sockets[slot].descriptor) }
        sockets[slot].descriptor = -1
        sockets[slot].generation &+= 1
    }

    /// Writes the request, or the rest of it, as far as the kernel takes it.
    private mutating func write(_ slot: Int) {
        let request = requests[Int(sockets[slot].target)]
        while true {
            let written = sockets[slot].written
            switch Socket.send(sockets[slot].descriptor, request[written..<request.count]) {
            case .bytes(let count):
                sockets[slot].written = written + count
                if written + count == request.count {
                    sockets[slot].writing = false
                    return generator.written(slot)
                }
            case .wouldBlock:
                sockets[slot].writing = true
                return
            case .closed, .failed:
                now = Clock.now()
                return generator.closed(slot, at: now)
            }
        }
    }
}

extension Bytes {
    /// A copy of `bytes` that is never freed: the requests of a job, which the process sends to its
    /// end.
    fileprivate init(immortal bytes: [UInt8]) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        unsafe copy.copyBytes(from: bytes)
        unsafe self.init(UnsafeRawBufferPointer(copy))
    }
}
