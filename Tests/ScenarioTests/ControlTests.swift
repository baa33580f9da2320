import Base
import Model
import Scenario
import Testing

/// A mesh with a control plane: what may be said to it, and what cannot be meant.
@Suite struct ControlTests {
    private let controlled = minimal + "mesh: {control: true}\n"

    @Test(
        arguments: [
            ("false", nil), ("true", .init()), ("{}", .init()),
            ("{certificate_life: 10s}", .init(certificateLife: .seconds(10))),
            ("{store: etcd}", .init(store: .etcd)), ("{state: false}", .init(keepsState: false)),
            ("{replicas: 3, store: etcd}", .init(replicas: 3, store: .etcd)),
        ] as [(String, ControlPlan?)])
    func aControlPlaneIsThereOrNot(text: String, plan: ControlPlan?) throws {
        #expect(
            try scenario(minimal + "mesh: {control: \(text)}\n").experiment.mesh.control == plan)
    }

    @Test func byDefaultProxiesJoin() throws {
        #expect(try scenario(minimal).experiment.mesh.control == .init())
        let bare = minimal + "mesh: {dataplane: none}\narms: [direct]\n"
        #expect(try scenario(bare).experiment.mesh.control == nil)
    }

    @Test func policiesAndAuthorizationsAreDeclarationsWithoutTheirKinds() throws {
        let text =
            controlled + """
                policies:
                  - {name: echo, to: [echo], timeout: {request: 2s}, breaker: {connections: 8}}
                authorizations:
                  - name: main
                    action: allow
                    to: [echo]
                    rules: [{identities: ["*/sa/load-main"], methods: [GET]}]

                """
        let experiment = try scenario(text).experiment
        #expect(
            experiment.policies == [
                MeshPolicy(
                    "echo", targets: [MeshName("echo")], timeouts: .init(request: .seconds(2)),
                    breaker: .init(standard: .init(connections: 8)))
            ])
        let authorization = try #require(experiment.authorizations.first)
        #expect(authorization.targets == [MeshName("echo")])
        #expect(authorization.rules[0].methods == ["GET"])
    }

    /// Where replicas are, how they are asked and which requests go where.
    @Test func servicesSayWhereTheyAre() throws {
        let text = """
            name: small
            mesh: {control: true}
            services:
              - {name: echo, replicas: 3, zones: [a, b], weights: [1, 3], health: {http: /}}
              - {name: next}
            load:
              - {name: main, to: echo, rate: 100/s, zone: b}
            arms: [mesh]
            phases:
              - {name: base, for: 1s}
            routes:
              - {name: canary, hosts: [echo], to: [{service: echo, weight: 9}, next]}
            policies:
              - {name: echo, to: [echo], outlier: {}}

            """
        let experiment = try scenario(text).experiment
        let echo = experiment.services[0]
        #expect((0..<3).map(echo.zone) == ["a", "b", "a"])
        #expect((0..<3).map(echo.weight) == [1, 3, 1])
        #expect(experiment.loads[0].zone == "b")
        let state = MeshState(experiment.declarations(in: .mesh))
        #expect(state.services[MeshName("echo")]?.health?.probe == .http(path: "/"))
        #expect(state.routes[MeshName("canary")]?.destinations.map(\.weight) == [9, 1])
        #expect(
            experiment.warnings.contains {
                $0.contains("of the 3 endpoints of 'default/echo' it lets none be ejected")
            })
        #expect(
            errors(text.replacing("to: [{service: echo, weight: 9}, next]", with: "to: [nex]"))
                == ["12:40: unknown service 'nex'; did you mean 'next'?"])
        #expect(
            errors(text.replacing("mesh: {control: true}", with: "mesh: {control: false}")).count
                == 3)
    }

    private let changing = """
        name: small
        mesh: {control: true}
        services:
          - {name: echo, replicas: 2}
        load:
          - {name: main, to: echo, rate: 100/s}
        arms: [mesh]
        phases:
          - {name: warm, for: 1s, measure: false}
          - name: base
            for: 2s
            changes: CHANGES

        """

    private func changes(_ text: String) throws -> [ChangePlan] {
        try scenario(changing.replacing("CHANGES", with: text)).experiment.changes
    }

    @Test func changesAreDueFromTheStartOfTheArm() throws {
        let made = try changes(
            "[{start: control, at: 1s}, {kill: control}, {rotate: authority, at: 1s}, "
                + "{drain: echo/1, at: 1999ms}]")
        #expect(
            made == [
                .init(offset: .seconds(1), action: .killControl(replica: nil)),
                .init(offset: .seconds(2), action: .startControl(replica: nil)),
                .init(offset: .seconds(2), action: .rotateAuthority),
                .init(
                    offset: .milliseconds(2999), action: .drain(service: "echo", replica: 1)),
            ])
    }

    @Test func changesNameReplicas() throws {
        let made = try scenario(
            changing.replacing("control: true", with: "control: {replicas: 2, store: etcd}")
                .replacing(
                    "CHANGES",
                    with: "[{kill: control/1}, {start: control/1}, {undrain: echo/0}]")
        ).experiment.changes
        #expect(
            made.map(\.action) == [
                .killControl(replica: 1), .startControl(replica: 1),
                .undrain(service: "echo", replica: 0),
            ])
        #expect(made.map(\.title) == ["kill control/1", "start control/1", "undrain echo/0"])
        #expect(made.map(\.isPushed) == [false, false, true])
    }

    /// `control` means all that it can: some of them may be down, or run.
    @Test func whatIsLeftOfTheControlPlaneIsKilledAndStarted() {
        let text = changing.replacing("control: true", with: "control: {replicas: 2, store: etcd}")
            .replacing(
                "CHANGES",
                with: "[{kill: control/1}, {kill: control}, {start: control/0}, {start: control}]")
        #expect(errors(text).isEmpty)
    }

    @Test func besideAReplicaStandsAnEnvoyWhereItSaysSo() throws {
        let text = changing.replacing("CHANGES", with: "[]")
        #expect(try scenario(text).experiment.services.map(\.dataplane) == [.reference])
        let envoy = text.replacing("replicas: 2", with: "replicas: 2, dataplane: envoy")
        let file = try scenario(envoy)
        #expect(file.experiment.services.map(\.dataplane) == [.envoy])
        #expect(file.plan.contains("beside an Envoy"))
        #expect(
            errors(envoy.replacing("control: true", with: "control: false")) == [
                "4:42: a control plane tells an Envoy what to serve: mesh: {control: true}"
            ])
        #expect(
            errors(envoy.replacing("control: true", with: "mode: gateway")) == [
                "4:42: with mode: gateway no proxy stands beside a replica"
            ])
        let killed = text.replacing("replicas: 2", with: "replicas: 2, dataplane: envoy")
            .replacing("control: true", with: "control: {replicas: 2, store: etcd}")
            .replacing("changes: []", with: "changes: [{kill: control/1}]")
        #expect(errors(killed).count == 1, "\(errors(killed))")
        #expect(errors(killed)[0].hasPrefix("4:42: an Envoy of several control planes"))
    }

    @Test func nothingIsDrainedThatNoLoadCalls() {
        for verb in ["drain", "undrain"] {
            let text = changing.replacing("control: true", with: "mode: gateway")
                .replacing("CHANGES", with: "[{\(verb): back/0}]")
                .replacing("services:\n", with: "services:\n  - {name: back}\n")
            #expect(
                errors(text).contains {
                    $0.hasSuffix("the gateway sends nothing to 'back': no load does")
                },
                "\(errors(text))")
        }
    }

    @Test(arguments: [("500ms", [1000, 1500, 2000, 2500]), ("1s", [1000, 2000]), ("2s", [1000])])
    func whatComesAgainDoesSoToTheEndOfThePhase(every: String, offsets: [Int64]) throws {
        let made = try changes(
            "[{every: \(every), apply: [{kind: policy, name: a, to: [echo], "
                + "timeout: {request: 1s}}]}]")
        #expect(made.map(\.offset) == offsets.map { .milliseconds($0) })
        #expect(made.allSatisfy { $0.title == "apply policy default/a" && $0.isPushed })
    }

    @Test(arguments: [
        ("[{at: 1s}]", "12:15: one of apply, drain, undrain, kill, start, rotate is needed here"),
        (
            "[{kill: control, start: control}]",
            "12:15: one of apply, drain, undrain, kill, start, rotate is needed here"
        ),
        (
            "[{kill: contrl}]",
            "12:22: control, or a replica of it such as control/0, is needed, not 'contrl'; "
                + "did you mean 'control'?"
        ),
        ("[{kill: control/1}]", "12:22: the control plane has 1 replica, counted from 0"),
        (
            "[{start: control/x}]",
            "12:23: control, or a replica of it such as control/0, is needed, not 'control/x'"
        ),
        (
            "[{kill: control}, {kill: control/0, at: 1s}]",
            "12:39: 'control/0' is down by then: it was killed and not started again"
        ),
        (
            "[{kill: control, every: 1s}]",
            "12:22: 'control' is down by then: it was killed and not started again"
        ),
        (
            "[{start: control/0, at: 1s}]",
            "12:23: 'control/0' runs by then: start is for what was killed"
        ),
        (
            "[{kill: control}, {start: control, at: 500ms, every: 500ms}]",
            "12:40: 'control' runs by then: start is for what was killed"
        ),
        ("[{undrain: echo/2}]", "12:25: 'echo' has 2 replicas, counted from 0"),
        ("[{drain: echo}]", "12:23: a replica such as echo/0 is needed, not 'echo'"),
        ("[{drain: ecco/0}]", "12:23: unknown service 'ecco'; did you mean 'echo'?"),
        ("[{drain: echo/2}]", "12:23: 'echo' has 2 replicas, counted from 0"),
        ("[{kill: control, at: 2s}]", "12:35: the phase is over by then: it lasts 2s"),
        (
            "[{every: 10us, kill: control}]",
            "12:23: '10us' is less than 10ms, the least allowed here"
        ),
        (
            "[{apply: [{kind: policy, name: a, to: [ecco], timeout: {request: 1s}}]}]",
            "12:53: unknown service 'ecco'; did you mean 'echo'?"
        ),
        ("[{apply: [{kind: polcy}]}]", "12:31: unknown word 'polcy'; did you mean 'policy'?"),
    ])
    func changesThatCannotBeMeant(text: String, error: String) {
        #expect(errors(changing.replacing("CHANGES", with: text)) == [error])
    }

    @Test(arguments: [
        (
            "policies: [{name: a, to: [ecco], timeout: {request: 1s}}]",
            "12:27: unknown service 'ecco'; did you mean 'echo'?"
        ),
        (
            "policies: [{name: standard, to: [echo], timeout: {request: 1s}}]",
            "12:12: there is already a policy default/standard"
        ),
        (
            "authorizations: [{name: a, action: allow, to: [echo], rules: [{namespaces: [shop]}]}]",
            "12:77: there is no service of this namespace: it never holds"
        ),
        (
            "arms: [{name: one, hop: {protocol: http1}}]",
            "12:36: proxies that join speak HTTP/2 with each other within mutual TLS: leave this "
                + "out, or write mesh: {control: false}"
        ),
        (
            "arms: [{name: one, hop: {protocol: http2}, mtls: off}]",
            "12:36: proxies that join speak in cleartext what the service does, and 'echo' does "
                + "not speak http2: leave this out, or write mesh: {control: false}"
        ),
        (
            "arms: [{name: one, tls: server}]",
            "12:25: the proxy beside 'main' joins a control plane, and takes its process's "
                + "requests in cleartext: write tls: off, or write mesh: {control: false}"
        ),
    ])
    func whatAControlledMeshCannotMean(line: String, error: String) {
        let found = errors(controlled + line + "\n")
        // The words of the mesh's own checks are held by their tests; here, that they have a place.
        let place = error.split(separator: " ")[0]
        #expect(found.count == 1 && found[0].hasPrefix("\(place) "), "\(found)")
        if !error.contains("never holds") { #expect(found == [error]) }
    }

    @Test(arguments: [
        ("policies: [{name: a, to: [echo], timeout: {request: 1s}}]", "12:12"),
        ("authorizations: [{name: a, action: allow, to: [echo]}]", "12:18"),
    ])
    func withoutAControlPlaneNobodyIsTold(line: String, place: String) {
        let filed = minimal + "mesh: {control: false}\n"
        #expect(
            errors(filed + line + "\n") == [
                "\(place): only a control plane can tell proxies of this: mesh: {control: true}"
            ])
        #expect(
            errors(minimal + "mesh: {mtls: permissive, control: false}\n") == [
                "11:14: permissive is for proxies that join: mesh: {control: true}"
            ])
    }

    /// A proxy that has a file would have two clusters of one name.
    @Test func noServiceThatIsCalledHasTheNameOfAProxysOwn() {
        let services = """
            name: a
            services:
              - {name: front, calls: [local]}
              - {name: local}
            load: [{name: main, to: front, rate: 100/s}]
            phases: [{name: p, for: 1s}]

            """
        #expect(
            errors(services + "mesh: {control: false}\n") == [
                "3:27: without a control plane a proxy calls the process beside it 'local': give "
                    + "the service another name, or write mesh: {control: true}"
            ])
        #expect(errors(services + "mesh: {control: true}\n") == [])
        #expect(errors(services + "mesh: {control: false, mode: gateway}\n") == [])
    }

    @Test(arguments: [
        (
            "{control: true, dataplane: none}\narms: [direct]",
            "11:17: without a mesh (dataplane: none) there is nothing to control"
        ),
        (
            "{control: {certificate_life: 1s}}",
            "11:36: '1s' is less than 5s, the least allowed here"
        ),
        (
            "{control: {replicas: 3}}",
            "11:28: a folder is of one process; several replicas share an etcd: store: etcd"
        ),
        (
            "{control: {replicas: 0}}", "11:28: '0' is less than 1, the least allowed here"
        ),
        ("{control: {store: etc}}", "11:25: unknown word 'etc'; did you mean 'etcd'?"),
        ("{control: maybe}", "11:17: true or false is needed, not 'maybe'"),
    ])
    func meshesThatCannotBeMeant(mesh: String, error: String) {
        #expect(errors(minimal + "mesh: \(mesh)\n") == [error])
    }

    @Test func namesAreThoseOfAMesh() {
        let long = String(repeating: "a", count: 61)
        #expect(errors(controlled.replacing("echo", with: long)).count == 1)
        #expect(errors(controlled.replacing("echo", with: "-echo")).count == 1)
        #expect(
            errors(controlled.replacing("echo", with: "load-main")) == [
                "5:11: in the mesh the load 'main' is called 'load-main', as a service is "
                    + "already; or write mesh: {control: false}"
            ])
    }

    /// What is asked of a hop and is so anyhow is no mistake.
    @Test(arguments: [
        "{name: one, hop: {protocol: http2}}", "{name: one, hop: {protocol: http1}, mtls: off}",
        "{name: one, protocol: http2, hop: {protocol: http2}, mtls: off}",
        "{name: one, protocol: tcp}",
    ])
    func whatJoinedProxiesDoAnyhow(arm: String) {
        #expect(errors(minimal + "arms: [\(arm)]\n") == [])
        #expect(errors(minimal + "mesh: {control: false}\narms: [\(arm)]\n") == [])
    }

    @Test(
        arguments: [
            ("arms: [{name: one, tls: server}]", []),
            (
                "authorizations: [{name: a, action: allow, to: [echo]}]",
                ["12:18: with mode: gateway no proxy stands beside a service, to deny anything"]
            ),
        ] as [(String, [String])])
    func gatewaysThatJoin(line: String, found: [String]) {
        #expect(errors(minimal + "mesh: {mode: gateway}\n" + line + "\n") == found)
    }

    @Test func aGatewayShowsAllTheSame() {
        let text = minimal.replacing(
            "phases:",
            with: "  - {name: other, to: back, rate: 1/s, tls: server}\nphases:"
        ).replacing("  - name: echo\n", with: "  - name: echo\n  - name: back\n")
        #expect(errors(text + "mesh: {mode: gateway, control: false}\n") == [])
        #expect(
            errors(text + "mesh: {mode: gateway}\n") == [
                "9:23: a gateway that joins shows all loads the same: give them the same tls, "
                    + "or write mesh: {control: false}"
            ])
    }

    @Test func configPushIsOfChanges() throws {
        let text = changing.replacing("CHANGES", with: "[{drain: echo/1}]")
        let file = try scenario(text + "expect: [max(config_push) < 1s during base]\n")
        #expect(
            file.experiment.expectations[0].left == .metric(.percentile(1, .configPush)))
        #expect(
            errors(text + "expect: [overhead(max(config_push)) < 1s on mesh]\n").count == 1)
        let still = changing.replacing("CHANGES", with: "[{kill: control}]")
        #expect(
            errors(still + "expect: [max(config_push) < 1s]\n") == [
                "13:10: config_push of what? Nothing is applied or drained then"
            ])
        #expect(
            errors(
                text.replacing("control: true", with: "control: false").replacing(
                    "changes: [{drain: echo/1}]", with: "")
                    + "expect: [max(config_push) < 1s]\n") == [
                    "13:10: config_push is of one arm whose proxies join a control plane"
                ])
    }

    @Test func aPlanShowsChanges() throws {
        let text = changing.replacing(
            "CHANGES", with: "[{kill: control}, {start: control, at: 500ms}]")
        let plan = try scenario(text).plan
        #expect(
            plan.contains(
                """
                changes in each arm with a control plane:
                  at 1s        kill control
                  at 1s 500ms  start control

                """), "\(plan)")
        #expect(plan.contains("they join a control plane\n"), "\(plan)")
    }

    @Test(arguments: [
        ("{store: etcd}", "they join a control plane over an etcd"),
        (
            "{replicas: 3, store: etcd}",
            "they join a control plane of 3 replicas over an etcd"
        ),
    ])
    func aPlanShowsTheControlPlane(control: String, words: String) throws {
        let plan = try scenario(minimal + "mesh: {control: \(control)}\n").plan
        #expect(plan.contains(words), "\(plan)")
    }
}
