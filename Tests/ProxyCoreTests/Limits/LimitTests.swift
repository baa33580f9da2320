import Base
import Model
import Secure
import Testing

@testable import ProxyCore

/// Local rate limits as clients meet them.
@Suite struct LimitTests {
    private static func configuration(
        route: [RateLimitPolicy] = [], listener: [RateLimitPolicy] = []
    ) -> ProxyConfiguration {
        var configuration = Scene.configuration(accessLog: true)
        configuration.routes[0].rateLimits = route
        configuration.listeners[0].rateLimits = listener
        return configuration
    }

    /// The status of a request, and its answer.
    private static func ask(
        _ scene: Scene, _ client: SimulatedSocket, _ fields: String = ""
    ) -> String {
        scene.send("GET / HTTP/1.1\r\nhost: a\r\n\(fields)\r\n", by: client)
        let answer = scene.received(client)
        guard answer.isEmpty, let server = scene.servers.last else { return answer }
        _ = scene.received(server)
        scene.send(okAnswer, by: server)
        return scene.received(client)
    }

    private static func statuses(_ scene: Scene, _ count: Int, _ fields: String = "") -> [String] {
        let client = scene.client()
        return (0..<count).map { _ in String(ask(scene, client, fields).prefix(12).suffix(3)) }
    }

    @Test(arguments: [false, true])
    func whoFindsNoTokenIsTurnedAway(_ isListeners: Bool) {
        let limits = [RateLimitPolicy(burst: 2, fill: 1)]
        let scene = Scene(
            Self.configuration(
                route: isListeners ? [] : limits, listener: isListeners ? limits : []))
        #expect(Self.statuses(scene, 4) == ["200", "200", "429", "429"])
        scene.pass(.seconds(1))
        #expect(Self.statuses(scene, 2) == ["200", "429"])
        let counters = scene.proxy.counters
        #expect(counters[.limitsEnabled] == 6 && counters[.limitsOK] == 3)
        #expect(counters[.limitsExceeded] == 3 && counters[.limitsEnforced] == 3)
        #expect(counters[ResponseFlag.RL] == 3)
        #expect(
            scene.simulation.logLines.count {
                $0.contains(#""flags":"RL""#) && $0.contains(#""details":"local_rate_limited""#)
            } == 3)
    }

