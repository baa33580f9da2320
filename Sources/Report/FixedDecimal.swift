/// A number with a fixed count of decimals, rounded half up from its shortest decimal form, as Java
/// prints it: 0.9997802734375 with 12 decimals is 0.999780273438, where C's exact half-to-even
/// gives ...437.
/// - Precondition: `value` is finite.
func fixedDecimal(_ value: Double, decimals: Int, width: Int = 0) -> String {
    precondition(value.isFinite && decimals >= 0, "\(value) with \(decimals) decimals")
    var (digits, point) = decimalDigits(of: value.magnitude)
    // Zeros up to the decimals wanted, and one before the point, so that cutting and carrying stay
    // within.
    if point < 1 {
        digits.insert(contentsOf: repeatElement(0, count: 1 - point), at: 0)
        point = 1
    }
    let kept = point + decimals
    if digits.count < kept {
        digits += repeatElement(0, count: kept - digits.count)
    } else if digits.count > kept {
        let roundsUp = digits[kept] >= 5
        digits.removeSubrange(kept...)
        if roundsUp { point += increment(&digits) }
    }
    var text = value < 0 && digits.contains { $0 != 0 } ? "-" : ""
    for (index, digit) in digits.enumerated() {
        if index == point { text += "." }
        text += String(digit)
    }
    return String(repeating: " ", count: max(width - text.utf8.count, 0)) + text
}

/// The digits of the shortest decimal that is told from every other `Double`, and how many of them
/// stand before the point (0 or less: so many zeros follow the point first).
private func decimalDigits(of magnitude: Double) -> (digits: [Int], point: Int) {
    // "123.25", "5e-324", "1.25e+20".
    let parts = magnitude.description.split(separator: "e")
    let mantissa = parts[0].split(separator: ".")
    let exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
    let digits = mantissa.joined().compactMap(\.wholeNumberValue)
    return (digits, mantissa[0].count + exponent)
}

/// Adds one to the last digit; returns how many digits the number has gained.
private func increment(_ digits: inout [Int]) -> Int {
    for index in digits.indices.reversed() {
        if digits[index] < 9 {
            digits[index] += 1
            return 0
        }
        digits[index] = 0
    }
    digits.insert(1, at: 0)
    return 1
}
