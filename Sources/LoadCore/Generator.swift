// One thread of the load generator as a state machine: told what happened and when, it says what to
// do. No socket, no clock. It decides which request goes out on which connection, when a request
// has taken too long, and what is recorded; `Runtime` moves the bytes, the tests simulate a server.
//
// The life of a request: planned (its intended instant lies in the schedule), taken up (the
// generator has noticed that the instant has come), waiting (if no connection is free), sent, ended
// in exactly one outcome.
//
// What is charged to whom: the time from intended to taken up is the generator's own lateness
// (lag). The time spent waiting for a connection is the system's: all connections are busy because
// answers are slow. Both are part of response latency; neither is part of service latency.

public import Base
import Model
import Stats

/// What the owner of the sockets is to do.
@frozen
public enum LoadAction: Equatable, Sendable, BitwiseCopyable {
    /// Connect to the target, then tell `opened` or `failedToOpen`.
    case open(connection: Int, target: Int)
    /// Write what `output` gives until it gives nothing or the socket takes no more; then again
    /// whenever it does.
    case write(connection: Int)
    /// Close the connection; nothing is told of it any more.
    case close(connection: Int)
    /// The same where it was open and the peer refused what was to be spoken on it: it counts as an
    /// attempt to open that failed.
    case refuse(connection: Int, HandshakeRefusal)
}

/// Why what was to be spoken on an open connection is not.
@frozen
public enum HandshakeRefusal: Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
    /// The handshake was answered with this status, 200 to 599.
    case status(Int)
    /// The connection, or the stream, ended or broke the protocol before an answer.
    case unanswered
    /// The peer's SETTINGS allow no CONNECT that names a protocol, so none may be sent (RFC 8441,
    /// 3).
    case extendedConnect

    /// For people.
    public var description: String {
        switch self {
        case .status(let status): "handshake answered with status \(status)"
        case .unanswered: "no handshake"
        case .extendedConnect:
            "no WebSocket over HTTP/2: the peer's SETTINGS do not allow extended CONNECT"
        }
    }
}

/// One thread's part of a load job.
public struct Generator: ~Copyable {
    private enum Stage {
        case preparing
        /// Requests are offered.
        case running
        /// Those under way are waited for.
        case draining
    }

    let closedLoop: Bool
    let timeout: Duration
    let requestsPerConnection: Int
    let connections: Slab<Connection>
    let slots: Slab<RequestSlot>
    var targets: [TargetState]
    var recorder: Recorder
    var speech: Speech
    var actions: ActionQueue
    /// Nil where nobody asks for them.
    var outcomes: OutcomeLog?

    private var stage = Stage.preparing
    private var schedule: ThreadSchedule
    private var nextRequest: PlannedRequest?
    private(set) var start = Instant.distantFuture
    private let phaseEnds: [Duration]
    /// Closed arrivals: whether a phase sends at all.
    private let phaseSends: [Bool]
    /// Without a schedule: which request is sent next, and by how many they are apart.
    var nextNumber: UInt64
    let threads: UInt64
    /// The phase that the clock is in: the first before the start, the last after the end.
    var phase = 0
    /// When what is still open is given up: set when the run is stopped.
    private var drainUntil = Instant.distantFuture
    private var stoppedAt: Instant?
    /// When connections that failed to open are tried again.
    private var retryAt = Instant.distantFuture
    /// Until when no connection is opened, because the generator's own machine could not.
    var openingPausedUntil = Instant.zero

    /// The pause before connections are tried again where no schedule bounds the attempts: with
    /// closed arrivals, and where the generator's own machine could not open one.
    static let retryPause = Duration.milliseconds(10)

