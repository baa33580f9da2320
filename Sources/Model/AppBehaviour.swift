public import Base

/// What the built-in workload answers.
public struct AppBehaviour: Codable, Equatable, Sendable {
    /// Bytes in the answer's body.
    public var size: Int
    public var delay: DelayDistribution
    /// CPU time to burn before each answer.
    public var burn: Duration
    /// The share of answers with each status other than 200; shares sum to at most 1.
    public var statuses: [StatusShare]
    /// Whether the body is sent chunked rather than sized.
    public var chunked: Bool
    /// Names of services called before answering, one after another.
    public var calls: [String]
    /// How many requests are worked on at once in the whole process; nil: all that come.
    public var capacity: AppCapacity?
    /// Whether the time that a request is told to have ends its work, and is told on with its
    /// calls.
    public var keepsDeadlines: Bool
    /// Whether a request over HTTP/1.1 whose client has reset its connection is given up; else it
    /// is worked on to the end, as in most servers.
    public var abandons: Bool

    public struct StatusShare: Codable, Equatable, Sendable {
        public var status: Int
        /// 0 to 1.
        public var share: Double

        public init(status: Int, share: Double) {
            self.status = status
            self.share = share
        }
    }

    public init(
        size: Int = 1024, delay: DelayDistribution = .none, burn: Duration = .zero,
        statuses: [StatusShare] = [], chunked: Bool = false, calls: [String] = [],
        capacity: AppCapacity? = nil, keepsDeadlines: Bool = false, abandons: Bool = true
    ) {
        self.size = size
        self.delay = delay
        self.burn = burn
        self.statuses = statuses
        self.chunked = chunked
        self.calls = calls
        self.capacity = capacity
        self.keepsDeadlines = keepsDeadlines
        self.abandons = abandons
    }

    private enum CodingKeys: String, CodingKey {
        case size, delay, burn, statuses, chunked, calls, capacity, abandons
        case keepsDeadlines = "deadlines"
    }

    /// `capacity`, `deadlines` and `abandons` may be absent.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        size = try fields.decode(Int.self, forKey: .size)
        delay = try fields.decode(DelayDistribution.self, forKey: .delay)
        burn = try fields.decode(Duration.self, forKey: .burn)
        statuses = try fields.decode([StatusShare].self, forKey: .statuses)
        chunked = try fields.decode(Bool.self, forKey: .chunked)
        calls = try fields.decode([String].self, forKey: .calls)
        capacity = try fields.decodeIfPresent(AppCapacity.self, forKey: .capacity)
        keepsDeadlines = try fields.decodeIfPresent(Bool.self, forKey: .keepsDeadlines) ?? false
        abandons = try fields.decodeIfPresent(Bool.self, forKey: .abandons) ?? true
    }
}

/// How many requests a process of the workload works on at once: the servers and the places of
/// M/M/c/K, where c is `concurrency` and K `concurrency` + `queue`.
public struct AppCapacity: Codable, Equatable, Sendable {
    /// 1 to 100,000.
    public var concurrency: Int
    /// Requests that wait for their turn, first come first served, 0 to 100,000; one more is
    /// answered 503.
    public var queue: Int

    /// Either's bound.
    public static let most = 100_000

    public init(concurrency: Int, queue: Int) {
        self.concurrency = concurrency
        self.queue = queue
    }

    /// What is wrong with it, for people; nil: nothing.
    public var problem: String? {
        guard (1...Self.most).contains(concurrency) else { return "concurrency: 1 to \(Self.most)" }
        return (0...Self.most).contains(queue) ? nil : "queue: 0 to \(Self.most)"
    }
}
