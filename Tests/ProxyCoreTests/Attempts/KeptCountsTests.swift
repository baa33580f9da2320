import Base
import Model
import Testing

@testable import ProxyCore

/// What budgets and admission have counted outlasts a new configuration that leaves their policy as
/// it was.
@Suite struct KeptCountsTests {
    enum Owner: CaseIterable { case cluster, route }

    private let failure = "HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n"

    /// A budget of five retries.
    private var retry: RetryPolicy {
        var retry = RetryPolicy(on: [.serverError], most: 1)
        retry.budget = .rate(percent: 0, window: .seconds(3600), leastPerSecond: 5.0 / 3600)
        return retry
    }

    private func configuration(_ owner: Owner, _ retry: RetryPolicy) -> ProxyConfiguration {
        var configuration = Scene.configuration(connections: 256)
        switch owner {
        case .cluster: configuration.clusters[0].retry = retry
        case .route: configuration.routes[0].retry = retry
        }
        return configuration
    }

    /// With one more cluster, and one more route, before the others, both of which retry.
    private func grown(_ configuration: ProxyConfiguration) -> ProxyConfiguration {
        var configuration = configuration
        var other = configuration.clusters[0]
        other.name = "b"
        other.retry = RetryPolicy(on: [.reset], most: 2)
        other.admission = AdmissionPolicy(threshold: 50)
        configuration.clusters.insert(other, at: 0)
        var route = ProxyConfiguration.Route(path: .prefix("/b"), cluster: "b")
        route.retry = RetryPolicy(on: [.connectFailure], most: 1)
        configuration.routes.insert(route, at: 0)
        return configuration
    }

    private func failAll(_ scene: Scene) {
        for _ in 0..<10 {
            for server in scene.servers where !scene.received(server).isEmpty {
                scene.send(failure, by: server)
            }
            scene.pass(.milliseconds(251))
        }
    }

    @Test(arguments: Owner.allCases) func aSpentBudgetStaysSpent(_ owner: Owner) {
        let old = configuration(owner, retry)
        let scene = Scene(old)
        for i in 0..<10 {
            scene.send("GET /\(i) HTTP/1.1\r\nHost: a\r\n\r\n", by: scene.client())
        }
        failAll(scene)
        #expect(scene.proxy.counters[.retries] == 5)
        scene.send("GET /flying HTTP/1.1\r\nHost: a\r\n\r\n", by: scene.client())
        scene.proxy.adopt(grown(old), now: scene.simulation.now)
        failAll(scene)
        // Nor is a request in flight let off.
        #expect(scene.proxy.counters[.retries] == 5)
        #expect(scene.proxy.counters[.retryOverflow] == 6)
        scene.send("GET /new HTTP/1.1\r\nHost: a\r\n\r\n", by: scene.client())
        failAll(scene)
        #expect(scene.proxy.counters[.retries] == 5)
        scene.proxy.adopt(old, now: scene.simulation.now)
        scene.send("GET /old HTTP/1.1\r\nHost: a\r\n\r\n", by: scene.client())
        failAll(scene)
        #expect(scene.proxy.counters[.retries] == 5)
        var other = retry
        other.most = 2
        let changed = grown(configuration(owner, other))
        scene.proxy.adopt(changed, now: scene.simulation.now)
        scene.send("GET /anew HTTP/1.1\r\nHost: a\r\n\r\n", by: scene.client())
        failAll(scene)
        #expect(scene.proxy.counters[.retries] == 7)
    }

    @Test func admissionRemembers() {
        func window(_ scene: Scene, _ cluster: Int) -> Int {
            let place = Int(scene.proxy.plans.clusters[cluster].admission)
            guard scene.proxy.plans.admissions.indices.contains(place) else { return -1 }
            return scene.proxy.plans.admissions[place].requests
        }
        var old = Scene.configuration(connections: 256)
        old.clusters[0].admission = AdmissionPolicy()
        let scene = Scene(old)
        for i in 0..<20 {
            scene.send("GET /\(i) HTTP/1.1\r\nHost: a\r\n\r\n", by: scene.client())
            for server in scene.servers where !scene.received(server).isEmpty {
                scene.send(failure, by: server)
            }
        }
        let before = window(scene, 0)
        #expect(before > 2)
        scene.proxy.adopt(grown(old), now: scene.simulation.now)
        #expect(window(scene, 1) == before && window(scene, 0) == 0)
        scene.proxy.adopt(old, now: scene.simulation.now)
        #expect(window(scene, 0) == before)
        old.clusters[0].admission = AdmissionPolicy(threshold: 90)
        scene.proxy.adopt(old, now: scene.simulation.now)
        #expect(window(scene, 0) == 0)
    }
}
