// Whatever happens to its control planes, a subscriber ends with what the mesh is.

import Base
import Model
import Support
import Testing

@testable import ControlCore

@Suite struct SubscriberFuzz {
    @Test func followsThroughOutagesSubscriberFuzz() {
        let budget = FuzzBudget.current(steps: 2000)
        let random = SeededRandom(seed: budget.seed)
        var (snapshots, deltas) = (0, 0)
        // A life has some 40 steps.
        for life in 0..<max(1, budget.steps / 40) {
            var part = random.split(life)
            let servers = 1 + part.below(3)
            var simulation = SubscriberSimulation(seed: part.next(), servers: servers)
            simulation.run(for: .seconds(2))
            simulation.serves()
            for _ in 0..<40 { Self.step(&simulation, servers, &part) }
            // One at least comes back: all is well within 5 s.
            simulation.set(part.below(servers), .up)
            for server in 0..<servers where simulation.health[server] == .hung {
                simulation.set(server, .down)
            }
            simulation.run(for: .seconds(5))
            let isWell =
                simulation.mistakes.isEmpty && simulation.subscriber.isWatching
                && simulation.subscriber.view.mesh == simulation.mesh
                && simulation.acknowledged == simulation.version && simulation.registered
            guard isWell else {
                Issue.record(
                    "life \(life): \(simulation.mistakes) \(budget.rerun("SubscriberFuzz"))")
                return
            }
            snapshots += simulation.snapshots
            deltas += simulation.deltas
        }
        if budget.steps >= 2000 { #expect(snapshots > 50 && deltas > 100) }
    }

    private static func step(
        _ simulation: inout SubscriberSimulation, _ servers: Int, _ random: inout SeededRandom
    ) {
        switch random.below(10) {
        case 0...4: for _ in 0...random.below(30) { simulation.declare() }
        case 5: simulation.set(random.below(servers), .down)
        case 6: simulation.set(random.below(servers), .hung)
        case 7, 8: simulation.set(random.below(servers), .up)
        default: for server in 0..<servers { simulation.set(server, .down) }
        }
        let spans: [Duration] = [.milliseconds(3), .milliseconds(200), .seconds(4), .seconds(40)]
        simulation.run(for: spans[random.below(spans.count)])
    }
}
