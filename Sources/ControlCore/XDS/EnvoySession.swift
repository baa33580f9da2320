// How far one Envoy has followed what it is told, and what it may be told next. Without sockets and
// clocks.
//
// Envoy asks for each kind apart, with the version that it has in force, and a question waits until
// there is something else to answer. It says nothing of a refusal: it asks again with the version
// that it had. So whatever was answered twice and is not in force afterwards was refused.
//
// Make before break: clusters come before the routes that use them, with an answer to the question
// for their endpoints; and a cluster leaves only when the routes that used it have. Of what another
// control plane has told, or this one before it began anew, only the version is known: then a
// cluster that leaves does so at once. And where checks have yet to find out about endpoints, Envoy
// may have been told already that some are unhealthy: it keeps what it has until they have.

public import Base
public import Model

/// One Envoy's subscriptions.
public struct EnvoySession: Sendable {
    /// What becomes of a question.
    public enum Answer: Equatable, Sendable {
        case content(EnvoyContent)
        /// Nothing yet. It may be put again at that time, without any change.
        case wait(until: Instant)
    }

    /// Something that is not in force, and why.
    public struct Refusal: Hashable, Sendable {
        public var question: EnvoyQuestion
        /// What Envoy would not take; nil: it was not told, as `reason` says.
        public var version: String?
        public var reason: String
    }

    private struct Subscription {
        /// What Envoy said last that it has.
        var inForce = ""
        /// What was answered and is not in force yet, and how often.
        var offered: (version: String, count: Int)?
        var isRefused = false
        /// When what was refused may be offered again.
        var next = Instant(nanoseconds: .min)
    }

    private enum Made {
        case content(EnvoyContent)
        case nothing
        case refused(EnvoyRefusal)
    }

    /// Clusters that Envoy has, or was told.
    private struct KnownClusters {
        var version: String
        var items: [String: EnvoyContent.Item]

        init(_ content: EnvoyContent) {
            version = content.version
            items = [:]
            for item in content.items { items[item.name] = item }
        }
    }

    /// Routes that Envoy has, or was told, by the clusters to which they lead.
    private struct KnownRoutes {
        var version: String
        var uses: Set<String>

        init(_ content: EnvoyContent) {
            version = content.version
            uses = content.uses
        }
    }

    private var rendering: Result<EnvoyRendering, EnvoyRefusal>
    /// Services about whose endpoints checks have yet to find out. Bound: `waitMost`.
    private var awaited: (services: Set<MeshName>, until: Instant)
    /// Bound: `questionsMost`.
    private var subscriptions: [EnvoyQuestion: Subscription] = [:]
    /// What was made of the present mesh. Bound: `questionsMost`.
    private var made: [EnvoyQuestion: Made] = [:]
    private var clustersInForce: KnownClusters?
    private var clustersOffered: KnownClusters?
    private var routesInForce: KnownRoutes?
    private var routesOffered: KnownRoutes?
    /// Refusals so far.
    public private(set) var refusalCount = 0
    /// Contents that were made so far: what this costs.
    public private(set) var madeCount = 0

    /// Subscriptions of one Envoy: one for each cluster, and a few.
    public static let questionsMost = 20_000
    /// Until what was refused is offered again: what stood in its way may have gone.
    public static let retry = Duration.seconds(5)

    /// How long an Envoy that has endpoints keeps these until checks have found out about those
    /// that there are. Bound: what is declared must not be kept from it for as long as checks may
    /// take, which may be hours.
    public static let waitMost = Duration.seconds(60)

    /// - Parameter services: those of whose endpoints some are undecided.
    public init(
        _ rendering: Result<EnvoyRendering, EnvoyRefusal>, awaiting services: Set<MeshName> = [],
        now: Instant
    ) {
        self.rendering = rendering
        awaited = (services, now + Self.waitMost)
    }

    /// Whether checks have yet to find out about endpoints.
    public var isAwaiting: Bool { !awaited.services.isEmpty }

