import Base
import Model
import Testing
import Wire

@testable import ProxyCore

/// Strict limits on connections of HTTP/2: requests go only where they may, and who has no
/// connection to there waits until another's has ended.
@Suite struct StrictStreamTests {
    /// Endpoints of a version each.
    private func scene(
        _ endpoints: Int = 2, connections: Int = 1,
        change: (inout ProxyConfiguration) -> Void = { _ in }
    ) -> HTTP2Scene {
        var configuration = Scene.configuration(
            endpoints: (1...endpoints).map { "127.0.0.1:\($0)" }, connections: 256)
        for i in 0..<endpoints {
            configuration.clusters[0].endpoints[i].labels = ["version": "\(i + 1)"]
        }
        configuration.clusters[0].balance.subsets = [.init(label: "version", header: "x-version")]
        configuration.clusters[0].breaker = .init(
            standard: .init(connections: connections), isStrict: true)
        change(&configuration)
        return HTTP2Scene(.http2, configuration)
    }

    private func ask(
        _ version: Int, _ client: HTTP2End, _ scene: HTTP2Scene
    ) -> HTTP2Peer.Stream? {
        let answer = client.peer.request(requestFields("GET", "/", [("x-version", "\(version)")]))
        scene.pass()
        return answer
    }

    private func streams(_ scene: HTTP2Scene) -> [Int] { scene.servers.map { $0.peer.order.count } }

    @Test func aConnectionWithoutStreamsMakesWay() {
        let scene = scene()
        scene.onEnd = { peer, stream in peer.answer(stream, answerFields(200)) }
        let client = scene.client()
        for version in [1, 2, 1, 2, 2, 1] {
            #expect(ask(version, client, scene)?.status == 200)
            #expect(scene.addresses.last == "127.0.0.1:\(version)")
            #expect(scene.proxy.breakers[0].count(.connections, 0) == 1)
        }
        #expect(streams(scene) == [1, 1, 1, 2, 1])
        #expect(scene.servers[0].peer.goaways == [.noError] && scene.servers[0].hasEnded)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    @Test func whoIsEjectedGetsNothing() {
        let scene = scene {
            $0.clusters[0].balance.subsets = []
            $0.clusters[0].outlier = OutlierPolicy(
                consecutive5xx: .init(1, enforcing: 100), mostPercent: 100)
            $0.clusters[0].balance.panicThreshold = 0
        }
        scene.onEnd = { [unowned scene] peer, stream in
            let isFirst = peer === scene.servers[0].peer
            peer.answer(stream, answerFields(isFirst ? 500 : 200))
        }
        let client = scene.client()
        let statuses = (0..<4).map { _ in ask(0, client, scene)?.status }
        #expect(statuses == [500, 200, 200, 200])
        #expect(streams(scene) == [1, 3] && Set(scene.addresses).count == 2)
        // Sweeps go on for ever, so nothing comes to rest.
        client.closesWhenDone = true
        for end in scene.servers where !end.isDone {
            end.socket.peerClose(reset: true)
            end.isDone = true
        }
        scene.pass(.seconds(1))
        #expect(scene.proxy.openConnections == 0 && scene.proxy.buffersInUse == 0)
    }

    /// What it has begun ends, and what comes later waits in its turn.
    @Test func aConnectionThatAlwaysHasStreamsMakesWay() {
        let scene = scene()
        var answers: [() -> Void] = []
        scene.onEnd = { peer, stream in
            answers.append { peer.answer(stream, answerFields(200)) }
        }
        let client = scene.client()
        let before = [ask(1, client, scene), ask(1, client, scene)]
        let other = ask(2, client, scene)
        let after = ask(1, client, scene)
        #expect(streams(scene) == [2] && scene.proxy.waiting(0, 0) == 2)
        answers[0]()
        scene.pass()
        #expect(streams(scene) == [2] && scene.proxy.waiting(0, 0) == 2)
        answers[1]()
        scene.pass()
        #expect(before.allSatisfy { $0?.status == 200 })
        #expect(streams(scene) == [2, 1] && scene.proxy.waiting(0, 0) == 1)
        answers[2]()
        scene.pass()
        #expect(other?.status == 200 && streams(scene) == [2, 1, 1])
        answers[3]()
        scene.pass()
        #expect(after?.status == 200)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    /// However many wait, and unless another has less to do by then.
    @Test func oneMakesWayAtATime() {
        let scene = scene(4, connections: 3)
        var answers: [() -> Void] = []
        scene.onEnd = { peer, stream in
            answers.append { peer.answer(stream, answerFields(200)) }
        }
        let client = scene.client()
        for version in [1, 2, 2, 3, 3, 3] { _ = ask(version, client, scene) }
        let waiting = [ask(4, client, scene), ask(4, client, scene)]
        _ = ask(2, client, scene)
        #expect(streams(scene) == [1, 3, 3] && scene.proxy.waiting(0, 0) == 2)
        _ = ask(1, client, scene)
        #expect(streams(scene) == [1, 3, 3] && scene.proxy.waiting(0, 0) == 3)
        // The third ends, before the first.
        for i in 3...5 {
            answers[i]()
            scene.pass()
        }
        #expect(streams(scene) == [1, 3, 3, 2] && scene.proxy.waiting(0, 0) == 1)
        // So does the one to the fourth: no need to wait for the first.
        for answer in answers[7...] { answer() }
        scene.pass()
        #expect(waiting.allSatisfy { $0?.status == 200 })
        #expect(streams(scene) == [1, 3, 3, 2, 1] && scene.proxy.waiting(0, 0) == 0)
        for i in [0, 1, 2, 6, 9] { answers[i]() }
        scene.pass()
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }

    /// A request that is taken back while it waits leaves nothing behind.
    @Test func whoGivesUpIsForgotten() {
        let scene = scene()
        let client = scene.client()
        _ = ask(1, client, scene)
        let other = ask(2, client, scene)
        #expect(scene.proxy.waiting(0, 0) == 1)
        if let other { client.peer.reset(other.number, .cancel) }
        scene.pass()
        #expect(scene.proxy.waiting(0, 0) == 0 && scene.servers.count == 1)
        client.closesWhenDone = true
        #expect(scene.remains() == nil)
    }
}
