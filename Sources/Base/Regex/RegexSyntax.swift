// Regular expressions as configurations write them: what RE2 takes that can be matched without
// going back, over bytes. Literals, `.`, classes with ranges and POSIX names, `\d \w \s` and their
// opposites, groups, alternatives, repetitions with counts, the anchors `^ $ \A \z`, and the flags
// `i` and `s`. Refused, with the place: references to groups, looking around, word boundaries,
// Unicode classes, other letters than ASCII's within a class.

/// Why a text is no regular expression.
public struct RegexError: Error, Equatable, Sendable {
    public var message: String
    /// Bytes before what is wrong.
    public var offset: Int
}

/// A regular expression as a tree.
indirect enum RegexNode: Equatable {
    case empty
    case bytes(ByteSet)
    case begin
    case end
    /// In order.
    case sequence([RegexNode])
    /// The first that fits.
    case choice([RegexNode])
    /// `most` nil: any number. `isGreedy`: as often as possible, else as rarely.
    case repeated(RegexNode, least: Int, most: Int?, isGreedy: Bool)
    /// Numbered from 1.
    case group(RegexNode, Int)
}

/// Reads the text of an expression.
struct RegexParser {
    /// Bounds, of an expression's text and of what it comes to.
    static let bytesMost = 1024
    static let countMost = 1000
    static let depthMost = 64

    private let text: [UInt8]
    private var place = 0
    private var depth = 0
    private(set) var groups = 0
    private var ignoresCase = false
    private var dotTakesAll = false

    init(_ text: String) { self.text = Array(text.utf8) }

    mutating func parse() throws(RegexError) -> RegexNode {
        guard text.count <= Self.bytesMost else {
            throw RegexError(message: "longer than \(Self.bytesMost) bytes", offset: 0)
        }
        let node = try choice()
        guard place == text.count else { throw error("a ')' that closes nothing") }
        return node
    }

    private func error(_ message: String, at offset: Int? = nil) -> RegexError {
        RegexError(message: message, offset: offset ?? place)
    }

    private var next: UInt8? { place < text.count ? text[place] : nil }

    private func has(_ literal: StaticString) -> Bool {
        let bytes = Bytes(literal)
        guard text.count - place >= bytes.count else { return false }
        for i in 0..<bytes.count where text[place + i] != bytes[i] { return false }
        return true
    }

    private mutating func take(_ literal: StaticString) -> Bool {
        guard has(literal) else { return false }
        place += literal.utf8CodeUnitCount
        return true
    }

    private mutating func choice() throws(RegexError) -> RegexNode {
        var choices: [RegexNode] = [try sequence()]
        while take("|") { choices.append(try sequence()) }
        return choices.count == 1 ? choices[0] : .choice(choices)
    }

