// The local rate limits of a configuration, as one worker meets them. The buckets are those of all
// workers: they are found by what the limit says and where it stands, and so keep their level
// across a new configuration that leaves the limit as it was.

import Base
import Fault
import Model
import Wire

/// Compiled limits. Built for each configuration, then only read.
struct LocalLimits: ~Copyable {
    struct Limit: BitwiseCopyable {
        enum Key: BitwiseCopyable {
            case none
            case identity
            case header(PatternText)
        }

        fileprivate let matches: PatternRange
        fileprivate let key: Key
        fileprivate let buckets: BucketHandle
        let burst: UInt32
        /// Percent.
        let enabled: Double
        let enforced: Double
        let tells: Bool

        /// Whether each client has a bucket of its own.
        var isByIdentity: Bool { if case .identity = key { true } else { false } }
    }

    /// Read in place: a copy would be made for each request.
    let all: Slab<Limit>
    /// Those that the handles of `all` mean.
    private let buckets: [TokenBuckets]
    /// Places in `all`, by listener and by route.
    private let ofListeners: [Range<Int>]
    private let ofRoutes: [Range<Int>]
    private let patterns: Patterns
    let hasListenerLimits: Bool
    /// By listener: whose requests no limit of it means, the global one and its cluster's admission
    /// among them.
    private let unlimited: [SPIFFEID?]

    init(_ configuration: ProxyConfiguration, _ commons: ProxyCommons) {
        var compiler = Compiler(commons)
        ofListeners = configuration.listeners.map { listener in
            compiler.add(listener.rateLimits, "listener \(listener.name)")
        }
        hasListenerLimits = !compiler.limits.isEmpty
        unlimited = configuration.listeners.map(\.unlimited)
        ofRoutes =
            configuration.routes.contains { !$0.rateLimits.isEmpty }
            ? configuration.routes.map { compiler.add(limitsOf: $0) } : []
        all = Slab(compiler.limits)
        buckets = compiler.buckets
        patterns = Patterns(compiler.patterns)
    }

    deinit { all.deallocate() }

    private struct Compiler {
        var limits: [Limit] = []
        var buckets: [TokenBuckets] = []
        var patterns = Patterns.Builder()
        private let commons: ProxyCommons
        /// How often a name has stood there.
        private var uses: [String: Int] = [:]

        init(_ commons: ProxyCommons) { self.commons = commons }

        mutating func add(_ policies: [RateLimitPolicy], _ place: @autoclosure () -> String)
            -> Range<Int>
        {
            guard !policies.isEmpty else { return limits.count..<limits.count }
            return add(policies, Self.names(policies, place(), &uses))
        }

        /// A declared route's limits are there once, for however many hosts and matches it has.
        mutating func add(limitsOf route: ProxyConfiguration.Route) -> Range<Int> {
            guard let declared = route.declared else {
                return add(route.rateLimits, "route \(route.conditions)")
            }
            // Counted anew, each host and match of it comes to the same names.
            var own: [String: Int] = [:]
            return add(
                route.rateLimits,
                Self.names(route.rateLimits, "declared route \(declared)", &own))
        }

        /// What limits are known by across configurations: what they say, and how often that has
        /// been said.
        private static func names(
            _ policies: [RateLimitPolicy], _ place: String, _ uses: inout [String: Int]
        ) -> [String] {
            policies.map { policy in
                let name =
                    "\(place) \(policy.matches) \(String(describing: policy.per)) "
                    + "\(policy.burst) \(policy.fill) \(policy.interval.nanoseconds)"
                let use = uses[name, default: 0]
                uses[name] = use + 1
                return "\(name) \(use)"
            }
        }

        private mutating func add(_ policies: [RateLimitPolicy], _ names: [String]) -> Range<Int> {
            let first = limits.count
            for (policy, name) in zip(policies, names) { add(policy, name) }
            return first..<limits.count
        }

        /// - Parameter name: the same for those that have the same buckets.
        private mutating func add(_ policy: RateLimitPolicy, _ name: String) {
            let rate = TokenRate(burst: policy.burst, fill: policy.fill, interval: policy.interval)
            let key: Limit.Key =
                switch policy.per {
                case nil: .none
                case .identity: .identity
                case .header(let name): .header(patterns.add(name.utf8))
                }
            let shared = commons.buckets.item(name) {
                TokenBuckets(rate, isKeyed: policy.per != nil)
            }
            buckets.append(shared)
            limits.append(
                Limit(
                    matches: patterns.add(fields: policy.matches), key: key,
                    buckets: shared.handle, burst: UInt32(clamping: policy.burst),
                    enabled: policy.enabled, enforced: policy.enforced, tells: policy.tells))
        }
    }

    /// Whether the limits of a listener do not mean whoever has that identity.
    func exempts(_ identity: SPIFFEID, atListener listener: Int) -> Bool {
        listener < unlimited.count && unlimited[listener] == identity
    }

    func limits(ofListener listener: Int) -> Range<Int> {
        listener < ofListeners.count ? ofListeners[listener] : 0..<0
    }

    func limits(ofRoute route: Int32) -> Range<Int> {
        route >= 0 && Int(route) < ofRoutes.count ? ofRoutes[Int(route)] : 0..<0
    }

    /// Takes a token for a request.
    /// - Parameter identity: of the client, as a number, where the limit goes by it; nil: it has
    ///   none.
    /// - Returns: nil: the limit does not mean the request.
    func take(
        _ place: Int, _ head: borrowing Head, _ bytes: Bytes, identity: UInt64?, now: Instant
    ) -> TokenDraw? {
        guard
            all[place].matches.isEmpty
                || patterns.matches(fields: all[place].matches, head, bytes, .oneLine)
        else { return nil }
        switch all[place].key {
        case .none: return all[place].buckets.take(now: now)
        case .identity:
            // Who has none is one among all who have none.
            return all[place].buckets.take(key: identity ?? Self.nobody, now: now)
        case .header(let name):
            guard let value = patterns.value(name, head, bytes) else { return nil }
            return all[place].buckets.take(key: Self.key(value), now: now)
        }
    }

    private static let nobody: UInt64 = 1

    /// A number that stands for a value. Values chosen to have the same number share a bucket,
    /// which gains them nothing.
    static func key(_ value: Bytes) -> UInt64 {
        let mixed = mix(fnv1a(value))
        return mixed < 2 ? 2 : mixed
    }
}

extension ProxyConfiguration.Route {
    /// What it asks of requests, by which its limits are known again.
    fileprivate var conditions: String {
        "\(hosts) \(path) \(methods) \(headers) \(query) \(cookies)"
    }
}
