// Whatever others write into the store, in whatever order, and whatever they take out of it: those
// who follow it go on, and are told the same as somebody who begins then.

import Base
import ControlCore
import Model
import Scenario
import Support
import Testing

@testable import Runtime

/// So many writes past the control plane, all from one seed.
func fuzzDamagedStore(_ budget: FuzzBudget) throws {
    var random = SeededRandom(seed: budget.seed)
    let api = try ControlAPI()
    let declarations = try MeshCodec.json.body(Array(mesh.utf8)).declarations
    var plane = ControlPlane(api.store.state, codec: .json)
    var subscriptions = MeshSubscriptions(plane.mesh, version: 0, since: 0)
    for service in plane.mesh.services.keys {
        _ = subscriptions.subscribe(
            service.text, to: service, held: nil, plane.mesh, now: .zero)
    }
    var damages = 0
    for step in 0..<budget.steps {
        let declaration = declarations[random.below(declarations.count)]
        let key = StoreKey(declaration.key.path)
        var value = MeshCodec.json.encode(declaration)
        switch random.below(6) {
        case 0: value.remove(at: random.below(value.count))
        case 1: value[random.below(value.count)] = UInt8(random.below(256))
        case 2: value = MeshCodec.json.encode(declarations[random.below(declarations.count)])
        default: break
        }
        let isRemoval = random.below(4) == 0
        try api.center.commit(
            StoreTransaction(changes: [isRemoval ? .delete(key) : .put(key, value: value)]))
        let state = api.store.state
        plane.follow(state)
        _ = subscriptions.take(
            plane.takeNews(), plane.mesh, version: state.revision, now: .zero)
        for service in plane.mesh.services.keys {
            _ = subscriptions.subscribe(
                service.text, to: service, held: random.below(2) == 0 ? nil : state.revision / 2,
                plane.mesh, now: .zero)
            let facts = EnvoyFacts(
                service: service, app: NumericAddress("127.0.0.1:8080"),
                inbound: NumericAddress("127.0.0.1:15006"),
                outbound: NumericAddress("127.0.0.1:15001"), workers: 1,
                identityFile: "identity.json")
            // Refused, or not: it does not end the process.
            _ = try? EnvoyRendering(facts, view: plane.mesh, authorities: "PEM")
        }
        // Who begins now reads the same, but for what he cannot read and others had before.
        let anew = ControlPlane(state, codec: .json)
        damages = max(damages, anew.damaged.count)
        var readable = plane.mesh
        for key in plane.damaged.keys.compactMap(MeshKey.init) { readable.remove(key) }
        if anew.damaged != plane.damaged || anew.mesh != readable {
            Issue.record("at step \(step). Again: \(budget.rerun("DamagedStoreFuzz"))")
            return
        }
        #expect(try api.ask("GET", "/v1/declarations").status == 200)
    }
    #expect(damages > 2)
}

/// Of each kind, and with all references between them.
private let mesh = """
    {declarations: [
      {kind: service, name: a, health: {http: /ok}}, {kind: service, name: b, mtls: off},
      {kind: service, name: t, protocol: tcp},
      {kind: endpoint, name: a-1, service: a, address: '127.0.0.1:1'},
      {kind: endpoint, name: b-1, service: b, address: '127.0.0.1:2', zone: z},
      {kind: endpoint, name: t-1, service: t, address: '127.0.0.1:3'},
      {kind: route, name: r, hosts: [a.default.mesh],
       to: [{service: a, weight: 1}, {service: b, weight: 2}]},
      {kind: policy, name: p, to: [a, b], timeout: {request: 1s}},
      {kind: authorization, name: z, to: [a], action: deny,
       rules: [{identities: ['*/sa/b'], paths: [/x]}]}
    ]}
    """

@Suite struct DamagedStoreFuzz {
    @Test func whateverOthersWrite() throws { try fuzzDamagedStore(.current(steps: 400)) }
}
