// From values to places on an axis, and the round numbers that label it.

import Glibc

/// An axis: which values it spans, and how.
struct Scale: Equatable, Sendable {
    enum Kind: Equatable, Sendable {
        case linear
        /// Of values above zero.
        case logarithmic
        /// Of quantiles: 1/(1−q) on a logarithmic scale, so that each further nine takes the same
        /// space (Gil Tene's percentile plots).
        case tail
    }

    let kind: Kind
    let lower: Double
    let upper: Double

    /// - Precondition: `lower` < `upper`, both finite and of the kind's domain.
    init(_ kind: Kind, lower: Double, upper: Double) {
        precondition(lower.isFinite && upper.isFinite && lower < upper, "an axis without extent")
        precondition(kind != .logarithmic || lower > 0, "a logarithm of nothing")
        precondition(kind != .tail || (lower >= 0 && upper < 1), "a quantile out of range")
        self.kind = kind
        self.lower = lower
        self.upper = upper
    }

    /// From zero to a round number at or above every value.
    static func fromZero(to values: [Double]) -> Scale {
        let most = values.max() ?? 0
        guard most > 0 else { return Scale(.linear, lower: 0, upper: 1) }
        let step = roundStep(most / 4)
        return Scale(.linear, lower: 0, upper: (most / step - 1e-9).rounded(.up) * step)
    }

    /// Around all values, to round numbers, with room where they are all but equal.
    static func around(_ values: [Double]) -> Scale {
        guard let least = values.min(), let most = values.max() else {
            return Scale(.linear, lower: 0, upper: 1)
        }
        let span = max(most - least, most.magnitude * 0.02, 1e-12)
        let step = roundStep(span / 3)
        let lower = ((least - span * 0.1) / step).rounded(.down) * step
        let upper = ((most + span * 0.1) / step).rounded(.up) * step
        // Nothing that is counted here goes below zero, so neither does its axis.
        return Scale(.linear, lower: least >= 0 ? max(lower, 0) : lower, upper: upper)
    }

    /// Around all values above zero, to 1, 2 or 5 times a power of ten.
    static func logarithmic(around values: [Double]) -> Scale {
        let positive = values.filter { $0 > 0 }
        guard let least = positive.min(), let most = positive.max() else {
            return Scale(.logarithmic, lower: 1, upper: 10)
        }
        let steps = oneTwoFive(from: least / 10, to: most * 10)
        let lower = steps.last { $0 <= least } ?? least
        let upper = steps.first { $0 >= most && $0 > lower } ?? most * 2
        return Scale(.logarithmic, lower: lower, upper: upper)
    }

    /// From the least sample to the last nine that `samples` samples reach, at most seven.
    static func tail(samples: UInt64) -> Scale {
        Scale(.tail, lower: 0, upper: 1 - 1 / min(max(Double(samples), 10), 1e7))
    }

    /// Where `value` lies, 0 at `lower` and 1 at `upper`; values outside lie on the nearer end.
    func position(_ value: Double) -> Double {
        let place =
            (transformed(value) - transformed(lower))
            / (transformed(upper) - transformed(lower))
        return min(max(place, 0), 1)
    }

    private func transformed(_ value: Double) -> Double {
        switch kind {
        case .linear: value
        case .logarithmic: log10(max(value, lower))
        case .tail: -log10(1 - min(value, upper))
        }
    }

    /// Round values to label, both ends included where they are round: about `count` of them.
    func ticks(about count: Int) -> [Double] {
        switch kind {
        case .linear:
            let step = roundStep((upper - lower) / Double(max(count, 1)))
            let first = (lower / step - 1e-9).rounded(.up)
            let last = (upper / step + 1e-9).rounded(.down)
            return stride(from: first, through: last, by: 1).map { $0 * step }
        case .logarithmic:
            let all = oneTwoFive(from: lower, to: upper)
            if all.count <= count + 2 { return all }
            let tens = all.filter { isPowerOfTen($0) }
            return tens.count >= 3 ? tens : all.filter { isPowerOfTen($0) || isPowerOfTen($0 / 5) }
        case .tail:
            let nines = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999, 0.9999999]
            return nines.filter { $0 >= lower && $0 <= upper + 1e-12 }
        }
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below `least`.
func roundStep(_ least: Double) -> Double {
    precondition(least > 0 && least.isFinite, "a step of \(least)")
    let power = pow(10, log10(least).rounded(.down))
    for factor in [1.0, 2, 5] where factor * power >= least * (1 - 1e-9) { return factor * power }
    return 10 * power
}

/// 1, 2 and 5 times every power of ten from `low` to `high`.
private func oneTwoFive(from low: Double, to high: Double) -> [Double] {
    let first = Int(log10(low).rounded(.down))
    let last = Int(log10(high).rounded(.up))
    var values: [Double] = []
    for exponent in first...last {
        let power = pow(10, Double(exponent))
        values += [power, 2 * power, 5 * power]
    }
    return values.filter { $0 >= low * (1 - 1e-9) && $0 <= high * (1 + 1e-9) }
}

private func isPowerOfTen(_ value: Double) -> Bool {
    let exponent = log10(value)
    return (exponent - exponent.rounded()).magnitude < 1e-6
}

/// Places for labels that want to stand at `wanted`, moved apart to at least `gap` and kept within
/// `range` where there is room; in the order given.
///
/// Labels keep their order; where they collide, neighbours form a block that is centred on the mean
/// of what its members wanted (pool adjacent violators).
func spread(_ wanted: [Double], gap: Double, within range: ClosedRange<Double>) -> [Double] {
    let order = wanted.indices.sorted { wanted[$0] < wanted[$1] }
    // Each block: the sum of wanted first-member places, and its members.
    var blocks: [(sum: Double, count: Int)] = []
    for (rank, index) in order.enumerated() {
        blocks.append((wanted[index] - Double(rank) * gap, 1))
        while blocks.count > 1 {
            let last = blocks[blocks.count - 1]
            let before = blocks[blocks.count - 2]
            if before.sum / Double(before.count) <= last.sum / Double(last.count) { break }
            blocks.removeLast(2)
            blocks.append((before.sum + last.sum, before.count + last.count))
        }
    }
    let room = max(range.upperBound - gap * Double(max(order.count - 1, 0)), range.lowerBound)
    var places = wanted
    var rank = 0
    for block in blocks {
        let start = min(max(block.sum / Double(block.count), range.lowerBound), room)
        for _ in 0..<block.count {
            places[order[rank]] = start + Double(rank) * gap
            rank += 1
        }
    }
    return places
}
