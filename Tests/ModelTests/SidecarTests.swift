import Base
import Model
import Testing

@Suite struct SidecarTests {
    private static let web = MeshName("web", in: "shop")
    private static let cart = MeshName("cart", in: "shop")

    /// A service that calls another of its own namespace, and one elsewhere.
    private static var declarations: [MeshDeclaration] {
        [
            .service(MeshService("web", in: "shop")),
            .service(MeshService("cart", in: "shop", speech: .http2)),
            .service(MeshService("mail", in: "post", mtls: .off)),
            .endpoint(
                MeshEndpoint("cart-1", in: "shop", service: "cart", address: "127.0.0.1:9001")),
            .endpoint(
                MeshEndpoint(
                    "cart-2", in: "shop", service: "cart", address: "127.0.0.1:9002", weight: 3)),
            .endpoint(
                MeshEndpoint(
                    "cart-3", in: "shop", service: "cart", address: "127.0.0.1:9003",
                    health: .draining)),
            .endpoint(
                MeshEndpoint("mail-1", in: "post", service: "mail", address: "127.0.0.1:9004")),
        ]
    }

    private static func facts(_ service: MeshName = web, app: String? = "127.0.0.1:8080")
        -> SidecarFacts
    {
        let outbound = "127.0.0.1:15001"
        return SidecarFacts(
            service: service,
            app.map { .server(app: $0, inbound: "127.0.0.1:0", outbound: outbound) }
                ?? .client(outbound: outbound),
            identity: "id", authorities: "ca", workers: 2)
    }

    private static func make(
        _ more: MeshDeclaration..., of service: MeshName = web, app: String? = "127.0.0.1:8080",
        changes: [MeshName: MeshModeChange] = [:]
    ) throws -> ProxyConfiguration {
        try ProxyConfiguration(
            sidecar: facts(service, app: app), in: MeshState(declarations + more),
            changes: changes)
    }

    private func cluster(_ name: String, _ configuration: ProxyConfiguration) throws
        -> ProxyConfiguration.Cluster
    {
        try #require(configuration.clusters.first { $0.name == name })
    }

    /// Those that checks find unhealthy get no requests, unless these are all that are declared
    /// healthy: `cart-3` is draining, and gets none in any case.
    @Test(
        arguments: [
            ([], [1, 2]), (["cart-1"], [2]), (["cart-1", "cart-2"], [1, 2]), (["cart-3"], [1, 2]),
            (["cart-2", "cart-3", "cart-4"], [1]),
        ] as [([String], [Int])])
    func whatChecksFind(_ unhealthy: [String], _ used: [Int]) throws {
        var mesh = MeshState(Self.declarations)
        mesh.find(.init(unhealthy: unhealthy.map { MeshName($0, in: "shop") }))
        let made = try ProxyConfiguration(sidecar: Self.facts(), in: mesh, changes: [:])
        let ports = try cluster("shop/cart", made).endpoints.map(\.address)
        #expect(ports == used.map { "127.0.0.1:900\($0)" })
        mesh.find(.init(isWhole: true))
        #expect(mesh == MeshState(Self.declarations))
    }

