import Base
import Model
import Support
import Testing
import Wire

@testable import ProxyCore

/// Clients that come and go, a service that answers, errs and is silent, and new configurations,
/// in any order: nothing is left behind, and nobody waits for longer than the policy says. The
/// simulation checks invariants after every step.
@Suite struct GlobalLimitFuzz {
    @Test func anyOrder() {
        let budget = FuzzBudget.current(steps: 20)
        for step in 0..<budget.steps {
            var random = SeededRandom(seed: budget.seed).split(step)
            let why = "step \(step): \(budget.rerun("GlobalLimitFuzz"))"
            Self.run(&random, why)
        }
    }

    private static func run(_ random: inout SeededRandom, _ why: String) {
        let limit = GlobalLimitScene.limit(denies: random.below(2) == 0)
        let breaker = BreakerPolicy(
            standard: .init(
                connections: 1 + random.below(2), pending: random.below(4),
                requests: 1 + random.below(6)))
        let scene = GlobalLimitScene(
            [.silence], route: limit, listener: random.below(2) == 0 ? limit : nil,
            breaker: breaker)
        scene.scene.openings[GlobalLimitScene.service] =
            random.below(6) == 0 ? (random.below(2) == 0 ? .refused : .never) : .open
        var clients: [SimulatedSocket] = []
        var answered = 0
        for _ in 0..<30 {
            switch random.below(8) {
            case 0...2: clients.append(scene.ask())
            case 3 where !clients.isEmpty:
                clients.remove(at: random.below(clients.count)).peerClose(reset: true)
                scene.scene.pass()
            case 4, 5:
                while answered < scene.open.count {
                    let (peer, stream) = scene.open[answered]
                    answered += 1
                    if stream.closed == nil { scene.send(reply(&random), stream, peer) }
                }
                scene.scene.pass()
            case 6:
                var configuration = scene.proxy.configuration
                configuration.routes[0].globalRateLimit =
                    random.below(3) == 0
                    ? nil : GlobalLimitScene.limit(denies: random.below(2) == 0)
                configuration.clusters.swapAt(0, 1)
                scene.proxy.adopt(configuration, now: scene.scene.simulation.now)
                scene.scene.pass()
            default: scene.scene.pass(.milliseconds(Int64(random.below(15))))
            }
        }
        // Two questions of 20 ms each, at most.
        scene.scene.pass(.milliseconds(45))
        for client in clients {
            #expect(scene.scene.received(client).hasPrefix("HTTP/1.1 "), "\(why)")
            client.peerClose(reset: true)
        }
        #expect(scene.remains() == nil, "\(why)")
    }

    private static func reply(_ random: inout SeededRandom) -> GlobalLimitScene.Reply {
        switch random.below(6) {
        case 0, 1: .verdict(.ok)
        case 2: .verdict(.overLimit)
        case 3: .bytes((0..<random.below(12)).map { _ in UInt8(random.below(16)) })
        case 4: .reset
        default: .head(answerFields(503))
        }
    }
}
