// A regular expression as a program of small instructions, which `RegexTable` runs: Thompson's
// construction, each step of which looks at one byte.
//
// Source: Russ Cox, "Regular Expression Matching: the Virtual Machine Approach".

/// A regular expression whose matching takes time in proportion to the text, whatever the text.
public struct LinearRegex: Sendable {
    struct Instruction: BitwiseCopyable, Sendable {
        enum Operation: UInt8, BitwiseCopyable {
            /// One byte of the set `x`.
            case bytes
            /// Goes on at `x`, and, less gladly, at `y`.
            case split
            case jump
            /// The place in the text goes into slot `x`.
            case save
            case begin
            case end
            case match
        }

        var operation: Operation
        var x: Int32 = 0
        var y: Int32 = 0
    }

    /// Instructions at most.
    public static let instructionsMost = 1000
    /// Nodes that are looked at to find them: each within as many as may stand within each other.
    static let visitsMost = instructionsMost * 2 * RegexParser.depthMost
    /// Groups that a substitution may name, beside the whole: `\1` to `\9`.
    public static let groupsMost = 9

    let program: [Instruction]
    let sets: [ByteSet]
    public let pattern: String
    /// Groups, those beyond `groupsMost` too.
    public let groupCount: Int
    /// What every text begins with that it fits.
    public let literalPrefix: [UInt8]

    /// - Throws: `RegexError`: it is none of those that are understood, or too large.
    public init(_ pattern: String) throws(RegexError) {
        var parser = RegexParser(pattern)
        let node = try parser.parse()
        var compiler = Compiler()
        try compiler.add(node)
        compiler.program.append(.init(operation: .match))
        self.pattern = pattern
        program = compiler.program
        sets = compiler.sets
        groupCount = parser.groups
        literalPrefix = Self.prefix(program, sets)
    }

    private struct Compiler {
        var program: [Instruction] = []
        var sets: [ByteSet] = []
        private var places: [ByteSet: Int32] = [:]
        private var visits = 0

        private var here: Int32 { Int32(program.count) }

        private mutating func emit(_ instruction: Instruction) throws(RegexError) {
            guard program.count < LinearRegex.instructionsMost else { throw Self.tooLarge }
            program.append(instruction)
        }

        private static let tooLarge = RegexError(
            message: "it comes to more than \(LinearRegex.instructionsMost) steps", offset: 0)

        mutating func add(_ node: RegexNode) throws(RegexError) {
            // What comes to no instruction can be repeated as well: `(?:(?:){1000}){1000}`.
            visits += 1
            guard visits <= LinearRegex.visitsMost else { throw Self.tooLarge }
            switch node {
            case .empty: break
            case .bytes(let set):
                let place = places[set] ?? Int32(sets.count)
                if places.updateValue(place, forKey: set) == nil { sets.append(set) }
                try emit(.init(operation: .bytes, x: place))
            case .begin: try emit(.init(operation: .begin))
            case .end: try emit(.init(operation: .end))
            case .sequence(let nodes): for node in nodes { try add(node) }
            case .choice(let nodes): try add(choice: nodes)
            case .group(let node, let number):
                guard number <= LinearRegex.groupsMost else { return try add(node) }
                try emit(.init(operation: .save, x: Int32(2 * number)))
                try add(node)
                try emit(.init(operation: .save, x: Int32(2 * number + 1)))
            case .repeated(let node, let least, let most, let isGreedy):
                for _ in 0..<least { try add(node) }
                guard let most else { return try add(star: node, isGreedy) }
                try add(optional: node, most - least, isGreedy)
            }
        }

        private mutating func add(choice nodes: [RegexNode]) throws(RegexError) {
            var ends: [Int] = []
            for node in nodes.dropLast() {
                let split = program.count
                try emit(.init(operation: .split, x: here + 1))
                try add(node)
                ends.append(program.count)
                try emit(.init(operation: .jump))
                program[split].y = here
            }
            if let last = nodes.last { try add(last) }
            for end in ends { program[end].x = here }
        }

        private mutating func add(star node: RegexNode, _ isGreedy: Bool) throws(RegexError) {
            let split = here
            try emit(.init(operation: .split))
            try add(node)
            try emit(.init(operation: .jump, x: split))
            settle(Int(split), isGreedy, behind: here)
        }

        /// Up to `count` times.
        private mutating func add(
            optional node: RegexNode, _ count: Int, _ isGreedy: Bool
        ) throws(RegexError) {
            var splits: [Int] = []
            for _ in 0..<max(0, count) {
                splits.append(program.count)
                try emit(.init(operation: .split))
                try add(node)
            }
            for split in splits { settle(split, isGreedy, behind: here) }
        }

        /// A split goes on with what follows it, or behind that.
        private mutating func settle(_ split: Int, _ isGreedy: Bool, behind: Int32) {
            let inner = Int32(split + 1)
            program[split].x = isGreedy ? inner : behind
            program[split].y = isGreedy ? behind : inner
        }
    }

    private static func prefix(_ program: [Instruction], _ sets: [ByteSet]) -> [UInt8] {
        var prefix: [UInt8] = []
        for instruction in program {
            switch instruction.operation {
            case .save, .begin: continue
            case .bytes:
                guard let byte = sets[Int(instruction.x)].onlyByte else { return prefix }
                prefix.append(byte)
            default: return prefix
            }
        }
        return prefix
    }
}

/// What is put in the place of what an expression has found: a text in which `\1` to `\9` stand for
/// groups, `\0` for the whole and `\\` for a backslash.
public struct RegexSubstitution: Sendable {
    public enum Part: Sendable, Equatable {
        case text([UInt8])
        case group(Int)
    }

    public let parts: [Part]

    /// - Throws: `RegexError`: an escape that is none, or a group that the expression has not.
    public init(_ text: String, groups: Int) throws(RegexError) {
        var parts: [Part] = []
        var literal: [UInt8] = []
        let bytes = Array(text.utf8)
        var i = 0
        while i < bytes.count {
            guard bytes[i] == UInt8(ascii: "\\") else {
                literal.append(bytes[i])
                i += 1
                continue
            }
            guard i + 1 < bytes.count else {
                throw RegexError(message: "a '\\' at the end", offset: i)
            }
            let next = bytes[i + 1]
            if next == UInt8(ascii: "\\") {
                literal.append(next)
            } else {
                let group = Int(next) - 0x30
                guard (0...9).contains(group), group <= groups else {
                    throw RegexError(
                        message: "\\0 to \\\(min(groups, 9)) stand for groups", offset: i)
                }
                if !literal.isEmpty { parts.append(.text(literal)) }
                literal = []
                parts.append(.group(group))
            }
            i += 2
        }
        if !literal.isEmpty { parts.append(.text(literal)) }
        self.parts = parts
    }
}
