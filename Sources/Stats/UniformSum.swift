import Glibc

/// The sum of independent numbers, each uniform from 0 to a width of its own.
///
/// Of n widths w the share of sums up to x is
///
///     F(x) = Σ (-1)^|S| · max(0, x - Σ w of S)^n / (n! · Π w)    over all subsets S of them
///
/// which for widths of 1 is the Irwin–Hall distribution. Terms cancel: what is left of the digits
/// is good to 10^-6 for ten widths.
///
/// Source: Bradley and Gupta, "On the distribution of the sum of n non-identically distributed
/// uniform random variables", Annals of the Institute of Statistical Mathematics 54, 2002.
public struct UniformSum: Equatable, Sendable {
    public let widths: [Double]

    /// - Precondition: from 1 to 10 widths, all above zero.
    public init(_ widths: [Double]) {
        precondition((1...10).contains(widths.count), "\(widths.count) widths")
        precondition(widths.allSatisfy { $0 > 0 && $0.isFinite }, "a width of nothing")
        self.widths = widths
    }

    /// The greatest sum.
    public var most: Double { widths.reduce(0, +) }

    /// The share of sums that are not greater.
    public func cumulative(_ x: Double) -> Double {
        guard x > 0 else { return 0 }
        guard x < most else { return 1 }
        // By symmetry: the smaller half has the fewer terms to cancel.
        guard x <= most / 2 else { return 1 - cumulative(most - x) }
        let n = widths.count
        var sum = 0.0
        for subset in 0..<(1 << n) {
            var rest = x
            for (place, width) in widths.enumerated() where subset >> place & 1 == 1 {
                rest -= width
            }
            guard rest > 0 else { continue }
            let term = widths.enumerated().reduce(1.0) { product, width in
                product * rest / width.element / Double(width.offset + 1)
            }
            sum += subset.nonzeroBitCount % 2 == 0 ? term : -term
        }
        return min(max(sum, 0), 1)
    }

    /// The least sum that so large a share does not exceed.
    /// - Precondition: `share` is from 0 to 1.
    public func quantile(_ share: Double) -> Double {
        precondition((0...1).contains(share), "a share of \(share)")
        // Near the ends more sums than one have the same share, as far as a double tells.
        if share == 0 { return 0 }
        if share == 1 { return most }
        var (low, high) = (0.0, most)
        // 60 halvings are more than a double can tell apart.
        for _ in 0..<60 {
            let middle = (low + high) / 2
            if cumulative(middle) < share { low = middle } else { high = middle }
        }
        return high
    }
}
