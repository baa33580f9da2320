import Base
import Model
import Scenario
import Testing

/// What goes wrong on purpose: what may be said of it, and what cannot be meant.
@Suite struct FaultTests {
    private let faulted = """
        name: small
        services:
          - {name: front, calls: [echo]}
          - {name: echo, replicas: 4}
        load:
          - {name: main, to: front, rate: 100/s}
          - {name: side, to: echo, rate: 100/s}
        phases:
          - {name: warm, for: 1s, measure: false}
          - {name: hurt, for: 2s, faults: [a]}
          - {name: heal, for: 2s}
        faults:
          a: FAULT

        """

    private func text(_ fault: String) -> String { faulted.replacing("FAULT", with: fault) }

    private func fault(_ text: String) throws -> FaultPlan {
        try #require(try scenario(self.text(text)).experiment.faults.first)
    }

    @Test(
        arguments: [
            (
                "{where: {service: echo, point: server-ingress, hosts: 1}, do: {delay: 100ms}}",
                FaultPlan(
                    "a", .requests(.init(delay: .fixed(.milliseconds(100)))), at: .serverIngress,
                    of: "echo", hosts: .count(1))
            ),
            (
                "{where: {service: echo, point: per-attempt, from: front}, do: {abort: 503}, "
                    + "when: {chance: 50%, first_attempts: 2, after: 500ms, for: 1s}}",
                FaultPlan(
                    "a", .requests(.init(abort: .http(503))), at: .perAttempt, of: "echo",
                    from: "front", chance: 0.5, firstAttempts: 2, after: .milliseconds(500),
                    lasts: .seconds(1))
            ),
            (
                "{where: {service: echo, point: client-egress-before-retry, "
                    + "match: {prefix: /a, methods: [GET], headers: {x-user: bob}}}, "
                    + "do: {abort: {grpc: 14}, response_rate: 64KiB}}",
                FaultPlan(
                    "a", .requests(.init(abort: .grpc(14), responseRate: 65_536)),
                    at: .clientEgress, of: "echo",
                    match: .init(
                        path: .prefix("/a"), methods: ["GET"],
                        headers: [.init(name: "x-user", value: "bob")]))
            ),
            (
                "{where: {service: echo, point: app, hosts: 50%}, do: hang}",
                FaultPlan(
                    "a", .requests(.init(hangs: true)), at: .app, of: "echo", hosts: .share(0.5))
            ),
            (
                "{where: {service: echo, point: app}, do: {capacity: {concurrency: 2, queue: 5}}}",
                FaultPlan(
                    "a", .requests(.init(capacity: .init(concurrency: 2, queue: 5))), at: .app,
                    of: "echo")
            ),
            (
                "{where: {service: echo, point: proxy, hosts: [0, 2]}, do: kill}",
                FaultPlan("a", .kill, at: .proxy, of: "echo", hosts: .numbers([0, 2]))
            ),
            (
                "{where: {service: echo, point: wire, hosts: all}, do: black-hole}",
                FaultPlan("a", .blackHole, at: .wire, of: "echo")
            ),
            (
                "{where: {point: control-plane}, do: stop}",
                FaultPlan("a", .stop, at: .controlPlane)
            ),
        ])
    func aFaultIsRead(text: String, plan: FaultPlan) throws {
        #expect(try fault(text) == plan)
    }

    @Test func aDelayMayBeADistribution() throws {
        let fault = try fault(
            "{where: {service: echo, point: app}, do: {delay: {p50: 10ms, p99: 50ms}}}")
        guard case .requests(let effect) = fault.action else {
            Issue.record("\(fault.action)")
            return
        }
        #expect(effect.delay?.points.count == 2)
    }

    private let slow = "{service: echo, point: server-ingress}"

