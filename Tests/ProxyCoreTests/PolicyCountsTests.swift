import Base
import Fault
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// What policies decide is counted for the cluster, the route or the listener that it is about.
@Suite struct PolicyCountsTests {
    private func cluster(_ proxy: Proxy, _ count: PolicyCount, _ name: String = "c") -> Int? {
        proxy.counts.lines[.cluster(name)].map { Int($0[count]) }
    }

    private func cluster(_ proxy: Proxy, _ count: ClusterCount) -> Int? {
        proxy.counts.lines[.cluster("c")].map { Int($0[count]) }
    }

    private func route(_ proxy: Proxy, _ count: PolicyCount, _ text: String = "prefix:/") -> Int? {
        proxy.counts.lines[.route(text)].map { Int($0[count]) }
    }

    private func route(_ proxy: Proxy, _ count: RouteCount, _ text: String = "prefix:/") -> Int? {
        proxy.counts.lines[.route(text)].map { Int($0[count]) }
    }

    private func listener(_ proxy: Proxy, _ count: ListenerCount) -> Int? {
        proxy.counts.lines[.listener("in")].map { Int($0[count]) }
    }

    /// The status that a new client is told.
    private func ask(_ scene: Scene, _ path: String = "/") -> String {
        let client = scene.client()
        scene.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        let answer = scene.received(client)
        guard answer.isEmpty, let server = scene.servers.last else {
            return String(answer.prefix(12).suffix(3))
        }
        scene.send(okAnswer, by: server)
        return String(scene.received(client).prefix(12).suffix(3))
    }

    // MARK: Limits

    /// Two routes of one cluster, of which one is in the shadow.
    @Test func routesWithLimitsAreToldApart() {
        var configuration = Scene.configuration()
        configuration.routes = [.init(path: .exact("/new"), cluster: "c"), .init(cluster: "c")]
        configuration.routes[0].rateLimits = [RateLimitPolicy(burst: 1, fill: 1, enforced: 0)]
        configuration.routes[1].rateLimits = [RateLimitPolicy(burst: 1, fill: 1)]
        let scene = Scene(configuration)
        let statuses = (0..<4).map { _ in ask(scene, "/new") } + (0..<3).map { _ in ask(scene) }
        #expect(statuses == Array(repeating: "200", count: 5) + ["429", "429"])
        let proxy = scene.proxy
        #expect(route(proxy, .limitsEnabled, "path:/new") == 4)
        #expect(route(proxy, .limitsExceeded, "path:/new") == 3)
        #expect(route(proxy, .limitsEnforced, "path:/new") == 0)
        #expect(route(proxy, .rateLimited, "path:/new") == 0)
        #expect(route(proxy, .limitsEnabled) == 3 && route(proxy, .limitsExceeded) == 2)
        #expect(route(proxy, .limitsEnforced) == 2 && route(proxy, .rateLimited) == 2)
        #expect(cluster(proxy, .limitsEnabled) == 7 && cluster(proxy, .limitsExceeded) == 5)
        #expect(cluster(proxy, .limitsEnforced) == 2)
        #expect(proxy.counters[.limitsExceeded] == 5 && proxy.counters[.limitsEnforced] == 2)
        #expect(listener(proxy, .limitsEnabled) == 0, "it has none")
    }

