// A subscriber against control planes that die, hang, come back and change their mind, on a clock
// of its own. Servers share one mesh, as replicas over a store do.

import Base
import Model
import Testing

@testable import ControlCore

/// One subscriber and its servers.
struct SubscriberSimulation {
    enum Health: Equatable {
        case up
        /// Its process is gone: connections break, and none open.
        case down
        /// It takes whatever comes and says nothing.
        case hung
    }

    private enum Happening {
        case opened
        case failed(String)
        case answered(SubscriberCall)
        case watchBegan
        case pushed(MeshPush)
        case alive
    }

    private struct Event {
        var at: Instant
        /// The connection that it is of: one that has been left has no more.
        var connection: Int
        var happening: Happening
    }

    static let certificateLife = Duration.seconds(60)
    /// Versions that a server can make a delta from.
    private static let history: UInt64 = 20

    private(set) var now = Instant.zero
    private(set) var subscriber: Subscriber
    var random: SeededRandom
    var health: [Health]
    private(set) var mesh = MeshState(trustDomain: "mesh.test")
    private(set) var version: UInt64 = 0
    private var states: [UInt64: MeshState] = [0: MeshState(trustDomain: "mesh.test")]

    private var events: [Event] = []
    private var connection = 0
    private(set) var connectedTo: Int?
    private var told: UInt64?
    private(set) var acknowledged: UInt64?
    /// When the certificate ends that it has; nil: none.
    private(set) var expiry: Instant?
    private var lastHeartbeat: Instant?
    private(set) var registered = false
    private(set) var left = false
    private(set) var heartbeatGap = Duration.zero
    private(set) var connects: [(at: Instant, server: Int, trust: SubscriberTrust)] = []
    private(set) var snapshots = 0
    private(set) var deltas = 0
    /// When pushes last began to come.
    private(set) var watchingSince: Instant?
    /// What went against the protocol.
    private(set) var mistakes: [String] = []

    init(seed: UInt64, servers: Int = 1) {
        random = SeededRandom(seed: seed)
        health = Array(repeating: .up, count: servers)
        subscriber = Subscriber(
            servers: servers, view: ProxyView(trustDomain: "mesh.test"), trusts: false,
            membership: nil, canJoin: true, registers: false, now: .zero,
            random: random.split("subscriber"))
        declare()
    }

    // MARK: The mesh

    /// Changes something.
    mutating func declare() {
        var changed: MeshDeclaration?
        var deleted: MeshKey?
        let name = "e\(random.below(12))"
        let key = MeshKey(.endpoint, MeshName(name))
        if mesh[key] != nil, random.below(3) == 0 {
            deleted = key
            mesh.remove(key)
        } else {
            let port = 1000 + random.below(60_000)
            changed = .endpoint(
                MeshEndpoint(name, service: "cart", address: "127.0.0.1:\(port)"))
        }
        if let changed { mesh.declare(changed) }
        version += 1
        states[version] = mesh
        guard let server = connectedTo, health[server] == .up, told != nil else { return }
        deltas += 1
        push(
            MeshPush(
                version: version, isSnapshot: false, puts: changed.map { [$0] } ?? [],
                deletes: deleted.map { [$0] } ?? []))
    }

    private mutating func push(_ push: MeshPush) {
        told = push.version
        // In order: one that is sent later does not come sooner.
        let last =
            events.filter { if case .pushed = $0.happening { true } else { false } }
            .map(\.at).max() ?? now
        schedule(.pushed(push), after: max(delay(), last - now))
    }

    private mutating func delay() -> Duration { .microseconds(Int64(100 + random.below(20_000))) }

    private mutating func schedule(_ happening: Happening, after delay: Duration) {
        events.append(Event(at: now + delay, connection: connection, happening: happening))
    }

    // MARK: Time

    mutating func run(for duration: Duration) {
        let end = now + duration
        while true {
            carryOut()
            let next = min(events.map(\.at).min() ?? .distantFuture, subscriber.deadline)
            guard next <= end else { break }
            now = max(now, next)
            if let place = events.indices.filter({ events[$0].at <= now }).min(by: {
                events[$0].at < events[$1].at
            }) {
                happen(events.remove(at: place))
            } else {
                subscriber.tick(now)
            }
        }
        now = end
    }

