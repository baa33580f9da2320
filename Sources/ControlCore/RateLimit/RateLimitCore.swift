// What a rate limit service decides. Each limit counts in fixed windows, one counter for each set
// of values that it is asked about; a question adds to all of its counters, also where one of them
// says no. Time comes as an argument: seconds since 1970, by which windows begin.
//
// Source: github.com/envoyproxy/ratelimit, `BaseRateLimiter`, `fixedRateLimitCacheImpl`.

public import Model
public import Wire

/// The state of a rate limit service. For one thread.
public struct RateLimitCore {
    /// What has been asked and answered.
    public struct Counts: Equatable, Sendable {
        public var questions: UInt64 = 0
        public var ok: UInt64 = 0
        public var overLimit: UInt64 = 0
        /// Descriptors over a limit that is only counted.
        public var shadowed: UInt64 = 0
        /// Descriptors that no rule is about.
        public var unlimited: UInt64 = 0
        /// Counters that made room for others. Their windows were over.
        public var evictions: UInt64 = 0
        /// Descriptors for which there was no room: they were counted in the one counter that their
        /// rule has for all of these.
        public var shared: UInt64 = 0

        public init() {}
    }

    private let tree: RateLimitTree
    private var windows: RateLimitWindows
    public private(set) var counts = Counts()

    /// - Parameters:
    ///   - counters: of values that no rule writes down, at once, 1 or more, each of the same size.
    ///     Past these, those make room whose windows are over; while there are none, new values of
    ///     a rule share one counter.
    public init(_ rules: RateLimitRules, counters: Int) {
        tree = RateLimitTree(rules)
        windows = RateLimitWindows(most: counters, rules: tree.count)
    }

    /// Counters of values that are held.
    public var counterCount: Int { windows.count }

    /// Answers a question.
    /// - Parameter seconds: since 1970. Where they go back, a window that had begun goes on.
    public mutating func answer(
        _ question: RateLimitRequest, seconds: Int64
    ) -> RateLimitResponse {
        counts.questions += 1
        let hits = max(1, UInt64(question.hits))
        var code = RateLimitCode.ok
        var statuses: [RateLimitResponse.Status] = []
        for descriptor in question.descriptors {
            let status = status(of: descriptor, in: question.domain, hits, seconds)
            if status.code == .overLimit { code = .overLimit }
            statuses.append(status)
        }
        if code == .ok { counts.ok += 1 } else { counts.overLimit += 1 }
        return RateLimitResponse(code, statuses)
    }

    private mutating func status(
        of descriptor: RateLimitRequest.Descriptor, in domain: String, _ hits: UInt64,
        _ seconds: Int64
    ) -> RateLimitResponse.Status {
        guard let (rule, values) = tree.rule(of: descriptor, in: domain) else {
            counts.unlimited += 1
            return .init(.ok)
        }
        let unit = rule.limit.unit
        let counted = windows.add(
            hits, rule: rule.number, values: values, unit: unit, seconds: seconds)
        switch counted.place {
        case .own: break
        case .evicted: counts.evictions += 1
        case .shared: counts.shared += 1
        }
        let most = UInt64(rule.limit.requests)
        let isOver = counted.count > most
        if isOver, rule.isShadow { counts.shadowed += 1 }
        return .init(
            isOver && !rule.isShadow ? .overLimit : .ok, limit: rule.limit,
            remaining: isOver ? 0 : UInt32(most - counted.count),
            reset: unit.seconds - (seconds - unit.window(at: seconds) * unit.seconds))
    }

    /// What must hold between any two calls. For tests.
    func checkInvariants() { windows.checkInvariants() }
}
