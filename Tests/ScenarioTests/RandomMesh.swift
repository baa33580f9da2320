import Base
import Model
import Support

// Random declarations of which nothing is wrong by itself.

extension MeshDeclaration {
    static func random(_ random: inout SeededRandom) -> MeshDeclaration {
        let (name, namespace) = (random.label(), random.label())
        switch random.below(5) {
        case 0:
            let speech = random.one(of: MeshService.Speech.allCases)
            return .service(
                .init(
                    name, in: namespace, speech: speech,
                    mtls: random.one(of: MeshService.MutualTLS.allCases),
                    identity: random.maybe {
                        SPIFFEID(MeshName($0.label(), in: $0.label()), trustDomain: $0.label())
                    } ?? nil,
                    health: random.maybe { $0.health(speech) },
                    calls: random.maybe { $0.list(0...5) { $0.target() } }))
        case 1:
            return .endpoint(
                .init(
                    name, in: namespace, service: random.label(),
                    address: random.one(of: ["127.0.0.1:1", "[::1]:65535", "[fe80::1]:80"]),
                    zone: random.maybe { $0.label() },
                    weight: 1 + random.below(MeshLimits.weight),
                    health: random.one(of: MeshEndpoint.Health.allCases),
                    level: random.count(TrafficLimits.levels), labels: random.labels()))
        case 2: return .route(random.route(name, namespace))
        case 3:
            let ejects = random.below(2) == 0
            return .policy(
                .init(
                    name, in: namespace, targets: random.list(1...5) { $0.target() },
                    timeouts: .init(
                        connect: random.maybe { $0.span(MeshLimits.connectTimeout) },
                        request: random.span(MeshLimits.timeout),
                        idle: random.maybe { $0.span(MeshLimits.positiveTimeout) }),
                    breaker: random.maybe { $0.breaker(retries: 1) },
                    retry: random.maybe { $0.retry() }, outlier: ejects ? random.outlier() : nil,
                    accrual: ejects ? nil : random.maybe { $0.accrual() },
                    balance: random.maybe { $0.balance() },
                    admission: random.maybe { $0.admission() },
                    inbound: .init(
                        rateLimits: random.rateLimits(), admission: random.maybe { $0.admission() })
                ))
        default:
            let action = random.one(of: MeshAuthorization.Action.allCases)
            return .authorization(
                .init(
                    name, in: namespace, action, targets: random.list(1...5) { $0.target() },
                    rules: random.list((action == .deny ? 1 : 0)...4) { $0.rule() }))
        }
    }
}

extension SeededRandom {
    mutating func one<Item>(of items: [Item]) -> Item { items[below(items.count)] }

    mutating func maybe<Item>(_ make: (inout SeededRandom) -> Item) -> Item? {
        below(2) == 0 ? nil : make(&self)
    }

    mutating func list<Item>(
        _ count: ClosedRange<Int>, _ make: (inout SeededRandom) -> Item
    ) -> [Item] {
        (0..<(count.lowerBound + below(count.count))).map { _ in make(&self) }
    }

    mutating func text(_ letters: String, _ count: ClosedRange<Int>) -> String {
        let letters = Array(letters)
        return String(list(count) { $0.one(of: letters) })
    }

    mutating func label() -> String {
        let ends = "abcxyz0189"
        if below(20) == 0 { return one(of: ["null", "true", "1e3", "0x10", "no"]) }
        return text(ends, 1...1)
            + (below(2) == 0 ? "" : text(ends + "-", 0...61) + text(ends, 1...1))
    }

    mutating func target() -> MeshName {
        switch below(4) {
        case 0: MeshName("*", in: "*")
        case 1: MeshName("*", in: label())
        default: MeshName(label(), in: label())
        }
    }

    mutating func span(_ range: ClosedRange<Duration>) -> Duration {
        let units: [Int64] = [1, 1000, 1_000_000, 1_000_000_000]
        let span = Duration(nanoseconds: Int64(below(100_000)) * one(of: units))
        return min(max(span, range.lowerBound), range.upperBound)
    }

    mutating func health(_ speech: MeshService.Speech) -> MeshHealthCheck {
        var probes: [MeshHealthCheck.Probe] = [.tcp, .http(path: path())]
        if speech == .http2 { probes.append(.grpc(service: text("ab./ é\"\\\n🙂", 0...9))) }
        let timeout = span(Duration.milliseconds(1)...Duration.seconds(3600))
        return .init(
            one(of: probes), interval: max(timeout, span(MeshLimits.healthInterval)),
            timeout: timeout, healthyThreshold: 1 + below(100), unhealthyThreshold: 1 + below(100))
    }

    mutating func path() -> String {
        "/" + text("abZ09-._~%20/:@!$&'()*+,;=\"{}", 0...9)
    }

    /// One that servers read in one way only.
    mutating func rulePath() -> String {
        "/" + text("abZ09-_~:@!$&'()*+,=\"{}", 1...5) + one(of: ["", "/", "%20", "/a.b"])
    }

    mutating func methods() -> [String] {
        list(0...3) { $0.one(of: ["GET", "PUT", "NO", "NULL"]) }
    }

    mutating func headers() -> [ProxyConfiguration.HeaderMatch] {
        let names = Set(list(0...3) { $0.text("abx-_.!#$%&'*+^`|~0", 1...5) })
        return names.sorted().map { name in
            .init(
                name: name,
                value: maybe { random in
                    random.text("a:'\"\\{}[]é🙂\u{A0}#*&!\u{FEFF}", 0...5)
                        .trimming(while: \.isWhitespace)
                })
        }
    }

