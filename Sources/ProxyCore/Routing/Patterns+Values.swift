// Values held against what is asked of them, and where parameters and cookies stand.

import Base
import Wire

extension Patterns {
    /// Whether a value that is there meets the condition, without regard to whether it is inverted.
    func holds(_ condition: ValuePattern, _ value: Bytes) -> Bool {
        let count = Int(condition.value.count)
        switch condition.test {
        case .present: return true
        case .absent: return false
        case .exact: return value.count == count && equal(condition.value, value)
        case .prefix: return value.count >= count && equal(condition.value, value[0..<count])
        case .suffix:
            return value.count >= count
                && equal(condition.value, value[value.count - count..<value.count])
        case .contains: return contains(condition.value, value)
        case .regex: return regexes.matches(condition.regex, value)
        case .range:
            guard let number = value.decimal else { return false }
            return number >= condition.low && number < condition.high
        }
    }

    /// Bound: values are no longer than heads, and what is looked for no longer than 8 KiB; it is
    /// looked for only where its first byte stands.
    private func contains(_ pattern: PatternText, _ value: Bytes) -> Bool {
        let count = Int(pattern.count)
        guard count > 0 else { return true }
        guard value.count >= count else { return false }
        let first = text[Int(pattern.start)]
        var start = 0
        while let found = value.firstIndex(of: first, from: start), found + count <= value.count {
            if equal(pattern, value[found..<found + count]) { return true }
            start = found + 1
        }
        return false
    }

    /// The value of the first line of a field, whose name is in lower case; nil: there is none.
    func value(_ name: PatternText, _ head: borrowing Head, _ bytes: Bytes) -> Bytes? {
        for i in 0..<head.fieldCount {
            let field = head.fields[i]
            guard field.nameLength == UInt32(name.count),
                equal(name, bytes[field.nameRange], asciiLowercase)
            else { continue }
            return bytes[field.valueRange]
        }
        return nil
    }

    /// Whether all these conditions hold of a request's query.
    func matches(query range: PatternRange, _ head: borrowing Head, _ bytes: Bytes) -> Bool {
        let query = head.query(bytes)
        for i in range.indices {
            guard let value = parameter(values[i].name, query) else {
                if values[i].test == .absent { continue }
                return false
            }
            if !holds(values[i], value) { return false }
        }
        return true
    }

    /// The value of the first parameter of that name; nil: there is none.
    private func parameter(_ name: PatternText, _ query: Bytes) -> Bytes? {
        var start = 0
        while start < query.count {
            let end = query.firstIndex(of: UInt8(ascii: "&"), from: start) ?? query.count
            let pair = query[start..<end]
            let mark = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.count
            if mark == Int(name.count), equal(name, pair[0..<mark]) {
                return mark < pair.count ? pair[mark + 1..<pair.count] : Bytes("")
            }
            start = end + 1
        }
        return nil
    }

    /// Whether all these conditions hold of a request's cookies.
    func matches(cookies range: PatternRange, _ head: borrowing Head, _ bytes: Bytes) -> Bool {
        for i in range.indices {
            guard let value = cookie(values[i].name, head, bytes) else {
                if values[i].test == .absent { continue }
                return false
            }
            if !holds(values[i], value) { return false }
        }
        return true
    }

    func cookie(_ name: PatternText, _ head: borrowing Head, _ bytes: Bytes) -> Bytes? {
        head.cookie(bytes) { $0.count == Int(name.count) && equal(name, $0) }
    }
}

extension Head {
    /// The value of the first cookie of a name, without the quotes it may stand in (RFC 6265,
    /// 4.1.1); nil: there is none. Over HTTP/2 they may stand in several fields (RFC 9113, 8.2.3).
    @inline(__always)
    borrowing func cookie(_ bytes: Bytes, _ isName: (Bytes) -> Bool) -> Bytes? {
        for f in 0..<fieldCount {
            guard fields[f].nameLength == 6,
                bytes[fields[f].nameRange].equalsIgnoringCase("cookie")
            else { continue }
            let line = bytes[fields[f].valueRange]
            var start = 0
            while start < line.count {
                let end = line.firstIndex(of: UInt8(ascii: ";"), from: start) ?? line.count
                let pair = line[start..<end].trimmed
                if let mark = pair.firstIndex(of: UInt8(ascii: "=")), isName(pair[0..<mark]) {
                    return pair[mark + 1..<pair.count].unquoted
                }
                start = end + 1
            }
        }
        return nil
    }
}

extension Bytes {
    fileprivate var unquoted: Bytes {
        let quote = UInt8(ascii: "\"")
        return count >= 2 && self[0] == quote && self[count - 1] == quote
            ? self[1..<count - 1] : self
    }

    /// A whole decimal number, with a sign or not; nil: it is none, or beyond 64 bits.
    var decimal: Int64? {
        let isNegative = count > 0 && self[0] == UInt8(ascii: "-")
        let start = isNegative || count > 0 && self[0] == UInt8(ascii: "+") ? 1 : 0
        guard count > start, count <= start + 20 else { return nil }
        var value: Int64 = 0
        for i in start..<count {
            guard self[i] &- 0x30 < 10 else { return nil }
            let (tens, overflows) = value.multipliedReportingOverflow(by: 10)
            let digit = Int64(self[i] - 0x30)
            let (sum, overflowsToo) = tens.addingReportingOverflow(isNegative ? -digit : digit)
            guard !overflows, !overflowsToo else { return nil }
            value = sum
        }
        return value
    }
}
