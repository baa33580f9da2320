import Base
import ControlCore
import Model
import Support
import Testing

// Any sequence of changes, reconnects, resumes, refusals and rotations leaves every proxy with
// exactly what the mesh has of what it needs, as computed here afresh and in another way.

/// So many random steps, all from one seed.
func fuzzSubscriptions(_ budget: FuzzBudget) throws {
    var world = World(seed: budget.seed)
    for step in 0..<budget.steps {
        world.step()
        guard let wrong = world.firstWrong() else { continue }
        Issue.record("\(wrong)\nat step \(step). Again: \(budget.rerun("SubscriptionsFuzz"))")
        return
    }
    // All ways have been gone.
    let least = budget.steps / 200
    #expect(
        min(world.deltas, world.snapshots, world.resumes, world.refusals, world.heldBack) > least,
        "\(world.deltas) \(world.snapshots) \(world.resumes) \(world.refusals) \(world.heldBack)")
}

@Suite struct SubscriptionsFuzzTests {
    @Test func everyoneHoldsWhatHeNeeds() throws { try fuzzSubscriptions(.current(steps: 2000)) }
}

private struct Client {
    var service: MeshName
    var isConnected = false
    var version: UInt64?
    var authorities = ""
    var held = MeshState()
    /// It has refused something, and waits for everything.
    var isLost = false
    /// What it was told by another control plane to be unhealthy, of which this one has yet to find
    /// out.
    var kept: Set<MeshName> = []
}

private struct World {
    private var random: SeededRandom
    private var mesh = MeshState()
    private var version: UInt64 = 5
    private var authorities = ""
    /// What checks have found, and of whom they have yet to find out.
    private var unwell: Set<MeshName> = []
    private var undecided: Set<MeshName> = []
    private var clients: [String: Client] = [:]
    private var subscriptions: MeshSubscriptions
    private(set) var deltas = 0
    private(set) var snapshots = 0
    private(set) var resumes = 0
    private(set) var refusals = 0
    private(set) var heldBack = 0
    private var error: String?

    init(seed: UInt64) {
        random = SeededRandom(seed: seed)
        var limits = MeshSubscriptions.Limits()
        (limits.history, limits.resume) = (60, 40)
        subscriptions = MeshSubscriptions(mesh, version: version, since: 3, limits: limits)
        for number in 0..<10 {
            clients["p-\(number)"] = Client(service: Self.services[number % 5])
        }
    }

    private static let endpoints = spaces.flatMap { space in
        ["a", "b", "c"].flatMap { name in (0..<4).map { MeshName("\(name)-\($0)", in: space) } }
    }

    static let spaces = ["x", "y"]
    static let services = spaces.flatMap { space in
        ["a", "b", "c"].map { MeshName($0, in: space) }
    }

    mutating func step() {
        switch random.below(24) {
        case 20...22: check()
        case 23: random.below(20) == 0 ? restart() : check()
        case 0...9: change()
        case 10...13: connect()
        case 14...15: disconnect()
        case 16...17: answer()
        case 18: random.below(10) == 0 ? replace() : change()
        default: rotate()
        }
    }

    private var now: Instant { .zero }

    // MARK: Steps

    private mutating func change() {
        var changes: [MeshChange] = []
        for _ in 0...random.below(3) {
            let declaration = declaration()
            let key = declaration.key
            let before = mesh[key]
            let isRemoval = random.below(3) == 0
            if isRemoval { mesh.remove(key) } else { mesh.declare(declaration) }
            guard before != mesh[key] else { continue }
            changes.append(MeshChange(key, before: before, after: mesh[key]))
        }
        version += 1 + UInt64(random.below(2))
        deliver(subscriptions.take(.changes(changes), mesh, version: version, now: now))
        beginAnew(
            changes.filter { $0.key.kind == .endpoint && !$0.keepsService }.map(\.key.name))
    }

