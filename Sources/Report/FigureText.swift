/// A number for people, with three significant digits and its unit: `figure(41_200, unit: "ns")` is
/// `41.2 µs`.
/// - Parameter unit: one of those that `RunResult` uses: `ns`, `cores`, `bytes`, `per_second`,
///   `share`.
public func figure(_ value: Double, unit: String) -> String { Quantity(unit: unit).text(value) }

/// An interval for people, in one unit: `238 to 249 µs`.
public func figureInterval(low: Double, high: Double, unit: String) -> String {
    let quantity = Quantity(unit: unit)
    let middle = RunResult.Estimate((low + high) / 2, low: low, high: high)
    let suffix = quantity.scale(for: max(low.magnitude, high.magnitude)).suffix
    return (quantity.interval(of: middle) ?? "") + suffix
}