    /// - Parameter messages: of the same job, shared by all threads.
    /// - Precondition: `job.validate()` passed and `thread` is below `job.threadCount`.
    public init(job: LoadJob, thread: Int, messages: LoadMessages) {
        let threads = job.threadCount
        precondition(thread >= 0 && thread < threads, "no thread \(thread)")
        outcomes = OutcomeLog(job)
        let plan = job.plan
        let weights = job.targets.map(\.weight)
        let rotation = targetRotation(weights: weights)
        closedLoop = plan.arrivals == .closed
        nextNumber = UInt64(thread)
        self.threads = UInt64(threads)
        timeout = plan.timeout
        requestsPerConnection = plan.requestsPerConnection
        let own = plan.connections / threads + (thread < plan.connections % threads ? 1 : 0)
        let shares = connectionShares(weights: weights, connections: own)
        let whole = Schedule(plan: plan, phases: job.phases, rotation: rotation, seed: job.seed)
        schedule = ThreadSchedule(
            whole, targets: weights.count, thread: thread, threads: threads)
        connections = Slab(count: own, repeating: Connection(target: 0))
        speech = Speech(job: job, connections: own, messages: messages)
        slots = Slab(count: own * speech.places, repeating: RequestSlot())
        targets = []
        var next = 0
        for (target, share) in shares.enumerated() {
            let due = whole.peakRate * plan.timeout.seconds / Double(threads)
            let part = Double(weights[target]) / Double(weights.reduce(0, +))
            var state = TargetState(
                waiting: WaitingQueue(capacity: LoadLimits.waiting(due: due, part: part)))
            for _ in 0..<share {
                connections[next] = Connection(target: target)
                state.enter(next, .closed, in: connections)
                next += 1
            }
            targets.append(state)
        }
        recorder = Recorder(phases: job.phases)
        actions = ActionQueue(connections: own)
        var end = Duration.zero
        phaseEnds = job.phases.map {
            end = end + $0.duration
            return end
        }
        phaseSends = job.phases.map { $0.rate != 0 }
    }

    deinit {
        connections.deallocate()
        slots.deallocate()
        for target in targets { target.waiting.deallocate() }
        actions.deallocate()
    }

    /// The connections of this thread: from 0 to this.
    public var connectionCount: Int { connections.count }

    /// The next thing to do; nil when there is nothing. Take them all after each call that tells
    /// something.
    @inline(__always)
    public mutating func nextAction() -> LoadAction? {
        let action = actions.popFirst()
        if case .write(let connection) = action { connections[connection].writeAsked = false }
        return action
    }

    // MARK: The course of the run

    /// Begins to open all connections, before the start.
    public mutating func prepare(at now: Instant) {
        for target in targets.indices {
            while targets[target].closed.first >= 0 {
                open(Int(targets[target].closed.first), at: now)
            }
        }
    }

    /// Whether no connection is being opened.
    public var isSettled: Bool { targets.allSatisfy { $0.opening.count == 0 } }

    /// The first target without an open connection; nil if each has one.
    public var firstUnreachedTarget: Int? {
        targets.firstIndex { $0.open.count == 0 }
    }

    /// Sets the instant at which the first phase begins.
    public mutating func begin(at start: Instant) {
        precondition(stage == .preparing, "a generator begins once")
        self.start = start
        stage = .running
        recorder.begin(at: start)
        nextRequest = schedule.next()
    }

    /// Does what has become due: gives up what has timed out, takes up requests whose instant has
    /// come.
    /// - Parameter heard: everything that had arrived by then has been told; at most `now`. What
    ///   timed out later may have an answer that lies unread, and is not given up yet: a generator
    ///   that stood still must not charge its own lateness to the system.
    public mutating func advance(to now: Instant, heard: Instant) {
        recorder.roll(to: now)
        expire(by: heard, at: now)
        switch stage {
        case .preparing: return
        case .running:
            takeUpDue(at: now)
            if closedLoop { sendOnFree(at: now) }
            if nextRequest == nil, now >= start + (phaseEnds.last ?? .zero) { stage = .draining }
        case .draining:
            if heard >= drainUntil { giveUpAll(at: now) }
        }
        if now >= retryAt { retryOpening(at: now) }
    }

    /// Takes up requests whose instant has come, and nothing else: for the middle of a batch of
    /// events, of which some are not told yet.
    public mutating func takeUpDue(at now: Instant) {
        guard stage == .running else { return }
        recorder.roll(to: now)
        while phase + 1 < phaseEnds.count, start + phaseEnds[phase] <= now { phase += 1 }
        // Bound: after a standstill the owner looks at its sockets and orders in between.
        var left = LoadLimits.catchUp
        while left > 0, let request = nextRequest, start + request.offset <= now {
            takeUp(request, at: now)
            nextRequest = schedule.next()
            left &-= 1
        }
    }

    /// When `advance` has something to do next, if no socket becomes ready before.
    public var nextInstant: Instant {
        var next = Instant.distantFuture
        for target in targets {
            if target.busy.first >= 0 {
                next = min(next, slots[Int(target.busy.first)].intended + timeout)
            }
            if let waiting = target.waiting.first { next = min(next, waiting.intended + timeout) }
            if target.opening.first >= 0 {
                next = min(next, connections[Int(target.opening.first)].openingSince + timeout)
            }
        }
        switch stage {
        case .preparing: return next
        case .draining: return min(next, min(drainUntil, retryAt))
        case .running:
            if let request = nextRequest {
                next = min(next, start + request.offset)
            } else {
                next = min(next, start + phaseEnds[phase])
            }
            return min(next, min(recorder.nextBoundary, retryAt))
        }
    }

