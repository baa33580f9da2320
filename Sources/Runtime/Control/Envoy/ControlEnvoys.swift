// The Envoys of a mesh: what each asks over and over, and is told when there is something new. Each
// of its questions is a request that waits for its answer (`ServiceWatch(held:)`), so that what is
// declared reaches it as fast as it does the reference proxies.

import Base
import ControlCore
import Model
import Posix

/// Answers `/v3/discovery:…`. On the control plane's thread, as all of it.
final class ControlEnvoys {
    private struct Question {
        let question: EnvoyQuestion
        let version: String
        let held: ServiceWatch
        /// When it is answered that nothing has changed.
        let deadline: Instant
        /// When it may be put again without a change.
        var retry = Instant.distantFuture
    }

    private final class Node {
        let id: String
        let peer: ControlPeer
        let service: MeshName
        var facts: EnvoyFacts
        var session: EnvoySession
        /// Bound: two for each question, as when a cluster replaces another of its name.
        var questions: [Question] = []
        /// When it asked last.
        var seen: Instant
        /// When it asked first.
        let since: Instant
        /// The revision of the last change that concerned it, or that at which it came: what it is
        /// to have in force. What checks find has no revision, and leaves this as it is.
        var due: UInt64
        /// The revision up to which it had everything in force when that was seen last; 0: of none.
        /// Where this is `due`, it has whatever came after that too.
        var acknowledged: UInt64 = 0
        var acknowledgedAt: Instant?

        init(
            _ id: String, _ peer: ControlPeer, _ facts: EnvoyFacts, _ session: EnvoySession,
            due: UInt64, _ now: Instant
        ) {
            self.id = id
            self.peer = peer
            service = facts.service
            self.facts = facts
            self.session = session
            self.due = due
            seen = now
            since = now
        }
    }

    private let center: ControlCenter
    /// By what their certificates have in common. Bound: `nodesMost`.
    private var nodes: [String: Node] = [:]
    private var views: EnvoyViews
    /// Keys of `nodes`.
    private var sieve = MemberSieve()
    /// That of the last change of the mesh, whomever it concerned.
    private var revision: UInt64
    private var bundle = ""
    private var modes = ModeChanges()
    /// How far services have come from one way of being spoken to to the other, as Envoys are told.
    private var modesTold: [MeshName: MeshModeChange] = [:]
    /// Of Envoys that are here no more.
    private var refusalsBefore = 0
    private var madeBefore = 0
    /// When a question is to be looked at again.
    private var next = Instant.distantFuture

    /// Bound: Envoys at once.
    static var nodesMost: Int { 2048 }
    /// How long a question waits before it is answered that nothing has changed: less than Envoy
    /// waits (`EnvoyRendering.patience`).
    static var hold: Duration { .seconds(60) }
    /// An Envoy that has asked nothing for so long is gone.
    static var absence: Duration { .seconds(60) }
    /// Between two looks at all questions.
    private static var pause: Duration { .milliseconds(100) }

    init(_ center: ControlCenter, clock: @escaping () -> Instant = Clock.now) {
        self.center = center
        views = EnvoyViews(center.mesh)
        revision = center.store.state.revision
        modes.follow(center.mesh, clock())
        center.afterChange.append { [weak self] news in self?.adopt(news, clock()) }
    }

    // MARK: Questions

    /// Answers `POST /v3/discovery:KIND`.
    func respond(
        to request: ServiceRequest, kind: String, from peer: ControlPeer
    ) throws(ControlFailure) -> ServiceAnswer {
        guard let type = EnvoyType(rawValue: kind) else {
            throw .init(404, "there is nothing of the kind '\(kind)'")
        }
        guard let service = peer.service else {
            throw .init(403, "nothing is known of what the certificate's owner joined as")
        }
        let asked = try EnvoyRequest(type, request.body, service: service)
        try center.checkCanTell()
        guard peer.proxy == nil || peer.proxy == asked.id else {
            throw .init(
                403, "the node is '\(asked.id)', and the certificate of '\(peer.proxy ?? "")'")
        }
        let node = try node(asked, peer, request.now)
        // An Envoy asks for one thing twice while a cluster replaces another; who asks more often
        // has forgotten the first.
        let same = node.questions.filter { $0.question == asked.question }
        if same.count >= 2 {
            same[0].held.answer(304)
            drop(same[0].held, of: node)
        }
        let answer = node.session.answer(
            asked.question, version: asked.version, isNew: true, now: request.now)
        // What is in force now may be what clusters and routes have waited for; nothing else waits
        // for what is in force.
        defer {
            put(node, EnvoyStaleness(types: [.clusters, .routes]), request.now)
            observe(node, request.now)
        }
        switch answer {
        case nil: throw .init(507, "more than \(EnvoySession.questionsMost) subscriptions")
        case .content(let content):
            return .json(200, content.body)
        case .wait(let retry):
            let held = ServiceWatch(held: ())
            held.onEnd = { [weak self, weak node, weak held] _ in
                if let node, let held { self?.drop(held, of: node) }
            }
            let question = Question(
                question: asked.question, version: asked.version, held: held,
                deadline: request.now + Self.hold, retry: retry)
            node.questions.append(question)
            next = min(next, question.deadline, retry)
            return .watch(held)
        }
    }

