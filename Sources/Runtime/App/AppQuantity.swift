public import Base

/// Numbers with units in a request, read in place: no `String` is made of them.
public enum AppQuantity {
    /// A whole number of up to 18 digits; nil if it is anything else.
    public static func integer(_ text: Bytes) -> Int? {
        guard text.count > 0, text.count <= 18 else { return nil }
        var value = 0
        for index in 0..<text.count {
            let digit = text[index] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            value = value * 10 + Int(digit)
        }
        return value
    }

    /// Bytes: `100`, `100B`, `16KiB`, `1.5MiB`, `1kB`, `1MB`, `1GB`, `1TiB`; nil if it is anything
    /// else.
    public static func size(_ text: Bytes) -> Int? {
        scaled(text) { unit in
            if unit.count == 0 || unit == "B" { return 1 }
            if unit == "KiB" { return 1 << 10 }
            if unit == "MiB" { return 1 << 20 }
            if unit == "GiB" { return 1 << 30 }
            if unit == "TiB" { return 1 << 40 }
            if unit == "kB" || unit == "KB" { return 1_000 }
            if unit == "MB" { return 1_000_000 }
            if unit == "GB" { return 1_000_000_000 }
            return nil
        }
    }

    /// A time: `250us`, `10ms`, `1.5s`, `100ns`, `1m`, `1h`, `0`; nil if it is anything else.
    public static func duration(_ text: Bytes) -> Duration? {
        if text == "0" { return .zero }
        let value = scaled(text) { unit in
            if unit == "ns" { return 1 }
            if unit == "us" { return 1_000 }
            if unit == "ms" { return 1_000_000 }
            if unit == "s" { return 1_000_000_000 }
            if unit == "m" { return 60_000_000_000 }
            if unit == "h" { return 3_600_000_000_000 }
            return nil
        }
        return value.map { .nanoseconds(Int64($0)) }
    }

    /// A decimal number times the scale of the unit behind it, rounded down; nil where it is none,
    /// has more than 15 digits, or where its digits times the scale leave 63 bits.
    private static func scaled(_ text: Bytes, _ scale: (Bytes) -> Int?) -> Int? {
        var digits = 0
        var value = 0
        var divisor = 1
        var hasPoint = false
        var index = 0
        while index < text.count {
            let byte = text[index]
            if byte == UInt8(ascii: "."), !hasPoint, digits > 0 {
                hasPoint = true
            } else {
                let digit = byte &- UInt8(ascii: "0")
                guard digit < 10 else { break }
                value = value * 10 + Int(digit)
                digits += 1
                if hasPoint { divisor *= 10 }
                guard digits <= 15 else { return nil }
            }
            index += 1
        }
        guard digits > 0, !(hasPoint && divisor == 1), let unit = scale(text[index..<text.count])
        else { return nil }
        let (product, overflow) = value.multipliedReportingOverflow(by: unit)
        return overflow ? nil : product / divisor
    }
}
