// HdrHistogram in Swift (Gil Tene, hdrhistogram.org): constant memory, constant relative error, lossless
// merging. This is the interface; the storage and the iteration are in this module too.

/// Counts of values from 0 to `highest`, each kept to 3 significant decimal digits.
public struct Histogram: Codable, Sendable {
    public init() {}
}
