import Base
import Model
import Support
import Testing

@testable import ProxyCore

/// What a request that is on its way, or is sent again, has of its route after a reload.
@Suite struct KeptRouteTests {
    typealias Route = ProxyConfiguration.Route

    private static func scene(
        _ policy: RetryPolicy = RetryPolicy(on: [.serverError], most: 1)
    ) -> Scene {
        RetryTests.scene(policy, timeouts: .init(request: .seconds(2))) {
            $0.routes = [Route(path: .exact("/first"), cluster: "c"), route, Route(cluster: "c")]
        }
    }

    private static var route: Route {
        var route = Route(path: .prefix("/old"), cluster: "c")
        route.rewrite = .prefix("/new")
        route.hostRewrite = "b"
        route.requestHeaders.set = [.init("x-asked", "1")]
        route.answerHeaders.set = [.init("x-answered", "1")]
        return route
    }

    private let refusal = "HTTP/1.1 503 x\r\ncontent-length: 2\r\n\r\nno"

    private func adopt(_ scene: Scene, _ change: (inout [Route]) -> Void) {
        var configuration = scene.proxy.configuration
        change(&configuration.routes)
        scene.proxy.adopt(configuration, now: scene.simulation.now)
    }

    private func wasEdited(_ request: String) -> Bool {
        request.hasPrefix("GET /new/x HTTP/1.1\r\n") && request.contains("x-asked: 1\r\n")
            && request.lowercased().contains("\r\nhost: b\r\n")
    }

    private func count(_ scene: Scene, _ count: RouteCount) -> UInt64? {
        scene.proxy.counts.lines[.route("prefix:/old")]?[count]
    }

    /// What befalls the route, and whether one that asks for the same is there afterwards.
    enum Change: CaseIterable {
        case changed, moved, gone, goneAndBack
    }

    /// The second attempt goes out by the route, its answer comes by it, and both are counted for
    /// it where it still asks for the same.
    @Test(arguments: Change.allCases) func aRetryGoesByItsRoute(_ change: Change) {
        let scene = Self.scene()
        let client = scene.get("/old/x").client
        #expect(wasEdited(scene.received(scene.servers[0])))
        scene.send(refusal, by: scene.servers[0])
        switch change {
        case .changed: adopt(scene) { $0[1].timeout = .seconds(1) }
        case .moved:
            // One service more in a mesh: its routes stand among the others.
            adopt(scene) {
                $0.insert(Route(path: .exact("/a"), cluster: "c"), at: 0)
                $0.insert(Route(path: .exact("/b"), cluster: "c"), at: 3)
                $0.insert(Route(path: .exact("/c"), cluster: "c"), at: 3)
            }
        case .gone: adopt(scene) { $0 = [Route(cluster: "c")] }
        case .goneAndBack:
            adopt(scene) { $0 = [Route(cluster: "c")] }
            #expect(scene.proxy.router.kept.count == 1)
            adopt(scene) { $0 = [Self.route, Route(cluster: "c")] }
        }
        let isKept = change == .changed || change == .gone
        #expect(scene.proxy.router.kept == (isKept ? [Self.route] : []))
        scene.pass(.milliseconds(26))
        let server = scene.servers[scene.servers.count - 1]
        #expect(wasEdited(scene.received(server)))
        // It has had its one retry.
        scene.send(refusal, by: server)
        let answer = scene.received(client)
        #expect(answer.hasPrefix("HTTP/1.1 503 ") && answer.contains("x-response-flags: URX"))
        #expect(answer.contains("x-answered: 1\r\n"))
        let attempts: UInt64? = change == .gone ? nil : 2
        #expect(count(scene, .attempts) == attempts)
        // Nobody needs it any more, and nobody new comes by it.
        adopt(scene) { _ in }
        #expect(scene.proxy.router.kept.isEmpty)
    }

    @Test func whoComesAfterwardsDoesNotGoByIt() {
        let scene = Self.scene()
        _ = scene.get("/old/x")
        adopt(scene) { $0 = [Route(path: .exact("/first"), cluster: "c"), Route(cluster: "c")] }
        #expect(scene.proxy.router.kept == [Self.route])
        let (client, server) = scene.get("/old/x")
        #expect(scene.received(server).hasPrefix("GET /old/x HTTP/1.1\r\n"))
        scene.send(okAnswer, by: server)
        #expect(!scene.received(client).contains("x-answered"))
    }

    @Test func aHedgeGoesByItsRoute() {
        let scene = Self.scene(
            RetryPolicy(on: [.serverError], most: 1, perTry: .milliseconds(100), hedges: true))
        let client = scene.get("/old/x").client
        adopt(scene) { $0[1].timeout = .seconds(1) }
        scene.pass(.milliseconds(126))
        #expect(scene.servers.count == 2 && wasEdited(scene.received(scene.servers[1])))
        scene.send(okAnswer, by: scene.servers[1])
        #expect(scene.received(client).contains("x-answered: 1\r\n"))
    }

    /// Two of one route and one of another are kept as two, and go one after the other.
    @Test func asManyAreKeptAsAreInHand() {
        let scene = Self.scene()
        let one = scene.get("/old/x")
        let two = scene.get("/old/x")
        let other = scene.get("/first")
        adopt(scene) { $0 = [Route(cluster: "c")] }
        #expect(scene.proxy.router.kept.count == 2)
        scene.send(okAnswer, by: other.server)
        scene.send(okAnswer, by: one.server)
        adopt(scene) { _ in }
        #expect(scene.proxy.router.kept == [Self.route])
        scene.send(okAnswer, by: two.server)
        for client in [one.client, two.client] {
            #expect(scene.received(client).contains("x-answered: 1\r\n"))
        }
        adopt(scene) { _ in }
        #expect(scene.proxy.router.kept.isEmpty)
    }
}
