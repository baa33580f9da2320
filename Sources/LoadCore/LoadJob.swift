// What the rig hands to a load generator process, and what it gets back. JSON on both sides.

public import Base
public import Model
import Stats

/// One run of one load generator: a plan, where to send it, and when.
public struct LoadJob: Codable, Equatable, Sendable {
    public struct Target: Codable, Equatable, Sendable {
        /// `host:port`, numeric.
        public var address: String
        /// The value of the `host` field.
        public var host: String
        /// Its share of connections and requests, relative to the others'. 1 or more.
        public var weight: Int

        public init(address: String, host: String, weight: Int = 1) {
            self.address = address
            self.host = host
            self.weight = weight
        }
    }

    public var plan: LoadPlan
    public var targets: [Target]
    /// How the connections to all targets are secured; nil: cleartext. Without a server name each
    /// target's `host` is asked for.
    public var tls: ClientTLS?
    public var phases: [PhasePlan]
    /// The instant of CLOCK_MONOTONIC at which the first phase begins; nil: told after `ready`.
    public var start: Instant?
    public var seed: UInt64
    /// At most so long before each intended instant is spent spinning rather than sleeping; zero:
    /// never spin. See `WaitPolicy`.
    public var spin: Duration
    /// Where the outcome of each request is written, by its `x-request-id`, at the end of the run:
    /// for each thread a file with this name and `.0`, `.1` and so on. Nil: nowhere.
    public var outcomes: String?

    public init(
        plan: LoadPlan, targets: [Target], tls: ClientTLS? = nil, phases: [PhasePlan],
        start: Instant?, seed: UInt64, spin: Duration, outcomes: String? = nil
    ) {
        self.outcomes = outcomes
        self.plan = plan
        self.targets = targets
        self.tls = tls
        self.phases = phases
        self.start = start
        self.seed = seed
        self.spin = spin
    }
}

/// What a load generator tells while it runs: one JSON object a line, `event` naming the kind.
public enum LoadEvent: Sendable {
    /// Connections are open; without a `start` in the job, `StartOrder` is awaited.
    case ready
    case second(Second)
    case result(LoadResult)
    /// The start had passed by so long before everything was ready; nothing was sent and nothing
    /// follows. The same job may be tried again.
    case late(Duration)
    /// The job could not be done; nothing follows.
    case failed(String)

    /// One second of all threads together.
    public struct Second: Codable, Equatable, Sendable {
        public var phase: String
        /// Seconds from the start of the job.
        public var offset: Double
        public var planned: UInt64
        public var completed: UInt64
        public var errors: UInt64
        /// Of response latency; 0 where nothing was completed.
        public var p99Ns: UInt64

        enum CodingKeys: String, CodingKey {
            case phase, offset, planned, completed, errors
            case p99Ns = "p99_ns"
        }

        public init(_ tally: LoadResult.SecondTally) {
            phase = tally.phase
            offset = tally.offset
            planned = tally.planned
            completed = tally.completed
            errors = tally.errors
            p99Ns = tally.response.count == 0 ? 0 : tally.response.value(atQuantile: 0.99)
        }
    }
}

extension LoadEvent: Codable {
    private enum CodingKeys: String, CodingKey {
        case event, result, message
        case byNs = "by_ns"
    }
    private enum Kind: String, Codable { case ready, second, result, late, error }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        switch try fields.decode(Kind.self, forKey: .event) {
        case .ready: self = .ready
        case .second: self = .second(try Second(from: decoder))
        case .result: self = .result(try fields.decode(LoadResult.self, forKey: .result))
        case .late:
            self = .late(.nanoseconds(try fields.decode(Int64.self, forKey: .byNs)))
        case .error: self = .failed(try fields.decode(String.self, forKey: .message))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        switch self {
        case .ready: try fields.encode(Kind.ready, forKey: .event)
        case .second(let second):
            try fields.encode(Kind.second, forKey: .event)
            try second.encode(to: encoder)
        case .result(let result):
            try fields.encode(Kind.result, forKey: .event)
            try fields.encode(result, forKey: .result)
        case .late(let by):
            try fields.encode(Kind.late, forKey: .event)
            try fields.encode(by.nanoseconds, forKey: .byNs)
        case .failed(let message):
            try fields.encode(Kind.error, forKey: .event)
            try fields.encode(message, forKey: .message)
        }
    }
}

/// The line that the rig sends after `ready` when the job names no start: `{"start": 123456789}`.
public struct StartOrder: Codable, Equatable, Sendable {
    /// CLOCK_MONOTONIC, nanoseconds.
    public var start: Int64

    public init(start: Instant) { self.start = start.nanoseconds }
}
