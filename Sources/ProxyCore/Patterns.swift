// What routes and authorizations ask of a request, compiled so that matching touches bytes and
// small integers only: every pattern stands in one array of bytes, every condition is a plain value
// that says where.

import Base
import Model
import Wire

/// A text of `Patterns`.
struct PatternText: BitwiseCopyable {
    var start: Int32
    var count: Int32
}

/// Items of an array that belong together.
struct PatternRange: BitwiseCopyable {
    var start: Int32
    var end: Int32

    init(_ start: Int, _ end: Int) {
        self.start = Int32(start)
        self.end = Int32(end)
    }

    var indices: Range<Int> { Int(start)..<Int(end) }
    var isEmpty: Bool { start == end }
    var count: Int { Int(end - start) }
}

/// A path, or where paths begin, or what they look like.
struct PathPattern: BitwiseCopyable {
    enum Kind: UInt8, BitwiseCopyable {
        case exact
        case prefix
        /// `text.start` is the number of an expression.
        case regex
    }

    var text: PatternText
    var kind: Kind

    init(text: PatternText, kind: Kind) {
        self.text = text
        self.kind = kind
    }

    init(text: PatternText, isExact: Bool) {
        self.init(text: text, kind: isExact ? .exact : .prefix)
    }
}

/// A condition on a value that goes by a name.
struct ValuePattern: BitwiseCopyable {
    enum Test: UInt8, BitwiseCopyable {
        case present
        case absent
        case exact
        case prefix
        case suffix
        case contains
        case regex
        case range
    }

    var name: PatternText
    var value: PatternText
    var test: Test
    var isInverted = false
    /// Of `regex`.
    var regex: Int32 = -1
    /// Of `range`.
    var low: Int64 = 0
    var high: Int64 = 0
}

/// Compiled texts, methods and conditions on fields. Built once for each configuration, then only
/// read. For one thread: expressions are matched in memory of their own.
struct Patterns: ~Copyable {
    let text: Slab<UInt8>
    private let methods: Slab<PatternText>
    let values: Slab<ValuePattern>
    let regexes: RegexTable

    /// Collects what is to be compiled.
    struct Builder {
        private(set) var text: [UInt8] = []
        fileprivate var methods: [PatternText] = []
        fileprivate var values: [ValuePattern] = []
        private(set) var regexes = RegexTable.Builder()

        mutating func add(_ string: some Sequence<UInt8>) -> PatternText {
            let start = text.count
            text.append(contentsOf: string)
            return PatternText(start: Int32(start), count: Int32(text.count - start))
        }

        mutating func add(methods names: [String]) -> PatternRange {
            let start = methods.count
            for name in names { methods.append(add(name.utf8)) }
            return PatternRange(start, methods.count)
        }

        mutating func add(fields conditions: [ProxyConfiguration.HeaderMatch]) -> PatternRange {
            let start = values.count
            for condition in conditions {
                var pattern = add(condition.name, condition.test)
                pattern.isInverted = condition.isInverted
                values.append(pattern)
            }
            return PatternRange(start, values.count)
        }

        mutating func add(
            parameters conditions: [ProxyConfiguration.ParameterMatch]
        ) -> PatternRange {
            let start = values.count
            for condition in conditions { values.append(add(condition.name, condition.test)) }
            return PatternRange(start, values.count)
        }

        mutating func add(path: ProxyConfiguration.PathMatch) -> PathPattern {
            switch path {
            case .exact(let path): PathPattern(text: add(path.utf8), kind: .exact)
            case .prefix(let path): PathPattern(text: add(path.utf8), kind: .prefix)
            case .regex(let pattern):
                PathPattern(
                    text: PatternText(start: add(regex: pattern).number, count: 0), kind: .regex)
            }
        }

        /// - Precondition: it is one: whoever reads a configuration has checked it.
        mutating func add(regex pattern: String) -> (number: Int32, regex: LinearRegex) {
            guard let regex = try? LinearRegex(pattern) else {
                preconditionFailure("an expression that was not checked: \(pattern)")
            }
            return (regexes.add(regex), regex)
        }

        private mutating func add(
            _ name: String, _ test: ProxyConfiguration.ValueTest
        ) -> ValuePattern {
            let name = add(name.utf8)
            let none = PatternText(start: 0, count: 0)
            switch test {
            case .present: return ValuePattern(name: name, value: none, test: .present)
            case .absent: return ValuePattern(name: name, value: none, test: .absent)
            case .exact(let text):
                return ValuePattern(name: name, value: add(text.utf8), test: .exact)
            case .prefix(let text):
                return ValuePattern(name: name, value: add(text.utf8), test: .prefix)
            case .suffix(let text):
                return ValuePattern(name: name, value: add(text.utf8), test: .suffix)
            case .contains(let text):
                return ValuePattern(name: name, value: add(text.utf8), test: .contains)
            case .regex(let pattern):
                return ValuePattern(
                    name: name, value: none, test: .regex, regex: add(regex: pattern).number)
            case .range(let low, let high):
                return ValuePattern(
                    name: name, value: none, test: .range, low: low, high: high)
            }
        }
    }

    init(_ builder: Builder) {
        text = Slab(builder.text)
        methods = Slab(builder.methods)
        values = Slab(builder.values)
        regexes = RegexTable(builder.regexes)
    }

    deinit {
        text.deallocate()
        methods.deallocate()
        values.deallocate()
    }