    private func drop(_ held: ServiceWatch, of node: Node) {
        node.questions.removeAll { $0.held === held }
    }

    private func node(
        _ asked: EnvoyRequest, _ peer: ControlPeer, _ now: Instant
    ) throws(ControlFailure) -> Node {
        if let node = nodes[peer.lineage], node.service == asked.facts.service {
            node.seen = now
            if node.facts != asked.facts {
                // It has begun anew, with another bootstrap.
                node.facts = asked.facts
                count(node)
                node.session = session(asked.facts, now)
            }
            return node
        }
        guard nodes.count < Self.nodesMost || nodes[peer.lineage] != nil else {
            throw .init(503, "there are \(nodes.count) Envoys already")
        }
        if let before = nodes[peer.lineage] { forget(before) }
        views.add(peer.lineage, to: asked.facts.service, center.mesh, isWell: center.isWell)
        let node = Node(
            asked.id, peer, asked.facts, session(asked.facts, now),
            due: center.store.state.revision, now)
        nodes[peer.lineage] = node
        next = min(next, now + Self.absence)
        return node
    }

    // MARK: What there is to tell

    private func session(_ facts: EnvoyFacts, _ now: Instant) -> EnvoySession {
        let endpoints = views.view(of: facts.service)?.endpoints ?? [:]
        let undecided = endpoints.values.filter { center.verdict($0.meshName) == .undecided }
        return EnvoySession(
            rendering(facts), awaiting: Set(undecided.map(\.serviceName)), now: now)
    }

    private func rendering(_ facts: EnvoyFacts) -> Result<EnvoyRendering, EnvoyRefusal> {
        Result { () throws(EnvoyRefusal) in
            try EnvoyRendering(
                facts, view: views.view(of: facts.service) ?? MeshState(), authorities: bundle,
                changes: modesTold)
        }
    }

    /// The mesh has changed.
    private func adopt(_ news: MeshNews, _ now: Instant) {
        let stale = views.take(news, center.mesh, isWell: center.isWell)
        // Before anything of it is told.
        followModes(news, now)
        let before = revision
        revision = center.store.state.revision
        renew(stale, now) { node, stale in
            // What did not concern it, it has.
            if node.acknowledged == node.due {
                node.acknowledged = max(node.acknowledged, before)
            }
            node.due = revision
            node.session.release(stale.isAll ? nil : stale.endpoints)
        }
    }

    /// A change of `mtls` to or from `off` is told in the steps that reference proxies take.
    private func followModes(_ news: MeshNews, _ now: Instant) {
        if case .changes(let changes) = news {
            for change in changes where change.key.kind == .service {
                let name = change.key.name
                modes.follow(name, center.mesh.services[name], now)
            }
        } else {
            modes.follow(center.mesh, now)
        }
        modesTold = modes.underWay(now)
        if let step = modes.deadline(after: now) { next = min(next, step) }
    }

    /// Tells the next steps of those changes.
    private func advanceModes(_ now: Instant) {
        let before = modesTold
        modesTold = modes.underWay(now)
        let moved = before.filter { modesTold[$0.key] != $0.value }.keys
        for service in moved { renew(views.staleness(ofMode: service), now) }
        if let step = modes.deadline(after: now) { next = min(next, step) }
    }

    /// Checks say something else of endpoints.
    func take(checksOf endpoints: [MeshName], _ now: Instant) {
        renew(views.take(checksOf: endpoints, center.mesh, isWell: center.isWell), now)
        guard nodes.values.contains(where: { $0.session.isAwaiting }) else { return }
        let mesh = center.mesh
        for service in Set(endpoints.compactMap { mesh.endpoints[$0]?.serviceName }) {
            let isDecided = mesh.endpoints(of: service).allSatisfy {
                center.verdict($0.meshName) != .undecided
            }
            guard isDecided else { continue }
            for lineage in views.callers(of: service).flatMap({ views.nodes(of: $0) }) {
                guard let node = nodes[lineage] else { continue }
                node.session.release([service])
                put(node, EnvoyStaleness(endpoints: [service]), now)
            }
        }
    }

    /// Answers who waits for what has changed.
    /// - Parameter prepare: called with each Envoy that it concerns before it is told.
    private func renew(
        _ stale: [MeshName: EnvoyStaleness], _ now: Instant,
        prepare: (Node, EnvoyStaleness) -> Void = { _, _ in }
    ) {
        for (service, stale) in stale {
            for lineage in views.nodes(of: service) {
                guard let node = nodes[lineage] else { continue }
                observe(node, now)
                prepare(node, stale)
                node.session.adopt(rendering(node.facts), stale: stale)
                put(node, stale, now)
            }
        }
    }

