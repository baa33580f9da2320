// How many requests a phase owes by which instant, and the inverse: at which instant the phase owes
// its x-th request. All three arrival processes are this inverse applied to different x: whole
// numbers give even spacing, whole numbers plus a uniform part give jitter, and sums of unit
// exponentials give a Poisson process of any rate over time (the time-rescaling theorem: Cinlar,
// "Introduction to Stochastic Processes", 1975, section 4.7).
//
// Only additions, products, quotients and square roots are used, which IEEE 754 rounds the same on
// every machine: a schedule is the same everywhere.

public import Base
public import Model

/// The requests due over the time of one phase: pieces of straight rate.
public struct RateCurve: Equatable, Sendable {
    /// A span in which the rate goes straight from one value to another.
    struct Piece: Equatable, Sendable {
        /// Seconds from the start of the phase.
        var start: Double
        var seconds: Double
        /// Requests per second.
        var from: Double
        var to: Double
        /// Requests due before this piece.
        var before: Double

        var requests: Double { (from + to) / 2 * seconds }

        /// When the piece owes `x` requests, in seconds from its start, 0 ≤ x < `requests`.
        ///
        /// The root of (to − from)/(2·seconds)·t² + from·t = x in the form that loses no digits
        /// where the slope is small, and that holds for slopes of either sign.
        func time(owing x: Double) -> Double {
            if x <= 0 { return 0 }
            let slope = (to - from) / seconds
            // Near the end of a ramp to zero rounding may leave a tiny number below zero.
            let root = max(0, from * from + 2 * slope * x).squareRoot()
            return 2 * x / (from + root)
        }
    }

    private(set) var pieces: [Piece]
    /// Requests due in all: the expected number where arrivals are random.
    public private(set) var total: Double
    /// The greatest rate that is reached, requests per second.
    public private(set) var peak: Double

    /// - Precondition: rates are finite and not negative, `duration` is above zero.
    public init(_ shape: RateShape, over duration: Duration) {
        precondition(duration > .zero, "a phase without duration")
        let rates: [(Double, Double)] =
            switch shape {
            case .constant(let rate): [(rate, rate)]
            case .ramp(let start, let end): [(start, end)]
            case .steps(let rates): rates.map { ($0, $0) }
            }
        pieces = []
        total = 0
        peak = 0
        let seconds = duration.seconds / Double(rates.count)
        for (i, (from, to)) in rates.enumerated() {
            precondition(from >= 0 && to >= 0 && from.isFinite && to.isFinite, "not a rate")
            let piece = Piece(
                start: Double(i) * seconds, seconds: seconds, from: from, to: to, before: total)
            pieces.append(piece)
            total += piece.requests
            peak = max(peak, from, to)
        }
    }

    /// When the phase owes `x` requests, in seconds from its start; nil if it never does.
    /// - Parameter hint: the piece of the last call; arguments do not fall from call to call.
    func time(owing x: Double, hint: inout Int) -> Double? {
        while hint < pieces.count {
            let piece = pieces[hint]
            if x - piece.before < piece.requests {
                return piece.start + piece.time(owing: x - piece.before)
            }
            hint += 1
        }
        return nil
    }
}

extension SeededRandom {
    /// A sample of the exponential distribution with mean 1.
    mutating func exponential() -> Double { -naturalLogarithm(1 - unit()) }
}

/// ln(x), good to 1 part in 10¹⁵, and the same bits on every machine: libm picks its routine by the
/// processor, and a last bit of difference would change the hash of a schedule.
///
/// x = m·2ᵉ with m in [√½, √2); ln m = 2·artanh((m − 1)/(m + 1)), its series to the 21st power.
/// - Precondition: `x` is positive, finite and normal.
func naturalLogarithm(_ x: Double) -> Double {
    var exponent = Double(x.exponent)
    var m = x.significand
    if m > 1.4142135623730951 {
        m /= 2
        exponent += 1
    }
    let s = (m - 1) / (m + 1)
    let square = s * s
    var sum = 1.0 / 21
    for odd in stride(from: 19.0, through: 1, by: -2) { sum = sum * square + 1 / odd }
    return exponent * 0.6931471805599453 + 2 * s * sum
}
