public import Base

/// The field `grpc-timeout`: how long whoever called is still going to wait, counted from the
/// instant at which the request was sent (grpc/doc/PROTOCOL-HTTP2.md, "Requests").
public enum GRPCTimeout {
    /// The span that a field names: one to eight digits and a unit, `H`, `M`, `S`, `m`, `u` or `n`.
    /// What 64 bits of nanoseconds do not hold is `Duration.infinite`.
    /// - Returns: nil where it is no timeout.
    public static func parse(_ text: Bytes) -> Duration? {
        guard (2...9).contains(text.count) else { return nil }
        var value: Int64 = 0
        for index in 0..<text.count - 1 {
            let digit = text[index] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            value = value * 10 + Int64(digit)
        }
        let unit: Int64
        switch text[text.count - 1] {
        case UInt8(ascii: "n"): unit = 1
        case UInt8(ascii: "u"): unit = 1_000
        case UInt8(ascii: "m"): unit = 1_000_000
        case UInt8(ascii: "S"): unit = 1_000_000_000
        case UInt8(ascii: "M"): unit = 60_000_000_000
        case UInt8(ascii: "H"): unit = 3_600_000_000_000
        default: return nil
        }
        let (nanoseconds, overflow) = value.multipliedReportingOverflow(by: unit)
        if overflow { return .infinite }
        return min(.nanoseconds(nanoseconds), .infinite)
    }

    /// Writes a span in the finest unit in which it has at most eight digits, rounded down: nobody
    /// is told of more time than there is. The least is a nanosecond, as the value is to be
    /// positive.
    public static func write(_ duration: Duration, to out: inout ByteWriter) {
        let limit: UInt64 = 99_999_999
        let value = UInt64(max(duration.nanoseconds, 1))
        if value <= limit { return append(value, "n", to: &out) }
        if value / 1_000 <= limit { return append(value / 1_000, "u", to: &out) }
        if value / 1_000_000 <= limit { return append(value / 1_000_000, "m", to: &out) }
        let seconds = value / 1_000_000_000
        if seconds <= limit { return append(seconds, "S", to: &out) }
        // In minutes all fits: 2⁶³ nanoseconds are 154 million of them, `Duration.infinite` 38.
        append(min(seconds / 60, limit), "M", to: &out)
    }

    private static func append(_ value: UInt64, _ unit: StaticString, to out: inout ByteWriter) {
        out.append(decimal: value)
        out.append(unit)
    }
}
