import Base
import Model
import Scenario
import Testing

/// `control:` of a scenario.
@Suite struct NegativeControlTests {
    private static let base = """
        name: small
        services:
          - name: echo
        load:
          - {name: main, to: echo, rate: 100/s}
        policies:
          - {name: cut, to: [echo], timeout: {request: 1s}, breaker: {connections: 1, pending: 0}}
        arms: [mesh]
        phases:
          - {name: warm, for: 1s, measure: false}
          - {name: base, for: 2s}
        expect:
          - refused: share(flag = UO) > 5%
          - share(outcome = ok) > 10%
          - late: p50(response) < 1s

        """

    private func control(_ text: String) throws -> [NegativeControl] {
        try scenario(Self.base + "control: \(text)\n").experiment.controls
    }

    @Test func takesAwayWhatItNames() throws {
        let control = try #require(
            try control("{without: [policies.cut.breaker], fails: [refused]}").first)
        #expect(control.arm.name.rawValue == "control")
        #expect(control.arm.via == .mesh)
        #expect(control.of == .mesh)
        #expect(control.mustFail == [0])
        #expect(control.changes == ["without policies.cut.breaker"])
        let policy = try #require(control.experiment.policies.first)
        #expect(policy.breaker == nil)
        #expect(policy.timeouts.request == .seconds(1))
        #expect(control.experiment.controls.isEmpty)
    }

    @Test(arguments: ["policies[0].breaker.pending", "policies.0.breaker.pending"])
    func replacesWhatItNames(path: String) throws {
        let text = "{name: wide, set: {'\(path)': 500, policies.cut.timeout.request: 9s}}"
        let control = try #require(try control(text).first)
        #expect(control.arm.name.rawValue == "wide")
        #expect(control.mustFail == [0, 2], "all that have a name")
        #expect(control.experiment.policies[0].breaker?.standard.pending == 500)
        #expect(control.experiment.policies[0].timeouts.request == .seconds(9))
        #expect(control.changes.first == "with \(path) = 500")
    }

    /// Numbers are those of the scenario, in whatever order they are taken away.
    @Test(arguments: [["0", "1"], ["1", "0"], ["cut", "1.breaker", "1"], ["1", "cut"]])
    func takesAwayAllThatItNames(steps: [String]) throws {
        let more = """
            policies:
              - {name: cut, to: [echo]}
              - {name: second, to: [more], breaker: {requests: 5}}
              - {name: third, to: [most]}

            """
        let paths = steps.map { "policies.\($0)" }.joined(separator: ", ")
        let text = Self.base.replacing(
            "policies:\n  - {name: cut, to: [echo], timeout: {request: 1s}, "
                + "breaker: {connections: 1, pending: 0}}\n", with: more
        ).replacing("  - name: echo\n", with: "  - name: echo\n  - name: more\n  - name: most\n")
        let control = try scenario(text + "control: {without: [\(paths)], fails: [refused]}\n")
            .experiment.controls.first
        #expect(control?.experiment.policies.map(\.name) == ["third"])
    }

    @Test func thereMayBeSeveral() throws {
        let controls = try control(
            "[{without: [policies.cut], fails: [refused]}, "
                + "{set: {mesh.workers: 2}, fails: [late]}]")
        #expect(controls.map(\.arm.name.rawValue) == ["control", "control-2"])
        #expect(controls[0].experiment.policies.isEmpty)
        #expect(controls[1].experiment.mesh.workers == 2)
    }

    @Test func aRoundRunsThemBehindTheArms() throws {
        let file = try scenario(
            Self.base + "control: {without: [policies.cut], fails: [refused]}\n",
            ["arms=[direct, mesh]"])
        let experiment = file.experiment
        for round in 0..<6 {
            let names = experiment.turns(ofRound: round).map(\.name.rawValue)
            #expect(names.last == "control")
            #expect(names.dropLast() == experiment.order(ofRound: round).map(\.name.rawValue)[...])
        }
        #expect(experiment.duration(rounds: 2) == .seconds(3 * 2 * 3))
        #expect(file.plan.contains("control  mesh without policies.cut  must fail refused"))
    }

    /// What was run is told whole, and gives the same again.
    @Test func theScenarioAsRunHasIt() throws {
        let text = Self.base + "control: {without: [policies.cut], fails: [refused]}\n"
        let first = try scenario(text)
        #expect(try scenario(first.resolved).experiment == first.experiment)
    }

    @Test(
        arguments: [
            ("{fails: [refused]}", "nothing is different: 'without' or 'set' is missing"),
            (
                "{without: [policies.cut.retries], fails: [refused]}",
                "'policies.cut.retries': there is no 'retries' to take away"
            ),
            (
                "{without: [policies.cat], fails: [refused]}",
                "'policies.cat': there is no 'cat' to take away; did you mean 'cut'?"
            ),
            (
                "{without: [policies.cut], fails: [refuse]}",
                "there is no expectation named 'refuse'; did you mean 'refused'?"
            ),
            (
                "{without: [policies.cut], on: mash}",
                "unknown arm 'mash'; did you mean 'mesh'?"
            ),
            (
                "{set: {load.main.rate: 50/s}}",
                "a control is offered the same requests: it cannot change load, arms, rounds, "
                    + "seed, or the times and rates of phases"
            ),
            (
                "{set: {seed: 2}}",
                "a control is offered the same requests: it cannot change load, arms, rounds, "
                    + "seed, or the times and rates of phases"
            ),
            (
                "{set: {mesh.workers: 0}}",
                "with this control: '0' is less than 1, the least allowed here"
            ),
            ("{name: mesh, without: [policies.cut]}", "there is already an arm 'mesh'"),
            (
                "{without: [policies.cut, 'policies[0]']}",
                "'policies[0]' is taken away twice"
            ),
            (
                "[{name: a, set: {mesh.workers: 2}}, {name: a, set: {mesh.workers: 3}}]",
                "there is already a control 'a', on line 16"
            ),
            ("{withuot: [policies.cut]}", "unknown key 'withuot'; did you mean 'without'?"),
        ] as [(String, String)])
    func wrongControls(text: String, error: String) throws {
        let found = errors(Self.base + "control: \(text)\n")
        #expect(found.count == 1, "\(found)")
        let message = try #require(found.first)
        #expect(message.hasSuffix(": " + error), "\(message)")
        #expect(message.hasPrefix("16:"), "\(message)")
    }

    @Test func anExpectationOfAnotherArmIsNone() {
        let text = Self.base.replacing(
            "- late: p50(response) < 1s", with: "- late: p50(response) < 1s on direct"
        ).replacing("arms: [mesh]", with: "arms: [direct, mesh]")
        let found = errors(text + "control: {without: [policies.cut], fails: [late]}\n")
        #expect(found.map { $0.drop { $0 != " " } } == [" 'late' is of another arm than 'mesh'"])
        let all = errors(text + "control: {without: [policies.cut]}\n")
        #expect(all.isEmpty, "\(all)")
    }

    @Test func namesOfExpectationsDiffer() {
        let text = Self.base.replacing("late:", with: "refused:")
        #expect(errors(text).count == 1)
        #expect(errors(Self.base.replacing("late:", with: "LATE:")).count == 1)
    }

    @Test func withoutANameNothingCanBeMeant() throws {
        let text = Self.base.replacing("refused: ", with: "").replacing("late: ", with: "")
        let found = errors(text + "control: {without: [policies.cut]}\n")
        #expect(found.first?.contains("what must fail?") == true)
    }
}

