// When a certificate is asked for anew: about halfway, so that a control plane may be away for the
// other half, and not all at the same time.

public import Base

/// How renewals are spread.
public enum CertificateRenewal {
    /// The part of its life after which a certificate is renewed is within a tenth of half.
    public static let share = 0.45...0.55

    /// When to ask for the next.
    /// - Parameters:
    ///   - received: when the certificate came.
    ///   - wall: CLOCK_REALTIME at that moment, nanoseconds.
    ///   - notAfter: its end, seconds since 1970.
    /// - Returns: `received` where it has ended already.
    public static func due(
        received: Instant, wall: Int64, notAfter: Int64,
        random: inout some RandomNumberGenerator
    ) -> Instant {
        let left = Double(notAfter) - Double(wall) / 1e9
        guard left > 0 else { return received }
        // Bound: what a clock that is far off makes of it is no more than a year.
        let bounded = min(left, 366 * 86_400)
        return received
            + .fractionalSeconds(bounded * Double.random(in: share, using: &random))
    }
}
