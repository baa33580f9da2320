// The offered schedule: which request is meant to be sent when, and to whom. A pure function of
// plan, phases and seed, generated one request at a time: an hour of it takes no more memory than a
// second. The instants are absolute (offsets from the start of the job), never gaps added to "now",
// so that a late generator catches up instead of offering less.

public import Base
public import Model

/// One planned request.
@frozen
public struct PlannedRequest: Equatable, Sendable, BitwiseCopyable {
    /// Its place in the schedule, from 0.
    public var number: Int
    /// Its intended instant, from the start of the job.
    public var offset: Duration
    /// The index of the phase in which that lies.
    public var phase: Int
    /// The index of the target it goes to.
    public var target: Int
}

/// What identifies an offered schedule.
public struct ScheduleHashes: Equatable, Sendable {
    /// Of every request's number and instant: equal for all ways to reach a service.
    public var instants: UInt64
    /// The same with the target of each request: equal only where targets and weights are equal
    /// too.
    public var assignment: UInt64
}

/// The requests of a job in the order of their intended instants, and the hash of them.
public struct Schedule: Sendable {
    private struct Span: Sendable {
        var start: Duration
        var duration: Duration
        var curve: RateCurve
    }

    private let arrivals: LoadPlan.Arrivals
    private let spans: [Span]
    private let rotation: [Int]
    private let seed: SeededRandom
    /// Of the whole job.
    public let duration: Duration
    /// The greatest rate of any phase, requests per second; 0 for closed arrivals.
    public let peakRate: Double

    private var random: SeededRandom
    private var phase = 0
    private var piece = 0
    /// Requests given out in this phase.
    private var index = 0
    /// Poisson: the sum of the exponentials so far.
    private var area = 0.0
    private var number = 0
    private var rotationIndex = 0
    private var hash: UInt64

    /// - Parameter rotation: the targets of consecutive requests, repeated; see `targetRotation`.
    public init(plan: LoadPlan, phases: [PhasePlan], rotation: [Int], seed: UInt64) {
        precondition(!rotation.isEmpty, "a schedule without targets")
        arrivals = plan.arrivals
        self.rotation = rotation
        self.seed = SeededRandom(seed: seed).split("schedule")
        var spans: [Span] = []
        var start = Duration.zero
        for phase in phases {
            let shape = phase.rate.map(RateShape.constant) ?? plan.rate
            spans.append(
                Span(
                    start: start, duration: phase.duration,
                    curve: RateCurve(shape, over: phase.duration)))
            start = start + phase.duration
        }
        self.spans = spans
        duration = start
        peakRate = plan.arrivals == .closed ? 0 : spans.map(\.curve.peak).max() ?? 0
        random = self.seed.split(0)
        // The hash begins with what is offered besides requests: the phases and the kind of
        // arrival.
        let kind = LoadPlan.Arrivals.allCases.firstIndex(of: plan.arrivals) ?? 0
        hash = mix(UInt64(kind) + 1)
        for span in spans { fold(UInt64(bitPattern: span.duration.nanoseconds)) }
    }

    /// The next request; nil after the last. Always nil for closed arrivals, which have no
    /// schedule.
    public mutating func next() -> PlannedRequest? {
        if arrivals == .closed { return nil }
        while phase < spans.count {
            if let seconds = nextTime() {
                let span = spans[phase]
                let offset = min(
                    Duration.fractionalSeconds(seconds),
                    span.duration - .nanoseconds(1))
                let request = PlannedRequest(
                    number: number, offset: span.start + offset, phase: phase,
                    target: rotation[rotationIndex])
                index &+= 1
                number &+= 1
                rotationIndex = rotationIndex &+ 1 == rotation.count ? 0 : rotationIndex &+ 1
                fold(UInt64(bitPattern: request.offset.nanoseconds))
                return request
            }
            phase += 1
            piece = 0
            index = 0
            area = 0
            // Each phase draws from a generator of its own: lengthening one does not move the next.
            random = seed.split(phase)
        }
        return nil
    }

    private mutating func nextTime() -> Double? {
        let x: Double
        switch arrivals {
        case .constant, .closed: x = Double(index)
        case .uniform: x = Double(index) + random.unit()
        case .poisson:
            area += random.exponential()
            x = area
        }
        return spans[phase].curve.time(owing: x, hint: &piece)
    }

    /// The order of the calls is the request's number, so the number is hashed with the values.
    private mutating func fold(_ value: UInt64) { hash = mix(hash ^ mix(value &+ 1)) }

    /// Requests that are due in all: the expected number where arrivals are random.
    public var expectedRequests: Double {
        arrivals == .closed ? 0 : spans.reduce(0) { $0 + $1.curve.total }
    }

    /// The hashes of the whole schedule, however much of it has been taken.
    ///
    /// Runs through what is left, some 30 ns for each request.
    public func hashes() -> ScheduleHashes {
        var rest = self
        while rest.next() != nil {}
        let instants = rest.hash
        for target in rotation { rest.fold(UInt64(target)) }
        return ScheduleHashes(instants: instants, assignment: rest.hash)
    }
}

/// The part of a schedule that one thread sends: of each target's requests every N-th of N threads,
/// so that every thread serves every target at any time, whatever the weights.
///
/// The first request of target t goes to thread t modulo N: else all rare targets would be served
/// by the first thread.
struct ThreadSchedule: Sendable {
    private var schedule: Schedule
    private let threads: Int
    private let thread: Int
    /// By target: the thread that its next request goes to.
    // Bound: `LoadLimits.targets`.
    private var owners: [Int]

    init(_ schedule: Schedule, targets: Int, thread: Int, threads: Int) {
        self.schedule = schedule
        self.threads = threads
        self.thread = thread
        owners = (0..<targets).map { $0 % threads }
    }

    mutating func next() -> PlannedRequest? {
        while let request = schedule.next() {
            let owner = owners[request.target]
            owners[request.target] = owner &+ 1 == threads ? 0 : owner &+ 1
            if owner == thread { return request }
        }
        return nil
    }

    func hashes() -> ScheduleHashes { schedule.hashes() }
}
