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
        /// Counters that had to make room before their window was over.
        public var evictions: UInt64 = 0

        public init() {}
    }

    private let tree: RateLimitTree
    private var windows: RateLimitWindows
    public private(set) var counts = Counts()

    /// - Parameter counters: at once, 1 or more, with values of 256 bytes each on average. Past
    ///   either those make room that were asked for longest ago, and count from 0 when they are
    ///   asked for again.
    public init(_ rules: RateLimitRules, counters: Int) {
        tree = RateLimitTree(rules)
        windows = RateLimitWindows(most: counters)
    }

    /// Counters that are held.
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
        guard let rule = tree.rule(of: descriptor, in: domain) else {
            counts.unlimited += 1
            return .init(.ok)
        }
        let length = rule.limit.unit.seconds
        let (count, evictions) = windows.add(
            hits, to: .init(rule: rule.number, values: descriptor.entries.map(\.value)),
            window: Self.floor(seconds, length))
        counts.evictions += UInt64(evictions)
        let most = UInt64(rule.limit.requests)
        let isOver = count > most
        if isOver, rule.isShadow { counts.shadowed += 1 }
        return .init(
            isOver && !rule.isShadow ? .overLimit : .ok, limit: rule.limit,
            remaining: isOver ? 0 : UInt32(most - count),
            reset: length - (seconds - Self.floor(seconds, length) * length))
    }

    /// Which window it is; of times before 1970 too.
    private static func floor(_ seconds: Int64, _ length: Int64) -> Int64 {
        let (quotient, rest) = seconds.quotientAndRemainder(dividingBy: length)
        return rest < 0 ? quotient - 1 : quotient
    }

    /// What must hold between any two calls. For tests.
    func checkInvariants() { windows.checkInvariants() }
}
