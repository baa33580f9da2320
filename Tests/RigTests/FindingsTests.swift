import Base
import Model
import Report
import Stats
import Testing

@testable import Rig

@Suite struct FindingsTests {
    private func findings(
        phases: [PhasePlan]? = nil, _ samples: [Sample]
    ) -> Findings {
        Findings(Made.experiment(phases: phases), samples.map(Made.record), warnings: [])
    }

    private func pair(_ round: Int, phase: String = "base") -> [Sample] {
        [
            Made.sample(
                round: round, arm: .direct, phase: phase, latency: .milliseconds(1),
                cpu: [.apps: .milliseconds(200), .load: .milliseconds(900)]),
            Made.sample(
                round: round, arm: .mesh, phase: phase, latency: .milliseconds(2),
                cpu: [
                    .apps: .milliseconds(200), .proxies: .milliseconds(500),
                    .load: .milliseconds(100),
                ]),
        ]
    }

    @Test func phasesArePooledOverRounds() throws {
        let found = findings(pair(0) + pair(1))
        let mesh = try #require(found.phases.first { $0.arm == .mesh })
        #expect(mesh.planned == 20_000)
        #expect(mesh.response.count == 20_000)
        #expect(mesh.achievedPerSecond == 1000)
        #expect(mesh.measuredSeconds == 20)
        let proxies = try #require(mesh.processes.first { $0.group == .proxies })
        #expect(proxies.userNs == 750_000_000)
        #expect(proxies.systemNs == 250_000_000)
        #expect(proxies.windowNs == 20_000_000_000)
        #expect(proxies.proportionalBytes == 8 << 20, "memory is not added up over rounds")
        #expect(proxies.cpuPer1000rpsCores?.value == 0.05)
    }

    @Test func aLadderHasStepsAndAPairHasNone() throws {
        let plans = ["one", "two", "three"].map {
            ArmPlan(name: ArmName(rawValue: $0), via: .mesh)
        }
        let records = (0..<6).flatMap { round in
            zip(plans, [1, 2, 4]).map { plan, latency in
                ArmRecord(
                    round: round, position: 0, arm: plan.name,
                    samples: [
                        Made.sample(round: round, arm: plan.name, latency: .milliseconds(latency))
                    ], seconds: [])
            }
        }
        let found = Findings(Made.experiment(arms: plans), records, warnings: [])
        func shown(_ list: [RunResult.Overhead]) -> [String] {
            list.filter { $0.metric == "response p50" }.map {
                "\($0.arm.rawValue) less \($0.baseline.rawValue): "
                    + "\(($0.difference.value / 1e6).rounded())"
            }
        }
        #expect(shown(found.overheads) == ["two less one: 1.0", "three less one: 3.0"])
        #expect(shown(found.steps) == ["two less one: 1.0", "three less two: 2.0"])
        let step = try #require(found.steps.first)
        // All rounds are alike: the interval is as narrow as a bucket.
        #expect(step.difference.low == step.difference.high && step.difference.confidence == 0.95)
        #expect(Set(found.steps.map(\.metric)).isSuperset(of: ["service p99", "memory"]))
        let pair = Findings(
            Made.experiment(arms: Array(plans.prefix(2))),
            records.filter { $0.arm != plans[2].name }, warnings: [])
        #expect(pair.steps.isEmpty && !pair.overheads.isEmpty)
    }

