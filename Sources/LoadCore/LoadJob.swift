// What the rig hands to a load generator process, and what it gets back. JSON on both sides.

public import Base
public import Model
public import Stats

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
    public var phases: [PhasePlan]
    /// The instant of CLOCK_MONOTONIC at which the first phase begins; nil: as soon as connections
    /// are open.
    public var start: Instant?
    public var seed: UInt64
    /// The last stretch before each intended instant is spent spinning rather than sleeping.
    public var spin: Duration

    public init(
        plan: LoadPlan, targets: [Target], phases: [PhasePlan], start: Instant?, seed: UInt64,
        spin: Duration
    ) {
        self.plan = plan
        self.targets = targets
        self.phases = phases
        self.start = start
        self.seed = seed
        self.spin = spin
    }
}

/// What one load generator saw.
public struct LoadResult: Codable, Sendable {
    /// Of the offered schedule, hex: derived from plan, phases and seed alone.
    public var scheduleHash: String
    /// One for each phase of the job, in order.
    public var phases: [PhaseTally]
    /// One for each second of the job.
    public var seconds: [SecondTally]
    public var threads: [ThreadUsage]
    /// True where the run was stopped before the end of its last phase.
    public var partial: Bool

    /// All requests whose intended instant lies in one phase.
    public struct PhaseTally: Codable, Sendable {
        public var name: String
        /// CLOCK_MONOTONIC.
        public var start: Instant
        public var end: Instant
        public var planned: UInt64
        public var sent: UInt64
        /// By `Outcome.rawValue`; sums to `planned`.
        public var outcomes: [String: UInt64]
        public var statuses: [String: UInt64]
        /// By the response flags that the answering proxy named in `x-response-flags`.
        public var flags: [String: UInt64]
        public var bytesReceived: UInt64
        public var connectionsOpened: UInt64
        public var response: Histogram
        public var service: Histogram
        public var lag: Histogram
        public var connect: Histogram
        public var firstByte: Histogram
    }

    public struct SecondTally: Codable, Sendable {
        public var phase: String
        /// Seconds from the start of the job.
        public var offset: Double
        public var planned: UInt64
        public var completed: UInt64
        public var errors: UInt64
        public var response: Histogram
    }

    /// One thread of the generator.
    public struct ThreadUsage: Codable, Sendable {
        /// Wall time of the measured run.
        public var wallNs: Int64
        /// CPU time, spinning included.
        public var cpuNs: Int64
        /// Wall time spent spinning while nothing was due or ready.
        public var spinNs: Int64
    }
}
