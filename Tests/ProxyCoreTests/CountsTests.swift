import Base
import Model
import Support
import Testing

@testable import ProxyCore

/// What is counted of clusters, endpoints and routes.
@Suite struct CountsTests {
    private func cluster(_ scene: Scene, _ count: ClusterCount, _ name: String = "c") -> Int? {
        scene.proxy.counts.lines[.cluster(name)].map { Int($0[count]) }
    }

    private func host(_ scene: Scene, _ count: HostCount, _ address: String = "127.0.0.1:1") -> Int?
    {
        scene.proxy.counts.lines[.host("c", address)].map { Int($0[count]) }
    }

    private func route(_ scene: Scene, _ count: RouteCount, _ text: String = "prefix:/") -> Int? {
        scene.proxy.counts.lines[.route(text)].map { Int($0[count]) }
    }

    private func answers(_ scene: Scene, _ thing: CountedThing, _ kind: StatusClass? = nil) -> Int?
    {
        scene.proxy.counts.lines[thing].map { line in
            Int(kind.map { line[$0] } ?? line.completed)
        }
    }

    private func answer(_ status: Int) -> String {
        "HTTP/1.1 \(status) x\r\ncontent-length: 0\r\n\r\n"
    }

    @Test(
        arguments: [
            (200, .successful, true), (304, .redirection, true), (404, .clientError, true),
            (500, .serverError, false), (503, .serverError, false), (599, .serverError, false),
        ] as [(Int, StatusClass, Bool)])
    func anAnswerIsCountedOnceEverywhere(_ status: Int, _ kind: StatusClass, _ isSuccess: Bool) {
        let scene = Scene()
        let server = scene.get().server
        #expect(cluster(scene, .requestsActive) == 1 && host(scene, .requestsActive) == 1)
        #expect(cluster(scene, .connectionsActive) == 1 && host(scene, .connectionsActive) == 1)
        #expect(answers(scene, .cluster("c")) == 0 && route(scene, .requests) == 1)
        scene.send(answer(status), by: server)
        #expect(cluster(scene, .requests) == 1 && host(scene, .requests) == 1)
        #expect(cluster(scene, .requestsActive) == 0 && host(scene, .requestsActive) == 0)
        for thing in [CountedThing.cluster("c"), .route("prefix:/")] {
            #expect(answers(scene, thing) == 1 && answers(scene, thing, kind) == 1)
        }
        #expect(StatusClass.allCases.map { scene.proxy.counters[$0] }.reduce(0, +) == 1)
        #expect(scene.proxy.counters[kind] == 1)
        #expect(route(scene, .attempts) == 1 && route(scene, .unanswered) == 0)
        #expect(host(scene, .successes) == (isSuccess ? 1 : 0))
        #expect(host(scene, .errors) == (isSuccess ? 0 : 1))
        #expect(cluster(scene, .connections) == 1 && cluster(scene, .connectionsHTTP1) == 1)
        #expect(
            cluster(scene, .requestsPending) == 1 && cluster(scene, .requestsPendingActive) == 0)
        #expect(host(scene, .isHealthy) == 1 && host(scene, .connections) == 1)
    }

    /// A first answer that is sent again, and a second that is not.
    @Test func retriesAreCountedWhereTheyAre() {
        let scene = RetryTests.scene(
            RetryPolicy(on: [.serverError], most: 2),
            endpoints: ["127.0.0.1:1"])
        let client = scene.get().client
        scene.send(answer(503), by: scene.servers[0])
        #expect(cluster(scene, .retries) == 1 && cluster(scene, .retriesActive) == 1)
        #expect(cluster(scene, .backoffExponential) == 1 && cluster(scene, .retrySuccess) == 0)
        scene.pass(.milliseconds(260))
        scene.send(answer(200), by: scene.servers[scene.servers.count - 1])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 200"))
        #expect(cluster(scene, .requests) == 2 && cluster(scene, .retrySuccess) == 1)
        #expect(cluster(scene, .retriesActive) == 0)
        #expect(answers(scene, .cluster("c"), .serverError) == 0)
        #expect(host(scene, .errors) == 1 && host(scene, .successes) == 1)
        #expect(route(scene, .requests) == 1 && route(scene, .retries) == 1)
        #expect(answers(scene, .route("prefix:/")) == 1)
        #expect(answers(scene, .route("prefix:/"), .successful) == 1)
        // One that none of its retries saves.
        _ = scene.get()
        for _ in 0..<3 {
            scene.send(answer(503), by: scene.servers[scene.servers.count - 1])
            scene.pass(.milliseconds(260))
        }
        #expect(cluster(scene, .retryLimitExceeded) == 1 && route(scene, .retryLimitExceeded) == 1)
        #expect(cluster(scene, .retrySuccess) == 1)
        #expect(answers(scene, .cluster("c"), .serverError) == 1)
        #expect(route(scene, .attempts) == 5 && route(scene, .retries) == 3)
    }

    /// The same flag, UO, of a limit and of a denied retry: other counters.
    @Test func aLimitAndADeniedRetryAreToldApart() {
        let limited = RetryTests.scene(
            RetryPolicy(on: []), breaker: BreakerPolicy(standard: .init(requests: 1)))
        _ = limited.get()
        _ = limited.get()
        #expect(cluster(limited, .requestsOverflow) == 1 && cluster(limited, .retryOverflow) == 0)
        #expect(route(limited, .overflow) == 1 && route(limited, .retryOverflow) == 0)
        #expect(limited.proxy.counters[ResponseFlag.UO] == 1)

        let denied = RetryTests.scene(
            RetryPolicy(on: [.serverError], most: 2),
            breaker: BreakerPolicy(standard: .init(retries: 0)))
        let server = denied.get().server
        denied.send(answer(503), by: server)
        #expect(cluster(denied, .requestsOverflow) == 0 && cluster(denied, .retryOverflow) == 1)
        #expect(route(denied, .overflow) == 0 && route(denied, .retryOverflow) == 1)
        #expect(denied.proxy.counters[ResponseFlag.UO] == 1)
    }

    @Test func failuresOfConnectionsAreCounted() {
        let refused = Scene()
        refused.opening = .refused
        let client = refused.client()
        refused.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        #expect(cluster(refused, .connectFailures) == 1 && host(refused, .connectFailures) == 1)
        #expect(host(refused, .errors) == 1 && cluster(refused, .connectTimeouts) == 0)
        #expect(cluster(refused, .connectionsEnded) == 1 && host(refused, .connectionsActive) == 0)

        let slow = Scene()
        slow.opening = .never
        _ = slow.get()
        slow.pass(.seconds(6))
        #expect(cluster(slow, .connectTimeouts) == 1 && cluster(slow, .connectFailures) == 1)

        let reset = Scene()
        let server = reset.get().server
        reset.close(server, reset: true)
        #expect(host(reset, .errors) == 1 && host(reset, .requestsActive) == 0)
        #expect(cluster(reset, .connectFailures) == 0)
    }

    @Test func timeoutsAreCounted() {
        let scene = Scene(Scene.configuration(timeouts: ProxyTimeouts(request: .seconds(1))))
        _ = scene.get()
        scene.pass(.seconds(2))
        #expect(cluster(scene, .requestTimeouts) == 1 && route(scene, .timeouts) == 1)
        #expect(host(scene, .timeouts) == 1 && host(scene, .errors) == 1)
        let tries = RetryTests.scene(
            RetryPolicy(on: [.serverError], most: 0, perTry: .milliseconds(100)))
        _ = tries.get()
        tries.pass(.milliseconds(150))
        #expect(cluster(tries, .perTryTimeouts) == 1 && cluster(tries, .requestTimeouts) == 0)
    }

    /// A request has waited once: for its connection, in the queue, or for one after the other; and
    /// not where a connection was there.
    @Test(arguments: [ProxyConfiguration.Cluster.Speech.http1, .http2])
    func whoWaitsIsCountedOnce(_ speech: ProxyConfiguration.Cluster.Speech) throws {
        let scene = HTTP2Scene(speech, Scene.configuration(maxConnections: 1))
        scene.onEnd = { $0.answer($1, answerFields(200)) }
        func waited() -> UInt64? {
            scene.proxy.counts.lines[.cluster("c")]?[ClusterCount.requestsPending]
        }
        func ask() -> SimulatedSocket {
            let client = scene.rawClient()
            scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
            return client
        }
        scene.opening = .never
        var clients: [SimulatedSocket] = []
        for count in 1...3 {
            clients.append(ask())
            #expect(waited() == UInt64(count))
        }
        // The connection is given up, and with it who waits for it: over HTTP/1.1 the first alone.
        // The second goes from the queue to a connection of its own, which the third gets then.
        scene.opening = .open
        scene.pass(.seconds(6))
        if speech == .http1 {
            for _ in 0..<2 { scene.send(okAnswer, by: try #require(scene.rawServers.last)) }
        }
        for client in clients { #expect(!scene.received(client).isEmpty) }
        #expect(waited() == 3)
        // Over HTTP/2 nobody has opened a connection since.
        for _ in 0..<2 {
            clients.append(ask())
            if speech == .http1 { scene.send(okAnswer, by: try #require(scene.rawServers.last)) }
        }
        #expect(waited() == (speech == .http1 ? 3 : 4))
        for client in clients { client.peerClose(reset: true) }
        #expect(scene.remains() == nil)
    }

    @Test func nobodyToAskIsCounted() {
        let scene = Scene(Scene.configuration(endpoints: []))
        let client = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        #expect(cluster(scene, .noneHealthy) == 1 && cluster(scene, .requests) == 0)
        #expect(answers(scene, .cluster("c"), .serverError) == 1)
        #expect(route(scene, .requests) == 1 && route(scene, .attempts) == 0)
    }

    /// Who does not wait for an answer has asked, and his attempts count with that.
    @Test func whoLeavesIsCounted() {
        let scene = Scene()
        let client = scene.get().client
        #expect(route(scene, .attempts) == 0, "it has not ended")
        scene.close(client, reset: true)
        #expect(route(scene, .unanswered) == 1 && route(scene, .attempts) == 1)
        #expect(answers(scene, .route("prefix:/")) == 0 && cluster(scene, .requestsActive) == 0)
        #expect(host(scene, .requestsActive) == 0)
    }

    /// What keeps its name keeps its counts; what goes and comes again begins anew.
    @Test func countsSurviveANewConfiguration() {
        var configuration = Scene.configuration(endpoints: ["127.0.0.1:1", "127.0.0.1:2"])
        configuration.routes = [
            .init(path: .prefix("/old"), cluster: "c"), .init(cluster: "c"),
        ]
        let scene = Scene(configuration)
        for _ in 0..<2 {
            let client = scene.client()
            scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
            // No connection is used again, so that each request has a server of its own.
            scene.send(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                by: scene.servers[scene.servers.count - 1])
        }
        let hung = scene.get()
        let counted = ["127.0.0.1:1", "127.0.0.1:2"].compactMap { host(scene, .requests, $0) }
        #expect(counted.reduce(0, +) == 3 && counted.count == 2)
        let kept = host(scene, .requests, "127.0.0.1:2")
        // Another cluster comes first, one endpoint goes, a route goes, and another comes.
        var new = configuration
        new.clusters.insert(.init(name: "b", endpoints: []), at: 0)
        new.clusters[1].endpoints.removeFirst()
        new.routes = [.init(path: .exact("/new"), cluster: "b"), .init(cluster: "c")]
        scene.proxy.adopt(new, now: scene.simulation.now)
        #expect(cluster(scene, .requests) == 3 && cluster(scene, .requests, "b") == 0)
        #expect(host(scene, .requests) == nil)
        #expect(host(scene, .requests, "127.0.0.1:2") == kept)
        #expect(route(scene, .requests) == 3 && route(scene, .requests, "path:/new") == 0)
        #expect(route(scene, .requests, "prefix:/old") == nil)
        // What was on its way ends wherever it began, and disturbs nobody.
        scene.send(okAnswer, by: hung.server)
        scene.close(hung.client)
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        #expect(host(scene, .requests) == 0 && host(scene, .requestsActive) == 0)
        #expect(cluster(scene, .requests) == 3 && cluster(scene, .requestsActive) == 0)
        #expect(answers(scene, .cluster("c")) == 3)
        #expect(scene.proxy.counts.lines[.cluster("b")] == nil)
    }

    /// A line that was handed out goes on being read when its thing has gone.
    @Test func linesOutliveTheirThings() {
        let scene = Scene()
        _ = scene.get()
        let line = scene.proxy.counts.lines[.host("c", "127.0.0.1:1")]
        var new = Scene.configuration()
        new.clusters[0].endpoints = []
        scene.proxy.adopt(new, now: scene.simulation.now)
        #expect(line?[HostCount.requests] == 1)
    }

    /// Places of classes and of names do not meet.
    @Test func placesAreTheirOwn() {
        #expect(StatusClass.allCases.count == StatusClass.places)
        #expect(StatusClass.allCases.map(\.name) == ["1xx", "2xx", "3xx", "4xx", "5xx"])
        for (status, name) in [(100, "1xx"), (199, "1xx"), (200, "2xx"), (599, "5xx")] {
            #expect(StatusClass(of: status).name == name)
        }
        let line = CountLine(RouteCount.self)
        let handle = CountHandle<RouteCount>(line)
        for kind in StatusClass.allCases { handle.add(kind) }
        for (i, name) in RouteCount.allCases.enumerated() { handle.add(name, i + 2) }
        for (i, name) in PolicyCount.allCases.enumerated() {
            for _ in 0..<(i + 3) { handle.add(name) }
        }
        handle.add(RouteCount.retries, -1)
        #expect(StatusClass.allCases.allSatisfy { line[$0] == 1 } && line.completed == 5)
        #expect(line.requests == 2)
        for (i, name) in RouteCount.allCases.enumerated() {
            #expect(line[name] == UInt64(name == .retries ? i + 1 : i + 2))
        }
        for (i, name) in PolicyCount.allCases.enumerated() { #expect(line[name] == UInt64(i + 3)) }
    }

    @Test func routesHaveTextsOfTheirOwn() {
        let plain = ProxyConfiguration.Route(cluster: "c")
        var canary = ProxyConfiguration.Route(
            hosts: ["a.b", "*.c"], path: .exact("/p"), methods: ["GET", "HEAD"],
            headers: [
                .init("x-canary", .exact("1")), .init("x-user", .prefix("u"), isInverted: true),
            ],
            cluster: "c")
        canary.query = [.init("q", .present)]
        canary.cookies = [.init("k", .range(1, 9))]
        let long = ProxyConfiguration.Route(
            path: .exact("/" + String(repeating: "a", count: 400)), cluster: "c")
        let longer = ProxyConfiguration.Route(
            path: .exact("/" + String(repeating: "a", count: 401)), cluster: "c")
        let texts = RouteTexts([plain, canary, plain, long, longer]).texts
        #expect(texts[0] == "prefix:/" && texts[2] == "prefix:/ #2")
        let headers = "header:x-canary=1 header:x-user!^=u"
        #expect(texts[1] == "GET,HEAD a.b,*.c path:/p \(headers) query:q cookie:k=1..<9")
        #expect(texts[3] != texts[4] && texts[3].utf8.count < 230)
        #expect(RouteTexts([long]).texts == [texts[3]])
    }

    /// 10,000 endpoints and routes: each its own line, and no request touches any but its own.
    @Test func manyThingsAreCountedApart() {
        var configuration = Scene.configuration(
            endpoints: (1...10_000).map { "127.0.\($0 / 256).\($0 % 256):1" })
        configuration.routes = (0..<10_000).map { .init(path: .exact("/\($0)"), cluster: "c") }
        let scene = Scene(configuration)
        let lines = scene.proxy.counts.lines
        #expect(lines.count == 20_002)
        _ = scene.get("/77")
        let touched = lines.filter { $0.key.kind != .cluster && $0.value.requests > 0 }.keys
        #expect(Set(touched.map(\.kind)) == [.host, .route] && touched.count == 2)
        #expect(touched.contains(.route("path:/77")))
    }
}