    @Test(
        arguments: [
            ("{where: {point: app}, do: hang}", "13:3: the key 'service' is missing: whose app"),
            (
                "{where: {service: ecco, point: app}, do: hang}",
                "13:24: unknown service 'ecco'; did you mean 'echo'?"
            ),
            (
                "{where: {service: echo, point: server-ingres}, do: kill}",
                "13:37: unknown word 'server-ingres'; did you mean 'server-ingress'?"
            ),
            (
                "{where: {service: echo, point: app, hosts: 5}, do: hang}",
                "13:49: 'echo' has 4 replicas, counted from 0"
            ),
            (
                "{where: {service: echo, point: app, hosts: [1, 4]}, do: hang}",
                "13:49: 'echo' has 4 replicas, counted from 0"
            ),
            (
                "{where: {service: echo, point: app, hosts: [1, 1]}, do: hang}",
                "13:49: a host stands there twice"
            ),
            (
                "{where: {service: echo, point: app, hosts: 0%}, do: hang}",
                "13:49: all, a number of hosts, a share such as 50%, or a list of numbers, is "
                    + "needed, not '0%'"
            ),
            (
                "{where: {service: echo, point: per-attempt, hosts: 1}, do: {abort: 503}}",
                "13:57: at a caller's proxy no host is chosen yet: leave this out"
            ),
            (
                "{where: {service: echo, point: per-attempt, from: main}, do: {abort: 503}}",
                "13:56: 'main' does not call 'echo' by a proxy"
            ),
            (
                "{where: {service: echo, point: app, from: front}, do: hang}",
                "13:48: who calls is known at the callers' proxies only"
            ),
            (
                "{where: {service: echo, point: proxy}, do: {abort: 503}}",
                "13:49: no request can be told apart at proxy: do: kill, stop"
            ),
            (
                "{where: {service: echo, point: server-ingress}, do: kill}",
                "13:58: 'kill' is of a process, not of requests: point: app, proxy, control-plane"
            ),
            (
                "{where: {service: echo, point: app}, do: refuse}",
                "13:47: 'refuse' is of a process, not of requests: point: wire"
            ),
            (
                "{where: {service: echo, point: server-ingress}, do: hang}",
                "13:58: 'hang' is of the workload: point: app"
            ),
            (
                "{where: {service: echo, point: app}, do: {response_rate: 64KiB}}",
                "13:63: 'response_rate' is of proxies: point: server-ingress"
            ),
            (
                "{where: {service: echo, point: app}, do: {delay: 1s, capacity: {concurrency: 1}}}",
                "13:69: 'capacity' is of a whole process, and stands alone"
            ),
            (
                "{where: {service: echo, point: proxy}, do: kill, when: {chance: 50%}}",
                "13:70: what is done to a whole process meets all of its requests"
            ),
            (
                "{where: {service: echo, point: app}, do: {abort: {}}}",
                "13:55: one of http, grpc is needed here"
            ),
            (
                "{where: {service: echo, point: app}, do: {}}",
                "13:47: nothing is said of what to do"
            ),
            (
                "{where: {service: echo, point: app}, do: {abort: 99}}",
                "13:55: '99' is less than 200, the least allowed here"
            ),
            (
                "{where: {service: echo, point: app}, do: hag}",
                "13:47: unknown word 'hag'; did you mean 'hang'?"
            ),
            (
                "{where: {service: echo, point: app}, do: hang, when: {chance: 0%}}",
                "13:68: with a chance of 0% nothing would be done"
            ),
            (
                "{where: {service: echo, point: client-egress-before-retry}, do: {abort: 503}, "
                    + "when: {first_attempts: 1}}",
                "13:107: before retries there are no attempts: point: per-attempt"
            ),
            (
                "{where: {service: echo, point: app}, do: hang, when: {after: 2s}}",
                "13:67: the phase 'hurt' is over by then: it lasts 2s"
            ),
            (
                "{where: {service: echo, point: app}, do: hang, when: {after: 1s, for: 1500ms}}",
                "13:76: the phase 'hurt' ends before that: it lasts 2s"
            ),
            (
                "{where: {service: echo, point: control-plane}, do: kill}",
                "13:24: the control plane is no service: leave this out"
            ),
            (
                "{where: {point: control-plane, hosts: 2}, do: kill}",
                "13:44: 'the control plane' has 1 replica, counted from 0"
            ),
        ] as [(String, String)])
    func whatCannotBeMeant(fault: String, error: String) {
        #expect(errors(text(fault)) == [error])
    }

