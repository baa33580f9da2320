// Time is always an argument in this program: cores never read a clock. An `Instant` is a point on
// CLOCK_MONOTONIC (or on a simulated clock), a `Duration` a signed difference. Both are whole
// nanoseconds in 64 bits: 292 years, one machine word, no rounding. (The standard library's
// `Duration` is 128 bits of attoseconds, which costs on the request path; this one shadows it.)

/// A signed span of time in whole nanoseconds.
@frozen
public struct Duration: Hashable, Comparable, Codable, Sendable, BitwiseCopyable {
    /// The span in nanoseconds.
    public var nanoseconds: Int64

    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    // Computed: a stored one is reached through a pointer, and its module's start.
    @inlinable public static var zero: Duration { .init(nanoseconds: 0) }
    /// Longer than any run: used for "no limit".
    @inlinable public static var infinite: Duration { .init(nanoseconds: .max / 4) }

    @inlinable public static func nanoseconds(_ n: Int64) -> Duration { .init(nanoseconds: n) }
    @inlinable public static func microseconds(_ n: Int64) -> Duration {
        .init(nanoseconds: n * 1_000)
    }
    @inlinable public static func milliseconds(_ n: Int64) -> Duration {
        .init(nanoseconds: n * 1_000_000)
    }
    @inlinable public static func seconds(_ n: Int64) -> Duration {
        .init(nanoseconds: n * 1_000_000_000)
    }
    /// A span from fractional seconds, rounded to the nearest nanosecond.
    /// - Precondition: `seconds` is finite and fits.
    @inlinable public static func fractionalSeconds(_ seconds: Double) -> Duration {
        .init(nanoseconds: Int64((seconds * 1e9).rounded()))
    }

    /// The span in seconds.
    @inlinable public var seconds: Double { Double(nanoseconds) / 1e9 }
    /// The span in milliseconds.
    @inlinable public var milliseconds: Double { Double(nanoseconds) / 1e6 }
    /// The span in microseconds.
    @inlinable public var microseconds: Double { Double(nanoseconds) / 1e3 }

    /// As files write it, in the largest unit up to seconds that says it exactly: `1500us`.
    public var exactText: String {
        let units: [(name: String, worth: Int64)] = [
            ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000),
        ]
        let exact = units.first { nanoseconds % $0.worth == 0 } ?? ("ns", 1)
        return "\(nanoseconds / exact.worth)\(exact.name)"
    }

    @inlinable public static func < (a: Duration, b: Duration) -> Bool {
        a.nanoseconds < b.nanoseconds
    }
    @inlinable public static func + (a: Duration, b: Duration) -> Duration {
        .init(nanoseconds: a.nanoseconds + b.nanoseconds)
    }
    @inlinable public static func - (a: Duration, b: Duration) -> Duration {
        .init(nanoseconds: a.nanoseconds - b.nanoseconds)
    }
    @inlinable public static func * (a: Duration, n: Int64) -> Duration {
        .init(nanoseconds: a.nanoseconds * n)
    }
    @inlinable public static func / (a: Duration, n: Int64) -> Duration {
        .init(nanoseconds: a.nanoseconds / n)
    }
}

/// A point in time: nanoseconds of CLOCK_MONOTONIC, or of a simulated clock.
@frozen
public struct Instant: Hashable, Comparable, Codable, Sendable, BitwiseCopyable {
    public var nanoseconds: Int64

    @inlinable
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    @inlinable public static var zero: Instant { .init(nanoseconds: 0) }
    /// After every instant a run can reach.
    @inlinable public static var distantFuture: Instant { .init(nanoseconds: .max / 2) }

    @inlinable public static func < (a: Instant, b: Instant) -> Bool {
        a.nanoseconds < b.nanoseconds
    }
    @inlinable public static func + (a: Instant, d: Duration) -> Instant {
        .init(nanoseconds: a.nanoseconds + d.nanoseconds)
    }
    @inlinable public static func - (a: Instant, d: Duration) -> Instant {
        .init(nanoseconds: a.nanoseconds - d.nanoseconds)
    }
    @inlinable public static func - (a: Instant, b: Instant) -> Duration {
        .init(nanoseconds: a.nanoseconds - b.nanoseconds)
    }
}
