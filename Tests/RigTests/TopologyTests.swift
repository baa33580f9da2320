import Model
import Testing

@testable import Rig

@Suite struct TopologyTests {
    private func names(_ topology: Topology) -> [String] { topology.nodes.map(\.name) }

    private func proxy(_ name: String, of topology: Topology) throws -> Topology.Proxy {
        let node = try #require(topology.nodes.first { $0.name == name })
        guard case .proxy(let proxy) = node.kind else {
            Issue.record("\(name) is no proxy")
            throw RigError(.layout, "no proxy")
        }
        return proxy
    }

    @Test func directGoesToEveryReplicaItself() throws {
        let experiment = Made.experiment(services: [Made.service("echo", replicas: 2)])
        let topology = try Topology(.direct, of: experiment)
        #expect(names(topology) == ["echo/0", "echo/1"])
        #expect(topology.targets == ["main": [.application("echo/0"), .application("echo/1")]])
    }

    @Test func gatewayIsOneHopBeforeAllReplicas() throws {
        let experiment = Made.experiment(
            mode: .gateway, services: [Made.service("echo", replicas: 2)])
        let topology = try Topology(.mesh, of: experiment)
        #expect(names(topology) == ["echo/0", "echo/1", "gateway"])
        #expect(topology.targets == ["main": [.listener(process: "gateway", name: "inbound")]])
        let gateway = try proxy("gateway", of: topology)
        #expect(gateway.routes == [.init(host: "echo", cluster: "echo")])
        #expect(
            gateway.clusters == [
                .init(name: "echo", endpoints: [.application("echo/0"), .application("echo/1")])
            ])
    }

    @Test func sidecarIsAProxyBesideClientAndEachReplica() throws {
        let experiment = Made.experiment(services: [Made.service("echo", replicas: 2)])
        let topology = try Topology(.mesh, of: experiment)
        #expect(
            names(topology) == [
                "echo/0", "server-proxy echo/0", "echo/1", "server-proxy echo/1", "client-proxy",
            ])
        let client = try proxy("client-proxy", of: topology)
        #expect(
            client.clusters == [
                .init(
                    name: "echo",
                    endpoints: [
                        .listener(process: "server-proxy echo/0", name: "inbound"),
                        .listener(process: "server-proxy echo/1", name: "inbound"),
                    ])
            ])
        let server = try proxy("server-proxy echo/1", of: topology)
        #expect(server.listeners == [.init(name: "inbound")])
        #expect(server.clusters == [.init(name: "local", endpoints: [.application("echo/1")])])
        #expect(server.workers == 2)
    }

    @Test func aCallingServiceGoesThroughItsOwnSidecar() throws {
        let services = [Made.service("front", calls: ["back"]), Made.service("back", replicas: 2)]
        let topology = try Topology(
            .mesh, of: Made.experiment(services: services, loads: [Made.load(to: "front")]))
        #expect(
            names(topology) == [
                "back/0", "server-proxy back/0", "back/1", "server-proxy back/1",
                "server-proxy front/0", "front/0", "client-proxy",
            ])
        let front = try #require(topology.nodes.first { $0.name == "front/0" })
        #expect(front.isAddressedEarly, "its sidecar names it before it runs")
        guard case .application(let application) = front.kind else {
            Issue.record("front/0 is no application")
            return
        }
        #expect(
            application.calls == [
                "back": [.listener(process: "server-proxy front/0", name: "outbound")]
            ])
        let sidecar = try proxy("server-proxy front/0", of: topology)
        #expect(sidecar.listeners.map(\.name) == ["inbound", "outbound"])
        #expect(
            sidecar.routes == [
                .init(host: "back", cluster: "back"), .init(host: nil, cluster: "local"),
            ])
    }

    @Test(arguments: [ArmPlan.direct, .mesh])
    func callsGoStraightWhereNoSidecarIs(arm: ArmPlan) throws {
        let services = [Made.service("front", calls: ["back"]), Made.service("back", replicas: 2)]
        let topology = try Topology(
            arm,
            of: Made.experiment(
                mode: .gateway, services: services, loads: [Made.load(to: "front")]))
        let front = try #require(topology.nodes.first { $0.name == "front/0" })
        guard case .application(let application) = front.kind else {
            Issue.record("front/0 is no application")
            return
        }
        #expect(application.calls == ["back": [.application("back/0"), .application("back/1")]])
    }

    @Test func everyEndpointIsAddressedBeforeItIsNamed() throws {
        let services = [
            Made.service("a", replicas: 2, calls: ["b", "c"]), Made.service("b", calls: ["c"]),
            Made.service("c", replicas: 3),
        ]
        for mode in MeshPlan.Mode.allCases {
            for arm in [ArmPlan.direct, .mesh] {
                let topology = try Topology(
                    arm,
                    of: Made.experiment(
                        mode: mode, services: services,
                        loads: [Made.load(to: "a"), Made.load("second", to: "b")]))
                #expect(Set(names(topology)).count == topology.nodes.count, "names are unique")
                var known = Set(topology.nodes.filter(\.isAddressedEarly).map(\.name))
                for node in topology.nodes {
                    for endpoint in endpoints(of: node) {
                        #expect(known.contains(process(of: endpoint)), "\(node.name): \(endpoint)")
                    }
                    known.insert(node.name)
                }
            }
        }
    }

    @Test func aCircleIsRefused() {
        let services = [Made.service("a", calls: ["b"]), Made.service("b", calls: ["a"])]
        #expect(throws: RigError.self) {
            try Topology(
                .direct, of: Made.experiment(services: services, loads: [Made.load(to: "a")]))
        }
    }

    private func endpoints(of node: Topology.Node) -> [Topology.Endpoint] {
        switch node.kind {
        case .application(let application): application.calls.values.flatMap(\.self)
        case .proxy(let proxy): proxy.clusters.flatMap(\.endpoints)
        case .command, .generator, .control, .joined, .agent, .envoy: []
        }
    }

    private func process(of endpoint: Topology.Endpoint) -> String {
        switch endpoint {
        case .application(let name): name
        case .listener(let process, _): process
        }
    }
}
