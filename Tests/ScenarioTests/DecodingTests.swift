import Base
import Model
import Scenario
import Testing

/// Values as they arrive in the model.
@Suite struct DecodingTests {
    @Test func defaultsHoldWhereNothingIsSaid() throws {
        let experiment = try scenario(minimal).experiment
        #expect(experiment.seed == 1)
        #expect(
            experiment.mesh
                == .init(
                    dataplane: .reference, mode: .sidecar, workers: 1,
                    hop: .init(speech: .http2, security: .strict), control: .init()))
        #expect(
            experiment.services == [
                .init(name: "echo", replicas: 1, kind: .builtin(AppBehaviour()))
            ])
        #expect(
            experiment.loads == [
                .init(
                    name: "main", to: "echo", rate: .constant(100), arrivals: .constant,
                    connections: 16, timeout: .seconds(3), request: .init(),
                    requestsPerConnection: 0, threads: 1)
            ])
        #expect(experiment.arms == [.direct, .mesh])
        #expect(experiment.rounds == .init(min: 6, max: 12))
        #expect(
            experiment.phases == [
                .init(name: "base", duration: .seconds(2), measure: true, rate: nil)
            ])
        #expect(
            experiment.limits
                == .init(
                    minAchieved: 0.995, maxLagP99: .milliseconds(1), maxGeneratorCPU: 0.8,
                    maxMachineCPU: 0.95, maxSteal: 0.02, minTailSamples: 100))
    }

    @Test func everythingSaidArrives() throws {
        let experiment = try scenario(
            """
            name: all-2
            seed: 18446744073709551615
            mesh: {dataplane: none, mode: gateway, workers: 3}
            services:
              - name: front
                replicas: 2
                respond:
                  size: 2KiB
                  delay: {p99: 5ms, p50: 1ms}
                  burn: 10us
                  status: {503: 0.5%, 404: 1%}
                  chunked: true
                calls: [back]
              - name: back
                command: [serve, --port, "{port}"]
                environment: {LOG_LEVEL: debug}
                files: {a.conf: "listen {port}"}
                ready: {http: /up}
                ready_within: 2s
            load:
              - name: main
                to: front
                protocol: http1
                rate: {steps: [1/s, 2.5/s]}
                arrivals: uniform
                connections: 4
                threads: 2
                timeout: 250ms
                method: POST
                path: /a?b=c
                headers: {Accept: "*/*", x-n: 1}
                body_size: 10B
                requests_per_connection: 7
            arms: [direct]
            rounds: {min: 2, max: 3}
            phases:
              - {name: warm, for: 1s, measure: false}
              - {name: idle, for: 1m, rate: 0/s}
            validity:
              {min_achieved: 90%, max_lag_p99: 2ms, max_generator_cpu: 50%, max_machine_cpu: 60%,
               max_steal: 0%, min_tail_samples: 10}
            """
        ).experiment
        let behaviour = AppBehaviour(
            size: 2048,
            delay: .init(points: [
                .init(quantile: 0.5, delay: .milliseconds(1)),
                .init(quantile: 0.99, delay: .milliseconds(5)),
            ]),
            burn: .microseconds(10),
            statuses: [.init(status: 503, share: 0.005), .init(status: 404, share: 0.01)],
            chunked: true, calls: ["back"])
        let command = CommandPlan(
            arguments: ["serve", "--port", "{port}"], environment: ["LOG_LEVEL": "debug"],
            files: ["a.conf": "listen {port}"], ready: .http(path: "/up"),
            readyWithin: .seconds(2))
        #expect(
            experiment
                == Experiment(
                    name: "all-2", about: "", seed: .max,
                    mesh: .init(
                        dataplane: .none, mode: .gateway, workers: 3,
                        hop: .init(speech: .http2, security: .strict)),
                    services: [
                        .init(name: "front", replicas: 2, kind: .builtin(behaviour)),
                        .init(name: "back", replicas: 1, kind: .command(command)),
                    ],
                    loads: [
                        .init(
                            name: "main", to: "front", rate: .steps([1, 2.5]), arrivals: .uniform,
                            connections: 4, timeout: .milliseconds(250),
                            request: .init(
                                method: "POST", path: "/a?b=c",
                                headers: [
                                    .init(name: "Accept", value: "*/*"),
                                    .init(name: "x-n", value: "1"),
                                ],
                                bodySize: 10),
                            requestsPerConnection: 7, threads: 2)
                    ],
                    arms: [.direct], rounds: .init(min: 2, max: 3),
                    phases: [
                        .init(name: "warm", duration: .seconds(1), measure: false, rate: nil),
                        .init(name: "idle", duration: .seconds(60), measure: true, rate: 0),
                    ],
                    expectations: [],
                    limits: .init(
                        minAchieved: 0.9, maxLagP99: .milliseconds(2), maxGeneratorCPU: 0.5,
                        maxMachineCPU: 0.6, maxSteal: 0, minTailSamples: 10)))
    }

    @Test func aPlainWordIsNeverGuessedToBeAnythingElse() throws {
        // YAML 1.1 reads `no` as false, `1:30` as ninety and `0777` as octal.
        let text = minimal.replacing("name: echo", with: "name: no").replacing(
            "to: echo", with: "to: no")
        #expect(try scenario(text).experiment.services[0].name == "no")
    }

    @Test(arguments: shipped)
    func shippedScenariosAreValidAndWithoutTraps(path: String) throws {
        let file = try ScenarioFile(path: "\(packageRoot)/\(path)")
        #expect(file.experiment.warnings == [])
        #expect("scenarios/\(file.experiment.name).yaml" == path)
    }

    @Test func quickstartFitsIntoAMinute() throws {
        let experiment = try ScenarioFile(path: "\(packageRoot)/scenarios/quickstart.yaml")
            .experiment
        #expect(experiment.duration(rounds: experiment.rounds.max) <= .seconds(45))
    }
}

