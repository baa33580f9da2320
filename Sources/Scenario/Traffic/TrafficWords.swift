// Numbers of traffic policies. Where a key's name says percent, its value is a plain number; else
// the percent sign stands beside it. In the model both are numbers of 100.

import Base
import Model

extension Form where Value == Double {
    /// A number with or without a fraction.
    static func number(_ range: ClosedRange<Double>) -> Form {
        scalar(.number(range), "a number") { text throws(FormError) in
            try fraction(text, in: range, text)
        }
    }

    /// 0 to 100, for keys that say percent.
    static let percentage = number(0...100)

    /// `50%` for 50.
    static let percents = scalar(.quantity(.percent), Quantity.percent.example) {
        text throws(FormError) in
        do throws(QuantityError) {
            _ = try Quantity.percent(text)
        } catch {
            throw FormError(error.message)
        }
        return try fraction(text.dropLast(), in: 0...100, text)
    }
}

/// Bound: four digits after the point, which is as fine as shares get (Envoy's smallest is one of a
/// million).
private func fraction(
    _ digits: some StringProtocol, in range: ClosedRange<Double>, _ shown: String
) throws(FormError) -> Double {
    let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
    let isWritten =
        parts.count <= 2
        && parts.allSatisfy { part in
            !part.isEmpty && part.utf8.allSatisfy { (0x30...0x39).contains($0) }
        }
    guard isWritten, digits.count <= 18, let number = Double(digits) else {
        throw FormError("a number is needed, not '\(abbreviated(shown))'")
    }
    guard parts.count == 1 || parts[1].count <= 4 else {
        throw FormError("'\(abbreviated(shown))' has more than four digits after the point")
    }
    guard range.contains(number) else {
        let isLess = number < range.lowerBound
        let bound = isLess ? range.lowerBound : range.upperBound
        throw FormError(
            "'\(abbreviated(shown))' is \(isLess ? "less" : "more") than "
                + "\(decimal(bound, digits: 4)), the \(isLess ? "least" : "most") allowed here")
    }
    return number
}

extension Double {
    /// As a plain number.
    var json: JSON { .number(self) }
    /// With the percent sign.
    var percents: JSON { .string("\(JSON.number(self).text)%") }
    /// With the unit of rates.
    var perSecond: JSON { .string("\(JSON.number(self).text)/s") }
}

extension Form where Value: TrafficPolicy {
    /// The same form, and, where each key is right, what several have wrong together.
    var checked: Form {
        .init(outline: outline) { node, decoding in
            let before = decoding.diagnostics.count
            guard let policy = decode(node, &decoding) else { return nil }
            if decoding.diagnostics.count == before {
                for finding in policy.findings {
                    decoding.report(node.place(of: finding.path), finding.message)
                }
            }
            return policy
        }
    }
}

extension Form where Value == String {
    /// The name of a field, which comes out in lower case.
    static var fieldName: Form {
        word("a name of a field", pattern: fieldNamePattern, isFieldName)
            .map { name, _, _ in name.lowercased() }
    }
}
