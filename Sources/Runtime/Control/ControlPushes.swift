// What proxies are told over their watches, and what they answer; and where they say that they
// answer, which holds for as long as they are heard of.

import Base
import ControlCore
import FoundationEssentials
import Model
import Posix

/// The proxies of a control plane.
final class ControlPushes: ControlProxies {
    /// A proxy that watches.
    private final class Watcher {
        let watch: ServiceWatch
        let peer: ControlPeer
        /// What it has registered; nil: nothing.
        let endpoint: MeshKey?

        init(_ watch: ServiceWatch, _ peer: ControlPeer, endpoint: MeshKey?) {
            self.watch = watch
            self.peer = peer
            self.endpoint = endpoint
        }
    }

    private let center: ControlCenter
    private let clock: () -> Instant
    private var subscriptions: MeshSubscriptions
    /// By the proxy's name. Bound: the watches that the listener allows.
    private var watchers: [String: Watcher] = [:]
    /// The names of proxies by lineage.
    private var lineages: [String: String] = [:]
    /// Names of proxies.
    private var sieve = MemberSieve()
    private(set) var statistics = PushStatistics()

    /// How long an endpoint lasts whose proxy is not heard of: three heartbeats.
    static let life = Duration.seconds(10)
    /// Bound: a snapshot of the largest mesh that there may be, and what changes meanwhile. Lines
    /// are shared between watches.
    private static var backlog: Int { 64 << 20 }

    /// - Parameter clock: CLOCK_MONOTONIC.
    init(_ center: ControlCenter, clock: @escaping () -> Instant = { Clock.now() }) {
        self.center = center
        self.clock = clock
        subscriptions = MeshSubscriptions(
            center.mesh, version: center.store.state.revision,
            since: Self.lastChange(in: center.store.state))
        center.afterChange.append { [weak self] news in self?.take(news) }
    }

    /// When a declaration was last changed, as far as the history goes back: proxies that are
    /// connected again after a restart have missed nothing since then.
    private static func lastChange(in store: StoreState) -> UInt64 {
        var start: UInt64 = 0
        if case .compacted(let revision) = store.events(after: 0, limit: 1) { start = revision }
        guard case .commits(let commits) = store.events(after: start) else { return store.revision }
        return commits.last(where: \.touchesDeclarations)?.revision ?? start
    }

    // MARK: Requests

    func respond(
        to request: ServiceRequest, _ operation: ControlOperation, from peer: ControlPeer
    ) -> ServiceAnswer {
        do throws(ControlFailure) {
            switch operation {
            case .watchPushes: return .watch(try watch(request, peer))
            case .acknowledgePush:
                let body = try ControlBody.read(request.body, as: AckBody.self)
                try acknowledge(body, peer, request.now)
            case .heartbeat:
                let body = try ControlBody.read(request.body, as: ProxyBody.self)
                try hear(of: body.proxy, peer, request.now)
            default:
                let body = try ControlBody.read(request.body, as: ProxyBody.self)
                try leave(body.proxy, peer)
            }
            return .whole(status: 204, fields: [], body: [])
        } catch {
            return .json(
                error.status, ControlText.error(error.message, error.problems),
                fields: error.fields)
        }
    }