    /// Checks find out anew about endpoints that have come or gone, or belong to another service
    /// now.
    private mutating func beginAnew(_ names: [MeshName]) {
        unwell.subtract(names)
        undecided.subtract(names)
        // Some are not checked at all.
        for name in names where mesh.endpoints[name] != nil && random.below(3) > 0 {
            undecided.insert(name)
        }
        tell(names)
    }

    private mutating func tell(_ names: [MeshName]) {
        for name in clients.keys { clients[name]?.kept.subtract(names) }
        let (sick, unknown) = (unwell, undecided)
        deliver(
            subscriptions.take(
                checksOf: names,
                verdict: {
                    unknown.contains($0) ? .undecided : sick.contains($0) ? .unhealthy : .healthy
                }, mesh, now: now))
    }

    private mutating func replace() {
        let declarations = (0..<20).map { _ in declaration() }
        mesh = MeshState(declarations)
        version += 1
        deliver(subscriptions.take(.replaced, mesh, version: version, now: now))
        beginAnew(Self.endpoints)
    }

    private mutating func check() {
        let names = (0...random.below(2)).map { _ in pick(Self.endpoints) }
            .filter { mesh.endpoints[$0] != nil }
        for name in names {
            let wasUnknown = undecided.remove(name) != nil
            guard !wasUnknown || random.below(2) == 0 else { continue }
            if unwell.remove(name) == nil { unwell.insert(name) }
        }
        tell(names)
    }

    /// Another control plane, which knows nothing of what was found and of who has been told what.
    private mutating func restart() {
        var limits = MeshSubscriptions.Limits()
        (limits.history, limits.resume) = (60, 40)
        subscriptions = MeshSubscriptions(mesh, version: version, since: version, limits: limits)
        _ = subscriptions.setAuthorities(authorities, now: now)
        for name in clients.keys { clients[name]?.isConnected = false }
        beginAnew(Self.endpoints)
    }

    private mutating func rotate() {
        authorities = "authorities \(random.below(1000))"
        deliver(subscriptions.setAuthorities(authorities, now: now))
    }

    private mutating func connect() {
        let name = "p-\(random.below(clients.count))"
        guard var client = clients[name], !client.isConnected else { return }
        client.isConnected = true
        let held = client.isLost || random.below(8) == 0 ? nil : client.version
        let push = subscriptions.subscribe(
            name, to: client.service, held: held, mesh, now: now)
        if !push.isSnapshot { resumes += 1 }
        client.kept = client.held.unwell.intersection(undecided)
        client.take(push)
        clients[name] = client
    }

    private mutating func disconnect() {
        let name = "p-\(random.below(clients.count))"
        clients[name]?.isConnected = false
        subscriptions.unsubscribe(name)
    }

    private mutating func answer() {
        let name = "p-\(random.below(clients.count))"
        guard let client = clients[name], client.isConnected, let version = client.version else {
            return
        }
        let isRefusal = random.below(6) == 0
        _ = subscriptions.acknowledge(
            name, version: version, error: isRefusal ? "no" : nil, now: now)
        guard isRefusal else { return }
        refusals += 1
        // What it holds is nobody's business until it is told everything.
        let nonsense = MeshState((0..<5).map { _ in declaration() })
        clients[name]?.held = nonsense
        clients[name]?.isLost = true
        clients[name]?.kept = []
    }

    private mutating func deliver(_ deliveries: [MeshDelivery]) {
        for delivery in deliveries {
            if delivery.push.isSnapshot { snapshots += 1 } else { deltas += 1 }
            for name in delivery.proxies {
                guard clients[name]?.isConnected == true else {
                    error = "\(name) is told something, and does not watch"
                    return
                }
                clients[name]?.take(delivery.push)
            }
        }
    }

    // MARK: What must hold

