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
        /// The revision that its session is of.
        var told: UInt64
        var acknowledged: UInt64 = 0
        var acknowledgedAt: Instant?

        init(
            _ id: String, _ peer: ControlPeer, _ facts: EnvoyFacts, _ session: EnvoySession,
            told: UInt64, _ now: Instant
        ) {
            self.id = id
            self.peer = peer
            service = facts.service
            self.facts = facts
            self.session = session
            self.told = told
            seen = now
            since = now
        }
    }

    /// What all proxies of a service need.
    private struct View {
        let needs: MeshNeeds
        var mesh: MeshState
    }

    private let center: ControlCenter
    /// By what their certificates have in common. Bound: `nodesMost`.
    private var nodes: [String: Node] = [:]
    private var views: [MeshName: View] = [:]
    private var bundle = ""
    /// Of Envoys that are here no more.
    private var refusalsBefore = 0
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
        // What is in force now may be what others have waited for.
        defer {
            put(node, request.now)
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
                refusalsBefore += node.session.refusalCount
                node.session = EnvoySession(rendering(asked.facts))
            }
            return node
        }
        guard nodes.count < Self.nodesMost || nodes[peer.lineage] != nil else {
            throw .init(503, "there are \(nodes.count) Envoys already")
        }
        let node = Node(
            asked.id, peer, asked.facts, EnvoySession(rendering(asked.facts)),
            told: center.store.state.revision, now)
        nodes[peer.lineage] = node
        next = min(next, now + Self.absence)
        return node
    }

    // MARK: What there is to tell

    private func view(_ service: MeshName) -> View {
        if let view = views[service] { return view }
        let needs = MeshNeeds(of: service, in: center.mesh)
        let mesh = MeshState(
            needs.view(of: center.mesh), trustDomain: center.mesh.trustDomain)
        let view = View(needs: needs, mesh: mesh)
        views[service] = view
        return view
    }

    private func rendering(_ facts: EnvoyFacts) -> Result<EnvoyRendering, EnvoyRefusal> {
        let mesh = view(facts.service).mesh
        return Result { () throws(EnvoyRefusal) in
            try EnvoyRendering(facts, view: mesh, authorities: bundle)
        }
    }

    /// The mesh has changed.
    func adopt(_ news: MeshNews, _ now: Instant) {
        guard !nodes.isEmpty, !news.isEmpty else {
            views = [:]
            return
        }
        var services: Set<MeshName> = []
        if case .changes(let changes) = news, changes.allSatisfy({ $0.key.kind == .endpoint }) {
            for change in changes {
                for case .endpoint(let endpoint)? in [change.before, change.after] {
                    services.insert(endpoint.serviceName)
                }
                for service in views.keys { adopt(change, service) }
            }
        } else {
            views = [:]
        }
        for node in nodes.values {
            // What does not concern it, it has.
            observe(node, now)
            node.told = center.store.state.revision
            if services.isEmpty {
                node.session.adopt(rendering(node.facts))
            } else {
                let needs = view(node.service).needs
                let met = services.filter(needs.calls)
                guard !met.isEmpty else {
                    observe(node, now)
                    continue
                }
                node.session.adopt(rendering(node.facts), endpointsOf: met)
            }
            put(node, now)
        }
    }

    /// Changes an endpoint of a view.
    private func adopt(_ change: MeshChange, _ service: MeshName) {
        guard var view = views.removeValue(forKey: service) else { return }
        if let after = change.after, view.needs.includes(after) {
            view.mesh.declare(after)
        } else {
            view.mesh.remove(change.key)
        }
        views[service] = view
    }

    /// Puts the questions of a node again.
    private func put(_ node: Node, _ now: Instant) {
        for index in node.questions.indices.reversed() {
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
        guard node.acknowledged != node.told, node.session.isCurrent() else { return }
        node.acknowledged = node.told
        node.acknowledgedAt = now
    }

    /// See `ServiceHandler.turnEnds`.
    func turnEnds(_ now: Instant) -> Instant? {
        guard now >= next else { return next }
        next = .distantFuture
        for (lineage, node) in nodes {
            if node.questions.contains(where: { $0.retry <= now }) { put(node, now) }
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
                refusalsBefore += node.session.refusalCount
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
            node.session.adopt(rendering(node.facts))
            put(node, now)
        }
    }

    /// See `ControlProxies.hasAcknowledgedTrust`; nil: no Envoy is of this lineage.
    func hasAcknowledgedTrust(lineage: String) -> Bool? {
        nodes[lineage]?.session.hasInForce(EnvoyRendering.authoritiesQuestion)
    }

    /// See `ControlProxies.dismiss`.
    func dismiss(lineage: String) {
        guard let node = nodes.removeValue(forKey: lineage) else { return }
        refusalsBefore += node.session.refusalCount
        for question in node.questions {
            question.held.answer(403)
        }
        node.questions = []
    }

    // MARK: What operators see

    var count: Int { nodes.count }

    /// Prometheus' text format, version 0.0.4.
    var prometheus: String {
        let refusals = nodes.values.reduce(refusalsBefore) { $0 + $1.session.refusalCount }
        return """
            # TYPE meshbench_control_envoys gauge
            meshbench_control_envoys \(nodes.count)
            # TYPE meshbench_control_envoy_refusals_total counter
            meshbench_control_envoy_refusals_total \(refusals)

            """
    }

    /// All of them, by lineage.
    func status() -> [String: ConnectedEnvoy] {
        nodes.mapValues { node in
            observe(node, node.seen)
            return ConnectedEnvoy(
                name: node.id, service: node.service, identity: node.peer.identity,
                peer: "\(node.peer.address)", since: node.since, sent: node.told,
                acknowledged: node.acknowledged, acknowledgedAt: node.acknowledgedAt,
                refusals: node.session.refusals(), refusalCount: node.session.refusalCount)
        }
    }
}
