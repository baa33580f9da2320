// The expressions of a configuration, ready to be matched. Where an expression has few states they
// are all found when it is compiled, and matching reads one entry of a table for each byte; else
// its program is run with all its threads at once, which are no more than it has instructions.
// Neither goes back, allocates, or takes longer than instructions × bytes.

/// Compiled expressions, for one thread: matching uses memory of the table's own.
public struct RegexTable: ~Copyable {
    fileprivate struct Entry: BitwiseCopyable {
        /// In `program`.
        var first: Int32
        var count: Int32
        /// In `classes`, 256 of them; -1: it has no states.
        var classes: Int32
        /// In `moves`, `width` for each state.
        var moves: Int32
        var width: Int32
        /// In `accepts`.
        var accepts: Int32
    }

    private let entries: Slab<Entry>
    private let program: Slab<LinearRegex.Instruction>
    private let sets: Slab<ByteSet>
    private let classes: Slab<UInt8>
    private let moves: Slab<UInt16>
    private let accepts: Slab<Bool>
    private let runner: RegexRunner

    /// Bounds of what is found ahead: states of one expression, entries in the tables of all, and
    /// the steps that it takes to find them.
    static let statesMost = 256
    static let movesMost = 1 << 20
    static let stepsMost = 1 << 22

    /// Collects expressions.
    public struct Builder {
        fileprivate var entries: [Entry] = []
        fileprivate var program: [LinearRegex.Instruction] = []
        fileprivate var sets: [ByteSet] = []
        fileprivate var classes: [UInt8] = []
        fileprivate var moves: [UInt16] = []
        fileprivate var accepts: [Bool] = []
        private var steps = RegexTable.stepsMost
        private var places: [String: Int32] = [:]
        private let findsStates: Bool

        /// - Parameter findsStates: false, for tests: programs are run.
        public init(findsStates: Bool = true) { self.findsStates = findsStates }

        /// - Returns: the number that it goes by.
        public mutating func add(_ regex: LinearRegex) -> Int32 {
            if let place = places[regex.pattern] { return place }
            let place = Int32(entries.count)
            places[regex.pattern] = place
            var entry = Entry(
                first: Int32(program.count), count: Int32(regex.program.count), classes: -1,
                moves: 0, width: 0, accepts: 0)
            for var instruction in regex.program {
                if instruction.operation == .bytes { instruction.x += Int32(sets.count) }
                program.append(instruction)
            }
            sets += regex.sets
            if findsStates, let states = RegexStates(regex, steps: &steps),
                moves.count + states.moves.count <= RegexTable.movesMost
            {
                entry.classes = Int32(classes.count)
                entry.moves = Int32(moves.count)
                entry.width = Int32(states.width)
                entry.accepts = Int32(accepts.count)
                classes += states.classes
                moves += states.moves
                accepts += states.accepts
            }
            entries.append(entry)
            return place
        }
    }

    public init(_ builder: Builder) {
        entries = Slab(builder.entries)
        program = Slab(builder.program)
        sets = Slab(builder.sets)
        classes = Slab(builder.classes)
        moves = Slab(builder.moves)
        accepts = Slab(builder.accepts)
        runner = RegexRunner(instructions: builder.entries.map { Int($0.count) }.max() ?? 0)
    }

    deinit {
        entries.deallocate()
        program.deallocate()
        sets.deallocate()
        classes.deallocate()
        moves.deallocate()
        accepts.deallocate()
    }

    /// How many expressions have their states found.
    public var tabled: Int { (0..<entries.count).count { entries[$0].classes >= 0 } }

    /// Whether an expression fits the whole of a text.
    /// - Complexity: O(instructions × bytes), and O(bytes) where its states are found.
    public func matches(_ regex: Int32, _ text: Bytes) -> Bool {
        let entry = entries[Int(regex)]
        guard entry.classes >= 0 else {
            return runner.fits(entry.first, entry.count, program, sets, text)
        }
        var state = 1
        for i in 0..<text.count {
            let column = classes[Int(entry.classes) + Int(text[i])]
            state = Int(moves[Int(entry.moves) + state * Int(entry.width) + Int(column)])
            if state == 0 { return false }
        }
        return accepts[Int(entry.accepts) + state]
    }

