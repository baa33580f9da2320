import Base
import Model
import Testing

@Suite struct MeshNameTests {
    @Test(
        arguments: [
            ("a", true), ("a-b", true), ("0", true), ("1a", true), ("", false), ("-a", false),
            ("a-", false), ("A", false), ("a.b", false), ("a_b", false), ("é", false), ("*", false),
            (String(repeating: "a", count: 63), true), (String(repeating: "a", count: 64), false),
        ])
    func labels(text: String, isLabel: Bool) { #expect(MeshName.isLabel(text) == isLabel) }

    @Test func references() {
        let cart = MeshName("cart", in: "shop")
        #expect(cart.covers(cart) && cart.breadth == 0)
        #expect(!cart.covers(.init("cart")))
        #expect(MeshName("*", in: "shop").covers(cart) && MeshName("*", in: "shop").breadth == 1)
        #expect(!MeshName("*").covers(cart))
        #expect(MeshName("*", in: "*").covers(cart) && MeshName("*", in: "*").breadth == 2)
    }

    @Test func keys() {
        for kind in MeshKind.allCases {
            let key = MeshKey(kind, .init("cart", in: "shop"))
            #expect(key.path == "\(kind.plural)/shop/cart")
            #expect(MeshKey(path: key.path) == key)
        }
        for path in ["", "services", "services/a", "services/a/b/c", "service/a/b", "services//b"] {
            #expect(MeshKey(path: path) == nil)
        }
        let keys = MeshKind.allCases.flatMap { kind in
            ["a", "a-b", "b"].flatMap { space in
                ["x", "x-y"].map { MeshKey(kind, .init($0, in: space)) }
            }
        }
        #expect(
            keys.sorted().map(\.kind)
                == keys.map(\.path).sorted().compactMap { MeshKey(path: $0)?.kind })
    }
}

