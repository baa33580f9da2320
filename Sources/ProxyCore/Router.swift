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
        var query: PatternRange
        var cookies: PatternRange
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
        /// The place of the cluster among the route's that have a weight.
        var share: Int32 = 0
        /// Those that its requests and answers meet: each looks for itself here, and not in the
        /// route.
        var filters: FilterSet = []
    }

    private let patterns: Patterns
    private let hosts: Slab<Host>
    private let rules: Slab<Rule>
    private let shares: Slab<Share>
    private let count: Int
    private let index: RouteIndex
    let actions: RouteActions
    /// Routes behind those of the configuration, which are not held against requests
    /// (`Routing/Proxy+KeptRoutes.swift`).
    let kept: [ProxyConfiguration.Route]
    /// There are so many that they are looked up by host and path.
    private let isIndexed: Bool

    /// How many rules there are at least where they are looked up.
    private static let indexed = 16

    /// - Parameters:
    ///   - kept: routes that requests in hand have come by.
    ///   - indexed: for tests: how many rules are looked up.
    init(
        _ configuration: ProxyConfiguration, kept: [ProxyConfiguration.Route] = [],
        indexed: Int = Router.indexed
    ) {
        self.kept = kept
        var compiler = Compiler(configuration)
        for route in configuration.routes + kept { compiler.add(route) }
        patterns = Patterns(compiler.patterns)
        hosts = Slab(compiler.hosts)
        rules = Slab(compiler.rules)
        shares = Slab(compiler.shares)
        count = configuration.routes.count
        isIndexed = count >= indexed
        index = RouteIndex(isIndexed ? configuration.routes : [])
        actions = RouteActions(configuration.routes + kept, configuration.headers)
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
        private let headers: HeaderPolicy

        init(_ configuration: ProxyConfiguration) {
            clusters = ClusterPlaces(configuration)
            headers = configuration.headers
        }

        mutating func add(_ route: ProxyConfiguration.Route) {
            let firstHost = hosts.count
            for host in route.hosts {
                let isSuffix = host.hasPrefix("*.")
                let text = patterns.add(isSuffix ? host.dropFirst().utf8 : host[...].utf8)
                hosts.append(Host(text: text, isSuffix: isSuffix))
            }
            let path = patterns.add(path: route.path)
            let firstShare = shares.count
            var weights = 0
            for share in route.shares where share.weight > 0 {
                weights += share.weight
                var match = clusters.match(
                    share.cluster, timeout: route.timeout, route: rules.count)
                match.share = Int32(shares.count - firstShare)
                match.filters = route.filters(share, headers)
                shares.append(Share(match: match, weights: weights))
            }
            if weights == 0 {
                precondition(route.isAnsweredHere, "a route without a cluster")
                var match = Match(cluster: -1, timeout: .zero, route: Int32(rules.count))
                match.filters = route.filters(nil, headers)
                shares.append(Share(match: match, weights: 1))
            }
            rules.append(
                Rule(
                    hosts: PatternRange(firstHost, hosts.count), path: path,
                    methods: patterns.add(methods: route.methods),
                    fields: patterns.add(fields: route.headers),
                    query: patterns.add(parameters: route.query),
                    cookies: patterns.add(parameters: route.cookies),
                    shares: PatternRange(firstShare, shares.count)))
        }
    }

    /// The first route whose every condition holds; nil: none does.
    /// - Parameter random: draws one of its clusters, where it has several.
    func match(_ head: borrowing Head, _ bytes: Bytes, _ random: inout SeededRandom) -> Match? {
        let path = head.patternPath(bytes)
        guard !isIndexed else { return lookUp(head, bytes, path, &random) }
        for i in 0..<count where holds(rules[i], head, bytes, path) {
            return draw(rules[i], &random)
        }
        return nil
    }

    private func lookUp(
        _ head: borrowing Head, _ bytes: Bytes, _ path: Bytes, _ random: inout SeededRandom
    ) -> Match? {
        let groups = index.groups(of: Self.withoutPort(bytes[head.authority]), path)
        while let i = index.next(groups) {
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
            && (rule.fields.isEmpty
                || patterns.matches(fields: rule.fields, head, bytes, .oneLine))
            && (rule.query.isEmpty || patterns.matches(query: rule.query, head, bytes))
            && (rule.cookies.isEmpty || patterns.matches(cookies: rule.cookies, head, bytes))
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

    /// Changes to the fields of requests to a share of a route, and of its answers.
    /// - Parameter route: -1: of no route's.
    func edits(_ route: Int32, _ share: Int32) -> RouteActions.Edits {
        guard route >= 0 else { return actions.edits[0] }
        return actions.edits[1 + Int(rules[Int(route)].shares.start + share)]
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

    static func withoutPort(_ host: Bytes) -> Bytes {
        var i = host.count
        while i > 0 {
            i -= 1
            if host[i] == UInt8(ascii: ":") { return host[0..<i] }
            if host[i] == UInt8(ascii: "]") { break }
        }
        return host
    }
}

extension ProxyConfiguration.Route {
    /// Those that requests to one of its shares meet, and their answers.
    fileprivate func filters(
        _ share: ProxyConfiguration.Share?, _ headers: HeaderPolicy
    ) -> FilterSet {
        var filters = FilterSet(headers)
        if isAnsweredHere || rewrite != nil { filters.insert(.action) }
        if rewrite != nil || hostRewrite != nil { filters.insert(.edits) }
        let edits = [
            requestHeaders, answerHeaders, share?.requestHeaders, share?.answerHeaders,
        ]
        if !edits.allSatisfy({ $0?.isEmpty ?? true }) { filters.insert(.edits) }
        if !rateLimits.isEmpty { filters.insert(.routeLimits) }
        if !mirrors.isEmpty { filters.insert(.mirrors) }
        return filters
    }
}

extension FilterSet {
    /// What all requests of a proxy meet.
    fileprivate init(_ headers: HeaderPolicy) {
        self = headers.request.isEmpty && headers.answer.isEmpty ? [] : .edits
    }
}

/// Where clusters stand in a configuration, by name.
struct ClusterPlaces {
    private let places: [String: Int]
    private let configuration: ProxyConfiguration
    /// Those of the proxy as a whole.
    private let filters: FilterSet

    init(_ configuration: ProxyConfiguration) {
        self.configuration = configuration
        filters = FilterSet(configuration.headers)
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
            route: Int32(route), filters: filters)
    }
}
