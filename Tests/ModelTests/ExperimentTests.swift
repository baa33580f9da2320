import Base
import Model
import Testing

@Suite struct ExperimentTests {
    private func experiment(
        seed: UInt64, arms: [ArmPlan] = [.direct, .mesh], loads: [LoadPlan] = [],
        phases: [PhasePlan] = []
    ) -> Experiment {
        Experiment(
            name: "x", about: "", seed: seed,
            mesh: .init(dataplane: .reference, mode: .sidecar, workers: 1), services: [],
            loads: loads, arms: arms, rounds: .init(min: 1, max: 1), phases: phases,
            expectations: [],
            limits: .init(
                minAchieved: 0.99, maxLagP99: .zero, maxGeneratorCPU: 1, maxMachineCPU: 1,
                maxSteal: 1, minTailSamples: 1))
    }

    @Test func orderFollowsFromTheSeedAlone() {
        let orders = (0..<100).map { experiment(seed: 42).order(ofRound: $0) }
        #expect(orders == (0..<100).map { experiment(seed: 42).order(ofRound: $0) })
        #expect(orders != (0..<100).map { experiment(seed: 43).order(ofRound: $0) })
    }

    @Test func everyRoundRunsEachArmOnce() {
        for round in 0..<100 {
            #expect(Set(experiment(seed: 7).order(ofRound: round).map(\.name)) == [.direct, .mesh])
        }
        #expect(experiment(seed: 7, arms: [.mesh]).order(ofRound: 3) == [.mesh])
    }

    @Test func eachArmIsFirstInOneRoundOfEachPair() {
        for pair in 0..<100 {
            let experiment = experiment(seed: 5)
            let first = experiment.order(ofRound: 2 * pair)
            #expect(experiment.order(ofRound: 2 * pair + 1) == first.reversed())
        }
    }

    /// 1000 fair draws lie within 5 standard deviations (16 each) of 500.
    @Test func whichArmOpensAPairIsDrawn() {
        let first = (0..<1000).filter { experiment(seed: 1).order(ofRound: 2 * $0)[0] == .direct }
        #expect((420...580).contains(first.count))
    }

    @Test func rateOfPhaseStandsInForRateOfLoad() {
        let own = PhasePlan(name: "a", duration: .seconds(2), measure: true, rate: nil)
        let other = PhasePlan(name: "b", duration: .seconds(2), measure: true, rate: 7)
        let loads = [
            load(.constant(10)), load(.ramp(start: 0, end: 100)), load(.steps([10, 20, 60])),
        ]
        let experiment = experiment(seed: 1, loads: loads, phases: [own, other])
        #expect(experiment.plannedRequests(in: own) == 180)
        #expect(experiment.plannedRequests(in: other) == 42)
        #expect(experiment.armDuration == .seconds(4))
        #expect(experiment.duration(rounds: 3) == .seconds(24))
    }

    @Test func closedArrivalsFollowNoPlan() {
        let phase = PhasePlan(name: "a", duration: .seconds(2), measure: true, rate: nil)
        let closed = load(.constant(0), arrivals: .closed)
        #expect(experiment(seed: 1, loads: [closed]).plannedRequests(in: phase) == nil)
    }

    private func load(_ rate: RateShape, arrivals: LoadPlan.Arrivals = .constant) -> LoadPlan {
        LoadPlan(
            name: "l", to: "s", rate: rate, arrivals: arrivals, connections: 1,
            timeout: .seconds(1), request: .init(), requestsPerConnection: 0, threads: 1)
    }
}

@Suite struct ExitCodeTests {
    @Test(arguments: [
        ([ExitCode](), ExitCode.success),
        ([.success, .inconclusive], .inconclusive),
        ([.inconclusive, .baselineMissing], .baselineMissing),
        ([.baselineMissing, .regressed], .regressed),
        ([.regressed, .expectationFailed], .expectationFailed),
        ([.expectationFailed, .invalid], .invalid),
        ([.invalid, .failed], .failed),
        ([.failed, .interrupted], .interrupted),
    ])
    func gravestOfSeveral(codes: [ExitCode], gravest: ExitCode) {
        #expect(ExitCode.gravest(of: codes) == gravest)
        #expect(ExitCode.gravest(of: codes.reversed()) == gravest)
    }
}

@Suite struct TermTests {
    private let p99 = Term.metric(.percentile(0.99, .response))
    private let two = Term.literal(2, .one)

    @Test func unitFollowsFromTheParts() {
        #expect(Term.metric(.overhead(.memory(.proxies))).unit == .bytes)
        #expect(Term.product(two, p99).unit == .time)
        #expect(Term.product(p99, two).unit == .time)
        #expect(Term.quotient(p99, two).unit == .time)
        #expect(Term.quotient(p99, p99).unit == .one)
        #expect(Term.difference(p99, p99).unit == .time)
        #expect(Term.erlangB(servers: two, load: two).unit == .share)
    }

    @Test func metricsStandFromLeftToRight() {
        let term = Term.sum(
            .product(two, p99), .erlangB(servers: two, load: .metric(.achievedRate)))
        #expect(term.metrics == [.percentile(0.99, .response), .achievedRate])
    }
}