    /// Before there is a route: a listener's cluster is known, as beside a service of a mesh.
    @Test(arguments: [false, true]) func listenersWithLimits(_ hasCluster: Bool) {
        var configuration = Scene.configuration(accessLog: true)
        configuration.listeners[0].rateLimits = [RateLimitPolicy(burst: 1, fill: 1)]
        if hasCluster {
            configuration.listeners[0].cluster = "c"
            configuration.routes = []
        }
        let scene = Scene(configuration)
        #expect((0..<3).map { _ in ask(scene) } == ["200", "429", "429"])
        let proxy = scene.proxy
        #expect(listener(proxy, .limitsEnabled) == 3 && listener(proxy, .limitsExceeded) == 2)
        #expect(listener(proxy, .limitsEnforced) == 2)
        #expect(cluster(proxy, .limitsEnabled) == (hasCluster ? 3 : 0))
        #expect(cluster(proxy, .limitsEnforced) == (hasCluster ? 2 : 0))
        let refused = proxy.counts.lines[.cluster("c")]?[.clientError]
        #expect(refused == (hasCluster ? 2 : 0) && cluster(proxy, .requests) == 1)
        #expect(route(proxy, .limitsEnforced) == (hasCluster ? nil : 0))
        let name = hasCluster ? "\"c\"" : "null"
        #expect(
            scene.simulation.logLines.count {
                $0.contains("\"flags\":\"RL\"") && $0.contains("\"cluster\":\(name)")
            } == 2)
    }

    @Test(arguments: [false, true]) func questions(_ isListeners: Bool) {
        let limit = GlobalLimitScene.limit()
        let scene = GlobalLimitScene(
            [.verdict(.overLimit), .verdict(.ok), .reset], route: isListeners ? nil : limit,
            listener: isListeners ? limit : nil)
        #expect((0..<3).map { _ in scene.status() } == [429, 200, 200])
        let proxy = scene.proxy
        #expect(route(proxy, .questionsOver) == 1 && route(proxy, .rateLimited) == 1)
        #expect(route(proxy, .questionsFailed) == 1 && route(proxy, .questionsPassedOver) == 1)
        #expect(cluster(proxy, .questionsOver) == 1 && cluster(proxy, .questionsFailed) == 1)
        #expect(cluster(proxy, .questionsPassedOver) == 1)
        #expect(cluster(proxy, .questionsOver, "shop/limits") == 0, "who was asked had no limit")
        #expect(route(proxy, .limitsExceeded) == 0 && cluster(proxy, .limitsExceeded) == 0)
        #expect(scene.remains() == nil)
    }

    @Test func aFailedQuestionThatDenies() {
        let scene = GlobalLimitScene([.reset], route: GlobalLimitScene.limit(denies: true))
        #expect(scene.status() == 500)
        #expect(route(scene.proxy, .questionsFailed) == 1)
        #expect(route(scene.proxy, .questionsPassedOver) == 0)
    }

    // MARK: Rules

    @Test(arguments: [false, true]) func rules(_ hasCluster: Bool) {
        var configuration = Scene.configuration(accessLog: true)
        configuration.listeners[0].authorization = .init(deny: [.init(prefixes: ["/debug"])])
        if hasCluster { configuration.listeners[0].cluster = "c" }
        let scene = Scene(configuration)
        #expect(["/", "/debug", "/debug/x"].map { ask(scene, $0) } == ["200", "403", "403"])
        let proxy = scene.proxy
        #expect(listener(proxy, .authorizationAllowed) == 1)
        #expect(listener(proxy, .authorizationDenied) == 2)
        #expect(cluster(proxy, .authorizationDenied) == (hasCluster ? 2 : 0))
        #expect(proxy.counts.lines[.cluster("c")]?[.clientError] == (hasCluster ? 2 : 0))
    }

    @Test func rulesOfBytes() {
        var configuration = Scene.configuration(speech: .tcp)
        configuration.listeners[0].authorization = .init(allow: [])
        let scene = Scene(configuration)
        _ = scene.client()
        scene.pass(.zero)
        #expect(cluster(scene.proxy, .authorizationDenied) == 1)
        #expect(listener(scene.proxy, .authorizationDenied) == 1 && scene.servers.isEmpty)
    }

    /// Whoever came by a listener that is gone is counted for nobody.
    @Test func aListenerThatGoes() {
        var configuration = Scene.configuration()
        configuration.listeners[0].rateLimits = [RateLimitPolicy(burst: 1, fill: 1)]
        let scene = Scene(configuration)
        let client = scene.client()
        #expect(ask(scene) == "200")
        var new = configuration
        new.listeners = []
        scene.proxy.adopt(new, now: scene.simulation.now)
        #expect(scene.proxy.counts.lines[.listener("in")] == nil)
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        #expect(listener(scene.proxy, .limitsEnabled) == 0)
    }

    // MARK: Faults

    private func scene(
        _ rule: FaultRule, _ change: (inout ProxyConfiguration) -> Void = { _ in }
    ) -> Scene {
        FaultTests.scene([rule]) {
            $0.routes.insert(.init(path: .exact("/other"), cluster: "c"), at: 0)
            change(&$0)
        }.0
    }

    @Test func faultsBeforeRetries() {
        let aborting = scene(FaultTests.rule(abort: .http(418)))
        #expect([ask(aborting), ask(aborting, "/other"), ask(aborting)] == ["418", "418", "418"])
        #expect(route(aborting.proxy, .faultAborts) == 2)
        #expect(route(aborting.proxy, .faultAnswers) == 2)
        #expect(route(aborting.proxy, .faultAborts, "path:/other") == 1)
        #expect(cluster(aborting.proxy, .faultAborts) == 3)

        let slow = scene(FaultTests.rule(delay: .milliseconds(5), rate: 1 << 20))
        let client = slow.client()
        slow.send(FaultTests.request, by: client)
        #expect(route(slow.proxy, .faultDelays) == 1 && cluster(slow.proxy, .faultDelays) == 1)
        #expect(route(slow.proxy, .faultThrottles) == 0, "it has not gone on")
        slow.pass(.milliseconds(5))
        #expect(route(slow.proxy, .faultThrottles) == 1)
        #expect(cluster(slow.proxy, .faultThrottles) == 1)
        #expect(route(slow.proxy, .faultDelays, "path:/other") == 0)
        #expect(route(slow.proxy, .faultAborts) == 0 && route(slow.proxy, .faultAnswers) == 0)
    }

    /// An attempt that is aborted and made again is no answer by a fault.
    @Test func faultsOfAttempts() {
        var rule = FaultTests.rule("a", .perAttempt, abort: .http(503))
        rule.firstAttempts = 1
        let scene = scene(rule) {
            $0.clusters[0].retry = RetryPolicy(on: [.serverError], most: 1)
        }
        let client = scene.client()
        scene.send(FaultTests.request, by: client)
        scene.pass(.milliseconds(30))
        scene.send(okAnswer, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200 "))
        #expect(route(scene.proxy, .faultAborts) == 1 && cluster(scene.proxy, .faultAborts) == 1)
        #expect(route(scene.proxy, .faultAnswers) == 0 && route(scene.proxy, .attempts) == 2)
    }

    @Test func faultsForWhichThereIsNoRoom() {
        var rule = FaultTests.rule("asked")
        rule.trustsHeaders = true
        let scene = scene(rule)
        let most = scene.proxy.connections.count / 8
        for _ in 0..<most + 2 {
            scene.send(
                "GET / HTTP/1.1\r\nHost: a\r\nx-envoy-fault-delay-request: 3600000\r\n\r\n",
                by: scene.client())
        }
        #expect(route(scene.proxy, .faultsOverflow) == 2)
        #expect(cluster(scene.proxy, .faultsOverflow) == 2)
        #expect(route(scene.proxy, .faultDelays) == most)
    }

    // MARK: Attempts

    @Test func hedges() {
        let policy = RetryPolicy(
            on: [.serverError], most: 2, perTry: .milliseconds(100), hedges: true)
        let scene = RetryTests.scene(policy, timeouts: .init(request: .seconds(2))) {
            $0.routes.insert(.init(path: .exact("/other"), cluster: "c"), at: 0)
        }
        _ = scene.get().client
        #expect(cluster(scene.proxy, .hedges) == 0)
        scene.pass(.milliseconds(126))
        #expect(cluster(scene.proxy, .hedges) == 1 && route(scene.proxy, .hedges) == 1)
        #expect(cluster(scene.proxy, .hedgesLost) == 0)
        scene.send(okAnswer, by: scene.servers[1])
        #expect(cluster(scene.proxy, .hedgesLost) == 1 && route(scene.proxy, .hedgesLost) == 1)
        #expect(route(scene.proxy, .hedges, "path:/other") == 0)
    }

    @Test func durations() {
        var configuration = Scene.configuration(timeouts: ProxyTimeouts(request: .zero))
        configuration.clusters[0].maxStreamDuration = .seconds(2)
        let attempt = Scene(configuration)
        _ = attempt.get()
        attempt.pass(.milliseconds(2100))
        #expect(cluster(attempt.proxy, .attemptDurations) == 1)
        #expect(route(attempt.proxy, .attemptDurations) == 1)
        #expect(cluster(attempt.proxy, .streamDurations) == 0)

        configuration.clusters[0].maxStreamDuration = .zero
        configuration.timeouts.maxStream = .seconds(2)
        let stream = Scene(configuration)
        _ = stream.get()
        stream.pass(.milliseconds(2100))
        #expect(cluster(stream.proxy, .streamDurations) == 1)
        #expect(route(stream.proxy, .streamDurations) == 1)
        #expect(route(stream.proxy, .attemptDurations) == 0)
    }

    // MARK: Lines

    /// As `TrafficCounts` says; a route's are a third less, of which there may be thousands.
    @Test func linesAreBounded() {
        #expect(PolicyCount.allCases.count == PolicyCount.places)
        #expect((ClusterCount.first + ClusterCount.allCases.count) * 8 <= 384)
        #expect((RouteCount.first + RouteCount.allCases.count) * 8 <= 256)
        #expect((ListenerCount.first + ListenerCount.allCases.count) * 8 <= 128)
        let policies = PolicyCount.allCases.map(\.name)
        for own in [
            policies + ClusterCount.allCases.map(\.name),
            policies + RouteCount.allCases.map(\.name),
            ListenerCount.allCases.map(\.name), HostCount.allCases.map(\.name),
        ] {
            #expect(Set(own).count == own.count)
        }
        // One name for the same thing, whoever counts it.
        for count in ListenerCount.allCases where !count.name.hasPrefix("rbac") {
            #expect(policies.contains(count.name))
        }
    }
}
