// Which things a worker counts by name, and where.

import Base
import Model
import Synchronization

/// A thing that is counted.
public struct CountedThing: Hashable, Sendable {
    public enum Kind: String, CaseIterable, Sendable {
        case cluster
        case route
        case host
        case listener
    }

    public let kind: Kind
    /// A cluster's name; empty: it is a route or a listener.
    public let cluster: String
    /// An endpoint's address, what a route asks for, or a listener's name; empty: it is a cluster.
    public let part: String

    static func cluster(_ name: String) -> CountedThing {
        CountedThing(kind: .cluster, cluster: name, part: "")
    }

    static func host(_ cluster: String, _ address: String) -> CountedThing {
        CountedThing(kind: .host, cluster: cluster, part: address)
    }

    static func route(_ conditions: String) -> CountedThing {
        CountedThing(kind: .route, cluster: "", part: conditions)
    }

    static func listener(_ name: String) -> CountedThing {
        CountedThing(kind: .listener, cluster: "", part: name)
    }
}

/// One worker's counts by name. Which lines there are changes with its configuration; what keeps
/// its name keeps its line.
///
/// Bound: a line for each cluster, endpoint, route and listener of the configuration, of at most
/// 384 bytes.
public final class TrafficCounts: Sendable {
    private let table = Mutex<[CountedThing: CountLine]>([:])

    init() {}

    /// All lines as they stand now. They go on being written to.
    public var lines: [CountedThing: CountLine] { table.withLock { $0 } }

    /// Goes over to other lines.
    fileprivate func replace(_ lines: [CountedThing: CountLine]) {
        table.withLock { $0 = lines }
    }
}

extension Proxy {
    /// Finds the lines of what the configuration in force names. Handles to lines that go are given
    /// up here, before the lines.
    func renewCounts() {
        let old = counts.lines
        var lines: [CountedThing: CountLine] = [:]
        lines.reserveCapacity(old.count)
        func handle<Name>(_ thing: CountedThing) -> CountHandle<Name> {
            let line = lines[thing] ?? old[thing] ?? CountLine(Name.self)
            lines[thing] = line
            return CountHandle(line)
        }
        for c in upstreams.clusters.indices {
            upstreams.clusters[c].counts = handle(.cluster(upstreams.clusterNames[c]))
        }
        for e in upstreams.endpoints.indices {
            let cluster = Int(upstreams.endpoints[e].cluster)
            // What is still on its way to one that is gone is counted for its cluster alone.
            guard cluster >= 0, !upstreams.endpoints[e].removed else {
                upstreams.endpoints[e].counts = nil
                continue
            }
            upstreams.endpoints[e].counts = handle(
                .host(upstreams.clusterNames[cluster], upstreams.addresses[e]))
            upstreams.tellHost(e)
        }
        routeCounts = RouteTexts(configuration.routes).texts.map { handle(.route($0)) }
        listenerCounts = configuration.listeners.map { handle(.listener($0.name)) }
        // What came by one that is kept counts for the route that asks for the same now, if any.
        routeCounts += router.kept.map { route in
            lines[.route(RouteTexts.text(of: route))].map { CountHandle($0) }
        }
        counts.replace(lines)
    }

    /// Counts for the worker, and for the cluster.
    /// - Parameter cluster: -1: it is gone, or there is none.
    @inline(__always)
    func count(_ counter: Counter, _ own: ClusterCount, _ cluster: Int) {
        counters.add(counter)
        count(own, cluster)
    }

    /// Counts for the cluster.
    /// - Parameter cluster: -1: it is gone, or there is none.
    @inline(__always)
    func count(_ own: ClusterCount, _ cluster: Int) {
        if cluster >= 0 { upstreams.clusters[cluster].counts?.add(own) }
    }

    /// Counts for a route.
    /// - Parameter route: -1: there is none.
    @inline(__always)
    func count(_ own: RouteCount, route: Int32) {
        if route >= 0 { routeCounts[Int(route)]?.add(own) }
    }

    /// Counts what a policy has done with the client's exchange: for the worker, and for where it
    /// goes, its cluster and its route, as far as it has them. What becomes of a mirror is not its
    /// route's.
    func count(policy: PolicyCount, of slot: Int) {
        count(
            policy: policy, cluster: Int(connections[slot].exchange.cluster),
            route: connections[slot].isMirror ? -1 : connections[slot].exchange.route)
    }

    /// - Parameters:
    ///   - cluster: -1: it is gone, or there is none.
    ///   - route: -1: there is none.
    func count(policy: PolicyCount, cluster: Int, route: Int32) {
        counters.add(policy.total)
        if cluster >= 0 { upstreams.clusters[cluster].counts?.add(policy) }
        if route >= 0 { routeCounts[Int(route)]?.add(policy) }
    }

    /// Counts for the listener that a client came by.
    func count(_ own: ListenerCount, listenerOf slot: Int) {
        let listener = Int(connections[slot].listener)
        // One that is gone goes on serving whom it has.
        if listener < listenerCounts.count { listenerCounts[listener].add(own) }
    }

    /// Counts how a client's exchange has ended.
    func countEnd(_ slot: Int, flag: ResponseFlag?) {
        let cluster = Int(connections[slot].exchange.cluster)
        let status = Int(connections[slot].exchange.status)
        if status > 0, cluster >= 0 {
            upstreams.clusters[cluster].counts?.add(StatusClass(of: status))
        }
        let route = Int(connections[slot].exchange.route)
        guard route >= 0, let counts = routeCounts[route] else { return }
        if status > 0 {
            counts.add(StatusClass(of: status))
        } else {
            counts.add(.unanswered)
        }
        let attempts = Int(connections[slot].exchange.attempts)
        counts.add(.attempts, attempts)
        if attempts > 1 { counts.add(.retries, attempts - 1) }
        let noted = connections[slot].exchange.noted
        if noted.contains(.UO) { counts.add(.retryOverflow) }
        if noted.contains(.URX) { counts.add(.retryLimitExceeded) }
        if connections[slot].exchange.decision.isOverload { counts.add(.overflow) }
        switch flag {
        case .UT: counts.add(.timeouts)
        case .RL: counts.add(.rateLimited)
        case .FI: counts.add(.faultAnswers)
        default: break
        }
    }

    /// Tells how many of each resource the cluster has now: its breaker was counted anew.
    func tellResources(_ cluster: Int) {
        for resource in Resource.allCases {
            upstreams.clusters[cluster].counts?.set(
                .active(resource),
                breakers[cluster].count(resource, 0) + breakers[cluster].count(resource, 1))
        }
    }
}

extension Upstreams {
    /// Tells how the endpoint stands. Changes nothing: it is `mutating` so that a proxy calls it in
    /// place, and does not copy the whole table for it.
    fileprivate mutating func tellHost(_ endpoint: Int) {
        guard let counts = endpoints[endpoint].counts else { return }
        counts.set(.connectionsActive, Int(endpoints[endpoint].connections))
        counts.set(.requestsActive, Int(endpoints[endpoint].attempts))
        counts.set(.isHealthy, endpoints[endpoint].isHealthy ? 1 : 0)
    }
}
