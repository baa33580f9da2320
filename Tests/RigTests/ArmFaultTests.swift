import Base
import Model
import Testing

@testable import Rig

/// Which processes of an arm a fault is about.
@Suite struct ArmFaultTests {
    private func topology(
        _ fault: FaultPlan, on arm: ArmPlan = .mesh, mode: MeshPlan.Mode = .sidecar,
        control: ControlPlan? = ControlPlan()
    ) throws -> Topology {
        var experiment = Made.experiment(
            mode: mode,
            services: [
                Made.service("front", replicas: 2, calls: ["back"]),
                Made.service("back", replicas: 3),
            ], loads: [Made.load(to: "front"), Made.load("side", to: "back")])
        experiment.mesh.control = control
        experiment.faults = [fault]
        experiment.phases[1].faults = [fault.name]
        return try Topology(arm, of: experiment)
    }

    private let abort = FaultPlan.Action.requests(.init(abort: .http(503)))

    @Test func callersProxiesActForTheServiceThatIsCalled() throws {
        let all = FaultPlan("a", abort, at: .perAttempt, of: "back")
        let topology = try topology(all)
        #expect(
            topology.faults.map(\.processes) == [
                ["client-proxy side", "server-proxy front/0", "server-proxy front/1"]
            ])
        let rule = topology.faults[0].rule(seed: 42, isJoined: true)
        #expect(rule?.cluster == MeshName("back").text && rule?.point == .perAttempt)
        #expect(topology.faults[0].rule(seed: 42, isJoined: false)?.cluster == "back")
        #expect(
            topology.nodes.filter(\.isInjected).map(\.name)
                == topology.faults[0].processes.sorted {
                    $0.contains("server") && !$1.contains("server")
                })
        let one = FaultPlan("a", abort, at: .perAttempt, of: "back", from: "front")
        #expect(try self.topology(one).faults[0].processes.count == 2)
        #expect(
            try self.topology(all, mode: .gateway).faults[0].processes == ["gateway"])
        #expect(try self.topology(all, on: .direct).faults == [])
    }

    @Test(arguments: [
        (FaultPlan.Point.serverIngress, "server-proxy back/1"), (.proxy, "server-proxy back/1"),
        (.app, "back/1"), (.wire, "server-proxy back/1"),
    ])
    func hostsAreMet(point: FaultPlan.Point, process: String) throws {
        let fault = FaultPlan(
            "a", point == .proxy ? .kill : point == .wire ? .refuse : abort, at: point, of: "back",
            hosts: .numbers([1]))
        #expect(try topology(fault).faults[0].processes == [process])
    }

    /// By the same proxy the service calls others.
    @Test(arguments: [true, false])
    func onlyRequestsThatComeToTheHostAreMeant(isJoined: Bool) throws {
        let fault = FaultPlan("a", abort, at: .serverIngress, of: "front")
        let topology = try topology(fault, control: isJoined ? ControlPlan() : nil)
        let rule = topology.faults[0].rule(seed: 42, isJoined: isJoined)
        #expect(rule?.listener == ProxyConfiguration.inboundName)
        guard !isJoined else { return }
        let node = try #require(topology.nodes.first { $0.name == "server-proxy front/0" })
        guard case .proxy(let proxy) = node.kind else {
            Issue.record("no proxy")
            return
        }
        #expect(proxy.listeners.map(\.name) == ["inbound", "outbound"])
    }

    /// What stands at a host's address depends on the arm.
    @Test func withoutASidecarTheWireIsTheApplications() throws {
        let fault = FaultPlan("a", .refuse, at: .wire, of: "back", hosts: .numbers([2]))
        for topology in [
            try topology(fault, on: .direct), try topology(fault, mode: .gateway),
        ] {
            #expect(topology.faults[0].processes == ["back/2"])
            let node = try #require(topology.nodes.first { $0.name == "back/2" })
            #expect(node.comesBack && node.isAddressedEarly)
        }
    }

    @Test func whatIsEndedKeepsItsPorts() throws {
        let kill = try topology(
            FaultPlan("a", .kill, at: .proxy, of: "back", hosts: .numbers([0])))
        #expect(kill.nodes.filter(\.comesBack).map(\.name) == ["server-proxy back/0"])
        #expect(kill.nodes.allSatisfy { !$0.isInjected } && kill.logsAccess)
        let stop = try topology(
            FaultPlan("a", .stop, at: .proxy, of: "back", hosts: .numbers([0])))
        #expect(stop.nodes.allSatisfy { !$0.comesBack })
    }

    @Test func theControlPlaneHasReplicas() throws {
        let fault = FaultPlan("a", .kill, at: .controlPlane, hosts: .numbers([1]))
        let several = ControlPlan(replicas: 2, store: .etcd)
        #expect(try topology(fault, control: several).faults[0].processes == ["control/1"])
        let one = FaultPlan("a", .stop, at: .controlPlane)
        #expect(try topology(one).faults[0].processes == ["control"])
        #expect(try topology(one, on: .direct).faults == [])
    }
}
