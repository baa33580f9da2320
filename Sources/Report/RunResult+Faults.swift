// What was done on purpose while the load ran, and whether it was what had been asked for.

public import Model

extension RunResult {
    /// One fault, for one span of one round of one arm.
    public struct Fault: Codable, Equatable, Sendable {
        public var arm: ArmName
        /// From 1.
        public var round: Int
        public var name: String
        /// For people: `delay 100ms`.
        public var what: String
        /// `server-ingress`.
        public var point: String
        /// Whom it was done to, or who did it.
        public var processes: [String]
        /// When it was to be there, from the start of the arm's first phase.
        public var beginSeconds: Double
        public var endSeconds: Double
        /// When it was wholly there, and wholly gone; nil: it never was.
        public var begunSeconds: Double?
        public var endedSeconds: Double?
        /// When the last of the processes said that it serves again; nil: none had to.
        public var servedSeconds: Double?
        /// Of a fault of requests; nil: it is one of processes.
        public var requests: Requests?
        /// What did not come about as it was asked for, each a sentence; empty: all is well.
        public var problems: [String]

        /// What was done to requests, by all of its processes together.
        public struct Requests: Codable, Equatable, Sendable {
            /// The share that was asked for, 0 to 1.
            public var requested: Double
            /// Requests that the fault was about, and those of them that the chance has meant.
            public var seen: UInt64
            public var hit: UInt64
            /// The shares of those that lie within the bounds of chance, 0 to 1.
            public var low: Double
            public var high: Double
            /// What was done.
            public var delayed: UInt64
            public var aborted: UInt64
            public var throttled: UInt64
            public var hung: UInt64
            /// Lines of `ledger.jsonl`, and how many of them were found again by request in what
            /// others have seen; nil: nobody could have.
            public var lines: UInt64
            public var matched: UInt64?

            public init(
                requested: Double, seen: UInt64, hit: UInt64, low: Double, high: Double,
                delayed: UInt64 = 0, aborted: UInt64 = 0, throttled: UInt64 = 0, hung: UInt64 = 0,
                lines: UInt64 = 0, matched: UInt64? = nil
            ) {
                self.requested = requested
                self.seen = seen
                self.hit = hit
                self.low = low
                self.high = high
                self.delayed = delayed
                self.aborted = aborted
                self.throttled = throttled
                self.hung = hung
                self.lines = lines
                self.matched = matched
            }
        }

        public init(
            arm: ArmName, round: Int, name: String, what: String, point: String,
            processes: [String], beginSeconds: Double, endSeconds: Double,
            begunSeconds: Double? = nil, endedSeconds: Double? = nil,
            servedSeconds: Double? = nil, requests: Requests? = nil, problems: [String] = []
        ) {
            self.arm = arm
            self.round = round
            self.name = name
            self.what = what
            self.point = point
            self.processes = processes
            self.beginSeconds = beginSeconds
            self.endSeconds = endSeconds
            self.begunSeconds = begunSeconds
            self.endedSeconds = endedSeconds
            self.servedSeconds = servedSeconds
            self.requests = requests
            self.problems = problems
        }
    }
}