    /// The instant of the next planned request, which is what the wait must be exact for.
    public var nextArrival: Instant? {
        guard stage == .running, let request = nextRequest else { return nil }
        return start + request.offset
    }

    /// Stops offering. What is under way has a second left; what waits is dropped.
    public mutating func stop(at now: Instant) {
        guard stage == .running || stage == .draining, stoppedAt == nil else { return }
        if stage == .running { stoppedAt = now }
        stage = .draining
        nextRequest = nil
        drainUntil = now + min(timeout, LoadLimits.drainWhenStopped)
        for target in targets.indices {
            while let request = targets[target].waiting.popFirst() {
                dropEarly(request, at: now)
            }
        }
    }

    /// Whether every planned request has ended.
    public var isFinished: Bool {
        stage == .draining
            && targets.allSatisfy { $0.busy.count == 0 && $0.waiting.count == 0 }
    }

    /// What became of each request, in the order of their ends; empty where nobody asks.
    public var requestOutcomes: [RequestOutcome] { outcomes?.ends ?? [] }

    /// Whether requests are sent as soon as a connection is free.
    var sendsAtOnce: Bool { closedLoop && stage == .running && phaseSends[phase] }

    private mutating func giveUpAll(at now: Instant) {
        for target in targets.indices {
            while targets[target].busy.first >= 0 {
                timeOut(Int(targets[target].busy.first), at: now)
            }
        }
    }

    private mutating func sendOnFree(at now: Instant) {
        guard sendsAtOnce else { return }
        for target in targets.indices { serve(target, at: now) }
    }

    /// Tries the connections that could not be opened again, after a pause.
    mutating func retryLater(at now: Instant) {
        retryAt = min(retryAt, now + Self.retryPause)
    }

    private mutating func retryOpening(at now: Instant) {
        retryAt = .distantFuture
        for target in targets.indices {
            if sendsAtOnce {
                while targets[target].closed.first >= 0 {
                    open(Int(targets[target].closed.first), at: now)
                }
            } else {
                openForWaiting(target, at: now)
            }
        }
    }

    // MARK: What was seen

    /// Whether a second has been closed since `takeSeconds`.
    public var hasClosedSeconds: Bool { recorder.hasClosedSeconds }

    /// The seconds closed since the last call.
    public mutating func takeSeconds() -> [LoadResult.SecondTally] { recorder.takeSeconds() }

    /// Closes the last second. Call it once, when finished, before `takeSeconds` and `tallies`.
    public mutating func finishSeconds() { recorder.finish() }

    /// The figures of every phase.
    public func tallies() -> [LoadResult.PhaseTally] { recorder.tallies(stopped: stoppedAt) }

    /// What became of the requests of each second of the job.
    public var dueTallies: [LoadResult.DueTally] { recorder.dueTallies }

    /// Whether the run was stopped before its end.
    public var isPartial: Bool { stoppedAt != nil }

    /// Of the whole schedule, of all threads.
    ///
    /// At once when all requests were taken up; else some 30 ns for each that was not.
    public func scheduleHashes() -> ScheduleHashes { schedule.hashes() }
}

/// Actions that the owner of the sockets has not taken yet; bounded.
struct ActionQueue: Sendable {
    // Bound: one call tells each connection at most to close, to open and to write, the last once
    // until it is taken; four, to be a power of two.
    private let ring: Slab<LoadAction>
    private let mask: Int
    private var head = 0
    private var count = 0

    init(connections: Int) {
        var capacity = 4
        while capacity < 4 * connections { capacity *= 2 }
        ring = Slab(count: capacity, repeating: .close(connection: -1))
        mask = capacity - 1
    }

    func deallocate() { ring.deallocate() }

    @inline(__always)
    mutating func append(_ action: LoadAction) {
        precondition(count <= mask, "more actions than connections can have")
        ring[(head &+ count) & mask] = action
        count &+= 1
    }

    @inline(__always)
    mutating func popFirst() -> LoadAction? {
        if count == 0 { return nil }
        let action = ring[head]
        head = (head &+ 1) & mask
        count &-= 1
        return action
    }
}
