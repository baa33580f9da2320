// Queues of clusters whose limits hold for all workers together. A place that another worker lets
// go tells nobody here, so who waits looks for it:
//
//     requests wait here        every 5 ms, besides all that this worker's own events free
//     connections are idle      every 20 ms, and as they become idle: one that others wait for is
//                               closed
//
// How many wait is counted for all workers, and places that are free are kept for them: a new
// request takes one only where more are free. Whoever lets go what others wait for leaves it to
// them for 10 ms. A worker whose own queue never ends would keep its connections all the same, so
// while others wait it lets one of them go every 100 ms.
//
// Nothing of this is done for other clusters, or where there is one worker.

import Base
import Model
import Wire

/// What a worker knows of queues that others have too.
struct SharedQueues {
    /// When it looks again for what others have let go, or wait for.
    var nextLook = Instant.distantFuture
    /// Workers of the proxy, as they were at the start.
    let workers: Int
    /// By clusters, and their priorities.
    private var turns: [Turn] = []

    /// How long one queue has been served while others waited.
    private struct Turn: BitwiseCopyable {
        /// `zero`: no others waited.
        var began = Instant.zero
        /// `zero`: others have no more right to what is free than this one.
        var yieldsUntil = Instant.zero
    }

    /// How long who waits does so before it looks again.
    static let patience = Duration.milliseconds(5)
    /// How long an idle connection is kept before others are thought of.
    static let idlePatience = Duration.milliseconds(20)
    /// How long a queue is served while others wait.
    static let turnTime = Duration.milliseconds(100)
    /// Long enough for all others to look.
    static let yieldTime = patience * 2

    init(workers: Int) { self.workers = workers }

    /// Forgets turns: clusters may have other places from here on.
    mutating func begin(clusters: Int) {
        turns = Array(repeating: Turn(), count: clusters * 2)
    }

    /// Whether the queue leaves what is free to others.
    func yields(_ cluster: Int, _ priority: UInt8) -> Bool {
        turns[cluster * 2 + Int(priority)].yieldsUntil > .zero
    }

    /// Leaves what is free to others for a while.
    mutating func yield(_ cluster: Int, _ priority: UInt8, now: Instant) {
        turns[cluster * 2 + Int(priority)].yieldsUntil = now + Self.yieldTime
    }

    /// The queue is about to be served while no others wait.
    mutating func goOn(_ cluster: Int, _ priority: UInt8) {
        turns[cluster * 2 + Int(priority)].began = .zero
    }

    /// The queue is about to be served while others wait.
    /// - Returns: whether its turn is over; from here on it yields.
    mutating func ends(_ cluster: Int, _ priority: UInt8, now: Instant) -> Bool {
        let place = cluster * 2 + Int(priority)
        guard turns[place].began > .zero else {
            turns[place].began = now
            return false
        }
        guard now - turns[place].began >= Self.turnTime else { return false }
        turns[place].began = now
        yield(cluster, priority, now: now)
        return true
    }

    /// Those that have left places to others for long enough do so no more.
    mutating func endYielding(_ cluster: Int, now: Instant) {
        for place in cluster * 2..<cluster * 2 + 2 where turns[place].yieldsUntil <= now {
            turns[place].yieldsUntil = .zero
        }
    }
}

extension Proxy {
    /// Whether other workers have places of the cluster's too, and queues.
    @inline(__always)
    func isShared(_ cluster: Int) -> Bool {
        breakers[cluster].isStrict && queues.workers > 1
    }

    /// Requests of that priority that wait in other workers.
    private func waitingElsewhere(_ cluster: Int, _ priority: UInt8) -> Int {
        guard let shared = sharedBreakers[cluster] else { return 0 }
        return max(0, shared.waiting(priority) - waiting(cluster, priority))
    }

    /// How many of them will find no place.
    private func lackingElsewhere(_ cluster: Int, _ priority: UInt8) -> Int {
        guard let shared = sharedBreakers[cluster] else { return 0 }
        let limit = breakers[cluster].limit(.connections, priority)
        let free = max(0, limit - shared.count(.connections, priority))
        return waitingElsewhere(cluster, priority) - free
    }

    /// How many connections the cluster may have with one more for the request in hand.
    func connectionLimit(_ cluster: Int, _ priority: UInt8) -> Int {
        let limit = breakers[cluster].limit(.connections, priority)
        guard isShared(cluster) else { return limit }
        if upstreams.clusters[cluster].isServing {
            guard queues.yields(cluster, priority) else { return limit }
            return limit - waitingElsewhere(cluster, priority)
        }
        return limit - (sharedBreakers[cluster]?.waiting(priority) ?? 0)
    }

