import Base
import Model
import Posix
import Stats

@testable import Rig

/// Samples and experiments made by hand: everything is right with them until a test changes it.
enum Made {
    static let limits = ValidityLimits(
        minAchieved: 0.99, maxLagP99: .milliseconds(1), maxGeneratorCPU: 0.8, maxMachineCPU: 0.9,
        maxSteal: 0.02, minTailSamples: 10)

    static func service(
        _ name: String, replicas: Int = 1, calls: [String] = []
    ) -> ServicePlan {
        ServicePlan(name: name, replicas: replicas, kind: .builtin(AppBehaviour(calls: calls)))
    }

    static func load(_ name: String = "main", to: String = "echo") -> LoadPlan {
        LoadPlan(
            name: name, to: to, rate: .constant(1000), arrivals: .poisson, connections: 16,
            timeout: .seconds(3), request: RequestPlan(), requestsPerConnection: 0, threads: 1)
    }

    static func experiment(
        mode: MeshPlan.Mode = .sidecar, services: [ServicePlan] = [service("echo")],
        loads: [LoadPlan] = [load()], arms: [ArmPlan] = [.direct, .mesh],
        rounds: RoundsPlan = RoundsPlan(min: 2, max: 4), phases: [PhasePlan]? = nil,
        expectations: [Expectation] = []
    ) -> Experiment {
        Experiment(
            name: "made", about: "", seed: 42,
            mesh: MeshPlan(dataplane: .reference, mode: mode, workers: 2), services: services,
            loads: loads, arms: arms, rounds: rounds,
            phases: phases ?? [
                PhasePlan(name: "warm", duration: .seconds(1), measure: false, rate: nil),
                PhasePlan(name: "base", duration: .seconds(10), measure: true, rate: nil),
            ], expectations: expectations, limits: limits)
    }

    /// 10 s at 1000/s; every answer takes `latency`, every 50th ten times as long.
    static func sample(
        round: Int = 0, arm: ArmName = .mesh, phase: String = "base",
        latency: Duration = .milliseconds(2), errors: UInt64 = 0,
        cpu: [ProcessGroup: Duration] = [.proxies: .milliseconds(500), .apps: .milliseconds(200)]
    ) -> Sample {
        var tally = Tally()
        tally.planned = 10_000
        tally.sent = 10_000
        tally.completed = 10_000
        tally.outcomes = ["ok": 10_000 - errors, "error": errors]
        tally.statuses = ["200": 10_000 - errors, "503": errors]
        let value = UInt64(latency.nanoseconds)
        tally.response.record(value, count: 9_800)
        tally.response.record(value * 10, count: 200)
        tally.service = tally.response
        tally.lag.record(20_000, count: 10_000)
        return Sample(
            round: round, position: 0, arm: arm, phase: phase, tally: tally,
            processes: cpu.sorted { $0.key.rawValue < $1.key.rawValue }.map { group, time in
                var memory = MemoryUse()
                memory.proportional = 8 << 20
                return ProcessSample(
                    name: "some \(group.rawValue)", group: group,
                    usage: window(time), memory: memory)
            },
            machine: .init(busy: 0.3, stolen: 0, softInterrupts: 0.01), span: .seconds(10),
            window: .seconds(10), loads: [load(sample: "main")], clockStepped: false,
            lostWorkers: [], scheduleHash: "5eed")
    }

    /// All of 10 000 requests were sent, in time, by a generator that had time to spare.
    static func load(sample name: String) -> LoadSample {
        LoadSample(
            name: name, isOpen: true, planned: 10_000, sent: 10_000, lagP99: .microseconds(20),
            busy: 0.2)
    }

    /// A phase in which nothing is asked.
    static func idle(round: Int = 0, arm: ArmName = .mesh, phase: String = "idle") -> Sample {
        var sample = sample(round: round, arm: arm, phase: phase)
        sample.tally = Tally()
        sample.loads = [
            LoadSample(name: "main", isOpen: true, planned: 0, sent: 0, lagP99: nil, busy: 0)
        ]
        return sample
    }

    static func window(_ cpu: Duration) -> Usage.Window {
        var end = Usage()
        end.cpu = cpu
        end.userTicks = 3
        end.systemTicks = 1
        return Usage.window(from: Usage(), to: end)
    }

    static func record(_ sample: Sample) -> ArmRecord {
        ArmRecord(
            round: sample.round, position: sample.position, arm: sample.arm, samples: [sample],
            seconds: [])
    }
}
