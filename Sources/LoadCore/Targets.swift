// How requests and connections are dealt to several targets: both by weight, both the same in every
// run.

/// The targets of consecutive requests, to be repeated: each in proportion to its weight and spread
/// out as evenly as can be.
///
/// Smooth weighted round robin: in each turn every target gains its weight, the richest is chosen
/// and pays the sum of all. Source: nginx, `ngx_http_upstream_round_robin.c`.
/// - Precondition: weights are 1 or more and there is at least one.
public func targetRotation(weights: [Int]) -> [Int] {
    precondition(!weights.isEmpty && weights.allSatisfy { $0 >= 1 }, "weights of \(weights)")
    let divisor = weights.reduce(0, greatestCommonDivisor)
    let weights = weights.map { $0 / divisor }
    let sum = weights.reduce(0, +)
    var wealth = [Int](repeating: 0, count: weights.count)
    return (0..<sum).map { _ in
        for i in wealth.indices { wealth[i] += weights[i] }
        var chosen = 0
        for i in wealth.indices where wealth[i] > wealth[chosen] { chosen = i }
        wealth[chosen] -= sum
        return chosen
    }
}

/// How many of a thread's `connections` go to each target: one each, the others by weight.
///
/// The others go one at a time to whichever target has the most weight for each connection it would
/// then have (the highest averages of D'Hondt and Jefferson).
/// - Precondition: as many connections as targets, or more.
func connectionShares(weights: [Int], connections: Int) -> [Int] {
    precondition(connections >= weights.count, "fewer connections than targets")
    var shares = [Int](repeating: 1, count: weights.count)
    for _ in weights.count..<connections {
        var chosen = 0
        for i in weights.indices
        where weights[i] * (shares[chosen] + 1) > weights[chosen] * (shares[i] + 1) {
            chosen = i
        }
        shares[chosen] += 1
    }
    return shares
}

private func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
    b == 0 ? a : greatestCommonDivisor(b, a % b)
}
