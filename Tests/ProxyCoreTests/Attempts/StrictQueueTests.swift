import Base
import Model
import Support
import Testing

@testable import ProxyCore

/// Strict limits across workers: what waits in one of them is served when another lets a place go.
@Suite struct StrictQueueTests {
    /// Two workers of one proxy, whose clients and servers are played by hand. Their clocks go side
    /// by side.
    private final class Pair {
        let first: Scene
        let second: Scene
        /// Connections of both at once, at most.
        private(set) var most = 0

        init(connections: Int = 1, change: (inout ProxyConfiguration) -> Void = { _ in }) {
            var configuration = Scene.configuration(
                maxConnections: connections, maxPending: 100, accessLog: true)
            configuration.clusters[0].breaker.isStrict = true
            configuration.workers = 2
            change(&configuration)
            let commons = ProxyCommons()
            first = Scene(configuration, commons: commons)
            second = Scene(configuration, commons: commons)
            for scene in [first, second] {
                scene.simulation.onStep = { [unowned self] in look() }
            }
        }

        private func look() {
            let open = [first, second].reduce(0) {
                $0 + $1.proxy.breakers[0].count(.connections, 0)
            }
            most = max(most, open)
        }

        func pass(milliseconds: Int) {
            for _ in 0..<milliseconds {
                first.pass(.milliseconds(1))
                second.pass(.milliseconds(1))
            }
        }
    }

    private let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"

    private func ask(_ scene: Scene, _ path: String) -> SimulatedSocket {
        let client = scene.client()
        scene.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        return client
    }

    private func isAsked(_ scene: Scene, _ server: Int, _ path: String) -> Bool {
        guard scene.servers.indices.contains(server) else { return false }
        return scene.received(scene.servers[server]).hasPrefix("GET \(path) ")
    }

    @Test func aPlaceThatAnotherWorkerLetsGoIsTaken() {
        let pair = Pair()
        let holder = ask(pair.first, "/1")
        let waiter = ask(pair.second, "/2")
        pair.pass(milliseconds: 500)
        #expect(pair.second.servers.isEmpty && pair.second.received(waiter).isEmpty)
        pair.first.send(closing, by: pair.first.servers[0])
        #expect(pair.first.received(holder).hasPrefix("HTTP/1.1 200 "))
        pair.pass(milliseconds: 6)
        #expect(isAsked(pair.second, 0, "/2"))
        guard !pair.second.servers.isEmpty else { return }
        pair.second.send(okAnswer, by: pair.second.servers[0])
        #expect(pair.second.received(waiter) == okAnswer && pair.most == 1)
    }

    /// The place is also had when the one that held it fails, or its worker is gone.
    @Test func aPlaceIsTakenHoweverItBecomesFree() {
        let pair = Pair()
        let holder = ask(pair.first, "/1")
        let waiter = ask(pair.second, "/2")
        pair.first.close(holder, reset: true)
        pair.pass(milliseconds: 6)
        #expect(isAsked(pair.second, 0, "/2"))
        pair.second.close(waiter, reset: true)
        let next = ask(pair.first, "/3")
        pair.pass(milliseconds: 6)
        #expect(isAsked(pair.first, 1, "/3") && pair.most == 1)
        pair.first.close(next)
    }

    @Test func anIdleConnectionIsGivenUpForWhoWaits() {
        let pair = Pair()
        let holder = ask(pair.first, "/1")
        pair.first.send(okAnswer, by: pair.first.servers[0])
        #expect(pair.first.received(holder) == okAnswer)
        pair.pass(milliseconds: 100)
        #expect(!pair.first.servers[0].proxyClosed)
        let waiter = ask(pair.second, "/2")
        pair.pass(milliseconds: 26)
        #expect(pair.first.servers[0].proxyClosed && isAsked(pair.second, 0, "/2"))
        guard !pair.second.servers.isEmpty else { return }
        pair.second.send(okAnswer, by: pair.second.servers[0])
        #expect(pair.second.received(waiter) == okAnswer && pair.most == 1)
    }

    /// A worker that always has its next request before the other has looked takes no place from
    /// those that wait there.
    @Test func whoComesLaterInAnotherWorkerWaits() {
        let pair = Pair()
        let busy = ask(pair.first, "/1")
        let waiter = ask(pair.second, "/2")
        pair.first.send(okAnswer, by: pair.first.servers[0])
        #expect(pair.first.received(busy) == okAnswer)
        pair.first.send("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n", by: busy)
        #expect(pair.first.servers.count == 1 && pair.first.servers[0].proxyClosed)
        pair.pass(milliseconds: 6)
        #expect(isAsked(pair.second, 0, "/2"))
        guard !pair.second.servers.isEmpty else { return }
        pair.second.send(okAnswer, by: pair.second.servers[0])
        #expect(pair.second.received(waiter) == okAnswer)
        pair.pass(milliseconds: 6)
        #expect(isAsked(pair.first, 1, "/3") && pair.most == 1)
    }

