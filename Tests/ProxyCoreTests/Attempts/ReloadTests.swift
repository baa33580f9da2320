import Base
import Fault
import Model
import Support
import Testing

@testable import ProxyCore

/// What requests that wait, or are sent again, have met and know across a reload.
@Suite struct ReloadTests {
    /// What was let in is not turned away by a reload, whether it waits for a connection or its
    /// attempt is held back, and it counts once.
    @Test(arguments: [true, false]) func whatWasLetInIsLetIn(_ isQueued: Bool) {
        let rule = FaultTests.rule("b", .perAttempt, delay: .seconds(1))
        let (scene, _) = FaultTests.scene(isQueued ? [] : [rule]) {
            $0.clusters[0].admission = AdmissionPolicy()
            $0.clusters[0].breaker.standard.connections = isQueued ? 1 : 8
        }
        let clients = (0..<5).map { _ in scene.client() }
        for client in clients { scene.send(FaultTests.request, by: client) }
        #expect(scene.proxy.waiting(0, 0) == (isQueued ? 4 : 0))
        // From now on four of five are turned away.
        for _ in 0..<100 {
            scene.proxy.plans.admissions[0].note(success: false, now: scene.simulation.now)
        }
        for _ in 0..<20 {
            scene.proxy.adopt(scene.proxy.configuration, now: scene.simulation.now)
            scene.pass(.zero)
        }
        scene.pass(.seconds(1))
        #expect(scene.servers.count == (isQueued ? 1 : 5))
        for i in clients.indices {
            scene.send(okAnswer, by: scene.servers[isQueued ? 0 : i])
        }
        for client in clients { #expect(scene.received(client).hasPrefix("HTTP/1.1 200 ")) }
        #expect(scene.proxy.counters[.admissionRejected] == 0)
        #expect(scene.proxy.plans.admissions[0].requests == 105)
    }

    /// An endpoint that is gone keeps its number while a request knows it: the new one is not
    /// avoided in its place, and the log names the old one.
    @Test func numbersOfEndpointsOutliveWhoKnowsThem() {
        let scene = RetryTests.scene(
            RetryPolicy(on: [.connectFailure], avoidsPreviousHosts: true))
        scene.opening = .refused
        let client = scene.client()
        scene.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", by: client)
        #expect(scene.servers.count == 1)
        var configuration = scene.proxy.configuration
        configuration.clusters[0].endpoints = ["127.0.0.1:3", "127.0.0.1:2"]
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        #expect(
            scene.proxy.upstreams.addresses == ["127.0.0.1:1", "127.0.0.1:3", "127.0.0.1:2"])
        scene.close(client, reset: true)
        let line = scene.simulation.logLines.last ?? ""
        #expect(line.contains("\"upstream\":\"127.0.0.1:1\""), "\(line)")
        // Nobody knows it any more.
        configuration.clusters[0].endpoints.append("127.0.0.1:4")
        scene.proxy.adopt(configuration, now: scene.simulation.now)
        #expect(
            scene.proxy.upstreams.addresses == ["127.0.0.1:4", "127.0.0.1:3", "127.0.0.1:2"])
    }
}