    /// Serves those that wait before a request that has just come, as another worker may have let
    /// go what they wait for.
    /// - Parameter bytes: its head, which is parsed, and is so again.
    func serveQueueFirst(_ bytes: Bytes, _ cluster: Int, now: Instant) {
        guard isShared(cluster), !upstreams.clusters[cluster].isServing else { return }
        let isDue =
            waiting(cluster, 0) > 0 && hasRoom(.connections, cluster, 0)
            || waiting(cluster, 1) > 0 && hasRoom(.connections, cluster, 1)
        guard isDue else { return }
        serveNextPending(cluster, now: now)
        guard head.parseRequest(bytes) == .complete else {
            preconditionFailure("a head that was complete no longer is")
        }
    }

    // MARK: Letting go

    /// A connection of the worker's is free, or has been closed. Notes who waits for it.
    /// - Returns: whether the worker's own queue is served; false: that has had its turn.
    func servesOwn(_ cluster: Int, _ priority: UInt8, now: Instant) -> Bool {
        guard isShared(cluster) else { return true }
        guard waitingElsewhere(cluster, priority) > 0 else {
            queues.goOn(cluster, priority)
            return true
        }
        guard waiting(cluster, priority) > 0 else {
            queues.yield(cluster, priority, now: now)
            return true
        }
        // A connection of HTTP/2 has room for others while it is in use.
        let isHTTP2 = upstreams.clusters[cluster].isHTTP2
        return isHTTP2 || !queues.ends(cluster, priority, now: now)
    }

    /// A connection has come into the pool.
    func offer(_ slot: Int, _ cluster: Int, now: Instant) {
        guard isShared(cluster) else { return serveNextPending(cluster, now: now) }
        let priority = connections[slot].priority
        if servesOwn(cluster, priority, now: now) || lackingElsewhere(cluster, priority) <= 0 {
            serveNextPending(cluster, now: now)
        }
        // Who has waited here may have it.
        guard connections[slot].role == .upstream, connections[slot].stage == .pooled else {
            return
        }
        guard lackingElsewhere(cluster, priority) <= 0 else { return letGo(slot, now: now) }
        lookAgain(cluster, after: SharedQueues.idlePatience, now: now)
    }

    /// A connection of HTTP/2 has no streams. It is looked at again for as long as it is open.
    /// - Returns: whether it is to be closed for others.
    func isWantedElsewhere(_ slot: Int, now: Instant) -> Bool {
        let cluster = Int(upstreams.endpoints[Int(connections[slot].endpoint)].cluster)
        guard cluster >= 0, isShared(cluster) else { return false }
        lookAgain(cluster, after: SharedQueues.idlePatience, now: now)
        return lackingElsewhere(cluster, connections[slot].priority) > 0
    }

    private func letGo(_ slot: Int, now: Instant) {
        if connections[slot].stage == .session { return drainSession(slot, now: now) }
        unpool(slot)
        close(slot)
    }

    // MARK: Looking

    /// Has the worker look again at the cluster's queues, wherever they are.
    @inline(__always)
    func lookAgain(_ cluster: Int, after wait: Duration, now: Instant) {
        if isShared(cluster) { queues.nextLook = min(queues.nextLook, now + wait) }
    }

    /// Has the worker look at once, as a new configuration may share other limits.
    func lookAtAll() {
        if breakers.indices.contains(where: isShared) { queues.nextLook = .zero }
    }

    /// The worker ends: nobody of its queues waits any more.
    func leaveQueues() {
        for cluster in sharedBreakers.indices {
            for priority in 0..<2 as Range<UInt8> {
                sharedBreakers[cluster]?.countWaiting(priority, -waiting(cluster, priority))
            }
        }
    }

    /// Serves those that wait with what others have let go, and lets go what others wait for.
    func look(now: Instant) {
        queues.nextLook = .distantFuture
        turn = now
        for cluster in breakers.indices where isShared(cluster) {
            queues.endYielding(cluster, now: now)
            serveNextPending(cluster, now: now)
            for priority in 0..<2 as Range<UInt8> {
                var lacking = lackingElsewhere(cluster, priority)
                while lacking > 0, let idle = idleConnection(cluster, priority) {
                    letGo(idle, now: now)
                    queues.yield(cluster, priority, now: now)
                    lacking -= 1
                }
            }
            if waiting(cluster, 0) > 0 || waiting(cluster, 1) > 0 {
                lookAgain(cluster, after: SharedQueues.patience, now: now)
            } else if upstreams.hasPooled(cluster) {
                lookAgain(cluster, after: SharedQueues.idlePatience, now: now)
            }
        }
    }
}
