import Base
import ControlCore
import Model
import Scenario
import Testing

private func at(_ milliseconds: Int64) -> Instant {
    Instant(nanoseconds: milliseconds * 1_000_000)
}

private func endpoint(_ name: String, of service: String, port: Int = 1) -> MeshDeclaration {
    .endpoint(MeshEndpoint(name, service: service, address: "127.0.0.1:\(port)"))
}

/// A mesh, and those who are told of it.
private struct Told {
    var mesh = MeshState()
    var version: UInt64 = 1
    var subscriptions: MeshSubscriptions

    init(_ declarations: [MeshDeclaration], history: Int = 100) {
        mesh = MeshState(declarations)
        var limits = MeshSubscriptions.Limits()
        limits.history = history
        subscriptions = MeshSubscriptions(mesh, version: 1, since: 1, limits: limits)
        _ = subscriptions.setAuthorities("A", now: at(0))
    }

    mutating func declare(
        _ declarations: MeshDeclaration..., remove keys: [MeshKey] = [], now: Instant = at(0)
    ) -> [MeshDelivery] {
        var changes = declarations.map { declaration in
            let before = mesh.declare(declaration)
            return MeshChange(declaration.key, before: before, after: declaration)
        }
        changes += keys.map { MeshChange($0, before: mesh.remove($0), after: nil) }
        version += 1
        return subscriptions.take(.changes(changes), mesh, version: version, now: now)
    }

    mutating func subscribe(_ proxy: String, _ service: String, held: UInt64? = nil) -> MeshPush {
        subscriptions.subscribe(proxy, to: .init(service), held: held, mesh, now: at(0))
    }
}

@Suite struct SubscriptionsTests {
    private let services: [MeshDeclaration] = [
        .service(.init("a", calls: [.init("b")])), .service(.init("b", calls: [])),
        .service(.init("c")), endpoint("b-1", of: "b"), endpoint("c-1", of: "c"),
    ]

