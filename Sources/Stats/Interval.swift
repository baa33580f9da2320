/// A closed range in which a quantity lies with a stated confidence.
@frozen
public struct Interval: Equatable, Sendable {
    public let low: Double
    public let high: Double

    /// - Precondition: `low` ≤ `high`.
    public init(low: Double, high: Double) {
        precondition(low <= high, "an interval from \(low) to \(high)")
        self.low = low
        self.high = high
    }

    @inlinable
    public func contains(_ value: Double) -> Bool { value >= low && value <= high }
}

/// Half of what a two-sided interval leaves out.
func tail(confidence: Double) -> Double {
    precondition(confidence > 0 && confidence < 1, "confidence \(confidence)")
    return (1 - confidence) / 2
}