    /// - Parameter path: without its query.
    func matches(_ pattern: PathPattern, path: Bytes) -> Bool {
        let count = Int(pattern.text.count)
        switch pattern.kind {
        case .exact: return path.count == count && equal(pattern.text, path)
        case .regex: return regexes.matches(pattern.text.start, path)
        case .prefix: break
        }
        guard path.count >= count, equal(pattern.text, path[0..<count]) else {
            // `OPTIONS *` has no path: only the prefix `/` stands for it.
            return count == 1 && path == "*"
        }
        // Whole segments only: `/a` is no prefix of `/ab`.
        return path.count == count
            || text[Int(pattern.text.start) + count - 1] == UInt8(ascii: "/")
            || path[count] == UInt8(ascii: "/")
    }

    /// Whether it is one of these methods, which are in upper case.
    /// - Parameter ignoringCase: as servers do that make all methods upper case.
    func matches(
        methods range: PatternRange, _ method: Bytes, ignoringCase: Bool = false
    ) -> Bool {
        for i in range.indices
        where Int(methods[i].count) == method.count
            && equal(methods[i], method, { ignoringCase ? asciiUppercase($0) : $0 })
        {
            return true
        }
        return false
    }

    /// Whether all these conditions hold of a head.
    func matches(
        fields range: PatternRange, _ head: borrowing Head, _ bytes: Bytes, _ reading: FieldReading
    ) -> Bool {
        for i in range.indices where !isMet(values[i], head, bytes, reading) { return false }
        return true
    }

    private func isMet(
        _ condition: ValuePattern, _ head: borrowing Head, _ bytes: Bytes, _ reading: FieldReading
    ) -> Bool {
        var isMet = false
        // Whether a line is there, which `absent` asks, and what is inverted needs.
        var isThere = false
        for f in 0..<head.fieldCount {
            let field = head.fields[f]
            guard field.nameLength == UInt32(condition.name.count) else { continue }
            let name = bytes[field.nameRange]
            let value = bytes[field.valueRange]
            switch reading {
            case .oneLine:
                guard equal(condition.name, name, asciiLowercase) else { continue }
                isThere = true
                guard holds(condition, value) else { continue }
                if !condition.isInverted { return true }
                isMet = true
            case .oneMember:
                if equal(condition.name, name, Self.folded), hasMember(condition, value) {
                    return true
                }
            case .everyLine:
                guard equal(condition.name, name, Self.folded) else { continue }
                guard equal(condition.name, name, asciiLowercase), holds(condition, value) else {
                    return false
                }
                isMet = true
            }
        }
        if condition.test == .absent { return !isThere }
        return condition.isInverted ? isThere && !isMet : isMet
    }

    /// Whether the value, or one of a list of several, is the condition's. Lists have commas
    /// (RFC 9110, 5.6.1), those of cookies and parameters semicolons (RFC 6265, 4.2.1).
    private func hasMember(_ condition: ValuePattern, _ value: Bytes) -> Bool {
        if holds(condition, value) { return true }
        var start = 0
        for i in 0...value.count {
            let byte = i < value.count ? value[i] : UInt8(ascii: ",")
            guard byte == UInt8(ascii: ",") || byte == UInt8(ascii: ";") else { continue }
            if holds(condition, value[start..<i].trimmed) { return true }
            start = i + 1
        }
        return false
    }

    /// A name as CGI has it (RFC 3875, 4.1.18), and what descends from it: all letters are of one
    /// case, and `-` and `_` are one.
    private static func folded(_ byte: UInt8) -> UInt8 {
        byte == UInt8(ascii: "_") ? UInt8(ascii: "-") : asciiLowercase(byte)
    }

    /// - Parameter form: what is made of each byte of either before they are compared.
    @inline(__always)
    func equal(
        _ pattern: PatternText, _ bytes: Bytes, _ form: (UInt8) -> UInt8 = { $0 }
    ) -> Bool {
        let start = Int(pattern.start)
        for i in 0..<Int(pattern.count) where form(text[start + i]) != form(bytes[i]) {
            return false
        }
        return true
    }
}

extension Bytes {
    /// Without blanks around it (OWS, RFC 9110, 5.6.3).
    var trimmed: Bytes {
        func isBlank(_ byte: UInt8) -> Bool {
            byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
        }
        var (start, end) = (0, count)
        while start < end, isBlank(self[start]) { start += 1 }
        while end > start, isBlank(self[end - 1]) { end -= 1 }
        return self[start..<end]
    }
}

/// What it takes for a condition on a field to hold, which may stand on several lines.
enum FieldReading {
    /// One line has the value.
    case oneLine
    /// Some server may find the value: on a line, in a list on one, or under a name that it takes
    /// for this one.
    case oneMember
    /// No server finds another value.
    case everyLine
}

extension Head {
    /// The path that patterns are held against: a request's without its query.
    ///
    /// The target of CONNECT is a host, not a path: as for `OPTIONS *`, only the prefix `/` stands
    /// for it.
    borrowing func patternPath(_ bytes: Bytes) -> Bytes {
        if bytes[method] == "CONNECT" { return Bytes("*") }
        let path = bytes[self.path]
        let end = path.firstIndex(of: UInt8(ascii: "?")) ?? path.count
        // An absolute target without a path asks for the root.
        return end == 0 ? Bytes("/") : path[0..<end]
    }

    /// What stands behind the first `?` of a request's target; empty: nothing does.
    borrowing func query(_ bytes: Bytes) -> Bytes {
        let path = bytes[self.path]
        guard let mark = path.firstIndex(of: UInt8(ascii: "?")) else { return Bytes("") }
        return path[mark + 1..<path.count]
    }
}
