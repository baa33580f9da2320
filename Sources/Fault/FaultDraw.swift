// Which requests a fault means: a hash and nothing else, so that two runs with the same requests
// have the same ones hit, whatever else differs.
//
//     request = FNV-1a, 64 bits, over the bytes of x-request-id
//     fault   = mix(seed XOR FNV-1a over the name)
//     draw    = mix(fault XOR mix(request + attempt · 9E3779B97F4A7C15h))
//     hit     = (draw >> 11) · 2⁻⁵³ < chance
//
// `mix` is SplitMix64's finalizer; additions and products are modulo 2⁶⁴. A smaller chance means
// some of the requests that a larger one does, and no others.

public import Base

/// A request as faults see it.
public struct FaultRequest: Equatable, Sendable, BitwiseCopyable {
    /// The hash of its `x-request-id`.
    public var hash: UInt64
    /// From 1.
    public var attempt: Int

    public init(hash: UInt64, attempt: Int = 1) {
        self.hash = hash
        self.attempt = attempt
    }

    public init(id: Bytes, attempt: Int = 1) {
        self.init(hash: fnv1a(id), attempt: attempt)
    }
}

/// What one fault has drawn for one request.
public struct FaultDraw: Equatable, Sendable, BitwiseCopyable {
    public var value: UInt64

    /// - Parameter fault: see `key`.
    public init(fault: UInt64, _ request: FaultRequest) {
        let attempt = UInt64(bitPattern: Int64(request.attempt)) &* 0x9E37_79B9_7F4A_7C15
        value = mix(fault ^ mix(request.hash &+ attempt))
    }

    /// 0 to below 1.
    public var unit: Double { Double(value >> 11) * 0x1p-53 }

    /// What else is drawn for the request, such as how long a delay is.
    public var random: SeededRandom { SeededRandom(seed: mix(value ^ 0xD1B5_4A32_D192_ED03)) }

    /// What is the same for all requests of a fault.
    public static func key(name: String, seed: UInt64) -> UInt64 {
        var name = name
        return name.withUTF8 { utf8 in
            mix(seed ^ (unsafe fnv1a(Bytes(UnsafeRawBufferPointer(utf8)))))
        }
    }
}

/// FNV-1a, 64 bits.
///
/// Source: Fowler, Noll, Vo, draft-eastlake-fnv.
public func fnv1a(_ bytes: Bytes) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for i in 0..<bytes.count { hash = (hash ^ UInt64(bytes[i])) &* 0x100_0000_01B3 }
    return hash
}
