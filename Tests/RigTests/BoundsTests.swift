import Base
import LoadCore
import Model
import Scenario
import Testing

@testable import Rig

/// What a scenario may ask is what a load generator does: it must not be the generator that refuses
/// it, when a run has begun and no line of the file can be named any more.
@Suite struct BoundsTests {
    /// A scenario whose one load has `connections` to a service of so many replicas.
    private func text(
        connections: Int = 16, replicas: Int = 1, phases: Int = 1, bodySize: Int = 0,
        threads: Int = 1
    ) -> String {
        """
        name: bounds
        services: [{name: echo, replicas: \(replicas)}]
        load:
          - name: main
            to: echo
            rate: 1/s
            connections: \(connections)
            threads: \(threads)
            body_size: \(bodySize)B
        phases:

        """ + (0..<phases).map { "  - {name: p\($0), for: 1s}\n" }.joined()
    }

    /// The job of an experiment's first load, as the rig would make it.
    private func job(of experiment: Experiment, _ arm: ArmPlan) throws -> LoadJob {
        let lineup = try Lineup(experiment)
        var plan = try #require(experiment.loads.first)
        plan.threads = try #require(lineup.threads[plan.name])
        let targets = try #require(lineup.topologies[arm.name]?.targets[plan.name])
        return LoadJob(
            plan: plan,
            targets: targets.map { _ in .init(address: "127.0.0.1:1", host: plan.to) },
            phases: experiment.phases, start: nil, seed: 1, spin: .zero)
    }

    @Test func whatAScenarioAcceptsAGeneratorDoes() throws {
        let texts = [
            text(connections: 3, replicas: 3), text(connections: 64, replicas: 64),
            text(phases: LoadLimits.phases), text(bodySize: LoadLimits.bodySize),
            text(connections: 10_000, threads: 64), text(connections: 4, replicas: 2, threads: 4),
        ]
        for text in texts {
            let experiment = try ScenarioFile(text: text, file: "f").experiment
            for arm in [ArmPlan.direct, .mesh] {
                let job = try job(of: experiment, arm)
                #expect(throws: Never.self) { try job.validate() }
            }
        }
    }

    @Test func whatAGeneratorRefusesHasAPlaceInTheScenario() throws {
        let plan = Made.load()
        func refuses(_ change: (inout LoadJob) -> Void) -> Bool {
            var job = LoadJob(
                plan: plan, targets: [.init(address: "127.0.0.1:1", host: "echo")],
                phases: Made.experiment().phases, start: nil, seed: 1, spin: .zero)
            change(&job)
            return (try? job.validate()) == nil
        }
        #expect(
            refuses {
                $0.plan.connections = 2
                $0.targets = Array(repeating: $0.targets[0], count: 3)
            })
        expectError("7:18", in: text(connections: 2, replicas: 3))
        #expect(
            refuses {
                $0.phases = Array(repeating: $0.phases[0], count: LoadLimits.phases + 1)
            })
        expectError("11:3", in: text(phases: LoadLimits.phases + 1))
        #expect(refuses { $0.plan.request.bodySize = LoadLimits.bodySize + 1 })
        expectError("9:16", in: text(bodySize: LoadLimits.bodySize + 1))
    }

    private func expectError(
        _ place: String, in text: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let error = #expect(throws: ScenarioError.self, sourceLocation: sourceLocation) {
            _ = try ScenarioFile(text: text, file: "f")
        }
        let told = error?.description ?? ""
        #expect(told.contains("f:\(place):"), "\(told)", sourceLocation: sourceLocation)
    }

    @Test func bothArmsHaveTheSameClient() throws {
        // 4 threads and 6 connections: to two replicas three threads at most, to one proxy four.
        let experiment = try ScenarioFile(
            text: text(connections: 6, replicas: 2, threads: 4), file: "f"
        ).experiment
        #expect(try Lineup(experiment).threads == ["main": 3])
        for arm in [ArmPlan.direct, .mesh] {
            #expect(try job(of: experiment, arm).threadCount == 3)
        }
    }

    /// A round that draws again what the one before drew tells nothing new; arms are compared by
    /// what both have drawn.
    @Test func workloadsDrawAnewInEachRound() throws {
        let experiment = try ScenarioFile(
            text: text(connections: 6, replicas: 2, threads: 4), file: "f"
        ).experiment
        let lineup = try Lineup(experiment)
        let arms = Array(lineup.topologies.keys)
        let seeds = (0..<3).map { round in
            Set(arms.map { lineup.topology(of: $0, round: round).seed })
        }
        #expect(arms.count > 1)
        #expect(seeds.allSatisfy { $0.count == 1 } && Set(seeds).count == 3)
    }
}