@Suite struct TrapTests {
    private let quiet = "rounds: {min: 6, max: 6}\n"

    private func warnings(_ text: String) throws -> [String] {
        try scenario(text + quiet).experiment.warnings
    }

    private let warm = minimal.replacing(
        "- name: base", with: "- {name: warm, for: 1s, measure: false}\n  - name: base")

    @Test func aCleanScenarioHasNone() throws { #expect(try warnings(warm) == []) }

    @Test func percentilesNeedSamples() throws {
        #expect(
            try warnings(warm + "expect: [p99(response) < 5ms]\n") == [
                """
                'p99(response) < 5ms' needs 10000 requests to have 100 beyond its percentile; \
                1200 are planned
                """
            ])
        #expect(try warnings(warm + "expect: [p90(response) < 5ms]\n") == [])
    }

    @Test func phasesNeedWarmingUpAndTime() throws {
        #expect(
            try warnings(minimal).map { String($0.prefix(39)) } == [
                "the first phase 'base' is measured: con"
            ])
        #expect(
            try warnings(warm.replacing("for: 2s", with: "for: 500ms")).map {
                String($0.prefix(40))
            } == [
                "the phase 'base' is measured for 500ms: "
            ])
    }

    @Test func armsWithUnlikeTargetsAreWarnedOf() throws {
        let two = warm.replacing("- name: echo", with: "- name: echo\n    replicas: 2")
        #expect(try warnings(two).first?.contains("2 targets on arms that go direct") == true)
        #expect(try warnings(two + "arms: [direct]\n") == [])
    }

    @Test func whatIsUndecidedWarnsUnlessToldOtherwise() throws {
        #expect(try scenario(minimal).experiment.onInconclusive == .warn)
        let strict = try scenario(minimal + "on_inconclusive: fail\n")
        #expect(strict.experiment.onInconclusive == .fail)
    }

    @Test func closedLoopsHideWaiting() throws {
        let closed = warm.replacing("rate: 100/s", with: "arrivals: closed")
        #expect(try warnings(closed + "expect: [p99(service) < 5ms]\n") == [])
        #expect(try warnings(closed + "expect: [p99(response) < 5ms]\n").count == 1)
    }

    @Test func slowAnswersBoundWhatConnectionsCarry() throws {
        let slow = warm.replacing("- name: echo", with: "- name: echo\n    respond: {delay: 200ms}")
        #expect(try warnings(slow).first?.contains("80/s at most") == true)
        #expect(try warnings(slow.replacing("rate: 100/s", with: "rate: 79/s")) == [])
    }
}