    @Test func answersTellTheLimit() {
        let scene = Scene(
            Self.configuration(
                route: [RateLimitPolicy(burst: 2, fill: 1, interval: .seconds(5), tells: true)]))
        let client = scene.client()
        #expect(
            Self.ask(scene, client)
                == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-ratelimit-limit: 2\r\n"
                + "x-ratelimit-remaining: 1\r\nx-ratelimit-reset: 0\r\n\r\nok")
        #expect(Self.ask(scene, client).contains("remaining: 0\r\nx-ratelimit-reset: 5\r\n"))
        let refused = Self.ask(scene, client)
        for line in [
            "x-envoy-ratelimited: true", "x-ratelimit-limit: 2", "x-ratelimit-remaining: 0",
            "x-ratelimit-reset: 5", "retry-after: 5", "x-response-flags: RL",
        ] {
            #expect(refused.contains("\r\n\(line)\r\n"), "\(line)")
        }
    }

    /// A declared route has its limits once, however many hosts and matches it has; and two that
    /// are alike are two.
    @Test(arguments: [nil, "shop/r"])
    func aDeclaredRouteIsLimitedAsOne(_ declared: String?) {
        var configuration = Self.configuration()
        let limit = RateLimitPolicy(burst: 3, fill: 1, interval: .seconds(9))
        configuration.routes = ["a", "b", "c"].map { host in
            var route = ProxyConfiguration.Route(
                hosts: [host], cluster: configuration.clusters[0].name)
            (route.rateLimits, route.declared) = ([limit, limit], declared)
            return route
        }
        configuration.routes[2].declared = "shop/other"
        let scene = Scene(configuration)
        func ask(_ host: String) -> String {
            let client = scene.client()
            scene.send("GET / HTTP/1.1\r\nhost: \(host)\r\n\r\n", by: client)
            let answer = scene.received(client)
            guard answer.isEmpty, let server = scene.servers.last else {
                return String(answer.prefix(12).suffix(3))
            }
            _ = scene.received(server)
            scene.send(okAnswer, by: server)
            return String(scene.received(client).prefix(12).suffix(3))
        }
        #expect(["a", "b", "a"].map(ask) == ["200", "200", "200"])
        #expect(["a", "b"].map(ask) == (declared == nil ? ["200", "200"] : ["429", "429"]))
        #expect(ask("c") == "200")
        // A new configuration goes on with the same buckets.
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        #expect(ask("b") == (declared == nil ? "200" : "429"))
    }

    /// And so it has its budget of retries.
    @Test func aDeclaredRouteHasOneBudget() {
        var configuration = Self.configuration()
        var retry = RetryPolicy(on: [.serverError], most: 1)
        retry.budget = .rate(percent: 20, window: .seconds(10), leastPerSecond: 1)
        configuration.routes = ["shop/r", "shop/r", "shop/other", nil, nil].enumerated().map {
            var route = ProxyConfiguration.Route(
                hosts: ["h\($0)"], cluster: configuration.clusters[0].name)
            (route.retry, route.declared) = (retry, $1)
            return route
        }
        let plans = TrafficPlans(configuration)
        #expect(plans.routes.map(\.retry) == [0, 0, 1, 2, 3])
        #expect(plans.budgets.count == 4)
    }

    /// Who asks how a service is learns that, and not how busy it is; others are held to all.
    @Test(arguments: [true, false])
    func noLimitMeansWhoChecks(_ checks: Bool) throws {
        let control = try #require(SPIFFEID(rawValue: "spiffe://mesh.test/control"))
        let web = try #require(SPIFFEID(rawValue: "spiffe://mesh.test/ns/shop/sa/web"))
        var configuration = Self.configuration(listener: [RateLimitPolicy(burst: 1, fill: 1)])
        configuration.listeners[0].tls = ServerTLS(certificate: "c", key: "k")
        configuration.listeners[0].unlimited = control
        // It finds nobody to ask, and turns away whoever it means.
        configuration.listeners[0].globalRateLimit = GlobalRateLimit(
            cluster: "gone", domain: "d", descriptors: [.init([.init("a", .text("b"))])],
            denies: true)
        configuration.clusters[0].admission = AdmissionPolicy(leastRate: 0)
        let scene = Scene(configuration)
        let identity = checks ? control : web
        let client = Self.client(of: scene, identity)
        let statuses = (0..<3).map { _ in Self.ask(scene, client).prefix(12).suffix(3) }
        #expect(statuses == (checks ? ["200", "200", "200"] : ["500", "429", "429"]))
        #expect(scene.proxy.counters[.limitsEnabled] == (checks ? 0 : 3))
    }

    /// What a check finds is no request's, and it is not turned away for what these have found.
    @Test(arguments: [true, false])
    func noAdmissionMeansWhoChecks(_ checks: Bool) throws {
        let control = try #require(SPIFFEID(rawValue: "spiffe://mesh.test/control"))
        var configuration = Self.configuration()
        configuration.listeners[0].tls = ServerTLS(certificate: "c", key: "k")
        configuration.listeners[0].unlimited = checks ? control : nil
        configuration.clusters[0].admission = AdmissionPolicy(
            threshold: 100, window: .seconds(30), mostRejected: 100, leastRate: 0)
        let scene = Scene(configuration)
        let client = Self.client(of: scene, control)
        for _ in 0..<100 {
            scene.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n", by: client)
            let answer = scene.received(client)
            guard answer.isEmpty else { continue }
            let server = try #require(scene.servers.last)
            _ = scene.received(server)
            scene.send("HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n", by: server)
            _ = scene.received(client)
        }
        #expect((scene.proxy.counters[.admissionRejected] == 0) == checks)
    }

    /// Who has shown a certificate with that identity.
    private static func client(of scene: Scene, _ identity: SPIFFEID) -> SimulatedSocket {
        let client = scene.client()
        scene.proxy.secured(
            client.slot,
            TLSAgreement(
                version: "1.3", agreed: .http1, peer: identity.rawValue, identity: identity),
            now: scene.simulation.now)
        scene.pass(.zero)
        return client
    }

    @Test func inTheShadowItIsOnlyCounted() {
        let scene = Scene(
            Self.configuration(route: [RateLimitPolicy(burst: 1, fill: 1, enforced: 0)]))
        #expect(Self.statuses(scene, 5) == Array(repeating: "200", count: 5))
        #expect(scene.proxy.counters[.limitsExceeded] == 4)
        #expect(scene.proxy.counters[.limitsEnforced] == 0)
        let off = Scene(Self.configuration(route: [RateLimitPolicy(burst: 1, fill: 1, enabled: 0)]))
        #expect(Self.statuses(off, 5) == Array(repeating: "200", count: 5))
        #expect(off.proxy.counters[.limitsEnabled] == 0)
    }

    /// Five standard deviations of a binomial.
    @Test func aShareIsEnforced() {
        let scene = Scene(
            Self.configuration(route: [RateLimitPolicy(burst: 1, fill: 1, enforced: 25)]))
        let refused = Self.statuses(scene, 2000).count { $0 == "429" }
        #expect(abs(refused - 500) <= 97, "\(refused)")
    }

    @Test func valuesOfAFieldHaveTheirOwn() {
        let scene = Scene(
            Self.configuration(route: [RateLimitPolicy(burst: 1, fill: 1, per: .header("x-user"))]))
        #expect(Self.statuses(scene, 2, "X-User: a\r\n") == ["200", "429"])
        #expect(Self.statuses(scene, 2, "x-user: b\r\n") == ["200", "429"])
        // Whoever says nothing is not meant (Envoy's descriptors).
        #expect(Self.statuses(scene, 3) == ["200", "200", "200"])
    }

    @Test func clientsWithoutIdentityShareOne() {
        let scene = Scene(
            Self.configuration(route: [RateLimitPolicy(burst: 1, fill: 1, per: .identity)]))
        #expect(Self.statuses(scene, 1) + Self.statuses(scene, 1) == ["200", "429"])
    }

    @Test func onlyWhatIsMeantTakesTokens() {
        let scene = Scene(
            Self.configuration(
                route: [RateLimitPolicy(burst: 1, fill: 1, matches: [.init("x", .prefix("a"))])]))
        #expect(Self.statuses(scene, 2, "x: b\r\n") == ["200", "200"])
        #expect(Self.statuses(scene, 2, "x: ab\r\n") == ["200", "429"])
    }

    @Test func aNewConfigurationKeepsLevels() {
        let limits = [RateLimitPolicy(burst: 1, fill: 1, interval: .seconds(60))]
        let scene = Scene(Self.configuration(route: limits))
        #expect(Self.statuses(scene, 2) == ["200", "429"])
        var configuration = Self.configuration(route: limits)
        configuration.routes.insert(.init(path: .exact("/x"), cluster: "c"), at: 0)
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        #expect(Self.statuses(scene, 1) == ["429"])
        // One that says something else begins full.
        configuration.routes[1].rateLimits[0].burst = 2
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        #expect(Self.statuses(scene, 3) == ["200", "200", "429"])
    }

    /// Before who may ask is looked at, and without a route.
    @Test func theListenersLimitComesFirst() {
        var configuration = Self.configuration(listener: [RateLimitPolicy(burst: 1, fill: 1)])
        configuration.listeners[0].authorization = .init(allow: [])
        let scene = Scene(configuration)
        #expect(Self.statuses(scene, 2) == ["403", "429"])
    }

    /// Who may not ask takes nothing of what others may.
    @Test func theRoutesLimitComesBehindAuthorization() {
        var configuration = Self.configuration(route: [RateLimitPolicy(burst: 1, fill: 1)])
        configuration.listeners[0].authorization = .init(
            deny: [.init(headers: [.init(name: "x", value: "1")])])
        let scene = Scene(configuration)
        #expect(Self.statuses(scene, 2, "x: 1\r\n") == ["403", "403"])
        #expect(Self.statuses(scene, 2) == ["200", "429"])
    }

    /// Answers from here are limited as well.
    @Test func theRoutesLimitComesBeforeItsAction() {
        var configuration = Self.configuration(route: [RateLimitPolicy(burst: 1, fill: 1)])
        configuration.routes[0].answer = DirectAnswer(status: 201)
        let scene = Scene(configuration)
        #expect(Self.statuses(scene, 2) == ["201", "429"])
    }
}