    /// Checks have found out about all endpoints of these services, or others have been declared:
    /// that holds, whatever is yet to be found. Nil: of all.
    public mutating func release(_ services: Set<MeshName>?) {
        awaited.services.subtract(services ?? awaited.services)
    }

    /// The mesh has changed.
    /// - Parameter stale: what may be other than it was; all else is as it was.
    /// - Complexity: that of what is stale.
    public mutating func adopt(
        _ rendering: Result<EnvoyRendering, EnvoyRefusal>, stale: EnvoyStaleness = .all
    ) {
        self.rendering = rendering
        guard !stale.isAll, !stale.types.contains(.endpoints) else {
            made = [:]
            return
        }
        for service in stale.endpoints { made[EnvoyQuestion(.endpoints, service.text)] = nil }
        for type in stale.types { made[EnvoyRendering.question(type)] = nil }
    }

    private func isUsed(_ cluster: String) -> Bool {
        routesInForce?.uses.contains(cluster) == true
            || routesOffered?.uses.contains(cluster) == true
    }

    // MARK: Questions

    /// Answers a question, or once more one that waits.
    /// - Parameters:
    ///   - version: what Envoy has in force; empty: nothing.
    ///   - isNew: it has just come.
    /// - Returns: nil: there are more subscriptions than there may be.
    public mutating func answer(
        _ question: EnvoyQuestion, version: String, isNew: Bool, now: Instant
    ) -> Answer? {
        guard subscriptions.count < Self.questionsMost || subscriptions[question] != nil else {
            return nil
        }
        if isNew { note(question, version) }
        guard let content = content(question), content.version != version,
            mayFollow(content)
        else { return .wait(until: .distantFuture) }
        if isKept(question, version), now < awaited.until { return .wait(until: awaited.until) }
        var subscription = subscriptions[question, default: Subscription()]
        var count = 0
        if let offered = subscription.offered, offered.version == content.version {
            count = offered.count
        }
        guard count < 2 || now >= subscription.next else {
            return .wait(until: subscription.next)
        }
        subscription.offered = (content.version, count + 1)
        subscription.next = now + Self.retry
        if count == 0 { subscription.isRefused = false }
        subscriptions[question] = subscription
        switch question.type {
        case .clusters:
            clustersOffered = KnownClusters(content)
        case .routes: routesOffered = KnownRoutes(content)
        case .listeners, .endpoints, .secrets: break
        }
        return .content(content)
    }

    /// Whether what Envoy has may say more of who is unhealthy than is known here.
    private func isKept(_ question: EnvoyQuestion, _ version: String) -> Bool {
        guard question.type == .endpoints, !version.isEmpty else { return false }
        return awaited.services.contains { $0.text == question.name }
    }

    /// What a question says of what is in force.
    private mutating func note(_ question: EnvoyQuestion, _ version: String) {
        var subscription = subscriptions[question, default: Subscription()]
        subscription.inForce = version
        if let offered = subscription.offered {
            if offered.version == version {
                subscription.offered = nil
                subscription.isRefused = false
            } else if offered.count >= 2, !subscription.isRefused {
                subscription.isRefused = true
                refusalCount += 1
            }
        }
        subscriptions[question] = subscription
        switch question.type {
        case .clusters:
            if clustersOffered?.version == version {
                clustersInForce = clustersOffered
            } else if clustersInForce?.version != version {
                clustersInForce = present(question, version).map(KnownClusters.init)
            }
            forgetEndpoints()
        case .routes:
            if routesOffered?.version == version {
                routesInForce = routesOffered
                // What these do not use may leave.
                made[EnvoyQuestion(.clusters)] = nil
            } else if routesInForce?.version != version {
                routesInForce = present(question, version).map(KnownRoutes.init)
            }
        case .listeners, .endpoints, .secrets: break
        }
    }

