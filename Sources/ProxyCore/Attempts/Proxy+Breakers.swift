// The breakers of this worker's clusters: who takes a place, and who gives it back.
//
//     connections   `takeConnection` ─────────────────▶ `close` of the connection
//     pending       `wait`, or a connection's opening ─▶ `removePending`, `connectionMade`, `leave`
//     requests      `place` ───────────────────────────▶ `leave`, as the attempt ends
//     retries       `takeRetry` ───────────────────────▶ `giveRetry`: the answer's head, or the end

import Base
import Model

extension Proxy {
    // MARK: Counting

    /// Takes a place of the cluster's; false: there is none.
    @inline(__always)
    func take(_ resource: Resource, _ cluster: Int, _ priority: UInt8) -> Bool {
        if breakers[cluster].isStrict {
            let limit =
                resource == .connections
                ? connectionLimit(cluster, priority) : breakers[cluster].limit(resource, priority)
            return takeStrictly(resource, cluster, priority, limit)
        }
        guard breakers[cluster].hasRoom(resource, priority) else { return false }
        change(resource, cluster, priority, by: 1)
        return true
    }

    /// Counts in this worker, and tells how many there are.
    @inline(__always)
    private func change(_ resource: Resource, _ cluster: Int, _ priority: UInt8, by change: Int32) {
        breakers[cluster].count(resource, priority, by: change)
        upstreams.clusters[cluster].counts?.add(.active(resource), Int(change))
    }

    private func takeStrictly(
        _ resource: Resource, _ cluster: Int, _ priority: UInt8, _ limit: Int
    ) -> Bool {
        guard sharedBreakers[cluster]?.take(resource, priority, limit: limit) == true else {
            return false
        }
        change(resource, cluster, priority, by: 1)
        return true
    }

    @inline(__always)
    func give(_ resource: Resource, _ cluster: Int, _ priority: UInt8) {
        change(resource, cluster, priority, by: -1)
        if breakers[cluster].isStrict { sharedBreakers[cluster]?.add(resource, priority, -1) }
    }

    /// The client's request waits: in its cluster's queue, or for its connection to be opened. Of
    /// one attempt that is counted once, also where it does one after the other.
    func countWait(_ slot: Int, _ cluster: Int) {
        guard !connections[slot].exchange.hasWaited else { return }
        connections[slot].exchange.hasWaited = true
        count(.requestsPending, cluster)
    }

    /// Whether there is a place now.
    func hasRoom(_ resource: Resource, _ cluster: Int, _ priority: UInt8) -> Bool {
        guard breakers[cluster].isStrict, let shared = sharedBreakers[cluster] else {
            return breakers[cluster].hasRoom(resource, priority)
        }
        return shared.count(resource, priority) < breakers[cluster].limit(resource, priority)
    }

    // MARK: Connections

    /// Takes a place for one more connection to the endpoint; false: there is none.
    func takeConnection(_ endpoint: Int, _ cluster: Int, _ priority: UInt8) -> Bool {
        if take(.connections, cluster, priority) { return true }
        count(.connectionOverflow, .connectionOverflow, cluster)
        // Envoy: an endpoint without any may always have one, so that nothing waits for a
        // connection that nobody would open.
        guard !breakers[cluster].isStrict, upstreams.endpoints[endpoint].connections == 0 else {
            return false
        }
        change(.connections, cluster, priority, by: 1)
        return true
    }

    /// Whether a request of that priority that waits can go on: there is a free connection that it
    /// may use, or one may be opened.
    func canServe(_ cluster: Int, _ priority: UInt8) -> Bool {
        // Room on a connection of HTTP/2 serves both priorities.
        let isFree =
            upstreams.clusters[cluster].isHTTP2
            ? upstreams.hasPooled(cluster) : breakers[cluster].pooled(priority) > 0
        if isFree { return true }
        guard breakers[cluster].isStrict, let shared = sharedBreakers[cluster] else {
            return breakers[cluster].hasRoom(.connections, priority)
        }
        return shared.count(.connections, priority) < connectionLimit(cluster, priority)
    }

