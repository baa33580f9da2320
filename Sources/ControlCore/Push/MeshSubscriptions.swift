// Who is told what of the mesh, and how far each has followed. Without sockets and clocks: whoever
// has them carries out what is delivered here.
//
// What proxies are told depends on their service alone, so a push is made once for each service
// that a change concerns, whatever the number of its proxies. Nothing is kept for any of them but
// how far it has been told: what changed stands in one short history.

public import Base
public import Model

/// What to tell whom.
public struct MeshDelivery: Equatable, Sendable {
    /// In order, so that the same changes make the same deliveries.
    public var proxies: [String]
    public var push: MeshPush

    public init(proxies: [String], push: MeshPush) {
        self.proxies = proxies
        self.push = push
    }
}

/// The subscribers of a control plane.
public struct MeshSubscriptions: Sendable {
    public struct Limits: Sendable {
        /// Changes that are kept for those who come back: whoever is further behind is told
        /// everything anew. Each is some 500 bytes.
        public var history = 16_384
        /// Changes that one who comes back is told one by one; beyond, telling everything is no
        /// more work.
        public var resume = 2048

        public init() {}
    }

    /// One proxy that watches.
    public struct Subscriber: Equatable, Sendable {
        public let service: MeshName
        public let since: Instant
        /// The version of the last push; every watch begins with one.
        public fileprivate(set) var sent: UInt64
        /// The version that it holds and acts by, as it said last; 0: none on this watch.
        public fileprivate(set) var acknowledged: UInt64 = 0
        /// When it said so.
        public fileprivate(set) var acknowledgedAt: Instant?
        /// What it would not take, and why, unless it has taken something since.
        public fileprivate(set) var refusal: Refusal?
        public fileprivate(set) var refusals = 0
        /// Pushes that it has not answered. Bound: `pendingMost`.
        fileprivate var pending: [Pending] = []
        /// The authorities that it trusts, by how often they had changed.
        fileprivate var trusts = 0
        /// What it holds is not known.
        fileprivate var isLost = false
    }

    public struct Refusal: Equatable, Sendable {
        public var version: UInt64
        public var reason: String
    }

    fileprivate struct Pending: Equatable, Sendable {
        var version: UInt64
        var at: Instant
        /// The authorities that it carried; nil: none.
        var trust: Int?
    }

    /// What an acknowledgement was worth.
    public enum Acknowledgement: Equatable, Sendable {
        /// After so long; nil: nothing was waited for.
        case accepted(after: Duration?)
        case refused
        /// Nobody of that name watches.
        case unknown
    }

    /// Of each subscriber, so that one that answers nothing costs no more. What is older counts as
    /// answered by the next answer.
    private static let pendingMost = 64
    /// Bytes of a reason that are kept.
    private static let reasonBytes = 1024

    public private(set) var subscribers: [String: Subscriber] = [:]
    /// The revision up to which everyone has been told.
    public private(set) var version: UInt64
    private let limits: Limits
    private var groups: PushGroups
    private var history: PushHistory
    private var authorities = ""
    /// How often these have been set.
    private var trust = 0
    private var findings = PushFindings()

    /// No subscribers.
    /// - Parameters:
    ///   - version: the store's revision.
    ///   - since: the revision of the last change of a declaration, or one after it.
    public init(_ mesh: MeshState, version: UInt64, since: UInt64, limits: Limits = .init()) {
        self.version = version
        self.limits = limits
        groups = PushGroups(mesh)
        history = PushHistory(since: since, limit: limits.history)
    }

    // MARK: Coming and going

    /// A proxy of a service begins to watch, in place of whoever had its name.
    /// - Parameter held: the version that it has; nil: none.
    /// - Returns: what to tell it first: everything, or what has changed since, be it nothing. Has
    ///   the authorities, and what checks have found, in any case: it may have been told something
    ///   else by another control plane, and neither has a version.
    public mutating func subscribe(
        _ proxy: String, to service: MeshName, held: UInt64?, _ mesh: MeshState, now: Instant
    ) -> MeshPush {
        unsubscribe(proxy)
        let needs = groups.add(proxy, to: service, mesh)
        let push =
            held.flatMap { delta(since: $0, needs) } ?? snapshot(needs, mesh)
        var subscriber = Subscriber(service: service, since: now, sent: version)
        subscriber.note(push, at: now, trust: trust)
        subscribers[proxy] = subscriber
        return push
    }