    private func watch(
        _ request: ServiceRequest, _ peer: ControlPeer
    ) throws(ControlFailure) -> ServiceWatch {
        let body = try ControlBody.read(request.body, as: WatchBody.self)
        let service = try service(body, peer)
        try center.checkCanTell()
        if let other = subscriptions.subscribers[body.proxy], other.service != service {
            throw .init(409, "a proxy of \(other.service.text) has the name '\(body.proxy)'")
        }
        let endpoint = try body.address.map { address throws(ControlFailure) in
            var endpoint = MeshEndpoint(
                body.proxy, in: service.namespace, service: service.name, address: address,
                zone: body.zone, weight: body.weight ?? 1)
            endpoint.level = body.level ?? 0
            for label in body.labels ?? [] {
                let parts = label.split(
                    separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2 else {
                    throw .init(400, "labels: texts such as version=2 are needed")
                }
                endpoint.labels[String(parts[0])] = String(parts[1])
            }
            try register(endpoint, request.now)
            return endpoint.key
        }
        // The newer one is the proxy as it is now; the older may hang in a connection that is gone.
        watchers[body.proxy]?.watch.end()
        let watch = ServiceWatch(backlog: Self.backlog)
        enter(body.proxy, Watcher(watch, peer, endpoint: endpoint))
        let push = subscriptions.subscribe(
            body.proxy, to: service, held: body.held, center.mesh, now: request.now)
        send(.init(proxies: [body.proxy], push: push))
        return watch
    }

    /// The service of a proxy, which its certificate must name.
    private func service(
        _ body: WatchBody, _ peer: ControlPeer
    ) throws(ControlFailure) -> MeshName {
        guard MeshName.isLabel(body.proxy) else {
            throw .init(400, "proxy: a name such as cart-1 is needed")
        }
        guard let key = MeshKey(path: "\(MeshKind.service.plural)/\(body.service)") else {
            throw .init(400, "service: a name such as shop/cart is needed")
        }
        if let proxy = peer.proxy, proxy != body.proxy {
            throw .init(403, "the certificate is of the proxy '\(proxy)'")
        }
        if let service = peer.service, service != key.name {
            throw .init(403, "the certificate is of the service '\(service.text)'")
        }
        guard let service = center.mesh.services[key.name] else {
            throw .init(403, "there is no service '\(key.name.text)'")
        }
        guard center.mesh.identity(of: service) == peer.identity else {
            throw .init(
                403, "the certificate is of \(peer.identity.rawValue), not of '\(key.name.text)'")
        }
        return key.name
    }

    private func acknowledge(
        _ body: AckBody, _ peer: ControlPeer, _ now: Instant
    ) throws(ControlFailure) {
        _ = try watcher(body.proxy, peer)
        switch subscriptions.acknowledge(
            body.proxy, version: body.version, error: body.error, now: now)
        {
        case .accepted(let latency):
            if let latency { statistics.record(latency: latency) }
        case .refused: statistics.refusals += 1
        case .unknown: throw .init(404, "'\(body.proxy)' does not watch")
        }
    }

    private func watcher(_ name: String, _ peer: ControlPeer) throws(ControlFailure) -> Watcher {
        guard let watcher = watchers[name] else { throw .init(404, "'\(name)' does not watch") }
        guard watcher.peer.lineage == peer.lineage else {
            throw .init(403, "the certificate is not of '\(name)'")
        }
        return watcher
    }

    // MARK: Watches

    private func enter(_ name: String, _ watcher: Watcher) {
        watchers[name] = watcher
        lineages[watcher.peer.lineage] = name
        watcher.watch.onEnd = { [weak self, weak watcher] ending in
            guard let self, let watcher else { return }
            if ending == .slow { statistics.slow += 1 }
            // Somebody may have come in its place.
            if watchers[name] === watcher { drop(name) }
        }
    }

    private func drop(_ name: String) {
        guard let watcher = watchers.removeValue(forKey: name) else { return }
        if lineages[watcher.peer.lineage] == name { lineages[watcher.peer.lineage] = nil }
        subscriptions.unsubscribe(name)
    }

    private func take(_ news: MeshNews) {
        let deliveries = subscriptions.take(
            news, center.mesh, version: center.store.state.revision, now: clock())
        for delivery in deliveries { send(delivery) }
    }

    /// Checks say something else of endpoints.
    func take(checksOf endpoints: [MeshName]) {
        let deliveries = subscriptions.take(
            checksOf: endpoints, verdict: center.verdict, center.mesh, now: clock())
        for delivery in deliveries { send(delivery) }
    }

    private func send(_ delivery: MeshDelivery) {
        // Not as it stands in the store, where somebody may have put what cannot be read.
        let line = ControlText.line(delivery.push, declaration: center.codec.encode)
        statistics.record(delivery.push, bytes: line.count, count: delivery.proxies.count)
        for proxy in delivery.proxies { watchers[proxy]?.watch.send(line) }
    }

    func trust(_ bundle: String) {
        for delivery in subscriptions.setAuthorities(bundle, now: clock()) { send(delivery) }
    }

    func hasAcknowledgedTrust(lineage: String) -> Bool {
        lineages[lineage].map { subscriptions.hasAcknowledgedTrust($0) } ?? false
    }

    func dismiss(lineage: String) {
        guard let name = lineages[lineage], let watcher = watchers[name] else { return }
        // What cannot be written down now ends with its lease: nobody refreshes it any more.
        try? center.unregister(watcher.endpoint, now: clock())
        watcher.watch.end()
        drop(name)
    }

    func sift(_ isMember: (ControlPeer) -> Bool) {
        for name in sieve.next(watchers.count, { Array(watchers.keys) }) {
            guard let watcher = watchers[name], !isMember(watcher.peer) else { continue }
            watcher.watch.end()
            drop(name)
        }
    }

    func turnEnds(_ now: Instant) -> Instant? { nil }

    // MARK: Endpoints

    private func register(_ endpoint: MeshEndpoint, _ now: Instant) throws(ControlFailure) {
        do throws(ControlRefusal) {
            try center.register(endpoint, life: Self.life, now: now)
        } catch {
            throw ControlFailure(error)
        }
    }

    private func hear(
        of name: String, _ peer: ControlPeer, _ now: Instant
    ) throws(ControlFailure) {
        guard let endpoint = try watcher(name, peer).endpoint else { return }
        guard center.refresh(endpoint, now: now) else {
            throw .init(404, "\(endpoint.title) has ended: watch again")
        }
    }

    private func leave(_ name: String, _ peer: ControlPeer) throws(ControlFailure) {
        let watcher = try watcher(name, peer)
        do throws(ControlRefusal) {
            try center.unregister(watcher.endpoint, now: clock())
        } catch {
            throw ControlFailure(error)
        }
        watcher.watch.end()
        drop(name)
    }

    // MARK: For operators

    var count: Int { watchers.count }

    /// The answer to `GET /v1/proxies`.
    /// - Parameter envoys: by lineage. What such a member holds is what its Envoy has in force.
    func json(with envoys: [String: ConnectedEnvoy], _ page: ControlPage) -> [UInt8] {
        // Envoys may have the same name, so that alone would not say where a page ends.
        let alone = Dictionary(
            uniqueKeysWithValues: envoys.filter { lineages[$0.key] == nil }.map {
                ("\($0.value.name)!\($0.key)", $0.value)
            })
        let (page, next) = page.cut(watchers.keys + Array(alone.keys))
        let members = page.compactMap { name in
            alone[name].map(ConnectedMember.envoy) ?? member(name, envoys)
        }
        return ControlText.proxies(members, next: next, revision: center.store.state.revision)
    }

    private func member(
        _ name: String, _ envoys: [String: ConnectedEnvoy]
    ) -> ConnectedMember? {
        guard let watcher = watchers[name], let subscriber = subscriptions.subscribers[name] else {
            return nil
        }
        return .proxy(
            ConnectedProxy(
                name, identity: watcher.peer.identity, peer: "\(watcher.peer.address)",
                endpoint: watcher.endpoint.flatMap { endpoint($0.name) }, subscriber,
                envoy: envoys[watcher.peer.lineage]))
    }

    /// An endpoint with the health that it has in the end.
    private func endpoint(_ name: MeshName) -> MeshEndpoint? {
        guard var endpoint = center.mesh.endpoints[name] else { return nil }
        if endpoint.health == .healthy, !center.isWell(name) { endpoint.health = .unhealthy }
        return endpoint
    }

    /// Lets a proxy's endpoint get no new requests.
    /// - Returns: the revision from which on that holds.
    func drain(_ name: String) throws(ControlFailure) -> UInt64 {
        guard let watcher = watchers[name] else {
            throw .init(404, "there is no proxy '\(name)'")
        }
        guard let key = watcher.endpoint, var endpoint = center.mesh.endpoints[key.name] else {
            throw .init(409, "'\(name)' has no endpoint")
        }
        endpoint.health = .draining
        do throws(ControlRefusal) {
            return try center.perform(.put(.endpoint(endpoint), .init())).revision
        } catch {
            throw .init(503, "it could not be written down: \(ControlFailure(error).message)")
        }
    }
}

private struct WatchBody: Decodable {
    var proxy: String
    var service: String
    var held: UInt64?
    var address: String?
    var zone: String?
    var weight: Int?
    var level: Int?
    /// `version=2`.
    var labels: [String]?
}

private struct AckBody: Decodable {
    var proxy: String
    var version: UInt64
    var error: String?
}

private struct ProxyBody: Decodable {
    var proxy: String
}
