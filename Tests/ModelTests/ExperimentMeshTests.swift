import Base
import Model
import Testing

/// What a control plane is told of a scenario before proxies join.
@Suite struct ExperimentMeshTests {
    private func load(
        _ name: String, to: String, _ speech: LoadPlan.Speech = .http1,
        timeout: Duration = .seconds(3)
    ) -> LoadPlan {
        LoadPlan(
            name: name, to: to, rate: .constant(1), arrivals: .constant, connections: 1,
            timeout: timeout, request: .init(), requestsPerConnection: 0, threads: 1,
            speech: speech)
    }

    private func experiment(
        loads: [LoadPlan], policies: [MeshPolicy] = [], authorizations: [MeshAuthorization] = [],
        arms: [ArmPlan] = [.direct, .mesh],
        hop: HopPlan = HopPlan(speech: .http2, security: .strict),
        control: ControlPlan? = .init()
    ) -> Experiment {
        Experiment(
            name: "x", about: "", seed: 1,
            mesh: .init(
                dataplane: .reference, mode: .sidecar, workers: 1, hop: hop, control: control),
            services: [
                .init(
                    name: "front", replicas: 1,
                    kind: .builtin(AppBehaviour(calls: ["back", "back"]))),
                .init(name: "back", replicas: 2, kind: .builtin(AppBehaviour())),
            ],
            loads: loads, policies: policies, authorizations: authorizations, arms: arms,
            rounds: .init(min: 1, max: 1), phases: [], expectations: [],
            limits: .init(
                minAchieved: 1, maxLagP99: .zero, maxGeneratorCPU: 1, maxMachineCPU: 1, maxSteal: 1,
                minTailSamples: 1))
    }

    private func services(_ experiment: Experiment, _ arm: ArmPlan = .mesh) -> [MeshService] {
        experiment.declarations(in: arm).compactMap {
            if case .service(let service) = $0 { service } else { nil }
        }
    }

    private func policies(_ experiment: Experiment, _ arm: ArmPlan = .mesh) -> [MeshPolicy] {
        experiment.declarations(in: arm).compactMap {
            if case .policy(let policy) = $0 { policy } else { nil }
        }
    }

    @Test func everyServiceAndLoadIsAServiceThatCallsWhatItCalls() {
        let made = services(experiment(loads: [load("main", to: "front")]))
        #expect(
            made == [
                MeshService("front", calls: [MeshName("back")]), MeshService("back", calls: []),
                MeshService("load-main", calls: [MeshName("front")]),
            ])
    }

    @Test(
        arguments: [
            (.http1, .http1), (.websocket, .http1), (.http2, .http2), (.grpc, .http2),
            (.websocketHTTP2, .http2), (.tcp, .tcp),
        ] as [(LoadPlan.Speech, MeshService.Speech)])
    func aServiceSpeaksWhatItsLoadsDo(speech: LoadPlan.Speech, expected: MeshService.Speech) {
        let made = services(experiment(loads: [load("main", to: "front", speech)]))
        #expect(made.map(\.speech) == [expected, .http1, .http1])
    }

    @Test(arguments: HopPlan.Security.allCases)
    func anArmSaysHowItsServicesAreSecured(security: HopPlan.Security) {
        let arm = ArmPlan(name: .init(rawValue: "it"), via: .mesh, hopSecurity: security)
        let made = services(experiment(loads: [load("main", to: "front")], arms: [arm]), arm)
        #expect(Set(made.map(\.mtls.rawValue)) == [security.rawValue])
    }

    /// Who asks a rate limit service is told of it, and it speaks HTTP/2, also where it is a change
    /// that says so.
    @Test(arguments: [true, false])
    func whoIsAskedForLimitsIsCalled(_ isChange: Bool) {
        var policy = MeshPolicy("p", targets: [MeshName("front")])
        policy.inbound.globalRateLimit = GlobalRateLimit(
            cluster: "default/back", domain: "d", descriptors: [.init([.init("a", .text("b"))])])
        var route = MeshRoute("r", destinations: [.init(MeshName("front"))])
        route.globalRateLimit = policy.inbound.globalRateLimit
        for declaration in [MeshDeclaration.policy(policy), .route(route)] {
            var experiment = self.experiment(loads: [load("main", to: "front")])
            switch declaration {
            case _ where isChange:
                experiment.changes = [.init(offset: .zero, action: .apply([declaration]))]
            case .policy(let policy): experiment.policies = [policy]
            case .route(let route): experiment.routes = [route]
            default: break
            }
            let made = services(experiment)
            #expect(made.map(\.speech) == [.http1, .http2, .http1])
            let (front, back) = (MeshName("front"), MeshName("back"))
            let isRoute = if case .route = declaration { true } else { false }
            #expect(made.map(\.calls) == [[back], [], isRoute ? [front, back] : [front]])
        }
    }

    @Test func noProxyGivesUpBeforeTheLoad() {
        let made = policies(
            experiment(loads: [
                load("a", to: "front", timeout: .seconds(3)),
                load("b", to: "front", timeout: .seconds(60)),
            ]))
        #expect(
            made == [
                MeshPolicy(
                    "standard", targets: [MeshName("*", in: "*")],
                    timeouts: .init(request: .seconds(120)))
            ])
    }

    /// Of several policies one holds alone, so each says also what all share.
    @Test func whatAPolicyDoesNotSayIsAsEverywhere() {
        let own = MeshPolicy(
            "front", targets: [MeshName("front")], timeouts: .init(connect: .seconds(1)),
            breaker: .init(standard: .init(pending: 5)))
        let hop = HopPlan(speech: .http2, security: .strict, connections: 4)
        let made = policies(
            experiment(loads: [load("main", to: "front")], policies: [own], hop: hop))
        #expect(made.map(\.name) == ["front", "standard"])
        #expect(made[0].timeouts == .init(connect: .seconds(1), request: .seconds(15)))
        #expect(
            made.map(\.breaker?.standard) == [
                .init(connections: 4, pending: 5), .init(connections: 4),
            ])
    }

    @Test func ofTwoPoliciesForAllTheScenariosHolds() {
        let own = MeshPolicy(
            "mine", targets: [MeshName("*", in: "*")], timeouts: .init(request: .seconds(1)))
        let made = policies(experiment(loads: [load("main", to: "front")], policies: [own]))
        #expect(made == [own])
    }

    @Test func whatIsDeclaredHoldsTogether() {
        let allow = MeshAuthorization(
            "main", .allow, targets: [MeshName("front")],
            rules: [
                .init(identities: [IdentityPattern(rawValue: "*/sa/load-main")].compactMap(\.self))
            ])
        let experiment = experiment(
            loads: [load("main", to: "front")], authorizations: [allow])
        let state = MeshState(experiment.declarations(in: .mesh))
        #expect(state.check() == [])
        #expect(state.count == 5)
    }

    @Test func onlyArmsThroughAMeshWithAControlPlaneAreJoined() {
        let loads = [load("main", to: "front")]
        #expect(experiment(loads: loads).isJoined(.mesh))
        #expect(!experiment(loads: loads).isJoined(.direct))
        #expect(!experiment(loads: loads, control: nil).isJoined(.mesh))
        let off = ArmPlan(name: .init(rawValue: "off"), via: .mesh, hopSecurity: .off)
        let texts = [ArmPlan.direct, .mesh, off].map { experiment(loads: loads).speech(in: $0) }
        #expect(
            texts == [
                "HTTP/1.1", "HTTP/1.1; between proxies HTTP/2, mutual TLS",
                "HTTP/1.1; between proxies the same, cleartext",
            ])
    }
}