    mutating func firstWrong() -> String? {
        if let error { return error }
        for (name, client) in clients.sorted(by: { $0.key < $1.key }) where client.isConnected {
            guard client.authorities == authorities else { return "\(name): authorities" }
            guard subscriptions.subscribers[name]?.sent == client.version else {
                return "\(name) has \(client.version ?? 0)"
            }
            var expected = MeshState(needed(by: client.service))
            // Until it is known here, what others have found stays; not of what is needed no more.
            let kept = client.kept.filter { expected.endpoints[$0] != nil }
            clients[name]?.kept = kept
            let found = unwell.filter { expected.endpoints[$0] != nil }
            expected.find(MeshFindings(unhealthy: found.union(kept).sorted()))
            heldBack += kept.isEmpty ? 0 : 1
            guard client.isLost || client.held == expected else {
                return "\(name) of \(client.service.text)\nholds \(client.held.declarations)\n"
                    + "and needs \(expected.declarations)\n"
                    + "without \(client.held.unwell.sorted()), \(expected.unwell.sorted())"
            }
            let needs = MeshNeeds(of: client.service, in: mesh)
            guard needs.view(of: mesh) == expected.declarations else {
                return "the view of \(client.service.text)"
            }
            guard subscriptions.needs(of: name) == needs else {
                return "the needs of \(client.service.text)"
            }
        }
        return nil
    }

    /// As the definition has it, over all names that there can be.
    private func needed(by service: MeshName) -> [MeshDeclaration] {
        let everything = [MeshName("*", in: "*")]
        let calls = mesh.services[service].map { $0.calls ?? everything } ?? []
        var called = Set(Self.services.filter { name in calls.contains { $0.covers(name) } })
        var count = -1
        while count != called.count {
            count = called.count
            for route in mesh.routes.values {
                let destinations = route.destinations.map(\.service)
                if destinations.contains(where: called.contains) { called.formUnion(destinations) }
            }
        }
        func meets(_ targets: [MeshName]) -> Bool {
            targets.contains { target in called.union([service]).contains { target.covers($0) } }
        }
        return mesh.declarations.filter { declaration in
            switch declaration {
            case .service(let value): value.meshName == service || called.contains(value.meshName)
            case .endpoint(let value): called.contains(value.serviceName)
            case .route(let value): value.destinations.contains { called.contains($0.service) }
            case .policy(let value): meets(value.targets)
            case .authorization(let value): value.targets.contains { $0.covers(service) }
            }
        }
    }

    // MARK: Declarations of few names, so that they often meet

    private mutating func pick<Item>(_ items: [Item]) -> Item { items[random.below(items.count)] }

    private mutating func targets() -> [MeshName] {
        (0...random.below(2)).map { _ in
            switch random.below(8) {
            case 0: MeshName("*", in: "*")
            case 1...2: MeshName("*", in: pick(Self.spaces))
            default: pick(Self.services)
            }
        }
    }

    private mutating func declaration() -> MeshDeclaration {
        let (name, space) = (pick(["a", "b", "c"]), pick(Self.spaces))
        switch random.below(16) {
        case 0:
            let calls = random.below(5) == 0 ? nil : random.below(3) == 0 ? [] : targets()
            return .service(
                .init(name, in: space, speech: pick([.http1, .http2]), calls: calls))
        case 1...10:
            return .endpoint(
                .init(
                    "\(name)-\(random.below(4))", in: space, service: pick(["a", "b", "c"]),
                    address: "1.1.1.1:\(1 + random.below(3))"))
        case 11:
            let destinations = Set((0...random.below(2)).map { _ in pick(Self.services) })
            return .route(
                .init(name, in: space, destinations: destinations.sorted().map { .init($0) }))
        case 12...13:
            return .policy(
                .init(
                    name, in: space, targets: targets(),
                    breaker: .init(standard: .init(pending: random.below(2)))))
        default:
            return .authorization(
                .init(name, in: space, pick([.allow, .deny]), targets: targets(), rules: []))
        }
    }
}

extension MeshChange {
    fileprivate var keepsService: Bool {
        guard case .endpoint(let before)? = before, case .endpoint(let after)? = after else {
            return false
        }
        return before.serviceName == after.serviceName
    }
}

extension Client {
    mutating func take(_ push: MeshPush) {
        version = push.version
        if let bundle = push.authorities { authorities = bundle }
        guard push.isSnapshot || !isLost else { return }
        held.adopt(push)
        isLost = false
    }
}