@Suite struct IdentityTests {
    @Test(
        arguments: [
            ("spiffe://a.b/ns/x/sa/y", true), ("spiffe://a/b", true),
            ("spiffe://a_b-1.c/D.e_f-g", true),
            ("spiffe://a", false), ("spiffe://a/", false), ("spiffe://a//b", false),
            ("spiffe://A/b", false), ("spiffe:///b", false), ("http://a/b", false),
            ("spiffe://a/b/", false), ("spiffe://a/.", false), ("spiffe://a/../b", false),
            ("spiffe://a/b?c", false), ("spiffe://a:1/b", false), ("spiffe://a/é", false),
            ("", false),
            ("spiffe://a/" + String(repeating: "b", count: 2037), true),
            ("spiffe://a/" + String(repeating: "b", count: 2038), false),
        ])
    func ids(text: String, isOne: Bool) { #expect((SPIFFEID(rawValue: text) != nil) == isOne) }

    @Test func parts() throws {
        let id = try #require(SPIFFEID(.init("cart", in: "shop"), trustDomain: "mesh.example"))
        #expect(id.rawValue == "spiffe://mesh.example/ns/shop/sa/cart")
        #expect(id.trustDomain == "mesh.example")
        #expect(id.namespace == "shop")
        #expect(SPIFFEID(rawValue: "spiffe://a/shop/cart/x/y")?.namespace == nil)
        #expect(SPIFFEID(.init("a b"), trustDomain: "x") == nil)
    }

    @Test(
        arguments: [
            ("*", true), ("spiffe://a/ns/x/sa/y", true), ("spiffe://a/ns/x/sa/z", false),
            ("spiffe://a/ns/*", true), ("spiffe://a/ns/xy*", false), ("spif*", true),
            ("*/sa/y", true), ("*y", true), ("*/sa/z", false),
        ])
    func patterns(text: String, matches: Bool) throws {
        let id = try #require(SPIFFEID(rawValue: "spiffe://a/ns/x/sa/y"))
        #expect(try #require(IdentityPattern(rawValue: text)).matches(id) == matches)
    }

    @Test(arguments: ["", "**", "*a*", "a*", "spiffe://a/*/b", "x", "spiffe://a", "* ", "*\u{301}"])
    func noPatterns(text: String) { #expect(IdentityPattern(rawValue: text) == nil) }
}

@Suite struct MeshStateTests {
    private let cart = MeshName("cart")

    private func messages(_ declarations: [MeshDeclaration]) -> [String] {
        MeshState(declarations).check().map(\.description)
    }

    @Test func aKeySaysOneThing() {
        var state = MeshState()
        #expect(state.declare(.service(.init("a"))) == nil)
        #expect(state.declare(.service(.init("a", mtls: .off))) == .service(.init("a")))
        let endpoint = MeshEndpoint("a", service: "a", address: "1.1.1.1:1")
        #expect(state.declare(.endpoint(endpoint)) == nil)
        #expect(state.count == 2)
        #expect(state.declarations == [.endpoint(endpoint), .service(.init("a", mtls: .off))])
        #expect(state[.init(.endpoint, .init("a"))] == .endpoint(endpoint))
        #expect(state.remove(.init(.endpoint, .init("a"))) == .endpoint(endpoint))
        #expect(state.remove(.init(.endpoint, .init("a"))) == nil)
        #expect(state == MeshState([.service(.init("a", mtls: .off))]))
    }

    @Test func removalsThatOthersNeedAreSeen() {
        var state = MeshState([
            .service(.init("a")), .endpoint(.init("e", service: "a", address: "1.1.1.1:1")),
        ])
        #expect(state.check() == [])
        state.remove(.init(.service, .init("a")))
        #expect(
            state.check().map(\.description) == [
                "endpoint default/e: service: unknown service 'a'"
            ])
    }

    /// Values that no reader of files has seen are held to the same limits.
    @Test func valuesOutOfBounds() throws {
        let long = String(repeating: "a", count: 64)
        let many = (0...MeshLimits.hosts).map { "h\($0)" }
        #expect(
            messages([
                .service(.init(long, health: .init(interval: .zero, unhealthyThreshold: 0))),
                .service(.init("cart")),
                .endpoint(.init("e", service: "cart", address: "cart:80", zone: "A", weight: 0)),
                .route(
                    .init(
                        "r", hosts: many, matches: [.init(path: .exact("x"), methods: ["get"])],
                        destinations: [.init(.init("*"), weight: -1)],
                        timeout: .seconds(-1))),
                .policy(.init("p", targets: [], breaker: .init(standard: .init(connections: 0)))),
                .authorization(
                    .init(
                        "z", .allow, targets: [.init("x", in: "*")],
                        rules: [
                            .init(
                                namespaces: ["*"],
                                headers: [
                                    .init(name: "A", value: "b\n"), .init(name: "b", value: nil),
                                    .init(name: "b", value: nil),
                                ], ports: [0])
                        ])),
            ]) == [
                "authorization default/z: to.0: a service such as cart or shop/cart is needed",
                "authorization default/z: rules.0.namespaces.0: a name of lower-case letters, "
                    + "digits "
                    + "and hyphens is needed",
                "authorization default/z: rules.0.headers.A: no name of a field in lower case",
                "authorization default/z: rules.0.headers.A: a field's value cannot hold control "
                    + "characters",
                "authorization default/z: rules.0.headers.b: stands here already",
                "authorization default/z: rules.0.ports.0: '0' is less than 1, the least "
                    + "allowed here",
                "authorization default/z: rules.0.namespaces.0: never holds: no service is of "
                    + "such a "
                    + "namespace",
                "endpoint default/e: zone: a name of lower-case letters, digits and hyphens is "
                    + "needed",
                "endpoint default/e: weight: '0' is less than 1, the least allowed here",
                "endpoint default/e: address: an address such as 127.0.0.1:8080 or [::1]:8080 is "
                    + "needed",
                "policy default/p: to: at least 1 items are needed here, not 0",
                "policy default/p: breaker.connections: '0' is less than 1, the least allowed here",
                "route default/r: hosts: at most 100 items are needed here, not 101",
                "route default/r: matches.0.path: a path without a query, such as /users, is "
                    + "needed",
                "route default/r: matches.0.methods.0: a method in upper case, such as GET, is "
                    + "needed",
                "route default/r: to.0.service: a service such as cart or shop/cart is needed",
                "route default/r: to.0.weight: '-1' is less than 0, the least allowed here",
                "route default/r: timeout: '-1s' is less than 0s, the least allowed here",
                "route default/r: to.0.service: unknown service '*'",
                "service default/\(long): name: longer than 63 bytes",
                "service default/\(long): health.interval: '0s' is less than 10ms, the least "
                    + "allowed "
                    + "here",
                "service default/\(long): health.unhealthy: '0' is less than 1, the least "
                    + "allowed here",
                "service default/\(long): health.timeout: the timeout of a check is longer "
                    + "than the "
                    + "interval",
            ])
    }

    @Test func problemsAreBounded() {
        let endpoints = (0..<500).map {
            MeshDeclaration.endpoint(.init("e\($0)", service: "a", address: "1.1.1.1:1"))
        }
        #expect(MeshState(endpoints).check().count == 100)
        #expect(MeshState(endpoints).check(atMost: 7).count == 7)
    }

