import Base
import Model
import Testing

@Suite struct MeshTrapTests {
    private static let cart = MeshName("cart")

    private func traps(
        _ policy: (inout MeshPolicy) -> Void, speech: MeshService.Speech = .http1, endpoints: Int?
    ) -> [String] {
        var made = MeshPolicy("p", targets: [Self.cart])
        policy(&made)
        let mesh = MeshState([.service(MeshService("cart", speech: speech)), .policy(made)])
        #expect(mesh.check() == [])
        return mesh.traps { _ in endpoints }.map(\.description)
    }

    @Test func anAttemptAsLongAsTheRequestSaysNothing() {
        func found(_ perTry: Duration, _ request: Duration?) -> [String] {
            traps(
                {
                    $0.retry = RetryPolicy(on: [.serverError], perTry: perTry)
                    $0.timeouts.request = request
                }, endpoints: 10)
        }
        #expect(
            found(.seconds(2), .seconds(2)) == [
                "policy default/p: retry.per_try: no shorter than the whole request may take, 2s: "
                    + "it says nothing"
            ])
        #expect(found(.seconds(1), .seconds(2)) == [])
        // There is no limit to be longer than; and where nothing is said there is one.
        #expect(found(.seconds(99), .zero) == [])
        #expect(found(.seconds(15), nil).count == 1)
    }

    /// The small cluster in which nothing is ever ejected.
    @Test(arguments: [(10.0, 9, true), (10, 10, false), (50, 1, true), (50, 2, false)])
    func tooFewEndpointsToEjectOne(percent: Double, endpoints: Int, isTrap: Bool) {
        let found = traps({ $0.outlier = .init(mostPercent: percent) }, endpoints: endpoints)
        #expect(found.isEmpty == !isTrap)
        if isTrap { #expect(found[0].contains("of the \(endpoints) endpoints of 'default/cart'")) }
        let always = OutlierPolicy(mostPercent: percent, alwaysEjectsOne: true)
        #expect(traps({ $0.outlier = always }, endpoints: endpoints) == [])
        #expect(traps({ $0.outlier = .init(mostPercent: percent) }, endpoints: nil) == [])
    }

    /// One that fails of n is √(n − 1) deviations below the mean, however badly it fails: of four
    /// never 1.9. And of fewer than `hosts` none is looked at.
    @Test(arguments: [
        (1.9, 3, 4, "factor"), (1.9, 3, 5, nil), (2, 3, 5, "factor"), (2, 3, 6, nil),
        (1.9, 6, 5, "hosts"), (1.9, 6, 6, nil),
    ])
    func tooFewEndpointsToStandOut(
        _ factor: Double, _ hosts: Int, _ endpoints: Int, _ key: String?
    ) {
        var policy = OutlierPolicy(mostPercent: 50)
        policy.successRate = .init(threshold: factor, enforcing: 100, hosts: hosts, volume: 10)
        let found = traps({ $0.outlier = policy }, endpoints: endpoints)
        #expect(found.count == (key == nil ? 0 : 1))
        if let key {
            #expect(found.first?.contains("outlier.success_rate.\(key): ") == true, "\(found)")
        }
        policy.successRate.enforcing = 0
        #expect(traps({ $0.outlier = policy }, endpoints: endpoints) == [])
        policy.failurePercentage = .init(threshold: 85, enforcing: 100, hosts: hosts, volume: 10)
        #expect(
            traps({ $0.outlier = policy }, endpoints: endpoints).count
                == (endpoints < hosts ? 1 : 0))
        #expect(traps({ $0.outlier = .init(mostPercent: 50) }, endpoints: 2) == [])
    }

    @Test func whatNeverComesFirstOrRefusesAll() {
        let gateway = OutlierPolicy(
            consecutiveGateway: .init(5, enforcing: 100), mostPercent: 50)
        #expect(traps({ $0.outlier = gateway }, endpoints: 4).count == 1)
        var earlier = gateway
        earlier.consecutiveGateway.count = 4
        #expect(traps({ $0.outlier = earlier }, endpoints: 4) == [])
        #expect(traps({ $0.outlier = .init(mostPercent: 0) }, endpoints: 4).count == 1)
        let closed = BreakerPolicy(standard: .init(pending: 0))
        #expect(traps({ $0.breaker = closed }, endpoints: 4).count == 1)
        let refusing = BreakerPolicy(standard: .init(requests: 0))
        #expect(traps({ $0.breaker = refusing }, endpoints: 4).count == 1)
        let high = BreakerPolicy(standard: .init(), high: .init(pending: 0, requests: 0))
        #expect(traps({ $0.breaker = high }, endpoints: 4).count == 2)
        let retry = RetryPolicy(on: [.reset])
        #expect(traps({ $0.retry = retry }, speech: .tcp, endpoints: 4).count == 1)
        #expect(traps({ $0.timeouts.connect = .seconds(15) }, endpoints: 4).count == 1)
    }

    /// Bytes come by none of the filters that requests meet.
    @Test func whatBytesNeverMeet() {
        let inbound = MeshPolicy.Inbound(
            rateLimits: [RateLimitPolicy(burst: 1, fill: 1)], admission: .init())
        #expect(traps({ $0.inbound = inbound }, endpoints: 4) == [])
        #expect(
            traps({ $0.inbound = inbound }, speech: .tcp, endpoints: 4)
                == ["rate_limits", "admission"].map {
                    "policy default/p: inbound.\($0): 'default/cart' is of tcp: bytes are no "
                        + "requests, and are let through"
                })
    }

    @Test func whatIsWrittenDownAndNeverActs() {
        var counting = OutlierPolicy(mostPercent: 50)
        counting.consecutive5xx.enforcing = 0
        counting.successRate.enforcing = 0
        #expect(
            traps({ $0.outlier = counting }, endpoints: 4) == [
                "policy default/p: outlier: no rule of it is enforced: nothing is ever ejected"
            ])
        counting.consecutiveLocal = .init(3, enforcing: 100)
        counting.splitsLocalOrigin = true
        #expect(traps({ $0.outlier = counting }, endpoints: 4) == [])
        for (balance, key) in [
            (BalancePolicy(ringSize: 2048), "ring_size"), (.init(tableSize: 101), "table_size"),
            (.init(.peakEWMA, choices: 3), "choices"),
        ] {
            let found = traps({ $0.balance = balance }, endpoints: 4)
            #expect(found.count == 1 && found.first?.contains("balance.\(key): has no") == true)
        }
        var zoned = BalancePolicy()
        zoned.zoneMinimum = 3
        #expect(traps({ $0.balance = zoned }, endpoints: 4).count == 1)
        zoned.prefersZone = true
        #expect(traps({ $0.balance = zoned }, endpoints: 4) == [])
        let idle = AdmissionPolicy(mostRejected: 0)
        #expect(traps({ $0.admission = idle }, endpoints: 4).count == 1)
        #expect(traps({ $0.inbound.admission = idle }, endpoints: 4).count == 1)
        let blind = RateLimitPolicy(burst: 1, fill: 1, enabled: 0)
        #expect(
            traps({ $0.inbound.rateLimits = [blind] }, endpoints: 4) == [
                "policy default/p: inbound.rate_limits.0.enabled: 0 looks at no request"
            ])
        var route = MeshRoute("r", destinations: [.init(Self.cart)])
        route.rateLimits = [blind]
        let mesh = MeshState([.service(MeshService("cart")), .route(route)])
        #expect(mesh.traps().map(\.path) == [["rate_limits", "0", "enabled"]])
    }

    @Test func routesAreWarnedOfToo() {
        var route = MeshRoute("r", destinations: [.init(Self.cart)], timeout: .seconds(1))
        route.retry = RetryPolicy(on: [.reset], perTry: .seconds(1))
        let mesh = MeshState([.service(MeshService("cart")), .route(route)])
        #expect(mesh.traps().map(\.path) == [["retry", "per_try"]])
    }

    @Test(arguments: [(0, false, true), (1, false, false), (0, true, false)])
    func aRouteWhoseBreakerLetsNoRetryBe(_ retries: Int, _ hasBudget: Bool, _ warns: Bool) {
        var policy = MeshPolicy("p", targets: [Self.cart])
        policy.breaker = BreakerPolicy(standard: .init(retries: retries))
        var route = MeshRoute("r", destinations: [.init(Self.cart)])
        route.retry = RetryPolicy(on: [.reset])
        if hasBudget { route.retry?.budget = .concurrency(percent: 20, least: 3) }
        let mesh = MeshState([.service(MeshService("cart")), .policy(policy), .route(route)])
        #expect(
            mesh.traps().map(\.description)
                == (warns
                    ? [
                        "route default/r: retry: nothing is sent again to 'default/cart': policy "
                            + "'default/p' has `breaker.retries: 0`"
                    ] : []))
    }

    /// What contradicts itself is refused, and not warned of.
    @Test func partsOfAPolicyThatContradictEachOther() {
        func problems(_ change: (inout MeshPolicy) -> Void) -> [String] {
            var policy = MeshPolicy("p", targets: [Self.cart])
            change(&policy)
            return MeshDeclaration.policy(policy).problems.map(\.description)
        }
        #expect(
            problems {
                $0.outlier = .init()
                $0.accrual = .init()
            } == [
                "policy default/p: accrual: has no meaning beside `outlier`: it is one or the other"
            ])
        #expect(
            problems {
                $0.balance = .init(panicThreshold: 0)
                $0.balance?.failsOnPanic = true
            } == [
                "policy default/p: balance.fail_on_panic: never comes to be: `panic` is 0%"
            ])
        #expect(
            problems { $0.retry = .init(on: [.reset], most: 0, perTry: .seconds(1), hedges: true) }
                == [
                    "policy default/p: retry.hedge: has no meaning with `max: 0`: "
                        + "a hedge is a retry"
                ])
        func retried(_ retry: RetryPolicy) -> [String] {
            problems {
                $0.retry = retry
                $0.breaker = .init(standard: .init(retries: 0))
            }
        }
        #expect(
            retried(.init(on: [.reset])) == [
                "policy default/p: breaker.retries: 0 lets nothing be sent again, which `retry` "
                    + "asks for"
            ])
        #expect(retried(.init(on: [.reset], budget: .concurrencyStandard)) == [])
        #expect(problems { _ in }.count == 1)
    }

    /// Times in seconds; nil: nothing is said, which is 15 s. Zero: without end.
    @Test(
        arguments: [
            (2, 3, "3s"), (2, 2, "2s"), (2, 1, nil), (2, nil, "15s"), (2, 0, "without end"),
            (nil, 20, nil), (0, 20, nil), (15, nil, nil), (20, 30, nil),
        ] as [(Int64?, Int64?, String?)])
    func aServiceThatWaitsLongerThanItsClients(outer: Int64?, inner: Int64?, waits: String?) {
        let said = [("outer", "front", outer), ("inner", "cart", inner)]
        // A policy that says nothing is none.
        let policies = said.compactMap { name, service, seconds in
            seconds.map {
                MeshPolicy(
                    name, targets: [MeshName(service)], timeouts: .init(request: .seconds($0)))
            }
        }
        let front = MeshService("front", calls: [Self.cart, MeshName("*")])
        let mesh = MeshState(
            [.service(MeshService("cart")), .service(front)] + policies.map { .policy($0) })
        #expect(mesh.check() == [])
        let found = mesh.traps { _ in 2 }.map(\.description)
        #expect(
            found
                == (waits.map {
                    [
                        "policy default/outer: timeout.request: clients of 'default/front' wait "
                            + "2s, and it waits for 'default/cart' \($0): unless it heeds the "
                            + "deadlines that it is told, it works on for nobody"
                    ]
                } ?? []))
    }

    /// Whom a proxy is not told of it cannot ask.
    @Test(
        arguments: [
            ([MeshName("cart")], true), ([MeshName("limits")], false), ([MeshName("*")], false),
            (nil, false),
        ] as [([MeshName]?, Bool)])
    func aLimitThatCannotBeAskedFor(_ calls: [MeshName]?, _ warns: Bool) {
        var policy = MeshPolicy("p", targets: [MeshName("front")])
        policy.inbound.globalRateLimit = GlobalRateLimit(
            cluster: "default/limits", domain: "d",
            descriptors: [.init([.init("a", .text("b"))])])
        var route = MeshRoute("r", destinations: [.init(Self.cart)])
        route.globalRateLimit = policy.inbound.globalRateLimit
        let mesh = MeshState([
            .service(MeshService("cart")), .service(MeshService("front", calls: calls)),
            .service(MeshService("limits", speech: .http2)), .policy(policy), .route(route),
        ])
        #expect(mesh.check() == [])
        let wanted = [
            "policy default/p: inbound.global_rate_limit", "route default/r: global_rate_limit",
        ].map {
            "\($0).service: the proxies of 'default/front' are not told of 'default/limits', and "
                + "cannot ask it: it is not among its `calls`"
        }
        #expect(mesh.traps().map(\.description) == (warns ? wanted : []))
    }

    /// Whatever others have wrong, whoever declares something is told of that.
    @Test func onlyWhatIsAskedAboutIsLookedAt() {
        let services = (0..<200).map { MeshService("s\($0)", calls: [Self.cart]) }
        let policies = services.map {
            MeshPolicy(
                $0.name, targets: [$0.meshName], timeouts: .init(request: .seconds(1)))
        }
        let mesh = MeshState(
            [.service(MeshService("cart"))] + services.map(MeshDeclaration.service)
                + policies.map(MeshDeclaration.policy))
        #expect(mesh.traps().count == 100)
        let found = mesh.traps(of: [MeshKey(.policy, MeshName("s99"))])
        #expect(found.map(\.key.name.name) == ["s99"])
        #expect(mesh.traps(of: []) == [])
    }
}
