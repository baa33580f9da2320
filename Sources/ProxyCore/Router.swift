// Where requests go: routes, and listeners of which one cluster gets everything.

import Base
import Model
import Wire

/// Finds the cluster of a request. Built once for each configuration, then only read.
struct Router: ~Copyable {
    private struct Host: BitwiseCopyable {
        var text: PatternText
        /// `*.` stood before it: any depth below.
        var isSuffix: Bool
    }

    private struct Rule: BitwiseCopyable {
        var hosts: PatternRange
        var path: PathPattern
        var methods: PatternRange
        var fields: PatternRange
        /// Places in `shares`.
        var shares: PatternRange
    }

    /// A cluster of a rule's.
    private struct Share: BitwiseCopyable {
        var match: Match
        /// The weights of the rule's shares up to this one.
        var weights: Int
    }

    /// What a request is to be done with.
    struct Match: BitwiseCopyable {
        /// The place in the configuration's clusters; -1: none that exists is named.
        var cluster: Int32
        var timeout: Duration
        /// The place in the configuration's routes; -1: it is a listener's own.
        var route: Int32 = -1
    }

    private let patterns: Patterns
    private let hosts: Slab<Host>
    private let rules: Slab<Rule>
    private let shares: Slab<Share>
    private let count: Int
    private let index: HostIndex
    /// There are so many that they are looked up by host.
    private let isIndexed: Bool

    /// How many rules there are at least where they are looked up by host.
    private static let indexed = 16

    /// - Parameter indexed: for tests: how many rules are looked up by host.
    init(_ configuration: ProxyConfiguration, indexed: Int = Router.indexed) {
        var compiler = Compiler(configuration)
        for route in configuration.routes { compiler.add(route) }
        patterns = Patterns(compiler.patterns)
        let none = PatternText(start: 0, count: 0)
        let nothing = PatternRange(0, 0)
        hosts = Slab(compiler.hosts, empty: Host(text: none, isSuffix: false))
        rules = Slab(
            compiler.rules,
            empty: Rule(
                hosts: nothing, path: PathPattern(text: none, isExact: true), methods: nothing,
                fields: nothing, shares: nothing))
        shares = Slab(
            compiler.shares,
            empty: Share(match: Match(cluster: -1, timeout: .zero), weights: 0))
        count = compiler.rules.count
        isIndexed = count >= indexed
        index = HostIndex(isIndexed ? configuration.routes : [])
    }

    deinit {
        hosts.deallocate()
        rules.deallocate()
        shares.deallocate()
    }

    private struct Compiler {
        var patterns = Patterns.Builder()
        var hosts: [Host] = []
        var rules: [Rule] = []
        var shares: [Share] = []
        private let clusters: ClusterPlaces

        init(_ configuration: ProxyConfiguration) { clusters = ClusterPlaces(configuration) }

        mutating func add(_ route: ProxyConfiguration.Route) {
            let firstHost = hosts.count
            for host in route.hosts {
                let isSuffix = host.hasPrefix("*.")
                let text = patterns.add(isSuffix ? host.dropFirst().utf8 : host[...].utf8)
                hosts.append(Host(text: text, isSuffix: isSuffix))
            }
            let path =
                switch route.path {
                case .exact(let path): PathPattern(text: patterns.add(path.utf8), isExact: true)
                case .prefix(let path): PathPattern(text: patterns.add(path.utf8), isExact: false)
                }
            let firstShare = shares.count
            var weights = 0
            for share in route.shares where share.weight > 0 {
                weights += share.weight
                shares.append(
                    Share(
                        match: clusters.match(
                            share.cluster, timeout: route.timeout, route: rules.count),
                        weights: weights))
            }
            precondition(weights > 0, "a route without a cluster")
            rules.append(
                Rule(
                    hosts: PatternRange(firstHost, hosts.count), path: path,
                    methods: patterns.add(methods: route.methods),
                    fields: patterns.add(fields: route.headers),
                    shares: PatternRange(firstShare, shares.count)))
        }
    }

    /// The first route whose every condition holds; nil: none does.
    /// - Parameter random: draws one of its clusters, where it has several.
    func match(_ head: borrowing Head, _ bytes: Bytes, _ random: inout SeededRandom) -> Match? {
        let path = head.patternPath(bytes)
        guard !isIndexed else { return matchByHost(head, bytes, path, &random) }
        for i in 0..<count where holds(rules[i], head, bytes, path) {
            return draw(rules[i], &random)
        }
        return nil
    }

    private func matchByHost(
        _ head: borrowing Head, _ bytes: Bytes, _ path: Bytes, _ random: inout SeededRandom
    ) -> Match? {
        var places = index.places(of: Self.withoutPort(bytes[head.authority]))
        while let i = index.next(&places) {
            if holds(rules[i], head, bytes, path) { return draw(rules[i], &random) }
        }
        return nil
    }

    @inline(__always)
    private func holds(
        _ rule: Rule, _ head: borrowing Head, _ bytes: Bytes, _ path: Bytes
    ) -> Bool {
        patterns.matches(rule.path, path: path)
            && (rule.hosts.isEmpty || matchesHost(rule, Self.withoutPort(bytes[head.authority])))
            && (rule.methods.isEmpty || patterns.matches(methods: rule.methods, bytes[head.method]))
            && patterns.matches(fields: rule.fields, head, bytes, .oneLine)
    }

    /// One of the rule's clusters, as often as its weight says.
    @inline(__always)
    private func draw(_ rule: Rule, _ random: inout SeededRandom) -> Match {
        let last = Int(rule.shares.end) - 1
        guard rule.shares.count > 1 else { return shares[last].match }
        let drawn = random.below(shares[last].weights)
        for i in rule.shares.indices where drawn < shares[i].weights { return shares[i].match }
        return shares[last].match
    }

    private func matchesHost(_ rule: Rule, _ host: Bytes) -> Bool {
        for i in rule.hosts.indices {
            let pattern = hosts[i]
            let count = Int(pattern.text.count)
            if pattern.isSuffix {
                guard host.count > count else { continue }
                let end = host[host.count - count..<host.count]
                if patterns.equal(pattern.text, end, asciiLowercase) { return true }
            } else if host.count == count,
                patterns.equal(pattern.text, host, asciiLowercase)
            {
                return true
            }
        }
        return false
    }

    private static func withoutPort(_ host: Bytes) -> Bytes {
        var i = host.count
        while i > 0 {
            i -= 1
            if host[i] == UInt8(ascii: ":") { return host[0..<i] }
            if host[i] == UInt8(ascii: "]") { break }
        }
        return host
    }
}

/// Where clusters stand in a configuration, by name.
struct ClusterPlaces {
    private let places: [String: Int]
    private let configuration: ProxyConfiguration

    init(_ configuration: ProxyConfiguration) {
        self.configuration = configuration
        places = Dictionary(
            configuration.clusters.enumerated().map { ($1.name, $0) }, uniquingKeysWith: min)
    }

    /// What becomes of requests that go there.
    /// - Parameter timeout: in place of the cluster's own.
    func match(_ name: String, timeout: Duration? = nil, route: Int = -1) -> Router.Match {
        let place = places[name]
        let own = place.flatMap { configuration.clusters[$0].requestTimeout }
        return Router.Match(
            cluster: Int32(place ?? -1), timeout: timeout ?? own ?? configuration.timeouts.request,
            route: Int32(route))
    }
}