    @Test func overheadsLeaveTheGeneratorOut() throws {
        let found = findings(pair(0) + pair(1))
        let names = found.overheads.map(\.metric)
        #expect(
            names == [
                "response p50", "response p90", "response p99", "response p99.9", "response mean",
                "cpu per 1000 rps", "memory",
            ])
        let cpu = try #require(found.overheads.first { $0.metric == "cpu per 1000 rps" })
        #expect(abs(cpu.difference.value - 0.05) < 1e-12)
        #expect(cpu.rounds == 2)
        let p50 = try #require(found.overheads.first { $0.metric == "response p50" })
        #expect(abs(p50.difference.value - 1e6) < 2e3)
        #expect(p50.difference.low != nil)
    }

    @Test func aFitNeedsThreeRates() throws {
        func plan(_ rates: [Double]) -> [PhasePlan] {
            rates.map {
                PhasePlan(name: "at-\(Int($0))", duration: .seconds(10), measure: true, rate: $0)
            }
        }
        func samples(_ rates: [Double]) -> [Sample] {
            (0..<2).flatMap { round in
                rates.flatMap { rate in
                    [ArmName.direct, .mesh].map { arm in
                        // 5 ms a second idle and 50 µs a request.
                        let cpu = Duration.fractionalSeconds(10 * (0.005 + rate * 50e-6))
                        var sample = Made.sample(
                            round: round, arm: arm, phase: "at-\(Int(rate))", cpu: [.proxies: cpu])
                        sample.tally.completed = UInt64(rate * 10)
                        return sample
                    }
                }
            }
        }
        #expect(findings(phases: plan([500, 1000]), samples([500, 1000])).fits.isEmpty)
        let rates = [500.0, 1000, 2000]
        let fits = findings(phases: plan(rates), samples(rates)).fits
        let fit = try #require(fits.first { $0.arm == .mesh })
        #expect(abs(fit.idleCores.value - 0.005) < 1e-9)
        #expect(abs(fit.marginalPer1000rpsCores.value - 0.05) < 1e-9)
        #expect(fit.points.count == 6)
    }

    @Test func anIdlePhaseHasNoCostForEachRequest() throws {
        let phases = [PhasePlan(name: "idle", duration: .seconds(10), measure: true, rate: 0)]
        let samples = (0..<2).flatMap { round in
            [ArmName.direct, .mesh].map { Made.idle(round: round, arm: $0) }
        }
        let found = findings(phases: phases, samples)
        #expect(found.trust.validity.valid)
        let processes = found.phases.flatMap(\.processes)
        #expect(!processes.isEmpty && processes.allSatisfy { $0.cpuPer1000rpsCores == nil })
        #expect(found.overheads.map(\.metric) == ["memory"])
        #expect(found.rounds.map(\.round) == [1, 1, 2, 2], "counted from 1")
    }

    @Test func aTimelineEndsWithItsLastPhase() throws {
        var record = Made.record(Made.sample())
        // 11 s of phases; the answers of the twelfth second come after their end.
        record.seconds = (0..<12).map {
            .init(
                phase: "base", offset: Double($0), planned: $0 < 11 ? 1000 : 0,
                completed: $0 < 11 ? 1000 : 7, errors: 0, response: Histogram())
        }
        let found = Findings(Made.experiment(arms: [.mesh]), [record], warnings: [])
        let points = try #require(found.timelines.first).points
        #expect(points.count == 11)
        #expect(points.allSatisfy { $0.achievedPerSecond == 1000 })
    }

    @Test func changesAreOfTheirRounds() throws {
        var record = Made.record(Made.sample())
        #expect(Findings(Made.experiment(arms: [.mesh]), [record], warnings: []).changes == nil)
        record.changes = [
            .init(arm: .mesh, round: 1, what: "kill control", dueSeconds: 1, done: true)
        ]
        var next = record
        next.changes[0].round = 2
        let found = Findings(Made.experiment(arms: [.mesh]), [record, next], warnings: [])
        #expect(found.changes == record.changes + next.changes)
    }

    @Test func theLastSecondMayBeShort() throws {
        var record = Made.record(Made.sample(phase: "base"))
        record.seconds = [
            .init(
                phase: "base", offset: 0, planned: 100, completed: 100, errors: 0,
                response: Histogram()),
            .init(
                phase: "base", offset: 1, planned: 25, completed: 25, errors: 5,
                response: Histogram()),
        ]
        let phases = [
            PhasePlan(name: "base", duration: .milliseconds(1250), measure: true, rate: nil)
        ]
        let found = Findings(
            Made.experiment(arms: [.mesh], phases: phases), [record], warnings: [])
        let points = try #require(found.timelines.first).points
        #expect(points.map(\.achievedPerSecond) == [100, 100])
        #expect(points.map(\.errorsPerSecond) == [0, 20])
    }

    @Test func sameSamplesSameResult() {
        let a = findings(pair(0) + pair(1) + pair(2))
        let b = findings(pair(0) + pair(1) + pair(2))
        #expect(a.overheads == b.overheads)
        #expect(a.phases == b.phases)
    }
}

@Suite struct TimelineTests {
    private let phases = [
        PhasePlan(name: "warm", duration: .seconds(1), measure: false, rate: nil),
        PhasePlan(name: "base", duration: .seconds(2), measure: true, rate: nil),
        PhasePlan(name: "rest", duration: .seconds(1), measure: false, rate: nil),
        PhasePlan(name: "idle", duration: .seconds(1), measure: false, rate: nil),
    ]

    @Test func boundariesFollowTheStartOrder() {
        let timeline = Timeline(phases, from: Instant(nanoseconds: 5_000_000_000))
        #expect(
            timeline.boundaries.map(\.nanoseconds) == [5, 6, 8, 9, 10].map { $0 * 1_000_000_000 })
        #expect(timeline.isRead == [false, true, true, false, false])
        #expect(timeline.end == Instant(nanoseconds: 10_000_000_000))
    }

    @Test(arguments: [(0, 0), (5, 0), (6, 1), (7, 1), (8, 2), (9, 3), (10, 3), (99, 3)])
    func phaseAtAnInstant(second: Int64, phase: Int) {
        let timeline = Timeline(phases, from: Instant(nanoseconds: 5_000_000_000))
        #expect(timeline.phase(at: Instant(nanoseconds: second * 1_000_000_000)) == phase)
    }
}