    private mutating func happen(_ event: Event) {
        guard event.connection == connection, let server = connectedTo, health[server] != .hung
        else { return }
        switch event.happening {
        case .opened: subscriber.connected(now)
        case .failed(let reason):
            connectedTo = nil
            subscriber.disconnected(reason, now)
        case .answered(.join), .answered(.certificate):
            let end = now + Self.certificateLife
            expiry = end
            subscriber.certified(
                renewal: now + Self.certificateLife / 2, expiry: end, now)
        case .answered(.authorities): subscriber.trusted(now)
        case .answered(let call): subscriber.answered(call, now)
        case .alive: subscriber.heard(now)
        case .watchBegan:
            subscriber.watchBegan(now)
            if subscriber.isWatching { watchingSince = now }
        case .pushed(let push): subscriber.pushed(push, now)
        }
    }

    private mutating func carryOut() {
        // What a command leads to may be further commands.
        while true {
            let commands = subscriber.take()
            if commands.isEmpty { return }
            for command in commands { carryOut(command) }
        }
    }

    private mutating func carryOut(_ command: SubscriberCommand) {
        switch command {
        case .connect(let server, let trust): connect(server, trust)
        case .disconnect: disconnect()
        case .call(let call): receive(call)
        case .probe: schedule(.alive, after: delay())
        case .adopt:
            guard let held = subscriber.view.version, states[held] == subscriber.view.mesh
            else {
                mistakes.append("a view that never was")
                return
            }
            subscriber.adopted(error: nil, now)
        case .left: left = true
        case .giveUp(let reason): mistakes.append(reason)
        }
    }

    private mutating func disconnect() {
        connection += 1
        connectedTo = nil
        told = nil
    }

    private mutating func connect(_ server: Int, _ trust: SubscriberTrust) {
        if connectedTo != nil { mistakes.append("two connections at once") }
        disconnect()
        connects.append((now, server, trust))
        connectedTo = server
        if trust == .mutual, let expiry, expiry <= now {
            mistakes.append("a certificate that has ended was shown")
        }
        switch health[server] {
        case .up: schedule(.opened, after: delay())
        case .down: schedule(.failed("refused"), after: .microseconds(100))
        case .hung: break
        }
    }

    /// A server gets a call.
    private mutating func receive(_ call: SubscriberCall) {
        guard let server = connectedTo, health[server] == .up else { return }
        switch call {
        case .watch(let held, let registers):
            registered = registers
            schedule(.watchBegan, after: .microseconds(50))
            lastHeartbeat = now
            if let held, held + Self.history >= version, let base = states[held], held <= version {
                told = held
                if held < version { push(delta(from: base)) }
            } else {
                snapshots += 1
                push(
                    MeshPush(
                        version: version, isSnapshot: true, authorities: "roots",
                        puts: mesh.declarations))
            }
        case .ack(let version, let error):
            if error == nil { acknowledged = version }
            schedule(.answered(call), after: delay())
        case .heartbeat:
            if let last = lastHeartbeat { heartbeatGap = max(heartbeatGap, now - last) }
            lastHeartbeat = now
            schedule(.answered(call), after: delay())
        case .leave:
            registered = false
            schedule(.answered(call), after: delay())
        case .authorities, .join, .certificate: schedule(.answered(call), after: delay())
        }
    }

    private func delta(from base: MeshState) -> MeshPush {
        MeshPush(
            version: version, isSnapshot: false,
            puts: mesh.declarations.filter { base[$0.key] != $0 },
            deletes: base.declarations.map(\.key).filter { mesh[$0] == nil })
    }

    // MARK: Faults

    mutating func set(_ server: Int, _ new: Health) {
        let old = health[server]
        health[server] = new
        guard connectedTo == server else { return }
        switch new {
        // What it was sent meanwhile, it never got.
        case .up: if old == .hung { schedule(.failed("reset"), after: .microseconds(100)) }
        case .down: schedule(.failed("reset"), after: .microseconds(100))
        // What it was told is with a process that does nothing more.
        case .hung: told = nil
        }
    }

    mutating func serves() { subscriber.serves(now) }
    mutating func leave() { subscriber.leave(now) }
}