    public mutating func unsubscribe(_ proxy: String) {
        guard let subscriber = subscribers.removeValue(forKey: proxy) else { return }
        groups.remove(proxy, from: subscriber.service)
    }

    // MARK: Changes

    /// The mesh has changed.
    /// - Parameters:
    ///   - mesh: after it.
    ///   - version: that of the mesh; less than the one before only where it was replaced.
    public mutating func take(
        _ news: MeshNews, _ mesh: MeshState, version: UInt64, now: Instant
    ) -> [MeshDelivery] {
        precondition(version >= self.version || news == .replaced, "a mesh of the past")
        let before = self.version
        self.version = version
        switch news {
        case .changes(let changes):
            guard !changes.isEmpty else { return [] }
            history.append(changes, version)
            let effects = groups.take(changes, mesh)
            var deliveries: [MeshDelivery] = []
            for (service, effect) in effects.sorted(by: { $0.key < $1.key }) {
                switch effect {
                case .needs: deliveries += deliver(nil, to: service, mesh, now)
                case .changes(let places):
                    guard let needs = groups[service]?.needs,
                        let delta = push(places.map { changes[$0] }, needs)
                    else { continue }
                    deliveries += deliver(delta, to: service, mesh, now)
                }
            }
            return deliveries
        case .replaced:
            // What anybody holds of the mesh before is another's, though the versions come again.
            history = PushHistory(since: max(before + 1, version), limit: limits.history)
            groups.replace(mesh)
            return groups.groups.keys.sorted().flatMap { deliver(nil, to: $0, mesh, now) }
        }
    }

    /// The trusted authorities have changed: everyone is told.
    /// - Parameter bundle: PEM.
    public mutating func setAuthorities(_ bundle: String, now: Instant) -> [MeshDelivery] {
        authorities = bundle
        trust += 1
        guard !subscribers.isEmpty else { return [] }
        let push = MeshPush(version: version, isSnapshot: false, authorities: bundle)
        let proxies = subscribers.keys.sorted()
        for proxy in proxies { subscribers[proxy]?.note(push, at: now, trust: trust) }
        return [MeshDelivery(proxies: proxies, push: push)]
    }

    /// Checks say something else than before.
    /// - Parameters:
    ///   - endpoints: of these, which there need not be any longer, or which have begun anew.
    ///   - verdict: what they say of one.
    public mutating func take(
        checksOf endpoints: [MeshName], verdict: (MeshName) -> HealthVerdict, _ mesh: MeshState,
        now: Instant
    ) -> [MeshDelivery] {
        var news: [MeshName: MeshFindings] = [:]
        for endpoint in Set(endpoints).sorted() {
            let (healthy, unhealthy) = findings.take(
                endpoint, verdict(endpoint), of: mesh.endpoints[endpoint]?.serviceName)
            let sick = unhealthy.map { Set(groups.callers(of: $0)) } ?? []
            let well = Set(healthy.flatMap { groups.callers(of: $0) }).subtracting(sick)
            for service in well { news[service, default: .init()].healthy.append(endpoint) }
            for service in sick { news[service, default: .init()].unhealthy.append(endpoint) }
        }
        return news.sorted { $0.key < $1.key }.flatMap { service, findings in
            deliver(
                MeshPush(version: version, isSnapshot: false, checks: findings), to: service, mesh,
                now)
        }
    }

    /// - Parameter delta: nil: everything is to be told.
    private mutating func deliver(
        _ delta: MeshPush?, to service: MeshName, _ mesh: MeshState, _ now: Instant
    ) -> [MeshDelivery] {
        guard let group = groups[service] else { return [] }
        var lost: [String] = []
        var others: [String] = []
        for proxy in group.members.sorted() {
            let isLost = delta == nil || subscribers[proxy]?.isLost ?? false
            if isLost { lost.append(proxy) } else { others.append(proxy) }
        }
        var deliveries: [MeshDelivery] = []
        if let delta, !others.isEmpty { deliveries.append(.init(proxies: others, push: delta)) }
        if !lost.isEmpty {
            deliveries.append(.init(proxies: lost, push: snapshot(group.needs, mesh)))
        }
        for delivery in deliveries {
            for proxy in delivery.proxies {
                subscribers[proxy]?.note(delivery.push, at: now, trust: trust)
            }
        }
        return deliveries
    }

    // MARK: Pushes

    private mutating func snapshot(_ needs: MeshNeeds, _ mesh: MeshState) -> MeshPush {
        MeshPush(
            version: version, isSnapshot: true, authorities: authorities,
            puts: needs.view(of: mesh), checks: findings.all(for: needs))
    }

