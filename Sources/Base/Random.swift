// Every random decision of a run is a function of its seed. A generator is passed in, never shared;
// independent parts of a run take their own by `split`, so that adding a draw in one place does not
// move the draws of another.

/// The SplitMix64 generator: 64 bits of state, splittable by name.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
@frozen
public struct SeededRandom: RandomNumberGenerator, Sendable, BitwiseCopyable {
    @usableFromInline var state: UInt64

    @inlinable
    public init(seed: UInt64) { state = seed }

    @inlinable
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return mix(state)
    }

    /// A generator for one named part, the same for the same seed and label.
    public func split(_ label: String) -> SeededRandom {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in label.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return SeededRandom(seed: mix(state ^ mix(hash)))
    }

    /// A generator for one numbered part, the same for the same seed and index.
    @inlinable
    public func split(_ index: Int) -> SeededRandom {
        SeededRandom(
            seed: mix(state ^ mix(UInt64(bitPattern: Int64(index)) &+ 0x632B_E59B_D9B4_E019)))
    }

    /// A uniform number in [0, 1) with 53 random bits.
    @inlinable
    public mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// A uniform integer in 0 ..< `bound`, by Lemire's multiply-shift (bias below 2⁻³² for small
    /// bounds).
    /// - Precondition: `bound` > 0.
    @inlinable
    public mutating func below(_ bound: Int) -> Int {
        precondition(bound > 0, "a random number below \(bound)")
        return Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }
}

/// The SplitMix64 finalizer: a bijection on 64 bits that spreads every input bit.
@inlinable
public func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
}
