// Numbers for people. A figure is written with three significant digits and in the unit that keeps
// it readable; a figure and its interval share one unit and one number of decimals, so that the eye
// can compare them. Files for machines never pass through here: they carry the exact values.

/// What a number counts, and so how it is written for people.
enum Quantity: Equatable, Sendable {
    /// Nanoseconds: `412 ns`, `41.2 µs`, `1.21 ms`, `3.00 s`.
    case time
    /// Cores: `31.4 mCPU`, from one core on `1.20 CPU`.
    case cores
    /// Bytes: `8.12 MiB`.
    case bytes
    /// Per second: `1,000/s`.
    case rate
    /// A share of 1: `1.25 %`.
    case share
    /// A whole number: `60,000`.
    case count
    /// A number in a unit that this program does not know.
    case plain(String)

    /// The quantity that a unit of `RunResult` stands for.
    init(unit: String) {
        switch unit {
        case "ns": self = .time
        case "cores": self = .cores
        case "bytes": self = .bytes
        case "1/s", "per_second": self = .rate
        case "share": self = .share
        // Cut, so that no unit pushes the numbers off the line.
        default: self = .plain(String(printable(unit).prefix(8)))
        }
    }

    /// A divisor and the unit's name after it.
    struct Scale: Equatable, Sendable {
        var divisor: Double
        var suffix: String
    }

    /// The unit in which numbers up to `magnitude` read best.
    func scale(for magnitude: Double) -> Scale {
        // Half a unit of the third digit below each border, so that 999.7 µs is not "1000 µs".
        switch self {
        case .time:
            if magnitude < 999.5 { return .init(divisor: 1, suffix: " ns") }
            if magnitude < 999.5e3 { return .init(divisor: 1e3, suffix: " µs") }
            if magnitude < 999.5e6 { return .init(divisor: 1e6, suffix: " ms") }
            return .init(divisor: 1e9, suffix: " s")
        case .cores:
            if magnitude < 0.9995 { return .init(divisor: 1e-3, suffix: " mCPU") }
            return .init(divisor: 1, suffix: " CPU")
        case .bytes:
            if magnitude < 1023.5 { return .init(divisor: 1, suffix: " B") }
            if magnitude < 1023.5 * 1024 { return .init(divisor: 1024, suffix: " KiB") }
            if magnitude < 1023.5 * 1_048_576 { return .init(divisor: 1_048_576, suffix: " MiB") }
            return .init(divisor: 1_073_741_824, suffix: " GiB")
        case .rate: return .init(divisor: 1, suffix: "/s")
        case .share: return .init(divisor: 0.01, suffix: " %")
        case .count: return .init(divisor: 1, suffix: "")
        case .plain(let unit):
            return .init(divisor: 1, suffix: unit.isEmpty || unit == "1" ? "" : " " + unit)
        }
    }

    /// `value` with its unit.
    func text(_ value: Double) -> String {
        let scale = scale(for: value.magnitude)
        return number(value, scale) + scale.suffix
    }

    /// `value` with its sign, also a positive one.
    func signed(_ value: Double) -> String { (value > 0 ? "+" : "") + text(value) }

    /// Value and interval in one unit: `+243 µs (238 to 249)`.
    func text(_ estimate: RunResult.Estimate, signed: Bool = false) -> String {
        let body = value(of: estimate, signed: signed)
        guard let interval = interval(of: estimate) else { return body }
        return body + " (" + interval + ")"
    }

    /// The value of an estimate, in the unit that it shares with its interval.
    func value(of estimate: RunResult.Estimate, signed: Bool = false) -> String {
        let scale = scale(of: estimate)
        let decimals = decimals(reach(of: estimate) / scale.divisor)
        return (signed && estimate.value > 0 ? "+" : "")
            + fixed(estimate.value / scale.divisor, decimals) + scale.suffix
    }

    /// `238 to 249`, in the unit of `value(of:)`; nil where there is no interval.
    func interval(of estimate: RunResult.Estimate) -> String? {
        guard let low = estimate.low, let high = estimate.high else { return nil }
        let scale = scale(of: estimate)
        let decimals = decimals(reach(of: estimate) / scale.divisor)
        return fixed(low / scale.divisor, decimals) + " to " + fixed(high / scale.divisor, decimals)
    }