/// `mesh.time_scale`.
@Suite struct TimeScaleTests {
    @Test func scalesChecksAndChangesTogether() throws {
        var policy = OutlierPolicy()
        policy.jitter = .seconds(1)
        let scaled = policy.scaled(by: 0.1)
        #expect(scaled.interval == .seconds(1))
        #expect(scaled.baseEjection == .seconds(3))
        #expect(scaled.mostEjection == .seconds(30))
        #expect(scaled.jitter == .milliseconds(100))
        #expect(AccrualPolicy().scaled(by: 0.5).leastWait == .milliseconds(500))
        #expect(AccrualPolicy().scaled(by: 0.5).mostWait == .seconds(30))
        let accrual = AccrualPolicy(successRate: .init())
        let whole = MeshPolicy("p", targets: [MeshName("s")], accrual: accrual).scaled(by: 0.1)
        #expect(whole.accrual?.leastWait == .milliseconds(100))
        #expect(whole.accrual?.successRate?.window == .seconds(1))
        #expect(AdmissionPolicy().scaled(by: 0.1).window == .seconds(3))
        #expect(BalancePolicy(slowStart: .seconds(60)).scaled(by: 0.1).slowStart == .seconds(6))
        #expect(BalancePolicy().scaled(by: 0.1).slowStart == .zero, "what is off stays off")
        let retry = RetryPolicy(on: [.serverError], perTry: .seconds(1), budget: .rateStandard)
        #expect(
            retry.scaled(by: 0.1).budget
                == .rate(percent: 20, window: .seconds(1), leastPerSecond: 10))
        #expect(retry.scaled(by: 0.1).perTry == .seconds(1), "a request's own")
        #expect(MeshHealthCheck().scaled(by: 0.1).interval == .seconds(1))
    }

    /// What is declared of an arm is scaled, whatever declares it.
    @Test func scalesWhatPoliciesAndRoutesDeclare() throws {
        let rules = """
            mesh: {time_scale: 0.1}
            policies:
              - {name: eject, to: [echo], outlier: {consecutive_5xx: 5}, timeout: {request: 9s}}
            routes:
              - {name: again, hosts: [echo], to: [echo], retry: {on: [5xx], budget: {per: 20s}}}

            """
        let experiment = try scenario(minimal + rules).experiment
        let declared = experiment.declarations(in: .mesh)
        let policy = declared.compactMap { declaration -> MeshPolicy? in
            if case .policy(let policy) = declaration { policy } else { nil }
        }.first { $0.name == "eject" }
        #expect(policy?.outlier?.baseEjection == .seconds(3))
        #expect(policy?.outlier?.interval == .seconds(1))
        #expect(policy?.timeouts.request == .seconds(9), "a request's own")
        let budgets = declared.compactMap { declaration -> RetryPolicy.Budget? in
            if case .route(let route) = declaration { route.retry?.budget } else { nil }
        }
        #expect(budgets == [.rate(percent: 20, window: .seconds(2), leastPerSecond: 10)])
        #expect(experiment.policies.first?.outlier?.baseEjection == .seconds(30), "as it is said")
    }

    /// What would be refused as too short would end the run before it began.
    @Test func nothingBecomesShorterThanItMayBe() {
        var policy = OutlierPolicy()
        policy.interval = .milliseconds(20)
        #expect(policy.scaled(by: 0.01).interval == TrafficLimits.span.lowerBound)
        var check = MeshHealthCheck()
        check.interval = .milliseconds(100)
        check.timeout = .milliseconds(50)
        #expect(check.scaled(by: 0.01).interval == MeshLimits.healthInterval.lowerBound)
        #expect(check.scaled(by: 0.01).timeout == MeshLimits.positiveTimeout.lowerBound)
    }

    @Test func isSaidInThePlan() throws {
        let file = try scenario(minimal + "mesh: {time_scale: 0.1}\n")
        #expect(file.experiment.mesh.timeScale == 0.1)
        #expect(file.plan.contains("0.1 of what its policies say"))
        #expect(try !scenario(minimal).plan.contains("of what its policies say"))
    }

    @Test(
        arguments: [
            ("time_scale: 0", "'0' is less than 0.01, the least allowed here"),
            ("time_scale: 2", "'2' is more than 1, the most allowed here"),
            ("time_scale: 10%", "a number is needed, not '10%'"),
            ("time_scale: -1", "a number is needed, not '-1'"),
            (
                "control: false, time_scale: 0.5",
                "only declarations have times to scale: mesh: {control: true}"
            ),
        ])
    func wrongScales(text: String, error: String) {
        let found = errors(minimal + "mesh: {\(text)}\n")
        #expect(found.count == 1 && found.first?.hasSuffix(": " + error) == true, "\(found)")
    }
}
