// What passes between whoever wants faults and the processes that act: leases, what became of them,
// and the lines of ledgers. docs/FAULTS.md describes the form.

/// The body of `PUT /faults/NAME`: holds a fault for a while, or longer.
public struct FaultOrder: Codable, Equatable, Sendable {
    /// Its name is the request's; empty in here, or the same.
    public var rule: FaultRule
    /// Milliseconds from now after which the fault is gone, unless it was asked for again: 1 to
    /// `ttlMost`.
    public var ttlMs: Int

    /// The longest lease: who asks for faults and is killed leaves none behind for longer.
    public static let ttlMost = 60_000

    private enum CodingKeys: String, CodingKey, CaseIterable {
        case rule
        case ttlMs = "ttl_ms"
    }

    public init(rule: FaultRule, ttlMs: Int) {
        self.rule = rule
        self.ttlMs = ttlMs
    }

    public init(from decoder: any Decoder) throws {
        try decoder.refuseOthers(than: CodingKeys.self)
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        rule = try fields.decode(FaultRule.self, forKey: .rule)
        ttlMs = try fields.decode(Int.self, forKey: .ttlMs)
    }
}

/// What `GET /faults` answers.
public struct FaultReport: Codable, Equatable, Sendable {
    /// One fault. Instants are nanoseconds since 1970.
    public struct Entry: Codable, Equatable, Sendable {
        public var name: String
        public var point: FaultRule.Point
        /// Held by a lease; else the process was started with it.
        public var isLease: Bool
        public var sinceNs: Int64
        /// When it ends by itself; nil: it is no lease.
        public var untilNs: Int64?
        /// Requests that it is about; at `perAttempt`, attempts.
        public var seen: UInt64
        /// Those of them that the chance has meant.
        public var hit: UInt64
        /// What was done to them. A ledger has a line for each.
        public var delayed: UInt64
        public var aborted: UInt64
        public var throttled: UInt64
        public var hung: UInt64

        private enum CodingKeys: String, CodingKey {
            case name, point, seen, hit, delayed, aborted, throttled, hung
            case isLease = "lease"
            case sinceNs = "since_ns"
            case untilNs = "until_ns"
        }

        public init(
            name: String, point: FaultRule.Point, isLease: Bool, sinceNs: Int64, untilNs: Int64?,
            seen: UInt64 = 0, hit: UInt64 = 0, delayed: UInt64 = 0, aborted: UInt64 = 0,
            throttled: UInt64 = 0, hung: UInt64 = 0
        ) {
            self.name = name
            self.point = point
            self.isLease = isLease
            self.sinceNs = sinceNs
            self.untilNs = untilNs
            self.seen = seen
            self.hit = hit
            self.delayed = delayed
            self.aborted = aborted
            self.throttled = throttled
            self.hung = hung
        }
    }

    /// Lines of the ledger.
    public struct Ledger: Codable, Equatable, Sendable {
        public var written: UInt64
        /// For which there was no room, or which could not be written.
        public var lost: UInt64

        public init(written: UInt64 = 0, lost: UInt64 = 0) {
            self.written = written
            self.lost = lost
        }
    }

    public var faults: [Entry]
    /// nil: the process writes none.
    public var ledger: Ledger?

    public init(faults: [Entry], ledger: Ledger?) {
        self.faults = faults
        self.ledger = ledger
    }
}

/// One line of a process's ledger: one thing done to one request. What is absent was not done.
public struct FaultLedgerLine: Codable, Equatable, Sendable {
    /// When: CLOCK_REALTIME, nanoseconds.
    public var timeNs: Int64
    public var fault: String
    public var point: FaultRule.Point
    /// `x-request-id`; empty: it had none.
    public var request: String
    /// From 1.
    public var attempt: Int
    /// It was held back for so long before anything else.
    public var delayNs: Int64?
    /// It was answered with this status of HTTP, or of gRPC. Written when it is answered: who has
    /// gone during a delay is not.
    public var abortHTTP: Int?
    public var abortGRPC: Int?
    /// Bytes per second of its answer's body.
    public var rate: Int?
    /// It was taken in and not answered.
    public var hangs: Bool?

    private enum CodingKeys: String, CodingKey {
        case fault, point, request, attempt, rate, hangs
        case timeNs = "time_ns"
        case delayNs = "delay_ns"
        case abortHTTP = "abort_http"
        case abortGRPC = "abort_grpc"
    }

    public init(
        timeNs: Int64, fault: String, point: FaultRule.Point, request: String, attempt: Int
    ) {
        self.timeNs = timeNs
        self.fault = fault
        self.point = point
        self.request = request
        self.attempt = attempt
    }
}
