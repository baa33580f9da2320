// How requests are spread over levels of endpoints, and when a level is in panic.
//
// A level's health is the share of its endpoints that are available, times 1.4: what is too many
// when all are well makes up for some that are not. Levels are filled in their order up to their
// health; so the second one gets something as soon as fewer than 72 % of the first are available.
// While all levels together have a health of 100 % there is no panic, however few a level has left;
// else a level with fewer available ones than the threshold says is in panic, and its requests go
// to all of its endpoints: overloading the few that are left would only take them down as well.
//
// Source: Envoy, `LoadBalancerBase::recalculatePerPriorityState`, `recalculatePerPriorityPanic` and
// `recalculateLoadInTotalPanic`; "Priority levels" and "Panic threshold" of its documentation.

/// The loads of levels.
struct LevelLoads: Equatable {
    /// A level as far as loads are concerned.
    struct Count: Equatable {
        var all: Int
        var available: Int
    }

    /// Percent; all together 100.
    private(set) var loads: [Int] = []
    private(set) var panics: [Bool] = []

    /// Envoy's overprovisioning factor, percent.
    static let surplus = 140

    /// - Parameter threshold: percent of available endpoints below which a level is in panic; 0:
    ///   never.
    init(_ levels: [Count], threshold: Double) {
        loads = [Int](repeating: 0, count: levels.count)
        panics = [Bool](repeating: false, count: levels.count)
        guard !levels.isEmpty else { return }
        let health = levels.map { level in
            level.all == 0 ? 0 : min(100, Self.surplus * level.available / level.all)
        }
        let whole = min(100, health.reduce(0, +))
        if whole > 0 { spread(health, whole) }
        guard threshold > 0 || whole > 0 else {
            // Nobody is there: whoever asks finds that out at the first level.
            loads[0] = 100
            return
        }
        if whole < 100 {
            panics = levels.map { level in
                let percent = level.all == 0 ? 0 : 100 * Double(level.available) / Double(level.all)
                return percent < threshold
            }
        }
        if panics.allSatisfy(\.self) { spreadInPanic(levels) }
    }

    private mutating func spread(_ health: [Int], _ whole: Int) {
        var left = 100
        for i in health.indices {
            loads[i] = min(left, health[i] * 100 / whole)
            left -= loads[i]
        }
        // What rounding leaves goes to the first that has anybody.
        if let first = health.firstIndex(where: { $0 > 0 }) { loads[first] += left }
    }

    /// By their size, however well they are.
    private mutating func spreadInPanic(_ levels: [Count]) {
        let all = levels.reduce(0) { $0 + $1.all }
        loads = levels.map { all == 0 ? 0 : 100 * $0.all / all }
        let first = levels.firstIndex { $0.all > 0 } ?? 0
        loads[first] += 100 - loads.reduce(0, +)
    }

    /// The level of a request.
    /// - Parameter number: by chance, or the hash of a request that shall meet the same endpoint
    ///   again.
    func level(_ number: UInt64) -> Int {
        let percent = Int(number % 100) + 1
        var sum = 0
        for i in loads.indices {
            sum += loads[i]
            if percent <= sum { return i }
        }
        return 0
    }
}