    private mutating func sequence() throws(RegexError) -> RegexNode {
        var nodes: [RegexNode] = []
        while let byte = next, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
            guard let atom = try atom() else { continue }
            nodes.append(try repetitions(of: atom))
        }
        return nodes.count == 1 ? nodes[0] : nodes.isEmpty ? .empty : .sequence(nodes)
    }

    private mutating func repetitions(of atom: RegexNode) throws(RegexError) -> RegexNode {
        let start = place
        var bounds: (Int, Int?)?
        if take("*") {
            bounds = (0, nil)
        } else if take("+") {
            bounds = (1, nil)
        } else if take("?") {
            bounds = (0, 1)
        } else if next == UInt8(ascii: "{") {
            bounds = try counts()
        }
        guard let (least, most) = bounds else { return atom }
        let isGreedy = !take("?")
        if let byte = next, "*+?".utf8.contains(byte) {
            throw error("a repetition of a repetition: it needs a group")
        }
        if let most, most < least || most > Self.countMost || least > Self.countMost {
            throw error("a count from 0 to \(Self.countMost), the less first, is needed", at: start)
        }
        guard least <= Self.countMost else {
            throw error("a count from 0 to \(Self.countMost) is needed", at: start)
        }
        return .repeated(atom, least: least, most: most, isGreedy: isGreedy)
    }

    /// `{n}`, `{n,}` or `{n,m}`; nil: a brace that is a letter, as RE2 has it.
    private mutating func counts() throws(RegexError) -> (Int, Int?)? {
        let start = place
        place += 1
        let least = number()
        var most = least
        if least != nil, take(",") { most = next == UInt8(ascii: "}") ? nil : number() ?? -1 }
        guard let least, most != -1, take("}") else {
            place = start
            throw error("a '{' that begins no count is written \\{")
        }
        return (least, most)
    }

    private mutating func number() -> Int? {
        let start = place
        var value = 0
        while let byte = next, byte &- 0x30 < 10 {
            value = min(value * 10 + Int(byte - 0x30), Self.countMost + 1)
            place += 1
        }
        return place > start ? value : nil
    }

    /// nil: something that means nothing by itself, such as a flag.
    private mutating func atom() throws(RegexError) -> RegexNode? {
        guard let byte = next else { return nil }
        switch byte {
        case UInt8(ascii: "("): return try group()
        case UInt8(ascii: "["): return .bytes(folded(try byteClass()))
        case UInt8(ascii: "."):
            place += 1
            return .bytes(dotTakesAll ? .all : ByteSet(UInt8(ascii: "\n")).inverted)
        case UInt8(ascii: "^"):
            place += 1
            return .begin
        case UInt8(ascii: "$"):
            place += 1
            return .end
        case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"):
            throw error("there is nothing to repeat")
        case UInt8(ascii: "{"): throw error("a '{' that begins no count is written \\{")
        case UInt8(ascii: "\\"): return try escape()
        default:
            return character()
        }
    }

    /// One character, which may be several bytes.
    private mutating func character() -> RegexNode {
        let start = place
        place += 1
        while let byte = next, byte & 0xC0 == 0x80 { place += 1 }
        let sets = text[start..<place].map { RegexNode.bytes(folded(ByteSet($0))) }
        return sets.count == 1 ? sets[0] : .sequence(sets)
    }

    private func folded(_ set: ByteSet) -> ByteSet { ignoresCase ? set.ignoringCase : set }

    private mutating func group() throws(RegexError) -> RegexNode? {
        let start = place
        place += 1
        let flags = (ignoresCase, dotTakesAll)
        var number: Int?
        if take("?") {
            if has("=") || has("!") || has("<=") || has("<!") {
                throw error("looking around takes more than linear time", at: start)
            }
            if take("P<") || take("<") {
                while let byte = next, isWord(byte) { place += 1 }
                guard take(">") else { throw error("a group's name needs its '>'") }
                groups += 1
                number = groups
            } else if try !flagsOfGroup() {
                return nil
            }
        } else {
            groups += 1
            number = groups
        }
        depth += 1
        guard depth <= Self.depthMost else {
            throw error("more than \(Self.depthMost) groups within each other", at: start)
        }
        let inner = try choice()
        depth -= 1
        guard take(")") else { throw error("a '(' that nothing closes", at: start) }
        (ignoresCase, dotTakesAll) = flags
        return number.map { .group(inner, $0) } ?? inner
    }

    /// - Returns: false: they hold for what follows, and there is no group.
    private mutating func flagsOfGroup() throws(RegexError) -> Bool {
        var value = true
        while let byte = next {
            place += 1
            switch byte {
            case UInt8(ascii: "i"): ignoresCase = value
            case UInt8(ascii: "s"): dotTakesAll = value
            case UInt8(ascii: "-"): value = false
            case UInt8(ascii: ":"): return true
            case UInt8(ascii: ")"): return false
            default: throw error("an unknown flag: i and s are known", at: place - 1)
            }
        }
        throw error("a '(' that nothing closes")
    }

    private func isWord(_ byte: UInt8) -> Bool { Self.word.contains(byte) }

    // MARK: Escapes and classes

    private static let digits = ByteSet("0123456789".utf8)
    private static let blanks = ByteSet("\t\n\u{C}\r ".utf8)
    private static let word: ByteSet = {
        var set = digits
        set.insert(UInt8(ascii: "a")...UInt8(ascii: "z"))
        set.insert(UInt8(ascii: "A")...UInt8(ascii: "Z"))
        set.insert(UInt8(ascii: "_"))
        return set
    }()

    private mutating func escape() throws(RegexError) -> RegexNode {
        if take("\\A") { return .begin }
        if take("\\z") { return .end }
        return .bytes(folded(try escapedSet()))
    }

    /// What stands behind a backslash, within a class or not.
    private mutating func escapedSet() throws(RegexError) -> ByteSet {
        let start = place
        place += 1
        guard let byte = next else { throw error("a '\\' at the end", at: start) }
        place += 1
        switch byte {
        case UInt8(ascii: "d"): return Self.digits
        case UInt8(ascii: "D"): return Self.digits.inverted
        case UInt8(ascii: "s"): return Self.blanks
        case UInt8(ascii: "S"): return Self.blanks.inverted
        case UInt8(ascii: "w"): return Self.word
        case UInt8(ascii: "W"): return Self.word.inverted
        case UInt8(ascii: "t"): return ByteSet(0x09)
        case UInt8(ascii: "n"): return ByteSet(0x0A)
        case UInt8(ascii: "v"): return ByteSet(0x0B)
        case UInt8(ascii: "f"): return ByteSet(0x0C)
        case UInt8(ascii: "r"): return ByteSet(0x0D)
        case UInt8(ascii: "a"): return ByteSet(0x07)
        case UInt8(ascii: "x"): return try hexadecimal(start)
        case UInt8(ascii: "1")...UInt8(ascii: "9"):
            throw error("references to groups take more than linear time", at: start)
        case UInt8(ascii: "b"), UInt8(ascii: "B"):
            throw error("word boundaries are not supported", at: start)
        default:
            guard byte < 0x80, !isWord(byte) else { throw error("an unknown escape", at: start) }
            return ByteSet(byte)
        }
    }

    private mutating func hexadecimal(_ start: Int) throws(RegexError) -> ByteSet {
        let isBraced = take("{")
        var value = 0
        var count = 0
        while let byte = next, let digit = hexDigit(byte), count < (isBraced ? 8 : 2) {
            value = value << 4 | Int(digit)
            count += 1
            place += 1
        }
        guard count == 2 || isBraced && count > 0, !isBraced || take("}"), value < 0x80 else {
            throw error("an escape from \\x00 to \\x7F is needed", at: start)
        }
        return ByteSet(UInt8(value))
    }

    private mutating func byteClass() throws(RegexError) -> ByteSet {
        let start = place
        place += 1
        let isInverted = take("^")
        var set = ByteSet()
        var isFirst = true
        while isFirst || !has("]") {
            guard next != nil else { throw error("a '[' that nothing closes", at: start) }
            isFirst = false
            if take("[:") {
                set.formUnion(try namedClass())
                continue
            }
            let from = place
            let low = try classMember()
            guard has("-"), place + 1 < text.count, text[place + 1] != UInt8(ascii: "]") else {
                set.formUnion(low)
                continue
            }
            place += 1
            let high = try classMember()
            guard let first = low.onlyByte, let last = high.onlyByte, first <= last else {
                throw error("a range from a character to a later one is needed", at: from)
            }
            set.insert(first...last)
        }
        place += 1
        let wanted = folded(set)
        return isInverted ? wanted.inverted : wanted
    }

    private mutating func classMember() throws(RegexError) -> ByteSet {
        guard let byte = next else { throw error("a '[' that nothing closes") }
        if byte == UInt8(ascii: "\\") { return try escapedSet() }
        guard byte < 0x80 else { throw error("a class can hold characters of ASCII only") }
        place += 1
        return ByteSet(byte)
    }

    private mutating func namedClass() throws(RegexError) -> ByteSet {
        let start = place - 2
        let isInverted = take("^")
        let lower = ByteSet(UInt8(ascii: "a")...UInt8(ascii: "z"))
        let upper = ByteSet(UInt8(ascii: "A")...UInt8(ascii: "Z"))
        var set = ByteSet()
        if take("alpha:]") {
            set = lower
            set.formUnion(upper)
        } else if take("alnum:]") {
            set = lower
            set.formUnion(upper)
            set.formUnion(Self.digits)
        } else if take("digit:]") {
            set = Self.digits
        } else if take("lower:]") {
            set = lower
        } else if take("upper:]") {
            set = upper
        } else if take("word:]") {
            set = Self.word
        } else if take("space:]") {
            set = Self.blanks
            set.insert(0x0B)
        } else if take("xdigit:]") {
            set = ByteSet("0123456789abcdefABCDEF".utf8)
        } else if take("punct:]") {
            for byte: UInt8 in 0x21...0x7E where !Self.word.contains(byte) { set.insert(byte) }
            set.insert(UInt8(ascii: "_"))
        } else {
            throw error("an unknown class", at: start)
        }
        return isInverted ? set.inverted : set
    }
}