    @Test func clustersAreServices() throws {
        let made = try Self.make()
        #expect(made.clusters.map(\.name) == ["post/mail", "shop/cart", "shop/web", "app"])
        let cart = try cluster("shop/cart", made)
        #expect(
            cart.endpoints == [.init("127.0.0.1:9001"), .init("127.0.0.1:9002", weight: 3)])
        #expect(cart.speech == .http2)
        let tls = try #require(cart.tls)
        #expect(tls.names == ["spiffe://meshbench.test/ns/shop/sa/cart"])
        #expect(tls.certificate == "id" && tls.key == "id" && tls.authorities == "ca")
        #expect(tls.serverName == "cart.shop.mesh" && tls.minimumVersion == .v13)
        // A service that takes cleartext is spoken to in its own way.
        let mail = try cluster("post/mail", made)
        #expect(mail.tls == nil && mail.speech == .http1)
        // Between proxies it is HTTP/2 whatever the service speaks.
        #expect(try cluster("shop/web", made).speech == .http2)
        #expect(made.workers == 2)
    }

    @Test func policiesSayHowTheyAreCarried() throws {
        let made = try Self.make(
            .policy(
                MeshPolicy(
                    "all", targets: [MeshName("*", in: "*")],
                    timeouts: .init(connect: .seconds(1), request: .seconds(2)))),
            .policy(
                MeshPolicy(
                    "cart", in: "shop", targets: [Self.cart],
                    timeouts: .init(request: .zero, idle: .seconds(9)),
                    breaker: .init(standard: .init(connections: 7, pending: 0)))))
        let cart = try cluster("shop/cart", made)
        #expect(cart.requestTimeout == .zero && cart.idleTimeout == .seconds(9))
        #expect(cart.breaker.standard.connections == 7 && cart.breaker.standard.pending == 0)
        #expect(cart.connectTimeout == .seconds(5))
        let mail = try cluster("post/mail", made)
        #expect(mail.requestTimeout == .seconds(2) && mail.connectTimeout == .seconds(1))
        // How long a request may take is for the client's proxy to say.
        #expect(try cluster("app", made).requestTimeout == .zero)
    }

    /// All that a policy and a route say of traffic arrives, and nothing of what they do not.
    @Test func policiesSayWhatBecomesOfAttempts() throws {
        let retry = RetryPolicy(on: [.serverError], most: 2)
        let balance = BalancePolicy(.leastRequest, panicThreshold: 0)
        let limit = RateLimitPolicy(burst: 9, fill: 1)
        var route = MeshRoute(
            "r", in: "shop", hosts: ["x"], destinations: [.init(Self.cart)])
        (route.retry, route.priority, route.rateLimits) = (retry, .high, [limit])
        let made = try Self.make(
            .policy(
                MeshPolicy(
                    "cart", in: "shop", targets: [Self.cart], retry: retry,
                    outlier: .init(mostPercent: 50), balance: balance, admission: .init())),
            .policy(
                MeshPolicy(
                    "web", in: "shop", targets: [Self.web], accrual: .init(),
                    inbound: .init(admission: .init(threshold: 50)))), .route(route))
        let cart = try cluster("shop/cart", made)
        #expect(cart.retry == retry && cart.balance == balance && cart.admission == .init())
        #expect(cart.outlier == .init(mostPercent: 50) && cart.accrual == nil)
        let web = try cluster("shop/web", made)
        #expect(web.accrual == .init() && web.retry == nil && web.outlier == nil)
        // What comes in is held against the service's own policy.
        #expect(try cluster("app", made).admission == .init(threshold: 50))
        let routed = try #require(made.routes.first { $0.hosts == ["x"] })
        #expect(routed.retry == retry && routed.priority == .high && routed.rateLimits == [limit])
        let named = try #require(made.routes.first { $0.hosts == ["cart"] })
        #expect(named.retry == nil && named.priority == .standard && named.rateLimits.isEmpty)
    }

    /// All that a route asks and does arrives; one that answers itself has nobody behind it.
    @Test func routesSayWhatBecomesOfRequests() throws {
        var share = MeshRoute.Destination(Self.cart)
        (share.requestHeaders, share.answerHeaders) = (.init(remove: ["a"]), .init(remove: ["b"]))
        let match = MeshRoute.Match(
            path: .regex("/[0-9]+"), headers: [.init("h", .prefix("x"), isInverted: true)],
            query: [.init("q", .absent)], cookies: [.init("c", .range(1, 9))])
        var declared = MeshRoute(
            "r", in: "shop", hosts: ["x"], matches: [match], destinations: [share])
        declared.rewrite = .path("/new")
        declared.hostRewrite = "y:80"
        declared.mirrors = [
            RequestMirror(MeshName("mail", in: "post"), percent: 20, marksHost: false)
        ]
        declared.requestHeaders = .init(set: [.init("s", "1")])
        declared.answerHeaders = .init(add: [.init("t", "2")])
        var gone = MeshRoute("gone", in: "shop", hosts: ["z"], destinations: [.init(Self.cart)])
        gone.answer = .init(status: 410)
        let made = try Self.make(.route(declared), .route(gone))
        let route = try #require(made.routes.first { $0.hosts == ["x"] })
        #expect(route.path == match.path && route.headers == match.headers)
        #expect(route.query == match.query && route.cookies == match.cookies)
        #expect(route.rewrite == .path("/new") && route.hostRewrite == "y:80")
        #expect(route.requestHeaders.set.map(\.value) == ["1"])
        #expect(route.answerHeaders.add.map(\.value) == ["2"])
        #expect(route.shares.map(\.requestHeaders.remove) == [["a"]])
        #expect(route.shares.map(\.answerHeaders.remove) == [["b"]])
        #expect(route.mirrors == [RequestMirror("post/mail", percent: 20, marksHost: false)])
        let answered = try #require(made.routes.first { $0.hosts == ["z"] })
        #expect(answered.answer?.status == 410 && answered.shares.isEmpty)
    }

    /// Whoever says how to balance is told of all, as it is for him to say when there are too few.
    @Test func whoBalancesIsToldOfAllEndpoints() throws {
        var cart4 = MeshEndpoint(
            "cart-4", in: "shop", service: "cart", address: "127.0.0.1:9006", zone: "b")
        (cart4.level, cart4.labels) = (1, ["version": "2"])
        var mesh = MeshState(Self.declarations + [.endpoint(cart4)])
        mesh.find(.init(unhealthy: [MeshName("cart-1", in: "shop")]))
        var facts = Self.facts()
        facts.zone = "a"
        let before = try ProxyConfiguration(sidecar: facts, in: mesh)
        #expect(try cluster("shop/cart", before).endpoints.map(\.isHealthy) == [true, true])
        mesh.declare(
            .policy(MeshPolicy("cart", in: "shop", targets: [Self.cart], balance: .init())))
        let made = try ProxyConfiguration(sidecar: facts, in: mesh)
        let told = try cluster("shop/cart", made).endpoints
        #expect(told.map(\.isHealthy) == [false, true, true])
        #expect(told.map(\.zone) == [nil, nil, "b"] && told.map(\.level) == [0, 0, 1])
        #expect(told[2].labels == ["version": "2"])
        #expect(made.zone == "a")
    }

    /// Who is not told of an endpoint forgets that it is ejected, and takes it back with the next
    /// push as if it had never failed.
    @Test(arguments: [(OutlierPolicy?.none, [true]), (OutlierPolicy(), [false, true])])
    func whoEjectsIsToldOfAllEndpoints(_ outlier: OutlierPolicy?, _ told: [Bool]) throws {
        var mesh = MeshState(Self.declarations)
        mesh.find(.init(unhealthy: [MeshName("cart-1", in: "shop")]))
        mesh.declare(
            .policy(MeshPolicy("cart", in: "shop", targets: [Self.cart], outlier: outlier)))
        let made = try ProxyConfiguration(sidecar: Self.facts(), in: mesh)
        #expect(try cluster("shop/cart", made).endpoints.map(\.isHealthy) == told)
    }

    /// So is who shuts endpoints out. With nobody well all serve, as there is no panic then.
    @Test(arguments: [(["cart-1"], [false, true]), (["cart-1", "cart-2"], [true, true])])
    func whoShutsOutIsToldOfAllEndpoints(_ unwell: [String], _ told: [Bool]) throws {
        var mesh = MeshState(Self.declarations)
        mesh.find(.init(unhealthy: unwell.map { MeshName($0, in: "shop") }))
        mesh.declare(
            .policy(MeshPolicy("cart", in: "shop", targets: [Self.cart], accrual: .init())))
        let made = try ProxyConfiguration(sidecar: Self.facts(), in: mesh)
        #expect(try cluster("shop/cart", made).endpoints.map(\.isHealthy) == told)
    }

    /// Names of the own namespace may be short; what is declared comes before them.
    @Test func routesByNameAndDeclared() throws {
        let canary = MeshRoute(
            "canary", in: "shop", hosts: ["cart.shop.mesh"],
            matches: [.init(), .init(path: .exact("/x"), methods: ["GET"])],
            destinations: [
                .init(Self.cart, weight: 9), .init(Self.web),
                .init(.init("mail", in: "post"), weight: 0),
            ], timeout: .seconds(3))
        let any = MeshRoute("any", in: "shop", destinations: [.init(Self.web)])
        let made = try Self.make(.route(canary), .route(any))
        let shares: [ProxyConfiguration.Share] = [.init("shop/cart", weight: 9), .init("shop/web")]
        var cartRoutes = made.routes.filter { $0.hosts == ["cart.shop.mesh"] }
        // Each match says whose it is, for what is limited once for all of them.
        #expect(cartRoutes.map(\.declared) == ["shop/canary", "shop/canary", nil])
        for i in cartRoutes.indices { cartRoutes[i].declared = nil }
        #expect(
            cartRoutes == [
                .init(
                    hosts: ["cart.shop.mesh"], path: .exact("/x"), methods: ["GET"],
                    shares: shares, timeout: .seconds(3)),
                .init(hosts: ["cart.shop.mesh"], shares: shares, timeout: .seconds(3)),
                .init(hosts: ["cart.shop.mesh"], cluster: "shop/cart"),
            ])
        var last = ProxyConfiguration.Route(cluster: "shop/web")
        last.declared = "shop/any"
        #expect(made.routes.last == last)
        let named = made.routes.filter { $0.timeout == nil && $0.hosts != [] }
        #expect(
            Set(named.flatMap(\.hosts)) == [
                "cart", "cart.shop", "cart.shop.mesh", "web", "web.shop", "web.shop.mesh",
                "mail.post", "mail.post.mesh",
            ])
    }

    @Test(
        arguments: [
            (MeshService.MutualTLS.strict, nil, true, false, true),
            (.permissive, nil, true, true, true),
            (.off, nil, false, false, false),
            (.strict, .announced, true, true, false),
            (.strict, .followed, true, true, true),
            (.off, .announced, true, true, true),
            (.off, .followed, true, true, false),
        ] as [(MeshService.MutualTLS, MeshModeChange?, Bool, Bool, Bool)])
    func modes(
        mode: MeshService.MutualTLS, change: MeshModeChange?, listensWithTLS: Bool,
        isPermissive: Bool, speaksTLS: Bool
    ) throws {
        let service = MeshDeclaration.service(MeshService("web", in: "shop", mtls: mode))
        let made = try Self.make(service, changes: change.map { [Self.web: $0] } ?? [:])
        let inbound = try #require(made.listeners.first)
        #expect(inbound.name == "inbound" && inbound.cluster == "app")
        #expect((inbound.tls != nil) == listensWithTLS && inbound.isPermissive == isPermissive)
        if let tls = inbound.tls {
            #expect(tls.clientCertificate == .required && tls.authorities == "ca")
        }
        #expect((try cluster("shop/web", made).tls != nil) == speaksTLS)
    }

    @Test func listenersAreOfTheFacts() throws {
        let made = try Self.make()
        #expect(made.listeners.map(\.name) == ["inbound", "outbound"])
        #expect(made.listeners.map(\.address) == ["127.0.0.1:0", "127.0.0.1:15001"])
        #expect(made.listeners.map(\.speech) == [.auto, .auto])
        #expect(made.listeners[1].tls == nil && made.listeners[1].cluster == nil)
        // Who takes no requests has no listener for them, nor anybody to pass them on to.
        let client = try Self.make(app: nil)
        #expect(client.listeners.map(\.name) == ["outbound"])
        #expect(!client.clusters.map(\.name).contains("app"))
        let bytes = try Self.make(.service(MeshService("web", in: "shop", speech: .tcp)))
        #expect(bytes.listeners[0].speech == .tcp)
        #expect(!bytes.clusters.map(\.name).contains("shop/web"))
        // The process is spoken to as its service says.
        #expect(try cluster("app", Self.make(of: Self.cart)).speech == .http2)
        #expect(try cluster("app", made).speech == .http1)
    }

    /// Bytes have no host, so each service has a listener, whether it is declared yet or not.
    @Test func bytesHaveListenersByTheNamesOfServices() throws {
        let db = MeshName("db", in: "shop")
        var facts = Self.facts()
        facts.tcp = [.init(db, address: "127.0.0.1:5432")]
        let bare = try ProxyConfiguration(sidecar: facts, in: MeshState(Self.declarations))
        #expect(bare.listeners.map(\.name) == ["inbound", "outbound", "shop/db"])
        #expect(bare.listeners[2].speech == .tcp && bare.listeners[2].cluster == "shop/db")
        #expect(try cluster("shop/db", bare).endpoints == [])
        let endpoint = MeshEndpoint(
            "db-1", in: "shop", service: "db", address: "127.0.0.1:9005")
        func made(_ speech: MeshService.Speech) throws -> ProxyConfiguration {
            try ProxyConfiguration(
                sidecar: facts,
                in: MeshState(
                    Self.declarations + [
                        .service(MeshService("db", in: "shop", speech: speech)),
                        .endpoint(endpoint),
                    ]))
        }
        let there = try made(.tcp)
        #expect(there.listeners == bare.listeners, "listeners change only with a restart")
        let bytes = try cluster("shop/db", there)
        // Nothing is spoken around bytes but TLS.
        #expect(bytes.endpoints == ["127.0.0.1:9005"] && bytes.speech == .http1)
        #expect(bytes.tls?.names == ["spiffe://meshbench.test/ns/shop/sa/db"])
        #expect(!there.routes.contains { $0.hosts.contains("db") })
        #expect(throws: SidecarError.notTCP(db)) { try made(.http1) }
    }

    /// From outside, nothing is reached that no route says.
    @Test func aGatewayGoesByDeclaredRoutes() throws {
        var facts = Self.facts(app: nil)
        let tls = ServerTLS(certificate: "edge", key: "edge")
        facts.place = .gateway(.init(tls: tls), inbound: "127.0.0.1:0")
        facts.tcp = [.init(MeshName("db", in: "shop"), address: "127.0.0.1:5432")]
        let route = MeshRoute(
            "cart", in: "shop", hosts: ["shop.example"], destinations: [.init(Self.cart)])
        let denied = MeshAuthorization.Rule(prefixes: ["/debug"])
        let made = try ProxyConfiguration(
            sidecar: facts,
            in: MeshState(
                Self.declarations + [
                    .route(route),
                    .authorization(
                        .init("a", in: "shop", .deny, targets: [Self.web], rules: [denied])),
                ]))
        #expect(made.listeners.map(\.name) == ["inbound", "shop/db"])
        #expect(made.listeners.map(\.tls) == [tls, tls])
        #expect(made.listeners[0].cluster == nil && !made.listeners[0].isPermissive)
        // Bytes come from outside too.
        #expect(made.listeners.allSatisfy { $0.authorization == .init(deny: [denied]) })
        #expect(made.routes.map(\.hosts) == [["shop.example"]])
        #expect(made.routes.map(\.shares) == [[.init("shop/cart")]])
        #expect(try cluster("shop/cart", made).tls != nil, "within the mesh it is mutual TLS")
    }

    /// What comes in there is held against the limits of the service that it is.
    @Test func aGatewayHasTheLimitsOfItsService() throws {
        var facts = Self.facts(app: nil)
        facts.place = .gateway(.init(), inbound: "127.0.0.1:0")
        facts.tcp = [.init(MeshName("db", in: "shop"), address: "127.0.0.1:5432")]
        var inbound = MeshPolicy.Inbound(rateLimits: [RateLimitPolicy(burst: 9, fill: 1)])
        inbound.globalRateLimit = GlobalRateLimit(
            cluster: "shop/limits", domain: "shop",
            descriptors: [.init([.init("who", .part(.identity))])])
        var policy = MeshPolicy("web", in: "shop", targets: [Self.web], inbound: inbound)
        var mesh = MeshState(Self.declarations + [.policy(policy)])
        let made = try ProxyConfiguration(sidecar: facts, in: mesh)
        #expect(made.listeners[0].rateLimits == inbound.rateLimits)
        #expect(made.listeners[0].globalRateLimit == inbound.globalRateLimit)
        // Bytes are no requests.
        #expect(made.listeners[1].rateLimits.isEmpty && made.listeners[1].globalRateLimit == nil)
        #expect(facts.remark(in: mesh) == nil)
        // There is no process whose failures would say whom to turn away, which is said.
        policy.inbound.admission = .init()
        mesh.declare(.policy(policy))
        #expect(try ProxyConfiguration(sidecar: facts, in: mesh) == made)
        #expect(facts.remark(in: mesh)?.contains("'shop/web' has `inbound.admission`") == true)
        #expect(Self.facts().remark(in: mesh) == nil)
    }

    @Test func authorizationsAreOfTheListener() throws {
        #expect(try Self.make().listeners[0].authorization == nil)
        let denied = MeshAuthorization.Rule(prefixes: ["/debug"])
        let allowed = MeshAuthorization.Rule(methods: ["GET"])
        let made = try Self.make(
            .authorization(
                .init("a", in: "shop", .deny, targets: [.init("*", in: "shop")], rules: [denied])),
            .authorization(.init("b", in: "shop", .allow, targets: [Self.cart], rules: [])))
        // No rule means the control plane, which asks how the service is.
        let control = try #require(SPIFFEID(rawValue: "spiffe://meshbench.test/control"))
        #expect(made.listeners[0].authorization == .init(deny: [denied], exempt: control))
        #expect(made.listeners[1].authorization == nil)
        // Nor does any limit.
        #expect(try Self.make().listeners.map(\.unlimited) == [control, nil])
        let closed = try Self.make(
            .authorization(
                .init("a", in: "shop", .allow, targets: [.init("*", in: "*")], rules: [])),
            .authorization(.init("b", in: "shop", .allow, targets: [Self.web], rules: [allowed])))
        #expect(closed.listeners[0].authorization == .init(allow: [allowed], exempt: control))
    }

    @Test func aServiceThatIsGoneIsAnError() {
        #expect(throws: SidecarError.noService(.init("gone"))) {
            try Self.make(of: .init("gone"))
        }
    }
}
