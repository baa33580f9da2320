// Numbers in files and on the command line carry their unit, always: `timeout: 3` has cost people
// whole afternoons.

public import Base

/// What a number with a unit counts, as written in files and flags.
public enum Quantity: String, CaseIterable, Sendable {
    case duration
    case size
    case rate
    case percent

    /// The units and what each is worth in base units: nanoseconds, bytes, per second, shares of 1.
    var units: [(name: String, worth: Double)] {
        switch self {
        case .duration:
            [
                ("ns", 1), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9),
                ("m", 60e9), ("h", 3600e9),
            ]
        case .size:
            [
                ("B", 1), ("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("KiB", 1024), ("MiB", 1_048_576),
                ("GiB", 1_073_741_824),
            ]
        case .rate: [("/s", 1)]
        case .percent: [("%", 0.01)]
        }
    }

    /// For error messages: `a duration such as 250ms`.
    var example: String {
        switch self {
        case .duration: "a duration such as 250ms"
        case .size: "a size such as 16KiB"
        case .rate: "a rate such as 1000/s"
        case .percent: "a share such as 0.5%"
        }
    }

    /// The value of `text` in base units.
    /// - Throws: `QuantityError` where it is no number, has no unit or one of another kind.
    public func parse(_ text: String) throws(QuantityError) -> Double {
        let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let unit = String(text.dropFirst(number.count))
        // Bound: 18 digits; more than that is no measure of anything here.
        guard number.count <= 18, let value = Double(number), number.first != "." else {
            throw QuantityError("\(example) is needed, not '\(abbreviated(text))'")
        }
        if let known = units.first(where: { $0.name == unit }) {
            return scaled(number, value, by: known.worth)
        }
        guard !unit.isEmpty else {
            throw QuantityError("\(example) is needed: '\(number)' has no unit")
        }
        let named = units.map(\.name)
        let hint = suggestion(for: unit, in: named)
        let all = hint.isEmpty ? " (known: \(named.joined(separator: ", ")))" : hint
        throw QuantityError("\(example) is needed: '\(abbreviated(unit))' is no unit of it\(all)")
    }

    /// The span that `text` says, rounded to whole nanoseconds.
    public static func duration(_ text: String) throws(QuantityError) -> Duration {
        let nanoseconds = try Quantity.duration.parse(text)
        guard nanoseconds <= Double(Duration.infinite.nanoseconds) else {
            throw QuantityError("'\(text)' is longer than 73 years")
        }
        return .nanoseconds(Int64(nanoseconds.rounded()))
    }

    /// The bytes that `text` says.
    public static func size(_ text: String) throws(QuantityError) -> Int {
        let bytes = try Quantity.size.parse(text)
        guard bytes <= 0x1p53 else { throw QuantityError("'\(text)' is more than 8 PiB") }
        return Int(bytes.rounded())
    }

    /// The rate per second that `text` says.
    public static func rate(_ text: String) throws(QuantityError) -> Double {
        try Quantity.rate.parse(text)
    }

    /// The share of 1 that `text` says, 0 to 1 for 0% to 100%; more is not refused here.
    public static func percent(_ text: String) throws(QuantityError) -> Double {
        try Quantity.percent.parse(text)
    }
}

/// `digits`, whose value is `value`, times `worth`. Hundredths and thousandths are shifted in
/// decimal, as 99.9 % is to be the same number as 0.999, which 99.9 / 100 is not.
func scaled(_ digits: some StringProtocol, _ value: Double, by worth: Double) -> Double {
    switch worth {
    case 0.01: Double("\(digits)e-2") ?? value * worth
    case 0.001: Double("\(digits)e-3") ?? value * worth
    default: value * worth
    }
}

/// Why a text is no quantity.
public struct QuantityError: Error, Equatable {
    /// Without a full stop.
    public var message: String

    init(_ message: String) { self.message = message }
}

extension Duration {
    /// For people, in at most two units and without loss where that is possible: `250ms`, `1m 20s`.
    public var text: String {
        let all: [(name: String, worth: Int64)] = [
            ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000),
            ("ms", 1_000_000), ("us", 1_000), ("ns", 1),
        ]
        guard nanoseconds != 0 else { return "0s" }
        guard nanoseconds > 0 else { return "-" + Duration.nanoseconds(-nanoseconds).text }
        let index = all.firstIndex { nanoseconds >= $0.worth } ?? all.count - 1
        let first = "\(nanoseconds / all[index].worth)\(all[index].name)"
        let rest = nanoseconds % all[index].worth
        guard index + 1 < all.count, rest >= all[index + 1].worth else { return first }
        return "\(first) \(rest / all[index + 1].worth)\(all[index + 1].name)"
    }
}

/// A number without needless digits: `1000`, `0.5`, `33.33`.
func decimal(_ value: Double, digits: Int = 2) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let rounded = (value * scale).rounded() / scale
    guard rounded.magnitude < 1e15 else { return "\(rounded)" }
    if rounded == rounded.rounded() { return "\(Int(rounded))" }
    return "\(rounded)"
}
