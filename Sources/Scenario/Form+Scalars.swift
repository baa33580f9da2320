import Base

extension Form where Value == String {
    /// Any text of at most `limit` characters, without NUL.
    static func text(atMost limit: Int = 1000) -> Form {
        scalar(.text(pattern: nil), "a text") { text throws(FormError) in
            guard text.count <= limit else { throw FormError("longer than \(limit) characters") }
            guard !text.unicodeScalars.contains("\0") else {
                throw FormError("a text cannot hold the character NUL")
            }
            return text
        }
    }

    /// A text of which every character satisfies `accepts`; at least one, at most `limit`.
    static func word(
        _ kind: String, pattern: String, atMost limit: Int = 200,
        _ accepts: @escaping @Sendable (String) -> Bool
    ) -> Form {
        scalar(.text(pattern: pattern), kind) { text throws(FormError) in
            guard !text.isEmpty, text.count <= limit, accepts(text) else {
                throw FormError("\(kind) is needed, not '\(abbreviated(text))'")
            }
            return text
        }
    }

    /// A name of the user's: lower-case letters, digits and hyphens, at most 64.
    static let name = word(
        "a name of lower-case letters, digits and hyphens", pattern: "[a-z0-9-]+", atMost: 64,
        isName)
}

/// Whether a text is a name as scenarios use them.
func isName(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy(isNameByte)
}

/// Lower-case letters, digits and hyphens.
func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "-"):
        true
    default: false
    }
}

extension Form where Value == Int {
    static func integer(_ range: ClosedRange<Int>) -> Form {
        scalar(.integer(range), "a whole number") { text throws(FormError) in
            guard let number = Int(text) else {
                throw FormError("a whole number is needed, not '\(abbreviated(text))'")
            }
            return try within(range, number, shown: text) { "\($0)" }
        }
    }

    /// Bytes, with their unit.
    static func size(_ range: ClosedRange<Int>) -> Form {
        quantity(.size) { text throws(FormError) in
            try within(
                range, try reading { () throws(QuantityError) in try Quantity.size(text) },
                shown: text
            ) { "\($0)B" }
        }
    }
}

extension Form where Value == UInt64 {
    /// Any 64-bit seed.
    static let seed = scalar(.integer(0...Int.max), "a whole number") { text throws(FormError) in
        guard let number = UInt64(text) else {
            throw FormError("a whole number from 0 is needed, not '\(abbreviated(text))'")
        }
        return number
    }
}

extension Form where Value == Bool {
    static let boolean = scalar(.boolean, "true or false") { text throws(FormError) in
        guard let value = Bool(text) else {
            throw FormError("true or false is needed, not '\(abbreviated(text))'")
        }
        return value
    }
}

extension Form where Value == Duration {
    static func duration(_ range: ClosedRange<Duration>) -> Form {
        quantity(.duration) { text throws(FormError) in
            try within(
                range, try reading { () throws(QuantityError) in try Quantity.duration(text) },
                shown: text, \.text)
        }
    }
}

extension Form where Value == Double {
    /// A factor: digits, with a point among them or not.
    static func factor(_ range: ClosedRange<Double>) -> Form {
        scalar(.number(range), "a number") { text throws(FormError) in
            guard text.utf8.allSatisfy({ $0 == UInt8(ascii: ".") || (48...57).contains($0) }),
                text.utf8.count <= 18, let number = Double(text)
            else { throw FormError("a number is needed, not '\(abbreviated(text))'") }
            return try within(range, number, shown: text) { decimal($0) }
        }
    }

    /// Per second.
    static func rate(_ range: ClosedRange<Double>) -> Form {
        quantity(.rate) { text throws(FormError) in
            try within(
                range, try reading { () throws(QuantityError) in try Quantity.rate(text) },
                shown: text
            ) {
                "\(decimal($0))/s"
            }
        }
    }

    /// A share of 1, written in percent.
    static let percent = quantity(.percent) { text throws(FormError) in
        try within(
            0...1, try reading { () throws(QuantityError) in try Quantity.percent(text) },
            shown: text
        ) {
            "\(decimal($0 * 100))%"
        }
    }
}

extension Form where Value: RawRepresentable & CaseIterable & Sendable, Value.RawValue == String {
    /// One of the cases, by its raw value.
    static var choice: Form { choice(of: Array(Value.allCases)) }

    /// One of these cases.
    static func choice(of cases: [Value]) -> Form {
        let words = cases.map(\.rawValue)
        return scalar(.choice(words), "one of \(words.joined(separator: ", "))") {
            text throws(FormError) in
            if let value = cases.first(where: { $0.rawValue == text }) { return value }
            let hint = suggestion(for: text, in: words)
            let list = hint.isEmpty ? " (known: \(words.joined(separator: ", ")))" : hint
            throw FormError("unknown word '\(abbreviated(text))'\(list)")
        }
    }
}

/// Why a scalar is not what it should be.
struct FormError: Error {
    var message: String

    init(_ message: String) { self.message = message }
}

extension Form {
    /// A form written as one scalar. `kind` says what is needed, for lists and mappings in its
    /// place.
    static func scalar(
        _ outline: Outline, _ kind: String,
        _ parse: @escaping @Sendable (String) throws(FormError) -> Value
    ) -> Form {
        .init(outline: outline) { node, decoding in
            guard !decoding.unresolved.contains(node.place) else { return nil }
            guard let text = node.text, !node.isNull else {
                decoding.report(node.place, "\(kind) is needed, not \(node.kind)")
                return nil
            }
            do throws(FormError) {
                return try parse(text)
            } catch {
                decoding.report(node.place, error.message)
                return nil
            }
        }
    }

    fileprivate static func quantity(
        _ quantity: Quantity, _ parse: @escaping @Sendable (String) throws(FormError) -> Value
    ) -> Form {
        scalar(.quantity(quantity), quantity.example, parse)
    }
}

private func reading<Value>(
    _ parse: () throws(QuantityError) -> Value
) throws(FormError) -> Value {
    do throws(QuantityError) {
        return try parse()
    } catch {
        throw FormError(error.message)
    }
}

private func within<Value: Comparable>(
    _ range: ClosedRange<Value>, _ value: Value, shown: String, _ format: (Value) -> String
) throws(FormError) -> Value {
    guard !range.contains(value) else { return value }
    let limit =
        value < range.lowerBound
        ? "less than \(format(range.lowerBound)), the least allowed here"
        : "more than \(format(range.upperBound)), the most allowed here"
    throw FormError("'\(abbreviated(shown))' is \(limit)")
}