    @Test func nobodyOvertakesTheQueueOfItsWorker() {
        let pair = Pair()
        _ = ask(pair.first, "/1")
        let waiter = ask(pair.second, "/2")
        pair.pass(milliseconds: 3)
        pair.first.send(closing, by: pair.first.servers[0])
        let later = ask(pair.second, "/3")
        #expect(isAsked(pair.second, 0, "/2"))
        guard !pair.second.servers.isEmpty else { return }
        pair.second.send(okAnswer, by: pair.second.servers[0])
        #expect(pair.second.received(waiter) == okAnswer)
        #expect(isAsked(pair.second, 0, "/3") && pair.second.servers.count == 1)
        pair.second.send(okAnswer, by: pair.second.servers[0])
        #expect(pair.second.received(later) == okAnswer && pair.most == 1)
    }

    /// A worker that always has somebody in its own queue does not keep its connection for ever.
    @Test func aQueueThatNeverEndsHasItsTurnOnly() {
        let pair = Pair()
        let busy = (0..<3).map { ask(pair.first, "/\($0)") }
        let waiter = ask(pair.second, "/w")
        var waited = 0
        while !isAsked(pair.second, 0, "/w"), waited < 1000 {
            pair.pass(milliseconds: 5)
            waited += 5
            for server in pair.first.servers where !pair.first.received(server).isEmpty {
                pair.first.send(okAnswer, by: server)
            }
            for client in busy where !pair.first.received(client).isEmpty {
                pair.first.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
            }
        }
        #expect(waited >= 90 && waited <= 150)
        guard !pair.second.servers.isEmpty else { return }
        pair.second.send(okAnswer, by: pair.second.servers[0])
        #expect(pair.second.received(waiter) == okAnswer)
        // The others are served again.
        let before = pair.first.servers.count
        pair.pass(milliseconds: 26)
        #expect(pair.first.servers.count == before + 1 && pair.most == 1)
    }

    /// Nobody looks for what nobody waits for.
    @Test func whereNothingWaitsNothingIsLookedFor() {
        let pair = Pair()
        let client = ask(pair.first, "/")
        pair.first.send(closing, by: pair.first.servers[0])
        pair.first.close(client)
        pair.first.pass(.seconds(1))
        #expect(pair.first.proxy.nextDeadline == nil && pair.second.proxy.nextDeadline == nil)
    }

    @Test func connectionsThatArePassedOnWaitAlike() {
        let pair = Pair {
            $0.listeners[0].speech = .tcp
            $0.listeners[0].cluster = "c"
        }
        let holder = pair.first.client()
        pair.first.pass(.zero)
        let waiter = pair.second.client()
        pair.second.pass(.zero)
        #expect(pair.first.servers.count == 1 && pair.second.servers.isEmpty)
        pair.first.close(holder, reset: true)
        pair.pass(milliseconds: 6)
        #expect(pair.second.servers.count == 1 && pair.most == 1)
        pair.second.close(waiter, reset: true)
    }

    @Test func anIdleSessionIsGivenUpForWhoWaits() {
        var configuration = Scene.configuration(maxConnections: 1)
        configuration.clusters[0].breaker.isStrict = true
        configuration.workers = 2
        let commons = ProxyCommons()
        let scenes = (0..<2).map { _ in
            HTTP2Scene(.http2, configuration, commons: commons)
        }
        for scene in scenes { scene.onEnd = { $0.answer($1, answerFields(200), body: [1]) } }
        let holder = scenes[0].rawClient()
        scenes[0].send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", by: holder)
        #expect(scenes[0].received(holder).hasPrefix("HTTP/1.1 200 "))
        let waiter = scenes[1].rawClient()
        scenes[1].send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", by: waiter)
        #expect(scenes[1].servers.isEmpty)
        for _ in 0..<60 { for scene in scenes { scene.pass() } }
        #expect(scenes[1].received(waiter).hasPrefix("HTTP/1.1 200 "))
        #expect(scenes[0].proxy.breakers[0].count(.connections, 0) == 0)
    }

    /// Clients and servers by chance at both workers: all are served, and the limit holds always.
    @Test(arguments: 0..<12 as Range<UInt64>) func allAreServed(_ seed: UInt64) {
        let limit = 1 + Int(seed % 3)
        let pair = Pair(connections: limit)
        var random = SeededRandom(seed: seed)
        let scenes = [pair.first, pair.second]
        var open: [(scene: Scene, client: SimulatedSocket)] = []
        var served = 0
        var wrong: [String] = []
        for step in 0..<4000 {
            if step < 1500, open.count < 24, random.below(100) < 8 * limit {
                let scene = scenes[random.below(2)]
                open.append((scene, ask(scene, "/\(step)")))
            }
            for scene in scenes {
                for server in scene.servers where !server.proxyClosed && random.below(100) < 30 {
                    guard !scene.received(server).isEmpty else { continue }
                    scene.send(random.below(100) < 20 ? closing : okAnswer, by: server)
                }
            }
            open.removeAll { scene, client in
                let text = scene.received(client)
                guard !text.isEmpty else { return false }
                served += 1
                if !text.hasPrefix("HTTP/1.1 200 ") { wrong.append(text) }
                scene.close(client)
                return true
            }
            pair.pass(milliseconds: 1)
        }
        #expect(wrong.isEmpty && open.isEmpty && served > 60)
        #expect(pair.most == limit)
    }
}