    /// Puts those questions of a node again that something may have come of.
    private func put(_ node: Node, _ stale: EnvoyStaleness, _ now: Instant) {
        for index in node.questions.indices.reversed()
        where stale.covers(node.questions[index].question) {
            let waiting = node.questions[index]
            let answer = node.session.answer(
                waiting.question, version: waiting.version, isNew: false, now: now)
            switch answer {
            case .content(let content):
                node.questions.remove(at: index)
                waiting.held.answer(
                    200, fields: [ServiceField("content-type", "application/json")],
                    body: content.body)
            case .wait(let retry):
                node.questions[index].retry = retry
                next = min(next, retry)
            case nil: break
            }
        }
    }

    /// Notes what is in force.
    private func observe(_ node: Node, _ now: Instant) {
        guard node.acknowledged != node.due, node.session.isCurrent() else { return }
        node.acknowledged = node.due
        node.acknowledgedAt = now
    }

    /// See `ServiceHandler.turnEnds`.
    func turnEnds(_ now: Instant) -> Instant? {
        guard now >= next else { return next }
        next = .distantFuture
        advanceModes(now)
        for (lineage, node) in nodes {
            if node.questions.contains(where: { $0.retry <= now }) { put(node, .all, now) }
            for question in node.questions where question.deadline <= now {
                question.held.answer(304)
                // From now on it may ask again.
                node.seen = now
            }
            node.questions.removeAll { $0.deadline <= now }
            for question in node.questions {
                next = min(next, question.deadline, question.retry)
            }
            if node.questions.isEmpty, node.seen + Self.absence <= now {
                nodes[lineage] = nil
                forget(node)
            }
            next = min(next, max(node.seen, now) + Self.absence)
        }
        // All are looked at each time: with many that wait, not once for each of them.
        next = max(next, now + Self.pause)
        return next
    }

    // MARK: Authorities

    /// See `ControlProxies.trust`.
    func trust(_ bundle: String, _ now: Instant) {
        self.bundle = bundle
        for node in nodes.values {
            let stale = EnvoyStaleness(types: [.secrets])
            node.session.adopt(rendering(node.facts), stale: stale)
            put(node, stale, now)
        }
    }

    /// See `ControlProxies.hasAcknowledgedTrust`; nil: no Envoy is of this lineage.
    func hasAcknowledgedTrust(lineage: String) -> Bool? {
        nodes[lineage]?.session.hasInForce(EnvoyRendering.authoritiesQuestion)
    }

    /// See `ControlProxies.dismiss`.
    func dismiss(lineage: String) {
        guard let node = nodes.removeValue(forKey: lineage) else { return }
        forget(node)
        for question in node.questions {
            question.held.answer(403)
        }
        node.questions = []
    }

    /// See `ControlProxies.sift`.
    func sift(_ isMember: (ControlPeer) -> Bool) {
        for lineage in sieve.next(nodes.count, { Array(nodes.keys) }) {
            guard let peer = nodes[lineage]?.peer, !isMember(peer) else { continue }
            dismiss(lineage: lineage)
        }
    }

    /// A node that is not in `nodes` any longer.
    private func forget(_ node: Node) {
        count(node)
        views.remove(node.peer.lineage, from: node.service)
    }

    /// Its session is about to go.
    private func count(_ node: Node) {
        refusalsBefore += node.session.refusalCount
        madeBefore += node.session.madeCount
    }

    // MARK: What operators see

    var count: Int { nodes.count }

    /// Prometheus' text format, version 0.0.4.
    var prometheus: String {
        let refusals = nodes.values.reduce(refusalsBefore) { $0 + $1.session.refusalCount }
        let made = nodes.values.reduce(madeBefore) { $0 + $1.session.madeCount }
        return """
            # TYPE meshbench_control_envoys gauge
            meshbench_control_envoys \(nodes.count)
            # TYPE meshbench_control_envoy_refusals_total counter
            meshbench_control_envoy_refusals_total \(refusals)
            # TYPE meshbench_control_envoy_answers_made_total counter
            meshbench_control_envoy_answers_made_total \(made)

            """
    }

    /// All of them, by lineage.
    func status() -> [String: ConnectedEnvoy] {
        // All have been told of everything that the store holds.
        let revision = center.store.state.revision
        return nodes.mapValues { node in
            observe(node, node.seen)
            // What came after the last change that concerned it, it has.
            let acknowledged = node.acknowledged == node.due ? revision : node.acknowledged
            return ConnectedEnvoy(
                name: node.id, service: node.service, identity: node.peer.identity,
                peer: "\(node.peer.address)", since: node.since, sent: revision,
                acknowledged: acknowledged, acknowledgedAt: node.acknowledgedAt,
                refusals: node.session.refusals(), refusalCount: node.session.refusalCount)
        }
    }
}