    /// The connection of `endpoint` that was used last, for a request of that priority, whose
    /// limits it counts against from here on; nil: none is free.
    func popPooled(_ endpoint: Int, _ cluster: Int, _ priority: UInt8) -> Int? {
        let first = Int(upstreams.endpoints[endpoint].pooled.first)
        guard first >= 0 else { return nil }
        let owner = connections[first].priority
        if owner != priority, take(.connections, cluster, priority) {
            give(.connections, cluster, owner)
            unpool(first)
            connections[first].priority = priority
            return first
        }
        guard let own = firstOwn(first, cluster, priority) else { return nil }
        unpool(own)
        return own
    }

    /// The first connection of the rest of a pool that takes up a place of that priority already;
    /// nil: there is none.
    /// - Complexity: O(those of the other priority before it); O(1) where the cluster has none.
    func firstOwn(_ slot: Int, _ cluster: Int, _ priority: UInt8) -> Int? {
        guard breakers[cluster].pooled(priority) > 0 else { return nil }
        var slot = slot
        while slot >= 0, connections[slot].priority != priority {
            slot = Int(connections[slot].next)
        }
        return slot >= 0 ? slot : nil
    }

    /// Takes the place of an idle connection, which is closed: for a tunnel, which needs one of its
    /// own, and for a request that may not go where that one leads; false: there is none.
    func takeIdlePlace(_ cluster: Int, _ priority: UInt8) -> Bool {
        // Endpoints may have more than the limit, each the one that it may always have.
        let breaker = breakers[cluster]
        guard breaker.count(.connections, priority) <= breaker.limit(.connections, priority),
            let idle = idleConnection(cluster, priority)
        else { return false }
        unpool(idle)
        close(idle)
        return take(.connections, cluster, priority)
    }

    /// An idle connection that takes up a place of that priority; nil: there is none.
    /// - Complexity: O(idle connections of the cluster) where the other priority has them too.
    func idleConnection(_ cluster: Int, _ priority: UInt8) -> Int? {
        guard breakers[cluster].pooled(priority) > 0 else { return nil }
        var endpoint = upstreams.clusters[cluster].firstPooled
        while endpoint >= 0 {
            var slot = upstreams.endpoints[Int(endpoint)].pooled.first
            while slot >= 0 {
                if connections[Int(slot)].priority == priority, isUnused(Int(slot)) {
                    return Int(slot)
                }
                slot = connections[Int(slot)].next
            }
            endpoint = upstreams.endpoints[Int(endpoint)].nextPooled
        }
        return nil
    }

    /// Whether a connection in the pool has nothing to do: those of HTTP/2 may have streams.
    private func isUnused(_ slot: Int) -> Bool {
        guard connections[slot].stage == .session else { return connections[slot].stage == .pooled }
        return session(of: slot).streams.isEmpty
    }

    /// A connection has come into its endpoint's pool, or has left it.
    func countPooled(_ slot: Int, by change: Int32) {
        let cluster = cluster(ofEndpoint: Int(connections[slot].endpoint))
        if cluster >= 0 { breakers[cluster].countPooled(connections[slot].priority, by: change) }
    }

    /// A connection is gone.
    func giveConnection(_ slot: Int) {
        let cluster = Int(upstreams.endpoints[Int(connections[slot].endpoint)].cluster)
        if cluster >= 0 { give(.connections, cluster, connections[slot].priority) }
    }

    // MARK: Attempts

