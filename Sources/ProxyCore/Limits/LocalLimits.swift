// The local rate limits of a configuration, as one worker meets them. The buckets are those of all
// workers: they are found by what the limit says and where it stands, and so keep their level
// across a new configuration that leaves the limit as it was.

import Base
import Model
import Wire

/// Compiled limits. Built for each configuration, then only read.
struct LocalLimits: ~Copyable {
    struct Limit {
        enum Key {
            case none
            case identity
            case header(PatternText)
        }

        fileprivate var matches: PatternRange
        fileprivate var key: Key
        let policy: RateLimitPolicy
        let buckets: TokenBuckets
    }

    private let limits: [Limit]
    /// Places in `limits`, by listener and by route.
    private let ofListeners: [Range<Int>]
    private let ofRoutes: [Range<Int>]
    private let patterns: Patterns
    let hasListenerLimits: Bool

    init(_ configuration: ProxyConfiguration, _ commons: ProxyCommons) {
        var compiler = Compiler(commons)
        ofListeners = configuration.listeners.map { listener in
            compiler.add(listener.rateLimits, "listener \(listener.name)")
        }
        hasListenerLimits = !compiler.limits.isEmpty
        ofRoutes =
            configuration.routes.contains { !$0.rateLimits.isEmpty }
            ? configuration.routes.map { compiler.add($0.rateLimits, "route \($0.conditions)") }
            : []
        limits = compiler.limits
        patterns = Patterns(compiler.patterns)
    }

    private struct Compiler {
        var limits: [Limit] = []
        var patterns = Patterns.Builder()
        private let commons: ProxyCommons
        /// How often a name has stood there.
        private var uses: [String: Int] = [:]

        init(_ commons: ProxyCommons) { self.commons = commons }

        mutating func add(_ policies: [RateLimitPolicy], _ place: @autoclosure () -> String)
            -> Range<Int>
        {
            guard !policies.isEmpty else { return limits.count..<limits.count }
            let first = limits.count
            let place = place()
            for policy in policies { add(policy, place) }
            return first..<limits.count
        }

        private mutating func add(_ policy: RateLimitPolicy, _ place: String) {
            let rate = TokenRate(burst: policy.burst, fill: policy.fill, interval: policy.interval)
            let key: Limit.Key =
                switch policy.per {
                case nil: .none
                case .identity: .identity
                case .header(let name): .header(patterns.add(name.utf8))
                }
            let name =
                "\(place) \(policy.matches) \(String(describing: policy.per)) \(policy.burst) "
                + "\(policy.fill) \(policy.interval.nanoseconds)"
            let use = uses[name, default: 0]
            uses[name] = use + 1
            let buckets = commons.buckets.item("\(name) \(use)") {
                TokenBuckets(rate, isKeyed: policy.per != nil)
            }
            limits.append(
                Limit(
                    matches: patterns.add(fields: policy.matches), key: key, policy: policy,
                    buckets: buckets))
        }
    }

    func limits(ofListener listener: Int) -> Range<Int> {
        listener < ofListeners.count ? ofListeners[listener] : 0..<0
    }

    func limits(ofRoute route: Int32) -> Range<Int> {
        route >= 0 && Int(route) < ofRoutes.count ? ofRoutes[Int(route)] : 0..<0
    }

    func policy(_ place: Int) -> RateLimitPolicy { limits[place].policy }

    /// Takes a token for a request.
    /// - Parameter identity: of the client, as a number; nil: it has none.
    /// - Returns: nil: the limit does not mean the request.
    func take(
        _ place: Int, _ head: borrowing Head, _ bytes: Bytes, identity: () -> UInt64?, now: Instant
    ) -> TokenDraw? {
        let limit = limits[place]
        guard
            limit.matches.isEmpty
                || patterns.matches(fields: limit.matches, head, bytes, .oneLine)
        else { return nil }
        switch limit.key {
        case .none: return limit.buckets.take(now: now)
        case .identity:
            // Who has none is one among all who have none.
            return limit.buckets.take(key: identity() ?? Self.nobody, now: now)
        case .header(let name):
            guard let key = key(name, head, bytes) else { return nil }
            return limit.buckets.take(key: key, now: now)
        }
    }

    private static let nobody: UInt64 = 1

    /// A number that stands for the value of a field, of its first line.
    private func key(_ name: PatternText, _ head: borrowing Head, _ bytes: Bytes) -> UInt64? {
        for i in 0..<head.fieldCount {
            let field = head.fields[i]
            guard field.nameLength == UInt32(name.count),
                patterns.equal(name, bytes[field.nameRange], asciiLowercase)
            else { continue }
            return Self.key(bytes[field.valueRange])
        }
        return nil
    }

    /// Values chosen to have the same number share a bucket, which gains them nothing.
    static func key(_ value: Bytes) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for i in 0..<value.count { hash = (hash ^ UInt64(value[i])) &* 0x100_0000_01B3 }
        let mixed = mix(hash)
        return mixed < 2 ? 2 : mixed
    }
}

extension ProxyConfiguration.Route {
    /// What it asks of requests, by which its limits are known again.
    fileprivate var conditions: String {
        "\(hosts) \(path) \(methods) \(headers) \(query) \(cookies)"
    }
}
