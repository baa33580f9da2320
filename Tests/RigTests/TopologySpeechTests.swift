import Base
import Model
import Testing

@testable import Rig

/// What is spoken and shown on the way of an arm.
@Suite struct TopologySpeechTests {
    private func arm(
        _ speech: LoadPlan.Speech = .http1, _ security: LoadPlan.Security = .off,
        hop: HopPlan.Speech = .http1, _ hopSecurity: HopPlan.Security = .off,
        via: ArmPlan.Way = .mesh
    ) -> ArmPlan {
        ArmPlan(
            name: ArmName(rawValue: "it"), via: via, speech: speech, security: security,
            hopSpeech: hop, hopSecurity: hopSecurity)
    }

    private func proxy(_ name: String, of topology: Topology) throws -> Topology.Proxy {
        let node = try #require(topology.nodes.first { $0.name == name })
        guard case .proxy(let proxy) = node.kind else { throw RigError(.layout, "no proxy") }
        return proxy
    }

    private func application(_ topology: Topology) throws -> Topology.Application {
        let node = try #require(topology.nodes.first { $0.name == "echo/0" })
        guard case .application(let found) = node.kind else { throw RigError(.layout, "no app") }
        return found
    }

    @Test func aHopIsSecuredOnBothSidesAndItsEndsAreNot() throws {
        let topology = try Topology(arm(hop: .http2, .strict), of: Made.experiment())
        let client = try proxy("client-proxy", of: topology)
        #expect(client.clusters[0].speech == .http2)
        #expect(client.clusters[0].security == .init(identity: "load-main", peer: "echo"))
        #expect(client.listeners == [.init(name: "outbound")])
        let server = try proxy("server-proxy echo/0", of: topology)
        let inbound = Topology.ServerSide(identity: "echo", asksClient: true)
        #expect(server.listeners == [.init(name: "inbound", security: inbound)])
        #expect(server.clusters[0].speech == .http1 && server.clusters[0].security == nil)
        #expect(try application(topology).security == nil)
        #expect(topology.identities == ["echo", "load-main"])
    }

    @Test func whatIsOffNeedsNoCertificate() throws {
        for mode in MeshPlan.Mode.allCases {
            for way in ArmPlan.Way.allCases {
                let experiment = Made.experiment(mode: mode)
                #expect(try Topology(arm(via: way), of: experiment).identities.isEmpty)
            }
        }
    }

    @Test func bytesHaveAWayAndNoRoutes() throws {
        let sidecar = try Topology(arm(.tcp, hop: .http2, .strict), of: Made.experiment())
        let client = try proxy("client-proxy", of: sidecar)
        #expect(client.listeners.map(\.bytesTo) == ["echo"] && client.routes.isEmpty)
        #expect(client.clusters[0].security?.peer == "echo")
        let server = try proxy("server-proxy echo/0", of: sidecar)
        #expect(server.listeners.map(\.bytesTo) == ["local"] && server.routes.isEmpty)
        #expect(try application(sidecar).speech == .tcp)

        let gateway = try Topology(arm(.tcp), of: Made.experiment(mode: .gateway))
        #expect(gateway.targets == ["main": [.listener(process: "gateway", name: "echo")]])
        #expect(try proxy("gateway", of: gateway).listeners.map(\.bytesTo) == ["echo"])
    }

    @Test func aLoadsTLSEndsWhereItArrives() throws {
        let direct = try Topology(arm(.http1, .mutual, via: .direct), of: Made.experiment())
        #expect(direct.security["main"] == .init(identity: "load-main", peer: "echo"))
        #expect(
            try application(direct).security == .init(identity: "echo", asksClient: true))

        let sidecar = try Topology(arm(.http1, .server), of: Made.experiment())
        #expect(sidecar.security["main"] == .init(identity: nil, peer: "load-main"))
        #expect(
            try proxy("client-proxy", of: sidecar).listeners[0].security
                == .init(identity: "load-main", asksClient: false))
        #expect(try application(sidecar).security == nil)

        let gateway = try Topology(arm(.http1, .server), of: Made.experiment(mode: .gateway))
        #expect(gateway.security["main"]?.peer == "gateway")
        #expect(gateway.identities == ["gateway"])
    }

    @Test(arguments: [
        (LoadPlan.Speech.http1, ProxyConfiguration.Cluster.Speech.http1), (.websocket, .http1),
        (.http2, .http2), (.grpc, .http2), (.websocketHTTP2, .http2),
    ])
    func theLoadsProtocolGoesOnBehindTheLastProxy(
        speech: LoadPlan.Speech, cluster: ProxyConfiguration.Cluster.Speech
    ) throws {
        for mode in MeshPlan.Mode.allCases {
            let topology = try Topology(
                arm(speech, hop: .http2), of: Made.experiment(mode: mode))
            let last = mode == .sidecar ? "server-proxy echo/0" : "gateway"
            #expect(try proxy(last, of: topology).clusters[0].speech == cluster)
        }
    }

    @Test func theProxysFileSaysIt() throws {
        var plan = arm(hop: .http2)
        plan.hopConnections = 3
        let topology = try Topology(plan, of: Made.experiment())
        let made = try proxy("client-proxy", of: topology).configuration(
            longest: .seconds(1), nil
        ) { _ in "127.0.0.1:1" }
        #expect(
            made.clusters[0].speech == .http2
                && made.clusters[0].breaker.standard.connections == 3)
        #expect(made.listeners[0].speech == .auto)
        let bytes = try proxy("client-proxy", of: try Topology(arm(.tcp), of: Made.experiment()))
            .configuration(longest: .seconds(1), nil) { _ in "127.0.0.1:1" }
        #expect(bytes.listeners[0].speech == .tcp && bytes.listeners[0].cluster == "echo")
    }
}