    /// What has changed since a version; nil: it is not known, or too much, or more than that may
    /// have changed.
    private mutating func delta(since held: UInt64, _ needs: MeshNeeds) -> MeshPush? {
        guard held <= version, let changes = history.changes(after: held, atMost: limits.resume)
        else { return nil }
        // The needs are the present ones. They are those of then if no change concerns what they
        // follow from: what does not meet them now did not lead to them.
        let isSure = changes.allSatisfy { change in
            !change.mayChangeNeeds(of: needs.service)
                || change.key.kind == .route && !change.concerns(needs)
        }
        guard isSure else { return nil }
        var push = push(changes, needs) ?? MeshPush(version: version, isSnapshot: false)
        push.authorities = authorities
        push.checks = findings.all(for: needs)
        return push
    }

    /// What changes come to for whoever has these needs; nil: nothing.
    private func push(_ changes: [MeshChange], _ needs: MeshNeeds) -> MeshPush? {
        var whole: [MeshKey: MeshChange] = [:]
        for change in changes {
            whole[change.key, default: change].after = change.after
        }
        var push = MeshPush(version: version, isSnapshot: false)
        for (key, change) in whole.sorted(by: { $0.key < $1.key }) {
            if let after = change.after, needs.includes(after) {
                if change.before != after { push.puts.append(after) }
            } else if let before = change.before, needs.includes(before) {
                push.deletes.append(key)
            }
        }
        return push.puts.isEmpty && push.deletes.isEmpty ? nil : push
    }

    // MARK: Answers

    /// A proxy says that it acts by a version, or that it will not.
    /// - Parameter error: why not; it is told everything the next time, as what it holds is not
    ///   known.
    public mutating func acknowledge(
        _ proxy: String, version: UInt64, error: String? = nil, now: Instant
    ) -> Acknowledgement {
        guard var subscriber = subscribers[proxy] else { return .unknown }
        defer { subscribers[proxy] = subscriber }
        let answered = subscriber.answer(version)
        if let error {
            subscriber.refusals += 1
            subscriber.isLost = true
            let reason = String(decoding: error.utf8.prefix(Self.reasonBytes), as: UTF8.self)
            subscriber.refusal = Refusal(version: version, reason: reason)
            return .refused
        }
        // Nobody can have taken what was not sent.
        guard version <= subscriber.sent else { return .accepted(after: nil) }
        if version >= subscriber.acknowledged {
            subscriber.acknowledged = version
            subscriber.acknowledgedAt = now
            subscriber.refusal = nil
        }
        for push in answered { subscriber.trusts = push.trust ?? subscriber.trusts }
        let last = answered.last { $0.version == version }
        return .accepted(after: last.map { now - $0.at })
    }

    /// Whether a proxy has acknowledged the present authorities.
    public func hasAcknowledgedTrust(_ proxy: String) -> Bool {
        subscribers[proxy].map { $0.trusts == trust } ?? false
    }

    /// What a proxy needs; nil: it does not watch.
    public func needs(of proxy: String) -> MeshNeeds? {
        subscribers[proxy].flatMap { groups[$0.service]?.needs }
    }
}

extension MeshSubscriptions.Subscriber {
    /// A push goes out.
    fileprivate mutating func note(_ push: MeshPush, at now: Instant, trust: Int) {
        if push.version < sent {
            // Another store. What was said of the one before means nothing.
            (pending, acknowledged) = ([], 0)
        }
        sent = push.version
        if push.isSnapshot { isLost = false }
        if pending.count == MeshSubscriptions.pendingMost { pending.removeFirst() }
        pending.append(
            .init(version: push.version, at: now, trust: push.authorities == nil ? nil : trust))
    }

    /// The pushes that an answer is for: all before its version, and the first of it. Two may have
    /// the same, of which each is answered.
    fileprivate mutating func answer(_ version: UInt64) -> [MeshSubscriptions.Pending] {
        let before = pending.prefix { $0.version < version }.count
        let isThere = before < pending.count && pending[before].version == version
        let answered = Array(pending[..<(before + (isThere ? 1 : 0))])
        pending.removeFirst(answered.count)
        return answered
    }
}

extension MeshChange {
    /// Whether what was or is said has to do with what is needed.
    fileprivate func concerns(_ needs: MeshNeeds) -> Bool {
        [before, after].contains { $0.map(needs.includes) ?? false }
    }
}
