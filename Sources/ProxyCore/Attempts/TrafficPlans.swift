// What a configuration says of attempts, as the request path meets it: plain values by place, made
// once for each configuration.

import Base
import Model

/// A retry policy with what is not copied for each request.
struct RetryPlan {
    let policy: RetryPolicy
    let rules: RetryRules
    /// Of the condition `retriable-headers`; a nil value: any.
    let headers: [(name: [UInt8], value: [UInt8]?)]
    let waits: [(name: [UInt8], format: RetryPolicy.WaitHeader.Format)]

    init(_ policy: RetryPolicy, place: Int) {
        self.policy = policy
        rules = RetryRules(policy, place: place)
        headers = policy.headers.map { (Array($0.name.utf8), $0.value.map { Array($0.utf8) }) }
        waits = policy.waitHeaders.map { (Array($0.name.utf8), $0.format) }
    }
}

/// A cluster's.
struct ClusterPlan: BitwiseCopyable {
    /// The place of its retry policy; -1: none.
    var retry: Int32
    /// The place among the admission windows; -1: none.
    var admission: Int32
}

/// A route's.
struct RoutePlan: BitwiseCopyable {
    /// The place of its retry policy; -1: its cluster's holds.
    var retry: Int32
    var priority: UInt8
    /// Places of its mirrors.
    var mirrors: PatternRange
}

/// What is known of the attempts of one request that has a policy.
struct Tries: BitwiseCopyable {
    var rules: RetryRules
    /// Retries that are left.
    var left: UInt8
    /// The first of the attempts that have overrun their time and go on, from 1; 0: none. They are
    /// linked by `Connection.next`.
    var rivals: Int32
}

/// All plans of a configuration.
struct TrafficPlans {
    private(set) var retries: [RetryPlan] = []
    /// By the place of the policy; nil: its budget is none by rate.
    var budgets: [RateBudget?] = []
    /// By the place of the policy: whose it is, across configurations.
    private var owners: [String] = []
    private(set) var clusters: [ClusterPlan] = []
    private(set) var routes: [RoutePlan] = []
    private(set) var mirrors: [MirrorPlan] = []
    var admissions: [AdmissionWindow] = []
    /// By the place of the window.
    private var admitting: [(cluster: String, policy: AdmissionPolicy)] = []

    /// What headers alone ask for.
    static let fromHeaders = RetryRules(RetryPolicy(on: [], includesUnsafe: true), place: -1)

    init(_ configuration: ProxyConfiguration) {
        for cluster in configuration.clusters {
            let retry = add(cluster.retry, of: "cluster \(cluster.name)", configuration.workers)
            var admission: Int32 = -1
            if let policy = cluster.admission {
                admission = Int32(admissions.count)
                admissions.append(AdmissionWindow(policy))
                admitting.append((cluster.name, policy))
            }
            clusters.append(ClusterPlan(retry: retry, admission: admission))
        }
        let places = ClusterPlaces(configuration)
        // Made only where they are asked for: there may be many.
        let retrying = configuration.routes.contains { $0.retry != nil }
        let texts = retrying ? RouteTexts(configuration.routes).texts : []
        // A declared route's budget is one for all its hosts and matches.
        var declared: [String: Int32] = [:]
        for (place, route) in configuration.routes.enumerated() {
            let first = mirrors.count
            mirrors += route.mirrors.map { MirrorPlan($0, places) }
            let retry =
                route.declared.flatMap { declared[$0] }
                ?? add(
                    route.retry,
                    of: route.declared.map { "declared route \($0)" }
                        ?? "route \(texts[place])", configuration.workers)
            if let name = route.declared { declared[name] = retry }
            routes.append(
                RoutePlan(
                    retry: retry,
                    priority: route.priority == .high ? 1 : 0,
                    mirrors: PatternRange(first, mirrors.count)))
        }
    }

    private mutating func add(
        _ policy: RetryPolicy?, of owner: @autoclosure () -> String, _ workers: Int
    ) -> Int32 {
        guard let policy else { return -1 }
        let place = retries.count
        owners.append(owner())
        retries.append(RetryPlan(policy, place: place))
        if case .rate(let percent, let window, let least) = policy.budget {
            budgets.append(
                RateBudget(
                    percent: percent, window: window, leastPerSecond: least, workers: workers))
        } else {
            budgets.append(nil)
        }
        return Int32(place)
    }

    /// Goes on with what was counted for the same owners under the same policies, whatever else
    /// has come or gone.
    /// - Returns: where the old retry policies are now, by their places; -1: nowhere.
    mutating func keepCounts(of old: TrafficPlans) -> [Int32] {
        var moved = [Int32](repeating: -1, count: old.retries.count)
        let oldPlaces = Self.places(old.owners)
        for (place, owner) in owners.enumerated() {
            guard let before = oldPlaces[owner],
                old.retries[before].policy == retries[place].policy
            else { continue }
            budgets[place] = old.budgets[before]
            moved[before] = Int32(place)
        }
        let oldWindows = Self.places(old.admitting.map(\.cluster))
        for (place, admission) in admitting.enumerated() {
            guard let before = oldWindows[admission.cluster],
                old.admitting[before].policy == admission.policy
            else { continue }
            admissions[place] = old.admissions[before]
        }
        return moved
    }

    private static func places(_ names: [String]) -> [String: Int] {
        Dictionary(zip(names, names.indices), uniquingKeysWith: { first, _ in first })
    }
}
