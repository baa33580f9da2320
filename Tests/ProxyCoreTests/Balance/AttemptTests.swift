import Base
import Model
import Testing

@testable import ProxyCore

/// What the proxy's exchanges tell of endpoints: which ends count against one, and as what.
@Suite struct AttemptTests {
    /// Two endpoints, of which each is left out after its first failure.
    private static func scene(
        _ change: (inout ProxyConfiguration) -> Void = { _ in }
    ) -> Scene {
        var configuration = Scene.configuration(
            endpoints: ["127.0.0.1:1", "127.0.0.1:2"], accessLog: true,
            timeouts: ProxyTimeouts(request: .seconds(5)))
        configuration.clusters[0].outlier = OutlierPolicy(
            consecutive5xx: .init(1, enforcing: 100), mostPercent: 100)
        configuration.clusters[0].balance.panicThreshold = 0
        change(&configuration)
        return Scene(configuration)
    }

    private func ejected(_ scene: Scene) -> [String] {
        scene.proxy.commons.hostBoards.flatMap(\.events).filter { $0.action == .eject }.map {
            "\($0.upstream) \($0.reason.name)"
        }
    }

    @Test func badAnswersCount() {
        let scene = Self.scene()
        let (client, server) = scene.get()
        scene.send("HTTP/1.1 503 No\r\ncontent-length: 100\r\n\r\n", by: server)
        #expect(ejected(scene) == ["\(scene.addresses[0]) consecutive_5xx"], "with the head")
        scene.send(String(repeating: "x", count: 100), by: server)
        #expect(scene.received(client).hasPrefix("HTTP/1.1 503 "))
        #expect(scene.proxy.upstreams.endpoints.allSatisfy { $0.attempts == 0 })
        // The other one has all from now on, and then nobody has.
        for _ in 0..<3 {
            let (_, server) = scene.get()
            scene.send(okAnswer, by: server)
        }
        #expect(Set(scene.addresses).count == 2 && Set(scene.addresses[1...]).count == 1)
        let (_, last) = scene.get()
        scene.send("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", by: last)
        let client2 = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client2)
        let answer = scene.received(client2)
        #expect(answer.hasPrefix("HTTP/1.1 503 ") && answer.contains("x-response-flags: UH"))
        #expect(answer.hasSuffix("no_healthy_upstream\n"))
        // Sweeps bring them back.
        scene.pass(.seconds(45))
        let (client3, server3) = scene.get()
        scene.send(okAnswer, by: server3)
        #expect(scene.received(client3).hasSuffix("ok"))
        let returns = scene.proxy.commons.hostBoards[0].events.filter { $0.action == .uneject }
        #expect(returns.count == 2)
    }

    @Test func refusedConnectionsCount() {
        let scene = Self.scene()
        scene.opening = .refused
        let client = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        #expect(scene.received(client).contains("x-response-flags: UF"))
        #expect(ejected(scene).count == 1)
    }

    @Test func cutAnswersCount() {
        let scene = Self.scene()
        let (client, server) = scene.get()
        scene.close(server, reset: true)
        #expect(scene.received(client).contains("x-response-flags: UC"))
        #expect(ejected(scene).count == 1)
    }

    @Test func lateAnswersCount() {
        let scene = Self.scene()
        let (client, _) = scene.get()
        scene.pass(.seconds(6))
        #expect(scene.received(client).contains("x-response-flags: UT"))
        #expect(ejected(scene).count == 1)
    }

    /// A time that the client names is its own; where the policy's is shorter, nothing changes.
    @Test(arguments: [(1, 0), (4999, 0), (5000, 1), (9000, 1)])
    func aClientsDeadlineSaysNothingOfItsEndpoint(_ told: Int, _ count: Int) {
        let scene = Self.scene { $0.clusters[0].admission = AdmissionPolicy() }
        let client = scene.client()
        let field = "x-envoy-expected-rq-timeout-ms: \(told)"
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(field)\r\n\r\n", by: client)
        scene.pass(.seconds(6))
        #expect(scene.received(client).contains("x-response-flags: UT"))
        #expect(ejected(scene).count == count)
        #expect(scene.proxy.plans.admissions[0].requests == count)
        #expect(scene.proxy.upstreams.endpoints.allSatisfy { $0.attempts == 0 })
    }

    /// Who has answered in time is not late, however long the rest takes.
    @Test func lateBodiesDoNotCount() {
        let scene = Self.scene()
        let (_, server) = scene.get()
        scene.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", by: server)
        scene.pass(.seconds(6))
        #expect(scene.proxy.counters[.UT] == 1)
        #expect(ejected(scene).isEmpty)
    }

    @Test func clientsThatLeaveDoNotCount() {
        let scene = Self.scene()
        let (client, _) = scene.get()
        scene.close(client, reset: true)
        #expect(ejected(scene).isEmpty)
        #expect(scene.proxy.upstreams.endpoints.allSatisfy { $0.attempts == 0 })
    }

    /// Told apart, a connection that cannot be had is the endpoint's, and an answer is not.
    @Test func originsAreToldApart() {
        let scene = Self.scene {
            $0.clusters[0].outlier?.splitsLocalOrigin = true
            $0.clusters[0].outlier?.consecutive5xx.count = nil
            $0.clusters[0].outlier?.consecutiveLocal.count = 1
        }
        let (_, server) = scene.get()
        scene.send("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", by: server)
        #expect(ejected(scene).isEmpty)
        scene.opening = .refused
        let client = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        #expect(ejected(scene) == ["\(scene.addresses[1]) consecutive_local_origin_failure"])
    }

    /// Bytes of which nothing is known: that a connection could be had, or not.
    @Test func connectionsOfBytesCount() {
        var configuration = Scene.configuration(
            endpoints: ["127.0.0.1:1", "127.0.0.1:2"], speech: .tcp)
        configuration.clusters[0].outlier = OutlierPolicy(
            consecutive5xx: .init(1, enforcing: 100), mostPercent: 100)
        configuration.clusters[0].balance.panicThreshold = 0
        let scene = Scene(configuration)
        scene.opening = .refused
        for _ in 0..<3 {
            _ = scene.client()
            scene.pass(.zero)
        }
        #expect(Set(scene.addresses).count == 2 && scene.addresses.count == 2)
        #expect(scene.proxy.counters[.UH] == 1)
    }

    /// How a tunnel ends says nothing of its endpoint, which had been judged when it was there.
    @Test func tunnelsThatBreakDoNotCount() {
        var configuration = Scene.configuration(speech: .tcp)
        configuration.clusters[0].outlier = OutlierPolicy(
            consecutive5xx: .init(5, enforcing: 100), mostPercent: 100)
        let scene = Scene(configuration)
        for _ in 0..<5 { _ = scene.client() }
        scene.pass(.zero)
        #expect(scene.servers.count == 5)
        for server in scene.servers { scene.close(server, reset: true) }
        #expect(scene.proxy.openClients == 0 && ejected(scene).isEmpty)
    }

    @Test func upgradedTunnelsThatBreakDoNotCount() {
        let scene = Self.scene()
        let client = scene.client()
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n" + upgrade, by: client)
        scene.send("HTTP/1.1 101 Switching Protocols\r\n" + upgrade, by: scene.servers[0])
        #expect(scene.received(client).hasPrefix("HTTP/1.1 101 "))
        scene.close(scene.servers[0], reset: true)
        #expect(scene.proxy.openClients == 0 && ejected(scene).isEmpty)
    }

    /// What requests say of themselves finds the same endpoint again.
    @Test(arguments: [
        (BalancePolicy.HashKey.header("x-user"), "X-User: %\r\n"),
        (.cookie("sid"), "Cookie: a=b; sid=%; c=d\r\n"),
        (.cookie("sid"), "Cookie: sid=\"%\"\r\n"),
    ])
    func requestsFindTheirEndpoint(_ key: BalancePolicy.HashKey, _ field: String) {
        var found: [[String: String]] = []
        for algorithm in [BalancePolicy.Algorithm.ringHash, .maglev] {
            var configuration = Scene.configuration(
                endpoints: (1...8).map { "127.0.0.1:\($0)" })
            configuration.clusters[0].balance = BalancePolicy(algorithm, hash: [key])
            let scene = Scene(configuration)
            var owners: [String: String] = [:]
            for request in 0..<60 {
                let user = "user-\(request % 20)"
                let client = scene.client()
                let line = field.replacing("%", with: user)
                scene.send("GET / HTTP/1.1\r\nHost: a\r\n\(line)\r\n", by: client)
                let address = scene.addresses[scene.addresses.count - 1]
                let server = scene.servers[scene.servers.count - 1]
                scene.send(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
                    by: server)
                #expect(owners[user, default: address] == address)
                owners[user] = address
            }
            #expect(Set(owners.values).count > 3)
            found.append(owners)
        }
        #expect(found[0] != found[1])
    }

    /// A limit on connections changes nobody's endpoint: the idle connection to another gives up
    /// its place.
    @Test(arguments: [BalancePolicy.Algorithm.ringHash, .maglev])
    func aLimitOfConnectionsLeavesAffinityAsItIs(_ algorithm: BalancePolicy.Algorithm) {
        var configuration = Scene.configuration(
            endpoints: (1...2).map { "127.0.0.1:\($0)" })
        configuration.clusters[0].balance = BalancePolicy(algorithm, hash: [.header("x-user")])
        configuration.clusters[0].breaker.standard.connections = 2
        let scene = Scene(configuration)
        /// The address that a connection was opened to for it.
        func ask(_ user: Int, answer: String? = nil) -> String {
            scene.send(
                "GET / HTTP/1.1\r\nHost: a\r\nX-User: \(user)\r\n\r\n", by: scene.client())
            if let answer { scene.send(answer, by: scene.servers[scene.servers.count - 1]) }
            return scene.addresses[scene.addresses.count - 1]
        }
        let last = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        let mine = ask(0, answer: last)
        let other = (1..<100).first { ask($0, answer: last) != mine } ?? 0
        #expect(other > 0 && scene.proxy.breakers[0].count(.connections, 0) == 0)
        // One is busy, and the other idle.
        #expect(ask(0) == mine && ask(other, answer: okAnswer) != mine)
        let opened = scene.servers.count
        #expect(ask(0) == mine && scene.servers.count == opened + 1)
        #expect(scene.proxy.breakers[0].count(.connections, 0) == 2)
    }

    /// Over HTTP/2 as well: where a strict limit lets an endpoint have none, another's makes way.
    @Test func aStrictLimitOverHTTP2StarvesNobody() {
        var configuration = Scene.configuration(
            endpoints: (1...4).map { "127.0.0.1:\($0)" }, connections: 256)
        configuration.clusters[0].balance = BalancePolicy(.ringHash, hash: [.header("x-user")])
        configuration.clusters[0].breaker.standard.connections = 1
        configuration.clusters[0].breaker.isStrict = true
        let scene = HTTP2Scene(.http2, configuration)
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(200)) }
        let client = scene.client()
        for user in 0..<12 {
            let answer = client.peer.request(requestFields("GET", "/", [("x-user", "\(user)")]))
            scene.pass(.milliseconds(1))
            #expect(answer?.status == 200)
        }
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    @Test func subsetsAreNamedByFields() {
        var configuration = Scene.configuration(
            endpoints: (1...4).map { "127.0.0.1:\($0)" })
        for i in 0..<4 {
            configuration.clusters[0].endpoints[i].labels = ["version": i < 3 ? "1" : "2"]
        }
        configuration.clusters[0].balance.subsets = [.init(label: "version", header: "x-version")]
        let scene = Scene(configuration)
        for _ in 0..<4 {
            let client = scene.client()
            scene.send("GET / HTTP/1.1\r\nHost: a\r\nX-Version: 2\r\n\r\n", by: client)
            scene.send(okAnswer, by: scene.servers[scene.servers.count - 1])
        }
        #expect(Set(scene.addresses) == ["127.0.0.1:4"])
        let client = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\nX-Version: 3\r\n\r\n", by: client)
        #expect(scene.received(client).contains("x-response-flags: UH"))
    }

    @Test(arguments: [(0, 200), (1, 499), (4, 504), (8, 429), (13, 500), (14, 503), (99, 500)])
    func grpcHasItsStatus(_ grpc: Int, _ http: Int) {
        #expect(GRPCVerdict.status(grpc) == http)
    }
}