    /// The attempt on `upstream` is over: what it holds of its cluster's is given back.
    func leave(_ upstream: Int) {
        let connection = connections[upstream]
        let cluster = Int(upstreams.endpoints[Int(connection.endpoint)].cluster)
        if connection.holdsRequest {
            connections[upstream].holdsRequest = false
            if cluster >= 0 { give(.requests, cluster, connection.priority) }
        }
        if connection.holdsPending { endPending(upstream, cluster) }
        connections[upstream].isOverdue = false
        connections[upstream].wasRetried = false
    }

    private func endPending(_ upstream: Int, _ cluster: Int) {
        connections[upstream].holdsPending = false
        if cluster >= 0 { give(.pending, cluster, connections[upstream].priority) }
    }

    /// The attempt has a connection that is open: it waits no more.
    func connectionMade(_ upstream: Int) {
        guard connections[upstream].holdsPending else { return }
        endPending(upstream, cluster(ofEndpoint: Int(connections[upstream].endpoint)))
    }

    // MARK: Retries

    /// Whether one more retry to the client's cluster may be in flight, and if so takes its place.
    /// One that is in flight already goes on to count, whatever becomes of the next: both have one
    /// place.
    /// - Returns: what forbids it; nil: nothing does.
    func takeRetry(_ client: Int, now: Instant) -> Decision? {
        let isHeld = hasRetryInFlight(client)
        if !isHeld { giveRetry(client) }
        let cluster = Int(connections[client].exchange.cluster)
        let priority = connections[client].exchange.priority
        guard cluster >= 0 else { return .breakerRetries }
        let place = Int(tries[client].rules.place)
        let budget =
            plans.retries.indices.contains(place)
            ? plans.retries[place].policy.budget : nil
        switch budget {
        case nil:
            let most = breakers[cluster].limit(.retries, priority)
            guard isHeld ? hasOnly(most, cluster, priority) : take(.retries, cluster, priority)
            else { return .breakerRetries }
        case .concurrency(let percent, let least):
            guard takeOfBudget(percent, least, cluster, priority, isHeld: isHeld) else {
                return .retryBudget
            }
        case .rate:
            guard plans.budgets[place]?.hasRoom(now: now) != false else { return .retryBudget }
            plans.budgets[place]?.noteRetry(now: now)
            if !isHeld { countRetry(cluster, priority) }
        }
        connections[client].exchange.holdsRetry = true
        return nil
    }

    /// Takes a place of a budget by concurrency; false: there is none. Where the limits are strict
    /// it is one budget for all workers, whose queues, but for this one's, are not looked at: that
    /// lets in fewer, never more.
    /// - Parameter isHeld: a place is held already, and only asked for again.
    private func takeOfBudget(
        _ percent: Double, _ least: Int, _ cluster: Int, _ priority: UInt8, isHeld: Bool
    ) -> Bool {
        let shared = breakers[cluster].isStrict ? sharedBreakers[cluster] : nil
        let most = ConcurrencyBudget.most(
            percent: percent, least: least,
            active: shared?.count(.requests, priority)
                ?? breakers[cluster].count(.requests, priority),
            pending: waiting(cluster, priority))
        guard !isHeld else { return hasOnly(most, cluster, priority) }
        guard shared == nil else { return takeStrictly(.retries, cluster, priority, most) }
        guard breakers[cluster].count(.retries, priority) < most else { return false }
        countRetry(cluster, priority)
        return true
    }

    /// Whether no more retries to the cluster are in flight than that.
    private func hasOnly(_ most: Int, _ cluster: Int, _ priority: UInt8) -> Bool {
        let shared = breakers[cluster].isStrict ? sharedBreakers[cluster] : nil
        let count =
            shared?.count(.retries, priority) ?? breakers[cluster].count(.retries, priority)
        return count <= most
    }

    /// Whether an attempt of the client's is a retry that holds a place and has no answer yet.
    private func hasRetryInFlight(_ client: Int) -> Bool {
        guard connections[client].exchange.holdsRetry else { return false }
        if let peer = connections[client].peer, connections[peer].isRetry { return true }
        var rival = Int(tries[client].rivals) - 1
        // Bound: a request has no more attempts than its policy lets it.
        while rival >= 0 {
            if connections[rival].isRetry { return true }
            rival = Int(connections[rival].next)
        }
        return false
    }

