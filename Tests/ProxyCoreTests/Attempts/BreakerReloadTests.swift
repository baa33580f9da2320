import Dispatch
import Model
import Support
import Synchronization
import Testing

@testable import ProxyCore

/// What a new configuration does to places that are taken.
@Suite struct BreakerReloadTests {
    /// Others look at the counts while a worker takes over a configuration: what it has in flight
    /// never seems to be gone.
    @Test func aReloadFreesNoPlaceForAMoment() {
        let shared = SharedBreaker()
        var own = Breaker(BreakerPolicy(standard: .init(requests: 3), isStrict: true))
        own.count(.requests, 0, by: 3)
        shared.replace(nil, by: own)
        let taken = own
        let least = Mutex(3)
        // One adopts again and again, the other looks.
        DispatchQueue.concurrentPerform(iterations: 2) { part in
            for _ in 0..<100_000 {
                if part == 0 {
                    shared.replace(taken, by: taken)
                } else {
                    let count = shared.count(.requests, 0)
                    if count < 3 { least.withLock { $0 = min($0, count) } }
                }
            }
        }
        #expect(least.withLock { $0 } == 3)
        own.count(.requests, 0, by: -2)
        shared.replace(taken, by: own)
        #expect(shared.count(.requests, 0) == 1)
        shared.replace(own, by: nil)
        #expect(shared.count(.requests, 0) == 0)
    }

    /// What hangs at an endpoint that is taken away still counts for its cluster.
    @Test(arguments: [true, false]) func anEndpointThatGoesTakesNoCountsWithIt(_ strict: Bool) {
        var configuration = Scene.configuration()
        configuration.clusters[0].breaker = .init(
            standard: .init(requests: 1), isStrict: strict)
        let scene = Scene(configuration)
        let first = scene.get()
        var next = configuration
        next.clusters[0].endpoints = [.init("127.0.0.1:9")]
        // Nor is it forgotten by the second reload.
        for _ in 0..<2 {
            scene.proxy.adopt(next, now: scene.simulation.now)
            #expect(scene.proxy.breakers[0].count(.requests, 0) == 1)
            #expect(scene.received(scene.get().client).contains("x-response-flags: UO"))
        }
        scene.send(okAnswer, by: first.server)
        #expect(scene.received(first.client).hasPrefix("HTTP/1.1 200"))
        #expect(scene.proxy.breakers[0].count(.requests, 0) == 0)
        #expect(scene.proxy.breakers[0].count(.connections, 0) == 0)
        let last = scene.get()
        #expect(scene.servers.count == 2)
        scene.send(okAnswer, by: last.server)
        #expect(scene.received(last.client).hasPrefix("HTTP/1.1 200"))
        scene.proxy.checkBreakers()
    }
}
