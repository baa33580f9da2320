// What a scenario says of its faults: what is done, where, and when within the phases that name
// them. docs/SCENARIOS.md describes the form.

public import Base

/// One fault of a scenario, by its name.
public struct FaultPlan: Codable, Equatable, Sendable {
    /// What acts, or is acted upon.
    public enum Point: String, Codable, CaseIterable, Sendable {
        /// The proxies of those that call the service, before a request meets retries.
        case clientEgress = "client-egress-before-retry"
        /// The same proxies, for each attempt by itself.
        case perAttempt = "per-attempt"
        /// The proxies beside the service's hosts.
        case serverIngress = "server-ingress"
        /// The processes of the service.
        case app
        /// The processes of the proxies beside them.
        case proxy
        /// What stands at the addresses at which the service's hosts are called: a proxy where
        /// there is one, else the process of the service.
        case wire
        /// Replicas of the control plane.
        case controlPlane = "control-plane"

        /// Which of a proxy's points it is; nil: no proxy acts.
        public var ofRule: FaultRule.Point? { FaultRule.Point(rawValue: rawValue) }

        /// Whether the proxies of callers act, to which hosts are all the same.
        public var isAtClient: Bool { self == .clientEgress || self == .perAttempt }
    }

    /// Which hosts of the service: of its replicas.
    public enum Hosts: Codable, Equatable, Sendable {
        case all
        /// So many, drawn from the seed.
        case count(Int)
        /// A share of them, 0 to 1, drawn from the seed: to the nearest number, one at least.
        case share(Double)
        /// By number, from 0.
        case numbers([Int])
    }

    /// What is done.
    public enum Action: Codable, Equatable, Sendable {
        /// To requests, by a rule that is held in each process that acts.
        case requests(Effect)
        /// The process is ended as by a power cut (SIGKILL), and started again at the end.
        case kill
        /// The process is stopped (SIGSTOP), and goes on at the end.
        case stop
        /// Nobody listens where the host is called: connections break, and new ones are refused.
        case refuse
        /// Whoever is called there says nothing more: the kernel takes connections for it.
        case blackHole

        /// Whether the process is ended, so that it has to be started again.
        public var endsProcess: Bool { self == .kill || self == .refuse }
    }

    /// What becomes of a request.
    public struct Effect: Codable, Equatable, Sendable {
        public var delay: DelayDistribution?
        public var abort: FaultRule.Abort?
        /// Bytes per second of its answer's body.
        public var responseRate: Int?
        /// It is never answered.
        public var hangs: Bool
        /// So many are worked on at once, and so many wait.
        public var capacity: AppCapacity?

        public init(
            delay: DelayDistribution? = nil, abort: FaultRule.Abort? = nil,
            responseRate: Int? = nil, hangs: Bool = false, capacity: AppCapacity? = nil
        ) {
            self.delay = delay
            self.abort = abort
            self.responseRate = responseRate
            self.hangs = hangs
            self.capacity = capacity
        }
    }

    public var name: String
    public var point: Point
    /// The service that is called; nil: of the control plane.
    public var service: String?
    /// At a client's point: the load or service that calls; nil: all that do.
    public var from: String?
    public var hosts: Hosts
    public var match: FaultRule.Match
    public var action: Action
    /// Share of the requests, 0 to 1.
    public var chance: Double
    /// Only attempts up to this one, from 1; nil: all.
    public var firstAttempts: Int?
    /// From the start of the phase.
    public var after: Duration
    /// How long it lasts; nil: to the end of the phase.
    public var lasts: Duration?

    public init(
        _ name: String, _ action: Action, at point: Point, of service: String? = nil,
        from: String? = nil, hosts: Hosts = .all, match: FaultRule.Match = .init(),
        chance: Double = 1, firstAttempts: Int? = nil, after: Duration = .zero,
        lasts: Duration? = nil
    ) {
        self.name = name
        self.point = point
        self.service = service
        self.from = from
        self.hosts = hosts
        self.match = match
        self.action = action
        self.chance = chance
        self.firstAttempts = firstAttempts
        self.after = after
        self.lasts = lasts
    }
}

/// When a fault is there, from the start of the arm's first phase.
public struct FaultSpan: Equatable, Sendable {
    /// Of the fault.
    public var name: String
    public var begin: Duration
    public var end: Duration

    public init(_ name: String, _ begin: Duration, _ end: Duration) {
        self.name = name
        self.begin = begin
        self.end = end
    }
}