    @Test func aFaultIsNamedWhereItIs() {
        let plain = text("{where: \(slow), do: {delay: 1ms}}")
        #expect(
            errors(plain.replacing("faults: [a]", with: "faults: [b]")) == [
                "10:36: unknown fault 'b'"
            ])
        #expect(
            errors(plain.replacing("faults: [a]", with: "faults: [a, a]")) == [
                "10:39: the phase has the fault 'a' already"
            ])
    }

    @Test(arguments: [
        ("mesh: {mode: gateway}", slowError("with mode: gateway no proxy stands beside a replica")),
        (
            "arms: [direct]",
            slowError("no arm goes through the mesh, so none has a proxy")
        ),
        (
            "mesh: {dataplane: none}\narms: [direct]",
            slowError("without a mesh (dataplane: none) there is no proxy")
        ),
    ])
    func aProxyHasToBeThere(line: String, error: String) {
        #expect(errors(text("{where: \(slow), do: {delay: 1ms}}") + line + "\n") == [error])
    }

    private static func slowError(_ words: String) -> String { "13:37: \(words)" }

    @Test func whoeverIsNotOfMeshbenchIsLeftAlone() {
        let kill = text("{where: {service: echo, point: app}, do: kill}")
        #expect(
            errors(kill.replacing("replicas: 4", with: "command: [echod]")) == [
                "13:37: 'echo' is a program of yours: faults are for the built-in workload"
            ])
        let slowed = text("{where: \(slow), do: {delay: 1ms}}")
        #expect(
            errors(slowed.replacing("replicas: 4", with: "replicas: 4, dataplane: envoy")) == [
                "13:37: beside 'echo' stands an Envoy, which meshbench gives no faults"
            ])
        #expect(
            errors(slowed.replacing("to: echo,", with: "to: echo, protocol: tcp,")).contains(
                "13:37: the load 'side' speaks tcp, which has no requests to meet"))
    }

    @Test func nothingIsDoneToWhatIsDown() {
        let two =
            text("{where: {service: echo, point: proxy, hosts: [0, 1]}, do: kill}")
            .replacing("faults: [a]", with: "faults: [a, b]")
        let same = two + "  b: {where: {service: echo, point: wire, hosts: [1]}, do: black-hole}\n"
        #expect(
            errors(same) == [
                "14:3: 'a' has the same process at the time (1s from the start of the arm)"
            ])
        let other = two + "  b: {where: {service: echo, point: wire, hosts: [2]}, do: refuse}\n"
        #expect(errors(other) == [])
        let after =
            two.replacing("faults: [a, b]", with: "faults: [a]")
            .replacing("heal, for: 2s", with: "heal, for: 2s, faults: [b]")
            + "  b: {where: {service: echo, point: proxy, hosts: [1]}, do: stop}\n"
        #expect(errors(after) == [])
    }

    /// What is down does nothing to requests, and does not remember that it should.
    @Test(arguments: [
        ("{service: echo, point: app, hosts: [0]}", "app, hosts: [0]}, do: stop", 1),
        ("{service: echo, point: app, hosts: [0]}", "app, hosts: [1]}, do: stop", 0),
        ("{service: echo, point: app, hosts: [0]}", "proxy, hosts: [0]}, do: kill", 0),
        ("{service: echo, point: server-ingress, hosts: [0]}", "proxy, hosts: [0]}, do: kill", 1),
        ("{service: echo, point: app, hosts: [0]}", "wire, hosts: [0]}, do: black-hole", 1),
        ("{service: echo, point: per-attempt}", "proxy, hosts: [0]}, do: kill", 0),
    ])
    func whatIsDownDoesNothingToRequests(place: String, killed: String, errors count: Int) {
        let two =
            text("{where: \(place), do: {abort: 503}}")
            .replacing("faults: [a]", with: "faults: [a, b]")
            + "  b: {where: {service: echo, point: \(killed)}\n"
        let found = errors(two)
        #expect(found.count == count, "\(found)")
        #expect(found.allSatisfy { $0.contains("has the same process at the time") })
    }

    @Test func changesAndFaultsDoNotBothKillTheControlPlane() {
        let text = text("{where: {point: control-plane}, do: kill}")
            .replacing("heal, for: 2s", with: "heal, for: 2s, changes: [{kill: control}]")
        #expect(
            errors(text) == [
                "13:22: the control plane is killed and started by changes: that, or faults, not "
                    + "both"
            ])
    }

    @Test func hostsAreDrawnFromTheSeed() throws {
        let file = text("{where: {service: echo, point: app, hosts: 2}, do: hang}")
        let experiment = try scenario(file).experiment
        let hosts = experiment.hosts(of: experiment.faults[0])
        #expect(hosts.count == 2 && Set(hosts).isSubset(of: [0, 1, 2, 3]))
        let again = try scenario(file).experiment
        #expect(again.hosts(of: again.faults[0]) == hosts)
        let drawn = Set(
            try (1...20).map { seed in
                let other = try scenario(file + "seed: \(seed)\n").experiment
                return other.hosts(of: other.faults[0])
            })
        #expect(drawn.count > 1, "another seed, other hosts")
        var fault = experiment.faults[0]
        fault.hosts = .share(0.1)
        #expect(experiment.hosts(of: fault).count == 1, "one at least")
        fault.hosts = .share(0.6)
        #expect(experiment.hosts(of: fault).count == 2)
        fault.hosts = .numbers([3, 1])
        #expect(experiment.hosts(of: fault) == [1, 3])
    }

    @Test func aFaultThatGoesOnIsOne() throws {
        let going =
            text("{where: \(slow), do: {delay: 1ms}}")
            .replacing("heal, for: 2s", with: "heal, for: 2s, faults: [a]")
        #expect(
            try scenario(going).experiment.faultSpans == [
                FaultSpan("a", .seconds(1), .seconds(5))
            ])
        let apart = going.replacing(
            "do: {delay: 1ms}", with: "do: {delay: 1ms}, when: {after: 500ms, for: 1s}")
        #expect(
            try scenario(apart).experiment.faultSpans == [
                FaultSpan("a", .milliseconds(1500), .milliseconds(2500)),
                FaultSpan("a", .milliseconds(3500), .milliseconds(4500)),
            ])
    }

    @Test func thePlanShowsWhoIsMetAndWhen() throws {
        let file = text(
            "{where: {service: echo, point: server-ingress, hosts: [1]}, do: {delay: 100ms, "
                + "abort: 503}, when: {chance: 50%, for: 1s}}")
        #expect(
            try scenario(file).plan.contains(
                """
                faults, from the start of each arm:
                  a  1s to 2s  delay 100ms, abort 503  50% of requests  server-ingress: echo/1  \
                on mesh

                """))
    }

    @Test func aFaultInNoPhaseIsWarnedOf() throws {
        let idle = text("{where: \(slow), do: {delay: 1ms}}").replacing(
            ", faults: [a]", with: "")
        #expect(
            try scenario(idle).experiment.warnings.contains(
                "the fault 'a' is in no phase, so it will not be"))
    }

    /// On the wrong side of retries a fault tests nothing of them.
    @Test(
        arguments: [
            ("client-egress-before-retry", "abort: 503", true, "before they meet the retries of"),
            ("client-egress-before-retry", "abort: 503", false, nil),
            ("client-egress-before-retry", "delay: 1ms", true, nil),
            ("per-attempt", "abort: 503", false, "requests to 'echo' are sent once"),
            ("per-attempt", "abort: 503", true, nil), ("server-ingress", "abort: 503", true, nil),
        ] as [(String, String, Bool, String?)])
    func aFaultOnTheWrongSideOfRetriesIsWarnedOf(
        point: String, action: String, isRetried: Bool, warning: String?
    ) throws {
        let policies = """
            policies:
              - {name: echo, to: [echo], retry: {on: [5xx], max: 2}}

            """
        let file =
            text("{where: {service: echo, point: \(point)}, do: {\(action)}}")
            + (isRetried ? policies : "")
        let warnings = try scenario(file).experiment.warnings.filter {
            $0.hasPrefix("the fault 'a'")
        }
        #expect(warnings.count == (warning == nil ? 0 : 1))
        if let warning { #expect(warnings.first?.contains(warning) == true, "\(warnings)") }
    }

    /// A process would refuse it only when the phase begins.
    @Test func aMatchIsWhatProcessesTake() {
        let fields = (0...FaultRule.mostConditions).map { "x-\($0): a" }.joined(separator: ", ")
        let target = "{service: echo, point: server-ingress, match: {headers: {\(fields)}}}"
        #expect(
            errors(text("{where: \(target), do: {delay: 1ms}}")).map {
                $0.split(separator: " ", maxSplits: 1).last
            } == ["16 methods and headers at most"])
    }
}