    /// One push for all proxies of a service, and none for whom a change does not concern.
    @Test func changesGoToThoseWhomTheyConcern() {
        var told = Told(services)
        for number in 0..<3 { _ = told.subscribe("a-\(number)", "a") }
        _ = told.subscribe("b-1", "b")
        _ = told.subscribe("c-1", "c")
        let change = endpoint("b-2", of: "b", port: 2)
        let push = MeshPush(version: 2, isSnapshot: false, puts: [change])
        #expect(
            told.declare(change) == [
                .init(proxies: ["a-0", "a-1", "a-2"], push: push),
                .init(proxies: ["c-1"], push: push),
            ])
        #expect(
            told.declare(endpoint("c-2", of: "c", port: 2)).flatMap(\.proxies) == ["c-1"])
        // The same again is no change of anything.
        #expect(told.subscriptions.take(.changes([]), told.mesh, version: 9, now: at(0)) == [])
        #expect(told.subscriptions.version == 9)
    }

    /// The store was restored from a copy of itself, and grows past where it was: who comes back
    /// with a version from before holds another mesh's.
    @Test func versionsOfAnotherStoreAreNotGoneOnFrom() {
        var told = Told(services)
        for port in 2...9 { _ = told.declare(endpoint("b-1", of: "b", port: port)) }
        let held = told.version
        #expect(!told.subscribe("p", "a", held: held).isSnapshot)
        // Back to three versions before, and then on to one after.
        told.mesh = MeshState(services)
        told.version = held - 3
        let again = told.subscriptions.take(
            .replaced, told.mesh, version: told.version, now: at(0))
        #expect(again.map(\.push.isSnapshot) == [true])
        while told.version <= held {
            _ = told.declare(endpoint("c-1", of: "c", port: Int(told.version) + 20))
            #expect(told.subscribe("q", "a", held: held).isSnapshot)
        }
        #expect(!told.subscribe("q", "a", held: told.version).isSnapshot)
    }

    @Test func newNeedsAreASnapshot() {
        var told = Told(services)
        _ = told.subscribe("p", "a")
        let route = MeshDeclaration.route(
            .init("r", destinations: [.init(.init("b")), .init(.init("c"))]))
        let delivery = told.declare(route)
        #expect(delivery.map(\.push.isSnapshot) == [true])
        #expect(delivery.first?.push.authorities == "A")
        #expect(delivery.first?.push.puts.contains(endpoint("c-1", of: "c")) == true)
        // A route that changes nothing but itself is a delta.
        let other = MeshDeclaration.route(.init("s", destinations: [.init(.init("c"))]))
        #expect(
            told.declare(other).map(\.push) == [
                .init(version: 3, isSnapshot: false, puts: [other])
            ])
        let gone = told.declare(remove: [route.key])
        #expect(gone.map(\.push.isSnapshot) == [true])
        #expect(gone.first?.push.puts.contains(other) == false)
    }

    @Test func anEndpointThatMovesAwayIsDeleted() {
        var told = Told(services)
        _ = told.subscribe("p", "a")
        let key = endpoint("b-1", of: "b").key
        #expect(
            told.declare(endpoint("b-1", of: "c")).map(\.push) == [
                .init(version: 2, isSnapshot: false, deletes: [key])
            ])
    }

    @Test func whoComesBackIsToldWhatHeMissed() {
        var told = Told(services, history: 3)
        _ = told.subscribe("p", "a")
        told.subscriptions.unsubscribe("p")
        let (one, two) = (endpoint("b-2", of: "b", port: 2), endpoint("b-2", of: "b", port: 3))
        _ = told.declare(one)
        _ = told.declare(two)
        _ = told.declare(endpoint("c-9", of: "c", port: 9))
        #expect(
            told.subscribe("p", "a", held: 1)
                == .init(
                    version: 4, isSnapshot: false, authorities: "A", puts: [two],
                    checks: .init(isWhole: true)))
        #expect(
            told.subscribe("p", "a", held: 4)
                == .init(
                    version: 4, isSnapshot: false, authorities: "A", checks: .init(isWhole: true)))
        _ = told.declare(remove: [two.key])
        // One more than the history has; and one that has not been.
        for held: UInt64? in [1, 6, nil] {
            #expect(told.subscribe("p", "a", held: held).isSnapshot)
        }
        #expect(told.subscribe("p", "a", held: 4).deletes == [two.key])
        // Another service's calls are nothing to it, its own are.
        _ = told.declare(.service(.init("b", calls: nil)))
        #expect(told.subscribe("p", "a", held: 5).puts.count == 1)
        _ = told.declare(.service(.init("a", calls: [])))
        #expect(told.subscribe("p", "a", held: 6).isSnapshot)
    }

    @Test func answersAreHeldAgainstWhatWasSent() {
        var told = Told(services)
        #expect(
            told.subscriptions.acknowledge("p", version: 1, now: at(0)) == .unknown)
        _ = told.subscribe("p", "a")
        #expect(
            told.subscriptions.acknowledge("p", version: 1, now: at(5))
                == .accepted(after: .milliseconds(5)))
        _ = told.declare(endpoint("b-2", of: "b", port: 2), now: at(10))
        _ = told.declare(endpoint("b-3", of: "b", port: 3), now: at(20))
        // What was never sent, or is over, changes nothing.
        #expect(
            told.subscriptions.acknowledge("p", version: 9, now: at(21)) == .accepted(after: nil))
        #expect(told.subscriptions.subscribers["p"]?.acknowledged == 1)
        _ = told.declare(endpoint("b-4", of: "b", port: 4), now: at(30))
        #expect(
            told.subscriptions.acknowledge("p", version: 4, now: at(37))
                == .accepted(after: .milliseconds(7)))
        let subscriber = told.subscriptions.subscribers["p"]
        #expect(subscriber?.sent == 4 && subscriber?.acknowledged == 4)
        #expect(subscriber?.acknowledgedAt == at(37))
    }

    @Test func anOlderStoreIsAnotherOne() {
        var told = Told(services)
        _ = told.subscribe("p", "a")
        for port in 2..<9 { _ = told.declare(endpoint("b-2", of: "b", port: port)) }
        _ = told.subscriptions.acknowledge("p", version: 8, now: at(0))
        let old = MeshState(services)
        let deliveries = told.subscriptions.take(.replaced, old, version: 3, now: at(0))
        #expect(deliveries.map(\.push.version) == [3] && deliveries[0].push.isSnapshot)
        #expect(told.subscriptions.subscribers["p"]?.acknowledged == 0)
        _ = told.subscriptions.acknowledge("p", version: 3, now: at(1))
        #expect(told.subscriptions.subscribers["p"]?.acknowledged == 3)
        #expect(
            told.subscriptions.subscribe("p", to: .init("a"), held: 8, old, now: at(1)).isSnapshot)
    }

    /// A proxy that refuses everything costs a snapshot for each change that concerns it, and
    /// others nothing.
    @Test func refusalsAreKeptUntilSomethingIsTaken() {
        var told = Told(services)
        _ = told.subscribe("p", "a")
        _ = told.subscribe("q", "a")
        for number in 0..<200 {
            let deliveries = told.declare(endpoint("b-2", of: "b", port: 2 + number))
            #expect(deliveries.map(\.push.isSnapshot) == (number == 0 ? [false] : [false, true]))
            let reason = String(repeating: "é", count: 2000)
            #expect(
                told.subscriptions.acknowledge(
                    "p", version: told.version, error: reason, now: at(0)) == .refused)
            _ = told.subscriptions.acknowledge("q", version: told.version, now: at(0))
        }
        let refusal = told.subscriptions.subscribers["p"]?.refusal
        #expect(refusal?.version == told.version && refusal?.reason.utf8.count == 1024)
        #expect(told.subscriptions.subscribers["p"]?.refusals == 200)
        _ = told.declare(endpoint("b-2", of: "b", port: 2))
        _ = told.subscriptions.acknowledge("p", version: told.version, now: at(0))
        #expect(told.subscriptions.subscribers["p"]?.refusal == nil)
    }

    /// What is told is read as what was meant.
    @Test func linesAreRead() throws {
        let pushes: [MeshPush] = [
            .init(
                version: 7, isSnapshot: true, authorities: "-----\n\"\\\u{7F}\n", puts: services),
            .init(version: 8, isSnapshot: true, authorities: ""),
            .init(
                version: .max, isSnapshot: false, puts: [services[0]],
                deletes: [services[1].key, services[3].key]),
            .init(version: 0, isSnapshot: false),
            .init(version: 1, isSnapshot: false, authorities: "x"),
        ]
        for push in pushes {
            let line = ControlText.line(push, declaration: MeshCodec.json.encode)
            #expect(!line.contains(UInt8(ascii: "\n")))
            #expect(try MeshCodec.json.push(line) == push)
        }
    }
}
