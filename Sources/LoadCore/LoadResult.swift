public import Base
public import Model
public import Stats

/// What one load generator saw. Every planned request is in exactly one outcome.
public struct LoadResult: Codable, Sendable {
    /// Of the offered schedule, hex: derived from plan, phases and seed alone, the same for all
    /// targets. Empty where a long run was stopped early, so that most of it was never made.
    public var scheduleHash: String
    /// The same with the target of each request, hex.
    public var assignmentHash: String
    /// One for each phase of the job, in order.
    public var phases: [PhaseTally]
    /// One for each second of the job, and of the time after it until the last request ended; empty
    /// where they were not asked for.
    public var seconds: [SecondTally]
    /// One for each second of the job, whether or not `seconds` were asked for.
    public var due: [DueTally]
    public var threads: [ThreadUsage]
    /// True where the run was stopped before the end of its last phase.
    public var partial: Bool
    /// Attempts to open a connection that failed, by reason; the most frequent first.
    public var openFailures: [OpenFailure]

    public init(
        scheduleHash: String, assignmentHash: String, phases: [PhaseTally],
        seconds: [SecondTally], due: [DueTally] = [], threads: [ThreadUsage], partial: Bool,
        openFailures: [OpenFailure] = []
    ) {
        self.openFailures = openFailures
        self.scheduleHash = scheduleHash
        self.assignmentHash = assignmentHash
        self.phases = phases
        self.seconds = seconds
        self.due = due
        self.threads = threads
        self.partial = partial
    }

    /// All requests whose intended instant lies in one phase.
    public struct PhaseTally: Codable, Sendable {
        public var name: String
        /// CLOCK_MONOTONIC.
        public var start: Instant
        /// The end of the phase as planned, or the instant at which the run was stopped.
        public var end: Instant
        public var planned: UInt64
        public var sent: UInt64
        /// By `Outcome.rawValue`; sums to `planned`.
        public var outcomes: [String: UInt64]
        public var statuses: [String: UInt64]
        /// Complete answers to calls of gRPC, by the name of their status: `OK`,
        /// `DEADLINE_EXCEEDED`. Empty where none were made.
        public var grpc: [String: UInt64]
        /// By the response flags that answers of 400 and above named in `x-response-flags`; `other`
        /// counts flags that are not in `ResponseFlag`.
        public var flags: [String: UInt64]
        public var bytesReceived: UInt64
        public var connectionsOpened: UInt64
        /// From the intended instant: complete answers, and requests without one at what they
        /// reached.
        public var response: Histogram
        /// From the instant of sending: complete answers, and those timed out at what they reached.
        public var service: Histogram
        /// How late the generator took up each request after its intended instant.
        public var lag: Histogram
        /// How long requests that found no free connection then waited for one. Part of `response`.
        public var wait: Histogram
        /// From the call to connect to the established connection.
        public var connect: Histogram
        /// From the instant of sending to the first byte of the answer.
        public var firstByte: Histogram

        /// A phase in which nothing has happened yet.
        public init(name: String, start: Instant, end: Instant) {
            self.name = name
            self.start = start
            self.end = end
            planned = 0
            sent = 0
            outcomes = [:]
            statuses = [:]
            grpc = [:]
            flags = [:]
            bytesReceived = 0
            connectionsOpened = 0
            response = Histogram()
            service = Histogram()
            lag = Histogram()
            wait = Histogram()
            connect = Histogram()
            firstByte = Histogram()
        }

        /// Adds what another thread saw of the same phase.
        public mutating func merge(_ other: PhaseTally) {
            planned += other.planned
            sent += other.sent
            outcomes.merge(other.outcomes, uniquingKeysWith: +)
            statuses.merge(other.statuses, uniquingKeysWith: +)
            grpc.merge(other.grpc, uniquingKeysWith: +)
            flags.merge(other.flags, uniquingKeysWith: +)
            bytesReceived += other.bytesReceived
            connectionsOpened += other.connectionsOpened
            response.merge(other.response)
            service.merge(other.service)
            lag.merge(other.lag)
            wait.merge(other.wait)
            connect.merge(other.connect)
            firstByte.merge(other.firstByte)
        }