    /// A retry that was decided on is not sent: its place is free, unless one in flight has it too.
    func forgoRetry(_ client: Int) {
        if !hasRetryInFlight(client) { giveRetry(client) }
    }

    private func countRetry(_ cluster: Int, _ priority: UInt8) {
        change(.retries, cluster, priority, by: 1)
        if breakers[cluster].isStrict { sharedBreakers[cluster]?.add(.retries, priority, 1) }
    }

    /// The retry of a client's has an answer, or is over.
    func giveRetry(_ client: Int) {
        guard connections[client].exchange.holdsRetry else { return }
        connections[client].exchange.holdsRetry = false
        let cluster = Int(connections[client].exchange.cluster)
        if cluster >= 0 { give(.retries, cluster, connections[client].exchange.priority) }
    }

    /// Requests in the cluster's queue.
    func waiting(_ cluster: Int, _ priority: UInt8) -> Int {
        let cluster = upstreams.clusters[cluster]
        return Int(priority == 0 ? cluster.pending.count : cluster.pendingHigh.count)
    }

    // MARK: Configuration

    /// Makes the breakers of the configuration in force, and counts anew what is there: clusters
    /// may have other places, and endpoints other clusters.
    func renewBreakers(_ configuration: ProxyConfiguration) {
        let held = zip(sharedBreakers, breakers).compactMap { shared, own in
            shared.map { (shared: $0, own: own) }
        }
        queues.begin(clusters: configuration.clusters.count)
        breakers = configuration.clusters.map { Breaker($0.breaker) }
        sharedBreakers = configuration.clusters.map { cluster in
            cluster.breaker.isStrict
                ? commons.breakers.item(cluster.name) { SharedBreaker() } : nil
        }
        for slot in 0..<touchedSlots { recount(slot) }
        shareCounts(inPlaceOf: held)
        for cluster in breakers.indices { tellResources(cluster) }
    }

    private func shareCounts(inPlaceOf held: [(shared: SharedBreaker, own: Breaker)]) {
        var left = Dictionary(
            held.map { (ObjectIdentifier($0.shared), $0) }, uniquingKeysWith: { first, _ in first })
        for (shared, own) in zip(sharedBreakers, breakers) {
            guard let shared else { continue }
            let old = left.removeValue(forKey: ObjectIdentifier(shared))?.own
            shared.replace(old, by: own)
        }
        for (shared, own) in left.values { shared.replace(own, by: nil) }
    }

    /// The worker ends: it holds nothing of what all workers share.
    func leaveShared() {
        for (shared, own) in zip(sharedBreakers, breakers) { shared?.replace(own, by: nil) }
    }

    private func recount(_ slot: Int) {
        let connection = connections[slot]
        switch connection.role {
        case .free: return
        case .upstream:
            let cluster = Int(upstreams.endpoints[Int(connection.endpoint)].cluster)
            guard cluster >= 0 else { return }
            let priority = connection.priority
            if !connection.isStream { breakers[cluster].count(.connections, priority, by: 1) }
            if connection.stage == .pooled || connection.isPooled {
                breakers[cluster].countPooled(priority, by: 1)
            }
            if connection.holdsRequest { breakers[cluster].count(.requests, priority, by: 1) }
            if connection.holdsPending { breakers[cluster].count(.pending, priority, by: 1) }
        case .downstream:
            let cluster = Int(connection.exchange.cluster)
            guard cluster >= 0 else { return }
            let priority = connection.exchange.priority
            if connection.exchange.holdsRetry { breakers[cluster].count(.retries, priority, by: 1) }
            if connection.stage == .pending { breakers[cluster].count(.pending, priority, by: 1) }
        }
    }
}
