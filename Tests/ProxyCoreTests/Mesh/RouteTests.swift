import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Clusters by weight, and times of their own.
@Suite struct RouteTests {
    private static func configuration(
        _ shares: [ProxyConfiguration.Share], timeout: Duration? = nil
    ) -> ProxyConfiguration {
        var configuration = Scene.configuration()
        configuration.routes = [.init(shares: shares, timeout: timeout)]
        configuration.clusters = shares.enumerated().filter { $1.cluster != "gone" }.map {
            .init(name: $1.cluster, endpoints: [.init("127.0.0.1:\($0 + 1)")])
        }
        return configuration
    }

    private static func matches(_ configuration: ProxyConfiguration, _ count: Int) -> [Int32: Int] {
        let router = Router(configuration)
        var random = SeededRandom(seed: 7)
        var found: [Int32: Int] = [:]
        var head = Head(limits: Proxy.headLimits(ProxyLimits()))
        Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8).withBytes { bytes in
            _ = head.parseRequest(bytes)
            for _ in 0..<count {
                found[router.match(head, bytes, &random)?.cluster ?? -2, default: 0] += 1
            }
        }
        return found
    }

    /// Within five standard deviations of a binomial: one run in two million errs.
    @Test(arguments: [[1, 1], [95, 5], [1, 2, 3, 4], [0, 1, 0, 1], [1_000_000, 1_000_000]])
    func requestsAreSharedByWeight(_ weights: [Int]) {
        let shares = weights.enumerated().map {
            ProxyConfiguration.Share("c\($0)", weight: $1)
        }
        let count = 20_000
        let found = Self.matches(Self.configuration(shares), count)
        let sum = Double(weights.reduce(0, +))
        for (place, weight) in weights.enumerated() {
            let share = Double(weight) / sum
            let got = found[Int32(place)] ?? 0
            let deviation = (Double(count) * share * (1 - share)).squareRoot()
            #expect(abs(Double(got) - Double(count) * share) <= 5 * deviation, "\(place): \(got)")
            if weight == 0 { #expect(got == 0) }
        }
    }

    @Test func oneClusterNeedsNoDraw() {
        #expect(Self.matches(Self.configuration([.init("c", weight: 7)]), 100) == [0: 100])
        #expect(
            Self.matches(Self.configuration([.init("a", weight: 0), .init("c")]), 100) == [1: 100])
    }

    @Test func aShareOfNobodysIsAnswered() {
        let configuration = Self.configuration([.init("a"), .init("gone")])
        let found = Self.matches(configuration, 100)
        #expect(Set(found.keys) == [0, -1])
    }

    /// Many routes are looked up by host; what holds is the same.
    @Test func lookingUpByHostChangesNothing() {
        let budget = FuzzBudget.current(seed: 3, steps: 3000)
        if let failure = Self.run(budget.seed, budget.steps) {
            Issue.record("\(failure)\n\(budget.rerun("lookingUpByHostChangesNothing"))")
        }
    }

    static func run(_ seed: UInt64, _ steps: Int) -> String? {
        var random = SeededRandom(seed: seed)
        let hosts = ["a", "b", "a.b", "c.a.b", "*.b", "*.a.b", "d", "[::1]"]
        let asked = ["a", "A", "b:80", "a.b", "C.a.B", "x.b", "d", "[::1]:1", "e", "x.c.a.b"]
        var head = Head(limits: Proxy.headLimits(ProxyLimits()))
        for _ in 0..<steps / 30 {
            var configuration = Scene.configuration()
            configuration.routes = (0..<random.below(20)).map { number in
                let names = (0..<random.below(3)).map { _ in hosts[random.below(hosts.count)] }
                return .init(
                    hosts: names, path: .prefix(random.below(3) == 0 ? "/x" : "/"), cluster: "c",
                    timeout: .seconds(Int64(number)))
            }
            let indexed = Router(configuration, indexed: 0)
            let plain = Router(configuration, indexed: .max)
            for _ in 0..<30 {
                let (host, path) = (asked[random.below(asked.count)], ["/", "/x"][random.below(2)])
                let request = Array("GET \(path) HTTP/1.1\r\nhost: \(host)\r\n\r\n".utf8)
                let failure: String? = request.withBytes { bytes in
                    guard head.parseRequest(bytes) == .complete else { return "\(host): no head" }
                    let found = indexed.match(head, bytes, &random)?.timeout
                    let expected = plain.match(head, bytes, &random)?.timeout
                    guard found != expected else { return nil }
                    return "\(host)\(path): \(found as Any), not \(expected as Any) of "
                        + "\(configuration.routes.map(\.hosts))"
                }
                if let failure { return failure }
            }
        }
        return nil
    }

    /// The route's timeout goes before the cluster's, and that before the proxy's.
    @Test(
        arguments: [
            (nil, nil, 15), (nil, 3, 3), (2, 3, 2), (2, nil, 2),
        ] as [(Int64?, Int64?, Int64)])
    func theNarrowestTimeoutHolds(_ route: Int64?, _ cluster: Int64?, _ seconds: Int64) {
        var configuration = Self.configuration([.init("c")], timeout: route.map { .seconds($0) })
        configuration.clusters[0].requestTimeout = cluster.map { .seconds($0) }
        for hasOwn in [false, true] where !hasOwn || route == nil {
            if hasOwn { configuration.listeners[0].cluster = "c" }
            let scene = Scene(configuration)
            let (client, _) = scene.get()
            scene.pass(.milliseconds(seconds * 1000 - 1))
            #expect(scene.received(client) == "")
            scene.pass(.milliseconds(2))
            #expect(scene.received(client).hasPrefix("HTTP/1.1 504"))
        }
    }

    @Test func aClusterMaySetNoTimeout() {
        var configuration = Self.configuration([.init("c")])
        configuration.clusters[0].requestTimeout = .zero
        let scene = Scene(configuration)
        let (client, server) = scene.get()
        scene.pass(.seconds(60))
        scene.send(okAnswer, by: server)
        #expect(scene.received(client) == okAnswer)
    }

    @Test func pooledConnectionsHaveTheirClustersIdleTime() {
        var configuration = Self.configuration([.init("c")])
        configuration.clusters[0].idleTimeout = .seconds(5)
        let scene = Scene(configuration)
        let (client, server) = scene.get()
        scene.send(okAnswer, by: server)
        scene.pass(.milliseconds(4999))
        #expect(!server.proxyClosed)
        scene.pass(.milliseconds(2))
        #expect(server.proxyClosed && !client.proxyClosed)
    }

    @Test func connectionsOfHTTP2HaveTheirClustersIdleTime() {
        var configuration = Self.configuration([.init("c")])
        configuration.clusters[0].idleTimeout = .seconds(5)
        let scene = HTTP2Scene(.http2, configuration)
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields()) }
        let client = scene.client()
        _ = client.peer.request(requestFields())
        scene.pass()
        let server = scene.servers[0].socket
        scene.pass(.seconds(4))
        #expect(!server.proxyEnded && !server.proxyClosed)
        scene.pass(.seconds(2))
        #expect(server.proxyEnded || server.proxyClosed)
        #expect(!client.socket.proxyClosed && !client.socket.proxyEnded)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }
}