        /// How many requests ended so.
        public func count(_ outcome: Outcome) -> UInt64 { outcomes[outcome.rawValue] ?? 0 }
        /// Complete answers, of any status.
        public var completed: UInt64 { count(.ok) + count(.error) }
    }

    public struct SecondTally: Codable, Sendable {
        /// The phase in which the second begins; after the last phase, that one.
        public var phase: String
        /// Seconds from the start of the job.
        public var offset: Double
        /// Requests taken up in this second.
        public var planned: UInt64
        /// Complete answers that arrived in this second, of any status.
        public var completed: UInt64
        /// Requests that ended in this second in any outcome but ok.
        public var errors: UInt64
        /// Complete answers that are no errors.
        public var good: UInt64
        /// Of the requests that ended in this second; see `PhaseTally.response`.
        public var response: Histogram

        public init(phase: String, offset: Double) {
            self.phase = phase
            self.offset = offset
            planned = 0
            completed = 0
            errors = 0
            good = 0
            response = Histogram()
        }

        /// Adds what another thread saw of the same second.
        public mutating func merge(_ other: SecondTally) {
            planned += other.planned
            completed += other.completed
            errors += other.errors
            good += other.good
            response.merge(other.response)
            response = response.compacted()
        }
    }

    /// What became of the requests that were due in one second, whenever that was: of the answers
    /// that came in a second some are to requests of the seconds before.
    public struct DueTally: Codable, Equatable, Sendable, BitwiseCopyable {
        public var planned: UInt64 = 0
        /// Answered, and no error.
        public var good: UInt64 = 0
        /// Answered by an error.
        public var errors: UInt64 = 0

        public init() {}

        /// Adds what another thread or generator saw of the same second.
        public mutating func merge(_ other: DueTally) {
            planned += other.planned
            good += other.good
            errors += other.errors
        }
    }

    /// Attempts to open a connection that failed for one reason.
    public struct OpenFailure: Codable, Equatable, Sendable {
        /// The value of `errno`; EPROTO where the peer took the connection and refused to speak.
        public var code: Int32
        /// For people.
        public var reason: String
        /// Whether the generator's own machine could not (no descriptor, port or memory), rather
        /// than the system under test.
        public var isLocal: Bool
        public var count: UInt64

        public init(code: Int32, reason: String, isLocal: Bool, count: UInt64) {
            self.code = code
            self.reason = reason
            self.isLocal = isLocal
            self.count = count
        }
    }

    /// One thread of the generator, from the start of the job to the end of its last request.
    public struct ThreadUsage: Codable, Equatable, Sendable {
        public var wallNs: Int64
        /// CPU time, spinning included.
        public var cpuNs: Int64
        /// Wall time spent spinning while nothing was due or ready.
        public var spinNs: Int64
        /// The same for each phase of the job, in order, from boundary to boundary as the thread
        /// came to them; empty within a phase.
        public var phases: [ThreadUsage]

        public init(wallNs: Int64, cpuNs: Int64, spinNs: Int64, phases: [ThreadUsage] = []) {
            self.wallNs = wallNs
            self.cpuNs = cpuNs
            self.spinNs = spinNs
            self.phases = phases
        }

        /// What was used between two accounts of one thread, both from its start.
        public static func between(_ start: ThreadUsage, _ end: ThreadUsage) -> ThreadUsage {
            ThreadUsage(
                wallNs: end.wallNs - start.wallNs, cpuNs: end.cpuNs - start.cpuNs,
                spinNs: end.spinNs - start.spinNs)
        }

        /// The share of the thread's time that work took, spinning apart, 0 to 1.
        public var busy: Double {
            wallNs > 0 ? min(1, max(0, Double(cpuNs - spinNs) / Double(wallNs))) : 0
        }

        /// The same within one phase; of the whole job where the thread kept no account of it.
        public func busy(inPhase index: Int) -> Double {
            phases.indices.contains(index) ? phases[index].busy : busy
        }
    }
}