    /// A cluster that has left has taken its endpoints along: they are asked for anew when it
    /// comes again.
    private mutating func forgetEndpoints() {
        guard let items = clustersInForce?.items else { return }
        subscriptions = subscriptions.filter { question, _ in
            question.type != .endpoints || question.name.map { items[$0] != nil } ?? false
        }
    }

    /// What a version is, if it is the present one.
    private mutating func present(_ question: EnvoyQuestion, _ version: String) -> EnvoyContent? {
        guard let content = content(question), content.version == version else { return nil }
        return content
    }

    /// Whether all that a content needs is in force.
    private func mayFollow(_ content: EnvoyContent) -> Bool {
        guard content.type == .routes else { return true }
        guard let clustersInForce else { return false }
        return content.uses.allSatisfy { name in
            clustersInForce.items[name] != nil
                && subscriptions[EnvoyQuestion(.endpoints, name)]?.inForce.isEmpty == false
        }
    }

    // MARK: Contents

    private mutating func content(_ question: EnvoyQuestion) -> EnvoyContent? {
        if made[question] == nil {
            made[question] = make(question)
            madeCount += 1
        }
        guard case .content(let content) = made[question] else { return nil }
        return content
    }

    private func make(_ question: EnvoyQuestion) -> Made {
        do throws(EnvoyRefusal) {
            guard let content = try rendering.get().content(question) else { return .nothing }
            guard question.type == .clusters else { return .content(content) }
            // What routes may still use stays.
            var more: [String: EnvoyContent.Item] = [:]
            for known in [clustersInForce, clustersOffered] {
                for (name, item) in known?.items ?? [:] where isUsed(name) { more[name] = item }
            }
            for item in content.items { more[item.name] = nil }
            guard !more.isEmpty else { return .content(content) }
            let kept = more.values.sorted { $0.name < $1.name }
            return .content(EnvoyContent(.clusters, content.items + kept))
        } catch {
            return .refused(error)
        }
    }

    // MARK: What operators see

    /// What is not in force, in the order of questions, and what Envoy has no way to.
    public mutating func refusals() -> [Refusal] {
        let leftOut = ((try? rendering.get())?.leftOut ?? []).map {
            Refusal(question: EnvoyQuestion(.listeners), reason: $0.reason)
        }
        return withheld() + leftOut
    }

    private mutating func withheld() -> [Refusal] {
        subscriptions.keys.sorted().compactMap { question in
            _ = content(question)
            if case .refused(let refusal) = made[question] {
                return Refusal(question: question, reason: refusal.reason)
            }
            guard let subscription = subscriptions[question], subscription.isRefused,
                let offered = subscription.offered, content(question)?.version == offered.version
            else { return nil }
            return Refusal(
                question: question, version: offered.version,
                reason: "Envoy refused it; its log says why")
        }
    }

    /// Whether it has all in force that it is to have.
    public mutating func isCurrent() -> Bool {
        // Envoy asks for one because of another.
        guard subscriptions[EnvoyQuestion(.listeners)] != nil, hasAskedForRoutes,
            let clusters = content(EnvoyQuestion(.clusters))
        else { return false }
        for item in clusters.items where item.name != EnvoyRendering.appName {
            guard subscriptions[EnvoyQuestion(.endpoints, item.name)] != nil else { return false }
        }
        for (question, subscription) in subscriptions {
            _ = content(question)
            switch made[question] {
            case .content(let content):
                if content.version != subscription.inForce { return false }
            case .refused: return false
            case .nothing, nil: continue
            }
        }
        return true
    }

    private var hasAskedForRoutes: Bool {
        guard case .success(let rendering) = rendering, rendering.facts.outbound != nil else {
            return true
        }
        return subscriptions[EnvoyQuestion(.routes, EnvoyRendering.outboundName)] != nil
    }

    /// Whether a content is in force, such as the authorities that are to be trusted.
    public mutating func hasInForce(_ question: EnvoyQuestion) -> Bool {
        guard let content = content(question) else { return false }
        return subscriptions[question]?.inForce == content.version
    }
}
