import Base
import Support
import Testing

@testable import ControlCore

private struct Number: SortedElement, Equatable {
    var key: Int
    var value: Int
}

@Suite struct SortedTableTests {
    /// Against a dictionary; the range of keys makes for leaves that split, shrink and merge.
    @Test func agreesWithADictionarySortedTableFuzz() {
        let budget = FuzzBudget.current(steps: 20_000)
        var random = SeededRandom(seed: budget.seed)
        var table = SortedTable<Number>()
        var model: [Int: Int] = [:]
        for step in 0..<budget.steps {
            // Grows for a while, then shrinks.
            let grows = random.below(100) < (step / 4000 % 2 == 0 ? 75 : 25)
            let key = random.below(3000)
            if grows {
                let before = table.put(Number(key: key, value: step))
                #expect(before?.value == model.updateValue(step, forKey: key))
            } else {
                #expect(table.remove(key)?.value == model.removeValue(forKey: key))
            }
            let other = random.below(3000)
            #expect(table[other]?.value == model[other])
            guard step % 500 == 0 else { continue }
            table.checkInvariants()
            var seen: [Int] = []
            table.visit(from: other) {
                seen.append($0.key)
                return seen.count < 300
            }
            #expect(seen == Array(model.keys.filter { $0 >= other }.sorted().prefix(300)))
            let end = other + random.below(1500)
            #expect(
                table.count(from: other) { $0.key < end }
                    == model.keys.filter { $0 >= other && $0 < end }.count)
        }
        table.checkInvariants()
        #expect(table.count == model.count)
    }

    @Test(arguments: [1, 127, 128, 129, 5000])
    func keepsAscendingAndDescendingKeys(count: Int) {
        for keys in [Array(0..<count), Array((0..<count).reversed())] {
            var table = SortedTable<Number>()
            for key in keys { table.put(Number(key: key, value: key)) }
            table.checkInvariants()
            #expect(table.first?.key == 0)
            #expect(table.last?.key == count - 1)
            for key in keys { #expect(table.remove(key)?.key == key) }
            #expect(table.count == 0)
            table.checkInvariants()
        }
    }

    @Test func aCopyStaysAsItWas() {
        var table = SortedTable<Number>()
        for key in 0..<1000 { table.put(Number(key: key, value: 0)) }
        let copy = table
        for key in 0..<1000 { table.put(Number(key: key, value: 1)) }
        table.remove(5)
        #expect(copy[5]?.value == 0)
        #expect(copy.count == 1000)
        copy.checkInvariants()
    }
}