    mutating func route(_ name: String, _ namespace: String) -> MeshRoute {
        var services: Set<MeshName> = []
        var destinations = list(1...4) { random in
            MeshRoute.Destination(
                .init(random.label(), in: random.label()),
                weight: random.below(MeshLimits.weight + 1))
        }
        .filter { services.insert($0.service).inserted }
        destinations[0].weight = 1
        var route = MeshRoute(
            name, in: namespace,
            hosts: list(0...3) { $0.one(of: ["a", "*.b.c", "1.2.3.4", "[::1]", "null", "_x.y"]) },
            matches: list(1...4) { random in
                let path = random.path()
                let paths: [ProxyConfiguration.PathMatch] = [
                    .exact(path), .prefix(path), .regex("/[a-c]+(x|y)?"),
                ]
                return .init(
                    path: random.one(of: paths), methods: random.methods(),
                    headers: random.conditions().map { name, test in
                        let isPresence = [.present, .absent].contains(test)
                        return .init(
                            name, test, isInverted: !isPresence && random.below(2) == 0)
                    },
                    query: random.conditions().map { .init($0.0, $0.1) },
                    cookies: random.conditions().map { .init($0.0, $0.1) })
            },
            destinations: destinations, timeout: maybe { $0.span(MeshLimits.timeout) })
        route.retry = maybe { $0.retry() }
        route.priority = one(of: Priority.allCases)
        route.rateLimits = rateLimits()
        route.globalRateLimit = maybe { $0.globalRateLimit("\($0.label())/\($0.label())") }
        effects(on: &route)
        return route
    }

    private mutating func conditions() -> [(String, ProxyConfiguration.ValueTest)] {
        let names = Set(list(0...3) { $0.text("abx-_.", 1...5) })
        return names.sorted().map { name in
            let text = text("a:'\"{}#*&!%", 1...5)
            let low = Int64(below(1000)) - 500
            let tests: [ProxyConfiguration.ValueTest] = [
                .present, .absent, .exact(text), .prefix(text), .suffix(text), .contains(text),
                .regex("a.*|[0-9]{1,3}"), .range(low, low + 1 + Int64(below(9))),
            ]
            return (name, one(of: tests))
        }
    }

    private mutating func changes() -> HeaderChanges {
        func fields(_ random: inout SeededRandom) -> [HeaderChanges.Field] {
            Set(random.list(0...2) { $0.text("abx-", 1...5) }).sorted().map {
                .init($0, random.text("a1:%\"", 0...5))
            }
        }
        return .init(
            set: fields(&self), add: fields(&self), remove: list(0...2) { $0.text("abx-", 1...5) })
    }

    private mutating func effects(on route: inout MeshRoute) {
        for index in route.destinations.indices {
            route.destinations[index].requestHeaders = changes()
            route.destinations[index].answerHeaders = changes()
        }
        (route.requestHeaders, route.answerHeaders) = (changes(), changes())
        let isByRegex = route.matches.contains { if case .regex = $0.path { true } else { false } }
        let rewrites: [PathRewrite] = [
            .path(path()), .regex("/(a+)", substitution: #"/b\1"#),
            isByRegex ? .path("/") : .prefix(path()),
        ]
        switch below(4) {
        case 0:
            route.redirect = Redirect(
                status: one(of: Redirect.statuses),
                scheme: maybe { $0.one(of: ["http", "https"]) },
                host: maybe { $0.one(of: ["a", "b.c", "[::1]"]) },
                port: maybe { 1 + $0.below(65_535) },
                path: maybe { $0.one(of: rewrites) }, stripsQuery: below(2) == 0)
            if route.redirect?.problem != nil { route.redirect?.port = 81 }
        case 1:
            route.answer = DirectAnswer(status: 200 + below(400), body: text("a\n\"é", 0...9))
        default:
            var seen = Set(route.destinations.map(\.service))
            route.mirrors = list(0...3) { random in
                RequestMirror(
                    MeshName(random.label(), in: random.label()),
                    percent: Double(random.below(101)), marksHost: random.below(2) == 0)
            }
            .filter { seen.insert($0.target).inserted }
            route.rewrite = maybe { $0.one(of: rewrites) }
            route.hostRewrite = maybe { $0.one(of: ["a", "b.c:80", "[::1]:1", "[::1]"]) }
        }
        guard route.isAnsweredHere else { return }
        (route.timeout, route.retry, route.priority) = (nil, nil, .standard)
        route.requestHeaders = .init()
    }

    mutating func rule() -> MeshAuthorization.Rule {
        let patterns = [
            "*", "*/x", "spiffe://a/*", "spif*", "spiffe://a.b/c", "spiffe://a/ns/b/sa/c",
        ]
        let identities = list(0...3) { $0.one(of: patterns) }
        return .init(
            identities: identities.compactMap(IdentityPattern.init(rawValue:)),
            namespaces: identities.isEmpty ? list(0...2) { $0.label() } : [], methods: methods(),
            paths: list(0...2) { $0.rulePath() }, prefixes: list(0...2) { $0.rulePath() },
            headers: headers(), ports: list(0...3) { 1 + $0.below(65_535) })
    }
}

extension String {
    /// Without what `condition` holds for at either end.
    fileprivate func trimming(while condition: (Character) -> Bool) -> String {
        String(
            String(drop(while: condition).reversed()).drop(while: condition).reversed())
    }
}
