import Base
import Model
import Testing

@testable import Rig

/// Arms whose proxies join a control plane.
@Suite struct TopologyMeshTests {
    private func topology(services: [ServicePlan], to: String) throws -> Topology {
        var experiment = Made.experiment(services: services, loads: [Made.load(to: to)])
        experiment.mesh.control = ControlPlan(certificateLife: .seconds(10))
        return try Topology(.mesh, of: experiment)
    }

    private func joined(_ name: String, of topology: Topology) throws -> Topology.Joined {
        let node = try #require(topology.nodes.first { $0.name == name })
        guard case .joined(let joined) = node.kind else {
            throw RigError(.layout, "\(name) does not join")
        }
        return joined
    }

    @Test func theControlPlaneIsThereBeforeAnybodyJoins() throws {
        let topology = try topology(
            services: [Made.service("front", calls: ["back"]), Made.service("back", replicas: 2)],
            to: "front")
        #expect(
            topology.nodes.map(\.name) == [
                "control", "back/0", "server-proxy back/0", "back/1", "server-proxy back/1",
                "server-proxy front/0", "front/0", "client-proxy",
            ])
        guard case .control(let control) = topology.nodes[0].kind else {
            Issue.record("no control plane")
            return
        }
        #expect(topology.nodes[0].group == .control)
        #expect(control.plan.certificateLife == .seconds(10))
        #expect(control.proxies == 4)
        #expect(MeshState(control.declarations).services.count == 3)
        #expect(topology.identities == [], "certificates come from the control plane")
    }

    @Test func aProxyIsToldWhoItIsAndWhatItStandsBeside() throws {
        let topology = try topology(
            services: [Made.service("front", calls: ["back"]), Made.service("back", replicas: 2)],
            to: "front")
        #expect(
            try joined("server-proxy back/1", of: topology)
                == .init(
                    name: "back-1", service: MeshName("back"), application: .application("back/1"),
                    workers: 2))
        #expect(
            try joined("client-proxy", of: topology)
                == .init(
                    name: "load-main-0", service: MeshName("load-main"), application: nil,
                    workers: 2))
    }

    /// Who calls, and who is called first, find the same listeners as with files.
    @Test func wayOfARequestIsAsWithFiles() throws {
        let services = [Made.service("front", calls: ["back"]), Made.service("back")]
        let joined = try topology(services: services, to: "front")
        let filed = try Topology(
            .mesh, of: Made.experiment(services: services, loads: [Made.load(to: "front")]))
        #expect(joined.targets == filed.targets)
        #expect(joined.nodes.dropFirst().map(\.name) == filed.nodes.map(\.name))
        func calls(_ topology: Topology) -> [[String: [Topology.Endpoint]]] {
            topology.nodes.compactMap {
                if case .application(let application) = $0.kind { application.calls } else { nil }
            }
        }
        #expect(calls(joined) == calls(filed))
    }

    @Test func replicasShareAnEtcd() throws {
        var experiment = Made.experiment()
        experiment.mesh.control = .init(replicas: 2, store: .etcd)
        let topology = try Topology(.mesh, of: experiment)
        #expect(
            topology.nodes.map(\.name) == [
                "etcd", "control/0", "control/1", "echo/0", "server-proxy echo/0", "client-proxy",
            ])
        #expect(topology.nodes.prefix(3).allSatisfy { $0.group == .control })
        #expect(topology.programs == [.etcd])
        let told = topology.nodes.map { node in
            if case .control(let control) = node.kind { control.declarations.count } else { 0 }
        }
        #expect(told[1] > 0 && told[2] == 0, "the first one is told of the mesh")
        #expect(try Topology(.direct, of: experiment).programs == [])
    }

    @Test func anEnvoyHasAnAgentThatJoinsForIt() throws {
        var services = [Made.service("front", calls: ["back"]), Made.service("back")]
        services[0].dataplane = .envoy
        let topology = try topology(services: services, to: "front")
        #expect(
            topology.nodes.map(\.name) == [
                "control", "back/0", "server-proxy back/0", "envoy-agent front/0",
                "envoy front/0", "front/0", "client-proxy",
            ])
        #expect(topology.programs == [.envoy])
        guard case .control(let control) = topology.nodes[0].kind,
            case .agent(let joined) = topology.nodes[3].kind,
            case .application(let front) = topology.nodes[5].kind
        else {
            Issue.record("not what they are called")
            return
        }
        #expect(control.proxies == 3, "an Envoy and its agent are one proxy")
        #expect(topology.nodes[4].kind == .envoy(agent: "envoy-agent front/0"))
        #expect(joined.name == "front-0" && joined.application == .application("front/0"))
        #expect(
            front.calls == ["back": [.listener(process: "envoy front/0", name: "outbound")]])
        let direct = Made.experiment(services: services, loads: [Made.load(to: "front")])
        #expect(try Topology(.direct, of: direct).programs == [])
    }

    /// Bytes go by a listener that the load's proxy has for their service.
    @Test func bytesGoByTheNameOfTheirService() throws {
        var experiment = Made.experiment()
        experiment.mesh.control = .init()
        experiment.loads[0].speech = .tcp
        let topology = try Topology(.mesh, of: experiment)
        #expect(
            topology.targets == [
                "main": [.listener(process: "client-proxy", name: "default/echo")]
            ])
        #expect(try joined("client-proxy", of: topology).bytesTo == [MeshName("echo")])
    }

    /// One hop, as with files: no proxy stands beside a replica, so the rig declares them.
    @Test func aGatewayJoinsToo() throws {
        var experiment = Made.experiment(
            mode: .gateway, services: [Made.service("echo", replicas: 2)])
        let filed = try Topology(.mesh, of: experiment)
        experiment.mesh.control = .init()
        let topology = try Topology(.mesh, of: experiment)
        #expect(topology.nodes.map(\.name) == ["control", "echo/0", "echo/1", "gateway"])
        #expect(topology.targets == filed.targets)
        let gateway = try joined("gateway", of: topology)
        #expect(gateway.service == MeshName("gateway") && gateway.application == nil)
        #expect(
            gateway.gateway?.replicas == [
                .init(name: "echo-0", service: "echo", application: .application("echo/0")),
                .init(name: "echo-1", service: "echo", application: .application("echo/1")),
            ])
        guard case .control(let control) = topology.nodes[0].kind else {
            Issue.record("no control plane")
            return
        }
        #expect(control.proxies == 1)
        let mesh = MeshState(control.declarations)
        #expect(mesh.check() == [])
        #expect(mesh.routes[MeshName("echo")]?.hosts == ["echo"])
        #expect(mesh.services[MeshName("gateway")]?.calls == [MeshName("echo")])
        #expect(mesh.services[MeshName("echo")]?.mtls == .off)
    }

    /// What a service says of its replicas holds before a gateway too.
    @Test func aGatewaysReplicasAreAsTheServiceSays() throws {
        var service = Made.service("echo", replicas: 3)
        service.zones = ["a", "b"]
        service.weights = [1, 3]
        service.levels = [0, 0, 1]
        service.labels = [["version": "1"], ["version": "2"]]
        var experiment = Made.experiment(mode: .gateway, services: [service])
        experiment.mesh.control = .init()
        let gateway = try joined("gateway", of: try Topology(.mesh, of: experiment))
        let replicas = try #require(gateway.gateway?.replicas)
        #expect(replicas.map(\.zone) == ["a", "b", "a"])
        #expect(replicas.map(\.weight) == [1, 3, 1])
        #expect(replicas.map(\.level) == [0, 0, 1])
        #expect(replicas.map { $0.labels["version"] } == ["1", "2", "1"])
    }

    @Test func theDirectArmHasNone() throws {
        var experiment = Made.experiment()
        experiment.mesh.control = .init()
        #expect(try Topology(.direct, of: experiment).nodes.map(\.name) == ["echo/0"])
    }
}
