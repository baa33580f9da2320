// Runs a program with all its threads at once, byte by byte: a thread that has come to an
// instruction is joined by all that come there later, as they would go on alike.
//
// Source: Russ Cox, "Regular Expression Matching: the Virtual Machine Approach" (Pike's algorithm).

/// The memory of running programs. For one thread.
struct RegexRunner: ~Copyable {
    /// Places that a program saves: where the whole and its groups begin and end.
    private static let slots = 2 * (LinearRegex.groupsMost + 1)
    /// How many numbers there are of what `steps` and the lists hold.
    private enum Word {
        static let steps = 0
        static let found = 1
    }

    private let size: Int
    /// Two lists of threads: each `size` instructions in order, and where each instruction stands.
    private let lists: Slab<Int32>
    private let places: Slab<Int32>
    private let counts: Slab<Int32>
    /// What each thread of each list has saved.
    private let saved: Slab<Int32>
    /// What the thread in hand has saved, and what the match has.
    private let current: Slab<Int32>
    private let best: Slab<Int32>
    /// Instructions still to be followed: itself, or a slot to be set back and its value.
    private let stack: Slab<Int32>
    private let words: Slab<Int>

    init(instructions: Int) {
        size = max(instructions, 1)
        lists = Slab(zeroed: 2 * size)
        places = Slab(zeroed: 2 * size)
        counts = Slab(zeroed: 2)
        saved = Slab(zeroed: 2 * size * Self.slots)
        current = Slab(zeroed: Self.slots)
        best = Slab(zeroed: Self.slots)
        // Each instruction puts at most two things on it, once for each list.
        stack = Slab(zeroed: 2 * (2 * size + 2))
        words = Slab(zeroed: 2)
    }

    deinit {
        lists.deallocate()
        places.deallocate()
        counts.deallocate()
        saved.deallocate()
        current.deallocate()
        best.deallocate()
        stack.deallocate()
        words.deallocate()
    }

    var steps: Int { words[Word.steps] }

    /// Whether the program fits the whole text.
    func fits(
        _ first: Int32, _ count: Int32, _ program: Slab<LinearRegex.Instruction>,
        _ sets: Slab<ByteSet>, _ text: Bytes
    ) -> Bool {
        var list = 0
        counts[0] = 0
        follow(0, list, first, program, at: 0, of: text.count, saves: false)
        for i in 0..<text.count {
            guard counts[list] > 0 else { return false }
            let next = 1 - list
            counts[next] = 0
            for t in 0..<Int(counts[list]) {
                let thread = lists[list * size + t]
                let instruction = program[Int(first + thread)]
                guard instruction.operation == .bytes,
                    sets[Int(instruction.x)].contains(text[i])
                else { continue }
                follow(thread + 1, next, first, program, at: i + 1, of: text.count, saves: false)
            }
            list = next
        }
        for t in 0..<Int(counts[list])
        where program[Int(first + lists[list * size + t])].operation == .match {
            return true
        }
        return false
    }

    /// Finds where the program fits.
    func finds(
        _ first: Int32, _ count: Int32, _ program: Slab<LinearRegex.Instruction>,
        _ sets: Slab<ByteSet>, _ text: Bytes, from start: Int
    ) -> Bool {
        var list = 0
        counts[0] = 0
        var isFound = false
        var i = start
        while true {
            if !isFound {
                for slot in 0..<Self.slots { current[slot] = -1 }
                current[0] = Int32(i)
                follow(0, list, first, program, at: i, of: text.count, saves: true)
            }
            guard counts[list] > 0 || !isFound else { return true }
            let next = 1 - list
            counts[next] = 0
            threads: for t in 0..<Int(counts[list]) {
                let thread = lists[list * size + t]
                let instruction = program[Int(first + thread)]
                load(list, t)
                switch instruction.operation {
                case .match:
                    for slot in 0..<Self.slots { best[slot] = current[slot] }
                    best[1] = Int32(i)
                    isFound = true
                    // What comes behind it in the list is preferred less.
                    break threads
                case .bytes where i < text.count && sets[Int(instruction.x)].contains(text[i]):
                    follow(thread + 1, next, first, program, at: i + 1, of: text.count, saves: true)
                default: break
                }
            }
            list = next
            guard i < text.count else { return isFound }
            i += 1
        }
    }

    func group(_ number: Int) -> Range<Int>? {
        let (start, end) = (best[2 * number], best[2 * number + 1])
        return start >= 0 && end >= start ? Int(start)..<Int(end) : nil
    }

    private func load(_ list: Int, _ place: Int) {
        let from = (list * size + place) * Self.slots
        for slot in 0..<Self.slots { current[slot] = saved[from + slot] }
    }

    private func isListed(_ thread: Int32, _ list: Int) -> Bool {
        let place = places[list * size + Int(thread)]
        return place < counts[list] && lists[list * size + Int(place)] == thread
    }

    /// Adds what is reached from a thread without a byte, the most preferred first.
    private func follow(
        _ thread: Int32, _ list: Int, _ first: Int32, _ program: Slab<LinearRegex.Instruction>,
        at place: Int, of count: Int, saves: Bool
    ) {
        var depth = 0
        func push(_ a: Int32, _ b: Int32) {
            stack[2 * depth] = a
            stack[2 * depth + 1] = b
            depth += 1
        }
        push(thread, 0)
        while depth > 0 {
            depth -= 1
            let (item, value) = (stack[2 * depth], stack[2 * depth + 1])
            words[Word.steps] &+= 1
            if item < 0 {
                current[Int(-item - 1)] = value
                continue
            }
            guard !isListed(item, list) else { continue }
            let here = Int(counts[list])
            places[list * size + Int(item)] = Int32(here)
            lists[list * size + here] = item
            counts[list] += 1
            let instruction = program[Int(first + item)]
            switch instruction.operation {
            case .jump: push(instruction.x, 0)
            case .split:
                push(instruction.y, 0)
                push(instruction.x, 0)
            case .save:
                guard saves else {
                    push(item + 1, 0)
                    continue
                }
                let slot = Int(instruction.x)
                push(Int32(-slot - 1), current[slot])
                current[slot] = Int32(place)
                push(item + 1, 0)
            case .begin: if place == 0 { push(item + 1, 0) }
            case .end: if place == count { push(item + 1, 0) }
            case .bytes, .match:
                guard saves else { continue }
                let from = (list * size + here) * Self.slots
                for slot in 0..<Self.slots { saved[from + slot] = current[slot] }
            }
        }
    }
}