    /// Finds the first part of a text, from `start`, that an expression fits; of several that begin
    /// there the one that its alternatives and repetitions prefer.
    /// - Returns: whether there is one; its groups are then told by `group`.
    /// - Complexity: O(instructions × bytes).
    public func find(_ regex: Int32, _ text: Bytes, from start: Int) -> Bool {
        let entry = entries[Int(regex)]
        return runner.finds(entry.first, entry.count, program, sets, text, from: start)
    }

    /// Where the last `find` has found a group; nil: nowhere. Group 0 is the whole.
    public func group(_ number: Int) -> Range<Int>? { runner.group(number) }

    /// Threads that programs have been run with since the table was made, over all bytes.
    public var steps: Int { runner.steps }
}

/// The states that threads of a program can be in together, and where each byte leads.
private struct RegexStates {
    /// Bytes that no instruction tells apart are of one class.
    var classes: [UInt8]
    var width: Int
    /// State 0 leads nowhere; 1 is the first.
    var moves: [UInt16]
    var accepts: [Bool]

    /// nil: there are too many.
    init?(_ regex: LinearRegex, steps: inout Int) {
        guard let (classes, members) = Self.classes(regex.sets) else { return nil }
        self.classes = classes
        width = members.count
        moves = Array(repeating: 0, count: width)
        accepts = [false]
        let start = Self.closure([0], regex.program, atStart: true, atEnd: false, &steps)
        // The first is no other, even of the same threads: only there `^` holds.
        var numbers: [[Int32]: UInt16] = [[]: 0]
        var waiting = [start]
        var place = 0
        while place < waiting.count {
            let state = waiting[place]
            let isStart = place == 0
            place += 1
            let ends = Self.closure(
                state, regex.program, atStart: isStart, atEnd: true, &steps)
            accepts.append(ends.contains { regex.program[Int($0)].operation == .match })
            for byte in members {
                guard steps > 0 else { return nil }
                var next: [Int32] = []
                for thread in state {
                    let instruction = regex.program[Int(thread)]
                    if instruction.operation == .bytes,
                        regex.sets[Int(instruction.x)].contains(byte)
                    {
                        next.append(thread + 1)
                    }
                }
                let reached = Self.closure(
                    next, regex.program, atStart: false, atEnd: false, &steps)
                if let number = numbers[reached] {
                    moves.append(number)
                    continue
                }
                guard waiting.count < RegexTable.statesMost else { return nil }
                let number = UInt16(waiting.count + 1)
                numbers[reached] = number
                waiting.append(reached)
                moves.append(number)
            }
        }
    }

    /// What threads reach without a byte, in order of numbers: what reads bytes, asks for the end,
    /// or is it.
    private static func closure(
        _ threads: [Int32], _ program: [LinearRegex.Instruction], atStart: Bool, atEnd: Bool,
        _ steps: inout Int
    ) -> [Int32] {
        var seen: Set<Int32> = []
        var found: [Int32] = []
        var stack = threads
        while let thread = stack.popLast() {
            steps -= 1
            guard seen.insert(thread).inserted else { continue }
            let instruction = program[Int(thread)]
            switch instruction.operation {
            case .bytes, .match: found.append(thread)
            case .end:
                found.append(thread)
                if atEnd { stack.append(thread + 1) }
            case .begin: if atStart { stack.append(thread + 1) }
            case .jump: stack.append(instruction.x)
            case .save: stack.append(thread + 1)
            case .split: stack += [instruction.x, instruction.y]
            }
        }
        return found.sorted()
    }

    /// The class of each byte, and a byte of each class.
    private static func classes(_ sets: [ByteSet]) -> (classes: [UInt8], members: [UInt8])? {
        var numbers: [[Bool]: UInt8] = [:]
        var classes: [UInt8] = []
        var members: [UInt8] = []
        for byte in UInt8.min...UInt8.max {
            let signature = sets.map { $0.contains(byte) }
            if let number = numbers[signature] {
                classes.append(number)
                continue
            }
            let number = UInt8(members.count)
            numbers[signature] = number
            members.append(byte)
            classes.append(number)
        }
        return (classes, members)
    }
}