    private func scale(of estimate: RunResult.Estimate) -> Scale { scale(for: reach(of: estimate)) }

    /// The greatest number that stands in an estimate: it sets unit and decimals for all three.
    private func reach(of estimate: RunResult.Estimate) -> Double {
        max(
            estimate.value.magnitude, estimate.low?.magnitude ?? 0, estimate.high?.magnitude ?? 0)
    }

    private func number(_ value: Double, _ scale: Scale) -> String {
        fixed(value / scale.divisor, decimals(value / scale.divisor))
    }

    /// Decimals that leave three significant digits; none for whole things. A rate keeps one more,
    /// as 999.6/s is not 1,000/s when 1,000/s was offered.
    private func decimals(_ scaled: Double) -> Int {
        switch self {
        case .count: 0
        case .rate, .bytes, .plain:
            scaled == scaled.rounded()
                ? 0 : max(decimalsForThreeDigits(scaled), self == .rate && scaled < 1e4 ? 1 : 0)
        case .time, .cores, .share: decimalsForThreeDigits(scaled)
        }
    }
}

/// Decimals that leave `value` three significant digits: 0 from 99.95 up, at most 6.
func decimalsForThreeDigits(_ value: Double) -> Int {
    let magnitude = value.magnitude
    if magnitude == 0 || magnitude >= 99.95 { return 0 }
    var decimals = 1
    var border = 9.995
    while magnitude < border && decimals < 6 {
        decimals += 1
        border /= 10
    }
    return min(decimals, 6)
}

/// `value` with exactly `decimals` decimals, rounded half away from zero, thousands grouped by
/// commas.
///
/// `FoundationEssentials` has no `String(format:)`, and the locale must not matter here.
func fixed(_ value: Double, _ decimals: Int) -> String {
    precondition(value.isFinite, "a figure that is not finite: \(value)")
    var power = 1.0
    for _ in 0..<decimals { power *= 10 }
    let scaled = (value.magnitude * power).rounded()
    // Beyond 2⁵³ there are no decimals left to round.
    guard scaled < 0x1p53 else { return value.description }
    let whole = UInt64(scaled)
    let divisor = UInt64(power)
    var text = grouped(whole / divisor)
    if decimals > 0 {
        let rest = String(whole % divisor)
        text += "." + String(repeating: "0", count: decimals - rest.count) + rest
    }
    return value < 0 && whole > 0 ? "−" + text : text
}

/// A stretch of wall time: `41.2 s`, `6 min 53 s`, `1 h 5 min`.
func span(seconds: Double) -> String {
    if seconds < 59.95 { return fixed(seconds, 1) + " s" }
    let whole = UInt64(seconds.rounded())
    if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
    return "\(whole / 3600) h \(whole % 3600 / 60) min"
}

/// `1 round`, `2 rounds`.
func counted(_ count: UInt64, _ noun: String) -> String {
    grouped(count) + " " + noun + (count == 1 ? "" : "s")
}

/// `60000` as `60,000`.
func grouped(_ value: UInt64) -> String {
    var groups: [Substring] = []
    var digits = Substring(String(value))
    while digits.count > 3 {
        groups.append(digits.suffix(3))
        digits = digits.dropLast(3)
    }
    groups.append(digits)
    return groups.reversed().joined(separator: ",")
}

/// `p50`, `p99.9` of a quantile from 0 to 1.
public func percentileName(_ quantile: Double) -> String {
    var text = fixed(quantile * 100, 4)
    while text.hasSuffix("0") { text.removeLast() }
    if text.hasSuffix(".") { text.removeLast() }
    return "p" + text
}

/// `text` without control characters: what a user wrote must not move a terminal's cursor, and XML
/// has no place for them.
func printable(_ text: String) -> String {
    String(
        String.UnicodeScalarView(
            text.unicodeScalars.map { scalar in
                scalar.properties.generalCategory == .control || scalar.value & 0xFFFE == 0xFFFE
                    ? "\u{FFFD}" : scalar
            }))
}