    @Test func conditionsOfAllRoutesAreBounded() {
        let hosts = (0..<MeshLimits.hosts).map { "h\($0)" }
        let matches = (0..<MeshLimits.matches).map { MeshRoute.Match(path: .exact("/\($0)")) }
        let routes = (0..<16).map { number in
            MeshDeclaration.route(
                .init(
                    "r\(String(UnicodeScalar(UInt8(97 + number))))",
                    hosts: hosts.map { "\($0).\(number)" }, matches: matches,
                    destinations: [.init(cart)]))
        }
        #expect(
            messages(routes + [.service(.init("cart"))]) == [
                "route default/rp: more than 100000 conditions in all routes: hosts times matches"
            ])
    }

    @Test func theNarrowestPolicyHolds() {
        func policy(_ name: String, _ target: MeshName) -> MeshDeclaration {
            .policy(.init(name, targets: [target], breaker: .init(standard: .init(pending: 1))))
        }
        let all = policy("z", .init("*", in: "*"))
        let some = policy("y", .init("*"))
        let one = policy("x", cart)
        #expect(MeshState([all, some, one]).policy(for: cart)?.name == "x")
        #expect(MeshState([all, some]).policy(for: cart)?.name == "y")
        #expect(MeshState([all, some]).policy(for: .init("cart", in: "other"))?.name == "z")
        #expect(MeshState([some]).policy(for: .init("cart", in: "other")) == nil)
    }

    /// From the most particular to the least, whatever the names; and the same from every order of
    /// declaring.
    @Test func conditionsAreHeldInTheOrderOfTheGatewayAPI() {
        let header = ProxyConfiguration.HeaderMatch(name: "a", value: "1")
        let inOrder: [(String?, MeshRoute.Match)] = [
            ("long.example.org", .init()),
            ("example.org", .init(path: .exact("/b/long"))),
            ("example.org", .init(path: .exact("/b"))),
            ("example.org", .init(path: .prefix("/much/longer"))),
            ("example.org", .init(methods: ["PUT"])),
            ("example.org", .init(methods: ["GET", "PUT"], headers: [header])),
            ("example.org", .init(methods: ["GET", "PUT"])),
            ("example.org", .init(headers: [header])),
            ("example.org", .init(query: [.init("q", .present), .init("r", .present)])),
            ("example.org", .init(query: [.init("q", .exact("1"))])),
            ("example.org", .init(query: [.init("q", .exact("2"))])),
            ("example.org", .init(cookies: [.init("c", .present)])),
            ("example.org", .init()),
            ("*.a.example.org", .init()),
            ("*.example.org", .init(path: .exact("/b"))),
            (nil, .init(path: .exact("/b"))),
            (nil, .init()),
        ]
        var random = SeededRandom(seed: 1)
        for _ in 0..<20 {
            let order = inOrder.indices.shuffled(using: &random)
            let state = MeshState(
                order.enumerated().map { place, index in
                    let (host, match) = inOrder[index]
                    return .route(
                        .init(
                            "r\(place)", hosts: host.map { [$0] } ?? [], matches: [match],
                            destinations: [.init(cart)]))
                })
            let found = state.conditions.map { ($0.condition.host, $0.condition.match) }
            #expect(found.map(\.0) == inOrder.map(\.0))
            #expect(found.map(\.1) == inOrder.map(\.1))
        }
    }

    @Test func theSameConditionsInAnotherOrderAreTheSame() {
        let (a, b) = (
            MeshRoute.Match(
                methods: ["GET", "PUT"],
                headers: [.init(name: "a", value: nil), .init(name: "b", value: "c")]),
            MeshRoute.Match(
                methods: ["PUT", "GET", "GET"],
                headers: [.init(name: "b", value: "c"), .init(name: "a", value: nil)])
        )
        let routes = [a, b].enumerated().map { number, match in
            MeshDeclaration.route(
                .init("r\(number)", matches: [match], destinations: [.init(cart)]))
        }
        #expect(
            messages(routes + [.service(.init("cart"))]) == [
                "route default/r1: matches.0: the route 'default/r0' has the same conditions"
            ])
    }

    @Test func whatARouteCannotDoIsReported() {
        func route(_ change: (inout MeshRoute) -> Void) -> [String] {
            var route = MeshRoute(
                "r", matches: [.init(path: .regex("/a+"))], destinations: [.init(cart)])
            change(&route)
            return messages([.service(.init("cart")), .route(route)])
        }
        #expect(route { $0.rewrite = .path("/b") } == [])
        #expect(
            route { $0.rewrite = .prefix("/b") } == [
                "route default/r: rewrite: a route with an expression has no prefix to replace: "
                    + "`path` replaces all of it, `regex` a part"
            ])
        #expect(
            route {
                $0.rewrite = .path("/b")
                ($0.redirect, $0.answer) = (.init(host: "b"), .init(status: 200))
            } == [
                "route default/r: rewrite: the route answers itself: nobody would get the "
                    + "rewritten path",
                "route default/r: redirect: has no meaning beside `answer`: it is one or the other",
            ])
        #expect(
            route { $0.mirrors = [RequestMirror(cart)] } == [
                "route default/r: mirror.0.service: 'default/cart' is sent the route's requests "
                    + "already"
            ])
        let unknown = route { $0.mirrors = [RequestMirror(MeshName("none"))] }
        #expect(
            unknown.first?.hasPrefix(
                "route default/r: mirror.0.service: unknown service 'none'") == true)
        #expect(
            route {
                $0.mirrors = [RequestMirror(MeshName("cart", in: "x"), percent: 101)]
                $0.answer = .init(status: 200)
            }.first == "route default/r: mirror: the route answers itself: no request goes on to "
                + "be mirrored")
        #expect(
            route { $0.hostRewrite = "a:0" } == [
                "route default/r: host_rewrite: a host, with a port or without, is needed"
            ])
        #expect(
            route { $0.destinations[0].requestHeaders = .init(remove: ["host"]) } == [
                "route default/r: to.0.request_headers: 'host' is not for routes to change"
            ])
        #expect(
            route { $0.matches[0].query = [.init("q", .range(2, 2))] } == [
                "route default/r: matches.0.query.q: a range from 2 up to 2 has nothing in it"
            ])
        #expect(
            route { $0.matches[0].headers = [.init("h", .absent, isInverted: true)] } == [
                "route default/r: matches.0.headers.h: `not` asks that it is there: of presence "
                    + "write present or absent alone"
            ])
    }

    /// Who is asked for limits is a service that there is, speaks HTTP/2 and is not limited by what
    /// it is asked about.
    @Test func whoIsAskedForLimitsIsChecked() {
        func check(
            _ limiting: String, to targets: [MeshName], _ speech: MeshService.Speech = .http2
        ) -> [String] {
            let limit = GlobalRateLimit(
                cluster: limiting, domain: "d", descriptors: [.init([.init("a", .text("b"))])])
            var policy = MeshPolicy("p", targets: targets)
            policy.inbound.globalRateLimit = limit
            var route = MeshRoute("r", destinations: [.init(cart)])
            route.globalRateLimit = limit
            return messages([
                .service(.init("cart")), .service(.init("limits", speech: speech)),
                .policy(policy), .route(route),
            ])
        }
        let policy = "policy default/p: inbound.global_rate_limit.service: "
        let route = "route default/r: global_rate_limit.service: "
        #expect(check("default/limits", to: [cart]) == [])
        let unknown = "unknown service 'limit'; did you mean 'limits'?"
        #expect(check("default/limit", to: [cart]) == [policy + unknown, route + unknown])
        let none = "a service such as cart or shop/cart is needed"
        #expect(check("limits", to: [cart]) == [policy + none, route + none])
        let mute =
            "'default/limits' speaks http1, and a rate limit service is asked over http2 "
            + "(`protocol`)"
        #expect(check("default/limits", to: [cart], .http1) == [policy + mute, route + mute])
        #expect(
            check("default/limits", to: [MeshName("*")]) == [
                policy + "'default/limits' would be asked about each question itself: the policy "
                    + "is for it too, unless another one is"
            ])
    }

    @Test func endpointsFollowTheirService() {
        var state = MeshState()
        let (a, b) = (MeshName("a"), MeshName("b"))
        state.declare(.endpoint(.init("y", service: "a", address: "1.1.1.1:1")))
        state.declare(.endpoint(.init("x", service: "a", address: "1.1.1.1:2")))
        #expect(state.endpoints(of: a).map(\.name) == ["x", "y"])
        state.declare(.endpoint(.init("y", service: "b", address: "1.1.1.1:1")))
        #expect(state.endpoints(of: a).map(\.name) == ["x"])
        #expect(state.endpoints(of: b).map(\.name) == ["y"])
        state.remove(.init(.endpoint, .init("y")))
        #expect(state.endpoints(of: b) == [])
        #expect(
            state == MeshState([.endpoint(.init("x", service: "a", address: "1.1.1.1:2"))]))
    }

    /// What is reported of two that contradict each other is what came last.
    @Test func changesAreReported() {
        let states = MeshState([
            .service(.init("cart")),
            .endpoint(.init("b", service: "cart", address: "1.1.1.1:1")),
            .endpoint(.init("a", service: "cart", address: "1.1.1.1:1")),
            .route(.init("b", destinations: [.init(cart)])),
            .route(.init("a", destinations: [.init(cart)])),
        ])
        func changed(_ name: String) -> [String] {
            let keys = [MeshKind.endpoint, .route].map { MeshKey($0, .init(name)) }
            return states.check(changed: Set(keys)).map(\.key.path)
        }
        #expect(changed("a") == ["endpoints/default/a", "routes/default/a"])
        #expect(changed("b") == ["endpoints/default/b", "routes/default/b"])
    }

    /// Over random changes of a small mesh: a check of the change finds something exactly where a
    /// check of the whole does.
    @Test func theCheckOfAChangeIsThatOfTheWhole() {
        var random = SeededRandom(seed: 7)
        var state = MeshState()
        var refused = 0
        for step in 0..<1500 {
            var next = state
            var changed: Set<MeshKey> = []
            for _ in 0...random.below(2) {
                let (isRemoval, declaration) = (random.below(4) == 0, Self.any(&random))
                changed.insert(declaration.key)
                if isRemoval { next.remove(declaration.key) } else { next.declare(declaration) }
            }
            let problems = next.check(changed: changed)
            let whole = next.check()
            #expect(
                problems.isEmpty == whole.isEmpty, "step \(step): \(changed) \(problems) \(whole)")
            if problems.isEmpty { state = next } else { refused += 1 }
        }
        #expect(refused > 300 && refused < 1400)
        #expect(Set(state.declarations.map(\.key.kind)).count >= 3)
    }

    /// A declaration of few names, so that they often meet.
    private static func any(_ random: inout SeededRandom) -> MeshDeclaration {
        func pick(_ words: [String]) -> String { words[random.below(words.count)] }
        let (name, space) = (pick(["a", "b", "c"]), pick(["default", "shop"]))
        let service = MeshName(pick(["a", "b"]), in: pick(["default", "shop"]))
        let target = random.below(3) == 0 ? MeshName("*", in: service.namespace) : service
        switch random.below(8) {
        case 0...2:
            let speeches: [MeshService.Speech] = [.http1, .http1, .http2, .tcp]
            let mtls: [MeshService.MutualTLS] = [.strict, .permissive, .off]
            return .service(
                .init(
                    name, in: space, speech: speeches[random.below(4)], mtls: mtls[random.below(3)],
                    identity: random.below(4) > 0
                        ? nil : SPIFFEID(rawValue: "spiffe://meshbench.test/\(pick(["x", "y"]))"),
                    calls: random.below(6) > 0 ? nil : [target]))
        case 3...4:
            return .endpoint(
                .init(
                    name, in: space, service: service.name,
                    address: "1.1.1.1:\(1 + random.below(3))"))
        case 5:
            return .route(
                .init(
                    name, in: space, hosts: [pick(["x", "y"])],
                    matches: [.init(path: .exact(pick(["/", "/a"])))],
                    destinations: [.init(service)]))
        case 6:
            return .policy(
                .init(
                    name, in: space, targets: [target], breaker: .init(standard: .init(pending: 1)))
            )
        default:
            let identities = [
                "spiffe://meshbench.test/x", "spiffe://meshbench.test/ns/shop/*", "*/sa/a",
            ]
            let pattern = IdentityPattern(rawValue: pick(identities))
            return .authorization(
                .init(
                    name, in: space, .allow, targets: [target],
                    rules: [
                        random.below(2) == 0
                            ? .init(identities: [pattern].compactMap(\.self))
                            : .init(namespaces: [service.namespace], methods: ["GET"])
                    ]))
        }
    }
}

/// What may be the path of a rule: what servers read in one way only.
@Suite struct RulePathTests {
    @Test(arguments: ["/", "/a", "/a/", "/a.b/.c", "/v1/items:delete", "/a%20b", "/%C3%A9", "/a@b"])
    func oneReading(_ path: String) { #expect(isRulePath(path)) }

    @Test(arguments: [
        "", "a", "*", "/a?b", "/a#b", "/a/../b", "/.", "/a/%2e%2E", "//a", "/a//b", "/a;b",
        "/a%3Bb",
        "/a\\b", "/a%5cb", "/a%2Fb", "/a%00", "/a%", "/a%4", "/a%zz", "/%E0%80%AE", "/%ff",
        "/a%3Fb",
    ])
    func several(_ path: String) { #expect(!isRulePath(path)) }
}
